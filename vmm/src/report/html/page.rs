//! The page: one section a report.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

use super::{palette, percentiles, rows, stages};
use crate::report::model::Report;
use crate::report::table::{explained, notes};
use crate::report::{four_way, header, host_side};

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded, run or sent, whatever the report says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// `reports`, at least one, as one page.
#[must_use]
pub fn render(reports: &[Report]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "faultlab: " (reports.first().map_or_else(String::new, name)) }
                style { (PreEscaped(palette::style_sheet())) (PreEscaped(STYLE)) }
            }
            body {
                h1 { "What guest memory faults cost" }
                @if reports.len() > 1 {
                    ol { @for (at, report) in reports.iter().enumerate() {
                        li { a href={ "#r" (at) } { (name(report)) } }
                    } }
                }
                @for (at, report) in reports.iter().enumerate() { (section(at, report)) }
            }
        }
    };
    page.into_string()
}

/// The report's host in a few words.
fn name(report: &Report) -> String {
    let host = header::identity(report);
    format!("{}, {}", host.cpu_model, header::paging(host.second_level_paging))
}

fn section(at: usize, report: &Report) -> Markup {
    html! {
        section id={ "r" (at) } {
            h2 { (name(report)) }
            ul.host { @for line in header::lines(report) { li { (line) } } }
            (banner(report))
            (rows::section(report))
            p.note { (explained(report).join(" ")) }
            ul.footer { @for line in joined(&notes(report, host_side::warnings(report))) { li { (line) } } }
            (four_way_section(report))
            (stages::section(report))
            (percentiles::section(report))
            details {
                summary { "Everything the report says of host and guest" }
                (facts("host", &report.host)) (facts("guest", &report.vm))
            }
        }
    }
}

/// Small and huge pages, if the report has both.
fn four_way_section(report: &Report) -> Markup {
    let rows = four_way::rows(report);
    let class = |at: usize| if at < four_way::WORDS { "text" } else { "" };
    html! {
        @if !rows.is_empty() {
            p.note { (four_way::caption(report)) }
            div.scroll { table {
                thead { tr { @for (at, heading) in four_way::HEADINGS.iter().enumerate() { th class=(class(at)) { (heading) } } } }
                tbody { @for row in &rows { tr { @for (at, cell) in row.iter().enumerate() { td class=(class(at)) { (cell) } } } } }
            } }
        }
    }
}

/// What must be seen before any number.
fn banner(report: &Report) -> Markup {
    let failed = report.scenarios.iter().filter(|row| !row.adds_up()).count();
    html! {
        @if report.partial {
            p.fail { "Partial: " (report.ended.as_deref().unwrap_or("the run was cut short")) }
        }
        @if failed > 0 {
            p.fail { (failed) " of " (report.scenarios.len()) " rows do not add up: their costs are not those of the scenario." }
        }
    }
}

/// The footer's lines with those that continue one joined to it.
fn joined(lines: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for line in lines {
        match joined.last_mut() {
            Some(last) if line.starts_with(' ') => *last = format!("{last} {}", line.trim_start()),
            _ => joined.push(line.clone()),
        }
    }
    joined
}

fn facts(what: &str, facts: &Map<String, Value>) -> Markup {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    html! {
        h4 { (what) }
        dl { @for (name, value) in facts { dt { (name) } dd { (shown(value)) } } }
    }
}
