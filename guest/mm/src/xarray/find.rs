//! Finding the next entry. Rule D17.

use super::node::Node;
use super::{Cursor, Entry, Filter, NodeSource, Place, SLOTS, XArray};

impl XArray<'_> {
    /// The first entry that matches among those covering `start..=max`, and the first index in that range that it
    /// covers.
    #[must_use]
    pub fn find<S: NodeSource>(self, source: &S, start: u64, max: u64, filter: Filter) -> Option<(u64, Entry)> {
        Cursor::new(self, source, start).find(max, filter)
    }

    /// As [`XArray::find`], and where it is. `near` is a node that covers `index`, if one is known.
    pub(super) fn scan<'s, S: NodeSource>(
        self,
        source: &'s S,
        near: Option<Node<'s>>,
        mut index: u64,
        max: u64,
        filter: Filter,
    ) -> Option<(u64, Place<'s>, Entry)> {
        if index > max {
            return None;
        }
        let head = self.head();
        let Some(mut node) = near.or_else(|| head.as_node().map(|id| source.node(id))) else {
            let matches = match filter {
                Filter::Any => !head.is_null(),
                Filter::Marked(mark) => self.marked(mark),
            };
            return (index == 0 && matches).then_some((0, Place::HEAD, head));
        };
        if near.is_none() && !node.reaches(index) {
            return None;
        }
        let mut offset = node.offset_of(index);
        loop {
            // From inside a multi-index entry, look at its first slot: that is where the entry and its marks are.
            match node.next_slot(node.canonical(offset), filter) {
                Some(at) => {
                    if at > offset {
                        index = index & !node.index_mask() | (at as u64) << node.shift();
                    }
                    if index > max {
                        return None;
                    }
                    let entry = node.slot(at);
                    let Some(child) = entry.as_node() else {
                        return Some((index, Place::of(node, at), entry));
                    };
                    node = source.node(child);
                    offset = node.offset_of(index);
                }
                None => {
                    let last = index | node.index_mask();
                    if last >= max {
                        return None;
                    }
                    index = last + 1;
                    (node, offset) = above(source, node)?;
                }
            }
        }
    }
}

/// The node and slot that follow a node, or `None` after the last.
fn above<'s, S: NodeSource>(source: &'s S, mut node: Node<'s>) -> Option<(Node<'s>, usize)> {
    loop {
        let offset = node.offset() + 1;
        node = source.node(node.parent()?);
        if offset < SLOTS {
            return Some((node, offset));
        }
    }
}
