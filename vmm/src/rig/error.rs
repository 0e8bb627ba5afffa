//! Why a simulated machine could not do what it was asked for. Each message is one line with the value and the remedy.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error as ThisError;

use crate::error::exit;

/// Any failure of the rig itself, none of what runs in it.
#[derive(Debug, ThisError)]
pub enum RigError {
    /// The simulator is not installed.
    #[error("{simulator} is not in PATH: {remedy}")]
    NoSimulator {
        /// The command that was looked for.
        simulator: &'static str,
        /// The exact command that installs it.
        remedy: String,
    },
    /// Something that the simulator needs is not installed.
    #[error("no {part} on this machine: {remedy}")]
    NoPart {
        /// What was looked for.
        part: &'static str,
        /// The exact command that installs it.
        remedy: String,
    },
    /// The machine cannot do without counting instructions.
    #[error("the {machine} machine always counts instructions: leave out --no-icount")]
    AlwaysCounts {
        /// Its name.
        machine: &'static str,
    },
    /// There is no kernel to boot, and none could be fetched.
    #[error("no Linux kernel with {module} for the simulated machine ({reason}): {remedy}")]
    NoKernel {
        /// The module without which there is no KVM in the machine.
        module: &'static str,
        /// Why the last place did not have one.
        reason: String,
        /// The exact command that installs one.
        remedy: String,
    },
    /// `--kernel` names no kernel.
    #[error("--kernel {path}: {reason}; give a bzImage such as /boot/vmlinuz-*")]
    Kernel {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel's modules are not there.
    #[error("no {module} for kernel {release} below {directory}: give its module tree with --modules DIR")]
    Modules {
        /// The module.
        module: &'static str,
        /// The kernel's release, as `uname -r` would print.
        release: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A library of this program cannot be found, so it could not run in the machine.
    #[error("{needed_by} needs {name:?}, which the loader's directories do not have: see `ldd {needed_by}`")]
    Library {
        /// The library.
        name: OsString,
        /// What needs it.
        needed_by: PathBuf,
    },
    /// A file that an argument names cannot be taken along.
    #[error("cannot take {path} along into the simulated machine: {reason}")]
    Input {
        /// As it was given.
        path: PathBuf,
        /// Why not, and the remedy.
        reason: String,
    },
    /// A file that an argument names cannot be written here.
    #[error("cannot write {path}: {source}; name a place that can be written")]
    Output {
        /// As it was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The operating system refused a step of the preparation.
    #[error("cannot {what}: {source}; {remedy}")]
    Prepare {
        /// The step.
        what: String,
        /// The operating system's reason.
        source: io::Error,
        /// What helps.
        remedy: &'static str,
    },
    /// The machine's first process could not do its part.
    #[error("the simulated machine could not be set up: {reason}")]
    Setup {
        /// What it said.
        reason: String,
    },
    /// The machine ended, or sent nonsense, before its program ended.
    #[error("the simulated machine {how}; {console}")]
    Broken {
        /// What it did.
        how: String,
        /// The last lines of its console and of the simulator's own messages.
        console: String,
    },
    /// The time is up.
    #[error("the simulated machine was still {phase} after {} s: raise --timeout; {console}", limit.as_secs_f64())]
    TimedOut {
        /// How far it had come.
        phase: &'static str,
        /// The limit.
        limit: Duration,
        /// As in [`RigError::Broken`].
        console: String,
    },
    /// Standard output or standard error could not be written.
    #[error("cannot write the machine's output: {0}")]
    Passthrough(io::Error),
    /// [`super::Interrupter::interrupt`] was called with this signal number.
    #[error("stopped by signal {0}")]
    Interrupted(i32),
}

impl RigError {
    /// The status that the `faultlab` command ends with (see [`exit`]).
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            RigError::TimedOut { .. } => exit::TIMEOUT,
            RigError::Interrupted(signal) => exit::signal(*signal),
            RigError::AlwaysCounts { .. } => exit::USAGE,
            _ => exit::FAILURE,
        }
    }
}
