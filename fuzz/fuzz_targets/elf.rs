//! Any bytes as an executable: a refusal, or a program of which every promise of `elf` holds.

#![no_main]

use faultlab_kernel::elf::{Program, SEGMENTS_MAX, flag};
use libfuzzer_sys::fuzz_target;

const PAGE_SIZE: u64 = 4096;
/// First address past the programs' half.
const USER_END: u64 = 1 << 47;

fuzz_target!(|file: &[u8]| {
    let Ok(program) = Program::parse(file) else { return };
    let segments = program.segments();
    assert!(!segments.is_empty() && segments.len() <= SEGMENTS_MAX);
    let mut end = 0;
    for segment in segments {
        assert!(segment.memsz != 0 && segment.filesz <= segment.memsz);
        let in_file = segment.offset.checked_add(segment.filesz);
        assert!(in_file.is_some_and(|end| end <= file.len() as u64), "outside the file");
        assert_eq!(segment.offset % PAGE_SIZE, segment.vaddr % PAGE_SIZE);
        assert!(segment.vaddr / PAGE_SIZE * PAGE_SIZE >= end, "pages overlap");
        end = (segment.vaddr + segment.memsz).next_multiple_of(PAGE_SIZE);
        assert!(end <= USER_END, "outside the programs' half");
    }
    let executable = segments.iter().filter(|segment| segment.flags & flag::X != 0);
    let mut executable = executable.map(|segment| segment.vaddr..segment.vaddr + segment.memsz);
    assert!(executable.any(|range| range.contains(&program.entry)));
});
