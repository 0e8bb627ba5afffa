//! Distributions as percentile plots: how much the slowest tenth, hundredth, thousandth of the faults cost.
//!
//! One plot a scenario, one line a row of it, so that backings and patterns can be told apart. Every nine of the tail has the
//! same room (as in HdrHistogram's plots), since that is where page faults differ.

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::axis::{CostAxis, nines, nines_ticks, right_edge, short_cost};
use super::labelled::Labelled;
use super::palette;
use crate::report::key::{Naming, RowKey};
use crate::report::model::{Report, Scenario};

/// Size of a plot in units of its own coordinates; the page scales it.
const SIZE: (u32, u32) = (440, 260);

/// Lines in one plot; more are drawn in a further one.
const LINES_MAX: usize = 6;

/// The plots of `report`; nothing if no row has a distribution.
pub(super) fn section(report: &Report) -> Markup {
    let naming = Naming::of_rows(&report.scenarios);
    let groups = groups(&report.scenarios);
    let unit = report.cost_unit.name();
    html! {
        @if !groups.is_empty() {
            h3 { "Distributions" }
            p.note {
                "How many " (unit) " the slowest faults cost: the line at 99 is what one in a hundred exceeds. "
                "Where costs are far apart, the scale is logarithmic."
            }
            div.plots {
                @for (scenario, rows) in &groups { (figure(scenario, rows, naming, unit)) }
            }
        }
    }
}

/// Rows with a distribution, by scenario in the order measured, at most [`LINES_MAX`] together.
fn groups(rows: &[Scenario]) -> Vec<(&str, Vec<&Scenario>)> {
    let mut groups: Vec<(&str, Vec<&Scenario>)> = Vec::new();
    for row in rows.iter().filter(|row| !row.percentiles_cycles.is_empty()) {
        let open = |(name, rows): &&mut (&str, Vec<&Scenario>)| *name == row.name && rows.len() < LINES_MAX;
        match groups.iter_mut().find(open) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((&row.name, vec![row])),
        }
    }
    groups
}

fn figure(scenario: &str, rows: &[&Scenario], naming: Naming, unit: &str) -> Markup {
    let suffix = |row: &Scenario| naming.suffix(&RowKey::of(row));
    html! {
        figure {
            figcaption {
                b { (scenario) }
                @if let [row] = rows { (suffix(row)) span.note { " " (range(row, unit)) } }
            }
            (PreEscaped(plot(rows)))
            @if rows.len() > 1 {
                ul.legend {
                    @for (at, row) in rows.iter().enumerate() {
                        li { i style={ "background:" (palette::series_variable(at)) } {} (suffix(row)) " "
                            span.note { (range(row, unit)) } }
                    }
                }
            }
        }
    }
}

/// The cost of a row in a few words.
fn range(row: &Scenario, unit: &str) -> String {
    let [p50, p99, max] = [row.cycles.p50, row.cycles.p99, row.cycles.max].map(|cost| short_cost(cost as f64));
    format!("p50 {p50}, p99 {p99}, max {max} {unit}")
}

/// The plot as SVG. It holds numbers only.
fn plot(rows: &[&Scenario]) -> String {
    let mut text = String::new();
    // Drawing to memory cannot fail.
    let _ = draw(&mut text, rows);
    text
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw(text: &mut String, rows: &[&Scenario]) -> Drawn {
    let costs = || {
        rows.iter()
            .flat_map(|row| row.percentiles_cycles.iter().map(|point| point.1))
    };
    let costs_axis = CostAxis::of(costs().min().unwrap_or(0), costs().max().unwrap_or(0));
    let edge = rows.iter().map(|row| right_edge(row.count)).fold(1.0, f64::max);
    let across = Labelled {
        range: (0.0, edge),
        ticks: nines_ticks(edge),
    };
    let up = Labelled {
        range: costs_axis.range,
        ticks: costs_axis.ticks(),
    };

    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let font = ("sans-serif", 13).into_font().color(&palette::ink());
    let mut chart = ChartBuilder::on(&area)
        .margin_top(8)
        .margin_right(22)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(palette::grid())
        .axis_style(palette::ink())
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_desc("percentile")
        .draw()?;
    for (at, row) in rows.iter().enumerate() {
        chart.draw_series(LineSeries::new(
            points(row, &costs_axis),
            palette::series(at).stroke_width(2),
        ))?;
    }
    area.present()
}

/// The row's line, from left to right whatever the report says.
fn points(row: &Scenario, costs: &CostAxis) -> Vec<(f64, f64)> {
    let place = |point: &crate::report::Percentile| (nines(point.0, row.count), costs.position(point.1));
    let mut points: Vec<(f64, f64)> = row.percentiles_cycles.iter().map(place).collect();
    points.sort_by(|before, after| before.0.total_cmp(&after.0));
    points
}
