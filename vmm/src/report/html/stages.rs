//! Where the time of traced faults went: a bar a row, a part a stage, all bars to one scale; short ones once more, magnified.

use maud::{Markup, html};

use super::axis::short_cost;
use super::palette;
use crate::report::key::{Naming, RowKey};
use crate::report::model::Report;
use crate::report::stage_table::{explanations, stage_names};
use crate::report::stages::{StageCost, Stages};

/// Parts narrower than this many percent of the whole width have no text in them.
const LABEL_MIN_PERCENT: f64 = 9.0;

/// Bars that are shorter than the longest by this factor are drawn once more, as wide as the longest.
const MAGNIFIED_FROM: f64 = 5.0;

/// The bars of `report`; nothing if it was measured without tracing.
pub(super) fn section(report: &Report) -> Markup {
    let naming = Naming::of_rows(&report.scenarios);
    let rows = report.scenarios.iter();
    let traced: Vec<(String, &Stages)> = rows
        .filter_map(|row| Some((naming.name(&RowKey::of(row)), row.stages.as_ref()?)))
        .collect();
    let names = stage_names(traced.iter().map(|(_, stages)| *stages));
    let longest = traced
        .iter()
        .map(|(_, stages)| stages.mean_sum_cycles())
        .fold(1.0, f64::max);
    let unit = report.cost_unit.name();
    html! {
        @if !traced.is_empty() {
            h3 { "Stages of a fault in the guest" }
            p.note { "Mean " (unit) " a fault, tracing included; each stage has what passed since the one before it. All bars have one scale; short ones are drawn once more, magnified." }
            @for (name, stages) in &traced {
                div.bar-name { b { (name) } " " (short_cost(stages.mean_sum_cycles())) " " (unit) (closing(stages)) (lost(stages)) }
                div.bar { @for cost in &stages.stages { (part(cost, stages, longest, &names)) } }
                (magnified(stages, longest, &names))
            }
            ul.legend {
                @for (at, name) in names.iter().enumerate() {
                    li { i style={ "background:" (palette::series_variable(at)) } {} (name) }
                }
            }
            p.note { (explanations(traced.iter().map(|(_, stages)| *stages))) }
            details {
                summary { "The same in numbers" }
                @for (name, stages) in &traced { (numbers(name, stages, unit)) }
            }
        }
    }
}

/// A bar that is too short to be read, as wide as the longest.
fn magnified(stages: &Stages, longest: f64, names: &[&str]) -> Markup {
    let own = stages.mean_sum_cycles();
    html! {
        @if own > 0.0 && longest / own >= MAGNIFIED_FROM {
            div.magnified {
                span { (format!("\u{d7}{:.0}", longest / own)) }
                div.bar { @for cost in &stages.stages { (part(cost, stages, own, names)) } }
            }
        }
    }
}

/// What the sum is beside the row's own mean.
fn closing(stages: &Stages) -> String {
    match (stages.whole_mean_cycles, stages.apart_percent) {
        (Some(whole), Some(apart)) => format!(" of the row's {} ({apart:+.1} %)", short_cost(whole)),
        _ => String::new(),
    }
}

fn lost(stages: &Stages) -> String {
    if stages.lost == 0 {
        String::new()
    } else {
        format!(
            " (from the last {} records; {} were overwritten)",
            stages.records, stages.lost
        )
    }
}

fn part(cost: &StageCost, stages: &Stages, longest: f64, names: &[&str]) -> Markup {
    let cycles = stages.mean_cycles(cost);
    let width = (cycles / longest * 100.0).clamp(0.0, 100.0);
    let at = names.iter().position(|name| *name == cost.stage).unwrap_or(0);
    html! {
        span style={ (format!("width:{width:.2}%;background:")) (palette::series_variable(at)) }
            title={ (cost.stage) ": " (short_cost(cycles)) } {
            @if width >= LABEL_MIN_PERCENT { (short_cost(cycles)) }
        }
    }
}

fn numbers(name: &str, stages: &Stages, unit: &str) -> Markup {
    html! {
        h4 { (name) }
        div.scroll { table {
            thead { tr { th.text { "stage" } th { "count" } th { "p50, " (unit) } th { "p99, " (unit) } th { "share" } } }
            tbody { @for (cost, share) in stages.shares_percent() {
                tr {
                    th.text { (cost.stage) }
                    td { (cost.count) } td { (cost.p50_cycles) } td { (cost.p99_cycles) } td { (format!("{share:.1} %")) }
                }
            } }
        } }
    }
}
