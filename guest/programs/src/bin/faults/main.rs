//! `faults`: times every kind of memory fault and exit, one kind a phase.
//!
//!     faults [--scenario NAME,NAME...|all] [--pages N|auto] [--budget-ms N]
//!
//! A *scenario* is one kind of fault in one known state: its pages are brought into that state, then each is touched
//! once by one plain 8-byte store, timed alone. Where `/dev/faultlab` exists, each phase is marked there with the
//! counts that must show, and its samples are handed over; elsewhere the scenarios that need it are skipped.
//!
//! | file | what it is |
//! |---|---|
//! | `options.rs` | the command line |
//! | `lab.rs` | `/dev/faultlab` |
//! | `pages.rs` | which pages are measured, and what else must exist first |
//! | `phase.rs` | one measured phase: marks, timed loop, samples |
//! | `scenarios.rs` | how each state is set, and what must be counted |
//!
//! What is measured must be only what was asked for. So a scenario is rehearsed in full before it is measured: code,
//! stack and buffers are then resident, and the rehearsal's duration tells how many pages the budget allows.

#![no_std]
#![no_main]

mod lab;
mod options;
mod pages;
mod phase;
mod scenarios;

use faultlab_abi::dev;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys;
use faultlab_programs::{eprintln, println};

use options::Options;
use phase::{Failure, Phases};
use scenarios::{SCENARIOS, Scenario, Skip};

faultlab_programs::program!(main);

/// Pages of a rehearsal.
const REHEARSAL_PAGES: usize = 16;
/// Fewest samples of a scenario whose size is calibrated.
const MIN_PAGES: u64 = 64;
/// Most samples of a scenario whose size is calibrated: percentiles are steady by then.
const MAX_PAGES: u64 = 2048;

fn main(args: Args) -> i32 {
    let options = match Options::parse(&args) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("faults: {usage}");
            return USAGE;
        }
    };
    let mut phases = match Phases::open(options.pages.unwrap_or(MAX_PAGES as usize).max(REHEARSAL_PAGES)) {
        Ok(phases) => phases,
        Err(failure) => {
            eprintln!("faults: {failure}");
            return 1;
        }
    };
    match run(&options, &mut phases) {
        Ok(()) => 0,
        Err((name, failure)) => {
            eprintln!("faults: {name}: {failure}");
            1
        }
    }
}

fn run(options: &Options, phases: &mut Phases) -> Result<(), (&'static str, Failure)> {
    let start_ns = sys::monotonic_ns();
    let chosen = || {
        SCENARIOS
            .iter()
            .enumerate()
            .filter(|(index, _)| options.scenarios & (1 << index) != 0)
    };
    let mut left = chosen().count() as u64;
    phases.plan(left).map_err(|failure| ("plan", failure))?;
    phases.empty().map_err(|failure| (dev::EMPTY_PHASE, failure))?;
    for (_, scenario) in chosen() {
        let spent_ns = sys::monotonic_ns() - start_ns;
        let share_ns = options.budget_ns.saturating_sub(spent_ns) / left;
        left -= 1;
        match measure(scenario, options.pages, share_ns, phases) {
            Ok(()) => {}
            Err(Failure::Skip(Skip(reason))) => println!("{:<18} skipped: {reason}", scenario.name),
            Err(failure) => return Err((scenario.name, failure)),
        }
    }
    Ok(())
}

/// Rehearses a scenario, decides its size, measures it, prints its line.
fn measure(scenario: &Scenario, pages: Option<usize>, share_ns: u64, phases: &mut Phases) -> Result<(), Failure> {
    let begin_ns = sys::monotonic_ns();
    phases.rehearse();
    (scenario.run)(phases, REHEARSAL_PAGES)?;
    let rehearsal_ns = sys::monotonic_ns() - begin_ns;
    // The rehearsal's fixed costs are charged to its few pages, so this errs towards finishing early.
    let affordable = share_ns.saturating_sub(rehearsal_ns) * REHEARSAL_PAGES as u64 / rehearsal_ns.max(1);
    let calibrated = affordable.clamp(MIN_PAGES, MAX_PAGES) & !1;
    let pages = pages.unwrap_or(calibrated as usize);
    phases.record(scenario.name);
    (scenario.run)(phases, pages)?;
    let (p50, p99) = phases.percentiles();
    println!(
        "{:<18} {pages} samples, p50 {p50} cycles, p99 {p99} cycles",
        scenario.name
    );
    Ok(())
}
