//! Reclaim: which frames to take back, and taking them.
//!
//! ```text
//! active list --(deactivate, oldest first)--> inactive list --(oldest first)--> shrink_page
//!                                                                                   |
//!   used since the last look ............................ back to a list            |
//!   unmap everywhere, name a slot, write (in clusters) ... freed  <-----------------+
//! ```
//!
//! Dirty pages are gathered while their slots are consecutive and written by one request; until the disk has answered they are in
//! the swap cache, where a fault finds them.
//!
//! Source: Linux, mm/vmscan.c. Rules F4, F5, F6, F7, F10, F11, F29. Differs from Linux: writes complete before reclaim goes on, so no
//! page is ever found under writeback; pages are looked at one by one instead of in isolated batches.

use crate::addr::Pfn;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat, Stage, Vmstat};
use crate::rmap::Walk;
use crate::shmem::InodeId;
use crate::swap::{CLUSTER_MAX, SwapSlot};
use crate::vma::vm;
use crate::zone::Watermark;

/// Passes with growing effort: each scans twice the share of the lists. Source: Linux `DEF_PRIORITY`.
const DEF_PRIORITY: u32 = 12;
/// Frames that one call of direct reclaim tries to free. Source: Linux `SWAP_CLUSTER_MAX`.
const NR_TO_RECLAIM: u32 = CLUSTER_MAX as u32;

/// Who reclaims, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reclaimer {
    Kswapd,
    Direct,
}

/// What becomes of a page that reclaim looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Back to the inactive list.
    Keep,
    /// To the active list.
    Activate,
    /// To the list of those that reclaim does not look at.
    Unevictable,
    /// It is free now.
    Freed,
    /// It is to be written to this slot; the object that it came from, if it is no anonymous page.
    Write(SwapSlot, Option<InodeId>),
}

/// Pages to be written to consecutive slots. Each is off the lists, with a reference for the batch.
struct Batch {
    pfns: [Pfn; CLUSTER_MAX],
    inodes: [Option<InodeId>; CLUSTER_MAX],
    len: usize,
    first: SwapSlot,
}

impl<P: Platform> Memory<P> {
    /// Whether somebody found memory low since [`Memory::kswapd`] last ran.
    #[inline(always)]
    pub fn kswapd_wanted(&self) -> bool {
        self.kswapd_wake.get() != 0
    }

    /// Reclaims until free memory is above the high watermark, or nothing more can be freed. Rule F7.
    #[cold]
    #[inline(never)]
    pub fn kswapd(&self) {
        let order = self.kswapd_wake.get().saturating_sub(1);
        self.kswapd_wake.set(0);
        let _guard = self.locks.mmap.lock();
        self.balance_pgdat();
        self.kcompactd(order);
    }

    /// [`Memory::kswapd`] for who holds the `mmap_lock`.
    pub(crate) fn balance_pgdat(&self) {
        self.memalloc.set(1);
        while !self.zone.watermark_ok(0, Watermark::High) {
            if self.shrink_node(NR_TO_RECLAIM, Reclaimer::Kswapd) == 0 {
                break;
            }
        }
        self.memalloc.set(0);
    }

    /// Direct reclaim: the allocation that calls cannot be satisfied. Returns the frames freed.
    pub(crate) fn try_to_free_pages(&self) -> u32 {
        self.platform.stage(Stage::ReclaimStart, 0);
        self.memalloc.set(1);
        let freed = self.shrink_node(NR_TO_RECLAIM, Reclaimer::Direct);
        self.memalloc.set(0);
        self.platform.stage(Stage::ReclaimEnd, u64::from(freed));
        freed
    }

    fn shrink_node(&self, target: u32, who: Reclaimer) -> u32 {
        let mut freed = 0;
        for priority in (0..=DEF_PRIORITY).rev() {
            // Without room in swap there is nowhere to put such pages. Rule F6.
            if !self.swap_has_room() {
                break;
            }
            let inactive = self.lru_count(LruList::InactiveAnon);
            let active = self.lru_count(LruList::ActiveAnon);
            if inactive < active {
                self.shrink_active_list((active >> priority).max(NR_TO_RECLAIM));
            }
            freed += self.shrink_inactive_list((inactive >> priority).max(NR_TO_RECLAIM), who);
            if freed >= target {
                break;
            }
        }
        freed
    }

    /// Moves the oldest active pages to the inactive list. Rule F5.
    fn shrink_active_list(&self, nr_to_scan: u32) {
        for _ in 0..nr_to_scan.min(self.lru_count(LruList::ActiveAnon)) {
            let Some(pfn) = self.lru_tail(LruList::ActiveAnon) else {
                return;
            };
            self.lru_del(pfn);
            if self.page_is_locked_in(pfn) {
                self.page(pfn).set_flags(flag::UNEVICTABLE);
                self.lru_add(pfn);
                continue;
            }
            self.page_referenced(pfn);
            self.page(pfn).clear_flags(flag::ACTIVE | flag::REFERENCED);
            self.lru_add(pfn);
            self.count(Vmstat::Pgdeactivate);
        }
    }

    fn shrink_inactive_list(&self, nr_to_scan: u32, who: Reclaimer) -> u32 {
        let mut freed = 0;
        let mut batch = Batch::new();
        let nr_to_scan = nr_to_scan.min(self.lru_count(LruList::InactiveAnon));
        let mut scanned = 0;
        while scanned < nr_to_scan {
            let Some(pfn) = self.lru_tail(LruList::InactiveAnon) else {
                break;
            };
            scanned += 1;
            freed += self.isolate_and_shrink(pfn, &mut batch, false);
        }
        freed += self.write_batch(&mut batch);
        let (scan, steal) = match who {
            Reclaimer::Kswapd => (Vmstat::PgscanKswapd, Vmstat::PgstealKswapd),
            Reclaimer::Direct => (Vmstat::PgscanDirect, Vmstat::PgstealDirect),
        };
        self.platform.count(scan, u64::from(scanned));
        self.platform.count(steal, u64::from(freed));
        freed
    }

    /// `MADV_PAGEOUT`: moves one page out now, used or not. Returns whether its frame is free. Rule F30.
    pub(crate) fn reclaim_page(&self, pfn: Pfn) -> bool {
        if !self.page(pfn).has(flag::LRU) || self.page(pfn).has(flag::UNEVICTABLE) || !self.swap_has_room() {
            return false;
        }
        self.memalloc.set(1);
        let mut batch = Batch::new();
        let freed = self.isolate_and_shrink(pfn, &mut batch, true) + self.write_batch(&mut batch);
        self.memalloc.set(0);
        freed != 0
    }

    /// Takes a page off its list and does what [`Memory::shrink_page`] says. Returns the frames freed.
    fn isolate_and_shrink(&self, pfn: Pfn, batch: &mut Batch, ignore_references: bool) -> u32 {
        self.lru_del(pfn);
        self.get_page(pfn);
        let mut freed = 0;
        match self.shrink_page(pfn, ignore_references) {
            Outcome::Freed => return 1,
            Outcome::Write(slot, inode) => {
                if !batch.accepts(slot) {
                    freed = self.write_batch(batch);
                }
                batch.push(pfn, slot, inode);
                if batch.len == CLUSTER_MAX {
                    freed += self.write_batch(batch);
                }
                return freed;
            }
            Outcome::Activate => {
                self.page(pfn).set_flags(flag::ACTIVE);
                self.count(Vmstat::Pgactivate);
            }
            Outcome::Unevictable => self.page(pfn).set_flags(flag::UNEVICTABLE),
            Outcome::Keep => {}
        }
        self.putback_lru_page(pfn);
        0
    }

    /// Puts an isolated page back on the list that its flags say.
    fn putback_lru_page(&self, pfn: Pfn) {
        self.lru_add(pfn);
        self.put_page(pfn);
    }

    /// Decides about one isolated page, in Linux's order. Rules F4, F10.
    fn shrink_page(&self, pfn: Pfn, ignore_references: bool) -> Outcome {
        let page = self.page(pfn);
        if page.flags.get() & (flag::LOCKED | flag::ERROR) != 0 && !self.leave_retired_slot(pfn) {
            return Outcome::Activate;
        }
        // SHM_LOCK: found here, the page is moved out of the way. Rule A55.
        if self.page_is_locked_in(pfn) {
            return Outcome::Unevictable;
        }
        if !ignore_references {
            let referenced_ptes = self.page_referenced(pfn);
            let referenced_before = page.has(flag::REFERENCED);
            page.clear_flags(flag::REFERENCED);
            if referenced_ptes > 1 || (referenced_ptes == 1 && referenced_before) {
                return Outcome::Activate;
            }
            if referenced_ptes == 1 {
                page.set_flags(flag::REFERENCED);
                return Outcome::Keep;
            }
        }
        if page.has(flag::ANON) && !page.has(flag::SWAPCACHE) {
            if self.add_to_swap(pfn, 0).is_none() {
                return Outcome::Activate;
            }
            page.set_flags(flag::DIRTY);
        }
        if page.mapcount.get() != 0 && !self.try_to_unmap(pfn) {
            if self.page_evictable(pfn) {
                return Outcome::Activate;
            }
            // Locked since it was put on its list. Rule B31. A slot that nobody means is not kept for it.
            if page.has(flag::SWAPCACHE) && self.swap_count(SwapSlot::of_entry(page.private.get())) == 0 {
                self.delete_from_swap_cache(pfn);
                self.put_page(pfn);
            }
            return Outcome::Unevictable;
        }
        // The isolation's reference, and that of the page cache or the swap cache: more means that somebody works with the page.
        if page.refcount.get() != 2 {
            return Outcome::Keep;
        }
        self.pageout(pfn)
    }

    /// Writes an unmapped page, or frees it when its slot has the content already. Rule F11.
    fn pageout(&self, pfn: Pfn) -> Outcome {
        let page = self.page(pfn);
        if page.has(flag::SWAPCACHE) {
            let slot = SwapSlot::of_entry(page.private.get());
            if page.has(flag::DIRTY) && self.swap_count(slot) != 0 {
                return Outcome::Write(slot, None);
            }
            self.free_swap_cached(pfn);
            return Outcome::Freed;
        }
        let Some(inode) = self.inode_of(pfn) else {
            return Outcome::Keep;
        };
        match self.shmem_writepage(pfn) {
            Some(slot) => Outcome::Write(slot, Some(inode)),
            None => Outcome::Activate,
        }
    }

    /// Frees an isolated page whose slot has its content.
    fn free_swap_cached(&self, pfn: Pfn) {
        self.delete_from_swap_cache(pfn);
        self.put_page(pfn);
        self.put_page(pfn);
    }

    /// How many entries used the page since the last look; they are made old.
    fn page_referenced(&self, pfn: Pfn) -> u32 {
        let mut young = 0;
        self.rmap_walk(pfn, |_, _, pte| {
            let entry = pte.get();
            if P::Pte::is_young(entry) {
                // As on Linux's x86: no TLB flush; the worst is that a page used right now looks unused once.
                pte.set(P::Pte::mkold(entry));
                young += 1;
            }
            Walk::Continue
        });
        young
    }

    /// Removes every entry that maps the page: of an anonymous page, entries then name its slot. `false` when one must stay.
    fn try_to_unmap(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        let slot = page.has(flag::ANON).then(|| SwapSlot::of_entry(page.private.get()));
        self.rmap_walk(pfn, |vma, addr, pte| {
            if vma.has(vm::LOCKED) {
                return Walk::Stop;
            }
            let Some(mm_id) = vma.vm_mm() else { return Walk::Stop };
            let mm = self.mm(mm_id);
            match slot {
                Some(slot) if self.swap_duplicate(slot).is_err() => return Walk::Stop,
                Some(slot) => {
                    if P::Pte::is_dirty(pte.get()) {
                        page.set_flags(flag::DIRTY);
                    }
                    pte.set(P::Pte::swap(slot.entry()));
                    mm.set_swapents(mm.swapents() + 1);
                }
                None => pte.set(0),
            }
            self.platform.flush_tlb_page(mm.pgd(), addr);
            self.add_rss(mm, pfn, -1);
            self.page_remove_rmap(pfn);
            page.refcount.sub(1);
            Walk::Continue
        });
        page.mapcount.get() == 0
    }

    /// Writes the batch and frees what was written. Returns the frames freed.
    fn write_batch(&self, batch: &mut Batch) -> u32 {
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
            self.free_swap_cached(pfn);
        }
        len as u32
    }

    /// The disk refused the batch. Each page is tried alone; those that are refused again stay in memory, and their slots are not given
    /// out any more. Returns the frames freed. Rule F29.
    #[cold]
    #[inline(never)]
    fn write_failed(&self, batch: &Batch, len: usize) -> u32 {
        let mut freed = 0;
        for i in 0..len {
            let (pfn, slot) = (batch.pfns[i], SwapSlot(batch.first.0 + i as u32));
            if len > 1 && self.platform.swap_write(slot.0, &[pfn]).is_ok() {
                self.count(Vmstat::Pswpout);
                self.free_swap_cached(pfn);
                freed += 1;
                continue;
            }
            self.page(pfn).set_flags(flag::ERROR | flag::ACTIVE);
            self.retire_slot(slot);
            if let Some(inode) = batch.inodes[i] {
                self.shmem_unwritepage(inode, pfn, slot);
            }
            self.putback_lru_page(pfn);
        }
        freed
    }

    /// Lets a page whose slot was retired be written to another one. `false` when it cannot be reclaimed now: it is locked, or entries
    /// still name the slot.
    #[cold]
    #[inline(never)]
    fn leave_retired_slot(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if page.has(flag::LOCKED) {
            return false;
        }
        if page.has(flag::SWAPCACHE) {
            if self.swap_count(SwapSlot::of_entry(page.private.get())) != 0 {
                return false;
            }
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
            page.set_flags(flag::DIRTY);
        }
        page.clear_flags(flag::ERROR);
        true
    }
}

impl Batch {
    fn new() -> Self {
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
