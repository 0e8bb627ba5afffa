//! From phases to the report: subtract the marks, divide by the count, apply the rules.

use std::collections::BTreeMap;

use faultlab_abi::dev::SkipArgs;
use serde_json::{Map, Value};

use super::closure::Closure;
use super::distribution;
use super::halves::Half;
use super::measured::{Measured, Regime, padded};
use super::model::{CostUnit, Counters, Report, SCHEMA, Scenario, Skipped};
use super::quantiles::{Quantiles, median_interval, round_milli};
use super::stages::Stages;
use crate::host_events::HostSide;

/// Guest counters that every row shows, moved or not.
const GUEST_BASIC: [&str; 5] = ["pgfault", "pgmajfault", "pgalloc_normal", "pswpout", "pswpin"];

/// KVM statistics that every row shows where the host has them, moved or not. `pf_fixed` counts the mappings that
/// `pf_taken` led to; `insn_emulation` rises with every ring-0 instruction where ring 0 is emulated.
const KVM_BASIC: [&str; 4] = ["pf_taken", "pf_fixed", "exits", "insn_emulation"];

/// What a skipped backing has for a scenario and a pattern.
const ALL_OF_THEM: &str = "all";

/// The smallest difference that the time-stamp counter shows.
const RESOLUTION_CYCLES: u64 = 1;

/// Which row is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The scenario.
    pub name: String,
    /// What backs guest memory.
    pub backing: String,
    /// Order of the touches.
    pub pattern: String,
}

/// Collects phases as they end and makes the report of them, also when the run is cut short.
#[derive(Debug)]
pub struct Builder {
    host: Map<String, Value>,
    backing: String,
    tsc_khz: u64,
    regime: Regime,
    wanted: Vec<Wanted>,
    marks: Option<Counters>,
    /// The first half of a row whose second may come.
    open: Option<Half>,
    scenarios: Vec<Scenario>,
    skipped: Vec<Skipped>,
}

impl Builder {
    /// A report without rows. `tsc_khz` is the guest's time-stamp counter's rate, `wanted` the rows asked for.
    #[must_use]
    pub fn new(host: Map<String, Value>, tsc_khz: u64, regime: Regime, wanted: Vec<Wanted>) -> Self {
        Self {
            host,
            backing: String::new(),
            tsc_khz,
            regime,
            wanted,
            marks: None,
            open: None,
            scenarios: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// What follows comes from a new guest, whose memory is backed so; its marks are measured anew.
    pub fn boot(&mut self, backing: &str) {
        self.close();
        backing.clone_into(&mut self.backing);
        self.marks = None;
    }

    /// Adds a phase. The empty one calibrates those that follow it.
    pub fn add(&mut self, measured: &Measured) {
        if measured.is_empty_phase() {
            self.close();
            self.marks = Some(measured.moved.clone());
            return;
        }
        let half = Half::new(measured, self.marks.as_ref(), self.regime);
        match self.open.take() {
            Some(first) if first.is_continued_by(measured) => {
                let p50 = first.p50().zip(half.p50());
                self.push(&first.join(half), p50);
            }
            other => {
                self.open = other;
                self.close();
                self.open = Some(half);
            }
        }
    }

    /// A row that will not come, or is not to be trusted.
    pub fn skip(&mut self, args: &SkipArgs) {
        self.close();
        self.skipped.push(Skipped {
            name: padded(&args.scenario),
            backing: self.backing.clone(),
            pattern: padded(&args.pattern),
            reason: padded(&args.reason),
            failed: args.failed != 0,
        });
    }

    /// No row on this backing can be had, for this reason; `failed`: although it was asked for by name.
    pub fn skip_backing(&mut self, backing: &str, reason: &str, failed: bool) {
        self.skipped.push(Skipped {
            name: ALL_OF_THEM.to_owned(),
            backing: backing.to_owned(),
            pattern: ALL_OF_THEM.to_owned(),
            reason: reason.to_owned(),
            failed,
        });
    }

    /// The report of what was added. `vm` is the guest's configuration, `ended` says why the run was cut short, if it
    /// was.
    #[must_use]
    pub fn finish(mut self, vm: Map<String, Value>, ended: Option<String>) -> Report {
        self.close();
        let missing = self.wanted.iter().filter(|key| !self.is_accounted_for(key));
        let closures = Closure::all_of(&self.scenarios);
        Report {
            schema: SCHEMA.to_owned(),
            cost_unit: CostUnit::on(&self.host),
            vm,
            partial: ended.is_some(),
            ended,
            missing: missing.map(|key| self.describe(key)).collect(),
            closure: closures.first().cloned(),
            closures,
            host: self.host,
            marks: self.marks,
            scenarios: self.scenarios,
            skipped: self.skipped,
        }
    }

    /// Whether this row was measured, or it is known why not.
    fn is_accounted_for(&self, key: &Wanted) -> bool {
        let is = |name: &str, backing: &str, pattern: &str| {
            backing == key.backing
                && (name == ALL_OF_THEM || name == key.name)
                && (pattern == ALL_OF_THEM || pattern == key.pattern)
        };
        self.scenarios
            .iter()
            .any(|row| is(&row.name, &row.backing, &row.pattern))
            || self.skipped.iter().any(|row| is(&row.name, &row.backing, &row.pattern))
    }

    /// A missing row in as many words as are needed to know it among those that are wanted.
    fn describe(&self, key: &Wanted) -> String {
        let differs = |of: fn(&Wanted) -> &str| self.wanted.iter().any(|other| of(other) != of(key));
        let mut words = key.name.clone();
        if differs(|key| &key.backing) {
            words = format!("{words} on {}", key.backing);
        }
        let patterns = self.wanted.iter().filter(|other| other.name == key.name);
        if patterns.clone().any(|other| other.pattern != key.pattern) {
            words = format!("{words} {}", key.pattern);
        }
        words
    }

    /// The open half is all there is of its row.
    fn close(&mut self) {
        if let Some(half) = self.open.take() {
            self.push(&half, None);
        }
    }

    fn push(&mut self, row: &Half, halves: Option<(u64, u64)>) {
        let Half { measured, net, checks } = row;
        let args = &measured.args;
        let cycles = Quantiles::of_cycles(&measured.cycles);
        self.scenarios.push(Scenario {
            name: measured.scenario(),
            backing: self.backing.clone(),
            page_bytes: args.page_bytes,
            pattern: measured.pattern(),
            access: measured.access().to_owned(),
            vcpus: 1,
            count: args.count,
            cycles,
            percentiles_cycles: distribution::points(&measured.cycles),
            p50_interval_cycles: median_interval(&measured.cycles),
            halves_p50_cycles: halves.map(|(first, second)| [first, second]),
            noise_floor_cycles: halves.map(|(first, second)| first.abs_diff(second).max(RESOLUTION_CYCLES)),
            ns: cycles.to_ns(self.tsc_khz),
            kvm_per_fault: per_fault(&net.kvm, args.count, &KVM_BASIC),
            guest_per_fault: per_fault(&net.guest, args.count, &GUEST_BASIC),
            host_per_fault: per_fault(
                &net.host,
                args.count,
                &[super::host_fault::MINFLT, super::host_fault::MAJFLT],
            ),
            checks: checks.clone(),
            totals: net.clone(),
            host_side: measured.host_side.as_ref().map(|side| HostSide::of(side, self.tsc_khz)),
            stages: Stages::of(&measured.trace, &measured.requests).map(|stages| stages.beside(&measured.cycles)),
        });
    }
}

/// `totals` divided by `count`: those that moved, and the basic ones where they exist. `pgalloc_normal` loses its
/// zone's name, as in the scenario's expectations: the guest has one zone.
fn per_fault(totals: &BTreeMap<String, i64>, count: u64, basic: &[&str]) -> BTreeMap<String, f64> {
    let shown = totals
        .iter()
        .filter(|(name, moved)| **moved != 0 || basic.contains(&name.as_str()));
    let divided = |(name, moved): (&String, &i64)| {
        let name = name.strip_suffix("_normal").unwrap_or(name).to_owned();
        (name, round_milli(*moved as f64 / count.max(1) as f64))
    };
    shown.map(divided).collect()
}
