//! What the simulators have in common: what is booted, and a simulator that is ready to start.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::RigError;

/// Memory of the machine, in MiB, without pages of 1 GiB.
pub(super) const MEMORY_MIB: u64 = 2048;

/// Memory of the machine, in MiB, if its kernel gets these words: pages of 1 GiB that they set aside lie above 4 GiB. Source: Linux,
/// Documentation/admin-guide/kernel-parameters.txt, `hugepages=`.
pub(super) fn memory_mib(append: &str) -> u64 {
    let mut size = "";
    let mut pages = 0_u64;
    for word in append.split_ascii_whitespace() {
        match word.split_once('=') {
            Some(("hugepagesz", value)) => size = value,
            Some(("hugepages", value)) if size == "1G" => pages = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    match pages.min(HUGE_PAGES_MAX) {
        0 => MEMORY_MIB,
        pages => BELOW_4_GIB_MIB + pages * 1024,
    }
}

/// Memory below 4 GiB, in MiB, where there is some above. No GiB of it is whole: kernel, initramfs and firmware are in it.
const BELOW_4_GIB_MIB: u64 = 3072;

/// Pages of 1 GiB that the machine is made larger for.
const HUGE_PAGES_MAX: u64 = 16;

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

    #[test]
    fn pages_of_a_gibibyte_make_the_machine_larger() {
        assert_eq!(memory_mib("quiet hugepages=96"), 2048);
        assert_eq!(memory_mib("hugepagesz=1G hugepages=2"), 5120);
        assert_eq!(memory_mib("hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=64"), 4096);
        assert_eq!(memory_mib("hugepagesz=1G hugepages=999999999"), 3072 + 16 * 1024);
    }
}
