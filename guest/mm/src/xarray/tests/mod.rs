//! Tests, by rule: `entry` D1 to D3, `cursor` D4, `node` D5, `shape` D6 to D12, `large` D12 to D14, `alloc` D15, `marks` D16, `find` D17 and
//! D18, `swap` D19, `check` D20; `model` everything against a `BTreeMap`. What they work on is in [`super::testing`].

mod alloc;
mod check;
mod cursor;
mod entry;
mod find;
mod large;
mod marks;
mod model;
mod node;
mod shape;
mod swap;

use std::vec::Vec;

use super::testing::{Owned, boundaries, level_boundaries, page};
use super::{Entry, Filter, Mark, Node, NodeId, NodeSource};
use crate::addr::Pfn;
use crate::record::ObjId;

impl Owned {
    fn new() -> Self {
        Self::with_capacity(256)
    }

    fn store(&self, index: u64, entry: Entry) -> Entry {
        self.store_order(index, 0, entry)
    }

    /// Stores, which must succeed, and checks.
    fn store_order(&self, index: u64, order: u32, entry: Entry) -> Entry {
        let old = match order {
            0 => self.array().store(&self.nodes, index, entry),
            _ => self.array().store_order(&self.nodes, index, order, entry),
        };
        self.check();
        old.unwrap()
    }

    fn erase(&self, index: u64) -> Entry {
        let old = self.array().erase(&self.nodes, index);
        self.check();
        old
    }

    fn mark(&self, index: u64, mark: Mark) {
        self.array().set_mark(&self.nodes, index, mark);
        self.check();
    }

    /// The node that the path from the root through these slots leads to.
    fn node_at(&self, path: &[usize]) -> Node<'_> {
        let root = self.nodes.node(self.array().head().as_node().expect("no root"));
        path.iter().fold(root, |node, &slot| {
            self.nodes.node(node.slot(slot).as_node().expect("no node"))
        })
    }
}
