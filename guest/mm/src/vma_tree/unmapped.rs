//! Searching for free addresses: one descent each, led by the gaps of the subtrees.
//!
//! Both searches look for the outermost gap that is large enough among those that begin (or end) within the limits.
//! While they descend towards the limit they remember the last VMA that they left for a better one further out: were
//! nothing found there, it or its inner subtree has the answer, and everything further in is worse.
//!
//! Source: Linux up to 6.0, mm/mmap.c (`vm_unmapped_area`). Differs from Linux: never climbs back up the tree.

use super::VmaStore;
use super::find::last_vma;
use super::gap::{gap_below, gap_start, subtree_gap};
use crate::addr::VirtAddr;
use crate::vma::{MmStruct, VmArea, VmaId};

/// What is searched for. Source: Linux, include/linux/mm.h (`struct vm_unmapped_area_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnmappedAreaInfo {
    /// Size in bytes, whole pages.
    pub length: u64,
    /// Lowest address that may be used.
    pub low_limit: u64,
    /// First address past the highest that may be used.
    pub high_limit: u64,
    /// Bits of the address in which it must agree with `align_offset`: a power of two less 1, or 0 for any page.
    pub align_mask: u64,
    /// What it must agree with, a multiple of the page size.
    pub align_offset: u64,
}

/// The search in terms of gaps: whatever the address, aligned or not, a gap within the limits that holds
/// `length + align_mask` bytes will do. As in Linux, a smaller one is not used even if its address happens to be aligned.
#[derive(Clone, Copy)]
struct Wanted {
    /// Bytes the gap must have.
    bytes: u64,
    /// The lowest address at which the gap may end.
    end_min: u64,
    /// The highest address at which it may begin.
    start_max: u64,
}

impl UnmappedAreaInfo {
    /// `None` when nothing could ever fit between the limits.
    fn wanted(&self) -> Option<Wanted> {
        let bytes = self.length.checked_add(self.align_mask)?;
        let start_max = self.high_limit.checked_sub(bytes)?;
        let end_min = self.low_limit.checked_add(bytes)?;
        (self.low_limit <= start_max).then_some(Wanted {
            bytes,
            end_min,
            start_max,
        })
    }

    /// The lowest suitable address of a gap that begins at `start`.
    fn lowest(&self, start: u64) -> VirtAddr {
        let addr = start.max(self.low_limit);
        VirtAddr(addr + (self.align_offset.wrapping_sub(addr) & self.align_mask))
    }

    /// The highest suitable address of a gap that ends at `end`.
    fn highest(&self, end: u64) -> VirtAddr {
        let addr = end.min(self.high_limit) - self.length;
        VirtAddr(addr - (addr.wrapping_sub(self.align_offset) & self.align_mask))
    }
}

/// The end of the VMA with the highest address: where the gap above all of them begins.
fn highest_vm_end<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>) -> u64 {
    last_vma(store, mm).map_or(0, |id| store.vma(id).vm_end().0)
}

/// The highest suitable address: below `high_limit`, and below as few VMAs as possible. `None` when there is none; Linux's
/// callers then try [`unmapped_area`] with a wider range.
#[must_use]
pub fn unmapped_area_topdown<S: VmaStore + ?Sized>(
    store: &S,
    mm: MmStruct<'_>,
    info: &UnmappedAreaInfo,
) -> Option<VirtAddr> {
    let wanted = info.wanted()?;
    if highest_vm_end(store, mm) <= wanted.start_max {
        return Some(info.highest(info.high_limit));
    }
    let area = last_gap(store, mm, wanted)?;
    let end = area.vm_start().0;
    (end >= wanted.end_min).then(|| info.highest(end))
}

/// The lowest suitable address: at or above `low_limit`. `None` when there is none.
#[must_use]
pub fn unmapped_area<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, info: &UnmappedAreaInfo) -> Option<VirtAddr> {
    let wanted = info.wanted()?;
    let start = match first_gap(store, mm, wanted) {
        Some(area) => gap_start(store, area),
        None => highest_vm_end(store, mm),
    };
    (start <= wanted.start_max).then(|| info.lowest(start))
}

/// The VMA with the highest gap of `wanted.bytes` that begins at or below `wanted.start_max`.
fn last_gap<'s, S: VmaStore + ?Sized>(store: &'s S, mm: MmStruct<'_>, wanted: Wanted) -> Option<VmArea<'s>> {
    let promising = |subtree: &VmaId| subtree_gap(store, Some(*subtree)) >= wanted.bytes;
    let mut second_best = None;
    let mut at = mm.mm_rb().filter(promising);
    while let Some(id) = at {
        let area = store.vma(id);
        if gap_start(store, area) > wanted.start_max {
            at = area.rb_left().filter(promising);
            continue;
        }
        if gap_below(store, area) >= wanted.bytes || area.rb_left().is_some_and(|left| promising(&left)) {
            second_best = Some(area);
        }
        at = area.rb_right().filter(promising);
    }
    // From here on everything lies within the limit, so that a subtree keeps what it promises.
    let mut area = second_best?;
    while gap_below(store, area) < wanted.bytes {
        let mut inner = area.rb_left().filter(promising)?;
        while let Some(right) = store.vma(inner).rb_right().filter(promising) {
            inner = right;
        }
        area = store.vma(inner);
    }
    Some(area)
}

/// The VMA with the lowest gap of `wanted.bytes` that ends at or above `wanted.end_min`.
fn first_gap<'s, S: VmaStore + ?Sized>(store: &'s S, mm: MmStruct<'_>, wanted: Wanted) -> Option<VmArea<'s>> {
    let promising = |subtree: &VmaId| subtree_gap(store, Some(*subtree)) >= wanted.bytes;
    let mut second_best = None;
    let mut at = mm.mm_rb().filter(promising);
    while let Some(id) = at {
        let area = store.vma(id);
        if area.vm_start().0 < wanted.end_min {
            at = area.rb_right().filter(promising);
            continue;
        }
        if gap_below(store, area) >= wanted.bytes || area.rb_right().is_some_and(|right| promising(&right)) {
            second_best = Some(area);
        }
        at = area.rb_left().filter(promising);
    }
    let mut area = second_best?;
    while gap_below(store, area) < wanted.bytes {
        let mut inner = area.rb_right().filter(promising)?;
        while let Some(left) = store.vma(inner).rb_left().filter(promising) {
            inner = left;
        }
        area = store.vma(inner);
    }
    Some(area)
}
