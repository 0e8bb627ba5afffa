//! Pages on their way to the disk: gathered while their slots are consecutive, written by one request.
//!
//! A page of a batch is off the lists, under writeback, in the swap cache, and the batch has a reference to it.
//!
//! Source: Linux, mm/page_io.c (`swap_writepage`, `end_swap_bio_write`). Rules F11, F29.

use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage, Vmstat};
use crate::shmem::InodeId;
use crate::swap::{CLUSTER_MAX, SwapSlot};

/// Pages to be written to consecutive slots.
pub(super) struct Batch {
    pfns: [Pfn; CLUSTER_MAX],
    inodes: [Option<InodeId>; CLUSTER_MAX],
    len: usize,
    first: SwapSlot,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            pfns: [Pfn(0); CLUSTER_MAX],
            inodes: [None; CLUSTER_MAX],
            len: 0,
            first: SwapSlot(0),
        }
    }

    /// Whether a page for `slot` can be written together with those gathered.
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
    /// What the batch held before is written first if need be, or with it if that fills it. Returns the frames freed.
    pub(super) fn add_to_batch(&self, batch: &mut Batch, pfn: Pfn, slot: SwapSlot, inode: Option<InodeId>) -> u32 {
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

    /// Writes the batch and frees what was written. Returns the frames freed.
    pub(super) fn write_batch(&self, batch: &mut Batch) -> u32 {
        let len = core::mem::take(&mut batch.len);
        if len == 0 {
            return 0;
        }
        let first = batch.first.0;
        self.platform.stage(Stage::SwapWriteStart, u64::from(first));
        let written = self.platform.swap_write(first, &batch.pfns[..len]);
        self.platform.stage(Stage::SwapWriteEnd, u64::from(first));
        if written.is_err() {
            return self.write_failed(batch, len);
        }
        self.platform.count(Vmstat::Pswpout, len as u64);
        for &pfn in &batch.pfns[..len] {
            self.page(pfn).step(Event::EndWriteback);
            self.free_swap_cached(pfn);
        }
        len as u32
    }

    /// The disk refused the batch. Each page is tried alone; those that are refused again stay in memory, dirty, and their slots are not
    /// given out any more. Returns the frames freed. Rule F29.
    #[cold]
    #[inline(never)]
    fn write_failed(&self, batch: &Batch, len: usize) -> u32 {
        let mut freed = 0;
        for i in 0..len {
            let (pfn, slot) = (batch.pfns[i], SwapSlot(batch.first.0 + i as u32));
            if len > 1 && self.platform.swap_write(slot.0, &[pfn]).is_ok() {
                self.count(Vmstat::Pswpout);
                self.page(pfn).step(Event::EndWriteback);
                self.free_swap_cached(pfn);
                freed += 1;
                continue;
            }
            let page = self.page(pfn);
            page.steps([Event::Dirty, Event::EndWriteback]);
            page.set_flags(flag::ERROR | flag::ACTIVE);
            self.retire_slot(slot);
            if let Some(inode) = batch.inodes[i] {
                self.shmem_unwritepage(inode, pfn, slot);
            }
            self.putback_lru_page(pfn);
        }
        freed
    }

    /// Lets a page whose slot was retired be written to another one. `false` when it cannot be reclaimed now: entries still name the
    /// slot. The page is locked.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_retired_slot(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if page.has(flag::SWAPCACHE) {
            if self.swap_count(SwapSlot::of_entry(page.private.get())) != 0 {
                return false;
            }
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
            page.step(Event::Dirty);
        }
        page.clear_flags(flag::ERROR);
        true
    }
}
