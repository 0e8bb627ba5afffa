//! Where the time of the guest's faults goes: the trace ring as a table.
//!
//! A fault's records lie between [`Stage::FaultEntry`] and [`Stage::FaultExit`]; each stage is charged the cycles since the record
//! before it. Stages outside a fault (a swap-out by a system call, kswapd) are charged since the record before them only where that
//! belongs to the same piece of work: a start and its end.
//!
//! The ring keeps the last records only; how many are missing is said.

use std::fmt::Write;

use faultlab_abi::trace::{Record, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;

/// Where the time of some faults went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stages {
    /// Trace records that this is made of.
    pub records: u64,
    /// Older ones that the guest overwrote before they were read.
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
    /// Charges `records`, the oldest first; `lost` older ones are missing. `None` if they hold no fault.
    #[must_use]
    pub fn of(records: &[Record], lost: u64) -> Option<Self> {
        let reached = charge(records)
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
            records: records.len() as u64,
            lost,
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
pub fn render(records: &[Record], lost: u64) -> String {
    let Some(stages) = Stages::of(records, lost) else {
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
        "Each stage is charged the cycles since the one before it in the same fault. From the last {} records{}.",
        records.len(),
        if lost == 0 {
            String::new()
        } else {
            format!("; {lost} older ones were overwritten")
        },
    );
    text
}

/// Charges every record to its stage.
fn charge(records: &[Record]) -> Vec<(Stage, Vec<u64>)> {
    let mut stages: Vec<(Stage, Vec<u64>)> = Stage::ALL.iter().map(|&stage| (stage, Vec::new())).collect();
    let mut before: Option<(Stage, u64)> = None;
    let mut in_fault = false;
    for record in records {
        let Some(stage) = Stage::from_number(record.stage_and_arg as u8) else {
            // Not one of the kernel's: a hostile or overwritten record ends what is known about this fault.
            (before, in_fault) = (None, false);
            continue;
        };
        in_fault |= stage == Stage::FaultEntry;
        let pair = matches!(
            (before, stage),
            (Some((Stage::SwapIoStart, _)), Stage::SwapIoEnd) | (Some((Stage::ReclaimStart, _)), Stage::ReclaimEnd)
        );
        if let Some((_, since)) = before
            && stage != Stage::FaultEntry
            && (in_fault || pair)
            && let Some(cycles) = record.tsc.checked_sub(since)
            && let Some((_, charged)) = stages.iter_mut().find(|(each, _)| *each == stage)
        {
            charged.push(cycles);
        }
        in_fault &= stage != Stage::FaultExit;
        before = Some((stage, record.tsc));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tsc: u64, stage: Stage) -> Record {
        Record {
            tsc,
            stage_and_arg: stage as u64 | 0xabc00,
        }
    }

    fn cycles_of(records: &[Record], stage: Stage) -> Vec<u64> {
        charge(records)
            .into_iter()
            .find(|(each, _)| *each == stage)
            .map(|(_, cycles)| cycles)
            .unwrap_or_default()
    }

    #[test]
    fn a_stage_is_charged_since_the_one_before_in_its_fault() {
        let records = [
            record(100, Stage::FaultEntry),
            record(110, Stage::FindVma),
            record(150, Stage::FaultExit),
            record(900, Stage::FaultEntry),
            record(915, Stage::FindVma),
        ];
        assert_eq!(cycles_of(&records, Stage::FindVma), [10, 15]);
        assert_eq!(cycles_of(&records, Stage::FaultExit), [40]);
        assert_eq!(
            cycles_of(&records, Stage::FaultEntry),
            [] as [u64; 0],
            "time in the program is not the fault's"
        );
    }

    #[test]
    fn outside_a_fault_only_an_end_is_charged_since_its_start() {
        let records = [
            record(10, Stage::FaultExit),
            record(20, Stage::SwapIoStart),
            record(50, Stage::SwapIoEnd),
            record(70, Stage::SwapIoStart),
        ];
        assert_eq!(cycles_of(&records, Stage::SwapIoEnd), [30]);
        assert_eq!(cycles_of(&records, Stage::SwapIoStart), [] as [u64; 0]);
    }

    #[test]
    fn hostile_records_are_passed_over() {
        let records = [
            record(100, Stage::FaultEntry),
            Record {
                tsc: 0,
                stage_and_arg: 0xff,
            },
            record(120, Stage::FindVma),
            record(110, Stage::FaultExit),
        ];
        assert!(charge(&records).iter().all(|(_, cycles)| cycles.is_empty()));
        assert!(render(&records, 0).contains("no fault"));
    }

    #[test]
    fn the_table_says_what_is_missing() {
        let text = render(&[record(100, Stage::FaultEntry), record(110, Stage::FindVma)], 7);
        assert!(
            text.contains("find_vma") && text.contains("100.0%") && text.contains("7 older"),
            "{text}"
        );
    }
}
