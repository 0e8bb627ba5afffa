//! Erasing, and making the tree as low as it can be. Rules D3, D10, D11.

use super::node::Node;
use super::{Cursor, Entry, Filter, Mark, NodeSource, Place, XArray};

impl XArray<'_> {
    /// Removes the entry that covers `index`, in its whole range and with its marks, and returns it (or NULL).
    pub fn erase<S: NodeSource>(self, source: &S, index: u64) -> Entry {
        let Some((place, entry)) = self.walk(source, index) else {
            return Entry::NULL;
        };
        self.clear(source, place, entry);
        entry
    }

    /// Removes every entry that reaches into `first..=last`, in ascending order, and tells `erased` the first index of
    /// each and what it was. Needs no memory. `erased` must not use the array.
    pub fn erase_range<S: NodeSource>(self, source: &S, first: u64, last: u64, mut erased: impl FnMut(u64, Entry)) {
        let mut cursor = Cursor::new(self, source, first);
        while let Some((_, entry)) = cursor.find(last, Filter::Any) {
            let (index, _) = cursor.range();
            cursor.erase();
            erased(index, entry);
        }
    }

    /// Empties a slot and those of its siblings, and frees the nodes that nothing needs any more. Returns whether the
    /// slot's node is still there.
    pub(super) fn clear<'s, S: NodeSource>(self, source: &'s S, place: Place<'s>, entry: Entry) -> bool {
        if entry.is_null() {
            return place.node.is_some();
        }
        for mark in Mark::ALL {
            self.clear_mark_at(source, place, mark);
        }
        let Some(node) = place.node else {
            self.set_head(Entry::NULL);
            return false;
        };
        let span = node.span(place.offset);
        for at in place.offset..place.offset + span {
            node.set_slot(at, Entry::NULL);
        }
        node.sub_counts(span, if entry.is_value() { span } else { 0 });
        match (node.count(), node.parent()) {
            (0, _) => {
                self.delete(source, node);
                false
            }
            (_, None) => !self.shrink(source),
            (_, Some(_)) => true,
        }
    }

    /// Frees a node without entries, and those above it that thereby have none. Rule D10.
    fn delete<'s, S: NodeSource>(self, source: &'s S, mut node: Node<'s>) {
        while let Some(parent) = node.parent().map(|id| source.node(id)) {
            let offset = node.offset();
            if let Some(id) = parent.slot(offset).as_node() {
                node.wipe();
                source.free_node(id);
            }
            parent.set_slot(offset, Entry::NULL);
            parent.sub_counts(1, 0);
            if parent.count() != 0 {
                if parent.parent().is_none() {
                    self.shrink(source);
                }
                return;
            }
            node = parent;
        }
        if let Some(id) = self.head().as_node() {
            node.wipe();
            source.free_node(id);
        }
        self.set_head(Entry::NULL);
    }

    /// Takes roots away as long as all they have is slot 0, unless that is an entry larger than the head can hold.
    /// Returns whether any went. Marks need no care: the flags have them already. Rule D11.
    pub(super) fn shrink<S: NodeSource>(self, source: &S) -> bool {
        let mut shrunk = false;
        while let Some(id) = self.head().as_node() {
            let root = source.node(id);
            let entry = root.slot(0);
            let child = entry.as_node().map(|id| source.node(id));
            if root.count() != 1 || entry.is_null() || (child.is_none() && root.shift() != 0) {
                break;
            }
            self.set_head(entry);
            if let Some(child) = child {
                child.set_parent(None);
            }
            root.set_slot(0, Entry::NULL);
            root.wipe();
            source.free_node(id);
            shrunk = true;
        }
        shrunk
    }
}
