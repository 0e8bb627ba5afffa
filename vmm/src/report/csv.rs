//! The report as CSV: a line of column names, then one line a row of every report in the file.
//!
//! The columns of the host's side (`host_side_*`) are empty unless it was asked for (`--host-events`); where the host does not tell,
//! `host_side_unavailable` says why. Units are in the names. `cycles` are what `cost_unit` says. A counter that a row lacks is an empty field. Text that a
//! spreadsheet would take for a formula has an apostrophe before it. The columns of stages (`stage_*`, `stages_*`) are empty without tracing.
//!
//! Source: RFC 4180.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Report, Scenario};
use super::quantiles::round_milli;
use super::stage_table::stage_names;
use super::stages::Stages;
use super::{header, host_side};

/// Columns that every row has, before the counters.
const COLUMNS: [&str; 33] = [
    "report",
    "cpu_model",
    "kernel_release",
    "kvm_kind",
    "second_level_paging",
    "ring0",
    "machine",
    "cost_unit",
    "scenario",
    "backing",
    "page_bytes",
    "pattern",
    "access",
    "vcpus",
    "count",
    "checks_ok",
    "min_cycles",
    "p50_cycles",
    "p50_low_cycles",
    "p50_high_cycles",
    "noise_floor_cycles",
    "p90_cycles",
    "p99_cycles",
    "p999_cycles",
    "max_cycles",
    "mean_cycles",
    "min_ns",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p999_ns",
    "max_ns",
    "mean_ns",
];

/// Every row of `reports`, numbered from 1 in the first column.
///
/// # Errors
/// Never: memory can be written to. The signature is that of the writer.
pub fn render(reports: &[Report]) -> csv::Result<String> {
    let counters = counter_columns(reports);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = COLUMNS.iter().chain(&host_side::COLUMNS).map(|name| (*name).to_owned());
    let counter_names = counters
        .iter()
        .map(|(group, name)| plain(&format!("{group}_{name}_per_fault")));
    let stages = stage_columns(reports);
    let stage_columns = stages.iter().map(|name| plain(&stage_column(name)));
    writer.write_record(
        names
            .chain(counter_names)
            .chain(STAGE_COLUMNS.map(str::to_owned))
            .chain(stage_columns),
    )?;
    for (number, report) in reports.iter().enumerate() {
        for row in &report.scenarios {
            let counted = counters.iter().map(|(group, name)| {
                let moved = counters_of(row).into_iter().find(|(each, _)| each == group);
                let moved = moved.and_then(|(_, counters)| counters.get(name));
                moved.map_or_else(String::new, ToString::to_string)
            });
            let host_side = host_side::fields(row).map(|field| plain(&field));
            let fields = fields(number + 1, report, row).into_iter().chain(host_side);
            writer.write_record(fields.chain(counted).chain(stage_fields(row, &stages)))?;
        }
    }
    let bytes = writer.into_inner().map_err(|failure| failure.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn counters_of(row: &Scenario) -> [(&'static str, &BTreeMap<String, f64>); 3] {
    [
        ("guest", &row.guest_per_fault),
        ("kvm", &row.kvm_per_fault),
        ("host", &row.host_per_fault),
    ]
}

/// Columns that say how a row's stages close; empty without tracing.
const STAGE_COLUMNS: [&str; 3] = [
    "stages_sum_mean_cycles",
    "stages_apart_percent",
    "stages_clock_error_cycles",
];

/// Every stage that any row has, in the order of a fault.
fn stage_columns(reports: &[Report]) -> Vec<&str> {
    let rows = reports.iter().flat_map(|report| &report.scenarios);
    stage_names(rows.filter_map(|row| row.stages.as_ref()))
}

/// `swap_read` as `stage_swap_read_mean_cycles`.
fn stage_column(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("stage_{}_mean_cycles", words.join("_"))
}

fn stage_fields<'a>(row: &'a Scenario, names: &'a [&str]) -> impl Iterator<Item = String> {
    let stages = row.stages.as_ref();
    let shown = |value: Option<f64>| value.map_or_else(String::new, |value| round_milli(value).to_string());
    let error = stages.and_then(|stages| stages.clock_error_cycles);
    let closing = [
        shown(stages.map(Stages::mean_sum_cycles)),
        shown(stages.and_then(|stages| stages.apart_percent)),
        error.map_or_else(String::new, |error| error.to_string()),
    ];
    let mean = move |name: &&str| {
        let cost = stages?.stages.iter().find(|cost| cost.stage == *name)?;
        Some(stages?.mean_cycles(cost))
    };
    closing
        .into_iter()
        .chain(names.iter().map(move |name| shown(mean(name))))
}

/// Every counter that any row has, by group and name.
fn counter_columns(reports: &[Report]) -> Vec<(&'static str, String)> {
    let rows = reports.iter().flat_map(|report| &report.scenarios);
    let names = rows.flat_map(counters_of).flat_map(|(group, counters)| {
        let names = counters.keys().cloned();
        names.map(move |name| (group, name))
    });
    let all: BTreeSet<_> = names.collect();
    all.into_iter().collect()
}

fn fields(number: usize, report: &Report, row: &Scenario) -> [String; COLUMNS.len()] {
    let host = header::identity(report);
    let (cycles, ns, [low, high]) = (&row.cycles, &row.ns, row.p50_interval_cycles);
    [
        number.to_string(),
        plain(&host.cpu_model),
        plain(&host.kernel_release),
        host.kvm_kind.name().to_owned(),
        host.second_level_paging.name().to_owned(),
        host.ring0.name().to_owned(),
        plain(host.machine.as_deref().unwrap_or_default()),
        report.cost_unit.name().to_owned(),
        plain(&row.name),
        plain(&row.backing),
        row.page_bytes.to_string(),
        plain(&row.pattern),
        plain(&row.access),
        row.vcpus.to_string(),
        row.count.to_string(),
        row.adds_up().to_string(),
        cycles.min.to_string(),
        cycles.p50.to_string(),
        low.to_string(),
        high.to_string(),
        row.noise_floor_cycles
            .map_or_else(String::new, |noise| noise.to_string()),
        cycles.p90.to_string(),
        cycles.p99.to_string(),
        cycles.p999.to_string(),
        cycles.max.to_string(),
        cycles.mean.to_string(),
        ns.min.to_string(),
        ns.p50.to_string(),
        ns.p90.to_string(),
        ns.p99.to_string(),
        ns.p999.to_string(),
        ns.max.to_string(),
        ns.mean.to_string(),
    ]
}

/// `text`, so that no spreadsheet computes it.
fn plain(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    format!("{apostrophe}{text}")
}

#[cfg(test)]
mod tests {
    use super::super::measured::Regime;
    use super::super::testing::report;
    use super::*;
    use crate::host_events::{HostSide, HostSideTimes};
    use crate::report::stages::StageCost;

    /// The cells of `reports`, read back: names, then rows.
    fn cells(reports: &[Report]) -> Vec<Vec<String>> {
        let text = render(reports).unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let owned = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
        reader.records().map(|record| owned(record.unwrap())).collect()
    }

    fn cell<'a>(cells: &'a [Vec<String>], row: usize, column: &str) -> &'a str {
        let at = cells[0].iter().position(|name| name == column).expect(column);
        &cells[row][at]
    }

    #[test]
    fn one_line_a_row_of_every_report() {
        let (first, mut second) = (report(Regime::TwoDimensional), report(Regime::Shadow));
        second.scenarios[1].kvm_per_fault.insert("only_here".to_owned(), 0.5);
        let cells = cells(&[first.clone(), second]);
        assert_eq!(cells.len(), 1 + 9 + 9);
        assert_eq!(cell(&cells, 4, "scenario"), "alloc-cold");
        assert_eq!(cell(&cells, 4, "p50_cycles"), first.scenarios[3].cycles.p50.to_string());
        assert_eq!(cell(&cells, 4, "p99_ns"), first.scenarios[3].ns.p99.to_string());
        assert_eq!(cell(&cells, 4, "guest_pgfault_per_fault"), "1");
        assert_eq!(cell(&cells, 4, "kvm_only_here_per_fault"), "");
        assert_eq!(cell(&cells, 11, "kvm_only_here_per_fault"), "0.5");
        assert_eq!((cell(&cells, 9, "report"), cell(&cells, 10, "report")), ("1", "2"));
        assert_eq!(cell(&cells, 4, "checks_ok"), "true");
    }

    #[test]
    fn the_hosts_side_or_why_there_is_none() {
        let mut report = report(Regime::TwoDimensional);
        let times = HostSideTimes {
            exits: 64,
            exit_to_entry_ns_p50: Some(1234.5),
            events_lost: 3,
            ..HostSideTimes::default()
        };
        report.scenarios[0].host_side = Some(HostSide::Measured(times));
        let unavailable = "=no tracefs".to_owned();
        report.scenarios[1].host_side = Some(HostSide::Unavailable { unavailable });
        let cells = cells(&[report]);
        let of = |row, column: &str| cell(&cells, row, &format!("host_side_{column}")).to_owned();
        assert_eq!(
            (of(1, "exits"), of(1, "exit_to_entry_ns_p50")),
            ("64".into(), "1234.5".into())
        );
        assert_eq!(
            (of(1, "host_fault_share"), of(1, "events_lost")),
            (String::new(), "3".into())
        );
        assert_eq!(
            (of(2, "exits"), of(2, "unavailable")),
            (String::new(), "'=no tracefs".into())
        );
        assert_eq!((of(3, "exits"), of(3, "unavailable")), (String::new(), String::new()));
    }

    #[test]
    fn stages_have_a_column_each() {
        let mut report = report(Regime::TwoDimensional);
        let cost = |stage: &str, total_cycles| StageCost {
            stage: stage.to_owned(),
            count: 2,
            total_cycles,
            ..StageCost::default()
        };
        report.scenarios[1].stages = Some(Stages {
            stages: vec![cost("submit_bio (read)", 30), cost("device", 500)],
            apart_percent: Some(-1.5),
            ..Stages::default()
        });
        let cells = cells(&[report]);
        assert_eq!(cell(&cells, 2, "stage_submit_bio_read_mean_cycles"), "15");
        assert_eq!(cell(&cells, 2, "stage_device_mean_cycles"), "250");
        assert_eq!(cell(&cells, 2, "stages_sum_mean_cycles"), "265");
        assert_eq!(cell(&cells, 2, "stages_apart_percent"), "-1.5");
        assert_eq!(cell(&cells, 1, "stage_device_mean_cycles"), "");
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let mut report = report(Regime::Shadow);
        report.scenarios[0].name = "a,\"b\"\n;c".to_owned();
        report.scenarios[1].name = "=1+1".to_owned();
        report.scenarios[2].checks[0].ok = false;
        let cells = cells(&[report]);
        assert_eq!(cell(&cells, 1, "scenario"), "a,\"b\"\n;c");
        assert_eq!(cell(&cells, 2, "scenario"), "'=1+1");
        assert_eq!(cell(&cells, 3, "checks_ok"), "false");
    }
}
