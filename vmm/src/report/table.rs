//! The report for people: one line a scenario, marks explained below, reasons for every row that does not add up.
//!
//! Plain text of at most 120 columns as long as no cost exceeds seven digits; colours only when asked for.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::model::{CostUnit, Report, Scenario};

/// A column of a counter per fault: three lines of heading, and where the number is found.
struct CounterColumn {
    heading: &'static str,
    source: Source,
    name: &'static str,
}

#[derive(Clone, Copy)]
enum Source {
    Guest,
    Kvm,
    Host,
}

/// In the order of the table. The group's name stands above its first column.
const COUNTERS: &[CounterColumn] = &[
    column("guest\npg\nfault", Source::Guest, "pgfault"),
    column("\npgmaj\nfault", Source::Guest, "pgmajfault"),
    column("\npg\nalloc", Source::Guest, "pgalloc"),
    column("\npswp\nout", Source::Guest, "pswpout"),
    column("\npswp\nin", Source::Guest, "pswpin"),
    column("KVM\npf_\ntaken", Source::Kvm, "pf_taken"),
    column("\n\nexits", Source::Kvm, "exits"),
    column("\ninsn_\nemul", Source::Kvm, "insn_emulation"),
    column("host\nmin\nflt", Source::Host, super::host_fault::MINFLT),
];

const fn column(heading: &'static str, source: Source, name: &'static str) -> CounterColumn {
    CounterColumn { heading, source, name }
}

impl CounterColumn {
    fn of(&self, row: &Scenario) -> Option<f64> {
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
    text
}

fn grid(report: &Report, colours: bool) -> Table {
    let columns: Vec<&CounterColumn> = COUNTERS
        .iter()
        .filter(|column| report.scenarios.iter().any(|row| column.of(row).is_some()))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    // Where instructions are counted, nanoseconds are the same numbers again.
    let costs: &[&str] = match report.cost_unit {
        CostUnit::Cycles => &["cycles\n\np50", "\n\np99", "ns\n\np50", "\n\np99"],
        CostUnit::Instructions => &["instruc\ntions\np50", "\n\np99"],
    };
    let headings = ["\n\nscenario", "\n\ncount"];
    let last = ["\n\ncheck"];
    let all = headings
        .iter()
        .chain(costs)
        .copied()
        .chain(columns.iter().map(|column| column.heading))
        .chain(last);
    table.set_header(all.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    for row in &report.scenarios {
        table.add_row(cells(row, report.cost_unit, &columns));
    }
    let columns = table.column_count();
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((u16::from(at != 0), 0));
        let text = at == 0 || at + 1 == columns;
        column.set_cell_alignment(if text {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
    table
}

fn cells(row: &Scenario, unit: CostUnit, columns: &[&CounterColumn]) -> Vec<Cell> {
    let mut cells = vec![Cell::new(&row.name), Cell::new(row.count)];
    cells.extend([row.cycles.p50, row.cycles.p99].map(Cell::new));
    if unit == CostUnit::Cycles {
        cells.extend([row.ns.p50, row.ns.p99].map(|ns| Cell::new(short(ns))));
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
fn short(value: f64) -> String {
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

fn footer(report: &Report) -> Vec<String> {
    let unit = report.cost_unit.name();
    let mut lines = vec![
        "Counters are per fault, less what the marks of a phase move. ok: every count was exactly what was provoked."
            .to_owned(),
    ];
    if let Some(closure) = &report.closure {
        lines.push(format!(
            "closure: alloc-cold - alloc-warm = {} {unit}, second-level-only - warm-touch = {} {unit}: {:+.1} %,",
            closure.alloc_difference_cycles, closure.second_level_difference_cycles, closure.error_percent
        ));
        let verdict = if closure.within_noise() { "within" } else { "OUTSIDE" };
        lines.push(format!(
            "         {verdict} the sampling noise of +-{} {unit} (95 % intervals of the medians)",
            closure.noise_cycles
        ));
    }
    lines.extend(super::host_side::lines(report));
    if report.marks.is_none() && !report.scenarios.is_empty() {
        lines.push("The marks' own cost was not measured, so nothing is subtracted.".to_owned());
    }
    for row in report.scenarios.iter().filter(|row| !row.adds_up()) {
        let reason = |check: &super::Check| format!("{} {}", check.name, check.detail);
        let reasons: Vec<String> = row.checks.iter().filter(|check| !check.ok).map(reason).collect();
        lines.push(format!("FAIL {}: {}", row.name, reasons.join("; ")));
    }
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
