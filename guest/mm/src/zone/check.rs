//! The zone's invariants, checked.

use super::{FREE_UNLISTED, MAX_ORDER, MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Zone};
use crate::page::{Page, flag};

impl Zone {
    /// Panics unless the zone's invariants hold. For tests; takes as long as the lists are.
    pub fn check(&self, memmap: &[Page]) {
        let _guard = self.lock.lock();
        let (batch_start, batch_end) = self.batch();
        assert!(
            batch_start <= batch_end,
            "batch [{batch_start}, {batch_end}) ends before it begins"
        );
        let listed = self.kernel_pcps.iter().map(|pcp| pcp.len()).sum::<u32>() + self.pcp.len();
        let mut free = u64::from(batch_end - batch_start) + u64::from(listed);
        let kernel = self.kernel_pcps.iter().flat_map(super::pcp::HotRing::newest_first);
        for pfn in self.pcp.newest_first().chain(kernel) {
            let page = &memmap[pfn as usize];
            assert_eq!(
                page.flags.get(),
                FREE_UNLISTED,
                "flags of frame {pfn} on the per-CPU list"
            );
            assert_eq!(page.refcount.get(), 0, "references to frame {pfn} on the per-CPU list");
            assert!(
                self.was_handed_out(pfn),
                "frame {pfn} is on the per-CPU list and elsewhere"
            );
        }
        for (order, area) in (0..).zip(&self.free_area) {
            let mut blocks = 0;
            for kind in MigrateType::ALL {
                let mut prev = 0;
                for pfn in area.blocks(memmap, kind) {
                    assert_eq!(
                        (memmap[pfn.index()].prev.get(), self.pageblock_type(pfn.0)),
                        (prev, kind),
                        "list of order {order}, {kind:?}, broken at frame {}",
                        pfn.0
                    );
                    self.check_block(memmap, pfn.0, order);
                    prev = pfn.0;
                    blocks += 1;
                    free += 1 << order;
                    assert!(free <= self.managed(), "list of order {order} goes round");
                }
            }
            assert_eq!(area.nr_free(), blocks, "blocks of order {order}");
        }
        self.check_reserved();
        for range in &self.ranges {
            let (next, end) = range.deferred();
            assert!(
                range.start.get() <= next && next <= end,
                "deferred part [{next}, {end}) leaves its range"
            );
            free += u64::from(end - next);
        }
        assert_eq!(free, self.free_pages_count(), "count of free frames");
    }

    fn check_reserved(&self) {
        let ends = self.ranges.iter().map(|range| range.end.get());
        let blocks = 0..=ends.max().unwrap_or(0) >> PAGEBLOCK_ORDER;
        let reserved = blocks
            .map(|block| self.pageblock_type(block << PAGEBLOCK_ORDER))
            .filter(|kind| *kind == MigrateType::HighAtomic);
        let reserved = reserved.count() as u64 * u64::from(PAGEBLOCK_NR_PAGES);
        assert_eq!(self.reserved_highatomic(), reserved, "reserved frames");
    }

    fn check_block(&self, memmap: &[Page], pfn: u32, order: u32) {
        let (page, pages) = (&memmap[pfn as usize], 1 << order);
        let state = (page.flags.get(), page.private.get(), page.refcount.get());
        assert_eq!(
            state,
            (flag::BUDDY, u64::from(order), 0),
            "flags, order, references of free block {pfn}"
        );
        assert_eq!(pfn % pages, 0, "block {pfn} of order {order} is not aligned");
        let range = self.range_of(pfn);
        assert!(
            range.contains(pfn, pages),
            "block {pfn} of order {order} leaves its range"
        );
        assert!(
            pfn + pages <= range.deferred().0,
            "block {pfn} of order {order} is deferred as well"
        );
        let (batch_start, batch_end) = self.batch();
        assert!(
            pfn + pages <= batch_start || batch_end <= pfn || batch_start == batch_end,
            "block {pfn} is in the batch"
        );
        let buddy = pfn ^ pages;
        if order < MAX_ORDER && range.contains(buddy, pages) && self.was_handed_out(buddy) {
            let page = &memmap[buddy as usize];
            let free = page.flags.get() == flag::BUDDY && page.private.get() == u64::from(order);
            let kinds = [pfn, buddy].map(|half| self.pageblock_type(half));
            let kept_apart = kinds[0] != kinds[1] && kinds.contains(&MigrateType::HighAtomic);
            assert!(
                !free || kept_apart,
                "blocks {pfn} and {buddy} of order {order} are not merged"
            );
        }
    }
}
