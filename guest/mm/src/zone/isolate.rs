//! Frames that compaction takes and gives, past the per-CPU lists.
//!
//! Source: Linux, mm/compaction.c (`isolate_freepages_block`), mm/page_alloc.c (`split_free_page`).

use super::migratetype::Met;
use super::{PAGEBLOCK_NR_PAGES, Zone, clear_entry, mark_free};
use crate::addr::Pfn;
use crate::page::Page;

impl Zone {
    /// Moves every free frame to the buddy lists, those never handed out, too: from now on each frame below the end of a range is in
    /// use or part of a listed block.
    pub(crate) fn list_all_free(&self, memmap: &[Page]) {
        self.drain_all_pages(memmap);
        let _guard = self.lock.lock();
        while let Some(batch) = self.next_deferred() {
            self.set_batch(batch);
            self.return_batch(memmap);
        }
    }

    /// Visits the frames in use of a pageblock, after [`Zone::list_all_free`].
    pub(crate) fn for_each_used(&self, memmap: &[Page], pageblock: u32, visit: &mut dyn FnMut(Pfn)) {
        self.for_each_in_pageblock(memmap, pageblock, &mut |met| {
            if let Met::Frame(pfn) = met {
                visit(Pfn(pfn));
            }
        });
    }

    /// Takes the highest free frames of a pageblock that lie at `floor` or above, as many as `into` holds at most, and returns how many.
    /// Each has one reference, like one from [`Zone::rmqueue`].
    pub(crate) fn isolate_free(&self, memmap: &[Page], pageblock: u32, floor: u32, into: &mut [Pfn]) -> usize {
        /// Blocks that are remembered in one walk: the highest ones.
        const BLOCKS: usize = 32;
        let _guard = self.lock.lock();
        let (mut blocks, mut seen) = ([(0, 0); BLOCKS], 0);
        let start = pageblock & !(PAGEBLOCK_NR_PAGES - 1);
        self.for_each_in_pageblock(memmap, start, &mut |met| {
            if let Met::Block(pfn, order) = met
                && pfn >= floor
            {
                blocks[seen % BLOCKS] = (pfn, order);
                seen += 1;
            }
        });
        let mut taken = 0;
        for at in (seen.saturating_sub(BLOCKS)..seen).rev() {
            let (pfn, order) = blocks[at % BLOCKS];
            taken += self.isolate_block(memmap, pfn, order, &mut into[taken..]);
        }
        taken
    }

    /// Takes frames off the end of a listed block; the rest stays listed.
    fn isolate_block(&self, memmap: &[Page], pfn: u32, order: u32, into: &mut [Pfn]) -> usize {
        let count = into.len().min(1 << order);
        if count == 0 {
            return 0;
        }
        self.list_del(memmap, pfn, order);
        let kept = pfn + (1 << order) - count as u32;
        // Largest pieces first, as in `expand`; each is aligned, since the block is.
        let mut at = pfn;
        while at != kept {
            let piece = (kept - at).ilog2();
            self.list_add(memmap, at, piece);
            at += 1 << piece;
        }
        for (frame, into) in (kept..).zip(into[..count].iter_mut().rev()) {
            let page = &memmap[frame as usize];
            page.refcount.set(1);
            clear_entry(page);
            *into = Pfn(frame);
        }
        self.nr_free.sub(count as u64);
        count
    }

    /// Gives back a frame past the per-CPU lists, so that it is merged at once. Otherwise as [`Zone::free_one_page`].
    pub(crate) fn free_merged(&self, memmap: &[Page], pfn: Pfn) {
        let _guard = self.lock.lock();
        mark_free(&memmap[pfn.index()], pfn);
        self.nr_free.add(1);
        self.merge(memmap, pfn.0, 0);
    }
}
