//! What tests and fuzzers of the array work on: nodes in a vector, an array with its words, and a model.

pub(crate) mod model;
mod op;

use core::cell::{Cell, RefCell};
use std::vec::Vec;

use super::{Entry, Filter, Mark, NODE_WORDS, Node, NodeId, NodeSource, XArray};
use crate::addr::Pfn;
use crate::record::ObjId;
use crate::sync::Word;

/// All powers of two and their neighbours, the ends of the index space, and some more; ascending.
pub(in crate::xarray) fn boundaries() -> Vec<u64> {
    around((0..64).collect())
}

/// Those of them at which the height of the tree changes.
pub(in crate::xarray) fn level_boundaries() -> Vec<u64> {
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
pub(in crate::xarray) fn page(pfn: u32) -> Entry {
    Entry::page(Pfn(pfn))
}

/// Nodes in an array of fixed size, seven to a frame as in the guest. Fails on demand, and checks what comes back.
#[derive(Debug)]
pub(in crate::xarray) struct Nodes {
    words: Vec<[Word; NODE_WORDS]>,
    free: RefCell<Vec<usize>>,
    live: Vec<Cell<bool>>,
    /// Allocations that succeed before one fails; `None` without limit.
    pub(in crate::xarray) fuel: Cell<Option<u32>>,
    /// Nodes looked up.
    pub(in crate::xarray) lookups: Cell<u64>,
}

const FRAME_OF_FIRST: u32 = 4097;
const PER_FRAME: usize = 7;

impl Nodes {
    pub(in crate::xarray) fn new(capacity: usize) -> Self {
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

    pub(in crate::xarray) fn live(&self) -> u64 {
        (self.words.len() - self.free.borrow().len()) as u64
    }

    fn index(id: NodeId) -> usize {
        (id.0.pfn().0 - FRAME_OF_FIRST) as usize * PER_FRAME + id.0.slot()
    }

    /// Everything in the nodes in use, to tell whether anything has changed.
    pub(in crate::xarray) fn snapshot(&self) -> Snapshot {
        let live = (0..self.words.len()).filter(|&index| self.live[index].get());
        live.map(|index| (index, self.words[index].iter().map(Word::get).collect()))
            .collect()
    }
}

/// Nodes in use and their words.
pub(in crate::xarray) type Snapshot = Vec<(usize, Vec<u64>)>;

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
pub(in crate::xarray) struct Owned {
    head: Word,
    pub(in crate::xarray) flags: Word,
    pub(in crate::xarray) nodes: Nodes,
}

impl Owned {
    pub(in crate::xarray) fn with_capacity(nodes: usize) -> Self {
        // A flag that is not the array's: it must survive.
        Self {
            head: Word::new(0),
            flags: Word::new(OWNERS_FLAG),
            nodes: Nodes::new(nodes),
        }
    }

    pub(in crate::xarray) fn array(&self) -> XArray<'_> {
        XArray::new(&self.head, &self.flags)
    }

    pub(in crate::xarray) fn load(&self, index: u64) -> Entry {
        self.array().load(&self.nodes, index)
    }

    pub(in crate::xarray) fn is_marked(&self, index: u64, mark: Mark) -> bool {
        self.array().get_mark(&self.nodes, index, mark)
    }

    /// Verifies rule D20, and that no node is outside the tree.
    pub(in crate::xarray) fn check(&self) {
        assert_eq!(self.array().check(&self.nodes), Ok(self.nodes.live()));
        assert_eq!(self.flags.get() & OWNERS_FLAG, OWNERS_FLAG);
    }

    /// All entries that match, by find.
    pub(in crate::xarray) fn entries(&self, filter: Filter) -> Vec<(u64, Entry)> {
        let mut cursor = super::Cursor::new(self.array(), &self.nodes, 0);
        core::iter::from_fn(|| cursor.find(u64::MAX, filter)).collect()
    }

    /// All state: the two words and the nodes.
    pub(in crate::xarray) fn snapshot(&self) -> (u64, u64, Snapshot) {
        (self.head.get(), self.flags.get(), self.nodes.snapshot())
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
