//! The report of a run: from phases as measured to rows that are checked, a table and a JSON file.
//!
//! | file | what it does |
//! |---|---|
//! | [`measured`] | the input: one phase, its samples and the counters it moved |
//! | [`quantiles`] | exact order statistics of the samples |
//! | [`distribution`] | the whole distribution as a list of percentiles |
//! | [`stages`] | where the time of traced faults went |
//! | [`checks`] | the rules that a row's counts must keep |
//! | [`model`] | the report as a value, in the shape of the JSON |
//! | [`halves`] | the two halves of a row as one |
//! | [`closure`] | whether two ways to learn a second-level fault's cost agree |
//! | `four_way` | small and huge pages, in the guest and on the host, in one table |
//! | [`build`] | joins all of these |
//! | [`schema`] | the shape of the JSON as a JSON Schema |
//! | [`read`] | a file of either shape back into reports |
//! | [`header`] | the lines that name machine, KVM and guest |
//! | [`table`] | the report for people |
//! | [`side_by_side`] | several reports in one table |
//! | [`json`] | the report for programs |
//! | [`stage_table`] | the stages for people |
//! | [`csv`], [`markdown`] | the report for spreadsheets and for comments |
//! | [`html`] | the report as a page with plots |
//! | `plain` | what all tables of text have in common |
//! | [`key`] | what makes a row that row, and its name |
//! | [`compare`] | two reports, row by row |
//! | [`mod@file`] | writes a file all at once or not at all |
//!
//! # Invariants
//! Nothing here invents a number: a phase that was not measured has no row, a counter that the host lacks has no
//! column. Everything is a pure function of its input except [`mod@file`], which writes one, and [`read`], which reads one.

pub mod build;
pub mod checks;
pub mod closure;
pub mod compare;
pub mod csv;
pub mod distribution;
pub mod file;
mod four_way;
mod halves;
pub mod header;
pub mod host_side;
pub mod html;
pub mod json;
pub mod key;
pub mod markdown;
pub mod measured;
pub mod model;
pub(crate) mod plain;
pub mod quantiles;
pub mod read;
pub mod schema;
pub mod side_by_side;
pub mod stage_table;
pub mod stages;
pub mod table;

#[cfg(test)]
mod checks_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod testing;

pub use build::{Builder, Wanted};
pub use closure::Closure;
pub use file::WholeFile;
pub use json::JsonFile;
pub use measured::{Measured, Regime};
pub use model::{
    COLLECTION_SCHEMA, Check, Collection, CostUnit, Counters, Percentile, Report, SCHEMA, Scenario, Skipped,
};

/// The standard set of `faultlab run`, in the order of the table. All that can be measured: [`faultlab_abi::scenario`].
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
    /// Faults in guest memory that another thread of the VMM answered, which neither of the two counts.
    pub const SERVED: &str = "uffd_served";
}

/// Names of the exits to the VMM in [`Counters::host`], by what the guest accessed.
pub mod exit_kind {
    /// A port.
    pub const PIO: &str = "exit_pio";
    /// Device memory: a swap disk's doorbell, the lab device, an address where nothing is.
    pub const MMIO: &str = "exit_mmio";
    /// Nothing: a halt that was announced.
    pub const HLT: &str = "exit_hlt";
}
