//! One machine, until it ends or a signal comes.

use std::cell::RefCell;
use std::io::{self, Write};

use faultlab::rig::{self, Machine, RigConfig, RigError};

use super::config::config;
use crate::cli::RigArgs;
use crate::commands::Failure;
use crate::commands::progress::Progress;
use crate::commands::signals::StopOnSignals;

/// Runs the command in `machine`, whose streams are this process's; its exit status.
pub(super) fn one(args: &RigArgs, machine: Machine, quiet: bool) -> Result<u8, Failure> {
    let progress = RefCell::new(Some(Progress::start(quiet)));
    let mut stdout = Passed::new(io::stdout(), &progress);
    let mut stderr = Passed::new(io::stderr(), &progress);
    let ended = run_in_machine(&config(args, machine), &mut stdout, &mut stderr);
    drop(progress.take());
    ended
}

/// Runs the command in the machine until it ends or a signal arrives; its exit status, or the signal's.
pub(in crate::commands) fn run_in_machine(
    config: &RigConfig,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<u8, Failure> {
    let (interrupter, interrupts) = rig::interrupts();
    let signals = StopOnSignals::listen_with(move |signal| interrupter.interrupt(signal)).map_err(Failure::Signals)?;
    let ended = rig::run(config, &interrupts, stdout, stderr);
    drop(signals);
    match ended {
        Ok(outcome) => Ok(outcome.status),
        // The user knows.
        Err(error @ RigError::Interrupted(_)) => Ok(error.exit_status()),
        Err(error) => Err(error.into()),
    }
}

/// A stream before whose first byte the progress bar goes away.
pub(in crate::commands) struct Passed<'a, W> {
    stream: W,
    progress: &'a RefCell<Option<Progress>>,
}

impl<'a, W> Passed<'a, W> {
    /// Passes on to `stream`.
    pub(in crate::commands) fn new(stream: W, progress: &'a RefCell<Option<Progress>>) -> Self {
        Self { stream, progress }
    }
}

impl<W: Write> Write for Passed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.progress.take());
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
