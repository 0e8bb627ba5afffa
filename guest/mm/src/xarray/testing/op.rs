//! Operations on an array, and how they are read from bytes.

use std::vec::Vec;

use super::{boundaries, page};
use crate::testing::Bytes;
use crate::xarray::{Entry, Filter, Mark};

/// What can be done to an array.
#[derive(Clone, Debug)]
pub(in crate::xarray) enum Op {
    Store {
        index: u64,
        entry: Entry,
    },
    StoreOrder {
        index: u64,
        order: u32,
        entry: Entry,
    },
    Insert {
        index: u64,
        entry: Entry,
    },
    Cmpxchg {
        index: u64,
        guess: bool,
        entry: Entry,
    },
    Erase {
        index: u64,
    },
    EraseRange {
        first: u64,
        last: u64,
    },
    Split {
        index: u64,
        by: u32,
    },
    SetMark {
        index: u64,
        mark: Mark,
    },
    ClearMark {
        index: u64,
        mark: Mark,
    },
    /// Stores at this many indices from here on, through one cursor.
    Fill {
        index: u64,
        entries: Vec<Entry>,
    },
    /// From here on, erases every second entry found with the filter, pausing at every third.
    Thin {
        index: u64,
        filter: Filter,
    },
}

/// Most operations of a run: what takes longer finds less in the same time.
const OPS_MAX: usize = 100;

impl Bytes<'_> {
    /// Mostly where trees change their height.
    fn array_index(&mut self) -> u64 {
        match self.byte() % 8 {
            0..=2 => self.of(0..200),
            3 => 4000 + self.of(0..256),
            4 => u64::MAX - self.of(0..200),
            5 => self.word(),
            _ => {
                let boundaries = boundaries();
                boundaries[usize::from(self.byte()) % boundaries.len()]
            }
        }
    }

    fn entry(&mut self) -> Entry {
        match self.byte() % 4 {
            0 => Entry::NULL,
            1 => Entry::value(self.word() >> 1),
            _ => page(1 + u32::from(self.byte())),
        }
    }

    fn mark(&mut self) -> Mark {
        Mark::ALL[usize::from(self.byte()) % Mark::ALL.len()]
    }

    fn filter(&mut self) -> Filter {
        if self.flag() {
            Filter::Any
        } else {
            Filter::Marked(self.mark())
        }
    }

    fn array_op(&mut self) -> Op {
        let (kind, index) = (self.byte() % 11, self.array_index());
        match kind {
            0 => Op::Store {
                index,
                entry: self.entry(),
            },
            1 => Op::StoreOrder {
                index,
                order: self.of(0..64) as u32,
                entry: self.entry(),
            },
            2 => Op::Insert {
                index,
                entry: self.entry(),
            },
            3 => Op::Cmpxchg {
                index,
                guess: self.flag(),
                entry: self.entry(),
            },
            4 => Op::Erase { index },
            5 => Op::EraseRange {
                first: index,
                last: self.array_index(),
            },
            6 => Op::Split {
                index,
                by: self.of(0..8) as u32,
            },
            7 => Op::SetMark {
                index,
                mark: self.mark(),
            },
            8 => Op::ClearMark {
                index,
                mark: self.mark(),
            },
            9 => {
                let entries = self.of(1..80);
                Op::Fill {
                    index,
                    entries: (0..entries).map(|_| self.entry()).collect(),
                }
            }
            _ => Op::Thin {
                index,
                filter: self.filter(),
            },
        }
    }
}

/// Operations, each with the nodes that it may have: every byte string is some.
pub(in crate::xarray) fn decode(bytes: &[u8]) -> Vec<(Op, Option<u32>)> {
    let mut bytes = Bytes(bytes);
    let mut ops = Vec::new();
    while !bytes.0.is_empty() && ops.len() < OPS_MAX {
        let nodes = u32::from(bytes.byte());
        ops.push((bytes.array_op(), (nodes < 6).then_some(nodes)));
    }
    ops
}
