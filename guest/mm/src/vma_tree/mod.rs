//! The VMAs of an address space, in address order: a red-black tree for finding, a doubly linked list for walking.
//!
//! Both go through the same records, linked by id: the tree by [`VmArea::rb_left`], `rb_right`, `rb_parent` and
//! `rb_color`, the list by [`VmArea::vm_next`] and `vm_prev`. The tree is augmented: [`VmArea::rb_subtree_gap`] makes
//! the search for free addresses a single descent. Nothing here allocates, and every operation but the walks takes
//! O(log n) steps.
//!
//! | file | what |
//! |---|---|
//! | `find` | [`find_vma`] and its relatives, [`last_vma`] |
//! | `link` | [`vma_link`], [`vma_unlink`], [`vma_adjust`] |
//! | `unmapped` | [`unmapped_area`], [`unmapped_area_topdown`] |
//! | `iter` | [`vmas`], [`vmas_in`] |
//! | `check` | [`check()`], which verifies all of the below |
//! | `gap`, `links` | the augmentation; where the links are. Rotations and balance are those of [`crate::rbtree`] |
//!
//! # Invariants
//! - The list holds [`MmStruct::map_count`] VMAs from [`MmStruct::mmap`] on, ascending and not overlapping. Its order
//!   is the tree's in-order, from [`MmStruct::mm_rb`] on.
//! - No red VMA has a red parent, the root is black, and every path down from a VMA meets as many black ones. So the
//!   depth is at most 2·log2(n + 1).
//! - `rb_subtree_gap` is the largest gap, in bytes, below any VMA of its subtree. The gap below a VMA reaches down to
//!   the end of the previous VMA, or to address 0.
//! - [`MmStruct::vmacache`] is empty or one of the VMAs.
//!
//! # Locks
//! Look-ups, searches and walks need the `mmap_lock` of the address space; link, unlink and adjust need it alone. The
//! one word that a look-up writes, `vmacache`, is a hint that any holder may overwrite.
//!
//! Source: Linux up to 6.0, mm/mmap.c, lib/rbtree.c, include/linux/rbtree_augmented.h; later kernels keep VMAs in a maple
//! tree. Differs from Linux: one cached VMA instead of four, and no unmapped guard below a stack: a gap begins and
//! ends where VMAs do.

mod check;
mod find;
mod gap;
mod iter;
mod link;
mod links;
#[cfg(test)]
mod tests;
mod unmapped;

pub use check::{TreeError, check};
pub use find::{find_vma, find_vma_area, find_vma_intersection, find_vma_prev, last_vma};
pub use iter::{Vmas, vmas, vmas_in};
pub use link::{vma_adjust, vma_join, vma_link, vma_split, vma_unlink};
pub use unmapped::{UnmappedAreaInfo, unmapped_area, unmapped_area_topdown};

#[cfg(doc)]
use crate::vma::MmStruct;
use crate::vma::{VmArea, VmaId};

/// Where VMAs are kept.
pub trait VmaStore {
    /// The record of a VMA.
    ///
    /// # Panics
    /// May panic for an id that is not in use.
    fn vma(&self, id: VmaId) -> VmArea<'_>;
}
