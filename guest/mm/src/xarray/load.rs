//! Looking at one index. Rules D6, D12.

use super::node::{Node, SLOTS_SHIFT, reaches};
use super::{Entry, NodeSource, Place, SLOTS, XArray};
use crate::sync::Word;

impl XArray<'_> {
    /// The entry that covers `index`, or NULL.
    ///
    /// On the path of every page fault: a level costs a mask, a load, the test of the tag and what the source needs to
    /// find a node.
    #[inline(always)]
    #[must_use]
    pub fn load<S: NodeSource>(self, source: &S, index: u64) -> Entry {
        self.walk(source, index).map_or(Entry::NULL, |(_, entry)| entry)
    }

    /// The entries from `index` on that are in one leaf with it, as words for [`Entry::from_bits`]; `None` where there is no leaf. Of an entry
    /// that covers several indices only the first shows.
    #[inline]
    pub(crate) fn leaf_from<S: NodeSource>(self, source: &S, index: u64) -> Option<&[Word]> {
        let (place, _) = self.walk(source, index)?;
        let leaf = place.node.filter(|node| node.shift() == 0)?;
        Some(leaf.slots_from(leaf.offset_of(index)))
    }

    /// log2 of the number of indices that the entry at `index` covers; `None` if there is no entry.
    /// Source: Linux `xa_get_order`.
    #[must_use]
    pub fn order<S: NodeSource>(self, source: &S, index: u64) -> Option<u32> {
        let (place, entry) = self.walk(source, index)?;
        if entry.is_null() {
            return None;
        }
        Some(
            place
                .node
                .map_or(0, |node| node.shift() + node.span(place.offset).ilog2()),
        )
    }

    /// The lowest slot on the way to `index`, and what users see there: an entry that covers `index`, or NULL. `None`
    /// when the tree is too low to have such a slot.
    #[inline(always)]
    pub(super) fn walk<S: NodeSource>(self, source: &S, index: u64) -> Option<(Place<'_>, Entry)> {
        let head = self.head();
        let Some(root) = head.as_node() else {
            return (index == 0).then_some((Place::HEAD, head));
        };
        let root = source.node(root);
        let shift = root.shift();
        if !reaches(shift, index) {
            return None;
        }
        Some(descend(source, root, shift, index))
    }
}

/// [`XArray::walk`] from a node of this shift that covers `index`.
#[inline(always)]
pub(super) fn descend<'s, S: NodeSource>(
    source: &'s S,
    mut node: Node<'s>,
    shift: u32,
    index: u64,
) -> (Place<'s>, Entry) {
    // The index, turned so that the slot for a level is in the low six bits (but for a root of shift 60, which decides
    // only four). A child's shift is its parent's less 6 (rule D20), so the first words of the nodes below need not be
    // read.
    let mut route = index.rotate_right(shift);
    let mut offset = (index >> shift) as usize & (SLOTS - 1);
    loop {
        let entry = node.slot(offset);
        if let Some(child) = entry.as_node() {
            node = source.node(child);
            route = route.rotate_left(SLOTS_SHIFT);
            offset = route as usize & (SLOTS - 1);
        } else if !entry.is_internal() {
            return (Place::of(node, offset), entry);
        } else if let Some(first) = entry.as_sibling() {
            return (Place::of(node, first), node.slot(first));
        } else {
            // The special entries read as NULL (rule D2).
            return (Place::of(node, offset), Entry::NULL);
        }
    }
}
