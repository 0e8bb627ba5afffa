//! More than a few VMAs: the tree.

use super::{IntervalTree, Mapped};
use crate::rbtree::{self, BLACK, Links, Side, Tree};
use crate::vma::VmaId;
use crate::vma_tree::VmaStore;

impl<S: VmaStore, M: Mapped> IntervalTree<'_, S, M> {
    /// Adds a VMA. Among those with equal `vm_pgoff` it is the last.
    pub(super) fn tree_insert(self, id: VmaId) {
        let node = self.node(id);
        let (first, last) = (node.first(), node.last());
        node.keep_last(last);
        let Some(mut at) = self.root() else {
            node.set_leaf(None, BLACK);
            return self.set_root(Some(id));
        };
        let place = loop {
            let here = self.node(at);
            here.keep_last(here.subtree_last().max(last));
            let side = if first < here.first() { Side::Left } else { Side::Right };
            match here.child(side) {
                Some(below) => at = below,
                None => break (at, side),
            }
        };
        rbtree::attach(self, id, Some(place));
        rbtree::balance_attached(self, id);
    }

    /// Takes a VMA out.
    pub(super) fn tree_remove(self, id: VmaId) {
        let node = self.node(id);
        let next = match (node.child(Side::Left), node.child(Side::Right)) {
            (Some(_), Some(right)) => Some(self.leftmost(right)),
            _ => None,
        };
        let hole = rbtree::detach(self, id, next);
        self.propagate(hole.parent);
        if next != hole.parent {
            self.propagate(next);
        }
        rbtree::balance_detached(self, hole);
    }

    /// The first VMA, in order, that maps a page of `first..=last`.
    pub(super) fn first_in_tree(self, first: u64, last: u64) -> Option<VmaId> {
        let root = self.root().filter(|&root| self.reaches(root, first))?;
        self.first_below(root, first, last)
    }

    /// Whether a VMA of the subtree of `id` maps page `first` or one behind it.
    fn reaches(self, id: VmaId, first: u64) -> bool {
        self.node(id).subtree_last() >= first
    }

    /// The first VMA of a subtree, one of which reaches `first`, that maps a page of `first..=last`.
    fn first_below(self, top: VmaId, first: u64, last: u64) -> Option<VmaId> {
        let mut at = top;
        loop {
            let node = self.node(at);
            if let Some(left) = node.child(Side::Left).filter(|&left| self.reaches(left, first)) {
                // If the VMA there that reaches `first` begins behind `last`, so does everything after it.
                at = left;
                continue;
            }
            if node.first() > last {
                return None;
            }
            if node.last() >= first {
                return Some(at);
            }
            at = node.child(Side::Right).filter(|&right| self.reaches(right, first))?;
        }
    }

    /// The next VMA after `found`, in order, that maps a page of `first..=last`.
    pub(super) fn next_in_tree(self, found: VmaId, first: u64, last: u64) -> Option<VmaId> {
        let mut at = found;
        loop {
            let right = self.node(at).child(Side::Right);
            if let Some(right) = right.filter(|&right| self.reaches(right, first)) {
                return self.first_below(right, first, last);
            }
            // Up, to the first VMA that this subtree comes before.
            loop {
                let below = at;
                at = self.node(below).parent()?;
                if self.node(at).child(Side::Right) != Some(below) {
                    break;
                }
            }
            let node = self.node(at);
            if node.first() > last {
                return None;
            }
            if node.last() >= first {
                return Some(at);
            }
        }
    }

    fn leftmost(self, top: VmaId) -> VmaId {
        let mut at = top;
        while let Some(left) = self.node(at).child(Side::Left) {
            at = left;
        }
        at
    }

    /// Recomputes what a VMA keeps about its subtree, and its ancestors until one does not change.
    pub(super) fn propagate(self, from: Option<VmaId>) {
        let mut at = from;
        while let Some(id) = at {
            let node = self.node(id);
            let last = self.computed_last(node);
            if last == node.subtree_last() {
                return;
            }
            node.keep_last(last);
            at = node.parent();
        }
    }
}
