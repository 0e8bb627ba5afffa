//! Writing pages out: gathered while their slots follow each other, written by one request, freed when the disk has them.
//!
//! Source: Linux, mm/page_io.c (`swap_writepage`), mm/vmscan.c (`pageout`). Rules F11, F29.

use super::{CLUSTER_MAX, SwapSlot};
use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Direction, Io, Platform, Stage, Vmstat};
use crate::shmem::InodeId;

/// Pages to be written to consecutive slots. Each is off the lists, with a reference for the batch.
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
    pub(crate) fn accepts(&self, slot: SwapSlot) -> bool {
        self.len == 0 || (self.len < CLUSTER_MAX && slot.0 == self.first.0 + self.len as u32)
    }

    pub(crate) fn push(&mut self, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>) {
        if self.len == 0 {
            self.first = slot;
        }
        self.pfns[self.len] = pfn;
        self.inodes[self.len] = inode;
        self.len += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == CLUSTER_MAX
    }
}

impl<P: Platform> Memory<P> {
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

    /// Frees an isolated page whose slot has its content.
    pub(crate) fn free_swap_cached(&self, pfn: Pfn) {
        self.delete_from_swap_cache(pfn);
        self.put_page(pfn);
        self.put_page(pfn);
    }

    /// The slot has a page's content. Frees the page, or puts it back on its list if it is used again. Returns the frames freed.
    pub(super) fn page_is_written(&self, pfn: Pfn) -> u32 {
        let page = self.page(pfn);
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
                self.page(pfn).set_flags(flag::DIRTY);
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
        self.page(pfn).set_flags(flag::ACTIVE | flag::DIRTY);
        if let Some(inode) = inode {
            self.shmem_unwritepage(inode, pfn, slot);
        }
        self.putback_lru_page(pfn);
        0
    }

    /// Lets a page whose slot was retired be written to another one. `false` when it cannot be reclaimed now: it is locked, or entries
    /// still name the slot.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_retired_slot(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if page.has(flag::LOCKED) || (page.has(flag::SWAPCACHE) && !self.try_to_free_swap(pfn)) {
            return false;
        }
        page.clear_flags(flag::ERROR);
        true
    }
}
