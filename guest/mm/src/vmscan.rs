//! Reclaim: which frames to take back, and taking them.
//!
//! ```text
//! active list --(deactivate, oldest first)--> inactive list --(oldest first)--> shrink_page
//!                                                                                   |
//!   used since the last look ............................ back to a list            |
//!   unmap everywhere, name a slot, write (in clusters) ... freed  <-----------------+
//! ```
//!
//! Two reclaim: *kswapd*, woken when an allocation finds the low watermark crossed, until free memory is above the high one; and an
//! allocation itself, when there is nothing above the min one (*direct reclaim*). Both go in rounds, each of which looks at twice
//! the share of the lists that the one before looked at.
//!
//! | file | |
//! |---|---|
//! | `vmscan.rs` | who reclaims, when, how much |
//! | `vmscan/lists.rs` | going through the lists |
//! | `vmscan/page.rs` | what becomes of one page |
//!
//! Writing is [`crate::swap`]'s.
//!
//! Source: Linux, mm/vmscan.c (`balance_pgdat`, `kswapd`, `do_try_to_free_pages`, `shrink_node`). Rules F7, F8, E14, E17. Differs from
//! Linux: pages under writeback are on no list, so none is ever found; those about to be written count as reclaimed; nothing is throttled; no
//! object cache has anything that could be given up; kswapd sleeps between runs that free nothing, since the program that could free
//! something has to wait for it.

mod lists;
mod page;
#[cfg(test)]
mod tests;

use core::ops::AddAssign;

use crate::memory::Memory;
use crate::platform::{Platform, Stage};
use crate::sync::Word32;
use crate::zone::Watermark;

/// The first round's priority: it looks at a 4,096th of each list. Source: Linux `DEF_PRIORITY`.
const DEF_PRIORITY: u32 = 12;
/// Pages looked at together, and frames that one call of direct reclaim tries to free. Source: Linux `SWAP_CLUSTER_MAX`.
const SWAP_CLUSTER_MAX: u32 = 32;
/// Runs of kswapd in a row that free nothing, after which it is not woken. Source: Linux `MAX_RECLAIM_RETRIES`. Rule F7.
const KSWAPD_FAILURES_MAX: u32 = 16;

/// Of these, so many before it sleeps: the first makes pages look unused, the second takes them.
const RUNS_IN_VAIN_MAX: u32 = 2;

/// Who reclaims, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reclaimer {
    Kswapd,
    Direct,
}

/// What a round is to do. Source: Linux `struct scan_control`.
#[derive(Clone, Copy, Debug)]
struct Scan {
    who: Reclaimer,
    /// A `1 << priority`th of each list is looked at.
    priority: u32,
    /// Frames to free, after which it ends early.
    target: u32,
    /// Deactivate even where enough pages are inactive.
    force_deactivate: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Inactive pages looked at.
    scanned: u32,
    /// Frames freed.
    reclaimed: u32,
    /// Whether active pages were left alone because enough were inactive.
    skipped_deactivate: bool,
}

impl AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.reclaimed += other.reclaimed;
        self.skipped_deactivate |= other.skipped_deactivate;
    }
}

/// What kswapd remembers.
#[derive(Debug)]
pub(crate) struct Kswapd {
    /// Its runs in a row that freed nothing.
    failures: Word32,
}

impl Kswapd {
    pub(crate) const fn new() -> Self {
        Self {
            failures: Word32::new(0),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Whether there is anything to do before a program goes on: for kswapd ([`Memory::kswapd_wanted`]), or because a fault is a program's to
    /// answer ([`Memory::take_userfault`]). One load, for the end of every call.
    #[inline(always)]
    pub fn work_is_deferred(&self) -> bool {
        self.kswapd_wake.get() != 0
    }

    /// [`Memory::work_is_deferred`] is true once. kswapd looks, and finds nothing to do.
    pub fn defer_work(&self) {
        self.wake_kswapd(0);
    }

    /// Whether somebody found memory low since [`Memory::kswapd`] last ran, and running it again may help.
    #[inline(always)]
    pub fn kswapd_wanted(&self) -> bool {
        self.kswapd_wake.get() != 0 && (self.kswapd.failures.get() < KSWAPD_FAILURES_MAX || self.swap_in_flight())
    }

    /// Reclaims until free memory is above the high watermark, or nothing more can be freed. Rule F7.
    #[cold]
    #[inline(never)]
    pub fn kswapd(&self) {
        let order = self.kswapd_wake.get().saturating_sub(1);
        self.kswapd_wake.set(0);
        let _guard = self.locks.mmap.lock();
        self.swap_reap(false);
        if self.kswapd.failures.get() < KSWAPD_FAILURES_MAX {
            self.kswapd_do_work();
        }
        self.kcompactd(order);
        // What the disks have yet to answer is taken in the next time.
        if self.swap_in_flight() {
            self.wake_kswapd(0);
        }
    }

    /// [`Memory::kswapd`] for who holds the `mmap_lock`.
    pub(crate) fn kswapd_do_work(&self) {
        self.memalloc.set(1);
        // It looks again before it sleeps. Source: Linux `prepare_kswapd_sleep`.
        let mut in_vain = 0;
        while !self.is_balanced() && in_vain < RUNS_IN_VAIN_MAX {
            in_vain = if self.balance_pgdat() == 0 { in_vain + 1 } else { 0 };
        }
        self.memalloc.set(0);
    }

    /// Whether kswapd is done: so much memory is free, or will be when writes under way are answered.
    fn is_balanced(&self) -> bool {
        let free = self.nr_free_pages() + self.swap_pages_under_way();
        self.zone.watermark_ok(0, Watermark::High)
            || (self.swap_in_flight() && free > self.zone.watermark(Watermark::High))
    }

    /// Wakes kswapd for a block of `1 << order` frames; a larger one that it was woken for is not forgotten.
    pub(crate) fn wake_kswapd(&self, order: u32) {
        self.kswapd_wake.set(self.kswapd_wake.get().max(order + 1));
    }

    /// Rounds of priority 12 down to 1, until enough is free. A round is repeated while it finds enough to look at and frees
    /// some of it. Returns the frames freed. Rules F7, F8.
    fn balance_pgdat(&self) -> u32 {
        let target = u32::try_from(self.zone.watermark(Watermark::High)).unwrap_or(u32::MAX);
        let target = target.max(SWAP_CLUSTER_MAX);
        let mut priority = DEF_PRIORITY;
        let mut reclaimed = 0;
        self.workingset.snapshot_refaults();
        while !self.is_balanced() {
            if priority == 0 {
                if reclaimed == 0 {
                    self.kswapd.failures.add(1);
                }
                return reclaimed;
            }
            self.age_active_anon();
            let progress = self.shrink_node(&Scan {
                who: Reclaimer::Kswapd,
                priority,
                target,
                force_deactivate: false,
            });
            reclaimed += progress.reclaimed;
            if progress.scanned < target || progress.reclaimed == 0 {
                priority -= 1;
            }
        }
        reclaimed
    }

    /// Direct reclaim: the allocation that calls cannot be satisfied. Returns the frames that are free or about to be.
    pub(crate) fn try_to_free_pages(&self) -> u32 {
        self.platform.stage(Stage::ReclaimStart, 0);
        self.memalloc.set(1);
        // What was written before may be there by now, which costs less than writing more.
        let freed = match self.swap_reap(true) {
            0 => self.do_try_to_free_pages(),
            freed => freed,
        };
        self.memalloc.set(0);
        self.platform.stage(Stage::ReclaimEnd, u64::from(freed));
        freed
    }

    /// Rounds of priority 12 down to 0, until [`SWAP_CLUSTER_MAX`] frames are freed; again, with active pages, if they were spared and
    /// nothing was freed.
    fn do_try_to_free_pages(&self) -> u32 {
        for force_deactivate in [false, true] {
            let mut progress = Progress::default();
            for priority in (0..=DEF_PRIORITY).rev() {
                progress += self.shrink_node(&Scan {
                    who: Reclaimer::Direct,
                    priority,
                    target: SWAP_CLUSTER_MAX,
                    force_deactivate,
                });
                if progress.reclaimed >= SWAP_CLUSTER_MAX {
                    break;
                }
            }
            self.workingset.snapshot_refaults();
            if progress.reclaimed != 0 || !progress.skipped_deactivate {
                return progress.reclaimed;
            }
        }
        0
    }

    fn shrink_node(&self, scan: &Scan) -> Progress {
        let progress = self.shrink_lruvec(scan);
        if progress.reclaimed != 0 {
            self.kswapd.failures.set(0);
        }
        progress
    }
}
