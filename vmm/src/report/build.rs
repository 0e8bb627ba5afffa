//! From phases to the report: subtract the marks, divide by the count, apply the rules.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::checks::{Row, judge};
use super::measured::{Measured, Regime};
use super::model::{Closure, CostUnit, Counters, Report, SCHEMA, Scenario};
use super::quantiles::{Quantiles, median_interval, round_milli};

/// Guest counters that every row shows, moved or not.
const GUEST_BASIC: [&str; 5] = ["pgfault", "pgmajfault", "pgalloc_normal", "pswpout", "pswpin"];

/// KVM statistics that every row shows where the host has them, moved or not. `pf_fixed` counts the mappings that
/// `pf_taken` led to; `insn_emulation` rises with every ring-0 instruction where ring 0 is emulated.
const KVM_BASIC: [&str; 4] = ["pf_taken", "pf_fixed", "exits", "insn_emulation"];

/// Collects phases as they end and makes the report of them, also when the run is cut short.
#[derive(Debug)]
pub struct Builder {
    host: Map<String, Value>,
    backing: String,
    tsc_khz: u64,
    regime: Regime,
    wanted: Vec<String>,
    marks: Option<Counters>,
    scenarios: Vec<Scenario>,
}

impl Builder {
    /// A report without rows. `backing` names what guest memory is made of, `tsc_khz` is the guest's time-stamp
    /// counter's rate, `wanted` the scenarios asked for.
    #[must_use]
    pub fn new(host: Map<String, Value>, backing: &str, tsc_khz: u64, regime: Regime, wanted: Vec<String>) -> Self {
        let (marks, scenarios) = (None, Vec::new());
        Self {
            host,
            backing: backing.to_owned(),
            tsc_khz,
            regime,
            wanted,
            marks,
            scenarios,
        }
    }

    /// Adds a phase. The empty one calibrates those that follow it.
    pub fn add(&mut self, measured: &Measured) {
        if measured.is_empty_phase() {
            self.marks = Some(measured.moved.clone());
        } else {
            let row = self.row(measured);
            self.scenarios.push(row);
        }
    }

    /// The report of what was added. `vm` is the guest's configuration, `ended` says why the run was cut short, if it
    /// was.
    #[must_use]
    pub fn finish(self, vm: Map<String, Value>, ended: Option<String>) -> Report {
        let measured = |name: &String| self.scenarios.iter().any(|row| row.name == *name);
        let missing = self.wanted.iter().filter(|name| !measured(name)).cloned().collect();
        Report {
            schema: SCHEMA,
            cost_unit: CostUnit::on(&self.host),
            host: self.host,
            vm,
            partial: ended.is_some(),
            ended,
            marks: self.marks,
            closure: Closure::of(&self.scenarios),
            scenarios: self.scenarios,
            missing,
        }
    }

    fn row(&self, measured: &Measured) -> Scenario {
        let args = &measured.args;
        let net = self
            .marks
            .as_ref()
            .map_or_else(|| measured.moved.clone(), |marks| measured.moved.less(marks));
        let cycles = Quantiles::of_cycles(&measured.cycles);
        Scenario {
            name: measured.scenario(),
            backing: self.backing.clone(),
            page_bytes: args.page_bytes,
            pattern: measured.pattern(),
            access: if args.stores == 1 { "store" } else { "load" },
            vcpus: 1,
            count: args.count,
            cycles,
            p50_interval_cycles: median_interval(&measured.cycles),
            ns: cycles.to_ns(self.tsc_khz),
            kvm_per_fault: per_fault(&net.kvm, args.count, &KVM_BASIC),
            guest_per_fault: per_fault(&net.guest, args.count, &GUEST_BASIC),
            host_per_fault: per_fault(
                &net.host,
                args.count,
                &[super::host_fault::MINFLT, super::host_fault::MAJFLT],
            ),
            checks: judge(&Row {
                measured,
                net: &net,
                regime: self.regime,
            }),
            host_side: measured.host_side.clone(),
            totals: net,
        }
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
