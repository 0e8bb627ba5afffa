//! Pipes: bytes that one process writes and another reads, in frames in between.
//!
//! | file | what it is |
//! |---|---|
//! | `ring.rs` | a pipe's buffers |
//! | `io.rs` | `read`, `write` |
//! | `fifo.rs` | how FIFOs are opened |
//! | `splice.rs` | `splice tee vmsplice`, `sendfile` to a pipe |
//! | `create.rs` | `pipe2`, how ends come and go, sizes |
//! | `limits.rs` | how large they may be |
//!
//! A pipe is an inode of type FIFO, of which `i_private` names the [`Pipe`] while any description of it is open: so what is known about files
//! (owner, times, rights) is known about pipes, and a FIFO of a file system is no other thing.
//!
//! # Invariants
//! - `readers` and `writers` count the descriptions opened for reading and for writing (both, when for both), and those of a FIFO that an
//!   `open` waits with. The pipe goes when both are 0.
//! - A frame is in one slot of one pipe.
//!
//! Source: Linux, fs/pipe.c; pipe(2), pipe(7), fifo(7).

mod create;
mod fifo;
mod io;
mod limits;
mod ring;
mod splice;
#[cfg(test)]
mod tests;

pub(crate) use limits::{PipeLimits, PipeUser, round_pipe_size};
pub(crate) use ring::Pipe;
pub use splice::splice_flag;

use faultlab_mm::record::{Field, Id};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type};

use crate::Linux;
use crate::file::File;
use crate::poll::{Ready, event};
use crate::wait::Queue;

id_type!(
    /// Number of a [`Pipe`].
    PipeId
);

/// Bytes of a write that no other comes between. Source: pipe(7).
pub const PIPE_BUF: u64 = 4096;

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Where readers wait.
    Read,
    /// Where writers wait.
    Write,
}

fn queue(id: PipeId, end: End) -> Queue {
    Queue::of(id.object(), end as u32)
}

impl<P: Platform> Linux<'_, P> {
    fn pipe(&self, id: PipeId) -> Pipe<'_> {
        Pipe(object(self.memory, id.0))
    }

    /// The pipe of an inode, while it is open.
    fn pipe_id(&self, inode: InodeId) -> Option<PipeId> {
        Field::from_word(self.object(inode).i_private())
    }

    /// The pipe of an open description.
    ///
    /// # Panics
    /// If it has none: every open description counts.
    fn pipe_of(&self, inode: InodeId) -> (PipeId, Pipe<'_>) {
        match self.pipe_id(inode) {
            Some(id) => (id, self.pipe(id)),
            None => panic!("an open pipe has no buffers"),
        }
    }

    /// Whoever waits at an end is to look.
    fn wake_end(&self, id: PipeId, end: End) {
        let pipe = self.pipe(id);
        match end {
            End::Read => pipe.set_reader_edges(pipe.reader_edges() + 1),
            End::Write => pipe.set_writer_edges(pipe.writer_edges() + 1),
        }
        self.wake(queue(id, end));
    }

    /// What a pipe's description is ready for. Source: Linux `pipe_poll`.
    pub(crate) fn pipe_poll(&self, file: File<'_>, inode: InodeId) -> Ready {
        let (id, pipe) = self.pipe_of(inode);
        let mut ready = Ready::default();
        if file.readable() {
            if !pipe.is_empty() {
                ready.mask |= event::READABLE;
            }
            // Who opened a FIFO without waiting is told of the end only when there has been a writer.
            if pipe.writers() == 0 && file.f_pos() != pipe.w_counter() {
                ready.mask |= event::HUP;
            }
            ready = ready.with(Ready::of(0, queue(id, End::Read), pipe.reader_edges()));
        }
        if file.writable() {
            if !pipe.is_full() {
                ready.mask |= event::WRITABLE;
            }
            if pipe.readers() == 0 {
                ready.mask |= event::ERR;
            }
            ready = ready.with(Ready::of(0, queue(id, End::Write), pipe.writer_edges()));
        }
        ready
    }
}
