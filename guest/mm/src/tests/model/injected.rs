//! Allocations fail on purpose, each in turn, and programs must not notice more than an error.
//!
//! A scenario is run once to count its attempts to allocate, then again for each of them, that one failing: alone (what tries again
//! succeeds), and with all that follow in the same operation (what tries again gives up). The model checks contents, rights, counts
//! and structures as ever; at the end nothing may be left.

use std::vec::Vec;

use proptest::prelude::*;

use super::op;
use crate::mmap::prot;
use crate::testing::machine;
use crate::testing::model::{FRAMES, FileOp, How, Mix, Op, SLOTS, World, run_with_failures};

const RW: u64 = prot::READ | prot::WRITE;

/// How an attempt fails.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It alone.
    Once,
    /// With all that follow in its operation.
    ToTheEnd,
}

/// Runs the operations with attempt number `failing` failing. Returns the attempts that were made.
fn run_failing(mut world: World, ops: &[Op], failing: u64, kind: Kind, free_at_start: u64) -> u64 {
    let start = world.memory.platform.failing.attempts();
    let failing = start.saturating_add(failing);
    for op in ops {
        let from = world.memory.platform.failing.attempts();
        match kind {
            Kind::Once => world.memory.platform.failing.set(failing..failing.saturating_add(1)),
            // An operation that is reached later begins past the failing attempt.
            Kind::ToTheEnd if from > failing => world.memory.platform.failing.set(0..0),
            Kind::ToTheEnd => world.memory.platform.failing.set(failing..u64::MAX),
        }
        world.apply(op);
        let hit = (from..world.memory.platform.failing.attempts()).contains(&failing);
        // The checks' own loads may allocate, but are no part of the scenario.
        world.memory.platform.failing.set(0..0);
        if hit {
            world.check(false);
        }
    }
    let attempts = world.memory.platform.failing.attempts() - start;
    world.check(true);
    world.end(free_at_start);
    attempts
}

fn every_attempt(ops: &[Op]) {
    every_attempt_in(|| (World::new(), machine(FRAMES, SLOTS).nr_free_pages()), ops);
}

/// In worlds made alike, with how many frames are free at the start.
fn every_attempt_in(world: impl Fn() -> (World, u64), ops: &[Op]) {
    let run = |failing, kind| {
        let (world, free_at_start) = world();
        run_failing(world, ops, failing, kind, free_at_start)
    };
    let attempts = run(u64::MAX, Kind::Once);
    assert!(attempts > 0, "a scenario that allocates nothing shows nothing");
    for failing in 0..attempts {
        run(failing, Kind::Once);
        run(failing, Kind::ToTheEnd);
    }
}

/// With memory for a few huge pages, which everything gets that can have them.
fn every_attempt_with_huge_pages(ops: &[Op]) {
    every_attempt_in(|| World::with_huge_pages(3000), ops);
}

fn file(file: usize, op: FileOp) -> Op {
    Op::File { file, op }
}

/// C5, G3, G4: huge pages of files are made, by a write, by a fault and where a limit is near, mapped, split by a hole and by the end, and go to
/// swap.
#[test]
fn huge_files_with_failing_allocations() {
    for of in [0, 1] {
        every_attempt_with_huge_pages(&[
            file(0, FileOp::Create),
            file(0, FileOp::Create),
            file(of, FileOp::Write { page: 3, value: 5 }),
            file(of, FileOp::Truncate { pages: 1100 }),
            file(
                of,
                FileOp::Map {
                    who: 0,
                    first: 0,
                    pages: 1024,
                    shared: true,
                },
            ),
            Op::Store {
                who: 0,
                at: 700,
                value: 6,
            },
            file(of, FileOp::Punch { first: 10, pages: 30 }),
            Op::Store {
                who: 0,
                at: 20,
                value: 7,
            },
            Op::Pageout {
                who: 0,
                at: 500,
                pages: 30,
            },
            Op::Load { who: 0, at: 700 },
            file(of, FileOp::Truncate { pages: 520 }),
            file(of, FileOp::Read { page: 3 }),
        ]);
    }
}

/// G1, B43: huge pages of private memory are made, shared with a child, cut, moved, split and paged out.
#[test]
fn private_huge_pages_with_failing_allocations() {
    let store = |who, at, value| Op::Store { who, at, value };
    every_attempt_with_huge_pages(&[
        mmap(0, 1100, false),
        store(0, 600, 3),
        store(0, 0, 4),
        Op::Fork { who: 0 },
        store(1, 600, 5),
        Op::Mprotect {
            who: 0,
            at: 590,
            pages: 20,
            prot: prot::READ,
        },
        Op::Munmap {
            who: 1,
            at: 610,
            pages: 4,
        },
        mremap(512, 700, How::MayMove),
        Op::Pageout {
            who: 0,
            at: 580,
            pages: 40,
        },
        Op::Load { who: 0, at: 600 },
        Op::Dontneed {
            who: 1,
            at: 300,
            pages: 400,
        },
        store(1, 600, 8),
    ]);
}

/// H3, H4: programs answer faults among huge pages, and the pool takes memory meanwhile.
#[test]
fn answered_faults_with_failing_allocations() {
    let register = |who, at| Op::Mix(Mix::Register { who, at, pages: 100 });
    let store = |who, at, value| Op::Store { who, at, value };
    every_attempt_with_huge_pages(&[
        mmap(0, 700, false),
        mmap(0, 600, true),
        store(0, 100, 3),
        register(0, 0),
        register(0, 600),
        register(0, 720),
        store(0, 5, 4),
        store(0, 610, 5),
        store(0, 730, 6),
        Op::Mix(Mix::Pool(2)),
        Op::Pageout {
            who: 0,
            at: 600,
            pages: 150,
        },
        Op::Fork { who: 0 },
        store(1, 640, 7),
        Op::Load { who: 0, at: 730 },
        Op::Mix(Mix::Pool(0)),
        Op::Mix(Mix::Release(0)),
        store(0, 650, 8),
    ]);
}

fn mmap(who: usize, pages: u64, shared: bool) -> Op {
    Op::Mmap {
        who,
        pages,
        shared,
        prot: RW,
    }
}

fn mremap(pages: u64, new_pages: u64, how: How) -> Op {
    Op::Mremap {
        who: 0,
        at: 2,
        pages,
        new_pages,
        how,
    }
}

/// B45: private and shared memory is mapped, stored to, cut, given other rights, grown and unmapped.
#[test]
fn mappings_with_failing_allocations() {
    every_attempt(&[
        mmap(0, 9, false),
        mmap(0, 8, true),
        Op::StoreAll { who: 0, value: 5 },
        Op::Mprotect {
            who: 0,
            at: 3,
            pages: 2,
            prot: prot::READ,
        },
        Op::Grow { who: 0, pages: 3 },
        Op::StoreAll { who: 0, value: 7 },
        Op::Munmap {
            who: 0,
            at: 6,
            pages: 1,
        },
        Op::Mlock {
            who: 0,
            at: 9,
            pages: 3,
            lock: true,
        },
    ]);
}

/// B43: `fork` fails half-way, copies of pages fail after it.
#[test]
fn fork_with_failing_allocations() {
    every_attempt(&[
        mmap(0, 4, false),
        mmap(0, 4, true),
        Op::StoreAll { who: 0, value: 5 },
        Op::Pageout {
            who: 0,
            at: 0,
            pages: 2,
        },
        Op::Fork { who: 0 },
        Op::StoreAll { who: 1, value: 6 },
        Op::Fork { who: 1 },
        Op::StoreAll { who: 0, value: 7 },
    ]);
}

/// B27, B28: every way of `mremap` fails at every place.
#[test]
fn mremap_with_failing_allocations() {
    for how in [
        How::InPlace,
        How::MayMove,
        How::Fixed(3),
        How::Duplicate,
        How::DontUnmap,
    ] {
        for shared in [false, true] {
            let (pages, new_pages) = if how == How::DontUnmap { (4, 4) } else { (4, 9) };
            every_attempt(&[
                mmap(0, 9, shared),
                Op::StoreAll { who: 0, value: 5 },
                mremap(pages, new_pages, how),
                Op::StoreAll { who: 0, value: 6 },
                mremap(1, 1, How::Fixed(5)),
            ]);
        }
    }
}

/// A19, A37: segments are made, attached, shared with a child, cut and removed.
#[test]
fn segments_with_failing_allocations() {
    every_attempt(&[
        Op::Shmget { pages: 5 },
        Op::Shmat { who: 0, segment: 0 },
        Op::StoreAll { who: 0, value: 3 },
        Op::Shmget { pages: 3 },
        Op::Fork { who: 0 },
        Op::Shmat { who: 1, segment: 1 },
        Op::Mprotect {
            who: 1,
            at: 2,
            pages: 1,
            prot: prot::READ,
        },
        Op::StoreAll { who: 1, value: 4 },
        Op::Munmap {
            who: 0,
            at: 2,
            pages: 1,
        },
        Op::Rmid { segment: 0 },
        Op::Shmdt { who: 1, at: 0 },
    ]);
}

/// F19, D15: pages go to swap and come back, and the nodes that name them.
#[test]
fn swapping_with_failing_allocations() {
    let all = |who| Op::Pageout { who, at: 0, pages: 40 };
    every_attempt(&[
        mmap(0, 6, true),
        mmap(0, 6, false),
        Op::StoreAll { who: 0, value: 3 },
        all(0),
        Op::Fork { who: 0 },
        Op::StoreAll { who: 1, value: 4 },
        all(1),
        Op::Load { who: 0, at: 3 },
        Op::Load { who: 0, at: 9 },
        Op::Exit { who: 0 },
    ]);
}

/// Operations, and from which of its attempts on an operation fails, if it does: forty in a row.
fn ops_and_failures() -> impl Strategy<Value = Vec<(Op, Option<u64>)>> {
    prop::collection::vec((op(), prop::option::weighted(0.3, 0..12u64)), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// B45: failures among anything, on top of real want of memory.
    #[test]
    fn anything_with_failing_allocations(ops in ops_and_failures()) {
        run_with_failures(&ops);
    }
}
