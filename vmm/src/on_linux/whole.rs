//! A whole program on this machine's own Linux: what it wrote, how it ended, and what that cost.
//!
//! Source: getrusage(2), `RUSAGE_CHILDREN`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::ExitStatus;

use super::{command, in_memory};
use crate::timeline::clock::host_tsc;

/// What a program did, from its start to its end.
#[derive(Clone, Debug)]
pub struct Whole {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All that it wrote to standard error.
    pub stderr: Vec<u8>,
    /// From before the process is made until it has been waited for, in cycles of the time-stamp counter.
    pub cycles: u64,
    /// Page faults without and with I/O of it and of its children that it waited for.
    pub faults: [u64; 2],
}

/// Runs `program`, an ELF file, with these arguments, its name first, and an empty environment, to its end. What it writes stays in
/// memory, so that nobody reads while it runs.
///
/// # Errors
/// The operating system's.
pub fn run(program: &[u8], arguments: &[OsString]) -> io::Result<Whole> {
    let file = in_memory(program)?;
    let (stdout, stderr) = (in_memory(&[])?, in_memory(&[])?);
    let mut command = command(&file, arguments);
    command
        .env_clear()
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let (before, since) = (faults_of_children(), host_tsc());
    let status = command.status()?;
    let cycles = host_tsc().saturating_sub(since);
    let after = faults_of_children();
    Ok(Whole {
        status,
        stdout: contents(stdout)?,
        stderr: contents(stderr)?,
        cycles,
        faults: [0, 1].map(|kind| after[kind].saturating_sub(before[kind])),
    })
}

/// Page faults without and with I/O of children that were waited for.
fn faults_of_children() -> [u64; 2] {
    // SAFETY: all-zero is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `rusage`. With valid arguments the call cannot fail.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    [usage.ru_minflt as u64, usage.ru_majflt as u64]
}

fn contents(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_to_its_end() {
        let hello = faultlab_images::program("hello").unwrap();
        let ran = run(hello, &["hello", "7"].map(OsString::from)).unwrap();
        assert_eq!(ran.status.code(), Some(7));
        assert_eq!(ran.stdout, b"argv[0] = hello\nargv[1] = 7\n");
        assert!(ran.stderr.is_empty() && ran.cycles > 0 && ran.faults[0] > 0, "{ran:?}");
    }
}
