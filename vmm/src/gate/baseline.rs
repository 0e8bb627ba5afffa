//! What each scenario cost when it was recorded, and what that holds for.
//!
//! The file is JSON, one row a scenario, so that a diff of it reads as a list of what moved.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GateError;
use crate::rig::Machine;

/// Name and version of the file's shape.
pub const SCHEMA: &str = "faultlab.baseline/1";

/// A recorded run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: String,
    /// The simulated machine, as [`crate::rig::MACHINE_VARIABLE`] has it.
    pub machine: String,
    /// Pages touched in each scenario, 1 to 65,536.
    pub pages: u64,
    /// Versions on which the numbers depend besides faultlab's own code.
    pub holds_for: Conditions,
    /// In the order measured.
    pub instructions: Vec<Cost>,
}

/// Versions on which instruction counts depend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The compiler, as `rustc --version`: of guest kernel, programs and VMM. All rows depend on it.
    pub toolchain: String,
    /// Release of the Linux in the machine: the rows with second-level faults, exits or swap I/O depend on it.
    pub linux: String,
    /// The simulator, as it names itself: how it counts.
    pub simulator: String,
}

/// What one fault of a scenario costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The scenario.
    pub name: String,
    /// Median, in instructions.
    pub p50: u64,
    /// Arithmetic mean, in instructions.
    pub mean: f64,
}

impl Baseline {
    /// The machine that it was recorded on; `None` if it is not known here.
    #[must_use]
    pub fn machine(&self) -> Option<Machine> {
        let name = self.machine.strip_prefix("rig:")?.split(':').next();
        Machine::ALL.into_iter().find(|machine| Some(machine.name()) == name)
    }

    /// The costs in a report of `faultlab run --pages PAGES`, as its JSON has them.
    ///
    /// # Errors
    /// The report is not whole, or its costs are not instructions.
    pub fn of_report(report: &Value, pages: u64) -> Result<Self, GateError> {
        if report["cost_unit"] != "instructions" {
            return Err(GateError::Report("does not count instructions"));
        }
        if report["partial"] != false || report["missing"].as_array().is_none_or(|missing| !missing.is_empty()) {
            return Err(GateError::Report("is partial"));
        }
        let host = |field: &str| report["host"][field].as_str().unwrap_or("unknown").to_owned();
        let rows = report["scenarios"].as_array().into_iter().flatten();
        let costs: Option<Vec<Cost>> = rows.map(cost).collect();
        Ok(Self {
            schema: SCHEMA.to_owned(),
            machine: host("machine"),
            pages,
            holds_for: Conditions {
                toolchain: host("faultlab_toolchain"),
                linux: host("kernel_release"),
                simulator: host("simulator"),
            },
            instructions: costs.ok_or(GateError::Report("has a row without costs"))?,
        })
    }

    /// Whether `text` was a baseline to another version of faultlab.
    #[must_use]
    pub fn is_of_another_version(text: &str) -> bool {
        let name = SCHEMA.split('/').next().unwrap_or(SCHEMA);
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let schema = value["schema"].as_str().and_then(|schema| schema.split_once('/'));
        schema.is_some_and(|(kind, _)| kind == name) && value["schema"] != SCHEMA
    }

    /// Reads the contents of a file.
    ///
    /// # Errors
    /// It is no baseline, or one of another version.
    pub fn parse(text: &str) -> Result<Self, GateError> {
        let baseline: Self =
            serde_json::from_str(text).map_err(|error| GateError::Malformed(format!("no baseline: {error}")))?;
        if baseline.schema != SCHEMA {
            return Err(GateError::Malformed(format!(
                "schema {} where {SCHEMA} is read",
                baseline.schema
            )));
        }
        let pages = baseline.pages;
        if !(1..=65_536).contains(&pages) {
            return Err(GateError::Malformed(format!("{pages} pages, of 1 to 65536")));
        }
        Ok(baseline)
    }
}

fn cost(row: &Value) -> Option<Cost> {
    Some(Cost {
        name: row["name"].as_str()?.to_owned(),
        p50: row["cycles"]["p50"].as_u64()?,
        mean: row["cycles"]["mean"].as_f64()?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        json!({
            "cost_unit": "instructions",
            "partial": false,
            "missing": [],
            "host": {
                "machine": "rig:amd:icount",
                "simulator": "QEMU 7.2",
                "kernel_release": "6.1.0",
                "faultlab_toolchain": "rustc 1.95.0",
            },
            "scenarios": [
                {"name": "minor", "cycles": {"p50": 352, "mean": 353.5}},
                {"name": "alloc-cold", "cycles": {"p50": 10_000, "mean": 12_000.0}},
            ],
        })
    }

    /// A baseline with two scenarios, at 352 and 10,000 instructions.
    pub(in super::super) fn baseline() -> Baseline {
        Baseline::of_report(&report(), 512).unwrap()
    }

    #[test]
    fn a_report_becomes_a_baseline_and_survives_the_file() {
        let baseline = baseline();
        assert_eq!((baseline.pages, baseline.machine.as_str()), (512, "rig:amd:icount"));
        assert_eq!(baseline.holds_for.linux, "6.1.0");
        assert_eq!(
            (baseline.instructions[1].p50, baseline.instructions[0].mean),
            (10_000, 353.5)
        );
        let text = serde_json::to_string_pretty(&baseline).unwrap();
        assert_eq!(Baseline::parse(&text), Ok(baseline));
    }

    #[test]
    fn only_a_whole_report_in_instructions_will_do() {
        let refused = |field: &str, value: Value| {
            let mut report = report();
            report[field] = value;
            Baseline::of_report(&report, 512).unwrap_err().to_string()
        };
        assert!(refused("cost_unit", json!("cycles")).ends_with("does not count instructions"));
        assert!(refused("partial", json!(true)).ends_with("is partial"));
        assert!(refused("missing", json!(["minor"])).ends_with("is partial"));
        assert!(refused("scenarios", json!([{"name": "minor"}])).ends_with("without costs"));
        assert!(Baseline::of_report(&json!([]), 512).is_err());
    }

    #[test]
    fn other_files_are_refused_with_the_remedy() {
        let changed = |from: &str, to: &str| {
            let text = serde_json::to_string(&baseline()).unwrap().replace(from, to);
            Baseline::parse(&text).unwrap_err().to_string()
        };
        assert!(changed("baseline/1", "baseline/2").starts_with("schema faultlab.baseline/2"));
        assert!(changed("\"pages\":512", "\"pages\":0").starts_with("0 pages"));
        assert!(changed("\"pages\"", "\"leaves\"").contains("leaves"));
        assert!(
            Baseline::parse("")
                .unwrap_err()
                .to_string()
                .ends_with("record one with --record")
        );
    }
}
