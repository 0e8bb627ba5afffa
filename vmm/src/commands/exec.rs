//! `faultlab exec`: one program in the guest; its output and its exit status are the command's.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use faultlab::paths;
use faultlab::report::stages;
use faultlab::{Host, Observer, StopHandle, Stream, Vm, exit};
use rustix::stdio;
use signal_hook::consts::SIGPIPE;

mod bring;
mod versus;

use super::put::put;
use super::signals::StopOnSignals;
use super::terminal::{self, GuestsTerminal};
use super::{Failure, report_end, vm_config};
use crate::cli::{ExecArgs, TraceLevel};

/// Runs the program; its exit status.
pub(crate) fn exec(args: &ExecArgs) -> Result<u8, Failure> {
    if args.versus_linux {
        return versus::exec(args);
    }
    vm_config::check_backing(&args.vm.backing, &[args.backing])?;
    let host = Host::open()?;
    let config = bring::config(args)?;
    // A FIFO is waited for here; signals still do what they do by default, and nothing has been made yet.
    let calls = calls(args)?;
    let vm = Vm::new(config, &host)?;
    let stop = vm.stop_handle();
    let signals = StopOnSignals::listen(stop.clone()).map_err(Failure::Signals)?;
    let mut output = Output {
        stop,
        failure: None,
        calls,
        calls_failure: None,
        terminal: None,
    };
    if terminal::streams() != 0 && terminal::is_for_output() {
        output.terminal = GuestsTerminal::take().map_err(Failure::Terminal)?;
    }
    let outcome = vm.run(&mut output);
    drop(output.terminal.take());
    let outcome = outcome?;
    drop(signals);
    let flushed = output.calls.map_or(Ok(()), |mut calls| calls.flush());
    if let Some(failure) = output.calls_failure.or(flushed.err()) {
        return Err(cannot_tell_calls(args, failure));
    }
    if let Some(failure) = output.failure {
        return Err(Failure::Stdout(failure));
    }
    if args.vm.trace_level == TraceLevel::Stages {
        // On standard error: standard output is the program's.
        // If that is closed or full, the exit status still is the program's.
        let _ = io::stderr().write_all(stages::render(&outcome.trace, &outcome.requests).as_bytes());
    }
    report_end(&outcome);
    for missing in &outcome.not_brought {
        // If standard error is closed, the exit status still tells.
        let _ = writeln!(
            io::stderr(),
            "{}",
            format!("faultlab: {missing}").replace(char::is_control, "?")
        );
    }
    Ok(match outcome.end.exit_status() {
        exit::OK if !outcome.not_brought.is_empty() => exit::NOT_BROUGHT,
        status => status,
    })
}

/// Lines about system calls could not be written.
fn cannot_tell_calls(args: &ExecArgs, source: io::Error) -> Failure {
    match &args.strace {
        Some(path) if path.as_os_str() != "-" => Failure::cannot_write(path, source),
        _ => Failure::cannot_write(Path::new("standard error"), source),
    }
}

/// Where lines about system calls go.
fn calls(args: &ExecArgs) -> Result<Option<Box<dyn Write>>, Failure> {
    Ok(match &args.strace {
        None => None,
        Some(path) if path.as_os_str() == "-" => Some(Box::new(io::stderr())),
        Some(path) => {
            let file = paths::create(path).map_err(|source| Failure::cannot_write(path, source))?;
            Some(Box::new(BufWriter::new(file)))
        }
    })
}

/// Passes the program's output through, write by write.
pub(super) struct Output {
    pub(super) stop: StopHandle,
    pub(super) failure: Option<io::Error>,
    /// While the guest has it.
    pub(super) terminal: Option<GuestsTerminal>,
    /// Where lines about system calls go.
    pub(super) calls: Option<Box<dyn Write>>,
    /// Why they do not any more.
    pub(super) calls_failure: Option<io::Error>,
}

impl Observer for Output {
    fn terminal_wanted(&mut self) {
        if self.terminal.is_none() {
            let taken = GuestsTerminal::take();
            self.terminal = taken.unwrap_or_else(|error| {
                log::warn!("the terminal stays as it is: {error}");
                None
            });
        }
    }

    fn call(&mut self, line: &str) {
        if let Some(calls) = &mut self.calls
            && let Err(error) = write!(calls, "{line}{}", terminal::line_end())
        {
            self.calls = None;
            self.calls_failure = Some(error);
            self.stop.stop(SIGPIPE);
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let to = match stream {
            Stream::Stdout => stdio::stdout(),
            Stream::Stderr => stdio::stderr(),
            Stream::Terminal => stdio::stdin(),
        };
        let written = put(to, bytes, || self.stop.is_over());
        match written {
            Ok(()) => {}
            // What the program itself would be ended by, were it writing to the pipe directly.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.stop.stop(SIGPIPE),
            Err(error) => {
                self.failure = Some(error);
                self.stop.stop(SIGPIPE);
            }
        }
    }
}
