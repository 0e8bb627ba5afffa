//! Where the time of the guest's faults goes: the trace as a table.
//!
//! Each stage of a fault is charged the cycles since the stage before it, and so is each of a piece of work outside faults (a swap-out by a system call).
//! What the guest waited for while the swap disk worked is split by what the device noted: the doorbell's exit, the host's queue, the device, its
//! completion, the way back. The device's clock is the host's; how exact the guest's is on it is said.
//!
//! Where every operation of a row is one fault, or one piece of work, the sum of the stages is set beside the row's own mean. They are two measurements of
//! the same: what they are apart by is in no stage, the processor's way into ring 0 and back and, of a system call, what lies around the work.
//!
//! The trace keeps the last faults only; how many are missing is said.

use std::collections::HashMap;
use std::fmt::Write;

use faultlab_abi::trace::{Record, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantiles::{Quantiles, round_milli};
use crate::timeline::requests::{self, Requests};
use crate::trace_ring::{Stamp, Trace, works};

/// Where the time of some faults went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stages {
    /// Faults, and events outside faults, that this is made of.
    pub records: u64,
    /// Older faults and events that the guest overwrote before they were read.
    pub lost: u64,
    /// Stages that were reached, in the order of a fault.
    pub stages: Vec<StageCost>,
    /// Mean cost of the row's operations as the program timed them, in cycles; absent unless each of them is one of these faults or pieces of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_mean_cycles: Option<f64>,
    /// How far the sum of the stages' means is from that, in percent of it: below 0 if the stages are less. Absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart_percent: Option<f64>,
    /// How far the border of guest and host in a disk request may be from the truth, in cycles: what one side is given too much, the other lacks.
    /// Absent where no request was split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_cycles: Option<u64>,
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
    /// Charges what was traced, disk requests that the guest waited for split. `None` if that is nothing.
    #[must_use]
    pub fn of(trace: &Trace, requests: &Requests) -> Option<Self> {
        let charged = Charged::of(trace, requests);
        let reached = ORDER.iter().filter_map(|name| {
            let cycles = charged.stages.get(name)?;
            cycles.iter().any(|&each| each > 0).then_some((*name, cycles))
        });
        let cost = |(stage, cycles): (&str, &Vec<u64>)| {
            let quantiles = Quantiles::of_cycles(cycles);
            StageCost {
                stage: stage.to_owned(),
                count: cycles.len() as u64,
                p50_cycles: quantiles.p50,
                p99_cycles: quantiles.p99,
                total_cycles: cycles.iter().fold(0, |sum, each| sum.saturating_add(*each)),
            }
        };
        let stages: Vec<StageCost> = reached.map(cost).collect();
        let clock = requests.clock.filter(|_| charged.is_split);
        (!stages.is_empty()).then_some(Self {
            records: charged.records,
            lost: trace.lost_faults.saturating_add(trace.lost_events),
            stages,
            clock_error_cycles: clock.map(|clock| clock.error_cycles + clock.drift_cycles),
            ..Self::default()
        })
    }

    /// With the row's own samples beside them, in cycles, if each is one of these faults or pieces of work.
    #[must_use]
    pub(super) fn beside(mut self, samples: &[u64]) -> Self {
        if self.lost == 0 && !samples.is_empty() && samples.len() as u64 == self.records {
            let mean = Quantiles::of_cycles(samples).mean;
            self.whole_mean_cycles = Some(mean);
            self.apart_percent = Some(round_milli((self.mean_sum_cycles() / mean.max(1.0) - 1.0) * 100.0));
        }
        self
    }

    /// Faults, or pieces of work, that this is made of: no stage is reached more often.
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
pub fn render(trace: &Trace, requests: &Requests) -> String {
    let Some(stages) = Stages::of(trace, requests) else {
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

/// Names of stages in the order of a fault.
const ORDER: [&str; 21] = [
    Stage::FindVma.name(),
    Stage::WalkPageTables.name(),
    Stage::FilemapGetEntry.name(),
    Stage::ReclaimStart.name(),
    Stage::AllocPages.name(),
    Stage::SwapReadStart.name(),
    Stage::SwapWriteStart.name(),
    Stage::SwapQueued.name(),
    requests::STAGES[0],
    requests::STAGES[1],
    requests::STAGES[2],
    requests::STAGES[3],
    requests::STAGES[4],
    Stage::SwapReadEnd.name(),
    Stage::SwapWriteEnd.name(),
    Stage::PageoutEnd.name(),
    Stage::ReclaimEnd.name(),
    Stage::AddToPageCache.name(),
    Stage::ClearPage.name(),
    Stage::SetPte.name(),
    Stage::FaultExit.name(),
];

/// What every stage was charged.
#[derive(Default)]
struct Charged {
    stages: HashMap<&'static str, Vec<u64>>,
    /// Faults and pieces of work.
    records: u64,
    /// Whether any request of the disk was split.
    is_split: bool,
}

impl Charged {
    fn of(trace: &Trace, requests: &Requests) -> Self {
        let mut charged = Self::default();
        for fault in &trace.faults {
            charged.add(fault.entry_tsc, &fault.stamps, requests);
        }
        for work in works(&trace.events) {
            if let Some(first) = work.first() {
                charged.add(first.tsc, &stamps(work, first.tsc), requests);
            }
        }
        charged
    }

    /// Adds every stage but the first of a fault, or of a piece of work, that began at `entry` on the guest's time-stamp counter.
    fn add(&mut self, entry: u64, stamps: &[Stamp], requests: &Requests) {
        self.records += 1;
        for pair in stamps.windows(2) {
            let (before, now) = (pair[0], pair[1]);
            let tsc = |stamp: Stamp| entry.wrapping_add(u64::from(stamp.cycles));
            let waits = matches!(now.stage, Stage::SwapReadEnd | Stage::SwapWriteEnd);
            let split = if waits && before.stage == Stage::SwapQueued {
                requests.stages(now.arg, tsc(before), tsc(now))
            } else {
                None
            };
            match split {
                Some(stages) => {
                    self.is_split = true;
                    stages.iter().for_each(|(name, cycles)| self.charge(name, *cycles));
                }
                None => self.charge(now.stage.name(), u64::from(now.cycles - before.cycles)),
            }
        }
    }

    fn charge(&mut self, name: &'static str, cycles: u64) {
        self.stages.entry(name).or_default().push(cycles);
    }
}

/// The events of a piece of work as stamps of a fault. (Work of more than 2^32 cycles, in which nothing else can happen, shows as that long.)
fn stamps(work: &[Record], entry: u64) -> Vec<Stamp> {
    let stamp = |event: &Record| {
        Some(Stamp {
            stage: Stage::from_number(event.stage_and_arg as u8)?,
            cycles: u32::try_from(event.tsc - entry).unwrap_or(u32::MAX),
            arg: event.arg(),
        })
    };
    work.iter().filter_map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::clock::GuestClock;
    use crate::timeline::log::BlockSpan;
    use crate::trace_ring::Fault;

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
        let charged = Charged::of(trace, &Requests::default());
        charged.stages.get(stage.name()).cloned().unwrap_or_default()
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
    fn outside_a_fault_work_is_charged_from_its_beginning_to_its_end() {
        let trace = Trace {
            events: vec![
                event(20, Stage::PageoutStart),
                event(30, Stage::SwapWriteStart),
                event(35, Stage::SwapQueued),
                event(50, Stage::SwapWriteEnd),
                event(70, Stage::PageoutEnd),
                event(90, Stage::SwapReadStart),
                event(80, Stage::SwapReadEnd),
                event(95, Stage::SwapReadEnd),
                Record {
                    tsc: 0,
                    stage_and_arg: 0xff,
                },
                event(100, Stage::ReclaimStart),
            ],
            ..Trace::default()
        };
        let of = |stage| cycles_of(&trace, stage);
        assert_eq!(of(Stage::SwapWriteStart), [10]);
        assert_eq!(of(Stage::SwapQueued), [5]);
        assert_eq!(of(Stage::SwapWriteEnd), [15]);
        assert_eq!(of(Stage::PageoutEnd), [20]);
        assert_eq!(of(Stage::SwapReadEnd), [0; 0], "time does not go backwards");
        assert_eq!(of(Stage::PageoutStart), [0; 0]);
    }

    /// A fault that reads slot 3, and what the device noted of that.
    fn swap_in() -> (Trace, Requests) {
        let mut fault = fault(&[
            (Stage::FaultEntry, 0),
            (Stage::AllocPages, 10),
            (Stage::SwapReadStart, 20),
            (Stage::SwapQueued, 25),
            (Stage::SwapReadEnd, 90),
            (Stage::FaultExit, 100),
        ]);
        fault.entry_tsc = 1000;
        fault.stamps[4].arg = 3;
        let trace = Trace {
            faults: vec![fault],
            ..Trace::default()
        };
        let span = BlockSpan {
            start: 5035,
            submitted: 5040,
            completed: 5070,
            end: 5075,
            sector: 24,
            ..BlockSpan::default()
        };
        let requests = Requests {
            spans: vec![span],
            clock: Some(GuestClock {
                offset_cycles: -4000,
                error_cycles: 2,
                drift_cycles: 0,
            }),
        };
        (trace, requests)
    }

    #[test]
    fn a_wait_for_the_disk_is_split_and_the_sum_stays() {
        let (trace, requests) = swap_in();
        let stages = Stages::of(&trace, &requests).unwrap();
        let shown: Vec<(&str, u64)> = stages
            .stages
            .iter()
            .map(|cost| (&*cost.stage, cost.total_cycles))
            .collect();
        assert_eq!(
            shown,
            [
                ("alloc_pages", 10),
                ("submit_bio (read)", 10),
                ("virtqueue_add", 5),
                ("doorbell exit", 10),
                ("host queue", 5),
                ("device", 30),
                ("completion", 5),
                ("return to guest", 15),
                ("exc_page_fault return", 10),
            ]
        );
        assert_eq!((stages.mean_sum_cycles(), stages.clock_error_cycles), (100.0, Some(2)));
        let unsplit = Stages::of(&trace, &Requests::default()).unwrap();
        assert_eq!((unsplit.mean_sum_cycles(), unsplit.clock_error_cycles), (100.0, None));
    }

    #[test]
    fn the_sum_is_set_beside_the_row_only_if_it_is_of_the_same() {
        let (trace, requests) = swap_in();
        let stages = || Stages::of(&trace, &requests).unwrap();
        let closed = stages().beside(&[125]);
        assert_eq!(
            (closed.whole_mean_cycles, closed.apart_percent),
            (Some(125.0), Some(-20.0))
        );
        assert_eq!(
            stages().beside(&[125, 125]).apart_percent,
            None,
            "of two operations one is traced"
        );
        let mut lossy = stages();
        lossy.lost = 1;
        assert_eq!(lossy.beside(&[125]).apart_percent, None);
    }

    #[test]
    fn every_stage_that_can_be_charged_has_a_place() {
        for stage in Stage::ALL {
            let begins = matches!(stage, Stage::FaultEntry | Stage::PageoutStart);
            assert_eq!(ORDER.contains(&stage.name()), !begins, "{stage:?}");
        }
    }

    #[test]
    fn the_table_says_what_is_missing() {
        let mut trace = Trace::default();
        assert!(render(&trace, &Requests::default()).contains("no fault"));
        trace
            .faults
            .push(fault(&[(Stage::FaultEntry, 0), (Stage::FindVma, 10)]));
        trace.lost_faults = 7;
        let text = render(&trace, &Requests::default());
        assert!(
            text.contains("find_vma") && text.contains("100.0%") && text.contains("7 older"),
            "{text}"
        );
    }
}
