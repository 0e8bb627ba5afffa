//! Going through the lists.
//!
//! Pages are looked at from the one put on its list longest ago on; what stays goes back to the head of a list. A round of priority `p`
//! looks at a `1 << p`th of each list, [`SWAP_CLUSTER_MAX`] at a time.
//!
//! Source: Linux, mm/vmscan.c (`shrink_lruvec`, `shrink_active_list`, `shrink_inactive_list`, `inactive_is_low`, `get_scan_count`).
//! Rules F5, F6, F8. Differs from Linux: pages are taken off their list one by one instead of in batches; there are no file
//! lists, so all of the work falls to the anonymous ones, as it does on Linux when free and file pages together do not make the
//! high watermark, whatever `swappiness` says.

use super::page::Outcome;
use super::{Progress, Reclaimer, SWAP_CLUSTER_MAX, Scan};
use crate::addr::{PAGE_SHIFT, Pfn};
use crate::lru::LruList;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage, Vmstat};
use crate::swap::Batch;

/// How many times more active pages than inactive ones there may be, for so many pages of both: the square root of ten times their
/// gibibytes, at least 1. Source: Linux `inactive_is_low`. Rule F5.
fn inactive_ratio(pages: u64) -> u64 {
    match pages >> (30 - PAGE_SHIFT) {
        0 => 1,
        gib => (10 * gib).isqrt(),
    }
}

impl<P: Platform> Memory<P> {
    /// Whether there are too few inactive pages to choose from. Rule F5.
    pub(super) fn inactive_is_low(&self) -> bool {
        let inactive = u64::from(self.lru_count(LruList::InactiveAnon));
        let active = u64::from(self.lru_count(LruList::ActiveAnon));
        inactive * inactive_ratio(inactive + active) < active
    }

    /// One round. Without room in swap there is nowhere to put these pages, so they are not looked at. Rule F6.
    pub(super) fn shrink_lruvec(&self, scan: &Scan) -> Progress {
        let mut progress = Progress::default();
        if !self.swap_has_room() {
            return progress;
        }
        let may_deactivate = scan.force_deactivate || self.inactive_is_low() || self.workingset.refaulted();
        let mut inactive = self.lru_count(LruList::InactiveAnon) >> scan.priority;
        let mut active = self.lru_count(LruList::ActiveAnon) >> scan.priority;
        progress.skipped_deactivate = active != 0 && !may_deactivate;
        while inactive != 0 || active != 0 {
            let (some_active, some_inactive) = (active.min(SWAP_CLUSTER_MAX), inactive.min(SWAP_CLUSTER_MAX));
            active -= some_active;
            inactive -= some_inactive;
            progress += self.shrink_inactive_list(some_inactive, scan.who);
            if may_deactivate {
                self.shrink_active_list(some_active);
            }
            if progress.reclaimed >= scan.target {
                break;
            }
        }
        self.age_active_anon();
        progress
    }

    /// Keeps enough inactive pages to choose from. Source: Linux `kswapd_age_node`.
    pub(super) fn age_active_anon(&self) {
        if self.total_swap_pages() != 0 && self.inactive_is_low() {
            self.shrink_active_list(SWAP_CLUSTER_MAX);
        }
    }

    /// Moves the oldest active pages to the inactive list, used or not: there their use counts from zero. Rule F5.
    pub(crate) fn shrink_active_list(&self, nr_to_scan: u32) {
        for _ in 0..nr_to_scan {
            let Some(pfn) = self.lru_tail(LruList::ActiveAnon) else {
                return;
            };
            self.lru_del(pfn);
            let page = self.page(pfn);
            if self.page_is_locked_in(pfn) {
                page.clear_flags(flag::ACTIVE);
                page.set_flags(flag::UNEVICTABLE);
                self.lru_add(pfn);
                continue;
            }
            self.page_referenced(pfn);
            page.clear_flags(flag::ACTIVE | flag::REFERENCED);
            page.set_flags(flag::WORKINGSET);
            self.lru_add(pfn);
            self.count(Vmstat::Pgdeactivate);
        }
    }

    /// Looks at the oldest inactive pages. Those gathered to be written are written before it returns.
    pub(super) fn shrink_inactive_list(&self, nr_to_scan: u32, who: Reclaimer) -> Progress {
        let mut batch = Batch::new();
        let mut progress = Progress::default();
        while progress.scanned < nr_to_scan {
            let Some(pfn) = self.lru_tail(LruList::InactiveAnon) else {
                break;
            };
            progress.scanned += 1;
            progress.reclaimed += self.isolate_and_shrink(pfn, &mut batch, false);
        }
        progress.reclaimed += self.write_batch(&mut batch);
        let (scan, steal) = match who {
            Reclaimer::Kswapd => (Vmstat::PgscanKswapd, Vmstat::PgstealKswapd),
            Reclaimer::Direct => (Vmstat::PgscanDirect, Vmstat::PgstealDirect),
        };
        self.platform.count(scan, u64::from(progress.scanned));
        self.platform.count(steal, u64::from(progress.reclaimed));
        progress
    }

    /// `MADV_PAGEOUT`: moves one page out now, used or not. Returns whether its frame is free or about to be. Rule F30.
    pub(crate) fn reclaim_page(&self, pfn: Pfn) -> bool {
        if !self.page(pfn).has(flag::LRU) || self.page(pfn).has(flag::UNEVICTABLE) || !self.swap_has_room() {
            return false;
        }
        self.platform.stage(Stage::PageoutStart, 0);
        self.memalloc.set(1);
        let mut batch = Batch::new();
        let freed = self.isolate_and_shrink(pfn, &mut batch, true) + self.write_batch(&mut batch);
        self.memalloc.set(0);
        self.platform.stage(Stage::PageoutEnd, u64::from(freed));
        freed != 0
    }

    /// Takes a page off its list and does what [`Memory::shrink_page`] says. Returns the frames that are free or
    /// about to be.
    fn isolate_and_shrink(&self, pfn: Pfn, batch: &mut Batch, ignore_references: bool) -> u32 {
        let page = self.page(pfn);
        self.lru_del(pfn);
        self.get_page(pfn);
        if !page.trylock() {
            self.putback_lru_page(pfn);
            return 0;
        }
        match self.shrink_page(pfn, ignore_references) {
            Outcome::Free => {
                page.step(Event::Unlock);
                self.free_swap_cached(pfn);
                return 1;
            }
            Outcome::Write(slot, inode) => return self.add_to_batch(batch, pfn, slot, inode),
            Outcome::Activate => {
                page.set_flags(flag::ACTIVE);
                self.count(Vmstat::Pgactivate);
            }
            Outcome::Unevictable => {
                page.clear_flags(flag::ACTIVE);
                page.set_flags(flag::UNEVICTABLE);
            }
            Outcome::Keep => {}
        }
        page.step(Event::Unlock);
        self.putback_lru_page(pfn);
        0
    }

    /// Puts an isolated page back on the list that its flags say.
    pub(crate) fn putback_lru_page(&self, pfn: Pfn) {
        self.lru_add(pfn);
        self.put_page(pfn);
    }
}

#[cfg(test)]
mod tests {
    use super::inactive_ratio;

    /// F5: what Linux documents beside `inactive_is_low`.
    #[test]
    fn ratios_are_those_of_linux() {
        let gib = |gib: u64| gib << (30 - 12);
        assert_eq!(inactive_ratio(0), 1);
        assert_eq!(inactive_ratio(gib(1) / 10), 1);
        assert_eq!(inactive_ratio(gib(1) - 1), 1);
        assert_eq!(inactive_ratio(gib(1)), 3);
        assert_eq!(inactive_ratio(gib(10)), 10);
        assert_eq!(inactive_ratio(gib(100)), 31);
        assert_eq!(inactive_ratio(gib(1024)), 101);
        assert_eq!(inactive_ratio(gib(10 * 1024)), 320);
    }
}
