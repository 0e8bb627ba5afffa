//! The commands, one a file, and what they share: how a failure and the output reach the user.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod gate;
pub(crate) mod programs;
pub(crate) mod progress;
mod put;
pub(crate) mod report;
pub(crate) mod rig;
pub(crate) mod run;
pub(crate) mod trace;

#[cfg(test)]
mod planning_tests;
mod signals;
pub(crate) mod terminal;
mod vm_config;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use faultlab::report::{JsonFile, Report, read};
use faultlab::rig::RigError;
use faultlab::{End, Outcome, exit};

/// Why a command could not do what it was asked for. The message is one line with the value and the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library failed.
    #[error(transparent)]
    Vmm(#[from] faultlab::Error),
    /// The simulated machine failed.
    #[error(transparent)]
    Rig(#[from] faultlab::rig::RigError),
    /// There is nothing to compare with the baseline.
    #[error(transparent)]
    Gate(faultlab::gate::GateError),
    /// The program could not be run on Linux itself.
    #[error("cannot measure on this Linux itself: {0}")]
    OnLinux(io::Error),
    /// Options that are valid alone but not together.
    #[error("{0}")]
    Usage(String),
    /// A file or directory could not be written.
    #[error("cannot write {path}: {source}; name a place that can be written")]
    Write {
        /// As it was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// Standard input cannot be passed on.
    #[error("cannot use standard input: {0}")]
    Stdin(io::Error),
    /// The terminal's modes could not be changed.
    #[error("cannot use the terminal: {0}; redirect standard input, for instance from /dev/null")]
    Terminal(io::Error),
    /// Signal handlers could not be installed.
    #[error("cannot handle SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
}

impl Failure {
    /// The file or directory at `path` could not be written.
    pub(crate) fn cannot_write(path: &Path, source: io::Error) -> Failure {
        Failure::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// What is told of it: one line, whatever the names in it are; only the last words of a simulated machine are more.
    pub(crate) fn line(&self) -> String {
        // What a machine said last stays lines; the rig has taken all else out of them.
        let has_lines = matches!(self, Failure::Rig(RigError::Broken { .. } | RigError::TimedOut { .. }));
        format!("faultlab: {self}").replace(|c: char| c.is_control() && !(has_lines && c == '\n'), "?")
    }

    /// The exit status that reports it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Failure::Vmm(error) => error.exit_status(),
            Failure::Rig(error) => error.exit_status(),
            Failure::Usage(_) => exit::USAGE,
            Failure::OnLinux(_)
            | Failure::Gate(_)
            | Failure::Write { .. }
            | Failure::Stdout(_)
            | Failure::Stdin(_)
            | Failure::Terminal(_)
            | Failure::Signals(_) => exit::FAILURE,
        }
    }
}

impl From<faultlab::error::HostError> for Failure {
    fn from(error: faultlab::error::HostError) -> Self {
        Failure::Vmm(error.into())
    }
}

/// Claims the file at `path` for a report: whether it can be written is known before anything is measured.
pub(crate) fn claim(path: &Path) -> Result<JsonFile, Failure> {
    JsonFile::create(path).map_err(|source| Failure::cannot_write(path, source))
}

/// Writes `text` to standard output. A reader that has gone away (`| head`) is no failure: it has what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same of what need not be text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    match put::put(rustix::stdio::stdout(), bytes, || false) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Stdout(error)),
        _ => Ok(()),
    }
}

/// Colours on a terminal, unless <https://no-color.org> says otherwise.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The reports in the file at `path`, at least one.
pub(crate) fn read_reports(path: &Path) -> Result<Vec<Report>, Failure> {
    read::file(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Tells on standard error how the guest ended, unless its program simply ended: the registers of a panic or crash,
/// or where a guest without progress was.
pub(crate) fn report_end(outcome: &Outcome) {
    let report: &dyn std::fmt::Display = match &outcome.end {
        End::Exited(_) | End::Stopped(_) => return,
        End::Panicked(report) => report,
        End::Crashed(report) => report,
        End::Watchdog(report) => report,
    };
    // If standard error is closed, the exit status still tells.
    let _ = writeln!(io::stderr(), "faultlab: {report}");
}
