//! `faultlab exec`: one program in the guest; its output and its exit status are the command's.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};

use faultlab::report::stages;
use faultlab::{Host, Observer, StopHandle, Stream, Vm, exit};
use signal_hook::consts::SIGPIPE;

mod bring;
mod versus;

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
    let vm = Vm::new(bring::config(args)?, &host)?;
    let stop = vm.stop_handle();
    let signals = StopOnSignals::listen(stop.clone()).map_err(Failure::Signals)?;
    let mut output = Output {
        stop,
        failure: None,
        calls: calls(args)?,
    };
    let taken = match terminal::streams() {
        0 => None,
        _ => Some(GuestsTerminal::take().map_err(Failure::Terminal)?),
    };
    let outcome = vm.run(&mut output);
    drop(taken);
    let outcome = outcome?;
    drop(signals);
    if let Some(failure) = output.failure {
        return Err(Failure::Stdout(failure));
    }
    if args.vm.trace_level == TraceLevel::Stages {
        // On standard error: standard output is the program's.
        eprint!("{}", stages::render(&outcome.trace, &outcome.requests));
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

/// Where lines about system calls go.
fn calls(args: &ExecArgs) -> Result<Option<Box<dyn Write>>, Failure> {
    Ok(match &args.strace {
        None => None,
        Some(path) if path.as_os_str() == "-" => Some(Box::new(io::stderr())),
        Some(path) => {
            let file = File::create(path).map_err(|source| Failure::cannot_write(path, source))?;
            Some(Box::new(BufWriter::new(file)))
        }
    })
}

/// Passes the program's output through, write by write.
pub(super) struct Output {
    pub(super) stop: StopHandle,
    pub(super) failure: Option<io::Error>,
    /// Where lines about system calls go.
    pub(super) calls: Option<Box<dyn Write>>,
}

impl Observer for Output {
    fn call(&mut self, line: &str) {
        if let Some(calls) = &mut self.calls
            && let Err(error) = write!(calls, "{line}{}", terminal::line_end())
        {
            self.calls = None;
            self.failure = Some(error);
            self.stop.stop(SIGPIPE);
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let written = match stream {
            Stream::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Stream::Stderr => io::stderr().write_all(bytes),
            Stream::Terminal => rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdin(), bytes))
                .map(drop)
                .map_err(io::Error::from),
        };
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
