//! The report as a value: what `--json` writes and the table shows.
//!
//! The JSON is `faultlab.report/1`. Later versions of faultlab only add fields; a reader ignores those it does not
//! know. Units are in the names: `_bytes`, `_khz`, `_ms`; `cycles` are time-stamp counter cycles and `ns` nanoseconds
//! (in a simulated machine, see `cost_unit`).
//! `*_per_fault` are differences over the phase, less what the phase's marks move themselves, divided by `count`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::quantiles::Quantiles;
use crate::host_events::HostSide;

/// Name and version of the JSON's shape.
pub const SCHEMA: &str = "faultlab.report/1";

/// What the time-stamp counter counts: the unit of everything in a report that is called cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CostUnit {
    /// Time, at the counter's rate.
    #[default]
    Cycles,
    /// Instructions, of the guest and of the Linux below it: a simulated machine that counts
    /// ([`crate::rig::counts_instructions`]). `ns` are the simulated nanoseconds, one an instruction.
    Instructions,
}

impl CostUnit {
    /// As the text of reports names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CostUnit::Cycles => "cycles",
            CostUnit::Instructions => "instructions",
        }
    }

    /// The unit on the machine of which this is the report's `host` object.
    pub(super) fn on(host: &Map<String, Value>) -> CostUnit {
        let machine = host.get("machine").and_then(Value::as_str);
        if machine.is_some_and(crate::rig::counts_instructions) {
            CostUnit::Instructions
        } else {
            CostUnit::Cycles
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The host's identity: CPU, kernel, KVM kind, second-level paging, whether ring 0 is emulated, rates.
    pub host: Map<String, Value>,
    /// What `cycles` are on this host.
    pub cost_unit: CostUnit,
    /// The guest's configuration.
    pub vm: Map<String, Value>,
    /// The run was cut short (a signal, a failure): only what was measured until then is here.
    pub partial: bool,
    /// Why the run was cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What the marks of a phase move themselves, already subtracted from every scenario; absent if not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marks: Option<Counters>,
    /// One row per scenario, in the order measured.
    pub scenarios: Vec<Scenario>,
    /// Scenarios that were asked for and not measured.
    pub missing: Vec<String>,
    /// Whether two ways to learn the cost of a second-level fault agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
}

impl Report {
    /// Whether every row's checks hold and no row that was asked for is missing.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.missing.is_empty() && self.scenarios.iter().all(Scenario::adds_up)
    }
}

/// One kind of fault in one known state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// One of [`super::SCENARIOS`].
    pub name: String,
    /// What backs guest memory on the host: `anon`.
    pub backing: String,
    /// Bytes of the guest's pages.
    pub page_bytes: u64,
    /// Order of the touches: `seq`.
    pub pattern: String,
    /// `store` or `load`: how the pages are touched. The distinction matters below: a read-modify-write takes more
    /// than one second-level violation.
    pub access: &'static str,
    /// vCPUs that touch.
    pub vcpus: u32,
    /// Faults (touches, exits) provoked.
    pub count: u64,
    /// Cost of one, in cycles.
    pub cycles: Quantiles<u64>,
    /// The range that holds the true median of `cycles` with 95 % confidence.
    pub p50_interval_cycles: [u64; 2],
    /// Cost of one, in nanoseconds.
    pub ns: Quantiles<f64>,
    /// KVM's own statistics of the vCPU, moved per fault.
    pub kvm_per_fault: BTreeMap<String, f64>,
    /// The guest kernel's counters, moved per fault; all that grow and moved, the basic ones always.
    pub guest_per_fault: BTreeMap<String, f64>,
    /// The host's fault counters of the vCPU's thread (`minflt`, `majflt`) and exits to the VMM by kind, per fault.
    pub host_per_fault: BTreeMap<String, f64>,
    /// The same counters as whole numbers over the phase, less the marks.
    pub totals: Counters,
    /// The host kernel's side, from its own events; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_side: Option<HostSide>,
    /// Whether the counts add up; see [`super::checks`].
    pub checks: Vec<Check>,
}

impl Scenario {
    /// Whether all its checks hold.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// Differences of counters over a phase, by name. Signed: less the marks, a counter may end below zero, and then a
/// check says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// The guest's own, named after `/proc/vmstat` ([`faultlab_abi::vmstat`]).
    pub guest: BTreeMap<String, i64>,
    /// The vCPU's KVM statistics, as this host's KVM names them. Source: Linux, Documentation/virt/kvm/api.rst, 4.133.
    pub kvm: BTreeMap<String, i64>,
    /// The vCPU thread's `minflt` and `majflt` (getrusage(2)), and the exits to the VMM by kind (`exit_*`).
    pub host: BTreeMap<String, i64>,
}

/// One rule applied to one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule's name.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found and what had to be.
    pub detail: String,
}

/// Two ways to learn what a second-level fault costs: (alloc-cold − alloc-warm) and (second-level-only − warm-touch),
/// both of medians. Informational: it judges the instrument, not a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Closure {
    /// alloc-cold − alloc-warm, p50, cycles.
    pub alloc_difference_cycles: i64,
    /// second-level-only − warm-touch, p50, cycles.
    pub second_level_difference_cycles: i64,
    /// How far the first is from the second, in percent of the second.
    pub error_percent: f64,
    /// How far the two may lie apart by chance: the four medians' 95 % intervals combined, in cycles.
    pub noise_cycles: u64,
}

impl Closure {
    /// The closure of `scenarios`, when they hold all four rows and the second-level fault costs something.
    #[must_use]
    pub fn of(scenarios: &[Scenario]) -> Option<Self> {
        let row = |name: &str| scenarios.iter().find(|row| row.name == name && row.count > 0);
        let rows = [
            row("alloc-cold")?,
            row("alloc-warm")?,
            row("second-level-only")?,
            row("warm-touch")?,
        ];
        let difference = |from: &Scenario, what: &Scenario| from.cycles.p50.wrapping_sub(what.cycles.p50) as i64;
        let (alloc, second_level) = (difference(rows[0], rows[1]), difference(rows[2], rows[3]));
        if second_level == 0 {
            return None;
        }
        let error_percent = (alloc as f64 - second_level as f64) / second_level as f64 * 100.0;
        // Independent errors add in squares.
        let half_width = |row: &Scenario| (row.p50_interval_cycles[1] - row.p50_interval_cycles[0]) as f64 / 2.0;
        let noise = rows.map(half_width).iter().map(|each| each * each).sum::<f64>().sqrt();
        Some(Self {
            alloc_difference_cycles: alloc,
            second_level_difference_cycles: second_level,
            error_percent: super::quantiles::round_milli(error_percent),
            noise_cycles: noise.round() as u64,
        })
    }

    /// Whether the difference is no larger than chance explains.
    #[must_use]
    pub fn within_noise(&self) -> bool {
        self.alloc_difference_cycles
            .abs_diff(self.second_level_difference_cycles)
            <= self.noise_cycles
    }
}
