//! From options to a guest: the program's bytes, its arguments, memory, swap and limits.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use faultlab::boot::program;
use faultlab::devices::bus::SWAP_DISKS_MAX;
use faultlab::error::ProgramError;
use faultlab::memory::{Backing, BackingOptions, DirtyMode, Fill, Prepare, UffdOptions};
use faultlab::swap_file::SWAP_DEFAULT_BYTES;
use faultlab::{SwapArea, SwapConfig, TraceLevel, VmConfig};

use super::Failure;
use crate::cli::{self, BackingArgs, DirtyHow, PrepareWhat, SwapBackend, UffdFill, VmArgs};

/// The guest for `args` on `backing`, which runs `command`: a program and its arguments, at least the program.
///
/// The program's environment is empty, so that a run does not depend on who started it.
pub(super) fn of(args: &VmArgs, backing: Backing, command: &[OsString]) -> Result<VmConfig, Failure> {
    with_program(args, backing, command, program(&command[0])?)
}

/// The same with the program's bytes given.
pub(super) fn with_program(
    args: &VmArgs,
    backing: Backing,
    command: &[OsString],
    program: impl Into<Cow<'static, [u8]>>,
) -> Result<VmConfig, Failure> {
    let argv = command.iter().map(|word| word.clone().into_vec()).collect();
    Ok(VmConfig {
        memory_bytes: args.memory,
        window_bytes: args.window,
        backing,
        backing_options: backing_options(&args.backing),
        prepare: match args.backing.prepare {
            PrepareWhat::None => Prepare::None,
            PrepareWhat::Populate => Prepare::Populate,
            PrepareWhat::Prefault => Prepare::Prefault,
        },
        dirty: match args.backing.dirty {
            DirtyHow::Log => DirtyMode::Log,
            DirtyHow::Ring => DirtyMode::Ring,
        },
        swap: swap(args),
        more_swap: more_swap(args)?,
        swap_direct: args.swap_direct,
        swap_io: args.swap_io.here(),
        swap_faults: args.faults.faults(),
        trace: match args.trace_level {
            cli::TraceLevel::Off => TraceLevel::Off,
            cli::TraceLevel::Stages => TraceLevel::Stages,
        },
        timeout: args.timeout.map(Duration::from_secs),
        ..VmConfig::new(program, argv)
    })
}

fn backing_options(args: &BackingArgs) -> BackingOptions {
    let default = UffdOptions::default();
    let fill = args.uffd_fill.map(|fill| match fill {
        UffdFill::Copy => Fill::Copy,
        UffdFill::Zeropage => Fill::ZeroPage,
    });
    BackingOptions {
        file: args.backing_file.clone(),
        uffd: UffdOptions {
            threads: args.uffd_threads.map_or(default.threads, |threads| threads as usize),
            delay: args.uffd_delay_us.map_or(default.delay, Duration::from_micros),
            fill: fill.unwrap_or(default.fill),
        },
    }
}

/// Refuses options of backings other than the one, or all of those, that are asked for.
pub(super) fn check_backing(args: &BackingArgs, backings: &[Backing]) -> Result<(), Failure> {
    let uffd = [
        ("--uffd-threads", args.uffd_threads.is_some()),
        ("--uffd-delay-us", args.uffd_delay_us.is_some()),
        ("--uffd-fill", args.uffd_fill.is_some()),
    ];
    let lone = |given: &[(&'static str, bool)], serves: fn(Backing) -> bool| {
        let given = given.iter().find(|(_, is_given)| *is_given);
        given
            .filter(|_| !backings.iter().any(|&backing| serves(backing)))
            .map(|(name, _)| *name)
    };
    let of_uffd = lone(&uffd, Backing::is_uffd).map(|name| (name, "uffd-missing or uffd-minor"));
    let of_file = lone(&[("--backing-file", args.backing_file.is_some())], Backing::is_file);
    match of_uffd.or(of_file.map(|name| (name, "file or file-cold"))) {
        Some((name, needed)) => Err(Failure::Usage(format!(
            "{name} means nothing here: give --backing {needed}"
        ))),
        None => Ok(()),
    }
}

fn swap(args: &VmArgs) -> SwapConfig {
    match (&args.swap_file, args.swap) {
        (Some(path), _) => SwapConfig::File {
            path: path.clone(),
            create_bytes: SWAP_DEFAULT_BYTES,
        },
        (None, 0) => SwapConfig::None,
        (None, bytes) => made(args.swap_backend, bytes),
    }
}

/// An area of so many bytes that is made for this guest.
fn made(backend: SwapBackend, bytes: u64) -> SwapConfig {
    match backend {
        SwapBackend::File => SwapConfig::Temporary { bytes },
        SwapBackend::Memory => SwapConfig::Memory { bytes },
        SwapBackend::Null => SwapConfig::Null { bytes },
    }
}

fn more_swap(args: &VmArgs) -> Result<Vec<SwapArea>, Failure> {
    let areas = &args.areas.swap_area;
    let refused = match areas.len() {
        0 => return Ok(Vec::new()),
        _ if args.swap == 0 => "--swap-area adds to --swap, which is 0: give the first area with --swap",
        SWAP_DISKS_MAX.. => "--swap-area was given more than three times: the guest has up to four areas",
        _ => "",
    };
    if !refused.is_empty() {
        return Err(Failure::Usage(refused.to_owned()));
    }
    let area = |&(bytes, prio): &(u64, Option<u16>)| SwapArea {
        config: made(args.swap_backend, bytes),
        prio,
    };
    Ok(areas.iter().map(area).collect())
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
            faultlab::exit::NOT_A_PROGRAM
        );
    }
}
