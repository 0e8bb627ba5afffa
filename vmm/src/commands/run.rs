//! `faultlab run`: measures the standard set of faults, prints the table, writes the JSON. A small matrix of
//! [`super::bench`], with a limit of time of its own.

use super::Failure;
use super::bench::{Plan, measure};
use crate::cli::RunArgs;

/// Measures and reports; the exit status.
pub(crate) fn run(args: &RunArgs, quiet: bool) -> Result<u8, Failure> {
    measure(&Plan::of_run(args)?, quiet)
}
