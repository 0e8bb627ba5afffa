//! Buddy lists: free blocks by order, splitting and merging.
//!
//! A block of order `k` begins at a multiple of `2^k`. Its buddy is the block of the same size that together with it makes
//! a block of order `k + 1`: the one whose number differs in bit `k`.
//!
//! Source: Linux, mm/page_alloc.c (`__rmqueue_smallest`, `expand`, `__free_one_page`). Rules E5, E7, E9.

use super::{FREE_UNLISTED, MAX_ORDER, PCP_HIGH, Zone, clear_entry, mark_free};
use crate::addr::Pfn;
use crate::page::{Page, flag};
use crate::sync::Word32;

/// Free blocks of one order, linked through the memory map's entries of their first frames, the last one freed first.
/// 0 is the end.
#[derive(Debug)]
pub(super) struct FreeArea {
    head: Word32,
}

impl FreeArea {
    pub(super) const fn new() -> Self {
        Self { head: Word32::new(0) }
    }

    /// The first block's first frame.
    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        match self.head.get() {
            0 => None,
            pfn => Some(pfn),
        }
    }

    /// First frames of the blocks, in the order in which they will be taken.
    pub(super) fn blocks<'a>(&self, memmap: &'a [Page]) -> impl Iterator<Item = Pfn> + use<'a> {
        core::iter::successors(self.first().map(Pfn), |pfn| memmap[pfn.index()].next_pfn())
    }

    /// Puts a block at the head. Everything in its entry that matters is written: it may never have been before.
    fn push(&self, memmap: &[Page], pfn: u32, order: u32) {
        let head = self.head.get();
        if head != 0 {
            memmap[head as usize].prev.set(pfn);
        }
        let page = &memmap[pfn as usize];
        page.flags.set(flag::BUDDY);
        page.refcount.set(0);
        page.private.set(u64::from(order));
        page.next.set(head);
        page.prev.set(0);
        self.head.set(pfn);
    }

    /// Takes a block off the list.
    fn remove(&self, memmap: &[Page], pfn: u32) {
        let page = &memmap[pfn as usize];
        page.flags.set(FREE_UNLISTED);
        let (next, prev) = (page.next.get(), page.prev.get());
        if next != 0 {
            memmap[next as usize].prev.set(prev);
        }
        match prev {
            0 => self.head.set(next),
            _ => memmap[prev as usize].next.set(next),
        }
    }
}

impl Zone {
    /// Takes a block of the smallest order, `order` at least, off its list, and says of which order it is. Source: Linux
    /// `__rmqueue_smallest`.
    pub(super) fn take_smallest(&self, memmap: &[Page], order: u32) -> Option<(u32, u32)> {
        for (area, order) in self.free_area.iter().zip(0..).skip(order as usize) {
            if let Some(pfn) = area.first() {
                area.remove(memmap, pfn);
                return Some((pfn, order));
            }
        }
        None
    }

    /// Takes a block of order 1 or more. Source: Linux `rmqueue_buddy`.
    #[inline(never)]
    pub(super) fn rmqueue_buddy(&self, memmap: &[Page], order: u32) -> Option<Pfn> {
        if order > MAX_ORDER {
            return None;
        }
        let (pfn, found) = loop {
            if let Some(block) = self.take_smallest(memmap, order) {
                break block;
            }
            // Every turn moves frames to the buddy lists, or there are none left to move.
            if self.return_batch(memmap) {
                continue;
            }
            match self.next_deferred() {
                Some(batch) => self.set_batch(batch),
                None if self.drain_pcp(memmap, PCP_HIGH as u32) == 0 => return None,
                None => {}
            }
        };
        self.expand(memmap, pfn, found, order);
        let pages = &memmap[pfn as usize..(pfn + (1 << order)) as usize];
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

    /// Gives back what a block of order `found` has beyond its first `2^order` frames: the upper half, the upper half of the lower
    /// half, and so on. Source: Linux `expand`.
    fn expand(&self, memmap: &[Page], pfn: u32, found: u32, order: u32) {
        for half in (order..found).rev() {
            self.free_area[half as usize].push(memmap, pfn + (1 << half), half);
        }
    }

    /// Puts a block on a list, merged with its buddies as long as they are free. Source: Linux `__free_one_page`.
    ///
    /// # Panics
    /// When the zone was never given the frame.
    fn merge(&self, memmap: &[Page], mut pfn: u32, mut order: u32) {
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
            self.free_area[order as usize].remove(memmap, buddy);
            pfn &= buddy;
            order += 1;
        }
        self.free_area[order as usize].push(memmap, pfn, order);
    }

    /// Moves at most `count` frames, the oldest first, from the per-CPU list to the buddy lists, and says how many. Source:
    /// Linux `free_pcppages_bulk`.
    pub(super) fn drain_pcp(&self, memmap: &[Page], count: u32) -> u32 {
        for drained in 0..count {
            match self.pcp.pop_oldest() {
                Some(pfn) => self.merge(memmap, pfn, 0),
                None => return drained,
            }
        }
        count
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
