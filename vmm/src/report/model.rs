//! The report as a value: what `--json` writes and the table shows.
//!
//! The JSON is `faultlab.report/1`, or a `faultlab.collection/1` of several. Later versions of faultlab only add
//! fields; a reader ignores those it does not know. So a field that is added here has `#[serde(default)]`: older files
//! lack it. Units are in the names: `_bytes`, `_khz`, `_ms`; `cycles` are time-stamp counter cycles and `ns` nanoseconds
//! (in a simulated machine, see `cost_unit`).
//! `*_per_fault` are differences over the phase, less what the phase's marks move themselves, divided by `count`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::closure::Closure;
use super::quantiles::Quantiles;
use super::stages::Stages;
use crate::host_events::HostSide;

/// Name and version of the JSON's shape.
pub const SCHEMA: &str = "faultlab.report/1";

/// The same of several reports in one file.
pub const COLLECTION_SCHEMA: &str = "faultlab.collection/1";

/// What the time-stamp counter counts: the unit of everything in a report that is called cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The host's identity: CPU, kernel, KVM kind, second-level paging, whether ring 0 is emulated, rates.
    pub host: Map<String, Value>,
    /// What `cycles` are on this host.
    pub cost_unit: CostUnit,
    /// The guest's configuration.
    pub vm: Map<String, Value>,
    /// The run was cut short (a signal, a failure): only what was measured until then is here.
    pub partial: bool,
    /// Why the run was cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What the marks of a phase move themselves, already subtracted from every scenario; absent if not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks: Option<Counters>,
    /// One row per scenario, in the order measured.
    pub scenarios: Vec<Scenario>,
    /// Rows that were asked for and not measured.
    pub missing: Vec<String>,
    /// Rows that cannot be measured here, and why.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// Whether two ways to learn the cost of a second-level fault agree: the first of `closures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
    /// The same of every backing and pattern that has the four rows.
    #[serde(default)]
    pub closures: Vec<Closure>,
}

impl Report {
    /// Whether every row's checks hold and no row that was asked for is missing.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.missing.is_empty()
            && self.scenarios.iter().all(Scenario::adds_up)
            && !self.skipped.iter().any(|skipped| skipped.failed)
    }
}

/// Reports side by side: of several machines, or of one in several states. Each names its own host and unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Collection {
    /// [`COLLECTION_SCHEMA`].
    #[schemars(extend("const" = COLLECTION_SCHEMA))]
    pub schema: String,
    /// In the order measured.
    pub reports: Vec<Report>,
}

impl Collection {
    /// These reports as one file.
    #[must_use]
    pub fn of(reports: Vec<Report>) -> Self {
        let schema = COLLECTION_SCHEMA.to_owned();
        Self { schema, reports }
    }
}

/// One kind of fault in one known state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// One of [`faultlab_abi::scenario::ALL`].
    pub name: String,
    /// What backs guest memory on the host: `anon`, ...
    pub backing: String,
    /// Bytes of the guest's pages.
    pub page_bytes: u64,
    /// Order of the touches: `seq`, `rand`, `stride:N`, or `none` where nothing is touched.
    pub pattern: String,
    /// `store` or `load`: how the pages are touched; `none`: a call or an exit. The distinction matters below: a read-modify-write takes more
    /// than one second-level violation.
    pub access: String,
    /// vCPUs that touch.
    pub vcpus: u32,
    /// Faults (touches, exits) provoked.
    pub count: u64,
    /// Cost of one, in cycles.
    pub cycles: Quantiles<u64>,
    /// The range that holds the true median of `cycles` with 95 % confidence.
    pub p50_interval_cycles: [u64; 2],
    /// The distribution of `cycles`: `[percent, cycles]` pairs with rising percent, from 0 (the smallest sample) to 100
    /// (the largest), denser towards the largest; see [`super::distribution`]. Empty in reports of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "in_one_line")]
    #[schemars(with = "Vec<Percentile>")]
    pub percentiles_cycles: Vec<Percentile>,
    /// Medians of the two halves of the row, each measured in its own setting of the same state, in cycles. Absent when there was
    /// only one sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves_p50_cycles: Option<[u64; 2]>,
    /// By how much the row differs from itself: the difference of the halves' medians, in cycles, at least 1, the resolution of
    /// the counter. No smaller difference to another row means anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_floor_cycles: Option<u64>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_side: Option<HostSide>,
    /// Whether the counts add up; see [`super::checks`].
    pub checks: Vec<Check>,
    /// Where the time of these faults went in the guest kernel; only with tracing on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
}

/// One point of a distribution: this percentage of the samples, 0 to 100, took at most so many cycles. In JSON a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentile(pub f64, pub u64);

/// One line of the file instead of four a point.
fn in_one_line<S: Serializer>(points: &[Percentile], serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::value::to_raw_value(points).map_err(serde::ser::Error::custom)?;
    text.serialize(serializer)
}

impl Scenario {
    /// Whether all its checks hold.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// A row that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The scenario; `all` if it is the backing that cannot be had.
    pub name: String,
    /// As in [`Scenario`].
    pub backing: String,
    /// As in [`Scenario`]; `all` likewise.
    pub pattern: String,
    /// Why, in one line.
    pub reason: String,
    /// It could have been measured, but its state was not what it had to be.
    pub failed: bool,
}

/// Differences of counters over a phase, by name. Signed: less the marks, a counter may end below zero, and then a
/// check says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// The guest's own, named after `/proc/vmstat` ([`faultlab_abi::vmstat`]).
    pub guest: BTreeMap<String, i64>,
    /// The vCPU's KVM statistics, as this host's KVM names them. Source: Linux, Documentation/virt/kvm/api.rst, 4.133.
    pub kvm: BTreeMap<String, i64>,
    /// The vCPU thread's `minflt` and `majflt` (getrusage(2)), and the exits to the VMM by kind (`exit_*`).
    pub host: BTreeMap<String, i64>,
}

/// One rule applied to one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The rule's name.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found and what had to be.
    pub detail: String,
}
