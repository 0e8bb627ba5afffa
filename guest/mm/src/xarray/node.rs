//! Nodes: 64 slots, the counts over them, and three bitmaps of marks.
//!
//! | words | content |
//! |---|---|
//! | 0 | bits 0..8 shift, 8..16 offset in the parent, 16..24 slots in use, 24..32 slots in use by values |
//! | 1 | number of the parent, 0 for the root |
//! | 2..5 | one bitmap for each mark |
//! | 5..8 | unused |
//! | 8..72 | slots |
//!
//! A node of shift `s` covers `2^(s+6)` indices, a slot of it `2^s`. 576 bytes: seven to a frame. Rule D5.

use super::entry::{Entry, NodeId};
use super::mark::{Filter, Mark};
use crate::record::Field;
use crate::sync::Word;

/// Slots of a node.
pub const SLOTS: usize = 1 << SLOTS_SHIFT;
/// log2 of [`SLOTS`].
pub const SLOTS_SHIFT: u32 = 6;
/// Size of a node in 64-bit words.
pub const NODE_WORDS: usize = FIRST_SLOT + SLOTS;

const META: usize = 0;
const PARENT: usize = 1;
const MARKS: usize = 2;
const FIRST_SLOT: usize = 8;
const OFFSET_SHIFT: u32 = 8;
/// One slot in use, in word 0.
const ONE_COUNT: u64 = 1 << 16;
/// One slot in use by a value, in word 0.
const ONE_VALUE: u64 = 1 << 24;

/// A view of a node's words.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a>(pub &'a [Word; NODE_WORDS]);

impl<'a> Node<'a> {
    /// Places an all-zero node into the tree, empty.
    #[inline]
    pub(super) fn init(self, shift: u32, parent: Option<NodeId>, offset: usize) {
        self.0[META].set(u64::from(shift) | (offset as u64) << OFFSET_SHIFT);
        self.set_parent(parent);
    }

    /// Makes a node whose slots are NULL all zero again: what its source expects back.
    #[inline]
    pub(super) fn wipe(self) {
        for word in &self.0[..FIRST_SLOT] {
            word.set(0);
        }
    }

    /// log2 of the indices that a slot covers: 0, 6, .. 60.
    #[inline(always)]
    pub(super) fn shift(self) -> u32 {
        (self.0[META].get() & 63) as u32
    }

    /// The slot of the parent that links to this node.
    #[inline(always)]
    pub(super) fn offset(self) -> usize {
        (self.0[META].get() >> OFFSET_SHIFT) as usize & (SLOTS - 1)
    }

    /// Slots in use, siblings included.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        (self.0[META].get() / ONE_COUNT) as usize & 0xff
    }

    /// Slots in use by values, siblings of values included.
    #[inline(always)]
    pub(super) fn nr_values(self) -> usize {
        (self.0[META].get() / ONE_VALUE) as usize & 0xff
    }

    /// Counts slots that come into use.
    #[inline(always)]
    pub(super) fn add_counts(self, slots: usize, values: usize) {
        self.0[META].add(slots as u64 * ONE_COUNT + values as u64 * ONE_VALUE);
    }

    /// Counts slots that fall out of use.
    #[inline(always)]
    pub(super) fn sub_counts(self, slots: usize, values: usize) {
        self.0[META].sub(slots as u64 * ONE_COUNT + values as u64 * ONE_VALUE);
    }

    /// The node above; `None` for the root.
    #[inline(always)]
    pub(super) fn parent(self) -> Option<NodeId> {
        Field::from_word(self.0[PARENT].get())
    }

    /// Sets the node above.
    #[inline(always)]
    pub(super) fn set_parent(self, parent: Option<NodeId>) {
        self.0[PARENT].set(parent.to_word());
    }

    /// The slot for an index, as far as this node decides it. Rule D6.
    #[inline(always)]
    pub(super) fn offset_of(self, index: u64) -> usize {
        (index >> self.shift()) as usize & (SLOTS - 1)
    }

    /// Whether the node, being the root, covers `index`. Or: whether indices that differ by the bits of `index` are
    /// covered by the same node of this shift.
    #[inline(always)]
    pub(super) fn reaches(self, index: u64) -> bool {
        reaches(self.shift(), index)
    }

    /// The words of the slots from `offset` on.
    #[inline(always)]
    pub(super) fn slots_from(self, offset: usize) -> &'a [Word] {
        &self.0[FIRST_SLOT + offset..]
    }

    /// The highest index below this node, seen from its lowest: `2^(shift+6) - 1`.
    #[inline(always)]
    pub(super) fn index_mask(self) -> u64 {
        // Two parts, because 64 << 60 does not fit.
        (63 << self.shift()) | ((1 << self.shift()) - 1)
    }

    /// The slot's word as an entry; only the low six bits of `offset` count, which keeps the access free of checks.
    #[inline(always)]
    pub(super) fn slot(self, offset: usize) -> Entry {
        Entry::from_bits(self.0[FIRST_SLOT + (offset & (SLOTS - 1))].get())
    }

    /// Sets the slot's word, without counting.
    #[inline(always)]
    pub(super) fn set_slot(self, offset: usize, entry: Entry) {
        self.0[FIRST_SLOT + (offset & (SLOTS - 1))].set(entry.bits());
    }

    /// The bitmap of slots with this mark.
    #[inline(always)]
    pub(super) fn marks(self, mark: Mark) -> u64 {
        self.0[MARKS + mark as usize].get()
    }

    /// Sets the bitmap of slots with this mark.
    #[inline(always)]
    pub(super) fn set_marks(self, mark: Mark, bitmap: u64) {
        self.0[MARKS + mark as usize].set(bitmap);
    }

    /// The first slot of the entry that `offset` is part of.
    #[inline(always)]
    pub(super) fn canonical(self, offset: usize) -> usize {
        self.slot(offset).as_sibling().unwrap_or(offset)
    }

    /// Slots of the entry whose first slot is `offset`: 1 and its siblings. A power of two.
    #[inline]
    pub(super) fn span(self, offset: usize) -> usize {
        let sibling = Entry::sibling(offset.min(SLOTS - 2));
        let mut end = offset + 1;
        while end < SLOTS && self.slot(end) == sibling {
            end += 1;
        }
        end - offset
    }

    /// First and last index of the entry (or the empty slot) whose first slot is `offset`, given an index in it.
    #[inline]
    pub(super) fn range(self, offset: usize, index: u64) -> (u64, u64) {
        let mask = ((self.span(offset) as u64) << self.shift()) - 1;
        (index & !mask, index | mask)
    }

    /// Replaces the entry `old` whose first slot is `offset` by another of the same range; `old` may be NULL.
    #[inline(always)]
    pub(super) fn replace(self, offset: usize, old: Entry, new: Entry) {
        self.set_slot(offset, new);
        if old.is_null() {
            self.add_counts(1, usize::from(new.is_value()));
        } else if new.is_value() && !old.is_value() {
            self.add_counts(0, self.span(offset));
        } else if old.is_value() && !new.is_value() {
            self.sub_counts(0, self.span(offset));
        }
    }

    /// The first slot from `offset` on that the filter lets through: the first of an entry, or a node that has such
    /// an entry below.
    #[inline]
    pub(super) fn next_slot(self, offset: usize, filter: Filter) -> Option<usize> {
        match filter {
            Filter::Any => (offset..SLOTS).find(|&at| {
                let entry = self.slot(at);
                !entry.is_null() && (!entry.is_internal() || entry.as_node().is_some())
            }),
            Filter::Marked(mark) => {
                let rest = self.marks(mark) >> offset;
                (rest != 0).then(|| offset + rest.trailing_zeros() as usize)
            }
        }
    }
}

/// [`Node::reaches`] for a node of this shift.
#[inline(always)]
pub(super) const fn reaches(shift: u32, index: u64) -> bool {
    index >> shift < SLOTS as u64
}

const _: () = assert!(NODE_WORDS == 72);
