//! The table of several reports.

use super::super::Regime;
use super::super::testing;
use super::*;

/// A report of Linux and one of a guest, with the costs of these rows.
fn pair(linux: &[(&str, u64)], guest: &[(&str, u64)]) -> [Report; 2] {
    let of = |rows: &[(&str, u64)], on_linux: bool| {
        let mut report = testing::report(Regime::TwoDimensional);
        let sample = report.scenarios[0].clone();
        report.skipped.clear();
        report.scenarios = rows
            .iter()
            .map(|(name, p50)| {
                let mut row = sample.clone();
                (row.name, row.cycles.p50, row.cycles.mean) = ((*name).to_owned(), *p50, *p50 as f64);
                row.checks.clear();
                if on_linux {
                    row.backing = LINUX.to_owned();
                }
                row
            })
            .collect();
        if on_linux {
            report.vm = header::on_linux(1000);
        }
        report
    };
    [of(linux, true), of(guest, false)]
}

fn line<'a>(text: &'a str, scenario: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(scenario));
    line.unwrap_or_else(|| panic!("no {scenario} in\n{text}"))
        .split_ascii_whitespace()
        .collect()
}

#[test]
fn the_guest_stands_beside_linux_with_the_ratio() {
    let text = render(&pair(
        &[("minor", 2000), ("anon", 100)],
        &[("minor", 352), ("pio-exit", 9)],
    ));
    assert_eq!(
        line(&text, "minor"),
        ["minor", "2000", "2000", "ok", "352", "352", "ok", "0.176"]
    );
    assert_eq!(line(&text, "anon"), ["anon", "100", "100", "ok", "-", "-", "-"]);
    assert_eq!(line(&text, "pio-exit"), ["pio-exit", "-", "-", "9", "9", "ok", "-"]);
}

#[test]
fn costs_of_different_units_have_no_ratio() {
    let mut reports = pair(&[("minor", 2000)], &[("minor", 352)]);
    reports[1].cost_unit = CostUnit::Instructions;
    let text = render(&reports);
    assert_eq!(
        line(&text, "minor"),
        ["minor", "2000", "2000", "ok", "352", "352", "ok"]
    );
}

#[test]
fn a_row_on_each_backing_stands_beside_the_one_of_linux() {
    let mut reports = pair(&[("minor", 2000)], &[("minor", 1000), ("minor", 500)]);
    reports[1].scenarios[1].backing = "memfd".to_owned();
    let text = render(&reports);
    let ratios: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("minor "))
        .filter_map(|line| line.split_ascii_whitespace().last())
        .collect();
    assert_eq!(ratios, ["0.500", "0.250"], "{text}");
}

#[test]
fn what_is_wrong_is_told_with_the_report_it_is_wrong_in() {
    let mut reports = pair(&[("minor", 1)], &[("minor", 1)]);
    reports[0].missing = vec!["anon".to_owned()];
    reports[1].ended = Some("ended by signal 2".to_owned());
    let text = render(&reports);
    assert!(text.contains("FAIL Linux: missing: anon\n"), "{text}");
    assert!(text.contains(": partial: ended by signal 2\n"), "{text}");
}
