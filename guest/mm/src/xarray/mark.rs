//! Marks: three bits of an entry, summed up towards the root. Rule D16.
//!
//! A bit in a node's bitmap says that the entry in that slot, or some entry in the node below it, has the mark; the
//! array's flags say the same of the whole array. A multi-index entry keeps its marks at its first slot.

use super::{Entry, NodeSource, Place, XArray};

/// A mark, by its use in the page cache. Source: Linux, `PAGECACHE_TAG_*` in include/linux/fs.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mark {
    /// Differs from the disk.
    Dirty = 0,
    /// On its way to the disk.
    Writeback = 1,
    /// Chosen to be written by the current round.
    Towrite = 2,
}

impl Mark {
    /// All marks.
    pub const ALL: [Self; 3] = [Self::Dirty, Self::Writeback, Self::Towrite];

    /// Its bit in the array's flags.
    #[inline(always)]
    pub(super) const fn flag(self) -> u64 {
        1 << self as u8
    }
}

/// Which entries to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// All.
    Any,
    /// Those with this mark.
    Marked(Mark),
}

impl XArray<'_> {
    /// Whether any entry has the mark.
    #[inline]
    #[must_use]
    pub fn marked(self, mark: Mark) -> bool {
        self.flags.get() & mark.flag() != 0
    }

    /// Whether the entry at `index` has the mark; false without an entry.
    #[must_use]
    pub fn get_mark<S: NodeSource>(self, source: &S, index: u64, mark: Mark) -> bool {
        self.marked(mark)
            && self
                .walk(source, index)
                .is_some_and(|(place, _)| self.mark_at(place, mark))
    }

    /// Marks the entry at `index`; no effect without an entry.
    pub fn set_mark<S: NodeSource>(self, source: &S, index: u64, mark: Mark) {
        if let Some((place, entry)) = self.walk(source, index) {
            self.set_mark_at(source, place, entry, mark);
        }
    }

    /// Takes the mark from the entry at `index`; no effect without an entry.
    pub fn clear_mark<S: NodeSource>(self, source: &S, index: u64, mark: Mark) {
        if let Some((place, _)) = self.walk(source, index) {
            self.clear_mark_at(source, place, mark);
        }
    }

    #[inline]
    pub(super) fn mark_at(self, place: Place<'_>, mark: Mark) -> bool {
        match place.node {
            None => self.marked(mark),
            Some(node) => node.marks(mark) >> place.offset & 1 != 0,
        }
    }

    pub(super) fn set_mark_at<'s, S: NodeSource>(self, source: &'s S, mut place: Place<'s>, entry: Entry, mark: Mark) {
        if entry.is_null() {
            return;
        }
        while let Some(node) = place.node {
            let bitmap = node.marks(mark);
            if bitmap >> place.offset & 1 != 0 {
                return;
            }
            node.set_marks(mark, bitmap | 1 << place.offset);
            place = Place::above(source, node);
        }
        self.flags.set(self.flags.get() | mark.flag());
    }

    #[inline]
    pub(super) fn clear_mark_at<'s, S: NodeSource>(self, source: &'s S, mut place: Place<'s>, mark: Mark) {
        while let Some(node) = place.node {
            let bitmap = node.marks(mark);
            let rest = bitmap & !(1 << place.offset);
            if rest == bitmap {
                return;
            }
            node.set_marks(mark, rest);
            if rest != 0 {
                return;
            }
            place = Place::above(source, node);
        }
        self.flags.set(self.flags.get() & !mark.flag());
    }
}
