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
        let mut command = Command::new(self.path(name));
        command.arg0(name);
        self.start(command, arguments, environment)
    }

    /// Runs it with nothing but its own System V objects to see, which takes root.
    pub(crate) fn run_in_an_ipc_namespace<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Ran {
        let mut command = Command::new("unshare");
        command.arg("--ipc").arg(self.path(name));
        self.start(command, arguments, &[])
    }

    /// Both of these: nothing but its own System V objects, and nobody else sees what it mounts.
    pub(crate) fn run_in_ipc_and_mount_namespaces<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Ran {
        let mut command = Command::new("unshare");
        command.args(["--ipc", "--mount"]).arg(self.path(name));
        self.start(command, arguments, &[])
    }

    /// Runs it where nobody else sees what it mounts, which takes root.
    pub(crate) fn run_in_a_mount_namespace<A: AsRef<OsStr>>(&self, name: &str, arguments: &[A]) -> Ran {
        let mut command = Command::new("unshare");
        command.arg("--mount").arg(self.path(name));
        self.start(command, arguments, &[])
    }

    fn start<A: AsRef<OsStr>>(&self, mut command: Command, arguments: &[A], environment: &[(&str, &OsStr)]) -> Ran {
        let path = self.path("");
        let since = Instant::now();
        let child = command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            // Should this host write core files.
            .current_dir(path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        wait(child, since)
    }
}
