//! Red-black trees of VMAs: attaching and detaching, rotations, balance.
//!
//! A VMA is in several trees at once: that of its address space ([`crate::vma_tree`]), that of the object it maps and that of its
//! anonymous pages ([`crate::interval_tree`]). What they have in common is here. A [`Tree`] says where its root is, [`Links`] where
//! those of a VMA are, and both what is kept about a subtree beside its shape.
//!
//! The mirror images of each case are one piece of code, over a [`Side`]. Rotations keep what is kept about subtrees right, given
//! that it was: a rotated subtree holds the same VMAs as before, so its new top takes over the value of the old one.
//!
//! Source: Linux, lib/rbtree.c, include/linux/rbtree_augmented.h, Documentation/core-api/rbtree.rst; Cormen, Leiserson, Rivest,
//! Stein, Introduction to Algorithms, chapter 13.

use crate::vma::VmaId;

/// [`Links::color`]: counts towards the balance.
pub(crate) const BLACK: u64 = 0;
/// [`Links::color`]: its parent and its children are black.
pub(crate) const RED: u64 = 1;

/// The links of a VMA in one tree.
pub(crate) trait Links: Copy {
    /// The top of a subtree.
    fn child(self, side: Side) -> Option<VmaId>;
    /// Sets [`Links::child`].
    fn set_child(self, side: Side, child: Option<VmaId>);
    /// The VMA whose child it is; none for the root.
    fn parent(self) -> Option<VmaId>;
    /// Sets [`Links::parent`].
    fn set_parent(self, parent: Option<VmaId>);
    /// [`BLACK`] or [`RED`].
    fn color(self) -> u64;
    /// Sets [`Links::color`].
    fn set_color(self, color: u64);
    /// Sets all of the above, without children.
    fn set_leaf(self, parent: Option<VmaId>, color: u64);
    /// Takes over what `old` kept about its subtree, which is now this VMA's.
    fn inherit(self, old: Self);
}

/// A tree of VMAs, as a view.
pub(crate) trait Tree: Copy {
    /// The links of a VMA in it.
    type Node: Links;
    /// Those of `id`.
    fn node(self, id: VmaId) -> Self::Node;
    /// Its root; none when it is empty.
    fn root(self) -> Option<VmaId>;
    /// Sets [`Tree::root`].
    fn set_root(self, root: Option<VmaId>);
    /// Brings what is kept about the subtree of `node` in line with its children's.
    fn refresh(self, node: Self::Node);
}

/// One of a VMA's two subtrees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What comes before it.
    Left,
    /// What comes after it.
    Right,
}

impl Side {
    /// The opposite one.
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// The side that `child`, which may be none, is on. The other side's child must be another.
    fn of<N: Links>(node: N, child: Option<VmaId>) -> Self {
        if node.child(Self::Left) == child {
            Self::Left
        } else {
            Self::Right
        }
    }
}

/// Where a VMA was detached: what took its place, below which parent, and whether that path lacks a black VMA now.
pub(crate) struct Hole {
    /// Took the place.
    pub(crate) child: Option<VmaId>,
    /// The lowest VMA whose subtree shrank; none when the place was the root.
    pub(crate) parent: Option<VmaId>,
    lacks_black: bool,
}

fn is_red<T: Tree>(tree: T, node: Option<VmaId>) -> bool {
    node.is_some_and(|id| tree.node(id).color() == RED)
}

/// Puts `new` where `parent` (or, without one, the root) points to `old`, and tells `new` so.
fn replace<T: Tree>(tree: T, parent: Option<VmaId>, old: VmaId, new: Option<VmaId>) {
    match parent {
        Some(parent) => {
            let parent = tree.node(parent);
            parent.set_child(Side::of(parent, Some(old)), new);
        }
        None => tree.set_root(new),
    }
    if let Some(new) = new {
        tree.node(new).set_parent(parent);
    }
}

/// Moves `top` down to `side`; its child on the other side takes its place.
fn rotate<T: Tree>(tree: T, top: VmaId, side: Side) {
    let down = tree.node(top);
    let riser = down.child(side.other()).expect("VMA tree: nothing to rotate up");
    let up = tree.node(riser);
    let between = up.child(side);
    down.set_child(side.other(), between);
    if let Some(between) = between {
        tree.node(between).set_parent(Some(top));
    }
    replace(tree, down.parent(), top, Some(riser));
    up.set_child(side, Some(top));
    down.set_parent(Some(riser));
    up.inherit(down);
    tree.refresh(down);
}

/// Hangs a VMA into the tree as a red leaf. What its ancestors keep about their subtrees, and the balance, are the caller's
/// to restore.
pub(crate) fn attach<T: Tree>(tree: T, id: VmaId, leaf: Option<(VmaId, Side)>) {
    tree.node(id).set_leaf(leaf.map(|(parent, _)| parent), RED);
    match leaf {
        Some((parent, side)) => tree.node(parent).set_child(side, Some(id)),
        None => tree.set_root(Some(id)),
    }
}

/// Restores the balance above a VMA that just became red.
pub(crate) fn balance_attached<T: Tree>(tree: T, id: VmaId) {
    let mut red = id;
    loop {
        let Some(parent_id) = tree.node(red).parent() else {
            tree.node(red).set_color(BLACK);
            return;
        };
        let mut parent = tree.node(parent_id);
        if parent.color() == BLACK {
            return;
        }
        let top_id = parent.parent().expect("VMA tree: red root");
        let top = tree.node(top_id);
        let side = Side::of(top, Some(parent_id));
        if let Some(uncle) = top.child(side.other()).filter(|&uncle| is_red(tree, Some(uncle))) {
            // Two reds side by side: make both black, and let the one above be red in their stead.
            parent.set_color(BLACK);
            tree.node(uncle).set_color(BLACK);
            top.set_color(RED);
            red = top_id;
            continue;
        }
        if Side::of(parent, Some(red)) != side {
            // Between its parent and the one above: the rotation below would only change sides.
            rotate(tree, parent_id, side);
            parent = tree.node(red);
        }
        parent.set_color(BLACK);
        top.set_color(RED);
        rotate(tree, top_id, side.other());
        return;
    }
}

/// Takes a VMA out of the tree. `next` is the one after it in order, which moves to its place if both of its subtrees
/// have VMAs. What `hole.parent` and `next` keep about their subtrees, and the balance, are the caller's to restore.
pub(crate) fn detach<T: Tree>(tree: T, id: VmaId, next: Option<VmaId>) -> Hole {
    let area = tree.node(id);
    let (left, right, parent) = (area.child(Side::Left), area.child(Side::Right), area.parent());
    let (Some(left), Some(right)) = (left, right) else {
        let child = left.or(right);
        replace(tree, parent, id, child);
        return Hole {
            child,
            parent,
            lacks_black: area.color() == BLACK,
        };
    };
    let heir_id = next.expect("VMA tree: nothing after a VMA with a right subtree");
    let heir = tree.node(heir_id);
    let child = heir.child(Side::Right);
    let lacks_black = heir.color() == BLACK;
    let hole_parent = if heir_id == right {
        heir_id
    } else {
        let hole_parent = heir
            .parent()
            .expect("VMA tree: the next VMA is not in the right subtree");
        replace(tree, Some(hole_parent), heir_id, child);
        heir.set_child(Side::Right, Some(right));
        tree.node(right).set_parent(Some(heir_id));
        hole_parent
    };
    heir.set_child(Side::Left, Some(left));
    tree.node(left).set_parent(Some(heir_id));
    heir.set_color(area.color());
    // What the parent reckons with, until the caller has the heir's own recomputed.
    heir.inherit(area);
    replace(tree, parent, id, Some(heir_id));
    Hole {
        child,
        parent: Some(hole_parent),
        lacks_black,
    }
}

/// Restores the balance around a hole.
pub(crate) fn balance_detached<T: Tree>(tree: T, hole: Hole) {
    if !hole.lacks_black {
        return;
    }
    let (mut short, mut parent) = (hole.child, hole.parent);
    // Paths through `short` have one black VMA less than the others. A red one at their top settles it.
    while let Some(parent_id) = parent.filter(|_| !is_red(tree, short)) {
        let above = tree.node(parent_id);
        // The other side has at least the black VMA that is lacking here, so it cannot be mistaken for an empty `short`.
        let side = Side::of(above, short);
        let mut sibling_id = above
            .child(side.other())
            .expect("VMA tree: black VMA without a sibling");
        if is_red(tree, Some(sibling_id)) {
            tree.node(sibling_id).set_color(BLACK);
            above.set_color(RED);
            rotate(tree, parent_id, side);
            sibling_id = above
                .child(side.other())
                .expect("VMA tree: red VMA without black children");
        }
        let sibling = tree.node(sibling_id);
        let (near, far) = (sibling.child(side), sibling.child(side.other()));
        if !is_red(tree, near) && !is_red(tree, far) {
            // Make the sibling's paths one shorter too, and go on with what is above both.
            sibling.set_color(RED);
            (short, parent) = (Some(parent_id), above.parent());
            continue;
        }
        if !is_red(tree, far) {
            rotate(tree, sibling_id, side.other());
        }
        settle(tree, parent_id, side);
        return;
    }
    if let Some(short) = short {
        tree.node(short).set_color(BLACK);
    }
}

/// The last step of [`balance_detached`]: the sibling, whose subtree has a red VMA to spare, takes the parent's place
/// and colour, and has two black children.
fn settle<T: Tree>(tree: T, parent_id: VmaId, side: Side) {
    let above = tree.node(parent_id);
    let sibling = tree.node(
        above
            .child(side.other())
            .expect("VMA tree: black VMA without a sibling"),
    );
    let far = tree.node(sibling.child(side.other()).expect("VMA tree: no red VMA to spare"));
    sibling.set_color(above.color());
    above.set_color(BLACK);
    far.set_color(BLACK);
    rotate(tree, parent_id, side);
}
