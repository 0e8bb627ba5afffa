//! Writing pages out: gathered while their slots follow each other, written by one request, freed when the disk has them.
//!
//! A page of a batch is off the lists, under writeback, in the swap cache, and the batch has a reference to it, which goes to the request.
//!
//! Source: Linux, mm/page_io.c (`swap_writepage`, `end_swap_bio_write`), mm/vmscan.c (`pageout`). Rules F11, F29.

use super::{CLUSTER_MAX, SwapSlot};
use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Direction, Io, Platform, Stage, Vmstat};
use crate::shmem::InodeId;

/// Pages to be written to consecutive slots.
pub(crate) struct Batch {
    pfns: [Pfn; CLUSTER_MAX],
    inodes: [Option<InodeId>; CLUSTER_MAX],
    len: usize,
    first: SwapSlot,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            pfns: [Pfn(0); CLUSTER_MAX],
            inodes: [None; CLUSTER_MAX],
            len: 0,
            first: SwapSlot(0),
        }
    }

    /// Whether a page for `slot` can be written together with those gathered. Slot 0 of an area is never used, so no run goes from one area
    /// into the next.
    fn accepts(&self, slot: SwapSlot) -> bool {
        self.len == 0 || (self.len < CLUSTER_MAX && slot.0 == self.first.0 + self.len as u32)
    }

    fn push(&mut self, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>) {
        if self.len == 0 {
            self.first = slot;
        }
        self.pfns[self.len] = pfn;
        self.inodes[self.len] = inode;
        self.len += 1;
    }
}

impl<P: Platform> Memory<P> {
    /// Takes a locked page into the batch, to be written to `slot`; `inode` is the object that it came from, if it is no anonymous page.
    /// What the batch held before is written first if need be, or with it if that fills it. Returns the frames that are free or about to be.
    pub(crate) fn add_to_batch(&self, batch: &mut Batch, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>) -> u32 {
        self.page(pfn).steps([Event::StartWriteback, Event::Unlock]);
        let mut freed = 0;
        if !batch.accepts(slot) {
            freed = self.write_batch(batch);
        }
        batch.push(pfn, slot, inode);
        if batch.len == CLUSTER_MAX {
            freed += self.write_batch(batch);
        }
        freed
    }

    /// Writes the batch, and frees what was written; with a disk that answers later, then. Returns the frames that are free or about to be.
    pub(crate) fn write_batch(&self, batch: &mut Batch) -> u32 {
        let len = core::mem::take(&mut batch.len);
        if len == 0 {
            return 0;
        }
        self.swap_make_room();
        let (first, pfns) = (batch.first, &batch.pfns[..len]);
        self.platform.stage(Stage::SwapWriteStart, u64::from(first.0));
        let begun = self.platform.swap_begin(Direction::Write, first, pfns);
        self.platform.stage(Stage::SwapWriteEnd, u64::from(first.0));
        match begun {
            Io::Done(Ok(())) => {
                self.platform.count(Vmstat::Pswpout, len as u64);
                for &pfn in pfns {
                    self.page(pfn).step(Event::EndWriteback);
                    self.free_swap_cached(pfn);
                }
                len as u32
            }
            Io::Done(Err(_)) => self.write_failed(batch, len),
            Io::Pending(number) => {
                self.write_is_pending(number, first, pfns, &batch.inodes);
                len as u32
            }
        }
    }

    /// The slot has a page's content. Frees the page, or puts it back on its list if it is used again. Returns the frames freed.
    pub(super) fn page_is_written(&self, pfn: Pfn) -> u32 {
        let page = self.page(pfn);
        page.step(Event::EndWriteback);
        if page.refcount.get() == 2 && !page.has(flag::DIRTY) {
            self.free_swap_cached(pfn);
            return 1;
        }
        self.putback_lru_page(pfn);
        0
    }

    /// The disk refused the batch. Each page is tried alone. Returns the frames that are free or about to be. Rule F29.
    #[cold]
    #[inline(never)]
    fn write_failed(&self, batch: &Batch, len: usize) -> u32 {
        let pages = (0..len).map(|i| (batch.pfns[i], SwapSlot(batch.first.0 + i as u32), batch.inodes[i]));
        pages
            .map(|(pfn, slot, inode)| self.write_refused(pfn, slot, inode, len == 1))
            .sum()
    }

    /// A page was not written, `alone` or with others. Alone it is tried once more; if it is refused again, it stays in memory, and its slot is
    /// not given out any more. Returns the frames that are free or about to be. Rule F29.
    #[cold]
    #[inline(never)]
    pub(super) fn write_refused(&self, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>, alone: bool) -> u32 {
        // What nobody means any more need not be written; but who uses the page has the only copy of it.
        if !self.swap_is_meant(slot) {
            if self.page(pfn).refcount.get() != 2 {
                self.page(pfn).step(Event::Dirty);
            }
            return self.page_is_written(pfn);
        }
        if alone {
            self.retire_slot(slot);
            self.page(pfn).set_flags(flag::ERROR);
            return self.stays_in_memory(pfn, slot, inode);
        }
        if !self.swap.in_flight.has_room() {
            // It will be tried again when reclaim finds it.
            return self.stays_in_memory(pfn, slot, inode);
        }
        match self.platform.swap_begin(Direction::Write, slot, &[pfn]) {
            Io::Done(Ok(())) => {
                self.count(Vmstat::Pswpout);
                self.page_is_written(pfn)
            }
            Io::Done(Err(_)) => self.write_refused(pfn, slot, inode, true),
            Io::Pending(number) => {
                self.write_is_pending(number, slot, &[pfn], &[inode]);
                1
            }
        }
    }

    /// A page that could not be written goes back to its object and its list. Returns the frames freed: none.
    fn stays_in_memory(&self, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>) -> u32 {
        let page = self.page(pfn);
        page.steps([Event::Dirty, Event::EndWriteback]);
        page.set_flags(flag::ACTIVE);
        if let Some(inode) = inode {
            self.shmem_unwritepage(inode, pfn, slot);
        }
        self.putback_lru_page(pfn);
        0
    }

    /// Lets a page whose slot was retired be written to another one. `false` when it cannot be reclaimed now: entries still name the
    /// slot. The page is locked.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_retired_slot(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if page.has(flag::SWAPCACHE) && !self.try_to_free_swap(pfn) {
            return false;
        }
        page.clear_flags(flag::ERROR);
        true
    }
}
