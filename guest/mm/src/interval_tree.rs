//! The VMAs that map one thing (the pages of an object, or a family of anonymous pages) by the pages that they map.
//!
//! Up to [`LIST_MAX`] VMAs are a list. More of them are a red-black tree in the order of [`VmArea::vm_pgoff`], where each VMA
//! keeps the last page index that any VMA of its subtree maps: so whoever maps a page is found in O(log n) steps, and O(log n) for
//! each further VMA. Nothing here allocates.
//!
//! Why a list at all: most things are mapped by a few VMAs, which come and go with every `fork` and `mprotect`. With a tree alone a pair
//! of `mprotect` cost 4,091 instructions instead of 3,031, a fork 27,202 instead of 25,415, on the simulated machine.
//!
//! # Invariants
//! - [`Mapped::members`] counts the VMAs. More than [`LIST_MAX`] are a tree, fewer than [`TREE_MIN`] a list; what is between stays
//!   what it was.
//! - A tree is [`crate::rbtree`]'s; in order, `vm_pgoff` does not descend. The third word of each VMA's links is the largest
//!   [`VmArea::last_page_index`] of its subtree.
//! - A VMA's links tell which of the two it is in.
//!
//! # Locks
//! The `i_mmap_lock`, for everything.
//!
//! Source: Linux, mm/interval_tree.c, include/linux/interval_tree_generic.h. Differs from Linux: the list.

mod check;
mod links;
#[cfg(test)]
mod tests;
mod tree;

use core::ops::RangeInclusive;

pub(crate) use links::{Interval, IntervalTree, Mapped, Members};

use crate::rbtree::Tree;
#[cfg(doc)]
use crate::vma::VmArea;
use crate::vma::VmaId;
use crate::vma_tree::VmaStore;

/// The longest list.
pub(crate) const LIST_MAX: u32 = 8;
/// The smallest tree: half of that, so that what comes and goes at the limit does not turn one into the other each time.
pub(crate) const TREE_MIN: u32 = LIST_MAX / 2;

impl<S: VmaStore, M: Mapped> IntervalTree<'_, S, M> {
    /// Adds a VMA, whose bounds and `vm_pgoff` are set.
    #[inline(always)]
    pub(crate) fn insert(self, id: VmaId) {
        let members = self.mapped.members();
        let node = self.node(id);
        if let Some(first) = members.first() {
            let next = self.node(first);
            if next.is_in_tree() || members.count() == LIST_MAX {
                return self.insert_into_tree(id);
            }
            next.set_prev(Some(id));
        }
        node.set_next(members.first());
        node.set_prev(None);
        self.mapped.set_members(members.with_first(Some(id)).and_one());
    }

    /// Takes a VMA out.
    #[inline(always)]
    pub(crate) fn remove(self, id: VmaId) {
        let node = self.node(id);
        if node.is_in_tree() {
            return self.remove_from_tree(id);
        }
        let members = self.mapped.members();
        let (prev, next) = (node.prev(), node.next());
        if let Some(next) = next {
            self.node(next).set_prev(prev);
        }
        let members = match prev {
            Some(prev) => {
                self.node(prev).set_next(next);
                members
            }
            None => members.with_first(next),
        };
        self.mapped.set_members(members.less_one());
    }

    /// The VMAs that map a page of `pages`, each once. They must neither come nor go meanwhile.
    pub(crate) fn overlapping(self, pages: RangeInclusive<u64>) -> impl Iterator<Item = VmaId> {
        let (first, last) = pages.into_inner();
        let head = self.root();
        let in_tree = head.is_some_and(|head| self.node(head).is_in_tree());
        let mut next = if in_tree { self.first_in_tree(first, last) } else { head };
        core::iter::from_fn(move || {
            while let Some(id) = next {
                if in_tree {
                    next = self.next_in_tree(id, first, last);
                    return Some(id);
                }
                let node = self.node(id);
                next = node.next();
                if node.first() <= last && node.last() >= first {
                    return Some(id);
                }
            }
            None
        })
    }

    #[cold]
    #[inline(never)]
    fn insert_into_tree(self, id: VmaId) {
        self.turn_into_tree();
        self.tree_insert(id);
        self.mapped.set_members(self.mapped.members().and_one());
    }

    #[cold]
    #[inline(never)]
    fn remove_from_tree(self, id: VmaId) {
        self.tree_remove(id);
        self.mapped.set_members(self.mapped.members().less_one());
        if self.mapped.members().count() < TREE_MIN {
            self.turn_into_list();
        }
    }

    /// A list becomes a tree of the same VMAs, if it is one.
    fn turn_into_tree(self) {
        let Some(first) = self.root().filter(|&first| !self.node(first).is_in_tree()) else {
            return;
        };
        self.set_root(None);
        let mut next = Some(first);
        while let Some(id) = next {
            next = self.node(id).next();
            self.tree_insert(id);
        }
    }

    /// A tree becomes a list of the same VMAs.
    fn turn_into_list(self) {
        let mut list: Option<VmaId> = None;
        while let Some(id) = self.root() {
            self.tree_remove(id);
            let node = self.node(id);
            node.set_next(list);
            node.set_prev(None);
            if let Some(next) = list {
                self.node(next).set_prev(Some(id));
            }
            list = Some(id);
        }
        self.set_root(list);
    }
}
