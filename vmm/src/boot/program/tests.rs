use super::*;
use crate::testing::{elf, program_elf};

#[track_caller]
fn refused(bytes: &[u8], reason: &str) {
    let error = check("./prog", bytes).unwrap_err().to_string();
    assert!(
        error.contains(reason) && error.contains("./prog") && error.contains("-static"),
        "{error}"
    );
}

#[test]
fn static_executables_are_programs() {
    check("./prog", &program_elf()).unwrap();
    check("./prog", &elf(3, 0x1000, 0x1000, &[0x90], "_start")).unwrap();
}

#[test]
fn everything_else_is_refused_by_name() {
    let good = program_elf();
    let with = |offset: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[offset] = byte;
        bytes
    };
    refused(b"", "not an ELF");
    refused(b"\x7fEL", "not an ELF");
    refused(b"#!/bin/sh\n", "a script");
    refused(b"MZ\x90", "not an ELF");
    refused(&good[..63], "truncated");
    refused(&good[..100], "truncated");
    refused(&good[..120], "truncated");
    refused(&with(4, 1), "64-bit");
    refused(&with(5, 2), "64-bit");
    refused(&with(18, 3), "32-bit x86");
    refused(&with(18, 183), "AArch64");
    refused(&with(18, 243), "machine 243");
    refused(&with(16, 1), "object file");
    refused(&with(16, 4), "type 4");
    refused(&with(64, 3), "dynamically linked");
    refused(&with(64, 0), "no segment");
}

#[test]
fn files_are_read_or_named() {
    let missing = read(Path::new("/nonexistent/prog")).unwrap_err();
    assert!(matches!(missing, ProgramError::NotFound { .. }), "{missing}");
    let below_a_file = read(Path::new("/dev/null/prog")).unwrap_err();
    assert!(matches!(below_a_file, ProgramError::NotFound { .. }), "{below_a_file}");
    let directory = read(Path::new("/")).unwrap_err();
    assert!(matches!(directory, ProgramError::Unreadable { .. }), "{directory}");
    // This test's own executable is dynamically linked with the default target.
    let own = read(&std::env::current_exe().unwrap()).unwrap_err();
    assert!(own.to_string().contains("dynamically linked"), "{own}");
}
