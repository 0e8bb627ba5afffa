//! Putting a VMA into an address space, taking it out, and changing its bounds.
//!
//! A VMA is cut in two by [`vma_split`], and two that touch become one by [`vma_join`]. Neither changes a gap of the address
//! space, so that they do with a fraction of what [`vma_link`] and [`vma_unlink`] cost.
//!
//! Source: Linux, mm/mmap.c (`vma_link`, `__vma_unlink_list`, `__vma_adjust`).

use super::VmaStore;
use super::gap::{gap_below, propagate_gap, propagate_gaps};
use super::links::MmTree;
use crate::addr::VirtAddr;
use crate::rbtree::{self, Links, Side};
use crate::vma::{MmStruct, VmaId};

/// Where a new VMA goes: below which parent on which side (none in an empty tree), and between which neighbours.
#[derive(Default)]
struct Place {
    leaf: Option<(VmaId, Side)>,
    prev: Option<VmaId>,
    next: Option<VmaId>,
}

/// Finds the place of a VMA that starts at `start`.
fn find_place<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, start: VirtAddr) -> Place {
    let mut place = Place::default();
    let mut at = mm.mm_rb();
    while let Some(id) = at {
        let area = store.vma(id);
        let side = if start < area.vm_start() {
            Side::Left
        } else {
            Side::Right
        };
        match side {
            Side::Left => place.next = Some(id),
            Side::Right => place.prev = Some(id),
        }
        place.leaf = Some((id, side));
        at = area.child(side);
    }
    place
}

/// Adds a VMA, whose bounds are set, to an address space. [`crate::vma::VmArea::vm_mm`] stays the caller's to set.
///
/// # Panics
/// With debug assertions, when it is empty or overlaps another.
pub fn vma_link<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId) {
    let area = store.vma(id);
    let place = find_place(store, mm, area.vm_start());
    debug_assert_fits(store, area.vm_start(), area.vm_end(), place.prev, place.next);
    list_insert(store, mm, id, place.prev, place.next);
    area.set_rb_subtree_gap(gap_below(store, area));
    rbtree::attach(MmTree { store, mm }, id, place.leaf);
    // The neighbour above lost the part of its gap that lies below the new VMA.
    propagate_gaps(store, area.rb_parent(), place.next);
    rbtree::balance_attached(MmTree { store, mm }, id);
    mm.set_map_count(mm.map_count() + 1);
}

/// Cuts a VMA in two: `lower` ends at `addr`, inside it, and `upper`, whose bounds are set, is the rest.
///
/// # Panics
/// With debug assertions, when `upper` is not that rest.
#[inline(always)]
pub fn vma_split<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, lower: VmaId, upper: VmaId) {
    let (below, area) = (store.vma(lower), store.vma(upper));
    debug_assert!(
        below.vm_start() < area.vm_start() && area.vm_start() < area.vm_end() && area.vm_end() == below.vm_end(),
        "not the rest of a VMA"
    );
    below.set_vm_end(area.vm_start());
    let next = below.vm_next();
    list_insert(store, mm, upper, Some(lower), next);
    // Next in order after `lower`: its right child, or else the left one of its successor, which has none.
    let leaf = match (below.rb_right(), next) {
        (Some(_), Some(next)) => (next, Side::Left),
        _ => (lower, Side::Right),
    };
    // Nothing lies between the two, and what lies above them is as it was.
    area.set_rb_subtree_gap(0);
    rbtree::attach(MmTree { store, mm }, upper, Some(leaf));
    rbtree::balance_attached(MmTree { store, mm }, upper);
    mm.set_map_count(mm.map_count() + 1);
}

/// Makes one VMA of two that touch: `lower` grows over `upper`, which is no longer part of the address space.
///
/// # Panics
/// With debug assertions, when there is something between the two.
#[inline(always)]
pub fn vma_join<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, lower: VmaId, upper: VmaId) {
    let (below, area) = (store.vma(lower), store.vma(upper));
    debug_assert!(
        below.vm_end() == area.vm_start() && below.vm_next() == Some(upper),
        "VMAs to be joined do not touch"
    );
    below.set_vm_end(area.vm_end());
    list_remove(store, mm, upper);
    let hole = rbtree::detach(MmTree { store, mm }, upper, area.vm_next());
    // The gap above the two is as it was, but its VMA may have moved up in the tree.
    propagate_gap(store, hole.parent);
    rbtree::balance_detached(MmTree { store, mm }, hole);
    mm.set_vmacache(Some(lower));
    mm.set_map_count(mm.map_count() - 1);
}

/// Takes a VMA out of an address space. Its record keeps its bounds and its links, which mean nothing any more.
pub fn vma_unlink<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId) {
    list_remove(store, mm, id);
    let next = store.vma(id).vm_next();
    let hole = rbtree::detach(MmTree { store, mm }, id, next);
    // The neighbour above gained what was the VMA's, wherever in the tree it is.
    propagate_gaps(store, hole.parent, next);
    rbtree::balance_detached(MmTree { store, mm }, hole);
    if mm.vmacache() == Some(id) {
        mm.set_vmacache(None);
    }
    mm.set_map_count(mm.map_count() - 1);
}

#[inline(always)]
fn list_insert<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId, prev: Option<VmaId>, next: Option<VmaId>) {
    let area = store.vma(id);
    area.set_vm_prev(prev);
    area.set_vm_next(next);
    match prev {
        Some(prev) => store.vma(prev).set_vm_next(Some(id)),
        None => mm.set_mmap(Some(id)),
    }
    if let Some(next) = next {
        store.vma(next).set_vm_prev(Some(id));
    }
}

#[inline(always)]
fn list_remove<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId) {
    let area = store.vma(id);
    let (prev, next) = (area.vm_prev(), area.vm_next());
    match prev {
        Some(prev) => store.vma(prev).set_vm_next(next),
        None => mm.set_mmap(next),
    }
    if let Some(next) = next {
        store.vma(next).set_vm_prev(prev);
    }
}

/// Changes the bounds of a VMA in its place between its neighbours, and the page index that its start maps.
///
/// # Panics
/// With debug assertions, when it would be empty or overlap a neighbour, or is seen not to be linked into `mm`.
#[inline(never)]
pub fn vma_adjust<S: VmaStore + ?Sized>(
    store: &S,
    mm: MmStruct<'_>,
    id: VmaId,
    start: VirtAddr,
    end: VirtAddr,
    pgoff: u64,
) {
    let area = store.vma(id);
    debug_assert!(
        area.vm_prev().is_some() || mm.mmap() == Some(id),
        "VMA of another address space"
    );
    debug_assert_fits(store, start, end, area.vm_prev(), area.vm_next());
    let (start_moves, end_moves) = (area.vm_start() != start, area.vm_end() != end);
    area.set_vm_start(start);
    area.set_vm_end(end);
    area.set_vm_pgoff(pgoff);
    if start_moves {
        propagate_gap(store, Some(id));
    }
    if end_moves {
        propagate_gap(store, area.vm_next());
    }
}

/// Asserts that `[start, end)` is not empty and lies between two neighbours.
#[inline(always)]
fn debug_assert_fits<S: VmaStore + ?Sized>(
    store: &S,
    start: VirtAddr,
    end: VirtAddr,
    prev: Option<VmaId>,
    next: Option<VmaId>,
) {
    debug_assert!(start < end, "empty VMA");
    debug_assert!(
        prev.is_none_or(|prev| store.vma(prev).vm_end() <= start),
        "VMA overlaps the one below"
    );
    debug_assert!(
        next.is_none_or(|next| end <= store.vma(next).vm_start()),
        "VMA overlaps the one above"
    );
}
