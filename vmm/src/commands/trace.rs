//! `faultlab trace`: one program in the guest, and what happened when as a file for a trace viewer.

use std::io::{self, Write};

use faultlab::timeline::chrome::ChromeTrace;
use faultlab::timeline::{Timeline, text};
use faultlab::trace_ring::{Fault, Trace};
use faultlab::{Host, TraceLevel, Vm, VmConfig};

use super::exec::Output;
use super::signals::StopOnSignals;
use super::{Failure, claim, report_end, vm_config};
use crate::cli::TraceArgs;

/// Runs the program and writes the file; the program's exit status.
pub(crate) fn trace(args: &TraceArgs) -> Result<u8, Failure> {
    vm_config::check_backing(&args.vm.backing, &[args.backing])?;
    let host = Host::open()?;
    let tsc_khz = host.identity().tsc_khz;
    let config = VmConfig {
        trace: TraceLevel::Timeline,
        trace_bytes: Some(args.ring),
        host_events: args.host_events,
        ..vm_config::of(&args.vm, args.backing, &args.command)?
    };
    let vm = Vm::new(config, &host)?;
    let stop = vm.stop_handle();
    // Claimed now: a path that cannot be written is known before anything runs. A FIFO is waited for while signals do what they do by default.
    let file = claim(&args.out)?;
    let signals = StopOnSignals::listen(stop.clone()).map_err(Failure::Signals)?;
    let mut output = Output {
        stop,
        failure: None,
        calls: None,
        calls_failure: None,
        terminal: None,
    };
    let outcome = vm.run(&mut output)?;
    let timeline = outcome.timeline.clone().unwrap_or_default();
    file.write(&ChromeTrace::new(&outcome.trace, &timeline, tsc_khz))
        .map_err(|source| Failure::cannot_write(&args.out, source))?;
    drop(signals);
    if let Some(failure) = output.failure {
        return Err(Failure::Stdout(failure));
    }
    // On standard error: standard output is the program's. If that is closed, the file still tells.
    let mut said = summary(&outcome.trace, &timeline, tsc_khz);
    if let (true, Some(fault)) = (args.show, longest(&outcome.trace)) {
        said += &text::render(fault, &timeline, tsc_khz);
    }
    let _ = io::stderr().write_all(said.as_bytes());
    report_end(&outcome);
    Ok(outcome.end.exit_status())
}

fn longest(trace: &Trace) -> Option<&Fault> {
    trace.faults.iter().max_by_key(|fault| fault.cycles())
}

/// What the file holds, what it lacks, and how exact it is.
fn summary(trace: &Trace, timeline: &Timeline, tsc_khz: u64) -> String {
    let host = match &timeline.host {
        None => "host events not asked for".to_owned(),
        Some(Ok(host)) => format!("{} host events ({} lost)", host.events.len(), host.lost),
        Some(Err(reason)) => format!("no host events: {reason}"),
    };
    let clock = timeline.clock;
    format!(
        "trace: {} faults ({} lost), {} exits ({} lost), {} disk requests ({} lost), {host}\n\
         trace: guest times are exact to {} ns on the host's axis{}\n",
        trace.faults.len(),
        trace.lost_faults,
        timeline.exits.spans.len(),
        timeline.exits.lost,
        timeline.block.spans.len(),
        timeline.block.lost,
        (clock.error_cycles + clock.drift_cycles) * 1_000_000 / tsc_khz.max(1),
        if clock.drift_cycles == 0 {
            ""
        } else {
            " (the two counters drifted apart)"
        },
    )
}
