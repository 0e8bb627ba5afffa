//! What the simulators have in common: what is booted, and a simulator that is ready to start.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// Further words for the kernel's command line: printable ASCII without quotes.
    pub(super) append: &'a str,
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_nameless_file_can_be_opened_by_others() {
        let mut file = nameless_file().unwrap();
        file.write_all(b"contents").unwrap();
        assert_eq!(std::fs::read(path_of(&file)).unwrap(), b"contents");
    }
}
