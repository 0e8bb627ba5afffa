//! The XArray: the page cache's map from an index (of 64 bits) to a page or a value.
//!
//! A radix tree of 64-slot nodes. An entry covers one index or an aligned power of two of them (*multi-index*: its
//! first slot holds the entry, the others are *siblings* that point back). The tree is as low as its highest entry
//! allows; an entry at index 0 alone needs no node at all. Entries carry three [`Mark`]s, summed up towards the root,
//! so that the marked ones are found without looking at the others.
//!
//! # Invariants
//! Those of rule D20, which [`XArray::check`] verifies: counts, links, marks and siblings agree; no node is empty; the
//! root is needed (rule D11). A refused operation changes nothing (rule D15).
//!
//! # Locks
//! Whoever calls holds the lock of the object that the array belongs to, readers too. A [`Cursor`] remembers a node:
//! it is paused before that lock is released, and before anything but the cursor may free nodes.
//!
//! Source: Linux, lib/xarray.c, include/linux/xarray.h, Documentation/core-api/xarray.rst; rules D1 to D20.
//! Differs from Linux: readers hold the lock, so retry entries are never needed; nodes have numbers instead of
//! addresses; nodes an operation needs are allocated before it changes anything, so there is no half-grown tree to
//! undo; errors are results of the call, not a state of the cursor (rule D4).

mod check;
mod create;
mod cursor;
mod entry;
mod erase;
mod find;
mod load;
mod mark;
mod node;
mod split;
mod store;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use check::Violation;
pub use cursor::Cursor;
pub use entry::{Entry, NodeId};
pub use mark::{Filter, Mark};
pub use node::{NODE_WORDS, Node, SLOTS, SLOTS_SHIFT};

use crate::sync::Word;

/// Largest order of a multi-index entry: 2^63 indices.
pub const ORDER_MAX: u32 = 63;

/// Where nodes come from: a slab of records of [`NODE_WORDS`] words.
pub trait NodeSource {
    /// A node with all words 0, or `None` when there is no memory.
    fn alloc_node(&self) -> Option<NodeId>;

    /// Takes a node back. All its words are 0 again.
    fn free_node(&self, id: NodeId);

    /// The words of a node that was allocated and not freed.
    fn node(&self, id: NodeId) -> Node<'_>;
}

/// An array: a view of the two words that its owner keeps for it, both 0 for an empty array.
#[derive(Clone, Copy, Debug)]
pub struct XArray<'a> {
    /// The entry at index 0 if that is the only one, a link to the root node, or 0.
    head: &'a Word,
    /// Bits 0 to 2: whether any entry has the [`Mark`] of that number. The other bits are the owner's.
    flags: &'a Word,
}

impl<'a> XArray<'a> {
    /// The array kept in these two words.
    #[inline(always)]
    #[must_use]
    pub const fn new(head: &'a Word, flags: &'a Word) -> Self {
        Self { head, flags }
    }

    /// Whether no index has an entry.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.head.get() == 0
    }

    #[inline(always)]
    fn head(self) -> Entry {
        Entry::from_bits(self.head.get())
    }

    #[inline(always)]
    fn set_head(self, entry: Entry) {
        self.head.set(entry.bits());
    }
}

/// A slot: one of a node, or the head of the array (which is index 0).
#[derive(Clone, Copy, Debug)]
struct Place<'s> {
    /// `None` is the head.
    node: Option<Node<'s>>,
    /// The slot of the node, the first one of a multi-index entry.
    offset: usize,
}

impl<'s> Place<'s> {
    /// The head of the array.
    const HEAD: Self = Self { node: None, offset: 0 };

    /// A slot of a node.
    #[inline(always)]
    const fn of(node: Node<'s>, offset: usize) -> Self {
        let node = Some(node);
        Self { node, offset }
    }

    /// The slot that links to this slot's node: of the node above, or the head.
    #[inline(always)]
    fn above<S: NodeSource>(source: &'s S, node: Node<'s>) -> Self {
        match node.parent() {
            None => Self::HEAD,
            Some(parent) => Self::of(source.node(parent), node.offset()),
        }
    }
}
