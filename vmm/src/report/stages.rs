//! Where the time of the guest's faults goes: the trace as a table.
//!
//! Each stage of a fault is charged the cycles since the stage before it. Outside faults (a swap-out by a system call) only
//! the end of a piece of work is charged, since its beginning.
//!
//! The trace keeps the last faults only; how many are missing is said.

use std::fmt::Write;

use faultlab_abi::trace::{Record, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use crate::trace_ring::{Fault, Trace};

/// Where the time of some faults went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stages {
    /// Faults, and events outside faults, that this is made of.
    pub records: u64,
    /// Older faults and events that the guest overwrote before they were read.
    pub lost: u64,
    /// Stages that were reached, in the order of a fault.
    pub stages: Vec<StageCost>,
}

/// What one stage cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageCost {
    /// The stage, named after the Linux function that it corresponds to.
    pub stage: String,
    /// Times it was reached and charged.
    pub count: u64,
    /// Median of what it was charged each time, in cycles.
    pub p50_cycles: u64,
    /// 99th percentile of the same.
    pub p99_cycles: u64,
    /// Sum of the same.
    pub total_cycles: u64,
}

impl Stages {
    /// Charges what was traced. `None` if that is nothing.
    #[must_use]
    pub fn of(trace: &Trace) -> Option<Self> {
        let reached = charge(trace)
            .into_iter()
            .filter(|(_, cycles)| cycles.iter().any(|&each| each > 0));
        let cost = |(stage, cycles): (Stage, Vec<u64>)| {
            let quantiles = Quantiles::of_cycles(&cycles);
            StageCost {
                stage: stage.name().to_owned(),
                count: cycles.len() as u64,
                p50_cycles: quantiles.p50,
                p99_cycles: quantiles.p99,
                total_cycles: cycles.iter().fold(0, |sum, each| sum.saturating_add(*each)),
            }
        };
        let stages: Vec<StageCost> = reached.map(cost).collect();
        (!stages.is_empty()).then_some(Self {
            records: (trace.faults.len() + trace.events.len()) as u64,
            lost: trace.lost_faults.saturating_add(trace.lost_events),
            stages,
        })
    }

    /// Faults that this is made of: no stage is reached more often.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.stages.iter().map(|cost| cost.count).max().unwrap_or(0).max(1)
    }

    /// What `cost` is of the mean fault, in cycles.
    #[must_use]
    pub fn mean_cycles(&self, cost: &StageCost) -> f64 {
        cost.total_cycles as f64 / self.faults() as f64
    }

    /// The mean fault: the sum of its stages, in cycles.
    #[must_use]
    pub fn mean_sum_cycles(&self) -> f64 {
        self.stages.iter().map(|cost| self.mean_cycles(cost)).sum()
    }

    /// Each stage's share of the sum, 0 to 100 percent.
    pub fn shares_percent(&self) -> impl Iterator<Item = (&StageCost, f64)> {
        let total: f64 = self.stages.iter().map(|stage| stage.total_cycles as f64).sum();
        let share = move |stage: &StageCost| stage.total_cycles as f64 * 100.0 / total.max(1.0);
        self.stages.iter().map(move |stage| (stage, share(stage)))
    }
}

/// The table, one line a stage in the order of [`Stage::ALL`], or a line that says there is nothing.
#[must_use]
pub fn render(trace: &Trace) -> String {
    let Some(stages) = Stages::of(trace) else {
        return "stages: the trace holds no fault\n".to_owned();
    };
    let mut text = format!(
        "\n{:<26}{:>8}{:>12}{:>12}{:>8}\n",
        "stage reached", "count", "cycles p50", "p99", "share"
    );
    for (cost, share) in stages.shares_percent() {
        let _ = writeln!(
            text,
            "{:<26}{:>8}{:>12}{:>12}{share:>7.1}%",
            cost.stage, cost.count, cost.p50_cycles, cost.p99_cycles,
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
fn charge(trace: &Trace) -> Vec<(Stage, Vec<u64>)> {
    let mut stages: Vec<(Stage, Vec<u64>)> = Stage::ALL.iter().map(|&stage| (stage, Vec::new())).collect();
    let mut add = |stage: Stage, cycles: u64| {
        if let Some((_, charged)) = stages.iter_mut().find(|(each, _)| *each == stage) {
            charged.push(cycles);
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
            .find(|(each, _)| *each == stage)
            .map(|(_, cycles)| cycles)
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
