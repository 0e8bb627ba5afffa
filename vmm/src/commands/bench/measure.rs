//! A guest a backing, all rows, one report. What was measured when a signal comes is saved, and marked partial.

use faultlab::host::SecondLevelPaging;
use faultlab::memory::Backing;
use faultlab::report::{Builder, Regime, Report, header, stage_table, table};
use faultlab::{End, Error, Host, HostIdentity, Outcome, StopHandle, Vm, VmConfig, exit};

use super::described;
use super::plan::Plan;
use super::ready::{Ready, write};
use super::recorder::Recorder;
use super::stopping::Stopping;
use crate::commands::progress::Progress;
use crate::commands::{Failure, claim, colours, print, report_end};

/// How the last guest ended, which is how the matrix ended.
pub(super) struct Ended {
    outcome: Option<Outcome>,
    failure: Option<Error>,
    signal: Option<i32>,
}

/// Measures, prints the table, writes the JSON; the exit status.
pub(super) fn measure(plan: &Plan<'_>, quiet: bool) -> Result<u8, Failure> {
    let ready = Ready::check(plan)?;
    // Claimed now: a path that cannot be written is known before anything is measured.
    let json_file = plan.json.map(|path| claim(path)).transpose()?;
    let (report, mut ended) = ready.run(plan, quiet)?;
    if report.scenarios.is_empty()
        && report.skipped.is_empty()
        && let Some(failure) = ended.failure.take()
    {
        // There is nothing to show but the reason.
        return Err(failure.into());
    }
    let written = write(plan, json_file, &report);
    // What was measured is shown even if it could not be saved.
    print(&table::render(&report, &header::lines(&report), colours()))?;
    print(&stage_table::render(&report))?;
    written?;
    ended.status(&report)
}

impl Ready {
    /// Measures in guests: the report, and how the last of them ended.
    pub(super) fn run(&self, plan: &Plan<'_>, quiet: bool) -> Result<(Report, Ended), Failure> {
        let identity = self.host.identity();
        let stopping = Stopping::listen().map_err(Failure::Signals)?;
        let wanted = plan.wanted();
        let progress = Progress::start(quiet);
        progress.plan(wanted.len() as u64);
        let mut recorder = Recorder {
            builder: Builder::new(described::host(identity), identity.tsc_khz, regime(identity), wanted),
            progress,
            backing: "",
        };
        for (backing, reason) in &plan.unavailable {
            recorder.builder.skip_backing(backing.name(), reason, false);
        }
        let ended = guests(plan, &self.config, &self.host, &stopping, &mut recorder);
        let Recorder { builder, progress, .. } = recorder;
        drop(progress);
        let vm = described::vm(plan, self.budget_ms, ended.outcome.as_ref());
        Ok((builder.finish(vm, ended.cut_short()), ended))
    }
}

/// Runs one guest after another until one does not end in order, or a signal comes.
fn guests(plan: &Plan<'_>, config: &VmConfig, host: &Host, stopping: &Stopping, recorder: &mut Recorder) -> Ended {
    let mut ended = Ended {
        outcome: None,
        failure: None,
        signal: None,
    };
    for backing in &plan.backings {
        let config = on(plan, config, *backing);
        // Before the guest is built, which may take long: memory may have to come from a disk.
        stopping.guest(config.stop.clone());
        let vm = match Vm::new(config, host) {
            Ok(vm) => vm,
            Err(failure) if plan.backings.len() == 1 => {
                ended.failure = Some(failure);
                break;
            }
            // What could be had for a page cannot for a whole guest. The others are worth having.
            Err(failure) => {
                let failed = !plan.backings_are_optional;
                let reason = failure.to_string();
                recorder.builder.skip_backing(backing.name(), &reason, failed);
                continue;
            }
        };
        recorder.backing = backing.name();
        recorder.builder.boot(backing.name());
        match vm.run(recorder) {
            Ok(outcome) => {
                let in_order = matches!(outcome.end, End::Exited(0));
                ended.outcome = Some(outcome);
                if !in_order {
                    break;
                }
            }
            Err(failure) => {
                ended.failure = Some(failure);
                break;
            }
        }
        if stopping.signal().is_some() {
            break;
        }
    }
    ended.signal = stopping.signal();
    ended
}

/// The guest on `backing`.
fn on(plan: &Plan<'_>, config: &VmConfig, backing: Backing) -> VmConfig {
    VmConfig {
        backing,
        window_bytes: plan.window_bytes(backing),
        host_events: plan.host_events,
        stop: StopHandle::default(),
        ..config.clone()
    }
}

/// How this host counts. An unknown host is not given the benefit of EPT's exact rule: it fails it, visibly.
fn regime(identity: &HostIdentity) -> Regime {
    match identity.second_level_paging {
        SecondLevelPaging::Shadow => Regime::Shadow,
        SecondLevelPaging::Ept | SecondLevelPaging::Npt | SecondLevelPaging::Unknown => Regime::TwoDimensional,
    }
}

impl Ended {
    /// Why the matrix ended early, if it did. A program that failed has said why on its standard error.
    fn cut_short(&self) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.to_string());
        }
        match self.outcome.as_ref().map(|outcome| &outcome.end) {
            None | Some(End::Exited(0)) => self.signal.map(|signal| format!("ended by signal {signal}")),
            Some(End::Exited(status)) => Some(format!("the program ended with wait status {status:#x}")),
            Some(End::Panicked(_)) => Some("the guest kernel panicked".to_owned()),
            Some(End::Crashed(_)) => Some("the guest crashed".to_owned()),
            Some(End::Watchdog(report)) => Some(report.cause.to_string()),
            Some(End::Stopped(signal)) => Some(format!("ended by signal {signal}")),
        }
    }

    /// The guest's end first: what was cut short has no verdict.
    pub(super) fn status(self, report: &Report) -> Result<u8, Failure> {
        if let Some(failure) = self.failure {
            return Err(failure.into());
        }
        if let Some(outcome) = &self.outcome {
            report_end(outcome);
        }
        Ok(match (self.outcome.map(|outcome| outcome.end), self.signal) {
            (None | Some(End::Exited(0)), Some(signal)) => End::Stopped(signal).exit_status(),
            (None | Some(End::Exited(0)), None) if report.adds_up() => exit::OK,
            (None | Some(End::Exited(0)), None) => exit::CHECKS_FAILED,
            (Some(End::Exited(_)), _) => exit::FAILURE,
            (Some(end), _) => end.exit_status(),
        })
    }
}
