//! Splitting a multi-index entry. Rule D14.

use super::create::{Reserve, shift_of};
use super::node::SLOTS_SHIFT;
use super::{Entry, Mark, NodeSource, XArray};
use crate::error::Error;

impl XArray<'_> {
    /// Replaces the entry that covers `index` by entries of `new_order` with the same content and marks, over the same
    /// range.
    ///
    /// # Errors
    /// [`Error::Einval`] when there is no entry, or one of a lower order; [`Error::Enomem`] when the nodes for the
    /// parts cannot be had. Nothing has changed then.
    pub fn split<S: NodeSource>(self, source: &S, index: u64, new_order: u32) -> Result<(), Error> {
        match self.order(source, index) {
            Some(order) if order == new_order => return Ok(()),
            Some(order) if order > new_order => {}
            _ => return Err(Error::Einval),
        }
        // An entry larger than order 0 is in a node.
        let Some((place, entry)) = self.walk(source, index) else {
            return Err(Error::Einval);
        };
        let Some(node) = place.node else {
            return Err(Error::Einval);
        };

        let span = node.span(place.offset);
        let (first, last) = node.range(place.offset, index);
        let nodes = nodes_below((node.shift() - shift_of(new_order)) / SLOTS_SHIFT) * span as u64;
        let mut reserve = Reserve::new(source, nodes)?;

        let marked = Mark::ALL.map(|mark| self.mark_at(place, mark));
        for at in place.offset..place.offset + span {
            node.set_slot(at, Entry::NULL);
        }
        node.sub_counts(span, if entry.is_value() { span } else { 0 });
        let mut part = first;
        loop {
            let place = self.create(&mut reserve, part, new_order)?;
            self.set(source, place, new_order, entry);
            for mark in Mark::ALL.into_iter().filter(|&mark| marked[mark as usize]) {
                self.set_mark_at(source, place, entry, mark);
            }
            let part_last = part | ((1 << new_order) - 1);
            if part_last == last {
                break;
            }
            part = part_last + 1;
        }
        // An entry at index 0 may have needed a higher root than its parts.
        self.shrink(source);
        Ok(())
    }
}

/// Nodes of a full subtree of this many levels: 0, 1, 65, ..
fn nodes_below(levels: u32) -> u64 {
    (0..levels).map(|level| 1u64 << (level * SLOTS_SHIFT)).sum()
}
