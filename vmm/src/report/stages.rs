//! Where the time of the guest's faults goes: the trace as a table.
//!
//! Each stage of a fault is charged the cycles since the stage before it. Outside faults (a swap-out by a system call) only
//! the end of a piece of work is charged, since its beginning.
//!
//! The trace keeps the last faults only; how many are missing is said.

use std::fmt::Write;

use faultlab_abi::trace::{Record, Stage};

use super::quantiles::Quantiles;
use crate::trace_ring::{Fault, Trace};

/// What one stage cost, each time it was reached.
struct StageCycles {
    stage: Stage,
    cycles: Vec<u64>,
}

/// The table, one line a stage in the order of [`Stage::ALL`], or a line that says there is nothing.
#[must_use]
pub fn render(trace: &Trace) -> String {
    let stages = charge(trace);
    let total: u64 = stages.iter().flat_map(|stage| &stage.cycles).sum();
    if total == 0 {
        return "stages: the trace holds no fault\n".to_owned();
    }
    let mut text = format!(
        "\n{:<26}{:>8}{:>12}{:>12}{:>8}\n",
        "stage reached", "count", "cycles p50", "p99", "share"
    );
    for StageCycles { stage, cycles } in stages.iter().filter(|stage| !stage.cycles.is_empty()) {
        let quantiles = Quantiles::of_cycles(cycles);
        let share = cycles.iter().sum::<u64>() as f64 * 100.0 / total as f64;
        let _ = writeln!(
            text,
            "{:<26}{:>8}{:>12}{:>12}{share:>7.1}%",
            stage.name(),
            cycles.len(),
            quantiles.p50,
            quantiles.p99,
        );
    }
    let _ = writeln!(
        text,
        "Each stage is charged the cycles since the one before it in the same fault. From the last {} faults{}.",
        trace.faults.len(),
        match (trace.lost_faults, trace.lost_events) {
            (0, 0) => String::new(),
            (faults, events) => format!("; {faults} older ones and {events} events were overwritten"),
        },
    );
    text
}

/// Charges every stage.
fn charge(trace: &Trace) -> Vec<StageCycles> {
    let mut stages: Vec<StageCycles> = Stage::ALL
        .iter()
        .map(|&stage| StageCycles {
            stage,
            cycles: Vec::new(),
        })
        .collect();
    let mut add = |stage: Stage, cycles: u64| {
        if let Some(slot) = stages.iter_mut().find(|slot| slot.stage == stage) {
            slot.cycles.push(cycles);
        }
    };
    for fault in &trace.faults {
        for (stage, cycles) in steps(fault) {
            add(stage, cycles);
        }
    }
    for pair in trace.events.windows(2) {
        if let Some((stage, cycles)) = work(&pair[0], &pair[1]) {
            add(stage, cycles);
        }
    }
    stages
}

/// Every stage of a fault but its entry, with the cycles since the one before.
fn steps(fault: &Fault) -> impl Iterator<Item = (Stage, u64)> {
    fault
        .stamps
        .windows(2)
        .map(|pair| (pair[1].stage, u64::from(pair[1].cycles - pair[0].cycles)))
}

/// What two successive events say of one piece of work, if they are its beginning and end.
pub(crate) fn work(start: &Record, end: &Record) -> Option<(Stage, u64)> {
    let stage = |record: &Record| Stage::from_number(record.stage_and_arg as u8);
    match (stage(start)?, stage(end)?) {
        (Stage::SwapReadStart, end_stage @ Stage::SwapReadEnd)
        | (Stage::SwapWriteStart, end_stage @ Stage::SwapWriteEnd)
        | (Stage::ReclaimStart, end_stage @ Stage::ReclaimEnd) => Some((end_stage, end.tsc.checked_sub(start.tsc)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_ring::Stamp;

    fn fault(stamps: &[(Stage, u32)]) -> Fault {
        let stamp = |&(stage, cycles): &(Stage, u32)| Stamp { stage, cycles, arg: 0 };
        Fault {
            stamps: stamps.iter().map(stamp).collect(),
            ..Fault::default()
        }
    }

    fn event(tsc: u64, stage: Stage) -> Record {
        Record {
            tsc,
            stage_and_arg: stage as u64 | 0xabc00,
        }
    }

    fn cycles_of(trace: &Trace, stage: Stage) -> Vec<u64> {
        charge(trace)
            .into_iter()
            .find(|slot| slot.stage == stage)
            .map(|slot| slot.cycles)
            .unwrap_or_default()
    }

    #[test]
    fn a_stage_is_charged_since_the_one_before_in_its_fault() {
        let trace = Trace {
            faults: vec![
                fault(&[(Stage::FaultEntry, 0), (Stage::FindVma, 10), (Stage::FaultExit, 50)]),
                fault(&[(Stage::FaultEntry, 0), (Stage::FindVma, 15)]),
            ],
            ..Trace::default()
        };
        assert_eq!(cycles_of(&trace, Stage::FindVma), [10, 15]);
        assert_eq!(cycles_of(&trace, Stage::FaultExit), [40]);
        assert_eq!(
            cycles_of(&trace, Stage::FaultEntry),
            [] as [u64; 0],
            "time in the program is not the fault's"
        );
    }

    #[test]
    fn outside_a_fault_only_an_end_is_charged_since_its_start() {
        let trace = Trace {
            events: vec![
                event(20, Stage::SwapReadStart),
                event(50, Stage::SwapReadEnd),
                event(70, Stage::SwapReadStart),
                event(60, Stage::SwapReadEnd),
                Record {
                    tsc: 0,
                    stage_and_arg: 0xff,
                },
            ],
            ..Trace::default()
        };
        assert_eq!(
            cycles_of(&trace, Stage::SwapReadEnd),
            [30],
            "time does not go backwards"
        );
        assert_eq!(cycles_of(&trace, Stage::SwapReadStart), [] as [u64; 0]);
    }

    #[test]
    fn the_table_says_what_is_missing() {
        let mut trace = Trace::default();
        assert!(render(&trace).contains("no fault"));
        trace
            .faults
            .push(fault(&[(Stage::FaultEntry, 0), (Stage::FindVma, 10)]));
        trace.lost_faults = 7;
        let text = render(&trace);
        assert!(
            text.contains("find_vma") && text.contains("100.0%") && text.contains("7 older"),
            "{text}"
        );
    }
}
