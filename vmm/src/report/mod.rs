//! The report of a run: from phases as measured to rows that are checked, a table and a JSON file.
//!
//! | file | what it does |
//! |---|---|
//! | [`measured`] | the input: one phase, its samples and the counters it moved |
//! | [`quantiles`] | exact order statistics of the samples |
//! | [`checks`] | the rules that a row's counts must keep |
//! | [`model`] | the report as a value, in the shape of the JSON |
//! | [`build`] | joins the four above |
//! | [`header`] | the lines that name machine, KVM and guest |
//! | [`table`] | the report for people |
//! | [`json`] | the report for programs, written all at once or not at all |
//!
//! # Invariants
//! Nothing here invents a number: a phase that was not measured has no row, a counter that the host lacks has no
//! column. Everything is a pure function of its input except [`json`], which writes one file.

pub mod build;
pub mod checks;
pub mod header;
pub mod host_side;
mod json;
pub mod measured;
pub mod model;
pub mod quantiles;
pub mod stages;
pub mod table;

#[cfg(test)]
mod checks_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod testing;

pub use build::Builder;
pub use json::JsonFile;
pub use measured::{Measured, Regime};
pub use model::{Check, Closure, CostUnit, Counters, Report, SCHEMA, Scenario};

/// Every scenario of `faultlab run`, in the order of the table. Source: DESIGN.md, "Measurement".
pub const SCENARIOS: [&str; 9] = [
    "warm-touch",
    "minor",
    "alloc-warm",
    "alloc-cold",
    "second-level-only",
    "swap-out",
    "swap-in",
    "pio-exit",
    "mmio-exit",
];

/// Names of the vCPU thread's own fault counters in [`Counters::host`]. Source: getrusage(2), `RUSAGE_THREAD`.
pub mod host_fault {
    /// Faults without I/O.
    pub const MINFLT: &str = "minflt";
    /// Faults with I/O.
    pub const MAJFLT: &str = "majflt";
}

/// Names of the exits to the VMM in [`Counters::host`], by what the guest accessed.
pub mod exit_kind {
    /// A port.
    pub const PIO: &str = "exit_pio";
    /// Device memory: a swap disk's doorbell, the lab device, an address where nothing is.
    pub const MMIO: &str = "exit_mmio";
}
