//! Any bytes as a sequence of operations on the whole memory manager, with memory or the disk failing: it does what the model does.

#![no_main]

use faultlab_mm::testing::model::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| decode(bytes).run());
