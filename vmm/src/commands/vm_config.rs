//! From options to a guest: the program's bytes, its arguments, memory, swap and limits.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use faultlab::boot::program;
use faultlab::error::ProgramError;
use faultlab::swap_file::SWAP_DEFAULT_BYTES;
use faultlab::{SwapConfig, TraceLevel, VmConfig};

use super::Failure;
use crate::cli::{self, SwapBackend, VmArgs};

/// The guest for `args`, which runs `command`: a program and its arguments, at least the program.
///
/// The program's environment is empty, so that a run does not depend on who started it.
pub(super) fn of(args: &VmArgs, command: &[OsString]) -> Result<VmConfig, Failure> {
    let argv = command.iter().map(|word| word.clone().into_vec()).collect();
    Ok(VmConfig {
        memory_bytes: args.memory,
        window_bytes: args.window,
        swap: swap(args),
        swap_direct: args.swap_direct,
        swap_faults: args.faults.faults(),
        trace: match args.trace_level {
            cli::TraceLevel::Off => TraceLevel::Off,
            cli::TraceLevel::Stages => TraceLevel::Stages,
        },
        timeout: args.timeout.map(Duration::from_secs),
        ..VmConfig::new(program(&command[0])?, argv)
    })
}

fn swap(args: &VmArgs) -> SwapConfig {
    match (&args.swap_file, args.swap) {
        (Some(path), _) => SwapConfig::File {
            path: path.clone(),
            create_bytes: SWAP_DEFAULT_BYTES,
        },
        (None, 0) => SwapConfig::None,
        (None, bytes) => match args.swap_backend {
            SwapBackend::File => SwapConfig::Temporary { bytes },
            SwapBackend::Memory => SwapConfig::Memory { bytes },
            SwapBackend::Null => SwapConfig::Null { bytes },
        },
    }
}

/// The bytes of the program `name`: without a slash a bundled one, else a file on this host.
fn program(name: &OsStr) -> Result<Cow<'static, [u8]>, Failure> {
    let found = if name.as_bytes().contains(&b'/') {
        program::read(Path::new(name)).map(Cow::Owned)
    } else {
        let bundled = name.to_str().and_then(faultlab_images::program).map(Cow::Borrowed);
        bundled.ok_or_else(|| ProgramError::NotFound {
            path: name.to_string_lossy().into_owned(),
        })
    };
    found.map_err(|error| Failure::Vmm(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(name: &str) -> u8 {
        program(OsStr::new(name)).unwrap_err().exit_status()
    }

    #[test]
    fn a_name_without_a_slash_is_a_bundled_program() {
        assert!(program(OsStr::new("hello")).is_ok());
        assert_eq!(
            status_of("Cargo.toml"),
            faultlab::exit::NOT_FOUND,
            "a file of the directory is not meant"
        );
        assert_eq!(status_of(""), faultlab::exit::NOT_FOUND);
    }

    #[test]
    fn a_path_is_a_file_of_this_host() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let elf = faultlab_images::program("hello").unwrap();
        std::fs::write(&path, elf).unwrap();
        assert_eq!(&*program(path.as_os_str()).unwrap(), elf);
        std::fs::write(&path, b"#!/bin/sh").unwrap();
        assert_eq!(status_of(path.to_str().unwrap()), faultlab::exit::NOT_A_PROGRAM);
        assert_eq!(status_of("./no/such/program"), faultlab::exit::NOT_FOUND);
        assert_eq!(status_of("/dev/null/program"), faultlab::exit::NOT_FOUND);
        assert_eq!(
            status_of(&format!("{}/", directory.path().display())),
            faultlab::exit::FAILURE
        );
    }
}
