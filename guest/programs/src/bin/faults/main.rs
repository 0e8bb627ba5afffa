//! `faults`: times every kind of memory fault, call and exit, one kind a row.
//!
//!     faults [--scenario NAME,NAME...|all] [--pattern seq|rand|stride:N,...] [--access store|load]
//!            [--pages N|auto] [--seed N] [--budget-ms N] [--record FD]
//!
//! A *scenario* is one operation in one known state ([`faultlab_abi::scenario`] is their catalogue): its pages are brought
//! into that state, the state is looked at, then each page is touched once by one plain 8-byte store or load, timed alone.
//! Where `/dev/faultlab` exists, each phase is marked there with the counts that must show, and its samples are handed
//! over; elsewhere the scenarios that need it are skipped, and the phases of the others go to the descriptor of `--record`.
//!
//! | file | what it is |
//! |---|---|
//! | `options.rs` | the command line |
//! | `order.rs` | in which order pages are touched |
//! | `lab.rs` | `/dev/faultlab` |
//! | `recorder.rs` | what takes its place on plain Linux |
//! | `phase.rs` | one measured phase: marks, timed loop, samples |
//! | `scenarios/` | how each state is set, and what must be counted |
//!
//! What is measured must be only what was asked for. So a scenario is rehearsed in full before it is measured: code,
//! stack and buffers are then resident, and the rehearsal's duration tells how many pages the budget allows. Each row is
//! measured in two halves, the state set anew for the second: by how much they differ is the row's noise.

#![no_std]
#![no_main]

mod lab;
mod options;
mod order;
mod phase;
mod recorder;
mod scenarios;

use faultlab_abi::dev;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys;
use faultlab_programs::{eprintln, println};

use options::Options;
use phase::{Failure, Phases, Row};
use recorder::Recorder;

faultlab_programs::program!(main);

/// Pages of a rehearsal.
const REHEARSAL_PAGES: usize = 16;
/// Most samples of a row whose size is calibrated: percentiles are steady by then.
const MAX_PAGES: u64 = 2048;

fn main(args: Args) -> i32 {
    let options = match Options::parse(&args) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("faults: {usage}");
            return USAGE;
        }
    };
    let capacity = options.pages.unwrap_or(MAX_PAGES as usize).max(REHEARSAL_PAGES);
    let mut phases = match Phases::open(capacity, options.seed, options.record.map(Recorder::new)) {
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
    let mut left = options.rows().count() as u64;
    phases.plan(left).map_err(|failure| ("plan", failure))?;
    phases.empty().map_err(|failure| (dev::EMPTY_PHASE, failure))?;
    for row in options.rows() {
        let spent_ns = sys::monotonic_ns() - start_ns;
        let share_ns = options.budget_ns.saturating_sub(spent_ns) / left;
        left -= 1;
        match measure(row, options.pages, share_ns, phases) {
            Ok(()) => {}
            Err(failure @ Failure::Call(..)) => return Err((row.scenario.name(), failure)),
            Err(failure) => {
                println!("{:<18} {failure}", row.scenario.name());
                phases
                    .skip(row, &failure)
                    .map_err(|failure| (row.scenario.name(), failure))?;
            }
        }
    }
    Ok(())
}

/// Rehearses a row, decides its size, measures its two halves, prints its line.
fn measure(row: Row, pages: Option<usize>, share_ns: u64, phases: &mut Phases) -> Result<(), Failure> {
    let run = scenarios::runner(row.scenario);
    let begin_ns = sys::monotonic_ns();
    phases.rehearse(row);
    run(phases, REHEARSAL_PAGES)?;
    let rehearsal_ns = sys::monotonic_ns() - begin_ns;
    // The rehearsal's fixed costs are charged to its few pages, so this errs towards finishing early.
    let affordable = share_ns.saturating_sub(rehearsal_ns) * REHEARSAL_PAGES as u64 / rehearsal_ns.max(1);
    let calibrated = affordable.clamp(row.scenario.least(), MAX_PAGES) & !1;
    let pages = pages.unwrap_or(calibrated as usize);
    for (half, pages) in [(0, pages.div_ceil(2)), (1, pages / 2)] {
        if pages != 0 {
            phases.record(half);
            run(phases, pages)?;
        }
    }
    let (count, p50, p99) = phases.summary();
    println!(
        "{:<18} {:<10} {count} samples, p50 {p50} cycles, p99 {p99} cycles",
        row.scenario.name(),
        row.pattern
    );
    Ok(())
}
