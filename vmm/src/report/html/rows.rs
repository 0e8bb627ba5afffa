//! The table of rows: costs, counters, and under each row that does not add up the reason.

use maud::{Markup, html};

use crate::report::host_side;
use crate::report::key::{Naming, RowKey};
use crate::report::model::{CostUnit, Report, Scenario};
use crate::report::table::{CounterColumn, counter_columns, short};

/// The table of `report`.
pub(super) fn section(report: &Report) -> Markup {
    let naming = Naming::of_rows(&report.scenarios);
    let counters = counter_columns(report);
    html! {
        @if report.scenarios.is_empty() {
            p.fail { "Nothing was measured." }
        } @else {
            div.scroll { table {
                (head(report, &counters))
                tbody { @for row in &report.scenarios {
                    (line(row, naming, report, &counters))
                    @if !row.adds_up() { (reasons(row)) }
                } }
            } }
        }
    }
}

fn head(report: &Report, counters: &[&CounterColumn]) -> Markup {
    let unit = report.cost_unit;
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for column in counters {
        match groups.last_mut() {
            Some((group, columns)) if *group == column.group() => *columns += 1,
            _ => groups.push((column.group(), 1)),
        }
    }
    html! {
        thead {
            tr {
                th.text.pin {} th {} th {}
                th.group colspan="7" { (unit.name()) }
                @if unit == CostUnit::Cycles { th.group colspan="2" { "ns" } }
                @for (group, columns) in &groups { th.group colspan=(columns) { (group) } }
                @if host_side::is_asked_for(report) { th.group colspan="2" { "host events" } }
            }
            tr {
                th.text.pin { "scenario" } th.text { "check" } th { "count" }
                th.edge { "p50" } th title="half of the median's 95 % interval" { "±" } th title="by how much the row's halves differ" { "A/A" } th { "p90" } th { "p99" } th { "p99.9" } th { "max" }
                @if unit == CostUnit::Cycles { th.edge { "p50" } th { "p99" } }
                @for column in counters { th { (column.name) } }
                @if host_side::is_asked_for(report) {
                    th.edge title="median of the time from kvm_exit to kvm_entry" { "out of the guest, ns" }
                    th title="part of that time after kvm_page_fault" { "of it host fault" }
                }
            }
        }
    }
}

fn line(row: &Scenario, naming: Naming, report: &Report, counters: &[&CounterColumn]) -> Markup {
    let in_time = report.cost_unit == CostUnit::Cycles;
    let cycles = &row.cycles;
    html! {
        tr.fail[!row.adds_up()] {
            th.text.pin { (naming.name(&RowKey::of(row))) }
            td.text { @if row.adds_up() { "ok" } @else { b { "FAIL" } } }
            td { (row.count) }
            td.edge { b { (cycles.p50) } } td.note { (half_interval(row)) }
            td.note { (row.noise_floor_cycles.map_or_else(|| "–".to_owned(), |noise| noise.to_string())) }
            td { (cycles.p90) } td { (cycles.p99) } td { (cycles.p999) } td { (cycles.max) }
            @if in_time { td.edge { (short(row.ns.p50)) } td { (short(row.ns.p99)) } }
            @for column in counters {
                td { (column.of(row).map_or_else(|| "–".to_owned(), short)) }
            }
            @if host_side::is_asked_for(report) { @for cell in host_side::cells(row) { td { (cell) } } }
        }
    }
}

/// Half the width of the median's 95 % interval.
fn half_interval(row: &Scenario) -> u64 {
    let [low, high] = row.p50_interval_cycles;
    high.saturating_sub(low).div_ceil(2)
}

fn reasons(row: &Scenario) -> Markup {
    html! {
        tr.fail { td.text.reason colspan="20" {
            @for check in row.checks.iter().filter(|check| !check.ok) { span { (check.name) ": " (check.detail) } " " }
        } }
    }
}
