//! Moves bytes between guest memory and the swap file through `io_uring`, several transfers at a time.
//!
//! A write that the kernel would have to wait for (to note the time of the change in the file, say) it hands to a worker of its own, which
//! does all that follow, too, one after the other, until it has caught up. So writes are asked for without waiting (`RWF_NOWAIT`),
//! and those few that cannot be had so are done by this thread; all of them where the file system knows no such writes, as most do in the page cache.
//!
//! # Invariants
//! - A transfer that the kernel has is in `transfers`, with the vectors that the kernel reads, and those do not change.
//! - Guest RAM outlives every transfer: the backend holds a share of it, and waits for all before it is dropped.
//! - Slots are the caller's: one is in use from [`UringBackend::start`] until [`UringBackend::reap`] returns it.
//!
//! Source: io_uring(7); io_uring_enter(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use io_uring::{IoUring, opcode, squeue, types};

use super::file::{FileBackend, move_all};
use super::vectors::{Vectors, Way};
use crate::devices::block::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_file::SwapFile;

/// So many refused in a row show that the file system takes no writes without waiting.
const REFUSED_MAX: u32 = 64;

/// The file behind the disk.
pub(in crate::devices::block) struct UringBackend {
    ring: IoUring,
    /// For what is rare, and done at once by the calling thread; also the file itself.
    plain: FileBackend,
    transfers: Vec<Option<Transfer>>,
    in_flight: usize,
    /// Transfers that this thread did, and how they ended.
    done_here: Vec<(u16, io::Result<()>)>,
    /// Writes that could not be had without waiting since one could.
    refused_in_a_row: u32,
    ram: Arc<GuestRam>,
}

/// What the kernel is busy with.
enum Transfer {
    /// Moving bytes.
    Move {
        way: Way,
        vectors: Vectors,
        /// What is written lasts before the write is done.
        write_through: bool,
    },
    /// Making lasting what was written.
    Sync,
}

impl UringBackend {
    /// A ring of `slots` transfers between `file` and `ram`.
    ///
    /// # Errors
    /// The kernel has no `io_uring`, forbids it, or has no memory left.
    pub(in crate::devices::block) fn new(file: SwapFile, slots: u16, ram: &Arc<GuestRam>) -> io::Result<UringBackend> {
        // The file is not registered with the ring: who is killed would hold it, and its lock, until a worker of the kernel's has taken the ring apart.
        Ok(UringBackend {
            ring: IoUring::new(u32::from(slots))?,
            plain: FileBackend::new(file, false),
            transfers: (0..slots).map(|_| None).collect(),
            in_flight: 0,
            done_here: Vec::new(),
            refused_in_a_row: 0,
            ram: Arc::clone(ram),
        })
    }

    /// The same file, one transfer at a time.
    pub(in crate::devices::block) fn plain(&mut self) -> &mut FileBackend {
        &mut self.plain
    }

    /// Readable when [`UringBackend::reap`] has something.
    pub(in crate::devices::block) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the ring that the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Prepares to fill `segments` from the disk at `offset`.
    ///
    /// # Errors
    /// The kernel does not take it; the slot is free.
    pub(in crate::devices::block) fn read(&mut self, slot: u16, offset: u64, segments: &[Segment]) -> io::Result<()> {
        let transfer = Transfer::Move {
            way: Way::ToGuest,
            vectors: Vectors::of(segments, offset, &self.ram)?,
            write_through: false,
        };
        self.start(slot, transfer)
    }

    /// Prepares to write `segments`, at least one, to the disk at `offset`.
    ///
    /// # Errors
    /// As [`UringBackend::read`].
    pub(in crate::devices::block) fn write(
        &mut self,
        slot: u16,
        offset: u64,
        segments: &[Segment],
        write_through: bool,
    ) -> io::Result<()> {
        let transfer = Transfer::Move {
            way: Way::ToFile,
            vectors: Vectors::of(segments, offset, &self.ram)?,
            write_through,
        };
        self.start(slot, transfer)
    }

    /// Prepares to make what was written before durable.
    ///
    /// # Errors
    /// As [`UringBackend::read`].
    pub(in crate::devices::block) fn flush(&mut self, slot: u16) -> io::Result<()> {
        self.start(slot, Transfer::Sync)
    }

    /// Hands the kernel what was prepared.
    pub(in crate::devices::block) fn submit(&mut self) {
        while !self.ring.submission().is_empty() {
            self.enter(0);
        }
    }

    /// A transfer that is over, and how it ended.
    pub(in crate::devices::block) fn reap(&mut self) -> Option<(u16, io::Result<()>)> {
        loop {
            let Some(done) = self.ring.completion().next() else {
                let (slot, result) = self.done_here.pop()?;
                self.transfers[usize::from(slot)] = None;
                self.in_flight -= 1;
                return Some((slot, result));
            };
            let slot = done.user_data() as u16;
            if let Some(result) = self.completed(slot, done.result()) {
                self.transfers[usize::from(slot)] = None;
                self.in_flight -= 1;
                return Some((slot, result));
            }
        }
    }

    /// The same, waited for; `None` if the kernel has no transfer.
    pub(in crate::devices::block) fn wait(&mut self) -> Option<(u16, io::Result<()>)> {
        loop {
            let over = self.reap();
            if over.is_some() || self.in_flight == 0 {
                return over;
            }
            self.enter(1);
        }
    }

    fn start(&mut self, slot: u16, transfer: Transfer) -> io::Result<()> {
        self.transfers[usize::from(slot)] = Some(transfer);
        self.in_flight += 1;
        self.push(slot);
        Ok(())
    }

    /// Does what remains of a write in this thread.
    #[cold]
    fn move_here(&mut self, slot: u16) -> io::Result<()> {
        match &mut self.transfers[usize::from(slot)] {
            Some(Transfer::Move {
                way,
                vectors,
                write_through,
            }) => {
                let moved = move_all(self.plain.file(), *way, vectors);
                if *write_through {
                    moved.and_then(|()| self.plain.file().sync_data())
                } else {
                    moved
                }
            }
            _ => Ok(()),
        }
    }

    /// Puts what remains of a transfer into the kernel's queue.
    fn push(&mut self, slot: u16) {
        let fd = types::Fd(self.plain.file().as_raw_fd());
        let entry = match &self.transfers[usize::from(slot)] {
            Some(Transfer::Move { way: Way::ToFile, .. }) if self.refused_in_a_row >= REFUSED_MAX => {
                let moved = self.move_here(slot);
                self.done_here.push((slot, moved));
                return;
            }
            None => return,
            Some(Transfer::Sync) => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Some(Transfer::Move {
                way,
                vectors,
                write_through,
            }) => {
                let (list, offset) = vectors.rest();
                let (list, count, offset) = (list.as_ptr(), list.len() as u32, offset as u64);
                let flags = libc::RWF_NOWAIT | if *write_through { libc::RWF_DSYNC } else { 0 };
                match way {
                    Way::ToGuest => opcode::Readv::new(fd, list, count).offset(offset).build(),
                    Way::ToFile => opcode::Writev::new(fd, list, count)
                        .offset(offset)
                        .rw_flags(flags)
                        .build(),
                }
            }
        };
        let entry: squeue::Entry = entry.user_data(u64::from(slot));
        loop {
            // SAFETY: the vectors, and the guest memory that they name, stay until the entry is completed (module
            // invariants); so does the file, which `plain` holds.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // The queue has a place a slot, but what it holds was not handed over yet.
            self.enter(0);
        }
    }

    /// What one completion says: `None` if the transfer goes on.
    fn completed(&mut self, slot: u16, result: i32) -> Option<io::Result<()>> {
        match (&mut self.transfers[usize::from(slot)], result) {
            (Some(Transfer::Move { way: Way::ToFile, .. }), result @ ..0)
                if matches!(-result, libc::EAGAIN | libc::EOPNOTSUPP) =>
            {
                self.refused_in_a_row += 1;
                return Some(self.move_here(slot));
            }
            (_, result @ ..0) => match io::Error::from_raw_os_error(-result) {
                error if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                error => return Some(Err(error)),
            },
            (Some(Transfer::Move { .. }), 0) => return Some(Err(io::ErrorKind::UnexpectedEof.into())),
            (Some(Transfer::Move { way, vectors, .. }), moved) => {
                if *way == Way::ToFile {
                    self.refused_in_a_row = 0;
                }
                vectors.advance(moved as usize);
                if vectors.is_done() {
                    return Some(Ok(()));
                }
            }
            (Some(Transfer::Sync) | None, _) => return Some(Ok(())),
        }
        self.push(slot);
        self.submit();
        None
    }

    /// Hands over what was prepared, and waits for at least so many completions.
    fn enter(&mut self, wait_for: usize) {
        match self.ring.submit_and_wait(wait_for) {
            Ok(_) => {}
            // Interrupted, or the kernel is short of something for now.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(error) => {
                // The kernel may still write to guest memory, and nobody would know when it stops.
                log::error!("io_uring_enter: {error}");
                std::process::abort();
            }
        }
    }
}

impl Drop for UringBackend {
    fn drop(&mut self) {
        while self.wait().is_some() {}
    }
}
