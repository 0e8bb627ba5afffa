//! A thousand seeded runs of the model on several areas, on a disk that answers at once or later, and fails or does not: nothing is lost.
//!
//! `FAULTLAB_SWAP_RUNS` says how many runs (a million is an hour or so), `FAULTLAB_SWAP_SEED` the seed of the first; a run that fails names its seed,
//! with which it is repeated alone.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::vec::Vec;

use proptest::prelude::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::op;
use crate::swap::AreaConfig;
use crate::testing::machine;
use crate::testing::model::run::run_in;
use crate::testing::model::{FRAMES, Op, World};

/// Slots of the areas, priorities, bad slots.
const AREAS: [AreaConfig<'static>; 3] = [
    AreaConfig {
        slots: 160,
        prio: Some(3),
        bad: &[1, 77],
    },
    AreaConfig {
        slots: 300,
        prio: None,
        bad: &[],
    },
    AreaConfig {
        slots: 90,
        prio: Some(3),
        bad: &[40, 41, 42, 89],
    },
];

fn number(name: &str, default: u64) -> u64 {
    let said = env::var(name).ok();
    said.map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

/// What the seed makes happen.
fn drawn(seed: u64) -> Vec<Op> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let ops = prop::collection::vec(op(), 60..160);
    ops.new_tree(&mut runner).expect("operations").current()
}

/// The run of a seed. Returns the pages swapped out and in, and faults that did not wait for the disk.
fn run_seed(seed: u64) -> [u64; 3] {
    let memory = machine(FRAMES, 0);
    for (area, &config) in AREAS.iter().enumerate() {
        memory.platform.disk.borrow_mut().add(area, config.slots);
        memory.swapon(area, config).expect("swapon");
    }
    let mut world = World::on(memory);
    world.areas = AREAS.into();
    world.memory.set_page_cluster((seed / 8 % 6) as u32);
    // The lowest bits say what kind of disk it is.
    let mut ops = drawn(seed);
    {
        let platform = &world.memory.platform;
        platform.others.set(seed.is_multiple_of(3));
        platform.left_one_in.set(if seed.is_multiple_of(9) { 4 } else { 0 });
        let disk = &mut platform.disk.borrow_mut();
        disk.beside = (seed & 1 != 0).then_some(seed);
        let one_in = |bit: u64| if seed & bit != 0 { 3 + seed / 16 % 40 } else { 0 };
        disk.fails_one_in = Some((one_in(2), one_in(4), seed));
    }
    if seed & 2 != 0 {
        // Locking faults pages in, and would have to be told of errors.
        world.reads_fail = true;
        ops.retain(|op| !matches!(op, Op::Mlock { .. }));
    }
    let retries = Rc::clone(&world.memory.platform.retries);
    let (out, read) = run_in(world, &ops);
    [out, read, retries.get()]
}

/// F13, F16, F17, F18, F20, F26, F27, F28, F29: whatever happens, and in whatever order, every page is what was last stored there.
#[test]
fn a_thousand_seeds_lose_nothing() {
    let (first, runs) = (number("FAULTLAB_SWAP_SEED", 1), number("FAULTLAB_SWAP_RUNS", 1000));
    let (mut out, mut read, mut left) = (0, 0, 0);
    for seed in first..first + runs {
        let ran = panic::catch_unwind(AssertUnwindSafe(|| run_seed(seed)));
        let swapped = ran.unwrap_or_else(|why| {
            std::eprintln!("again: FAULTLAB_SWAP_SEED={seed} FAULTLAB_SWAP_RUNS=1");
            panic::resume_unwind(why)
        });
        out += swapped[0];
        read += swapped[1];
        left += swapped[2];
    }
    std::println!(
        "{runs} runs from seed {first}: {out} pages swapped out, {read} in, {left} faults left to be made again"
    );
    assert!(
        out > 20 * runs && read > 20 * runs && left > runs,
        "nothing much was swapped: {out} out, {read} in, {left} left"
    );
}
