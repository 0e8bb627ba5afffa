//! Any bytes as an initrd: malformed, or a range within it.

#![no_main]

use faultlab_kernel::cpio::find;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|archive: &[u8]| {
    match find(archive, b"init") {
        Ok(Some(content)) => assert!(content.start <= content.end && content.end <= archive.len()),
        Ok(None) => {}
        Err(malformed) => assert!(malformed.at < archive.len()),
    }
});
