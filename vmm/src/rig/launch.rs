//! What the simulators have in common: what is booted, and a simulator that is ready to start.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

use super::error::RigError;

/// Memory of the machine, in MiB.
pub(super) const MEMORY_MIB: u64 = 2048;

/// What one boot needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boot<'a> {
    /// The bzImage.
    pub(super) kernel: &'a Path,
    /// The `newc` archive; a path without commas.
    pub(super) initramfs: &'a Path,
    /// Where the first serial port goes; a path without commas.
    pub(super) console: &'a Path,
    /// Whether time is counted in instructions.
    pub(super) icount: bool,
    /// Whether the kernel defends itself against speculative execution.
    pub(super) mitigations: bool,
}

/// A simulator that is ready to start.
#[derive(Debug)]
pub(super) struct Launch {
    /// Its name, as commands have it.
    pub(super) simulator: &'static str,
    /// It, with its streams but for standard error.
    pub(super) command: Command,
    /// What the machine's second serial port sends. Ends with the simulator, once `command` is gone.
    pub(super) frames: PipeReader,
    /// By which bytes reach the machine's serial port of [`super::plan::Plan::signals`].
    pub(super) signals: File,
    /// The terminal that it draws on, if it insists on one: to be read, so that it can go on.
    pub(super) screen: Option<File>,
    /// Files of this process that it opens by [`path_of`].
    pub(super) kept: Vec<File>,
}

/// A file without a name.
pub(super) fn nameless_file() -> Result<File, RigError> {
    let remedy = "set TMPDIR to a writable directory";
    tempfile::tempfile().map_err(|source| RigError::Prepare {
        what: "create a temporary file".into(),
        source,
        remedy,
    })
}

/// By which another process of the same user can open `file` while it is open here.
pub(super) fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

/// Lets `command` inherit the pipe's end; by which it opens it.
pub(super) fn inherit(command: &mut Command, end: PipeWriter) -> PathBuf {
    let end = OwnedFd::from(end);
    let path = format!("/proc/self/fd/{}", end.as_raw_fd()).into();
    let keep = move || -> io::Result<()> { Ok(fcntl_setfd(&end, FdFlags::empty())?) };
    // SAFETY: between fork and exec only one system call is made, no memory is allocated and no lock taken.
    unsafe { command.pre_exec(keep) };
    path
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::*;

    #[test]
    fn an_inherited_pipe_ends_with_its_process() {
        let (mut reader, writer) = pipe().unwrap();
        let mut command = Command::new("sh");
        let path = inherit(&mut command, writer);
        command.args(["-c", &format!("printf frames > {}", path.display())]);
        let status = command.status().unwrap();
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((status.success(), text.as_str()), (true, "frames"));
    }

    #[test]
    fn a_nameless_file_can_be_opened_by_others() {
        let mut file = nameless_file().unwrap();
        file.write_all(b"contents").unwrap();
        assert_eq!(std::fs::read(path_of(&file)).unwrap(), b"contents");
    }
}
