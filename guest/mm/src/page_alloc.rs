//! Page allocation: the fast path, the slow path, and references to frames.
//!
//! The fast path takes a frame while free memory stays above the low watermark. The slow path goes in Linux's order:
//! wake kswapd, try down to the min watermark, reclaim and try again while that makes progress, and give up after
//! [`MAX_RECLAIM_RETRIES`] rounds without any. Giving up is the caller's `ENOMEM`, or the out-of-memory killer's call.
//!
//! Source: Linux, mm/page_alloc.c (`__alloc_pages`, `__alloc_pages_slowpath`). Rules E10, E13, E14. Differs from Linux: one
//! zone, order 0 only so far; no compaction.

use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::zone::Watermark;

/// Rounds of reclaim without progress before an allocation fails. Source: Linux `MAX_RECLAIM_RETRIES`. Rule E14.
const MAX_RECLAIM_RETRIES: u32 = 16;

impl<P: Platform> Memory<P> {
    /// Gives the manager the free frames `[start, end)`. The first call also takes the frame of zeroes.
    ///
    /// # Panics
    /// When the range holds no frame.
    pub fn init(&self, start: Pfn, end: Pfn) {
        self.zone.add_range(self.platform.memmap(), start, end);
        if self.zero_pfn.get() == 0 {
            let zero = self.alloc_page_nowait().expect("the first range of memory is empty");
            self.platform.clear_page(zero);
            self.zero_pfn.set(zero.0);
        }
    }

    /// Gives the manager the frames `[start, end)`, all with content that somebody needs. Each becomes a page of an object
    /// ([`Memory::shmem_add_frame`]), or comes free ([`Memory::free_given`]).
    ///
    /// # Panics
    /// When the range holds no frame.
    pub fn init_used(&self, start: Pfn, end: Pfn) {
        self.zone.add_used_range(self.platform.memmap(), start, end);
    }

    /// Frees a frame of [`Memory::init_used`] that has become nothing else.
    pub fn free_given(&self, pfn: Pfn) {
        self.free_page(pfn);
    }

    /// Frames that can be had without reclaim, in pages.
    pub fn nr_free_pages(&self) -> u64 {
        self.zone.free_pages_count()
    }

    /// Frames that the manager was given, in pages.
    pub fn totalram_pages(&self) -> u64 {
        self.zone.managed()
    }

    /// Visits free frames in the order in which they will be allocated, as (first frame, pages), until `f` says `false`.
    pub fn for_each_free(&self, f: &mut dyn FnMut(Pfn, u32) -> bool) {
        self.zone.for_each_free(self.platform.memmap(), f);
    }

    /// A frame with one reference and any content, or `None` when reclaim frees none. Reclaims as needed: the caller holds no
    /// reference-less frame and looks again at whatever reclaim may have changed.
    #[inline]
    pub(crate) fn alloc_page(&self) -> Option<Pfn> {
        if self.zone.watermark_ok(0, Watermark::Low)
            && let Some(pfn) = self.rmqueue()
        {
            return Some(pfn);
        }
        self.alloc_page_slowpath()
    }

    /// As [`Memory::alloc_page`], but never reclaims; may use the reserve below the min watermark. For structures that are
    /// needed to make progress (XArray nodes, slabs).
    pub(crate) fn alloc_page_nowait(&self) -> Option<Pfn> {
        if !self.zone.watermark_ok(0, Watermark::Low) {
            self.kswapd_wake.set(1);
        }
        self.rmqueue()
    }

    /// A frame of zeroes with one reference.
    #[inline]
    pub(crate) fn alloc_zeroed_page(&self) -> Option<Pfn> {
        let pfn = self.alloc_page()?;
        self.platform.clear_page(pfn);
        Some(pfn)
    }

    #[inline(always)]
    fn rmqueue(&self) -> Option<Pfn> {
        if self.platform.should_fail() {
            return None;
        }
        let pfn = self.zone.rmqueue(self.platform.memmap(), 0)?;
        self.count(Vmstat::Pgalloc);
        Some(pfn)
    }

    #[cold]
    fn alloc_page_slowpath(&self) -> Option<Pfn> {
        self.kswapd_wake.set(1);
        if self.memalloc.get() != 0 {
            return self.rmqueue();
        }
        let mut no_progress = 0;
        loop {
            if self.zone.watermark_ok(0, Watermark::Min)
                && let Some(pfn) = self.rmqueue()
            {
                return Some(pfn);
            }
            if no_progress == MAX_RECLAIM_RETRIES {
                return None;
            }
            if self.try_to_free_pages() == 0 {
                no_progress += 1;
            } else {
                no_progress = 0;
            }
        }
    }

    /// Runs an allocation that cannot reclaim, and between failures reclaims for it.
    #[inline]
    pub fn alloc_reclaiming<T>(&self, mut alloc: impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(found) = alloc() {
            return Some(found);
        }
        // Reclaim leaves a frame free; the allocation that could not reclaim can take it.
        let pfn = self.alloc_page()?;
        self.free_page(pfn);
        alloc()
    }

    /// Gives back a frame that has one reference, the caller's, and is on no list.
    pub(crate) fn free_page(&self, pfn: Pfn) {
        let page = self.page(pfn);
        debug_assert_eq!(page.refcount.get(), 1, "frame {} freed while referenced", pfn.0);
        debug_assert_eq!(page.mapcount.get(), 0, "frame {} freed while mapped", pfn.0);
        page.refcount.set(0);
        self.count(Vmstat::Pgfree);
        self.zone.free_one_page(self.platform.memmap(), pfn, 0);
    }

    /// Takes a reference to a frame that has one.
    #[inline(always)]
    pub(crate) fn get_page(&self, pfn: Pfn) {
        self.page(pfn).refcount.add(1);
    }

    /// Drops a reference; the last one frees the frame.
    #[inline]
    pub(crate) fn put_page(&self, pfn: Pfn) {
        let page = self.page(pfn);
        debug_assert_ne!(page.refcount.get(), 0, "reference to free frame {} dropped", pfn.0);
        if page.refcount.get() > 1 {
            page.refcount.sub(1);
            return;
        }
        if page.has(flag::LRU) {
            self.lru_del(pfn);
        }
        self.free_page(pfn);
    }
}
