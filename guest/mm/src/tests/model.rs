//! Any sequence of operations on the whole manager, as [`crate::testing::model`] sees it.

use std::vec::Vec;

use proptest::prelude::*;

use crate::testing::model::{Op, run, run_huge, run_on_bad_disk};

mod drawn;
mod injected;
mod seeds;

use drawn::{huge_op, op};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// Without what cuts mappings in ways that the model does not follow, `nattch` is known exactly. Rule A38.
    #[test]
    fn attachments_are_counted(mut ops in prop::collection::vec(op(), 1..120)) {
        ops.retain(|op| !matches!(op, Op::Mremap { .. } | Op::Mlock { .. }));
        run(&ops);
    }

    /// Rules A65, C8, C9: after each operation, too, segments and files are charged what they have.
    #[test]
    fn programs_see_what_they_stored(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops);
    }

    /// F29: writes that fail lose nothing, and nobody notices.
    #[test]
    fn failed_writes_are_not_noticed(ops in prop::collection::vec(op(), 1..120), one_in in 2..40u64, seed: u64) {
        run_on_bad_disk(&ops, 0, one_in, seed);
    }

    /// F28, F29: reads that fail are SIGBUS to who touches the page then; no wrong word is ever read. (Locking faults pages in, and would
    /// have to be told of errors.)
    #[test]
    fn failed_reads_lose_nothing(mut ops in prop::collection::vec(op(), 1..120), one_in in 2..40u64, seed: u64) {
        ops.retain(|op| !matches!(op, Op::Mlock { .. }));
        run_on_bad_disk(&ops, one_in, one_in, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// G2 to G5, F15: huge pages and small ones mixed, in memory of a few huge pages: no byte and no count is lost.
    #[test]
    fn programs_see_what_they_stored_in_huge_pages(ops in prop::collection::vec(huge_op(), 1..60), frames in 1500..6000u32) {
        let ops: Vec<_> = ops.into_iter().map(|op| (op, None)).collect();
        run_huge(&ops, frames);
    }

    /// C5, G3: nor when allocations fail in any operation: of huge pages, of their tables, of the nodes that a split needs.
    #[test]
    fn failures_around_huge_pages_lose_nothing(ops in prop::collection::vec((huge_op(), prop::option::of(0..30u64)), 1..60), frames in 2500..6000u32) {
        run_huge(&ops, frames);
    }
}
