//! Verifying a whole tree.

use super::{IntervalTree, LIST_MAX, Mapped, TREE_MIN};
use crate::check::{Violation, at_most, equal};
use crate::rbtree::{BLACK, Links, RED, Side, Tree};
use crate::vma::VmaId;
use crate::vma_tree::VmaStore;

/// Deepest path of a tree of 2^32 VMAs: 2·log2(n + 1).
const DEPTH_MAX: u32 = 64;

/// What is given each VMA.
type Visit<'v> = &'v mut dyn FnMut(VmaId) -> Result<(), Violation>;

/// A walk in order.
struct Seen<'v> {
    visit: Visit<'v>,
    count: u32,
    first: u64,
}

fn number(id: Option<VmaId>) -> u32 {
    id.map_or(0, |id| id.0.get())
}

impl<S: VmaStore, M: Mapped> IntervalTree<'_, S, M> {
    /// Whether every invariant of the tree holds. Its VMAs are given to `visit`.
    ///
    /// # Errors
    /// The first that does not hold, or what `visit` finds.
    #[cold]
    pub(crate) fn verify(self, visit: Visit<'_>) -> Result<(), Violation> {
        let count = self.mapped.members().count();
        let mut seen = Seen {
            visit,
            count: 0,
            first: 0,
        };
        match self.root() {
            Some(root) if self.node(root).is_in_tree() => {
                at_most("VMAs of the smallest tree, of VMA", root.0.get(), TREE_MIN, count)?;
                equal("colour of the root: VMA", root.0.get(), self.node(root).color(), BLACK)?;
                self.verify_subtree(root, None, DEPTH_MAX, &mut seen)?;
            }
            first => {
                at_most("VMAs of the longest list, of VMA", number(first), count, LIST_MAX)?;
                let (mut prev, mut next) = (None, first);
                while let Some(id) = next {
                    equal("before VMA", id.0.get(), number(self.node(id).prev()), number(prev))?;
                    (seen.visit)(id)?;
                    seen.count += 1;
                    at_most("VMAs on the list of VMA", id.0.get(), seen.count, count)?;
                    (prev, next) = (next, self.node(id).next());
                }
            }
        }
        equal("VMAs of the tree of VMA", number(self.root()), seen.count, count)
    }

    /// Returns the number of black VMAs on each path down.
    fn verify_subtree(
        self,
        id: VmaId,
        parent: Option<VmaId>,
        depth_left: u32,
        seen: &mut Seen<'_>,
    ) -> Result<u32, Violation> {
        let (node, at) = (self.node(id), id.0.get());
        equal("too deep: VMA", at, depth_left == 0, false)?;
        equal("parent of VMA", at, number(node.parent()), number(parent))?;
        let parent_is_red = parent.is_some_and(|parent| self.node(parent).color() == RED);
        equal(
            "red below a red one: VMA",
            at,
            node.color() != BLACK && parent_is_red,
            false,
        )?;
        let below = |side, seen: &mut Seen<'_>| match node.child(side) {
            Some(child) => self.verify_subtree(child, Some(id), depth_left - 1, seen),
            None => Ok(0),
        };
        let left = below(Side::Left, seen)?;
        at_most("first page before VMA", at, seen.first, node.first())?;
        seen.first = node.first();
        seen.count += 1;
        (seen.visit)(id)?;
        let right = below(Side::Right, seen)?;
        equal("black VMAs below VMA", at, left, right)?;
        let last = self.computed_last(node);
        equal("last page of the subtree of VMA", at, node.subtree_last(), last)?;
        Ok(left + u32::from(node.color() == BLACK))
    }

    /// Its VMAs. For tests.
    ///
    /// # Panics
    /// Unless [`IntervalTree::verify`] finds nothing.
    #[cfg(test)]
    pub(crate) fn check(self) -> std::vec::Vec<VmaId> {
        let mut seen = std::vec::Vec::new();
        crate::check::expect(self.verify(&mut |id| {
            seen.push(id);
            Ok(())
        }));
        seen
    }
}
