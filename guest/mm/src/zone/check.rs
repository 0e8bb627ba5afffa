//! The zone's invariants, checked.

use super::{FREE_UNLISTED, MAX_ORDER, MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Zone};
use crate::addr::Pfn;
use crate::check::{Violation, at_most, equal};
use crate::huge::HPAGE_PAGES;
use crate::page::{Page, flag};

impl Zone {
    /// Whether the zone's invariants hold; takes as long as the lists are.
    ///
    /// # Errors
    /// The first that does not.
    #[cold]
    pub fn verify(&self, memmap: &[Page]) -> Result<(), Violation> {
        let _guard = self.lock.lock();
        let (batch_start, batch_end) = self.batch();
        at_most("start of the batch that ends at", batch_end, batch_start, batch_end)?;
        let listed = self.kernel_pcps.iter().map(|pcp| pcp.len()).sum::<u32>() + self.pcp.len();
        let mut free = u64::from(batch_end - batch_start) + u64::from(listed);
        let kernel = self.kernel_pcps.iter().flat_map(super::pcp::HotRing::newest_first);
        for pfn in self.pcp.newest_first().chain(kernel) {
            let page = &memmap[pfn as usize];
            equal(
                "flags on the per-CPU list, of frame",
                pfn,
                page.flags.get(),
                FREE_UNLISTED,
            )?;
            equal(
                "references on the per-CPU list, to frame",
                pfn,
                page.refcount.get(),
                0_u32,
            )?;
            equal(
                "on the per-CPU list and elsewhere: frame",
                pfn,
                !self.was_handed_out(pfn),
                false,
            )?;
        }
        for (order, area) in (0..).zip(&self.free_area) {
            let mut blocks = 0_u32;
            for kind in MigrateType::ALL {
                let mut prev = 0;
                for pfn in area.blocks(memmap, kind) {
                    equal(
                        "previous on the buddy list, of frame",
                        pfn.0,
                        memmap[pfn.index()].prev.get(),
                        prev,
                    )?;
                    equal(
                        "type of free block",
                        pfn.0,
                        self.pageblock_type(pfn.0) as u64,
                        kind as u64,
                    )?;
                    self.verify_block(memmap, pfn.0, order)?;
                    prev = pfn.0;
                    blocks += 1;
                    free += 1 << order;
                    at_most("free frames on buddy lists up to order", order, free, self.managed())?;
                }
            }
            equal("free blocks of order", order, area.nr_free(), blocks)?;
        }
        self.verify_reserved()?;
        for range in &self.ranges {
            let (next, end) = range.deferred();
            at_most("start of the range of deferred frame", next, range.start.get(), next)?;
            at_most("deferred in the range that ends at", end, next, end)?;
            free += u64::from(end - next);
        }
        equal("free frames", 0_u32, self.free_pages_count(), free)
    }

    fn verify_reserved(&self) -> Result<(), Violation> {
        let ends = self.ranges.iter().map(|range| range.end.get());
        let blocks = 0..=ends.max().unwrap_or(0) >> PAGEBLOCK_ORDER;
        let reserved = blocks
            .map(|block| self.pageblock_type(block << PAGEBLOCK_ORDER))
            .filter(|kind| *kind == MigrateType::HighAtomic);
        let reserved = reserved.count() as u64 * u64::from(PAGEBLOCK_NR_PAGES);
        equal("reserved frames", 0_u32, self.reserved_highatomic(), reserved)
    }

    fn verify_block(&self, memmap: &[Page], pfn: u32, order: u32) -> Result<(), Violation> {
        let (page, pages) = (&memmap[pfn as usize], 1 << order);
        equal("flags of free block", pfn, page.flags.get(), flag::BUDDY)?;
        equal("order of free block", pfn, page.private.get(), order)?;
        equal("references to free block", pfn, page.refcount.get(), 0_u32)?;
        equal("not aligned: free block", pfn, pfn % pages, 0_u32)?;
        let range = self.range_of(pfn);
        equal("leaves its range: free block", pfn, !range.contains(pfn, pages), false)?;
        at_most("deferred as well: free block", pfn, pfn + pages, range.deferred().0)?;
        let (batch_start, batch_end) = self.batch();
        let apart = pfn + pages <= batch_start || batch_end <= pfn || batch_start == batch_end;
        equal("in the batch: free block", pfn, !apart, false)?;
        let buddy = pfn ^ pages;
        if order < MAX_ORDER && range.contains(buddy, pages) && self.was_handed_out(buddy) {
            let page = &memmap[buddy as usize];
            let free = page.flags.get() == flag::BUDDY && page.private.get() == u64::from(order);
            let kinds = [pfn, buddy].map(|half| self.pageblock_type(half));
            let kept_apart = kinds[0] != kinds[1] && kinds.contains(&MigrateType::HighAtomic);
            equal("not merged with its buddy: free block", pfn, free && !kept_apart, false)?;
        }
        Ok(())
    }

    /// What the memory map says, in the order of addresses: (first frame, frames) of each free block, huge page, and other frame, if it was
    /// ever handed out and is not in the batch. Entries between them may hold anything.
    pub(crate) fn entries<'m>(&'m self, memmap: &'m [Page]) -> impl Iterator<Item = (Pfn, u32)> + 'm {
        let (batch_start, batch_end) = self.batch();
        let known = self.ranges.iter().flat_map(move |range| {
            let (start, end) = (range.start.get(), range.deferred().0);
            let cut = batch_start.clamp(start, end)..batch_end.clamp(start, end);
            // An empty cut must not hide what lies before it.
            let cut = if cut.start < cut.end { cut } else { end..end };
            [start..cut.start, cut.end..end]
        });
        known.flat_map(move |frames| {
            let mut next = frames.start;
            core::iter::from_fn(move || {
                if next >= frames.end {
                    return None;
                }
                let (pfn, page) = (next, &memmap[next as usize]);
                let frames = match page.flags.get() & (flag::BUDDY | flag::LOCKED | flag::HEAD) {
                    flag::BUDDY => 1 << page.private.get().min(u64::from(MAX_ORDER)),
                    flags if flags & flag::HEAD != 0 => HPAGE_PAGES,
                    _ => 1,
                };
                next += frames;
                Some((Pfn(pfn), frames))
            })
        })
    }

    /// Panics unless [`Zone::verify`] finds nothing. For tests.
    ///
    /// # Panics
    /// See above.
    #[cfg(any(test, feature = "testing"))]
    pub fn check(&self, memmap: &[Page]) {
        crate::check::expect(self.verify(memmap));
    }
}
