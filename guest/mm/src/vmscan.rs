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
//! Source: Linux, mm/vmscan.c. Rules F4, F5, F6, F7, F10, F11. Differs from Linux: pages under writeback are on no list, so none is ever found;
//! pages are looked at one by one instead of in isolated batches; those about to be written count as reclaimed.

use crate::addr::Pfn;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat, Stage, Vmstat};
use crate::rmap::Walk;
use crate::shmem::InodeId;
use crate::swap::{Batch, CLUSTER_MAX, SwapSlot};
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

impl<P: Platform> Memory<P> {
    /// Whether somebody found memory low since [`Memory::kswapd`] last ran.
    #[inline(always)]
    pub fn kswapd_wanted(&self) -> bool {
        self.kswapd_wake.get() != 0
    }

    /// Reclaims until free memory is above the high watermark, or nothing more can be freed. Rule F7.
    pub fn kswapd(&self) {
        self.kswapd_wake.set(0);
        let _guard = self.locks.mmap.lock();
        self.memalloc.set(1);
        self.swap_reap(false);
        while self.nr_free_pages() + self.swap_pages_under_way() <= self.zone.watermark(Watermark::High) {
            if self.shrink_node(NR_TO_RECLAIM, Reclaimer::Kswapd) == 0 {
                break;
            }
        }
        self.memalloc.set(0);
        // What the disks have yet to answer is taken in the next time.
        if self.swap_in_flight() {
            self.kswapd_wake.set(1);
        }
    }

    /// Direct reclaim: the allocation that calls cannot be satisfied. Returns the frames that are free or about to be.
    pub(crate) fn try_to_free_pages(&self) -> u32 {
        self.count(Vmstat::Allocstall);
        self.platform.stage(Stage::ReclaimStart, 0);
        self.memalloc.set(1);
        // What was written before may be there by now, which costs less than writing more.
        let freed = match self.swap_reap(true) {
            0 => self.shrink_node(NR_TO_RECLAIM, Reclaimer::Direct),
            freed => freed,
        };
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

    /// `MADV_PAGEOUT`: moves one page out now, used or not. Returns whether its frame is free or about to be. Rule F30.
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
                if batch.is_full() {
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
    pub(crate) fn putback_lru_page(&self, pfn: Pfn) {
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
            self.try_to_free_swap(pfn);
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
            let slot = SwapSlot::of_page(page);
            if page.has(flag::DIRTY) && self.swap_is_meant(slot) {
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
        let slot = page.has(flag::ANON).then(|| SwapSlot::of_page(page));
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
}
