//! The slow path's steps in this memory manager.
//!
//! Differs from Linux: a direct reclaimer that is to wait for kswapd does kswapd's work itself, there being one vCPU; the
//! out-of-memory killer is called where the fault returns, because ending a process under the feet of an allocation would need a second
//! stack: so here it makes no progress, and the allocation fails.

use super::freelist::{AllocContext, zonelist};
use super::slow_path::{Steps, Task, alloc_pages_slowpath};
use crate::addr::Pfn;
use crate::compaction::{CompactPriority, CompactResult};
use crate::gfp::Gfp;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::node::OneNode;
use crate::platform::{Platform, Vmstat};
use crate::zone::{Watermark, ZoneType};

impl<P: Platform> Memory<P> {
    /// All that the request allows. Rule E13.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_pages_slowpath(&self, context: &AllocContext) -> Option<Pfn> {
        alloc_pages_slowpath(self, context)
    }

    /// Frames that reclaim could free, in pages: those on the lists that it looks at, as long as swap has room. Source: Linux
    /// `zone_reclaimable_pages`.
    fn reclaimable_pages(&self) -> u64 {
        let under_way = self.swap_pages_under_way();
        if !self.swap_has_room() {
            return under_way;
        }
        under_way + u64::from(self.lru_count(LruList::InactiveAnon) + self.lru_count(LruList::ActiveAnon))
    }

    /// Whether enough is free that direct reclaimers need not wait for kswapd: half of the min watermark. Source: Linux
    /// `allow_direct_reclaim`. Rule E17.
    fn allow_direct_reclaim(&self) -> bool {
        self.nr_free_pages() > self.zone.watermark(Watermark::Min) / 2
    }
}

impl<P: Platform> Steps for Memory<P> {
    fn task(&self) -> Task {
        Task {
            memalloc: self.memalloc.get() != 0,
            oom_victim: false,
        }
    }

    fn mems_allowed_changes(&self) -> u32 {
        0
    }

    fn has_zone(&self, context: &AllocContext) -> bool {
        zonelist(&OneNode(&self.zone), context).next().is_some()
    }

    fn wake_kswapds(&self, context: &AllocContext) {
        self.wake_kswapd(context.order);
    }

    fn look(&self, context: &AllocContext) -> Option<Pfn> {
        self.look_at_freelist(context)
    }

    fn reclaim(&self, context: &AllocContext) -> u32 {
        if !self.allow_direct_reclaim() {
            self.count(Vmstat::PgscanDirectThrottle);
            self.kswapd_do_work();
        }
        self.count(if context.gfp.zone() == ZoneType::Movable {
            Vmstat::AllocstallMovable
        } else {
            Vmstat::Allocstall
        });
        self.try_to_free_pages()
    }

    fn drain(&self, _context: &AllocContext) {
        self.zone.drain_all_pages(self.platform.memmap());
    }

    fn unreserve_highatomic(&self, context: &AllocContext) -> bool {
        self.zone
            .unreserve_highatomic(self.platform.memmap(), context.gfp.migratetype())
    }

    fn compact(&self, context: &AllocContext, priority: CompactPriority) -> CompactResult {
        let result = self.try_to_compact_pages(context, priority);
        if !matches!(result, CompactResult::Skipped | CompactResult::Deferred) {
            self.count(Vmstat::CompactStall);
        }
        result
    }

    fn compacted(&self, context: &AllocContext, found: bool) {
        if found {
            self.compaction_defer_reset(context.order);
        }
        self.count(if found {
            Vmstat::CompactSuccess
        } else {
            Vmstat::CompactFail
        });
    }

    fn reclaim_could_do(&self, context: &AllocContext) -> bool {
        let possible = |free: u64| free + self.reclaimable_pages();
        zonelist(&OneNode(&self.zone), context)
            .any(|zone| context.watermark_ok(zone, possible(zone.zone.free_pages_count())))
    }

    fn compaction_could_do(&self, context: &AllocContext) -> bool {
        self.compaction_zonelist_suitable(context, self.reclaimable_pages())
    }

    fn out_of_memory(&self, _context: &AllocContext) -> bool {
        false
    }

    fn warn(&self, context: &AllocContext) {
        // For one frame the killer, which is called next, says more.
        if context.order > 0 || !context.gfp.has(Gfp::DIRECT_RECLAIM) {
            self.platform.alloc_failed(context.order);
        }
    }
}
