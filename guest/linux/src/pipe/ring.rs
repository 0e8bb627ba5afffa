//! The buffers of a pipe: a ring of slots, each a frame and which of its bytes hold something. Source: Linux, include/linux/pipe_fs_i.h.

use faultlab_mm::addr::{PAGE_WORDS, Pfn};
use faultlab_mm::gfp::Gfp;
use faultlab_mm::sync::Word;
use faultlab_mm::{Platform, record};

use super::PipeId;
use crate::{Errno, Linux};

/// Slots of a new pipe: 64 KiB. They lie in its record. Source: Linux `PIPE_DEF_BUFFERS`.
pub(super) const SLOTS_DEFAULT: u64 = 16;
/// Slots of any pipe: what one frame holds.
const SLOTS_MAX: u64 = PAGE_WORDS as u64;
pub(super) const PAGE_BYTES: u64 = 4096;

record! {
    /// A pipe. From word [`Pipe::SLOTS`] on, its slots while they are few.
    pub struct Pipe[32] {
        /// Slots that were ever filled.
        head, set_head: u64 = 0;
        /// Slots that were ever emptied.
        tail, set_tail: u64 = 1;
        /// Slots that there are: a power of two.
        ring_size, set_ring_size: u64 = 2;
        /// The frame that holds the slots when they are many; 0 if not.
        ring, set_ring: Pfn = 3;
        /// Descriptions that read it, those being opened included.
        readers, set_readers: u64 = 4;
        /// Descriptions that write it.
        writers, set_writers: u64 = 5;
        /// Readers that there have been.
        r_counter, set_r_counter: u64 = 6;
        /// Writers that there have been.
        w_counter, set_w_counter: u64 = 7;
        /// How often readers were woken.
        reader_edges, set_reader_edges: u64 = 8;
        /// How often writers were woken.
        writer_edges, set_writer_edges: u64 = 9;
        /// Whose it is: who opened it first.
        user, set_user: u32 = 10;
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeBuffer {
    /// The frame. Nobody else has it.
    pub(super) page: Pfn,
    /// First byte with content.
    pub(super) offset: u64,
    /// Bytes with content, 1 to 4096 but for the moment of being emptied.
    pub(super) len: u64,
    /// A read ends with it, and what it leaves is lost.
    pub(super) packet: bool,
    /// The next write may add to it.
    pub(super) can_merge: bool,
}

impl PipeBuffer {
    fn to_word(self) -> u64 {
        let flags = u64::from(self.packet) | u64::from(self.can_merge) << 1;
        u64::from(self.page.0) | self.offset << 32 | self.len << 45 | flags << 58
    }

    fn from_word(word: u64) -> Self {
        Self {
            page: Pfn(word as u32),
            offset: word >> 32 & 0x1fff,
            len: word >> 45 & 0x1fff,
            packet: word >> 58 & 1 != 0,
            can_merge: word >> 59 & 1 != 0,
        }
    }

    /// First byte after the content.
    pub(super) fn end(self) -> u64 {
        self.offset + self.len
    }
}

impl Pipe<'_> {
    /// First word of the slots.
    const SLOTS: usize = 16;

    /// Slots in use.
    pub(super) fn occupancy(self) -> u64 {
        self.head() - self.tail()
    }

    pub(super) fn is_empty(self) -> bool {
        self.occupancy() == 0
    }

    pub(super) fn is_full(self) -> bool {
        self.occupancy() >= self.ring_size()
    }
}

impl<P: Platform> Linux<'_, P> {
    fn slot<'a>(&'a self, pipe: Pipe<'a>, number: u64) -> &'a Word {
        let index = (number & (pipe.ring_size() - 1)) as usize;
        match pipe.ring() {
            Pfn(0) => &pipe.0[Pipe::SLOTS + index],
            ring => &self.memory.platform.frame(ring)[index],
        }
    }

    /// The buffer of a slot in use: `tail` is the oldest.
    pub(super) fn pipe_buf(&self, pipe: Pipe<'_>, number: u64) -> PipeBuffer {
        PipeBuffer::from_word(self.slot(pipe, number).get())
    }

    pub(super) fn set_pipe_buf(&self, pipe: Pipe<'_>, number: u64, buffer: PipeBuffer) {
        self.slot(pipe, number).set(buffer.to_word());
    }

    /// Fills the next slot. There is one.
    pub(super) fn push_pipe_buf(&self, pipe: Pipe<'_>, buffer: PipeBuffer) {
        debug_assert!(!pipe.is_full() && buffer.len != 0 && buffer.end() <= PAGE_BYTES);
        self.set_pipe_buf(pipe, pipe.head(), buffer);
        pipe.set_head(pipe.head() + 1);
    }

    /// Empties the oldest slot; its frame is the caller's.
    pub(super) fn pop_pipe_buf(&self, pipe: Pipe<'_>) -> PipeBuffer {
        let buffer = self.pipe_buf(pipe, pipe.tail());
        pipe.set_tail(pipe.tail() + 1);
        buffer
    }

    /// Takes `by` bytes off the oldest buffer; one without content goes.
    pub(super) fn consume(&self, pipe: Pipe<'_>, by: u64) {
        let mut buffer = self.pipe_buf(pipe, pipe.tail());
        buffer.offset += by;
        buffer.len -= by;
        if buffer.len == 0 {
            self.pop_pipe_buf(pipe);
            self.memory.free_pages(buffer.page, 0);
        } else {
            self.set_pipe_buf(pipe, pipe.tail(), buffer);
        }
    }

    /// A frame for a buffer, with any content.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn alloc_pipe_page(&self) -> Result<Pfn, Errno> {
        let gfp = Gfp::USER.with(Gfp::HIGHMEM);
        self.memory.alloc_pages(gfp, 0).ok_or(Errno::ENOMEM)
    }

    /// Bytes in all buffers.
    pub(super) fn pipe_bytes(&self, pipe: Pipe<'_>) -> u64 {
        (pipe.tail()..pipe.head())
            .map(|number| self.pipe_buf(pipe, number).len)
            .sum()
    }

    /// Gives a pipe `slots` slots, a power of two. Source: Linux `pipe_resize_ring`.
    ///
    /// # Errors
    /// `EBUSY` when more are in use, `ENOMEM` for more than there can be.
    pub(super) fn resize_ring(&self, pipe: Pipe<'_>, slots: u64) -> Result<(), Errno> {
        if slots < pipe.occupancy() {
            return Err(Errno::EBUSY);
        }
        if slots > SLOTS_MAX {
            return Err(Errno::ENOMEM);
        }
        let old = pipe.ring();
        let new = if slots > SLOTS_DEFAULT {
            self.memory.alloc_pages(Gfp::KERNEL, 0).ok_or(Errno::ENOMEM)?
        } else {
            Pfn(0)
        };
        if new == Pfn(0) && old == Pfn(0) {
            self.compact_ring(pipe, slots);
        } else {
            self.move_ring(pipe, new, slots);
        }
        if old != Pfn(0) {
            self.memory.free_pages(old, 0);
        }
        Ok(())
    }

    /// Moves the slots in use to another place, where they come first.
    fn move_ring(&self, pipe: Pipe<'_>, new: Pfn, slots: u64) {
        for (index, number) in (pipe.tail()..pipe.head()).enumerate() {
            let word = self.slot(pipe, number).get();
            match new {
                Pfn(0) => pipe.0[Pipe::SLOTS + index].set(word),
                new => self.memory.platform.frame(new)[index].set(word),
            }
        }
        pipe.set_head(pipe.occupancy());
        pipe.set_tail(0);
        pipe.set_ring(new);
        pipe.set_ring_size(slots);
    }

    /// The same within the record, where they may lie in each other's way.
    fn compact_ring(&self, pipe: Pipe<'_>, slots: u64) {
        let (mut kept, used) = ([0; SLOTS_DEFAULT as usize], pipe.occupancy());
        for (number, word) in (pipe.tail()..pipe.head()).zip(&mut kept) {
            *word = self.slot(pipe, number).get();
        }
        for (to, from) in pipe.0[Pipe::SLOTS..].iter().zip(kept) {
            to.set(from);
        }
        pipe.set_head(used);
        pipe.set_tail(0);
        pipe.set_ring_size(slots);
    }

    /// Frees everything that a pipe holds, and its record.
    pub(super) fn free_pipe(&self, id: PipeId) {
        let pipe = self.pipe(id);
        while !pipe.is_empty() {
            let buffer = self.pop_pipe_buf(pipe);
            self.memory.free_pages(buffer.page, 0);
        }
        if pipe.ring() != Pfn(0) {
            self.memory.free_pages(pipe.ring(), 0);
        }
        // Slots that go are never refused.
        _ = self.recount(None, pipe.user(), pipe.ring_size(), 0);
        for word in pipe.0 {
            word.set(0);
        }
        self.pipes.free(self.memory, id.0);
    }
}
