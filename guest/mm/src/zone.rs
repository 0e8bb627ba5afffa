//! The page allocator's store of free frames: buddy lists, the per-CPU list in front of them, watermarks.
//!
//! A free frame is in exactly one of four places, in the order in which single frames are taken:
//! 1. the *per-CPU list* ([`pcp`]): frames freed lately, the last one first, because it is warm in caches and backed on
//!    the host;
//! 2. the *batch*: one run of consecutive frames, from its lowest frame up. It is the refill of the per-CPU list, kept as two numbers;
//! 3. the *buddy lists* ([`buddy`]): blocks of `2^order` frames; the smallest block becomes the next batch;
//! 4. the *deferred* part of a range ([`range`]): frames never handed out. Up to [`MAX_ORDER_NR_PAGES`] of them, never
//!    across a multiple of that, become the next batch.
//!
//! Blocks of a higher order come from the buddy lists, into which the batch, the deferred frames and the per-CPU list are
//! emptied, in this order, until there is one.
//!
//! All this is for content that can be moved. What cannot be has per-CPU lists of its own and buddy lists of its own, and takes
//! pageblocks from the movable ones when these are empty ([`migratetype`], [`fallback`]).
//!
//! # Invariants
//! - [`Zone::free_pages_count`] is the sum over the four places.
//! - The memory map's entry of a frame has [`flag::BUDDY`] if the frame is on the per-CPU list, heads a block on a list, or
//!   has become free as a part of a larger block; alone only if it heads a block on a list, which is of order
//!   `private`; together with [`flag::LOCKED`] otherwise. No used frame has it. So a double free always shows.
//! - An entry may hold anything until its frame is first handed out or heads a block, so giving frames to a zone costs
//!   the same however many they are. This is sound because merging looks at nothing but heads of blocks, used or free,
//!   and the first frame of the batch, which it knows by its number: the buddy of a block that lies in front of the batch begins at
//!   the batch at the latest, and [`buddy`]'s `return_batch` takes pieces from the end of the batch, each as large as
//!   can be, so that a lower buddy begins in front of it.
//! - Blocks do not extend from one range into another.
//!
//! # Locks
//! One lock, innermost of all, taken by every method that changes anything.
//!
//! Source: Linux, mm/page_alloc.c, mm/mm_init.c (deferred initialisation). Rules E2 to E9. Differs from Linux:
//! one CPU; frames of the per-CPU list count as free; the refill of the per-CPU list is a run of
//! frames instead of a list, so it costs the same however long it is.

mod buddy;
mod check;
mod fallback;
mod highatomic;
mod isolate;
mod migratetype;
pub(crate) mod pcp;
mod range;
#[cfg(test)]
mod tests;
mod watermark;

pub use migratetype::{MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER};
pub use range::RANGES_MAX;
pub use watermark::{MAX_NR_ZONES, Watermark, ZoneType, alloc, watermarks_of_zones};
pub(crate) use watermark::{WATERMARK_SCALE_FACTOR, min_free_kbytes_of};

use crate::addr::Pfn;
use crate::page::{Page, flag};
use crate::sync::{Lock, Word, Word32};
use buddy::FreeArea;
use migratetype::PageBlocks;
use pcp::HotRing;
use range::Range;

/// Largest order: a block has at most `2^MAX_ORDER` frames. Rules E5, E6. Source: Linux `MAX_PAGE_ORDER`.
pub const MAX_ORDER: u32 = 10;
/// Frames of the largest block.
pub const MAX_ORDER_NR_PAGES: u32 = 1 << MAX_ORDER;

/// Frames on the per-CPU list at most. Source: Linux `zone_highsize` has the low watermark here, so as many for 4 GiB.
const PCP_HIGH: usize = 1024;
/// Frames that leave a full per-CPU list at once. Source: Linux `zone_batchsize`.
const PCP_BATCH: u32 = 63;
/// Frames on the per-CPU list of a type that is not movable, at most.
const KERNEL_PCP_HIGH: usize = 128;

/// [`Page::flags`] of a free frame that does not head a block on a list.
const FREE_UNLISTED: u32 = flag::BUDDY | flag::LOCKED;

/// The free frames of a machine; see the module's text.
#[derive(Debug)]
pub struct Zone {
    nr_free: Word,
    watermarks: [Word; 3],
    batch_start: Word32,
    batch_end: Word32,
    pcp: HotRing<PCP_HIGH>,
    free_area: [FreeArea; MAX_ORDER as usize + 1],
    ranges: [Range; RANGES_MAX],
    managed: Word,
    /// Lists of unmovable and reclaimable frames; movable ones are on `pcp`.
    kernel_pcps: [HotRing<KERNEL_PCP_HIGH>; 2],
    /// What requests that could use a higher zone must leave here, by the highest zone that they could use, in pages.
    lowmem_reserve: [Word; MAX_NR_ZONES],
    reserved_highatomic: Word,
    pageblocks: PageBlocks,
    lock: Lock,
}

impl Default for Zone {
    fn default() -> Self {
        Self::new()
    }
}

impl Zone {
    /// A zone without frames.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nr_free: Word::new(0),
            watermarks: [const { Word::new(0) }; 3],
            batch_start: Word32::new(0),
            batch_end: Word32::new(0),
            pcp: HotRing::new(),
            free_area: [const { FreeArea::new() }; MAX_ORDER as usize + 1],
            ranges: [const { Range::new() }; RANGES_MAX],
            managed: Word::new(0),
            kernel_pcps: [const { HotRing::new() }; 2],
            lowmem_reserve: [const { Word::new(0) }; MAX_NR_ZONES],
            reserved_highatomic: Word::new(0),
            pageblocks: PageBlocks::new(),
            lock: Lock::new(),
        }
    }

    /// Gives the zone the frames `[start, end)` and recomputes the watermarks. Takes the same time however many they are;
    /// ranges are used up in the order in which they are given, low frames first.
    ///
    /// # Panics
    /// When the range is empty, holds frame 0 (which ends lists), reaches past the memory map, overlaps a range given
    /// before, or is one more than [`RANGES_MAX`].
    pub fn add_range(&self, memmap: &[Page], start: Pfn, end: Pfn) {
        let _guard = self.lock.lock();
        self.new_range(memmap, start, end);
        self.nr_free.add(u64::from(end.0 - start.0));
    }

    /// Gives the zone frames that are in use, each with one reference, flags 0 and no owner; they come free one by one.
    ///
    /// # Panics
    /// As [`Zone::add_range`].
    pub fn add_used_range(&self, memmap: &[Page], start: Pfn, end: Pfn) {
        let _guard = self.lock.lock();
        self.new_range(memmap, start, end);
        self.range_of(start.0).hand_out();
        for page in &memmap[start.index()..end.index()] {
            page.flags.set(0);
            page.refcount.set(1);
            page.mapcount.set(0);
            page.mapping.set(0);
            page.private.set(0);
        }
    }

    fn new_range(&self, memmap: &[Page], start: Pfn, end: Pfn) {
        assert!(
            0 < start.0 && start < end,
            "frames [{}, {}): give at least one frame, not frame 0",
            start.0,
            end.0
        );
        assert!(
            end.index() <= memmap.len(),
            "frame {} is past the memory map of {} entries",
            end.0,
            memmap.len()
        );
        self.defer_range(start.0, end.0);
        self.managed.add(u64::from(end.0 - start.0));
        self.set_watermarks(watermark::watermarks_of(self.managed.get()));
    }

    /// Takes a block of `2^order` frames for content that can be moved, or `None` if there is none (always for an order above
    /// [`MAX_ORDER`], rule E6).
    ///
    /// Rule E9: the first frame has one reference, the others none; flags, mapcount, mapping and private are 0. The rest
    /// of the entries and the content of the frames is whatever it was.
    #[inline(always)]
    pub fn rmqueue(&self, memmap: &[Page], order: u32) -> Option<Pfn> {
        let _guard = self.lock.lock();
        if order == 0 {
            self.rmqueue_pcplist(memmap)
        } else {
            self.rmqueue_buddy(memmap, order, MigrateType::Movable, 0)
        }
    }

    /// As [`Zone::rmqueue`], for content of any type, with [`alloc`] flags: with [`alloc::NOFRAGMENT`] no other type's pageblocks are
    /// broken up; with [`alloc::HARDER`], blocks may come from those reserved for allocations in a hurry. Rules E8, E10 (6).
    #[inline]
    pub fn rmqueue_of(&self, memmap: &[Page], order: u32, kind: MigrateType, flags: u32) -> Option<Pfn> {
        if kind == MigrateType::Movable && order == 0 && flags & alloc::NOFRAGMENT == 0 {
            return self.rmqueue(memmap, 0);
        }
        if order == 0
            && let Some(pcp) = self.kernel_pcp(kind)
        {
            let _guard = self.lock.lock();
            if let Some(pfn) = pcp.pop() {
                self.nr_free.sub(1);
                memmap[pfn as usize].refcount.set(1);
                clear_entry(&memmap[pfn as usize]);
                return Some(Pfn(pfn));
            }
        }
        self.rmqueue_kernel(memmap, order, kind, flags)
    }

    /// [`Zone::rmqueue_of`] when the type's per-CPU list does not help.
    #[inline(never)]
    fn rmqueue_kernel(&self, memmap: &[Page], order: u32, kind: MigrateType, flags: u32) -> Option<Pfn> {
        let hot = order == 0 && flags & alloc::NOFRAGMENT == 0 && self.grouped(kind) == MigrateType::Movable;
        if hot {
            return self.rmqueue(memmap, 0);
        }
        let _guard = self.lock.lock();
        self.rmqueue_buddy(memmap, order, kind, flags)
    }

    /// The per-CPU list of a type that is not movable; in a zone whose types are not told apart, it is empty.
    #[inline(always)]
    fn kernel_pcp(&self, kind: MigrateType) -> Option<&HotRing<KERNEL_PCP_HIGH>> {
        match kind {
            MigrateType::Unmovable => Some(&self.kernel_pcps[0]),
            MigrateType::Reclaimable => Some(&self.kernel_pcps[1]),
            MigrateType::Movable | MigrateType::HighAtomic => None,
        }
    }

    /// Gives back a frame whose content was not movable. As [`Zone::free_one_page`], but the frame is kept for others of its pageblock's
    /// type.
    #[inline]
    pub fn free_kernel_page(&self, memmap: &[Page], pfn: Pfn) {
        let _guard = self.lock.lock();
        let Some(pcp) = self.kernel_pcp_of(pfn.0) else {
            return self.free_unref_page(memmap, pfn);
        };
        mark_free(&memmap[pfn.index()], pfn);
        self.nr_free.add(1);
        if !pcp.push(pfn.0) {
            self.push_drained(memmap, pcp, pfn);
        }
    }

    /// Gives back a block that [`Zone::rmqueue`] gave, or a frame of it. The caller has dropped all references.
    ///
    /// # Panics
    /// When a frame of the block is free already or has references (rule E9), when the block is not aligned to its size, and, at the
    /// latest when it is to go on a buddy list, when the zone was never given it.
    #[inline(always)]
    pub fn free_one_page(&self, memmap: &[Page], pfn: Pfn, order: u32) {
        let _guard = self.lock.lock();
        if order == 0 {
            self.free_unref_page(memmap, pfn);
        } else {
            self.free_pages_ok(memmap, pfn, order);
        }
    }

    /// Free frames, wherever they are.
    #[inline(always)]
    pub fn free_pages_count(&self) -> u64 {
        self.nr_free.get()
    }

    /// Free blocks of `2^order` frames on the buddy lists. Source: `/proc/buddyinfo`.
    pub fn free_blocks(&self, order: u32) -> u32 {
        self.free_area[order as usize].nr_free()
    }

    /// Free frames of which the memory map says nothing: those of the batch, and those never handed out.
    pub(crate) fn not_in_memmap(&self) -> u64 {
        let (start, end) = self.batch();
        let deferred = self.ranges.iter().map(|range| range.end.get() - range.deferred().0);
        u64::from(end - start + deferred.sum::<u32>())
    }

    /// Frames that the zone was given.
    #[inline(always)]
    pub fn managed(&self) -> u64 {
        self.managed.get()
    }

    /// Frames on the per-CPU lists.
    pub fn pcp_count(&self) -> u64 {
        let kernel: u32 = self.kernel_pcps.iter().map(HotRing::len).sum();
        u64::from(self.pcp.len() + kernel)
    }

    /// Visits the free frames, each once, as (first frame, number): first those that single movable frames would be taken from, in
    /// this order, the frames of a visit being taken from the first up; then those of other types. Ends when `visit` returns `false`.
    /// `visit` must not call the zone.
    pub fn for_each_free(&self, memmap: &[Page], visit: &mut dyn FnMut(Pfn, u32) -> bool) {
        let _guard = self.lock.lock();
        _ = self.each_free_movable(memmap, visit) && self.each_free_kernel(memmap, visit);
    }

    /// As [`Zone::for_each_free`], for the frames of types that are not movable, those on the per-CPU lists first.
    pub fn for_each_free_kernel(&self, memmap: &[Page], visit: &mut dyn FnMut(Pfn, u32) -> bool) {
        let _guard = self.lock.lock();
        _ = self.each_free_kernel(memmap, visit);
    }

    fn each_free_movable(&self, memmap: &[Page], visit: &mut dyn FnMut(Pfn, u32) -> bool) -> bool {
        if !self.pcp.newest_first().all(|pfn| visit(Pfn(pfn), 1)) {
            return false;
        }
        let (start, end) = self.batch();
        if start != end && !visit(Pfn(start), end - start) {
            return false;
        }
        self.each_listed(memmap, MigrateType::Movable, visit)
            && self.ranges.iter().all(|range| {
                let (start, end) = range.deferred();
                start == end || visit(Pfn(start), end - start)
            })
    }

    fn each_free_kernel(&self, memmap: &[Page], visit: &mut dyn FnMut(Pfn, u32) -> bool) -> bool {
        let mut pcps = self.kernel_pcps.iter().flat_map(HotRing::newest_first);
        let [_, kernel @ ..] = MigrateType::ALL;
        pcps.all(|pfn| visit(Pfn(pfn), 1)) && kernel.into_iter().all(|kind| self.each_listed(memmap, kind, visit))
    }

    fn each_listed(&self, memmap: &[Page], kind: MigrateType, visit: &mut dyn FnMut(Pfn, u32) -> bool) -> bool {
        let mut areas = self.free_area.iter().enumerate();
        areas.all(|(order, area)| area.blocks(memmap, kind).all(|pfn| visit(pfn, 1 << order)))
    }

    /// Moves all that was ever handed out and is free to the buddy lists, merged as far as can be. Source: Linux
    /// `drain_all_pages`.
    pub fn drain_all_pages(&self, memmap: &[Page]) {
        let _guard = self.lock.lock();
        self.drain_pcps(memmap);
        self.return_batch(memmap);
    }

    /// The path of every page fault. Source: Linux `rmqueue_pcplist`.
    #[inline(always)]
    fn rmqueue_pcplist(&self, memmap: &[Page]) -> Option<Pfn> {
        let pfn = match self.pcp.pop() {
            Some(pfn) => pfn,
            None => {
                let pfn = self.batch_start.get();
                if pfn == self.batch_end.get() {
                    // A call in tail position, so that the fast path saves no registers.
                    return self.rmqueue_refill(memmap);
                }
                self.batch_start.set(pfn + 1);
                pfn
            }
        };
        self.nr_free.sub(1);
        let page = &memmap[pfn as usize];
        page.refcount.set(1);
        clear_entry(page);
        Some(Pfn(pfn))
    }

    /// The path of every freed frame. Source: Linux `free_unref_page`.
    #[inline(always)]
    fn free_unref_page(&self, memmap: &[Page], pfn: Pfn) {
        mark_free(&memmap[pfn.index()], pfn);
        debug_assert!(
            self.was_handed_out(pfn.0),
            "frame {} freed, but the zone never gave it",
            pfn.0
        );
        self.nr_free.add(1);
        if !self.pcp.push(pfn.0) {
            self.push_drained(memmap, &self.pcp, pfn);
        }
    }

    #[cold]
    #[inline(never)]
    fn push_drained<const N: usize>(&self, memmap: &[Page], pcp: &HotRing<N>, pfn: Pfn) {
        self.drain_pcp(memmap, pcp, PCP_BATCH);
        pcp.push(pfn.0);
    }

    /// The batch, `[start, end)`; empty when they are equal.
    #[inline(always)]
    fn batch(&self) -> (u32, u32) {
        (self.batch_start.get(), self.batch_end.get())
    }

    fn set_batch(&self, (start, end): (u32, u32)) {
        self.batch_start.set(start);
        self.batch_end.set(end);
    }

    /// Takes a frame of the next batch; `None` without free frames but those reserved for others.
    #[cold]
    #[inline(never)]
    fn rmqueue_refill(&self, memmap: &[Page]) -> Option<Pfn> {
        let batch = loop {
            if let Some((pfn, order)) = self.take_smallest(memmap, 0, MigrateType::Movable) {
                break (pfn, pfn + (1 << order));
            }
            if let Some(batch) = self.next_deferred() {
                break batch;
            }
            if let Some(stolen) = self.steal(memmap, 0, MigrateType::Movable, 0) {
                let order = if stolen.claimed { stolen.order } else { 0 };
                self.expand(memmap, stolen.pfn, stolen.order, order);
                break (stolen.pfn, stolen.pfn + (1 << order));
            }
            if self.drain_pcps(memmap) == 0 {
                return None;
            }
        };
        self.set_batch(batch);
        self.rmqueue_pcplist(memmap)
    }
}

/// Makes the entry of a frame that is handed out what [`Zone::rmqueue`] says, references apart.
#[inline(always)]
fn clear_entry(page: &Page) {
    page.flags.set(0);
    page.mapcount.set(0);
    page.mapping.set(0);
    page.private.set(0);
}

/// Marks a used frame free, after a look whether it may be. Rule E9.
#[inline(always)]
fn mark_free(page: &Page, pfn: Pfn) {
    if page.flags.get() & flag::BUDDY != 0 || page.refcount.get() != 0 {
        bad_free(page, pfn);
    }
    debug_assert_eq!(page.mapcount.get(), 0, "frame {} freed while mapped", pfn.0);
    page.flags.set(FREE_UNLISTED);
}

/// Source: Linux `bad_page`.
#[cold]
#[inline(never)]
fn bad_free(page: &Page, pfn: Pfn) -> ! {
    match page.flags.get() & flag::BUDDY {
        0 => panic!("frame {} freed with {} references", pfn.0, page.refcount.get()),
        _ => panic!("frame {} freed twice", pfn.0),
    }
}
