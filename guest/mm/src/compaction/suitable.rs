//! Whether compaction can help. Source: Linux, mm/compaction.c (`compaction_suitable`), mm/vmstat.c (`fragmentation_index`). Rule E13.

use crate::memory::Memory;
use crate::page_alloc::freelist::AllocContext;
use crate::page_alloc::slow_path::COSTLY_ORDER;
use crate::platform::Platform;
use crate::zone::{Watermark, Zone};

/// A failure that is more due to want of memory than to fragmentation is none of compaction's business: the index where it begins to
/// be, of 1000. Source: Linux `sysctl_extfrag_threshold`.
const EXTFRAG_THRESHOLD: i64 = 500;

/// Whether it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suitable {
    /// There is a block.
    Already,
    /// It can.
    Yes,
    /// There are too few free frames, or free frames are not scattered.
    No,
}

/// Free frames that compaction wants to have besides: it needs some to move to, and others take some meanwhile. Source: Linux `compact_gap`.
const fn compact_gap(order: u32) -> u64 {
    2 << order
}

/// Why an allocation of this order fails: near 0 for want of memory, near 1000 because it is scattered; -1000 when it would not fail.
#[must_use]
pub fn fragmentation_index(zone: &Zone, order: u32) -> i64 {
    let mut free_pages = 0;
    let mut free_blocks = 0;
    for at in 0..=crate::zone::MAX_ORDER {
        let blocks = i64::from(zone.free_blocks(at));
        if blocks > 0 && at >= order {
            return -1000;
        }
        free_blocks += blocks;
        free_pages += blocks << at;
    }
    if free_blocks == 0 {
        return 0;
    }
    1000 - (1000 + ((free_pages * 1000) >> order)) / free_blocks
}

impl<P: Platform> Memory<P> {
    /// Whether compaction can help, if `free` frames were free.
    pub(super) fn compaction_suitable(&self, order: u32, context: &AllocContext, free: u64) -> Suitable {
        let highest = context.highest();
        if self.zone.watermark_ok_with(
            self.zone.free_pages_count(),
            order,
            context.mark,
            highest,
            context.flags,
        ) {
            return Suitable::Already;
        }
        let mark = if order > COSTLY_ORDER {
            Watermark::Low
        } else {
            Watermark::Min
        };
        let spare = free.saturating_sub(compact_gap(order));
        if !self.zone.watermark_ok_with(spare, 0, mark, highest, 0) {
            return Suitable::No;
        }
        if order > COSTLY_ORDER {
            let index = fragmentation_index(&self.zone, order);
            if (0..=EXTFRAG_THRESHOLD).contains(&index) {
                return Suitable::No;
            }
        }
        Suitable::Yes
    }

    /// Whether compaction would be suitable if reclaim freed what it can, a share of it counted for larger orders. Source: Linux
    /// `compaction_zonelist_suitable`.
    pub(crate) fn compaction_zonelist_suitable(&self, context: &AllocContext, reclaimable: u64) -> bool {
        let possible = reclaimable / u64::from(context.order.max(1)) + self.zone.free_pages_count();
        self.compaction_suitable(context.order, context, possible) != Suitable::No
    }
}
