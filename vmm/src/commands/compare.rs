//! `faultlab compare`: two files of reports, row by row.

use faultlab::exit;
use faultlab::report::compare::{Comparison, table};
use faultlab::report::json;

use super::{Failure, colours, print, read_reports};
use crate::cli::CompareArgs;

/// Compares and prints; the exit status says whether something is slower only if that was asked for.
pub(crate) fn compare(args: &CompareArgs) -> Result<u8, Failure> {
    let (a, b) = (read_reports(&args.a)?, read_reports(&args.b)?);
    let comparison = Comparison::of(&a, &b, args.noise).map_err(|refusal| {
        let (a, b) = (args.a.display(), args.b.display());
        Failure::Usage(format!("cannot compare {a} (A) with {b} (B): {refusal}"))
    })?;
    if args.json {
        // A comparison has only string keys.
        print(&json::text(&comparison).unwrap_or_default())?;
    } else {
        print(&table::render(&comparison, colours()))?;
    }
    let fails = args.fail_on.is_some_and(|percent| comparison.fails(percent));
    Ok(if fails { exit::CHECKS_FAILED } else { exit::OK })
}
