//! Storing. Rules D3, D6 to D9, D12, D13, D15, D19.

use super::create::{Reserve, shift_of, span_of};
use super::node::Node;
use super::{Entry, Mark, NodeId, NodeSource, ORDER_MAX, Place, SLOTS, XArray};
use crate::error::Error;

impl XArray<'_> {
    /// Stores `entry` at `index` and returns what was there; NULL erases. A multi-index entry there is replaced in its
    /// whole range. Marks stay, unless erased.
    ///
    /// # Errors
    /// [`Error::Enomem`] when a node cannot be had, [`Error::Einval`] for an internal entry; nothing has changed then.
    #[inline]
    pub fn store<S: NodeSource>(self, source: &S, index: u64, entry: Entry) -> Result<Entry, Error> {
        self.exchange(source, index, entry, |_| true)
    }

    /// Stores `entry` at `index` if nothing is there.
    ///
    /// # Errors
    /// [`Error::Ebusy`] when an entry is there; [`Error::Enomem`], [`Error::Einval`] as [`XArray::store`]; nothing has
    /// changed then.
    #[inline(always)]
    pub fn insert<S: NodeSource>(self, source: &S, index: u64, entry: Entry) -> Result<(), Error> {
        match self.exchange(source, index, entry, Entry::is_null)? {
            Entry::NULL => Ok(()),
            _ => Err(Error::Ebusy),
        }
    }

    /// Stores `entry` at `index` if `expected` is there, and returns what was there. Rule D19.
    ///
    /// # Errors
    /// As [`XArray::store`].
    #[inline]
    pub fn cmpxchg<S: NodeSource>(self, source: &S, index: u64, expected: Entry, entry: Entry) -> Result<Entry, Error> {
        self.exchange(source, index, entry, |current| current == expected)
    }

    /// Stores `entry` for the aligned `2^order` indices around `index`, and returns what was at the first of them.
    ///
    /// Smaller entries there are replaced, and their marks gathered on the new one (rule D13). If a larger entry
    /// covers the range, it is replaced in its whole range. NULL erases every entry that reaches into the range.
    ///
    /// # Errors
    /// [`Error::Einval`] when `order` is more than [`ORDER_MAX`]; otherwise as [`XArray::store`].
    pub fn store_order<S: NodeSource>(self, source: &S, index: u64, order: u32, entry: Entry) -> Result<Entry, Error> {
        if order > ORDER_MAX || entry.is_internal() {
            return Err(Error::Einval);
        }
        let index = index >> order << order;
        let old = self.load(source, index);
        if entry.is_null() {
            self.erase_range(source, index, index | ((1 << order) - 1), |_, _| ());
        } else {
            self.create_and_set(source, index, order, entry)?;
        }
        Ok(old)
    }

    /// Stores `entry` at `index` if `accept` agrees with what is there, and returns what was there.
    #[inline(always)]
    fn exchange<S: NodeSource>(
        self,
        source: &S,
        index: u64,
        entry: Entry,
        accept: impl FnOnce(Entry) -> bool,
    ) -> Result<Entry, Error> {
        if entry.is_internal() {
            return Err(Error::Einval);
        }
        let walked = self.walk(source, index);
        let current = walked.map_or(Entry::NULL, |(_, current)| current);
        if accept(current) {
            self.put(source, index, walked, entry)?;
        }
        Ok(current)
    }

    /// Stores an entry where [`XArray::walk`] has led to.
    #[inline(always)]
    pub(super) fn put<'s, S: NodeSource>(
        self,
        source: &'s S,
        index: u64,
        walked: Option<(Place<'s>, Entry)>,
        entry: Entry,
    ) -> Result<(), Error> {
        if entry.is_null() {
            if let Some((place, current)) = walked {
                self.clear(source, place, current);
            }
            return Ok(());
        }
        if let Some((place, current)) = walked {
            match place.node {
                None => {
                    self.set_head(entry);
                    return Ok(());
                }
                Some(node) if !current.is_null() || node.shift() == 0 => {
                    node.replace(place.offset, current, entry);
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        self.create_and_set(source, index, 0, entry)
    }

    /// Stores an entry that is not NULL at an aligned index, allocating.
    #[cold]
    #[inline(never)]
    fn create_and_set<S: NodeSource>(self, source: &S, index: u64, order: u32, entry: Entry) -> Result<(), Error> {
        let mut reserve = Reserve::new(source, self.missing(source, index, order))?;
        let place = self.create(&mut reserve, index, order)?;
        self.set(source, place, order, entry);
        Ok(())
    }

    /// Fills the slot that [`XArray::create`] made, and those of the siblings, with an entry of this order.
    pub(super) fn set<S: NodeSource>(self, source: &S, place: Place<'_>, order: u32, entry: Entry) {
        let Some(node) = place.node else {
            return self.set_head(entry);
        };
        let offset = place.offset;
        let span = if node.shift() == shift_of(order) {
            span_of(order)
        } else {
            1
        };
        if span <= node.span(offset) && node.slot(offset).as_node().is_none() {
            return node.replace(offset, node.slot(offset), entry);
        }
        // Entries are aligned powers of two, so each one in the way lies in the new one's slots as a whole.
        let (mut used, mut values) = (0, 0);
        for at in offset..offset + span {
            used += usize::from(!node.slot(at).is_null());
            values += usize::from(node.slot(node.canonical(at)).is_value());
        }
        node.sub_counts(used, values);
        gather_marks(node, offset, span);
        for at in offset..offset + span {
            let old = node.slot(at);
            node.set_slot(at, if at == offset { entry } else { Entry::sibling(offset) });
            if let Some(child) = old.as_node() {
                free_subtree(source, child);
            }
        }
        node.add_counts(span, if entry.is_value() { span } else { 0 });
    }
}

/// Moves the marks of `span` slots to the first of them. The bits above stay as they are. Rule D13.
fn gather_marks(node: Node<'_>, offset: usize, span: usize) {
    let slots = (u64::MAX >> (64 - span)) << offset;
    for mark in Mark::ALL {
        let bitmap = node.marks(mark);
        if bitmap & slots != 0 {
            node.set_marks(mark, bitmap & !slots | 1 << offset);
        }
    }
}

/// Frees a node that no slot links to any more, and all nodes below it: slot by slot and from the bottom, so that the
/// depth needs no stack.
fn free_subtree<S: NodeSource>(source: &S, top: NodeId) {
    let (mut id, mut at) = (top, 0);
    loop {
        let node = source.node(id);
        if at < SLOTS {
            let entry = node.slot(at);
            node.set_slot(at, Entry::NULL);
            (id, at) = entry.as_node().map_or((id, at + 1), |child| (child, 0));
            continue;
        }
        let (parent, offset) = (node.parent(), node.offset());
        node.wipe();
        source.free_node(id);
        match parent {
            Some(parent) if id != top => (id, at) = (parent, offset + 1),
            _ => return,
        }
    }
}
