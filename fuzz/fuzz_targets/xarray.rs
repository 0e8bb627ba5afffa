//! Any bytes as a sequence of operations on an array: it does what a `BTreeMap` does, and keeps rule D20.

#![no_main]

use faultlab_mm::testing::run_xarray;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| run_xarray(bytes));
