//! `faultlab bench`: a matrix of scenarios, backings and patterns, in one report.
//!
//! | file | what it does |
//! |---|---|
//! | `plan.rs` | what is asked for, and what of it this host cannot do |
//! | `ready.rs` | what must be in order before that |
//! | `measure.rs` | a guest a backing, all rows, the report: also of `faultlab run` |
//! | `recorder.rs` | what a guest says, as rows and progress |
//! | `stopping.rs` | signals that arrive between two guests, or in one |
//! | `versus.rs` | the same program on this machine's own Linux beside it |
//! | `described.rs` | what the report says of host and guest |

mod described;
mod measure;
mod plan;
mod ready;
mod recorder;
mod stopping;
mod versus;

pub(super) use plan::Plan;

use super::{Failure, print};
use crate::cli::BenchArgs;

/// Measures the matrix and reports; the exit status.
pub(crate) fn bench(args: &BenchArgs, quiet: bool) -> Result<u8, Failure> {
    if args.list {
        print(&plan::catalogue())?;
        return Ok(faultlab::exit::OK);
    }
    measure(&Plan::of_bench(args)?, quiet)
}

/// Measures what is planned, in guests alone or beside this machine's own Linux; the exit status.
pub(super) fn measure(plan: &Plan<'_>, quiet: bool) -> Result<u8, Failure> {
    if plan.versus_linux {
        versus::measure(plan, quiet)
    } else {
        measure::measure(plan, quiet)
    }
}
