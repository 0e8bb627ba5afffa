//! The augmentation of the tree: the largest gap below any VMA of a subtree.
//!
//! The value of a VMA depends on its own gap and on the values of its children. Whoever changes one of these calls
//! [`propagate_gap`] for each VMA concerned, in any order: each call leaves its VMA right, and passes the change up for as
//! long as there is one.
//!
//! Source: Linux, mm/mmap.c (`vma_compute_gap`, `vma_gap_update`).

use super::VmaStore;
use crate::vma::{VmArea, VmaId};

/// First address of the gap below a VMA: the end of the previous one, or 0. The gap ends where the VMA starts.
#[inline]
pub(super) fn gap_start<S: VmaStore + ?Sized>(store: &S, area: VmArea<'_>) -> u64 {
    area.vm_prev().map_or(0, |prev| store.vma(prev).vm_end().0)
}

/// The gap below a VMA, in bytes.
#[inline]
pub(super) fn gap_below<S: VmaStore + ?Sized>(store: &S, area: VmArea<'_>) -> u64 {
    area.vm_start().0 - gap_start(store, area)
}

/// The largest gap that a subtree promises, in bytes; 0 for an empty one.
#[inline]
pub(super) fn subtree_gap<S: VmaStore + ?Sized>(store: &S, root: Option<VmaId>) -> u64 {
    root.map_or(0, |id| store.vma(id).rb_subtree_gap())
}

/// What `rb_subtree_gap` of a VMA should be, given that its children's is right.
pub(super) fn compute_gap<S: VmaStore + ?Sized>(store: &S, area: VmArea<'_>) -> u64 {
    gap_below(store, area)
        .max(subtree_gap(store, area.rb_left()))
        .max(subtree_gap(store, area.rb_right()))
}

/// Recomputes a VMA's `rb_subtree_gap`, and that of its ancestors until one does not change.
pub(super) fn propagate_gap<S: VmaStore + ?Sized>(store: &S, from: Option<VmaId>) {
    let mut at = from;
    while let Some(id) = at {
        let area = store.vma(id);
        let gap = compute_gap(store, area);
        if gap == area.rb_subtree_gap() {
            return;
        }
        area.set_rb_subtree_gap(gap);
        at = area.rb_parent();
    }
}

/// [`propagate_gap`] from two VMAs, which often are the same.
#[inline(always)]
pub(super) fn propagate_gaps<S: VmaStore + ?Sized>(store: &S, one: Option<VmaId>, other: Option<VmaId>) {
    propagate_gap(store, one);
    if other != one {
        propagate_gap(store, other);
    }
}
