//! `--versus-linux`: the same program file, once as a process of this machine's own Linux and once in the guest, side by side.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use faultlab::exit;
use faultlab::on_linux::{Process, Swap};
use faultlab::report::{Builder, Collection, Regime, Report, header, side_by_side};

use super::described;
use super::plan::Plan;
use super::ready::{Ready, write};
use crate::commands::signals::StopOnSignals;
use crate::commands::{Failure, claim, print};

/// Measures both, prints them side by side, writes them as one file; the exit status.
pub(super) fn measure(plan: &Plan<'_>, quiet: bool) -> Result<u8, Failure> {
    let ready = Ready::check(plan)?;
    let json_file = plan.json.map(|path| claim(path)).transpose()?;
    let (linux, signal) = on_linux(plan, &ready)?;
    let (reports, status) = match signal {
        Some(signal) => (vec![linux], Ok(exit::signal(signal))),
        None => {
            let (guest, ended) = ready.run(plan, quiet)?;
            let status = ended.status(&guest);
            let adds_up = linux.adds_up() && !linux.partial;
            let status = status.map(|status| {
                if status == exit::OK && !adds_up {
                    exit::CHECKS_FAILED
                } else {
                    status
                }
            });
            (vec![linux, guest], status)
        }
    };
    let collection = Collection::of(reports);
    let written = write(plan, json_file, &collection);
    print(&side_by_side::render(&collection.reports))?;
    written?;
    status
}

/// Measures on Linux itself: the report, and the signal that ended it early.
fn on_linux(plan: &Plan<'_>, ready: &Ready) -> Result<(Report, Option<i32>), Failure> {
    let identity = ready.host.identity();
    let mut builder = Builder::new(
        described::host(identity),
        identity.tsc_khz,
        Regime::Linux,
        plan.wanted_on_linux(),
    );
    builder.boot(header::LINUX);
    let command = plan.command(ready.budget_ms);
    let name = command.first().and_then(|name| name.to_str()).unwrap_or_default();
    let program = faultlab_images::program(name).ok_or_else(|| Failure::Usage(format!("no bundled program {name}")))?;
    // Where it cannot be had the program says so, and leaves its scenarios out.
    let _swap = match plan.needs_swap() {
        true => Swap::on(plan.vm.swap).unwrap_or_else(|error| {
            log::warn!("no swap for Linux: {error}");
            None
        }),
        false => None,
    };
    let process = Process::start(program, &command).map_err(Failure::OnLinux)?;
    let came = Arc::new(AtomicI32::new(0));
    let (ender, seen) = (process.ender(), Arc::clone(&came));
    let signals = StopOnSignals::listen_with(move |signal| {
        seen.store(signal, Ordering::SeqCst);
        ender.end();
    })
    .map_err(Failure::Signals)?;
    let ended = process.record(&mut builder).map_err(Failure::OnLinux)?;
    drop(signals);
    let signal = Some(came.load(Ordering::SeqCst)).filter(|signal| *signal != 0);
    let cut_short = match (signal, ended.code()) {
        (Some(signal), _) => Some(format!("ended by signal {signal}")),
        (None, Some(0)) => None,
        (None, Some(status)) => Some(format!("the program ended with status {status}")),
        (None, None) => Some(format!(
            "the program was killed by signal {}",
            ended.signal().unwrap_or(0)
        )),
    };
    Ok((builder.finish(header::on_linux(ready.budget_ms), cut_short), signal))
}
