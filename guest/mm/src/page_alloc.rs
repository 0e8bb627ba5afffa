//! Page allocation: how frames are had, given back, and referred to.
//!
//! Three layers, each in a file of its own:
//! 1. the *fast path* is [`Memory::alloc_page`], a comparison with the low watermark and a frame off the per-CPU list. It is what
//!    [`freelist`] comes to for one frame of a program on a machine with one zone;
//! 2. [`freelist`] looks at every zone that a request may use, once;
//! 3. [`slow_path`] decides what to do when there was none: wake kswapd, use reserves, reclaim, compact, try again, give up.
//!
//! What a request may do is in its [`Gfp`]. [`steps`] is the slow path's hands: what each of its steps is in this memory manager.
//! Giving up is the caller's `ENOMEM`, or, for a fault, the out-of-memory killer's call ([`crate::oom`]).
//!
//! Source: Linux, mm/page_alloc.c (`__alloc_pages`). Rules E6, E9, E10, E13 to E17.

pub mod freelist;
pub mod slow_path;
mod steps;
#[cfg(test)]
mod tests;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::memory::Memory;
use crate::node::OneNode;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::zone::{MAX_ORDER, MigrateType, Watermark};
use freelist::{AllocContext, get_page_from_freelist};

/// A program's page when it is to come without reclaim.
const MOVABLE_NOWAIT: Gfp = Gfp::HIGHUSER_MOVABLE.without(Gfp::DIRECT_RECLAIM).with(Gfp::NOWARN);

impl<P: Platform> Memory<P> {
    /// Gives the manager the free frames `[start, end)`. The first call also takes the frame of zeroes.
    ///
    /// # Panics
    /// When the range holds no frame.
    pub fn init(&self, start: Pfn, end: Pfn) {
        self.zone.add_range(self.platform.memmap(), start, end);
        if self.zero_pfn.get() == 0 {
            let zero = self.rmqueue_kernel().expect("the first range of memory is empty");
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

    /// Visits free frames, as (first frame, pages), until `f` says `false`: those for programs in the order in which they will be
    /// allocated, then those for the manager's own structures.
    pub fn for_each_free(&self, f: &mut dyn FnMut(Pfn, u32) -> bool) {
        self.zone.for_each_free(self.platform.memmap(), f);
    }

    /// Visits the free frames that are kept for the manager's own structures, as [`Memory::for_each_free`].
    pub fn for_each_free_kernel(&self, f: &mut dyn FnMut(Pfn, u32) -> bool) {
        self.zone.for_each_free_kernel(self.platform.memmap(), f);
    }

    /// A block of `2^order` frames, or `None`: after all that `gfp` allows was tried, and always for an order above [`MAX_ORDER`] (rule
    /// E6). The first frame has one reference; the content is zeroes with [`Gfp::ZERO`], else anything. Reclaims as needed: the caller
    /// holds no reference-less frame and looks again at whatever reclaim may have changed.
    pub fn alloc_pages(&self, gfp: Gfp, order: u32) -> Option<Pfn> {
        if order > MAX_ORDER {
            return None;
        }
        let context = AllocContext::new(&OneNode(&self.zone), gfp, order);
        let pfn = self
            .look_at_freelist(&context)
            .or_else(|| self.alloc_pages_slowpath(&context))?;
        if gfp.has(Gfp::ZERO) {
            (0..1 << order).for_each(|i| self.platform.clear_page(pfn.offset(i)));
        }
        Some(pfn)
    }

    /// Gives back a block that [`Memory::alloc_pages`] gave; the one reference is the caller's.
    pub fn free_pages(&self, pfn: Pfn, order: u32) {
        if order == 0 {
            return self.free_page(pfn);
        }
        debug_assert_eq!(
            self.page(pfn).refcount.get(),
            1,
            "block {} freed while referenced",
            pfn.0
        );
        self.page(pfn).refcount.set(0);
        self.platform.count(Vmstat::Pgfree, 1 << order);
        self.zone.free_one_page(self.platform.memmap(), pfn, order);
    }

    /// A frame for a program: [`Memory::alloc_pages`] of order 0 with [`Gfp::HIGHUSER_MOVABLE`].
    #[inline]
    pub(crate) fn alloc_page(&self) -> Option<Pfn> {
        if self.zone.watermark_ok(0, Watermark::Low)
            && let Some(pfn) = self.rmqueue()
        {
            return Some(pfn);
        }
        self.alloc_page_slowpath()
    }

    /// As [`Memory::alloc_page`], but never reclaims.
    pub(crate) fn alloc_page_nowait(&self) -> Option<Pfn> {
        self.alloc_pages(MOVABLE_NOWAIT, 0)
    }

    /// A frame for one of the manager's structures that other code reaches by number, so that it cannot be moved. The content is zeroes.
    #[inline]
    pub(crate) fn alloc_zeroed_page(&self) -> Option<Pfn> {
        let pfn = if self.zone.watermark_ok(0, Watermark::Low)
            && let Some(pfn) = self.rmqueue_kernel()
        {
            pfn
        } else {
            self.alloc_pages(Gfp::KERNEL, 0)?
        };
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

    #[inline(always)]
    fn rmqueue_kernel(&self) -> Option<Pfn> {
        if self.platform.should_fail() {
            return None;
        }
        let memmap = self.platform.memmap();
        let pfn = self.zone.rmqueue_of(memmap, 0, MigrateType::Unmovable, 0)?;
        self.count(Vmstat::Pgalloc);
        Some(pfn)
    }

    /// One look at the zones. Rule E10.
    pub(crate) fn look_at_freelist(&self, context: &AllocContext) -> Option<Pfn> {
        if self.platform.should_fail() {
            return None;
        }
        let (pfn, _) = get_page_from_freelist(&OneNode(&self.zone), self.platform.memmap(), context)?;
        self.platform.count(Vmstat::Pgalloc, 1 << context.order);
        Some(pfn)
    }

    #[cold]
    #[inline(never)]
    fn alloc_page_slowpath(&self) -> Option<Pfn> {
        self.alloc_pages_slowpath(&AllocContext::new(&OneNode(&self.zone), Gfp::HIGHUSER_MOVABLE, 0))
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
        self.drop_last_reference(pfn);
        self.zone.free_one_page(self.platform.memmap(), pfn, 0);
    }

    /// As [`Memory::free_page`], for a frame that held one of the manager's structures.
    pub(crate) fn free_kernel_page(&self, pfn: Pfn) {
        self.drop_last_reference(pfn);
        self.zone.free_kernel_page(self.platform.memmap(), pfn);
    }

    #[inline(always)]
    fn drop_last_reference(&self, pfn: Pfn) {
        let page = self.page(pfn);
        debug_assert_eq!(page.refcount.get(), 1, "frame {} freed while referenced", pfn.0);
        debug_assert_eq!(page.mapcount.get(), 0, "frame {} freed while mapped", pfn.0);
        debug_assert_eq!(
            page.flags.get() & (flag::LOCKED | flag::WRITEBACK),
            0,
            "frame {} freed while locked or written",
            pfn.0
        );
        page.refcount.set(0);
        self.count(Vmstat::Pgfree);
    }

    /// Takes a reference to a frame that has one, or whose huge page has.
    #[inline(always)]
    pub(crate) fn get_page(&self, pfn: Pfn) {
        self.page(pfn).refcount.add(1);
    }

    /// Drops a reference; the last one frees the frame.
    #[inline]
    pub(crate) fn put_page(&self, pfn: Pfn) {
        let page = self.page(pfn);
        debug_assert!(
            page.refcount.get() != 0 || page.has(flag::TAIL),
            "reference to free frame {} dropped",
            pfn.0
        );
        if page.refcount.get() > 1 {
            page.refcount.sub(1);
            return;
        }
        match page.flags.get() & (flag::LRU | flag::HEAD | flag::TAIL) {
            flag::LRU => self.lru_del(pfn),
            0 => {}
            _ => return self.put_huge(pfn),
        }
        self.free_page(pfn);
    }
}
