//! The bundled programs as files, run directly on this host.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use tempfile::TempDir;

use super::{Ran, faultlab, wait};

/// A directory with all of them, written by `faultlab programs --extract` for the first test that asks.
///
/// Another process writes them: were it this one, a child that another test forks at that moment would hold a file open
/// for writing, and running it would fail with `ETXTBSY`.
#[derive(Default)]
pub(crate) struct HostPrograms {
    directory: OnceLock<TempDir>,
}

impl HostPrograms {
    /// The file of the program `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let directory = self.directory.get_or_init(|| {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let extract = faultlab("programs --extract").args([directory.path()]);
            extract.run().expect(0);
            directory
        });
        directory.path().join(name)
    }

    /// Runs it under its bare name as its first argument, as in the guest, with these further arguments and variables.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A], environment: &[(&str, &OsStr)]) -> Ran {
        let path = self.path(name);
        let since = Instant::now();
        let child = Command::new(&path)
            .arg0(name)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            // Should this host write core files.
            .current_dir(path.parent().expect("a file in a directory"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        wait(child, since)
    }
}
