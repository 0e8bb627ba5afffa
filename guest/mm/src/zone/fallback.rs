//! Taking free frames of another migrate type, when there are none of the one that is wanted.
//!
//! Source: Linux, mm/page_alloc.c (`__rmqueue_fallback`, `steal_suitable_fallback`). Rule E8. Differs from Linux before 6.12: what is left
//! of a block whose pageblock keeps its type stays on that type's list; stealing does not raise the watermarks for a while.

use super::migratetype::Met;
use super::{MAX_ORDER, MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Zone, alloc};
use crate::page::{Page, flag};

/// A block that was taken off the list of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stolen {
    pub(super) pfn: u32,
    pub(super) order: u32,
    /// Whether its pageblock is of the wanted type now.
    pub(super) claimed: bool,
}

/// Whether a free block of this order is worth having the whole pageblock. Types that cannot be moved always try: better one
/// pageblock that is all theirs than a frame in each of many. Source: Linux `can_steal_fallback`.
const fn can_steal(order: u32, wanted: MigrateType) -> bool {
    order >= PAGEBLOCK_ORDER / 2 || !matches!(wanted, MigrateType::Movable)
}

impl Zone {
    /// Takes a block of `2^order` frames at least from another type: the largest that there is. With [`alloc::NOFRAGMENT`], only whole
    /// pageblocks.
    pub(super) fn steal(&self, memmap: &[Page], order: u32, wanted: MigrateType, flags: u32) -> Option<Stolen> {
        let least = if flags & alloc::NOFRAGMENT != 0 {
            order.max(PAGEBLOCK_ORDER)
        } else {
            order
        };
        let (pfn, found) = (least..=MAX_ORDER).rev().find_map(|at| self.other_block(at, wanted))?;
        let (pfn, found) = if can_steal(found, wanted) || found == order {
            (pfn, found)
        } else {
            // One frame for a movable page: it does no harm where it is, so the smallest block will do.
            (order..=MAX_ORDER).find_map(|at| self.other_block(at, wanted))?
        };
        let claimed = can_steal(found, wanted) && self.claim(memmap, pfn, found, wanted);
        self.list_del(memmap, pfn, found);
        Some(Stolen {
            pfn,
            order: found,
            claimed,
        })
    }

    /// A block of this order of a type that may stand in for the wanted one. Source: Linux `find_suitable_fallback`.
    fn other_block(&self, order: u32, wanted: MigrateType) -> Option<(u32, u32)> {
        let first = |other: MigrateType| self.free_area[order as usize].first(other);
        wanted.fallbacks().into_iter().find_map(first).map(|pfn| (pfn, order))
    }

    /// Gives the pageblock of a free block the wanted type, if the block is all of it, or if at least half of it is free or holds what
    /// goes well with that type. Says whether it did.
    fn claim(&self, memmap: &[Page], pfn: u32, order: u32, wanted: MigrateType) -> bool {
        if order >= PAGEBLOCK_ORDER {
            self.retype_block(memmap, pfn, order, wanted);
            return true;
        }
        let (mut free, mut movable, mut used) = (0, 0, 0);
        self.for_each_in_pageblock(memmap, pfn, &mut |met| match met {
            Met::Block(_, order) => free += 1 << order,
            Met::Frame(at) if memmap[at as usize].has(flag::LRU) => movable += 1,
            Met::Frame(_) => used += 1,
        });
        let alike = match (wanted, self.pageblock_type(pfn)) {
            (MigrateType::Movable, _) => movable,
            // What is in use and cannot be moved is of the other kind that cannot.
            (_, MigrateType::Movable) => used,
            _ => 0,
        };
        if free + alike < PAGEBLOCK_NR_PAGES / 2 {
            return false;
        }
        self.retype_pageblock(memmap, pfn, wanted);
        true
    }
}
