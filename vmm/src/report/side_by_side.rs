//! Several reports in one table: a line a row, and for each report what one costs there.
//!
//! Rows are the same if scenario, order and access are; what backs the memory is a report's own affair, unless one of them
//! has rows on several backings. A row that a report lacks is `-`. Costs of different units stand side by side and are never set in
//! proportion.

use comfy_table::{Cell, Table};

use super::header::{self, LINUX};
use super::model::{CostUnit, Report, Scenario};
use super::plain;

/// What makes rows of different reports the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key<'a> {
    scenario: &'a str,
    pattern: &'a str,
    access: &'a str,
    /// Only where the reports have rows on several.
    backing: Option<&'a str>,
}

/// The reports' headers, the table, and what must be said below it.
#[must_use]
pub fn render(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        text.push_str(&format!("{}:\n", header::label(report)));
        for line in header::lines(report) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text.push('\n');
    for line in grid(reports).lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    for line in footer(reports) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Both reports, if their costs can be set in proportion: the guest's beside Linux's, in the same unit.
fn proportion(reports: &[Report]) -> Option<(&Report, &Report)> {
    match reports {
        [linux, guest] if header::label(linux) == "Linux" && linux.cost_unit == guest.cost_unit => Some((linux, guest)),
        _ => None,
    }
}

fn grid(reports: &[Report]) -> Table {
    let mut table = plain::table(false);
    let ratio = proportion(reports);
    let backings = several_backings(reports);
    let mut heading = vec![Cell::new("\n\nscenario")];
    for report in reports {
        let unit = match report.cost_unit {
            CostUnit::Cycles => "cycles",
            CostUnit::Instructions => "instructions",
        };
        heading.push(Cell::new(format!("{}\n{unit}\np50", header::label(report))));
        heading.push(Cell::new("\n\nmean"));
        heading.push(Cell::new("\n\ncheck"));
    }
    if ratio.is_some() {
        heading.push(Cell::new("guest/\nLinux\np50"));
    }
    table.set_header(heading);
    for key in keys(reports, backings) {
        let found: Vec<_> = reports.iter().map(|report| find(report, &key)).collect();
        let mut cells = vec![Cell::new(name(&key))];
        for row in &found {
            cells.extend(costs(*row));
        }
        if ratio.is_some() {
            cells.push(Cell::new(match found.as_slice() {
                [Some(linux), Some(guest)] if linux.cycles.p50 > 0 => {
                    format!("{:.3}", guest.cycles.p50 as f64 / linux.cycles.p50 as f64)
                }
                _ => "-".to_owned(),
            }));
        }
        table.add_row(cells);
    }
    plain::align(&mut table, 2, |at, _| {
        at == 0 || (at <= reports.len() * 3 && at % 3 == 0)
    });
    table
}

fn costs(row: Option<&Scenario>) -> [Cell; 3] {
    match row {
        Some(row) => [
            row.cycles.p50.to_string(),
            format!("{:.0}", row.cycles.mean),
            if row.adds_up() { "ok" } else { "FAIL" }.to_owned(),
        ],
        None => ["-".to_owned(), "-".to_owned(), String::new()],
    }
    .map(Cell::new)
}

fn several_backings(reports: &[Report]) -> bool {
    reports.iter().any(|report| {
        let mut backings = report.scenarios.iter().map(|row| &row.backing);
        let first = backings.next();
        backings.any(|backing| Some(backing) != first)
    })
}

fn key_of(row: &Scenario, backings: bool) -> Key<'_> {
    Key {
        scenario: &row.name,
        pattern: &row.pattern,
        access: &row.access,
        backing: (backings && row.backing != LINUX).then_some(&row.backing),
    }
}

/// Every row that a report has, those of the longest report in its order, others behind them.
fn keys(reports: &[Report], backings: bool) -> Vec<Key<'_>> {
    let mut keys: Vec<Key<'_>> = Vec::new();
    let mut longest_first: Vec<&Report> = reports.iter().collect();
    longest_first.sort_by_key(|report| std::cmp::Reverse(report.scenarios.len()));
    for row in longest_first.iter().flat_map(|report| &report.scenarios) {
        let key = key_of(row, backings);
        // A row of Linux stands beside that of every backing.
        let known = |other: &Key<'_>| {
            *other == key
                || (key.backing.is_none()
                    && Key {
                        backing: None,
                        ..other.clone()
                    } == key)
        };
        if !keys.iter().any(known) {
            keys.push(key);
        }
    }
    keys
}

fn find<'a>(report: &'a Report, key: &Key<'_>) -> Option<&'a Scenario> {
    report.scenarios.iter().find(|row| {
        let own = key_of(row, key.backing.is_some());
        own == *key
            || (own.backing.is_none()
                && Key {
                    backing: None,
                    ..key.clone()
                } == own)
    })
}

fn name(key: &Key<'_>) -> String {
    let mut name = key.scenario.to_owned();
    for (part, usual) in [
        (Some(key.pattern), "seq"),
        (Some(key.access), "store"),
        (key.backing, ""),
    ] {
        match part {
            Some(part) if part != usual && part != "none" => name = format!("{name} {part}"),
            _ => {}
        }
    }
    name
}

fn footer(reports: &[Report]) -> Vec<String> {
    let mut lines = vec!["ok: every count was exactly what was provoked. -: not measured there.".to_owned()];
    for report in reports {
        let label = header::label(report);
        for row in report.scenarios.iter().filter(|row| !row.adds_up()) {
            let reasons: Vec<String> = row
                .checks
                .iter()
                .filter(|check| !check.ok)
                .map(|check| format!("{} {}", check.name, check.detail))
                .collect();
            lines.push(format!("FAIL {label}: {}: {}", row.name, reasons.join("; ")));
        }
        // Reasons that several rows share are told once.
        let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
        for skipped in &report.skipped {
            match told.iter_mut().find(|(reason, _)| *reason == skipped.reason) {
                Some((_, names)) => names.push(&skipped.name),
                None => told.push((&skipped.reason, vec![&skipped.name])),
            }
        }
        for (reason, names) in told {
            let reason = reason.strip_prefix("skipped: ").unwrap_or(reason);
            lines.push(format!("{label}: not measured: {} ({reason})", names.join(", ")));
        }
        if !report.missing.is_empty() {
            let mark = if report.partial { "" } else { "FAIL " };
            lines.push(format!("{mark}{label}: missing: {}", report.missing.join(", ")));
        }
        if let Some(ended) = &report.ended {
            lines.push(format!("{label}: partial: {ended}"));
        }
    }
    lines
}

#[cfg(test)]
#[path = "side_by_side_tests.rs"]
mod tests;
