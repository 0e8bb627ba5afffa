//! Buddy lists: free blocks by order, splitting and merging.
//!
//! A block of order `k` begins at a multiple of `2^k`. Its buddy is the block of the same size that together with it makes
//! a block of order `k + 1`: the one whose number differs in bit `k`.
//!
//! There is a list for each order and migrate type ([`super::migratetype`]); a block is on those of its first pageblock's type.
//!
//! Source: Linux, mm/page_alloc.c (`__rmqueue_smallest`, `expand`, `__free_one_page`). Rules E5, E7, E8, E9.

use super::migratetype::MIGRATE_TYPES;
use super::pcp::HotRing;
use super::{FREE_UNLISTED, MAX_ORDER, MigrateType, PAGEBLOCK_ORDER, Zone, alloc, clear_entry, mark_free};
use crate::addr::Pfn;
use crate::page::{Page, flag};
use crate::sync::Word32;

/// Free blocks of one order, a list for each type, linked through the memory map's entries of their first frames, the last one freed
/// first. 0 is the end.
#[derive(Debug)]
pub(super) struct FreeArea {
    heads: [Word32; MIGRATE_TYPES],
    nr_free: Word32,
}

impl FreeArea {
    pub(super) const fn new() -> Self {
        Self {
            heads: [const { Word32::new(0) }; MIGRATE_TYPES],
            nr_free: Word32::new(0),
        }
    }

    /// The first block's first frame.
    #[inline]
    pub(super) fn first(&self, kind: MigrateType) -> Option<u32> {
        match self.heads[kind as usize].get() {
            0 => None,
            pfn => Some(pfn),
        }
    }

    /// Blocks of all types.
    #[inline]
    pub(super) fn nr_free(&self) -> u32 {
        self.nr_free.get()
    }

    /// First frames of the blocks, in the order in which they will be taken.
    pub(super) fn blocks<'a>(&self, memmap: &'a [Page], kind: MigrateType) -> impl Iterator<Item = Pfn> + use<'a> {
        core::iter::successors(self.first(kind).map(Pfn), |pfn| memmap[pfn.index()].next_pfn())
    }
}

impl Zone {
    /// Puts a block at the head of its pageblock's list. Everything in its entry that matters is written: it may never have been
    /// before.
    pub(super) fn list_add(&self, memmap: &[Page], pfn: u32, order: u32) {
        let area = &self.free_area[order as usize];
        let list = &area.heads[self.pageblock_type(pfn) as usize];
        let head = list.get();
        if head != 0 {
            memmap[head as usize].prev.set(pfn);
        }
        let page = &memmap[pfn as usize];
        page.flags.set(flag::BUDDY);
        page.refcount.set(0);
        page.private.set(u64::from(order));
        page.next.set(head);
        page.prev.set(0);
        list.set(pfn);
        area.nr_free.add(1);
    }

    /// Takes a block off its list.
    pub(super) fn list_del(&self, memmap: &[Page], pfn: u32, order: u32) {
        let area = &self.free_area[order as usize];
        let page = &memmap[pfn as usize];
        page.flags.set(FREE_UNLISTED);
        let (next, prev) = (page.next.get(), page.prev.get());
        if next != 0 {
            memmap[next as usize].prev.set(prev);
        }
        match prev {
            0 => area.heads[self.pageblock_type(pfn) as usize].set(next),
            _ => memmap[prev as usize].next.set(next),
        }
        area.nr_free.sub(1);
    }

    /// Takes a block of the smallest order, `order` at least, off a type's lists, and says of which order it is. Source: Linux
    /// `__rmqueue_smallest`.
    pub(super) fn take_smallest(&self, memmap: &[Page], order: u32, kind: MigrateType) -> Option<(u32, u32)> {
        for (area, order) in self.free_area.iter().zip(0..).skip(order as usize) {
            if let Some(pfn) = area.first(kind) {
                self.list_del(memmap, pfn, order);
                return Some((pfn, order));
            }
        }
        None
    }

    /// Takes a block of at least `order` for a type off a list: its own, or, when everything that was never handed out is on the lists
    /// and there is still none, another's.
    fn take_block(&self, memmap: &[Page], order: u32, wanted: MigrateType, flags: u32) -> Option<(u32, u32)> {
        let hurry = order > 0 && flags & alloc::HARDER != 0;
        loop {
            let reserved = hurry.then(|| self.take_smallest(memmap, order, MigrateType::HighAtomic));
            if let Some(block) = reserved.flatten() {
                return Some(block);
            }
            if let Some(block) = self.take_smallest(memmap, order, wanted) {
                return Some(block);
            }
            // Every turn moves frames to the buddy lists, or there are none left to move.
            let moved = self.return_batch(memmap)
                || self.next_deferred().is_some_and(|batch| {
                    self.set_batch(batch);
                    self.return_batch(memmap)
                });
            if moved && wanted == MigrateType::Movable {
                continue;
            }
            if let Some(stolen) = self.steal(memmap, order, wanted, flags) {
                return Some((stolen.pfn, stolen.order));
            }
            if !moved && self.drain_pcps(memmap) == 0 {
                return None;
            }
        }
    }

    /// Takes a block past the per-CPU lists. Source: Linux `rmqueue_buddy`.
    #[inline(never)]
    pub(super) fn rmqueue_buddy(&self, memmap: &[Page], order: u32, kind: MigrateType, flags: u32) -> Option<Pfn> {
        if order > MAX_ORDER {
            return None;
        }
        let (pfn, found) = self.take_block(memmap, order, self.grouped(kind), flags)?;
        self.expand(memmap, pfn, found, order);
        let made = if flags & alloc::COMPOUND == 0 { 1 << order } else { 1 };
        let pages = &memmap[pfn as usize..(pfn + made) as usize];
        for page in pages {
            page.refcount.set(0);
            clear_entry(page);
        }
        pages[0].refcount.set(1);
        self.nr_free.sub(1 << order);
        Some(Pfn(pfn))
    }

    /// Frees a block of order 1 or more. Source: Linux `__free_pages_ok`.
    #[inline(never)]
    pub(super) fn free_pages_ok(&self, memmap: &[Page], pfn: Pfn, order: u32) {
        let aligned = order <= MAX_ORDER && pfn.0 & ((1 << order) - 1) == 0;
        assert!(aligned, "frame {} heads no block of order {order}", pfn.0);
        for offset in 0..1 << order {
            let pfn = pfn.offset(offset);
            mark_free(&memmap[pfn.index()], pfn);
        }
        self.nr_free.add(1 << order);
        self.merge(memmap, pfn.0, order);
    }

    /// Frees a block of which only the first entry was made, or of which all were that are not now ([`alloc::COMPOUND`]).
    pub(crate) fn free_compound(&self, memmap: &[Page], pfn: Pfn, order: u32) {
        let _guard = self.lock.lock();
        mark_free(&memmap[pfn.index()], pfn);
        self.nr_free.add(1 << order);
        self.merge(memmap, pfn.0, order);
    }

    /// Gives back what a block of order `found` has beyond its first `2^order` frames: the upper half, the upper half of the lower
    /// half, and so on. Source: Linux `expand`.
    pub(super) fn expand(&self, memmap: &[Page], pfn: u32, found: u32, order: u32) {
        for half in (order..found).rev() {
            self.list_add(memmap, pfn + (1 << half), half);
        }
    }

    /// Puts a block on a list, merged with its buddies as long as they are free. Two pageblocks that become one block become one type:
    /// that of the later one. Source: Linux `__free_one_page`.
    ///
    /// # Panics
    /// When the zone was never given the frame.
    pub(super) fn merge(&self, memmap: &[Page], mut pfn: u32, mut order: u32) {
        let range = self.range_of(pfn);
        let (batch_start, batch_end) = self.batch();
        let unreadable = if batch_start == batch_end { 0 } else { batch_start };
        while order < MAX_ORDER {
            let buddy = pfn ^ (1 << order);
            // Outside the range and at the batch, entries may hold anything.
            if buddy == unreadable || !range.contains(buddy, 1 << order) {
                break;
            }
            let page = &memmap[buddy as usize];
            if page.flags.get() != flag::BUDDY || page.private.get() != u64::from(order) {
                break;
            }
            let kinds = [pfn, buddy].map(|half| self.pageblock_type(half));
            let differ = order >= PAGEBLOCK_ORDER && kinds[0] != kinds[1];
            if differ && kinds.contains(&MigrateType::HighAtomic) {
                break;
            }
            self.list_del(memmap, buddy, order);
            if differ {
                self.set_pageblock_type(buddy, kinds[0]);
            }
            pfn &= buddy;
            order += 1;
        }
        self.list_add(memmap, pfn, order);
    }

    /// Moves at most `count` frames, the oldest first, from a per-CPU list to the buddy lists, and says how many. Source: Linux
    /// `free_pcppages_bulk`.
    pub(super) fn drain_pcp<const N: usize>(&self, memmap: &[Page], pcp: &HotRing<N>, count: u32) -> u32 {
        for drained in 0..count {
            match pcp.pop_oldest() {
                Some(pfn) => self.merge(memmap, pfn, 0),
                None => return drained,
            }
        }
        count
    }

    /// Empties all per-CPU lists, and says how many frames they held.
    pub(super) fn drain_pcps(&self, memmap: &[Page]) -> u32 {
        let kernel = self.kernel_pcps.iter().map(|pcp| self.drain_pcp(memmap, pcp, u32::MAX));
        kernel.sum::<u32>() + self.drain_pcp(memmap, &self.pcp, u32::MAX)
    }

    /// Moves the batch to the buddy lists, and says whether there was any.
    ///
    /// From its end, in the largest pieces: so the lower buddy of a piece never begins inside the batch, where entries may
    /// hold anything (if it did, it and the piece together would have been the piece).
    pub(super) fn return_batch(&self, memmap: &[Page]) -> bool {
        let (start, mut end) = self.batch();
        if start == end {
            return false;
        }
        while end != start {
            let order = end.trailing_zeros().min((end - start).ilog2()).min(MAX_ORDER);
            end -= 1 << order;
            self.batch_end.set(end);
            self.merge(memmap, end, order);
        }
        true
    }
}
