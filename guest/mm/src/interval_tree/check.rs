//! Verifying a whole tree, for tests.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::{IntervalTree, LIST_MAX, Mapped, TREE_MIN};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::rbtree::{BLACK, Links, RED, Side, Tree};
use crate::vma::{MmStruct, VmaId};
use crate::vma_tree::{self, VmaStore};

/// Deepest path of a tree of 2^32 VMAs: 2·log2(n + 1).
const DEPTH_MAX: u32 = 64;

impl<S: VmaStore, M: Mapped> IntervalTree<'_, S, M> {
    /// Panics unless every invariant of the tree holds. Returns its VMAs.
    pub(crate) fn check(self) -> Vec<VmaId> {
        let mut seen = Vec::new();
        let count = self.mapped.members().count();
        match self.root() {
            Some(root) if self.node(root).is_in_tree() => {
                assert!(count >= TREE_MIN, "a tree of {count}");
                assert_eq!(self.node(root).color(), BLACK, "colour of the root");
                self.check_subtree(root, None, DEPTH_MAX, &mut seen);
                assert!(seen.iter().map(|&id| self.node(id).first()).is_sorted(), "order");
            }
            first => {
                assert!(count <= LIST_MAX, "a list of {count}");
                let mut next = first;
                while let Some(id) = next {
                    assert_eq!(self.node(id).prev(), seen.last().copied(), "before {id:?}");
                    seen.push(id);
                    next = self.node(id).next();
                }
            }
        }
        assert_eq!(seen.len(), count as usize, "number of VMAs");
        seen
    }

    /// Returns the number of black VMAs on each path down.
    fn check_subtree(self, id: VmaId, parent: Option<VmaId>, depth_left: u32, seen: &mut Vec<VmaId>) -> u32 {
        let node = self.node(id);
        assert_ne!(depth_left, 0, "too deep");
        assert_eq!(node.parent(), parent, "parent of {id:?}");
        let parent_is_red = parent.is_some_and(|parent| self.node(parent).color() == RED);
        assert!(node.color() == BLACK || !parent_is_red, "{id:?} is red below a red one");
        let below = |side, seen: &mut Vec<VmaId>| {
            node.child(side)
                .map_or(0, |child| self.check_subtree(child, Some(id), depth_left - 1, seen))
        };
        let left = below(Side::Left, seen);
        seen.push(id);
        let right = below(Side::Right, seen);
        assert_eq!(left, right, "black VMAs below {id:?}");
        let last = self.computed_last(node);
        assert_eq!(node.subtree_last(), last, "last page of the subtree of {id:?}");
        left + u32::from(node.color() == BLACK)
    }
}

impl<P: Platform> Memory<P> {
    /// Panics unless the trees of all that an address space maps are in order, and have its VMAs.
    pub(crate) fn check_rmap(&self, mm: MmStruct<'_>) {
        let mut checked = BTreeMap::new();
        for (id, vma) in vma_tree::vmas(self, mm) {
            if let Some(file) = vma.vm_file() {
                let mapping = checked
                    .entry((Some(file), None))
                    .or_insert_with(|| self.i_mmap(file).check());
                assert!(mapping.contains(&id), "{id:?} is not in the tree of its object");
            }
            if let Some(anon) = vma.anon_vma() {
                let mapping = checked
                    .entry((None, Some(anon)))
                    .or_insert_with(|| self.anon_tree(anon).check());
                assert!(mapping.contains(&id), "{id:?} is not in the tree of its anon_vma");
            }
        }
    }
}
