//! What the fuzzers of `fuzz/` made of chance, replayed: inputs that together reach what they have reached.

use std::fs;
use std::path::Path;
use std::vec::Vec;

use crate::testing::{model, run_xarray};

/// Runs every seed of a target; there must be some.
fn replay(target: &str, run: impl Fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let files: Vec<_> = fs::read_dir(&seeds)
        .unwrap_or_else(|error| panic!("{}: {error}", seeds.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    assert!(!files.is_empty(), "no seeds for {target}");
    for file in files {
        run(&fs::read(&file).expect("a seed"));
    }
}

#[test]
fn operations_on_arrays() {
    replay("xarray", run_xarray);
}

#[test]
fn operations_on_the_whole_manager() {
    replay("mm_ops", |bytes| model::decode(bytes).run());
}
