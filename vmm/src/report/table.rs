//! The report for people: one line a row, grouped by what backs memory, marks explained below, reasons for every row that
//! does not add up.
//!
//! Plain text, the table at most 100 columns wide as long as rows are named by their scenario alone, their checks hold, and no
//! cost exceeds seven digits; colours only when asked for.

use comfy_table::{Attribute, Cell, Color, Table};

use super::closure::Closure;
use super::key::{Naming, RowKey};
use super::model::{CostUnit, Report, Scenario, Skipped};
use super::{four_way, plain};

/// A column of a counter per fault: three lines of heading, and where the number is found.
pub(super) struct CounterColumn {
    heading: &'static str,
    source: Source,
    /// The counter's name in [`Scenario`].
    pub(super) name: &'static str,
}

#[derive(Clone, Copy)]
enum Source {
    Guest,
    Kvm,
    Host,
}

/// In the order of the table. The group's name stands above a column that is as wide anyway.
const COUNTERS: &[CounterColumn] = &[
    column("\npg\nflt", Source::Guest, "pgfault"),
    column("\nmaj\nflt", Source::Guest, "pgmajfault"),
    column("guest\npg\nalloc", Source::Guest, "pgalloc"),
    column("\nswap\nout", Source::Guest, "pswpout"),
    column("\n\nin", Source::Guest, "pswpin"),
    column("KVM\npf_\ntaken", Source::Kvm, "pf_taken"),
    column("\n\nexits", Source::Kvm, "exits"),
    column("\ninsn\nemul", Source::Kvm, "insn_emulation"),
    column("host\nmin\nflt", Source::Host, super::host_fault::MINFLT),
];

const fn column(heading: &'static str, source: Source, name: &'static str) -> CounterColumn {
    CounterColumn { heading, source, name }
}

impl CounterColumn {
    /// Who counts.
    pub(super) fn group(&self) -> &'static str {
        match self.source {
            Source::Guest => "guest",
            Source::Kvm => "KVM",
            Source::Host => "host",
        }
    }

    /// The counter per fault in `row`; `None` if the host or guest has none.
    pub(super) fn of(&self, row: &Scenario) -> Option<f64> {
        let counters = match self.source {
            Source::Guest => &row.guest_per_fault,
            Source::Kvm => &row.kvm_per_fault,
            Source::Host => &row.host_per_fault,
        };
        counters.get(self.name).copied()
    }
}

/// The table with `header` lines above and the footer below, every line ended.
#[must_use]
pub fn render(report: &Report, header: &[String], colours: bool) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    header.iter().for_each(|each| line(each));
    line("");
    if report.scenarios.is_empty() {
        line("nothing was measured");
    } else {
        grid(report, colours).lines().for_each(|each| line(&each));
    }
    line("");
    footer(report).iter().for_each(|each| line(each));
    let four_way = four_way::rows(report);
    if !four_way.is_empty() {
        line("");
        line(&four_way::caption(report));
        let mut table = plain::table(colours);
        table.set_header(four_way::HEADINGS.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        four_way.into_iter().for_each(|row| _ = table.add_row(row));
        plain::align(&mut table, 2, |at, _| at < four_way::WORDS);
        table.to_string().lines().for_each(line);
    }
    text
}

/// The columns of counters that at least one row has.
pub(super) fn counter_columns(report: &Report) -> Vec<&'static CounterColumn> {
    let has = |column: &&CounterColumn| report.scenarios.iter().any(|row| column.of(row).is_some());
    COUNTERS.iter().filter(has).collect()
}

fn grid(report: &Report, colours: bool) -> Table {
    let columns = counter_columns(report);
    let mut table = plain::table(colours);
    // Where instructions are counted, nanoseconds are the same numbers again.
    let costs: &[&str] = match report.cost_unit {
        CostUnit::Cycles => &["cycles\n\np50", "\nA/A\n+-", "\n\np99", "ns\n\np50"],
        CostUnit::Instructions => &["instruc\ntions\np50", "\nA/A\n+-", "\n\np99"],
    };
    let headings = ["\n\nscenario", "\n\ncount"];
    let last = ["\n\nok"];
    let all = headings
        .iter()
        .chain(costs)
        .copied()
        .chain(columns.iter().map(|column| column.heading))
        .chain(last);
    table.set_header(all.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    let groups: Vec<&[Scenario]> = report
        .scenarios
        .chunk_by(|row, next| row.backing == next.backing)
        .collect();
    for rows in &groups {
        if let Some(first) = rows.first().filter(|_| groups.len() > 1) {
            table.add_row([Cell::new(format!("on {}", first.backing)).add_attribute(Attribute::Bold)]);
        }
        let naming = Naming::of_rows(rows);
        for row in *rows {
            table.add_row(cells(row, report.cost_unit, naming, &columns));
        }
    }
    plain::align(&mut table, 1, plain::outer);
    table
}

fn cells(row: &Scenario, unit: CostUnit, naming: Naming, columns: &[&CounterColumn]) -> Vec<Cell> {
    let mut cells = vec![Cell::new(naming.name(&RowKey::of(row))), Cell::new(row.count)];
    let noise = row
        .noise_floor_cycles
        .map_or_else(|| "-".to_owned(), |noise| noise.to_string());
    cells.extend([Cell::new(row.cycles.p50), Cell::new(noise), Cell::new(row.cycles.p99)]);
    if unit == CostUnit::Cycles {
        cells.push(Cell::new(short(row.ns.p50)));
    }
    cells.extend(
        columns
            .iter()
            .map(|column| Cell::new(column.of(row).map_or_else(|| "-".to_owned(), short))),
    );
    let (mark, colour) = if row.adds_up() {
        ("ok", Color::Green)
    } else {
        ("FAIL", Color::Red)
    };
    cells.push(Cell::new(mark).fg(colour));
    cells
}

/// A number in few digits: whole numbers as they are, others with three significant digits, none past the point
/// from 100 on.
pub(super) fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 || magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 0.01 {
        format!("{value:.2}")
    } else {
        // A counter that moved must not look like one that did not.
        format!("{value:.3}")
    }
}

/// What the columns are, as two lines.
pub(super) fn explained(report: &Report) -> [&'static str; 2] {
    let in_halves = |row: &Scenario| row.halves_p50_cycles.is_some();
    [
        "Counters are per fault, less what the marks of a phase move. A/A: by how much the p50 of the row's",
        if report.scenarios.iter().all(in_halves) {
            "two halves differ. ok: in both halves every count was exactly what was provoked."
        } else {
            "two halves differ, where it has two. ok: every count was exactly what was provoked."
        },
    ]
}

/// What must be said below the table of text: what the columns are, the host's side of each row, and [`notes`].
fn footer(report: &Report) -> Vec<String> {
    let explained = explained(report).map(str::to_owned).into_iter();
    explained
        .chain(notes(report, super::host_side::lines(report)))
        .collect()
}

/// What must be said below any table: closure, what is told of the host's side, the reasons of rows that fail, what is missing.
pub(super) fn notes(report: &Report, host_side: Vec<String>) -> Vec<String> {
    let unit = report.cost_unit.name();
    let mut lines = Vec::new();
    for closure in &report.closures {
        lines.extend(closure_lines(closure, report.closures.len() > 1, unit));
    }
    lines.extend(host_side);
    if report.marks.is_none() && !report.scenarios.is_empty() {
        lines.push("The marks' own cost was not measured, so nothing is subtracted.".to_owned());
    }
    let naming = Naming::of_rows(&report.scenarios);
    for row in report.scenarios.iter().filter(|row| !row.adds_up()) {
        let reason = |check: &super::Check| format!("{} {}", check.name, check.detail);
        let reasons: Vec<String> = row.checks.iter().filter(|check| !check.ok).map(reason).collect();
        lines.push(format!(
            "FAIL {}: {}",
            naming.name(&RowKey::of(row)),
            reasons.join("; ")
        ));
    }
    lines.extend(skipped_lines(&report.skipped));
    if !report.missing.is_empty() {
        // A run that was cut short is expected to lack rows.
        let mark = if report.partial { "" } else { "FAIL " };
        lines.push(format!("{mark}not measured: {}", report.missing.join(", ")));
    }
    if let Some(ended) = &report.ended {
        lines.push(format!("partial: {ended}"));
    }
    lines
}

fn closure_lines(closure: &Closure, one_of_many: bool, unit: &str) -> [String; 2] {
    let which = if one_of_many {
        format!(" on {} {}", closure.backing, closure.pattern)
    } else {
        String::new()
    };
    let verdict = if closure.within_noise() { "within" } else { "OUTSIDE" };
    [
        format!(
            "closure{which}: alloc-cold - alloc-warm = {}, second-level-only - warm-touch = {} {unit}:",
            closure.alloc_difference_cycles, closure.second_level_difference_cycles,
        ),
        format!(
            "         {:+.1} %, {verdict} the noise of +-{} {unit} (95 % intervals of the medians, and A/A)",
            closure.error_percent, closure.noise_cycles
        ),
    ]
}

/// One line for each reason, with what it is the reason of.
fn skipped_lines(skipped: &[Skipped]) -> Vec<String> {
    let mut reasons: Vec<(&str, bool)> = Vec::new();
    for row in skipped {
        if !reasons.contains(&(&row.reason, row.failed)) {
            reasons.push((&row.reason, row.failed));
        }
    }
    let line = |(reason, failed): &(&str, bool)| {
        let rows = skipped
            .iter()
            .filter(|row| (row.reason.as_str(), row.failed) == (*reason, *failed));
        let rows: Vec<String> = rows.map(|row| format!("{} on {}", row.name, row.backing)).collect();
        let mark = if *failed { "FAIL" } else { "skipped" };
        format!("{mark} {}: {reason}", rows.join(", "))
    };
    reasons.iter().map(line).collect()
}
