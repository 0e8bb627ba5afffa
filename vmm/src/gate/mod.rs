//! The gate: fault costs in instructions, compared with a recorded baseline.
//!
//! A simulated machine that counts instructions ([`crate::rig`]) gives the same cost every time, so a change of a few
//! instructions is a change of the code and not noise, on whatever machine the simulator runs.
//!
//! | file | what it does |
//! |---|---|
//! | [`baseline`] | the recorded costs: made of a report, written to a file, read again |
//! | [`compare`] | the rules by which a run passes |
//! | [`table`] | the comparison for people |
//!
//! # Invariants
//! Only the median is judged: it repeats to the instruction, while the mean holds the timer interrupts and allocator
//! refills of one run. A scenario that only one side has never passes. Other versions are told, never an excuse.

pub mod baseline;
pub mod compare;
pub mod table;

use faultlab_abi::scenario::{self, Scenario};

pub use baseline::{Baseline, Conditions, Cost};
pub use compare::{Change, Comparison, Verdict};

/// The scenarios that are guarded: all but those whose cost depends on when the machine's Linux runs which thread, and those that
/// are measured only when asked for, which take longer than all others together.
pub fn scenarios() -> impl Iterator<Item = &'static str> {
    let repeats = scenario::ALL
        .iter()
        .filter(|scenario| !matches!(scenario, Scenario::HaltWake) && !scenario.is_special());
    repeats.map(|scenario| scenario.name())
}

/// Pages touched in each scenario of a new baseline.
pub const PAGES: u64 = 512;

/// Largest increase of a median that passes, in percent.
pub const TOLERANCE_PERCENT: u64 = 1;

/// Why there is nothing to compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// The file is no baseline.
    #[error("{0}; record one with --record")]
    Malformed(String),
    /// The report cannot be a baseline.
    #[error("the run's report {0}")]
    Report(&'static str),
}
