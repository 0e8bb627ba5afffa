//! The page: whole, self-contained, and deaf to what the report's text says.

use super::super::hostile_tests::{MARKUP, full};
use super::super::measured::Regime;
use super::super::model::{CostUnit, Report};
use super::super::testing::report;
use super::{palette, render};

fn page(edit: impl FnOnce(&mut Report)) -> String {
    let mut report = full();
    edit(&mut report);
    render(&[report])
}

#[test]
fn one_section_a_report_and_one_plot_a_scenario() {
    let page = render(&[report(Regime::Shadow), report(Regime::TwoDimensional)]);
    assert_eq!(page.matches("<section").count(), 2);
    assert_eq!(page.matches("<svg").count(), 18);
    assert!(page.contains("<a href=\"#r1\">") && page.contains("id=\"r1\""));
    assert!(!page.contains("Stages of a fault") && !page.contains("class=\"fail\""));
}

#[test]
fn rows_of_one_scenario_share_a_plot_with_a_legend() {
    let page = page(|report| {
        for backing in ["memfd", "anon-thp"] {
            let mut row = report.scenarios[3].clone();
            row.backing = backing.to_owned();
            report.scenarios.push(row);
        }
    });
    assert_eq!(page.matches("<svg").count(), 9);
    assert!(
        page.contains("<i style=\"background:var(--s2)\"></i> anon-thp"),
        "a legend"
    );
    assert!(page.contains("alloc-cold memfd"), "a row's name");
}

#[test]
fn more_lines_than_can_be_told_apart_get_another_plot() {
    let page = page(|report| {
        let row = report.scenarios[3].clone();
        report.scenarios.extend(std::iter::repeat_n(row, 8));
    });
    assert_eq!(page.matches("<svg").count(), 10);
}

#[test]
fn what_failed_is_seen_first() {
    let page = page(|_| {});
    assert!(page.contains("<p class=\"fail\">Partial: ended by signal 2</p>"));
    assert!(page.contains("<p class=\"fail\">1 of 9 rows do not add up"));
    assert!(page.contains("<b>FAIL</b>") && page.contains("count: 100 of 100"));
    let empty = render(&[super::super::testing::builder(Regime::Shadow).finish(super::super::testing::vm(), None)]);
    assert!(empty.contains("Nothing was measured.") && !empty.contains("<svg"));
}

#[test]
fn bars_have_one_scale() {
    let page = page(|report| {
        let mut stages = report.scenarios[1].stages.clone().unwrap();
        stages.stages.iter_mut().for_each(|cost| cost.total_cycles *= 2);
        report.scenarios[2].stages = Some(stages);
    });
    // 300 and 100 of 800 cycles, and twice as much.
    for width in ["37.50%", "12.50%", "75.00%", "25.00%"] {
        assert!(page.contains(&format!("width:{width};")), "{width}");
    }
    assert!(page.contains("3 were overwritten") && !page.contains("class=\"magnified\""));
}

#[test]
fn a_short_bar_is_magnified() {
    let page = page(|report| {
        let mut stages = report.scenarios[1].stages.clone().unwrap();
        stages.stages.iter_mut().for_each(|cost| cost.total_cycles *= 8);
        report.scenarios[2].stages = Some(stages);
    });
    assert_eq!(page.matches("class=\"magnified\"").count(), 1);
    assert!(page.contains("<span>\u{d7}8</span>") && page.contains("width:75.00%;"));
}

#[test]
fn instructions_have_no_nanoseconds() {
    let page = page(|report| report.cost_unit = CostUnit::Instructions);
    assert!(page.contains(">instructions</th>") && !page.contains(">ns</th>"));
}

#[test]
fn text_of_the_report_is_never_markup() {
    let page = page(|report| {
        let markup = || MARKUP.to_owned();
        for row in &mut report.scenarios {
            (row.name, row.backing, row.pattern, row.access) = (markup(), markup(), markup(), markup());
            row.checks.iter_mut().for_each(|check| {
                (check.name, check.detail, check.ok) = (markup(), markup(), false);
            });
            row.guest_per_fault.insert(markup(), 1.0);
        }
        let stages = report.scenarios[1].stages.as_mut().unwrap();
        stages.stages.iter_mut().for_each(|cost| cost.stage = markup());
        (report.ended, report.missing) = (Some(markup()), vec![markup()]);
        for map in [&mut report.host, &mut report.vm] {
            for key in [
                "cpu_model",
                "kernel_release",
                "swap_file",
                "simulator",
                "machine",
                MARKUP,
            ] {
                map.insert(key.to_owned(), MARKUP.into());
            }
        }
    });
    assert!(page.matches("&lt;script&gt;").count() > 40);
    assert!(!page.contains("<script") && !page.contains("</td><script"));
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let page = page(|_| {});
    assert!(page.contains("default-src 'none'"));
    // The name of SVG's namespace is no address.
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    for reference in ["http", "src=", "url(", "@import", "<link", "<script", "<iframe"] {
        let allowed = usize::from(reference == "http");
        // The policy's own `http-equiv`.
        assert_eq!(rest.matches(reference).count(), allowed, "{reference}");
    }
}

#[test]
fn every_colour_of_a_plot_follows_the_page() {
    let page = page(|_| {});
    let style = palette::style_sheet();
    let (_, plot) = page.split_once("<svg").unwrap();
    let plot = plot.split_once("</svg>").unwrap().0;
    for attribute in ["stroke=\"#", "fill=\"#"] {
        for (at, _) in plot.match_indices(attribute) {
            let shown = &plot[at..at + attribute.len() + 7];
            assert!(
                style.contains(&format!("[{shown}]")),
                "{shown} stays as it is in the dark"
            );
        }
    }
    assert!(plot.contains(">99</text>") || plot.contains("\n99\n"), "{plot}");
}
