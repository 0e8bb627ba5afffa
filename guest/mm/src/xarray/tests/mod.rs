//! Tests, by rule: `entry` D1 to D3, `shape` D6 to D12, `large` D12 to D14, `alloc` D15, `marks` D16, `find` D17 and
//! D18, `swap` D19, `check` D20; `model` everything against a `BTreeMap`.

extern crate std;

mod alloc;
mod check;
mod entry;
mod find;
mod large;
mod marks;
mod model;
mod op;
mod shape;
mod swap;

use core::cell::{Cell, RefCell};
use std::vec::Vec;

use super::{Entry, Filter, Mark, NODE_WORDS, Node, NodeId, NodeSource, XArray};
use crate::addr::Pfn;
use crate::record::ObjId;
use crate::sync::Word;

/// All powers of two and their neighbours, the ends of the index space, and some more; ascending.
pub(super) fn boundaries() -> Vec<u64> {
    around((0..64).collect())
}

/// Those of them at which the height of the tree changes.
pub(super) fn level_boundaries() -> Vec<u64> {
    around((0..64).step_by(6).collect())
}

fn around(bits: Vec<u32>) -> Vec<u64> {
    let powers = bits
        .into_iter()
        .map(|bit| 1u64 << bit)
        .flat_map(|power| [power - 1, power, power + 1]);
    let others = [77, 4094, 1 << 63, u64::MAX - 64, u64::MAX - 63, u64::MAX - 1, u64::MAX];
    let mut indices: Vec<u64> = powers.chain(others).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}

/// The page with this frame number.
pub(super) fn page(pfn: u32) -> Entry {
    Entry::page(Pfn(pfn))
}

/// Nodes in an array of fixed size, seven to a frame as in the guest. Fails on demand, and checks what comes back.
#[derive(Debug)]
pub(super) struct Nodes {
    words: Vec<[Word; NODE_WORDS]>,
    free: RefCell<Vec<usize>>,
    live: Vec<Cell<bool>>,
    /// Allocations that succeed before one fails; `None` without limit.
    pub(super) fuel: Cell<Option<u32>>,
    /// Nodes looked up.
    pub(super) lookups: Cell<u64>,
}

const FRAME_OF_FIRST: u32 = 4097;
const PER_FRAME: usize = 7;

impl Nodes {
    pub(super) fn new(capacity: usize) -> Self {
        let words = (0..capacity).map(|_| [const { Word::new(0) }; NODE_WORDS]).collect();
        let free = RefCell::new((0..capacity).rev().collect());
        let live = (0..capacity).map(|_| Cell::new(false)).collect();
        let (fuel, lookups) = (Cell::new(None), Cell::new(0));
        Self {
            words,
            free,
            live,
            fuel,
            lookups,
        }
    }

    pub(super) fn live(&self) -> u64 {
        (self.words.len() - self.free.borrow().len()) as u64
    }

    fn index(id: NodeId) -> usize {
        (id.0.pfn().0 - FRAME_OF_FIRST) as usize * PER_FRAME + id.0.slot()
    }

    /// Everything in the nodes in use, to tell whether anything has changed.
    pub(super) fn snapshot(&self) -> Snapshot {
        let live = (0..self.words.len()).filter(|&index| self.live[index].get());
        live.map(|index| (index, self.words[index].iter().map(Word::get).collect()))
            .collect()
    }
}

/// Nodes in use and their words.
pub(super) type Snapshot = Vec<(usize, Vec<u64>)>;

impl NodeSource for Nodes {
    fn alloc_node(&self) -> Option<NodeId> {
        if let Some(fuel) = self.fuel.get() {
            self.fuel.set(Some(fuel.checked_sub(1)?));
        }
        let index = self.free.borrow_mut().pop()?;
        let pfn = Pfn(FRAME_OF_FIRST + (index / PER_FRAME) as u32);
        self.live[index].set(true);
        Some(NodeId(ObjId::new(pfn, index % PER_FRAME)))
    }

    fn free_node(&self, id: NodeId) {
        let index = Self::index(id);
        assert!(self.live[index].replace(false), "{id:?} is freed but not in use");
        assert!(
            self.words[index].iter().all(|word| word.get() == 0),
            "{id:?} is freed but not zeroed"
        );
        self.free.borrow_mut().push(index);
    }

    fn node(&self, id: NodeId) -> Node<'_> {
        let index = Self::index(id);
        assert!(self.live[index].get(), "{id:?} is looked up but not in use");
        self.lookups.set(self.lookups.get() + 1);
        Node(&self.words[index])
    }
}

/// An array with its words and its nodes. On drop it is emptied, and every node must have come back.
#[derive(Debug)]
pub(super) struct Owned {
    head: Word,
    flags: Word,
    pub(super) nodes: Nodes,
}

impl Owned {
    pub(super) fn new() -> Self {
        Self::with_capacity(256)
    }

    pub(super) fn with_capacity(nodes: usize) -> Self {
        // A flag that is not the array's: it must survive.
        Self {
            head: Word::new(0),
            flags: Word::new(OWNERS_FLAG),
            nodes: Nodes::new(nodes),
        }
    }

    pub(super) fn array(&self) -> XArray<'_> {
        XArray::new(&self.head, &self.flags)
    }

    pub(super) fn load(&self, index: u64) -> Entry {
        self.array().load(&self.nodes, index)
    }

    pub(super) fn store(&self, index: u64, entry: Entry) -> Entry {
        self.store_order(index, 0, entry)
    }

    /// Stores, which must succeed, and checks.
    pub(super) fn store_order(&self, index: u64, order: u32, entry: Entry) -> Entry {
        let old = match order {
            0 => self.array().store(&self.nodes, index, entry),
            _ => self.array().store_order(&self.nodes, index, order, entry),
        };
        self.check();
        old.unwrap()
    }

    pub(super) fn erase(&self, index: u64) -> Entry {
        let old = self.array().erase(&self.nodes, index);
        self.check();
        old
    }

    pub(super) fn mark(&self, index: u64, mark: Mark) {
        self.array().set_mark(&self.nodes, index, mark);
        self.check();
    }

    pub(super) fn is_marked(&self, index: u64, mark: Mark) -> bool {
        self.array().get_mark(&self.nodes, index, mark)
    }

    /// Verifies rule D20, and that no node is outside the tree.
    pub(super) fn check(&self) {
        assert_eq!(self.array().check(&self.nodes), Ok(self.nodes.live()));
        assert_eq!(self.flags.get() & OWNERS_FLAG, OWNERS_FLAG);
    }

    /// All entries that match, by find.
    pub(super) fn entries(&self, filter: Filter) -> Vec<(u64, Entry)> {
        let mut cursor = super::Cursor::new(self.array(), &self.nodes, 0);
        core::iter::from_fn(|| cursor.find(u64::MAX, filter)).collect()
    }

    /// All state: the two words and the nodes.
    pub(super) fn snapshot(&self) -> (u64, u64, Snapshot) {
        (self.head.get(), self.flags.get(), self.nodes.snapshot())
    }

    /// The node that the path from the root through these slots leads to.
    pub(super) fn node_at(&self, path: &[usize]) -> Node<'_> {
        let root = self.nodes.node(self.array().head().as_node().expect("no root"));
        path.iter().fold(root, |node, &slot| {
            self.nodes.node(node.slot(slot).as_node().expect("no node"))
        })
    }
}

const OWNERS_FLAG: u64 = 1 << 40;

impl Drop for Owned {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.array().erase_range(&self.nodes, 0, u64::MAX, |_, _| ());
        assert!(self.array().is_empty());
        assert_eq!(self.nodes.live(), 0, "nodes leaked");
        assert_eq!(self.flags.get(), OWNERS_FLAG);
    }
}
