//! Where a VMA has its links: three words for each thing that it maps.
//!
//! | word | in a list | in a tree, bits 0 to 31 | bits 32 to 63 |
//! |---|---|---|---|
//! | 0 | next VMA | left child | right child |
//! | 1 | previous VMA | parent | colour + 1 |
//! | 2 | – | last page index of the subtree | its upper half |

use core::marker::PhantomData;

use crate::rbtree::{Links, RED, Side, Tree};
use crate::record::Field;
use crate::sync::Word;
use crate::vma::{VmArea, VmaId};
use crate::vma_tree::VmaStore;

/// The first VMA of a list, or the root of a tree, and the number of VMAs, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members(u64);

impl Members {
    #[inline(always)]
    pub(super) fn first(self) -> Option<VmaId> {
        Field::from_word(self.0 & LOW)
    }

    #[inline(always)]
    pub(super) fn with_first(self, first: Option<VmaId>) -> Self {
        Self(self.0 & !LOW | first.to_word())
    }

    #[inline(always)]
    pub(super) fn and_one(self) -> Self {
        Self(self.0 + ONE)
    }

    #[inline(always)]
    pub(super) fn less_one(self) -> Self {
        Self(self.0 - ONE)
    }

    #[inline(always)]
    pub(crate) fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Field for Members {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        Self(word)
    }
}

/// What VMAs map: it knows them.
pub(crate) trait Mapped: Copy {
    /// First of the words of a [`VmArea`] with its links in this tree.
    const LINKS: usize;
    /// Those that map it.
    fn members(self) -> Members;
    /// Sets [`Mapped::members`].
    fn set_members(self, members: Members);
}

/// The VMAs that map `mapped`.
pub(crate) struct IntervalTree<'s, S, M> {
    pub(crate) store: &'s S,
    pub(crate) mapped: M,
}

impl<S, M: Copy> Clone for IntervalTree<'_, S, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, M: Copy> Copy for IntervalTree<'_, S, M> {}

/// A VMA, as the tree of what it maps sees it.
#[derive(Clone, Copy)]
pub(crate) struct Interval<'s, M>(VmArea<'s>, PhantomData<M>);

/// A VMA's number in a word with something else.
const LOW: u64 = 0xffff_ffff;
/// One VMA, in the upper half of [`Members`].
const ONE: u64 = 1 << 32;

impl<'s, M: Mapped> Interval<'s, M> {
    /// Of a VMA.
    #[inline(always)]
    pub(crate) fn of(vma: VmArea<'s>) -> Self {
        Self(vma, PhantomData)
    }

    #[inline(always)]
    fn word(self, at: usize) -> &'s Word {
        &self.0.0[M::LINKS + at]
    }

    /// Whether it is in a tree, not in a list.
    #[inline(always)]
    pub(crate) fn is_in_tree(self) -> bool {
        self.word(1).get() > LOW
    }

    /// The VMA after it in a list.
    #[inline(always)]
    pub(super) fn next(self) -> Option<VmaId> {
        Field::from_word(self.word(0).get())
    }

    /// Sets [`Interval::next`].
    #[inline(always)]
    pub(super) fn set_next(self, next: Option<VmaId>) {
        self.word(0).set(next.to_word());
    }

    /// The VMA before it in a list.
    #[inline(always)]
    pub(super) fn prev(self) -> Option<VmaId> {
        Field::from_word(self.word(1).get())
    }

    /// Sets [`Interval::prev`].
    #[inline(always)]
    pub(super) fn set_prev(self, prev: Option<VmaId>) {
        self.word(1).set(prev.to_word());
    }

    /// Index of the first page that it maps.
    #[inline(always)]
    pub(super) fn first(self) -> u64 {
        self.0.vm_pgoff()
    }

    /// Index of the last page that it maps.
    #[inline(always)]
    pub(super) fn last(self) -> u64 {
        self.0.last_page_index()
    }

    /// Index of the last page that its subtree maps.
    #[inline(always)]
    pub(super) fn subtree_last(self) -> u64 {
        self.word(2).get()
    }

    /// Sets [`Interval::subtree_last`].
    #[inline(always)]
    pub(super) fn keep_last(self, last: u64) {
        self.word(2).set(last);
    }
}

impl<M: Mapped> Links for Interval<'_, M> {
    #[inline(always)]
    fn child(self, side: Side) -> Option<VmaId> {
        let children = self.word(0).get();
        Field::from_word(match side {
            Side::Left => children & LOW,
            Side::Right => children >> 32,
        })
    }

    #[inline(always)]
    fn set_child(self, side: Side, child: Option<VmaId>) {
        let word = self.word(0);
        word.set(match side {
            Side::Left => word.get() & !LOW | child.to_word(),
            Side::Right => word.get() & LOW | child.to_word() << 32,
        });
    }

    #[inline(always)]
    fn parent(self) -> Option<VmaId> {
        Field::from_word(self.word(1).get() & LOW)
    }

    #[inline(always)]
    fn set_parent(self, parent: Option<VmaId>) {
        let word = self.word(1);
        word.set(word.get() & !LOW | parent.to_word());
    }

    #[inline(always)]
    fn color(self) -> u64 {
        (self.word(1).get() >> 32) - 1
    }

    #[inline(always)]
    fn set_color(self, color: u64) {
        debug_assert!(color <= RED, "not a colour");
        let word = self.word(1);
        word.set(word.get() & LOW | (color + 1) << 32);
    }

    #[inline(always)]
    fn set_leaf(self, parent: Option<VmaId>, color: u64) {
        self.word(0).set(0);
        self.word(1).set(parent.to_word() | (color + 1) << 32);
    }

    #[inline(always)]
    fn inherit(self, old: Self) {
        self.keep_last(old.subtree_last());
    }
}

impl<'s, S: VmaStore, M: Mapped> Tree for IntervalTree<'s, S, M> {
    type Node = Interval<'s, M>;

    #[inline(always)]
    fn node(self, id: VmaId) -> Interval<'s, M> {
        Interval::of(self.store.vma(id))
    }

    #[inline(always)]
    fn root(self) -> Option<VmaId> {
        self.mapped.members().first()
    }

    #[inline(always)]
    fn set_root(self, root: Option<VmaId>) {
        self.mapped.set_members(self.mapped.members().with_first(root));
    }

    fn refresh(self, node: Interval<'s, M>) {
        node.keep_last(self.computed_last(node));
    }
}

impl<'s, S: VmaStore, M: Mapped> IntervalTree<'s, S, M> {
    /// What the third word of a VMA should be, given that its children's is right.
    pub(super) fn computed_last(self, node: Interval<'s, M>) -> u64 {
        let below = |side| node.child(side).map_or(0, |child| self.node(child).subtree_last());
        node.last().max(below(Side::Left)).max(below(Side::Right))
    }
}
