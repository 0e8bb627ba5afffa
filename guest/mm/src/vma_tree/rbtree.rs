//! The red-black tree itself: attaching and detaching a VMA, rotations, balance.
//!
//! The mirror images of each case are one piece of code, over a [`Side`]. Rotations keep `rb_subtree_gap` right, given
//! that it was: a rotated subtree holds the same VMAs as before, so its new top takes over the value of the old one.
//!
//! Source: Linux, lib/rbtree.c, Documentation/core-api/rbtree.rst; Cormen, Leiserson, Rivest, Stein, Introduction to
//! Algorithms, chapter 13.

use super::VmaStore;
use super::gap::compute_gap;
use crate::vma::{MmStruct, VmArea, VmaId};

/// [`VmArea::rb_color`]: counts towards the balance.
pub(super) const BLACK: u64 = 0;
/// [`VmArea::rb_color`]: its parent and its children are black.
pub(super) const RED: u64 = 1;

/// One of a VMA's two subtrees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Lower addresses.
    Left,
    /// Higher addresses.
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

    /// The child on this side.
    pub(super) fn child(self, area: VmArea<'_>) -> Option<VmaId> {
        match self {
            Self::Left => area.rb_left(),
            Self::Right => area.rb_right(),
        }
    }

    /// Sets the child on this side.
    fn set_child(self, area: VmArea<'_>, child: Option<VmaId>) {
        match self {
            Self::Left => area.set_rb_left(child),
            Self::Right => area.set_rb_right(child),
        }
    }

    /// The side that `child`, which may be none, is on. The other side's child must be another.
    fn of(area: VmArea<'_>, child: Option<VmaId>) -> Self {
        if area.rb_left() == child {
            Self::Left
        } else {
            Self::Right
        }
    }
}

/// Where a VMA was detached: what took its place, below which parent, and whether that path lacks a black VMA now.
pub(super) struct Hole {
    /// Took the place.
    pub(super) child: Option<VmaId>,
    /// The lowest VMA whose subtree shrank; none when the place was the root.
    pub(super) parent: Option<VmaId>,
    lacks_black: bool,
}

fn is_red<S: VmaStore + ?Sized>(store: &S, node: Option<VmaId>) -> bool {
    node.is_some_and(|id| store.vma(id).rb_color() == RED)
}

/// Puts `new` where `parent` (or, without one, the root) points to `old`, and tells `new` so.
fn replace<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, parent: Option<VmaId>, old: VmaId, new: Option<VmaId>) {
    match parent {
        Some(parent) => {
            let parent = store.vma(parent);
            Side::of(parent, Some(old)).set_child(parent, new);
        }
        None => mm.set_mm_rb(new),
    }
    if let Some(new) = new {
        store.vma(new).set_rb_parent(parent);
    }
}

/// Moves `top` down to `side`; its child on the other side takes its place.
fn rotate<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, top: VmaId, side: Side) {
    let down = store.vma(top);
    let riser = side.other().child(down).expect("VMA tree: nothing to rotate up");
    let up = store.vma(riser);
    let between = side.child(up);
    side.other().set_child(down, between);
    if let Some(between) = between {
        store.vma(between).set_rb_parent(Some(top));
    }
    replace(store, mm, down.rb_parent(), top, Some(riser));
    side.set_child(up, Some(top));
    down.set_rb_parent(Some(riser));
    up.set_rb_subtree_gap(down.rb_subtree_gap());
    down.set_rb_subtree_gap(compute_gap(store, down));
}

/// Hangs a VMA into the tree as a red leaf. Its ancestors' gaps and the balance are the caller's to restore.
pub(super) fn attach<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId, leaf: Option<(VmaId, Side)>) {
    let area = store.vma(id);
    area.set_rb_left(None);
    area.set_rb_right(None);
    area.set_rb_color(RED);
    area.set_rb_parent(leaf.map(|(parent, _)| parent));
    match leaf {
        Some((parent, side)) => side.set_child(store.vma(parent), Some(id)),
        None => mm.set_mm_rb(Some(id)),
    }
}

/// Restores the balance above a VMA that just became red.
pub(super) fn balance_attached<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId) {
    let mut red = id;
    loop {
        let Some(parent_id) = store.vma(red).rb_parent() else {
            store.vma(red).set_rb_color(BLACK);
            return;
        };
        let mut parent = store.vma(parent_id);
        if parent.rb_color() == BLACK {
            return;
        }
        let top_id = parent.rb_parent().expect("VMA tree: red root");
        let top = store.vma(top_id);
        let side = Side::of(top, Some(parent_id));
        if let Some(uncle) = side.other().child(top).filter(|&uncle| is_red(store, Some(uncle))) {
            // Two reds side by side: make both black, and let the one above be red in their stead.
            parent.set_rb_color(BLACK);
            store.vma(uncle).set_rb_color(BLACK);
            top.set_rb_color(RED);
            red = top_id;
            continue;
        }
        if Side::of(parent, Some(red)) != side {
            // Between its parent and the one above: the rotation below would only change sides.
            rotate(store, mm, parent_id, side);
            parent = store.vma(red);
        }
        parent.set_rb_color(BLACK);
        top.set_rb_color(RED);
        rotate(store, mm, top_id, side.other());
        return;
    }
}

/// Takes a VMA out of the tree. `next` is the one above it by address, which moves to its place if both of its subtrees
/// have VMAs. Gaps (of `hole.parent` and of `next`) and balance are the caller's to restore.
pub(super) fn detach<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, id: VmaId, next: Option<VmaId>) -> Hole {
    let area = store.vma(id);
    let (left, right, parent) = (area.rb_left(), area.rb_right(), area.rb_parent());
    let (Some(left), Some(right)) = (left, right) else {
        let child = left.or(right);
        replace(store, mm, parent, id, child);
        return Hole {
            child,
            parent,
            lacks_black: area.rb_color() == BLACK,
        };
    };
    let heir_id = next.expect("VMA tree: nothing above a VMA with a right subtree");
    let heir = store.vma(heir_id);
    let child = heir.rb_right();
    let lacks_black = heir.rb_color() == BLACK;
    let hole_parent = if heir_id == right {
        heir_id
    } else {
        let hole_parent = heir
            .rb_parent()
            .expect("VMA tree: the next VMA is not in the right subtree");
        replace(store, mm, Some(hole_parent), heir_id, child);
        heir.set_rb_right(Some(right));
        store.vma(right).set_rb_parent(Some(heir_id));
        hole_parent
    };
    heir.set_rb_left(Some(left));
    store.vma(left).set_rb_parent(Some(heir_id));
    heir.set_rb_color(area.rb_color());
    // What the parent reckons with, until the caller has the heir's own recomputed.
    heir.set_rb_subtree_gap(area.rb_subtree_gap());
    replace(store, mm, parent, id, Some(heir_id));
    Hole {
        child,
        parent: Some(hole_parent),
        lacks_black,
    }
}

/// Restores the balance around a hole.
pub(super) fn balance_detached<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, hole: Hole) {
    if !hole.lacks_black {
        return;
    }
    let (mut short, mut parent) = (hole.child, hole.parent);
    // Paths through `short` have one black VMA less than the others. A red one at their top settles it.
    while let Some(parent_id) = parent.filter(|_| !is_red(store, short)) {
        let above = store.vma(parent_id);
        // The other side has at least the black VMA that is lacking here, so it cannot be mistaken for an empty `short`.
        let side = Side::of(above, short);
        let mut sibling_id = side
            .other()
            .child(above)
            .expect("VMA tree: black VMA without a sibling");
        if is_red(store, Some(sibling_id)) {
            store.vma(sibling_id).set_rb_color(BLACK);
            above.set_rb_color(RED);
            rotate(store, mm, parent_id, side);
            sibling_id = side
                .other()
                .child(above)
                .expect("VMA tree: red VMA without black children");
        }
        let sibling = store.vma(sibling_id);
        let (near, far) = (side.child(sibling), side.other().child(sibling));
        if !is_red(store, near) && !is_red(store, far) {
            // Make the sibling's paths one shorter too, and go on with what is above both.
            sibling.set_rb_color(RED);
            (short, parent) = (Some(parent_id), above.rb_parent());
            continue;
        }
        if !is_red(store, far) {
            rotate(store, mm, sibling_id, side.other());
        }
        settle(store, mm, parent_id, side);
        return;
    }
    if let Some(short) = short {
        store.vma(short).set_rb_color(BLACK);
    }
}

/// The last step of [`balance_detached`]: the sibling, whose subtree has a red VMA to spare, takes the parent's place
/// and colour, and has two black children.
fn settle<S: VmaStore + ?Sized>(store: &S, mm: MmStruct<'_>, parent_id: VmaId, side: Side) {
    let above = store.vma(parent_id);
    let sibling = store.vma(
        side.other()
            .child(above)
            .expect("VMA tree: black VMA without a sibling"),
    );
    let far = store.vma(side.other().child(sibling).expect("VMA tree: no red VMA to spare"));
    sibling.set_rb_color(above.rb_color());
    above.set_rb_color(BLACK);
    far.set_rb_color(BLACK);
    rotate(store, mm, parent_id, side);
}
