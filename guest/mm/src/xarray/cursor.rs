//! Going through an array without starting at the root for each index. Rules D17, D18.

use super::load::descend;
use super::node::Node;
use super::{Entry, Filter, Mark, NodeSource, Place, XArray};
use crate::error::Error;

/// A position in an array, and the node it is in. Source: Linux `struct xa_state`.
///
/// # Invariants
/// - The remembered node, if any, covers the index and is in the tree. So nodes may go only through the cursor itself:
///   before anything else may erase, store a multi-index entry or split, it is paused.
/// - After a find, the index is that of the entry found, and the next find goes on behind that entry.
#[derive(Debug)]
pub struct Cursor<'a, 's, S> {
    array: XArray<'a>,
    source: &'s S,
    index: u64,
    /// Last index of the entry that the latest find returned; `None` if the index itself is still to be looked at.
    found_last: Option<u64>,
    node: Option<Node<'s>>,
}

impl<'a, 's, S: NodeSource> Cursor<'a, 's, S> {
    /// A cursor at `index`.
    #[inline]
    #[must_use]
    pub fn new(array: XArray<'a>, source: &'s S, index: u64) -> Self {
        Self {
            array,
            source,
            index,
            found_last: None,
            node: None,
        }
    }

    /// Where it is.
    #[inline]
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Goes to `index`; a find from here looks at `index` first.
    #[inline]
    pub fn seek(&mut self, index: u64) {
        if self.node.is_some_and(|node| !node.reaches(index ^ self.index)) {
            self.node = None;
        }
        self.index = index;
        self.found_last = None;
    }

    /// The entry that covers the index, or NULL. Within the 64 indices of a leaf only the first load descends.
    #[inline]
    pub fn load(&mut self) -> Entry {
        self.walk().map_or(Entry::NULL, |(_, entry)| entry)
    }

    /// Goes one index further and returns the entry there or NULL; `None` at the end of all indices.
    #[inline]
    pub fn next_load(&mut self) -> Option<Entry> {
        self.seek(self.index.checked_add(1)?);
        Some(self.load())
    }

    /// Goes to the first matching entry that reaches into the indices up to `max`: from the index on, or behind the
    /// entry that the latest find returned. Returns its index (see [`XArray::find`]) and the entry, or `None` when
    /// there is none; the next find then starts behind `max`.
    pub fn find(&mut self, max: u64, filter: Filter) -> Option<(u64, Entry)> {
        if let Some(last) = self.found_last {
            if last >= max {
                return None;
            }
            self.seek(last + 1);
        }
        if self.index > max {
            return None;
        }
        let Some((index, place, entry)) = self.array.scan(self.source, self.node, self.index, max, filter) else {
            self.seek(max);
            self.found_last = Some(max);
            return None;
        };
        self.index = index;
        self.node = place.node;
        self.found_last = Some(place.node.map_or(0, |node| node.range(place.offset, index).1));
        Some((index, entry))
    }

    /// Forgets the node, so that others may change the array. The next find goes on behind the entry that the latest
    /// one returned, whatever has become of that entry. Rule D18.
    #[inline]
    pub fn pause(&mut self) {
        self.node = None;
    }

    /// First and last index of the entry that covers the index, or of an empty slot there.
    #[must_use]
    pub fn range(&mut self) -> (u64, u64) {
        let place = self.walk().map_or(Place::HEAD, |(place, _)| place);
        match place.node {
            Some(node) => node.range(place.offset, self.index),
            None => (self.index, self.index),
        }
    }

    /// [`XArray::store`] at the index.
    ///
    /// # Errors
    /// As [`XArray::store`].
    #[inline]
    pub fn store(&mut self, entry: Entry) -> Result<Entry, Error> {
        if entry.is_internal() {
            return Err(Error::Einval);
        }
        if entry.is_null() {
            return Ok(self.erase());
        }
        let walked = self.walk();
        self.array.put(self.source, self.index, walked, entry)?;
        Ok(walked.map_or(Entry::NULL, |(_, old)| old))
    }

    /// [`XArray::erase`] at the index.
    pub fn erase(&mut self) -> Entry {
        let Some((place, entry)) = self.walk() else {
            return Entry::NULL;
        };
        if !self.array.clear(self.source, place, entry) {
            self.node = None;
        }
        entry
    }

    /// [`XArray::get_mark`] at the index.
    pub fn get_mark(&mut self, mark: Mark) -> bool {
        self.walk().is_some_and(|(place, _)| self.array.mark_at(place, mark))
    }

    /// [`XArray::set_mark`] at the index.
    pub fn set_mark(&mut self, mark: Mark) {
        if let Some((place, entry)) = self.walk() {
            self.array.set_mark_at(self.source, place, entry, mark);
        }
    }

    /// [`XArray::clear_mark`] at the index.
    pub fn clear_mark(&mut self, mark: Mark) {
        if let Some((place, _)) = self.walk() {
            self.array.clear_mark_at(self.source, place, mark);
        }
    }

    /// [`XArray::walk`] from the remembered node, remembering the one it leads to.
    #[inline]
    fn walk(&mut self) -> Option<(Place<'s>, Entry)> {
        let walked = match self.node {
            Some(node) => Some(descend(self.source, node, node.shift(), self.index)),
            None => self.array.walk(self.source, self.index),
        };
        if let Some((place, _)) = walked {
            self.node = place.node;
        }
        walked
    }
}
