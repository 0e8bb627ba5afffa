//! Where the tree of an address space has its links, and what it keeps about a subtree: its largest gap.

use super::VmaStore;
use super::gap::compute_gap;
use crate::rbtree::{Links, Side, Tree};
use crate::vma::{MmStruct, VmArea, VmaId};

impl Links for VmArea<'_> {
    #[inline(always)]
    fn child(self, side: Side) -> Option<VmaId> {
        match side {
            Side::Left => self.rb_left(),
            Side::Right => self.rb_right(),
        }
    }

    #[inline(always)]
    fn set_child(self, side: Side, child: Option<VmaId>) {
        match side {
            Side::Left => self.set_rb_left(child),
            Side::Right => self.set_rb_right(child),
        }
    }

    #[inline(always)]
    fn parent(self) -> Option<VmaId> {
        self.rb_parent()
    }

    #[inline(always)]
    fn set_parent(self, parent: Option<VmaId>) {
        self.set_rb_parent(parent);
    }

    #[inline(always)]
    fn color(self) -> u64 {
        self.rb_color()
    }

    #[inline(always)]
    fn set_color(self, color: u64) {
        self.set_rb_color(color);
    }

    #[inline(always)]
    fn set_leaf(self, parent: Option<VmaId>, color: u64) {
        self.set_rb_left(None);
        self.set_rb_right(None);
        self.set_rb_color(color);
        self.set_rb_parent(parent);
    }

    #[inline(always)]
    fn inherit(self, old: Self) {
        self.set_rb_subtree_gap(old.rb_subtree_gap());
    }
}

/// The tree of an address space.
pub(super) struct MmTree<'s, S: ?Sized> {
    pub(super) store: &'s S,
    pub(super) mm: MmStruct<'s>,
}

impl<S: ?Sized> Clone for MmTree<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for MmTree<'_, S> {}

impl<'s, S: VmaStore + ?Sized> Tree for MmTree<'s, S> {
    type Node = VmArea<'s>;

    #[inline(always)]
    fn node(self, id: VmaId) -> VmArea<'s> {
        self.store.vma(id)
    }

    #[inline(always)]
    fn root(self) -> Option<VmaId> {
        self.mm.mm_rb()
    }

    #[inline(always)]
    fn set_root(self, root: Option<VmaId>) {
        self.mm.set_mm_rb(root);
    }

    fn refresh(self, node: VmArea<'s>) {
        node.set_rb_subtree_gap(compute_gap(self.store, node));
    }
}
