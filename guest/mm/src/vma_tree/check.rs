//! Verifying a whole tree: for tests, and for a kernel that distrusts itself.

use super::VmaStore;
use super::gap::compute_gap;
use crate::rbtree::{BLACK, RED};
use crate::vma::{MmStruct, VmaId};

/// Deepest path of a tree of 2^32 VMAs: 2·log2(n + 1). Bounds the recursion of [`check()`] on a broken tree.
const DEPTH_MAX: u32 = 64;

/// Which invariant (see the module [`super`]) is broken, and at which VMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// It is empty, or does not start at or above the end of the one before it.
    Order(VmaId),
    /// `vm_prev` is not the VMA whose `vm_next` it is.
    Prev(VmaId),
    /// `map_count` is not the number of VMAs on the list.
    Count {
        /// VMAs seen on the list, at most one more than `map_count`.
        listed: u64,
    },
    /// In the tree it follows another VMA than on the list, or it is in the tree only.
    ListIsNotTree(VmaId),
    /// It is on the list only.
    NotInTree(VmaId),
    /// `rb_parent` is not the VMA whose child it is.
    Parent(VmaId),
    /// A colour other than the two, or red while the parent is red, or a red root.
    Color(VmaId),
    /// The paths below its two children differ in their number of black VMAs.
    BlackHeight(VmaId),
    /// It is deeper than any balanced tree.
    Depth(VmaId),
    /// `rb_subtree_gap` is wrong.
    Gap(VmaId),
    /// `vmacache` is not on the list.
    Cache(VmaId),
}

/// Verifies every invariant of an address space's VMAs, in O(n). Ends even when links form a cycle.
///
/// # Errors
/// The first invariant found broken.
pub fn check<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>) -> Result<(), TreeError> {
    check_list(store, mm)?;
    let mut walk = Walk {
        store,
        expected: mm.mmap(),
    };
    if let Some(root) = mm.mm_rb() {
        if store.vma(root).rb_color() != BLACK {
            return Err(TreeError::Color(root));
        }
        walk.subtree(root, None, DEPTH_MAX)?;
    }
    walk.expected
        .map_or(Ok(()), |left_over| Err(TreeError::NotInTree(left_over)))
}

fn check_list<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>) -> Result<(), TreeError> {
    let mut listed = 0;
    let (mut prev, mut prev_end) = (None, 0);
    let mut cache_seen = mm.vmacache().is_none();
    let mut at = mm.mmap();
    while let Some(id) = at {
        let area = store.vma(id);
        listed += 1;
        if listed > mm.map_count() {
            break;
        }
        if area.vm_prev() != prev {
            return Err(TreeError::Prev(id));
        }
        if area.vm_start().0 < prev_end || area.vm_start() >= area.vm_end() {
            return Err(TreeError::Order(id));
        }
        cache_seen |= mm.vmacache() == Some(id);
        (prev, prev_end) = (Some(id), area.vm_end().0);
        at = area.vm_next();
    }
    if listed != mm.map_count() {
        return Err(TreeError::Count { listed });
    }
    match mm.vmacache() {
        Some(stray) if !cache_seen => Err(TreeError::Cache(stray)),
        _ => Ok(()),
    }
}

/// An in-order walk of the tree along the list.
struct Walk<'s, S: ?Sized> {
    store: &'s S,
    /// The VMA of the list that the tree should have next.
    expected: Option<VmaId>,
}

impl<S: VmaStore + ?Sized> Walk<'_, S> {
    /// Checks the subtree of `id`, and returns the number of black VMAs on each path down from it.
    fn subtree(&mut self, id: VmaId, parent: Option<VmaId>, depth_left: u32) -> Result<u32, TreeError> {
        let area = self.store.vma(id);
        let color = area.rb_color();
        if depth_left == 0 {
            return Err(TreeError::Depth(id));
        }
        if area.rb_parent() != parent {
            return Err(TreeError::Parent(id));
        }
        let parent_is_red = parent.is_some_and(|parent| self.store.vma(parent).rb_color() == RED);
        if color > RED || (color == RED && parent_is_red) {
            return Err(TreeError::Color(id));
        }
        let left = self.child(area.rb_left(), id, depth_left)?;
        if self.expected != Some(id) {
            return Err(TreeError::ListIsNotTree(id));
        }
        self.expected = area.vm_next();
        let right = self.child(area.rb_right(), id, depth_left)?;
        if left != right {
            return Err(TreeError::BlackHeight(id));
        }
        if area.rb_subtree_gap() != compute_gap(self.store, area) {
            return Err(TreeError::Gap(id));
        }
        Ok(left + u32::from(color == BLACK))
    }

    fn child(&mut self, child: Option<VmaId>, parent: VmaId, depth_left: u32) -> Result<u32, TreeError> {
        child.map_or(Ok(0), |child| self.subtree(child, Some(parent), depth_left - 1))
    }
}
