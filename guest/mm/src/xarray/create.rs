//! Making the slot for an entry: growing the tree upwards and downwards. Rules D7, D8, D9, D12, D15.

use super::entry::NodeId;
use super::node::SLOTS_SHIFT;
use super::{Entry, Mark, NodeSource, Place, SLOTS, XArray};
use crate::error::Error;

/// Shift of the nodes that entries of an order live in. Rule D12.
#[inline(always)]
pub(super) const fn shift_of(order: u32) -> u32 {
    order - order % SLOTS_SHIFT
}

/// Slots that an entry of an order takes there. Rule D12.
#[inline(always)]
pub(super) const fn span_of(order: u32) -> usize {
    1 << (order % SLOTS_SHIFT)
}

/// The index that the tree must reach to hold an entry of this order at this (aligned) index.
///
/// That is its last index; but for a multi-index entry at 0 the one after it, because a tree that reaches just the
/// last one may be a level too low (a leaf, for order 6). Source: Linux `xas_max`.
fn reach(index: u64, order: u32) -> u64 {
    let mask = (1 << order) - 1;
    let last = index | mask;
    if order != 0 && last == mask { last + 1 } else { last }
}

/// Shift of the lowest root that reaches `max`.
const fn root_shift(max: u64) -> u32 {
    let bits = u64::BITS - max.leading_zeros();
    if bits <= SLOTS_SHIFT { 0 } else { shift_of(bits - 1) }
}

/// Nodes set aside for one operation, linked through their parent words. Those left over go back when dropped.
pub(super) struct Reserve<'s, S: NodeSource> {
    source: &'s S,
    top: Option<NodeId>,
}

impl<'s, S: NodeSource> Reserve<'s, S> {
    /// Sets `nodes` nodes aside.
    ///
    /// # Errors
    /// [`Error::Enomem`] when there are not as many (with numbers that a link can hold); then none are.
    pub(super) fn new(source: &'s S, nodes: u64) -> Result<Self, Error> {
        let mut reserve = Self { source, top: None };
        for _ in 0..nodes {
            let id = source.alloc_node().ok_or(Error::Enomem)?;
            if !(NodeId::MIN..=NodeId::MAX).contains(&id.0.get()) {
                source.free_node(id);
                return Err(Error::Enomem);
            }
            source.node(id).set_parent(reserve.top);
            reserve.top = Some(id);
        }
        Ok(reserve)
    }

    fn pop(&mut self) -> Option<NodeId> {
        let id = self.top?;
        let node = self.source.node(id);
        self.top = node.parent();
        node.set_parent(None);
        Some(id)
    }
}

impl<S: NodeSource> Drop for Reserve<'_, S> {
    fn drop(&mut self) {
        while let Some(id) = self.pop() {
            self.source.free_node(id);
        }
    }
}

impl XArray<'_> {
    /// Nodes that [`XArray::create`] will need.
    pub(super) fn missing<S: NodeSource>(self, source: &S, index: u64, order: u32) -> u64 {
        let (max, shift) = (reach(index, order), shift_of(order));
        let levels = |from: u32, to: u32| u64::from((from - to) / SLOTS_SHIFT);
        let head = self.head();
        let Some(root) = head.as_node().map(|id| source.node(id)) else {
            return match (max, head.is_null()) {
                (0, _) => 0,
                (_, true) => levels(root_shift(max), shift) + 1,
                (_, false) => levels(root_shift(max), 0) + 1 + levels(root_shift(max), shift),
            };
        };
        if !root.reaches(max) {
            // The new root's slot for the index is free, unless it is slot 0 of an entry of the root's own shift.
            return levels(root_shift(max), root.shift()) + levels(root_shift(max), shift);
        }
        let mut node = root;
        while node.shift() > shift {
            let entry = node.slot(node.offset_of(index));
            match entry.as_node() {
                Some(child) => node = source.node(child),
                None if entry.is_null() => return levels(node.shift(), shift),
                None => return 0,
            }
        }
        0
    }

    /// The slot for an entry of this order at this (aligned) index, made from nodes of the reserve. If a larger entry
    /// covers the index, its first slot.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the reserve has fewer nodes than [`XArray::missing`] said.
    pub(super) fn create<'s, S: NodeSource>(
        self,
        reserve: &mut Reserve<'s, S>,
        index: u64,
        order: u32,
    ) -> Result<Place<'s>, Error> {
        let source = reserve.source;
        let (max, shift) = (reach(index, order), shift_of(order));
        self.grow(reserve, max)?;
        let Some(root) = self.head().as_node() else {
            return Ok(Place::HEAD);
        };
        let mut id = root;
        loop {
            let node = source.node(id);
            let offset = node.canonical(node.offset_of(index));
            let entry = node.slot(offset);
            id = match entry.as_node() {
                Some(child) if node.shift() > shift => child,
                None if entry.is_null() && node.shift() > shift => {
                    let child = reserve.pop().ok_or(Error::Enomem)?;
                    source.node(child).init(node.shift() - SLOTS_SHIFT, Some(id), offset);
                    node.replace(offset, entry, Entry::node(child));
                    child
                }
                _ => return Ok(Place::of(node, offset)),
            };
        }
    }

    /// Puts new roots on top until the tree reaches `max`. Rule D9.
    fn grow<S: NodeSource>(self, reserve: &mut Reserve<'_, S>, max: u64) -> Result<(), Error> {
        let source = reserve.source;
        if self.head().is_null() {
            if max != 0 {
                let id = reserve.pop().ok_or(Error::Enomem)?;
                source.node(id).init(root_shift(max), None, 0);
                self.set_head(Entry::node(id));
            }
            return Ok(());
        }
        loop {
            let head = self.head();
            let old = head.as_node().map(|id| source.node(id));
            if old.map_or(max == 0, |root| root.reaches(max)) {
                return Ok(());
            }
            let id = reserve.pop().ok_or(Error::Enomem)?;
            let node = source.node(id);
            node.init(old.map_or(0, |old| old.shift() + SLOTS_SHIFT), None, 0);
            node.replace(0, Entry::NULL, head);
            for mark in Mark::ALL {
                node.set_marks(mark, u64::from(self.marked(mark)));
            }
            if let Some(old) = old {
                old.set_parent(Some(id));
            }
            self.set_head(Entry::node(id));
        }
    }
}

const _: () = assert!(SLOTS == 64 && root_shift(63) == 0 && root_shift(64) == 6 && root_shift(u64::MAX) == 60);
