//! Compaction: making one large free block of many small ones.
//!
//! ```text
//!   lowest frame                                                                     highest frame
//!   [u.m|mm..|.u.m|....|mm.m|..u.|m...|....|.m..|....|....|..m.]    u stays, m can be moved, . free
//!    migrate scanner -->                          <-- free scanner
//!    (takes pages that can be moved)              (takes free frames)
//! ```
//!
//! Two scanners go over the zone's pageblocks, towards each other: one collects pages that can be moved, the other free frames to move
//! them to. Pages wander up, free frames down, until a block of the wanted size has come together or the scanners meet. They remember where
//! they were, so that the next allocation goes on instead of looking at the same pageblocks again; and when a whole round made no
//! block, compaction is *deferred*: left out for the next 2, 4, ... 64 attempts.
//!
//! Moving a page is [`migrate`]'s business: the reverse mapping tells who maps it, and nobody notices.
//!
//! Source: Linux 5.10, mm/compaction.c; Documentation/mm/page_migration.rst. Rule E13 (5), (6). Differs from Linux: the scanners meet at a frame, not
//! at a pageblock, so that a machine of a few pageblocks can be compacted, too.

mod migrate;
mod scan;
mod suitable;
#[cfg(test)]
mod tests;

pub use suitable::fragmentation_index;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::memory::Memory;
use crate::page::flag;
use crate::page_alloc::freelist::AllocContext;
use crate::platform::{Platform, Vmstat};
use crate::sync::Word32;
use crate::zone::Watermark;

/// Pages that are moved together at most. Source: Linux `COMPACT_CLUSTER_MAX`.
const CLUSTER_MAX: usize = 32;
/// Compaction is left out for at most `2^this` attempts. Source: Linux `COMPACT_MAX_DEFER_SHIFT`.
const MAX_DEFER_SHIFT: u32 = 6;

/// How much effort is worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompactPriority {
    /// Everything: deferral is ignored, pageblocks of all types are looked at.
    SyncFull = 0,
    /// What is usual.
    SyncLight = 1,
    /// What is cheap: pageblocks of movable pages only.
    Async = 2,
}

impl CompactPriority {
    /// The next more effort.
    #[must_use]
    pub const fn higher(self) -> Self {
        match self {
            Self::Async => Self::SyncLight,
            Self::SyncLight | Self::SyncFull => Self::SyncFull,
        }
    }
}

/// What compaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactResult {
    /// Not tried: too few free frames to move pages to, or memory is not what is scattered.
    Skipped,
    /// Not tried: it failed lately.
    Deferred,
    /// There is a block now.
    Success,
    /// The scanners met, but had begun where the last scan ended: there is no block where they looked.
    Partial,
    /// The scanners met after a look at everything, and there is no block.
    Complete,
}

/// Where the scanners are, and what is known from failures.
#[derive(Debug)]
pub(crate) struct State {
    /// Where the migrate scanner goes on; 0 is the start.
    migrate_pfn: Word32,
    /// Where the free scanner goes on, downwards; 0 is the end.
    free_pfn: Word32,
    /// Attempts left out since the last failure. Source: Linux `compact_considered`.
    considered: Word32,
    /// log2 of the attempts to be left out.
    defer_shift: Word32,
    /// The lowest order that failed; those below are worth a try.
    order_failed: Word32,
}

impl State {
    pub(crate) const fn new() -> Self {
        Self {
            migrate_pfn: Word32::new(0),
            free_pfn: Word32::new(0),
            considered: Word32::new(0),
            defer_shift: Word32::new(0),
            order_failed: Word32::new(0),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Compacts, unless that failed lately or cannot help. Source: Linux `try_to_compact_pages`.
    pub(crate) fn try_to_compact_pages(&self, context: &AllocContext, priority: CompactPriority) -> CompactResult {
        if priority != CompactPriority::SyncFull && self.compaction_deferred(context.order) {
            return CompactResult::Deferred;
        }
        // What per-CPU lists hold may be all that is missing.
        self.zone.list_all_free(self.platform.memmap());
        let result = match self.compaction_suitable(context.order, context, self.zone.free_pages_count()) {
            suitable::Suitable::No => CompactResult::Skipped,
            suitable::Suitable::Already => CompactResult::Success,
            suitable::Suitable::Yes => self.compact_zone(context, priority),
        };
        // The slow path's next look decides whether a success was one.
        if result == CompactResult::Complete && priority != CompactPriority::Async {
            self.defer_compaction(context.order);
        }
        result
    }

    /// What kcompactd does after kswapd was woken for a block: it compacts in the background. Source: Linux `kcompactd_do_work`.
    pub(crate) fn kcompactd(&self, order: u32) {
        let context = AllocContext {
            gfp: Gfp::KERNEL,
            order,
            mark: Watermark::High,
            flags: 0,
            preferred: 0,
        };
        if order == 0 || self.zone.watermark_ok(order, Watermark::High) {
            return;
        }
        self.count(Vmstat::CompactDaemonWake);
        if self.try_to_compact_pages(&context, CompactPriority::SyncLight) == CompactResult::Success {
            self.compaction_defer_reset(order);
        }
    }

    /// Compacts all there is, whatever for. Source: Linux `vm.compact_memory`.
    pub fn compact_memory(&self) {
        let _guard = self.locks.mmap.lock();
        self.zone.list_all_free(self.platform.memmap());
        let mut scan = scan::Scan::resume(self, CompactPriority::SyncFull);
        while scan.step() {}
        scan.end(true);
    }

    /// Lets the scanners run until there is a block or they meet. All free frames are on the buddy lists.
    fn compact_zone(&self, context: &AllocContext, priority: CompactPriority) -> CompactResult {
        let mut scan = scan::Scan::resume(self, priority);
        let whole = scan.is_whole();
        let result = loop {
            if self.compact_finished(context) {
                break CompactResult::Success;
            }
            if !scan.step() {
                // Only a run over everything can say that there is nothing.
                break if whole {
                    CompactResult::Complete
                } else {
                    CompactResult::Partial
                };
            }
        };
        let met = !matches!(result, CompactResult::Success);
        scan.end(met);
        result
    }

    /// Whether there is a block for the request now.
    fn compact_finished(&self, context: &AllocContext) -> bool {
        let free = self.zone.free_pages_count();
        self.zone
            .watermark_ok_with(free, context.order, context.mark, context.highest(), context.flags)
    }

    /// Whether an attempt for this order is to be left out. Source: Linux `compaction_deferred`.
    fn compaction_deferred(&self, order: u32) -> bool {
        let state = &self.compact;
        let limit = 1 << state.defer_shift.get();
        if state.defer_shift.get() == 0 || order < state.order_failed.get() {
            return false;
        }
        state.considered.set((state.considered.get() + 1).min(limit));
        state.considered.get() < limit
    }

    /// A whole run made no block: twice as many attempts are left out from now on. Source: Linux `defer_compaction`.
    fn defer_compaction(&self, order: u32) {
        let state = &self.compact;
        state.considered.set(0);
        state
            .defer_shift
            .set((state.defer_shift.get() + 1).min(MAX_DEFER_SHIFT));
        let lowest = match state.order_failed.get() {
            0 => order,
            failed => failed.min(order),
        };
        state.order_failed.set(lowest);
    }

    /// An allocation of this order succeeded after compaction: the next is not left out. Source: Linux `compaction_defer_reset`.
    pub(crate) fn compaction_defer_reset(&self, order: u32) {
        let state = &self.compact;
        state.considered.set(0);
        state.defer_shift.set(0);
        state.order_failed.set(state.order_failed.get().max(order + 1));
    }

    /// Takes a page that is to be moved off its list, with a reference. `false` when it cannot be.
    fn isolate_lru_page(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if !page.has(flag::LRU) || page.flags.get() & (flag::LOCKED | flag::WRITEBACK | flag::HEAD) != 0 {
            return false;
        }
        self.lru_del(pfn);
        self.get_page(pfn);
        true
    }
}
