//! Operations from bytes of any content, for fuzzers.

use std::vec::Vec;

use super::{FileOp, How, Op, run, run_on_bad_disk, run_with_failures};
use crate::mmap::prot;
use crate::testing::Bytes;

/// Most operations of a run: what takes longer finds less in the same time.
const OPS_MAX: usize = 200;

/// Operations, and what goes wrong while they run.
#[derive(Clone, Debug)]
pub enum Script {
    /// Nothing does.
    Plain(Vec<Op>),
    /// Allocations fail: [`run_with_failures`].
    Failing(Vec<(Op, Option<u64>)>),
    /// The disk fails: [`run_on_bad_disk`].
    BadDisk {
        /// The operations.
        ops: Vec<Op>,
        /// One read in so many fails, 0 being none.
        reads: u64,
        /// One write in so many fails, 0 being none.
        writes: u64,
        /// Which ones.
        seed: u64,
    },
}

impl Script {
    /// Runs it.
    ///
    /// # Panics
    /// When the manager does anything else than the model.
    pub fn run(&self) {
        match self {
            Self::Plain(ops) => run(ops),
            Self::Failing(ops) => run_with_failures(ops),
            Self::BadDisk {
                ops,
                reads,
                writes,
                seed,
            } => run_on_bad_disk(ops, *reads, *writes, *seed),
        }
    }
}

impl Bytes<'_> {
    fn prot(&mut self) -> u64 {
        match self.byte() % 6 {
            0 => 0,
            1 => prot::READ,
            _ => prot::READ | prot::WRITE,
        }
    }

    fn how(&mut self) -> How {
        match self.byte() % 5 {
            0 => How::InPlace,
            1 => How::MayMove,
            2 => How::Fixed(self.of(0..48)),
            3 => How::Duplicate,
            _ => How::DontUnmap,
        }
    }

    fn file_op(&mut self) -> FileOp {
        match self.byte() % 7 {
            0 => FileOp::Create,
            1 => FileOp::Map {
                who: self.index(),
                first: self.of(0..32),
                pages: self.of(1..24),
                shared: self.flag(),
            },
            2 => FileOp::Write {
                page: self.of(0..32),
                value: self.of(1..256),
            },
            3 => FileOp::Read { page: self.of(0..32) },
            4 => FileOp::Truncate { pages: self.of(0..32) },
            5 => FileOp::Punch {
                first: self.of(0..32),
                pages: self.of(1..16),
            },
            _ => FileOp::Allocate {
                first: self.of(0..32),
                pages: self.of(1..16),
                keep: self.flag(),
            },
        }
    }

    fn op(&mut self) -> Op {
        let (kind, who) = (self.byte() % 20, self.index());
        match kind {
            0 => Op::Mmap {
                who,
                pages: self.of(1..48),
                shared: self.flag(),
                prot: self.prot(),
            },
            1 => Op::Munmap {
                who,
                at: self.index(),
                pages: self.of(1..16),
            },
            2 => Op::Mprotect {
                who,
                at: self.index(),
                pages: self.of(1..16),
                prot: self.prot(),
            },
            3 => Op::Store {
                who,
                at: self.index(),
                value: self.of(1..256),
            },
            4 => Op::StoreAll {
                who,
                value: self.of(1..256),
            },
            5 => Op::Load { who, at: self.index() },
            6 => Op::Pageout {
                who,
                at: self.index(),
                pages: self.of(1..16),
            },
            7 => Op::Dontneed {
                who,
                at: self.index(),
                pages: self.of(1..16),
            },
            8 => Op::Mremap {
                who,
                at: self.index(),
                pages: self.of(1..12),
                new_pages: self.of(1..24),
                how: self.how(),
            },
            9 => Op::Mlock {
                who,
                at: self.index(),
                pages: self.of(1..8),
                lock: self.flag(),
            },
            10 => Op::Fork { who },
            11 => Op::Exit { who },
            12 => Op::Shmget { pages: self.of(1..48) },
            13 => Op::Shmat {
                who,
                segment: self.index(),
            },
            14 => Op::Shmdt { who, at: self.index() },
            15 => Op::Rmid { segment: self.index() },
            16 => Op::Kswapd,
            17 => Op::Swapoff { area: who },
            18 => Op::Grow {
                who,
                pages: self.of(0..32),
            },
            _ => Op::File {
                file: self.index(),
                op: self.file_op(),
            },
        }
    }

    fn ops(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        while !self.0.is_empty() && ops.len() < OPS_MAX {
            ops.push(self.op());
        }
        ops
    }
}

/// What to run for these bytes: every byte string is something, and small changes to it are small changes of that.
#[must_use]
pub fn decode(bytes: &[u8]) -> Script {
    let mut bytes = Bytes(bytes);
    match bytes.byte() % 3 {
        0 => Script::Plain(bytes.ops()),
        1 => {
            let mut ops = Vec::new();
            while !bytes.0.is_empty() && ops.len() < OPS_MAX {
                let failure = u64::from(bytes.byte());
                ops.push((bytes.op(), (failure < 12).then_some(failure)));
            }
            Script::Failing(ops)
        }
        _ => {
            let (reads, writes, seed) = (bytes.of(0..40), bytes.of(0..40), u64::from(bytes.byte()));
            let mut ops = bytes.ops();
            // Locking faults pages in, and would have to be told of errors.
            ops.retain(|op| reads == 0 || !matches!(op, Op::Mlock { .. }));
            Script::BadDisk {
                ops,
                reads,
                writes,
                seed,
            }
        }
    }
}
