//! Finding the VMA of an address.
//!
//! [`find_vma`] is on the path of every page fault, where a host that interprets ring 0 charges about a microsecond an
//! instruction. So it asks the cached VMA first, at the price of two compares, and hands back the record that it has
//! looked at anyway ([`find_vma_area`]).
//!
//! Source: Linux, mm/mmap.c (`find_vma`, `find_vma_prev`), mm/vmacache.c.

use super::VmaStore;
use crate::addr::VirtAddr;
use crate::vma::{MmStruct, VmArea, VmaId};

/// The first VMA that ends above `addr`. It contains `addr`, or else `addr` is not mapped.
#[inline]
#[must_use]
pub fn find_vma<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, addr: VirtAddr) -> Option<VmaId> {
    find_vma_area(store, mm, addr).map(|(id, _)| id)
}

/// [`find_vma`] with the record that was found, which spares the caller the way from id to record.
#[inline]
#[must_use]
pub fn find_vma_area<'s, S: VmaStore + ?Sized>(
    store: &'s S,
    mm: MmStruct<'_>,
    addr: VirtAddr,
) -> Option<(VmaId, VmArea<'s>)> {
    if let Some(cached) = mm.vmacache() {
        let area = store.vma(cached);
        if area.vm_start() <= addr && addr < area.vm_end() {
            return Some((cached, area));
        }
    }
    descend(store, mm, addr)
}

/// The look-up in the tree. Caches what contains `addr`; a VMA that only follows it would not serve the next look-up.
fn descend<'s, S: VmaStore + ?Sized>(store: &'s S, mm: MmStruct<'_>, addr: VirtAddr) -> Option<(VmaId, VmArea<'s>)> {
    let mut above = None;
    let mut at = mm.mm_rb();
    while let Some(id) = at {
        let area = store.vma(id);
        if area.vm_end() <= addr {
            at = area.rb_right();
            continue;
        }
        if area.vm_start() <= addr {
            mm.set_vmacache(Some(id));
            return Some((id, area));
        }
        above = Some((id, area));
        at = area.rb_left();
    }
    above
}

/// [`find_vma`], and the VMA before it: the last one that ends at or below `addr`.
#[must_use]
pub fn find_vma_prev<S: VmaStore + ?Sized>(
    store: &S,
    mm: MmStruct<'_>,
    addr: VirtAddr,
) -> (Option<VmaId>, Option<VmaId>) {
    match find_vma_area(store, mm, addr) {
        Some((id, area)) => (Some(id), area.vm_prev()),
        None => (None, last_vma(store, mm)),
    }
}

/// The first VMA that has an address of `[start, end)`.
#[must_use]
pub fn find_vma_intersection<S: VmaStore + ?Sized>(
    store: &S,
    mm: MmStruct<'_>,
    start: VirtAddr,
    end: VirtAddr,
) -> Option<VmaId> {
    match find_vma_area(store, mm, start) {
        Some((id, area)) if area.vm_start() < end => Some(id),
        _ => None,
    }
}

/// The VMA with the highest address.
#[must_use]
pub fn last_vma<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>) -> Option<VmaId> {
    let mut last = mm.mm_rb()?;
    while let Some(right) = store.vma(last).rb_right() {
        last = right;
    }
    Some(last)
}
