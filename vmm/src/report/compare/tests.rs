//! What is called different, what is not, and what is not compared at all.

use std::slice::from_ref;

use serde_json::json;

use super::*;
use crate::report::model::Scenario;
use crate::report::quantiles::SAMPLES_MIN;
use crate::report::testing::report;
use crate::report::{CostUnit, Regime};

/// The comparison of a report with itself after `edit` changed the copy.
fn after(edit: impl FnOnce(&mut Report)) -> Comparison {
    let a = precise();
    let mut b = a.clone();
    edit(&mut b);
    Comparison::of(&[a], &[b], None).unwrap()
}

/// A report whose medians are certain to the cycle, at 10,000 each.
fn precise() -> Report {
    let mut report = report(Regime::TwoDimensional);
    report.scenarios.iter_mut().for_each(|row| set(row, 10_000));
    report
}

fn set(row: &mut Scenario, p50: u64) {
    row.cycles.p50 = p50;
    row.p50_interval_cycles = [p50, p50];
}

fn verdict(comparison: &Comparison, scenario: &str) -> Verdict {
    let rows = &comparison.pairs[0].rows;
    rows.iter().find(|row| row.key.scenario == scenario).unwrap().verdict
}

#[test]
fn a_report_does_not_differ_from_itself() {
    let comparison = after(|_| {});
    let pair = &comparison.pairs[0];
    assert_eq!(pair.rows.len(), 9);
    assert!(
        pair.rows
            .iter()
            .all(|row| row.verdict == Verdict::Same && row.ratio == Some(1.0))
    );
    assert!(pair.warnings.is_empty() && pair.differs.is_empty());
    assert!(!comparison.fails(0.0));
}

#[test]
fn noise_is_the_limit() {
    // Two percent, and one cycle that the counter may be off on either side.
    for (p50, expected) in [
        (10_203, Verdict::Slower),
        (10_200, Verdict::Same),
        (9_805, Verdict::Same),
        (9_801, Verdict::Faster),
    ] {
        let comparison = after(|b| set(&mut b.scenarios[1], p50));
        assert_eq!(verdict(&comparison, "minor"), expected, "{p50}");
        assert_eq!(comparison.fails(0.0), expected == Verdict::Slower, "{p50}");
    }
}

#[test]
fn an_interval_that_reaches_into_the_noise_decides_nothing() {
    let comparison = after(|b| {
        set(&mut b.scenarios[1], 12_000);
        b.scenarios[1].p50_interval_cycles = [10_150, 12_010];
    });
    assert_eq!(verdict(&comparison, "minor"), Verdict::Same);
}

#[test]
fn a_rows_own_noise_counts_if_it_is_larger_whichever_side_has_it() {
    for edited in [0, 1] {
        let mut reports = [precise(), precise()];
        set(&mut reports[1].scenarios[1], 10_500);
        let slower = |reports: &[Report; 2]| {
            let [a, b] = reports.each_ref().map(from_ref);
            verdict(&Comparison::of(a, b, None).unwrap(), "minor")
        };
        assert_eq!(slower(&reports), Verdict::Slower);
        reports[edited].scenarios[1].noise_floor_cycles = Some(10);
        assert_eq!(slower(&reports), Verdict::Slower);
        reports[edited].scenarios[1].noise_floor_cycles = Some(750);
        assert_eq!(slower(&reports), Verdict::Same);
    }
}

#[test]
fn the_caller_may_know_better() {
    let (a, mut b) = (precise(), precise());
    set(&mut b.scenarios[1], 10_150);
    let with = |noise| verdict(&Comparison::of(from_ref(&a), from_ref(&b), noise).unwrap(), "minor");
    assert_eq!((with(None), with(Some(1.0))), (Verdict::Same, Verdict::Slower));
    assert_eq!((with(Some(0.0)), with(Some(50.0))), (Verdict::Slower, Verdict::Same));
}

#[test]
fn instructions_are_exact_and_have_less_noise() {
    let mut a = precise();
    a.cost_unit = CostUnit::Instructions;
    let mut b = a.clone();
    for (p50, expected) in [
        (10_050, Verdict::Same),
        (10_051, Verdict::Slower),
        (9_950, Verdict::Faster),
    ] {
        set(&mut b.scenarios[1], p50);
        let comparison = Comparison::of(from_ref(&a), from_ref(&b), None).unwrap();
        assert_eq!(verdict(&comparison, "minor"), expected, "{p50}");
    }
}

#[test]
fn one_step_of_the_counter_is_no_difference() {
    let mut a = precise();
    let cost = |row: &mut Scenario, p50: u64| {
        set(row, p50);
        (row.cycles.min, row.cycles.max) = (52, 5200);
        row.percentiles_cycles.clear();
    };
    a.scenarios.iter_mut().for_each(|row| cost(row, 78));
    let mut b = a.clone();
    cost(&mut b.scenarios[1], 52);
    cost(&mut b.scenarios[2], 260);
    let comparison = Comparison::of(&[a], &[b], None).unwrap();
    assert_eq!(verdict(&comparison, "minor"), Verdict::Same);
    assert_eq!(verdict(&comparison, "alloc-warm"), Verdict::Slower);
}

#[test]
fn a_row_whose_checks_failed_is_not_judged() {
    let comparison = after(|b| {
        set(&mut b.scenarios[1], 20_000);
        b.scenarios[1].checks[2].ok = false;
    });
    assert_eq!(verdict(&comparison, "minor"), Verdict::Unsound);
    assert!(comparison.fails(1000.0), "nothing says that it is not slower");
}

#[test]
fn slower_by_more_than_a_percentage_must_be_beyond_doubt() {
    let comparison = after(|b| set(&mut b.scenarios[1], 11_000));
    assert!(comparison.fails(9.9) && !comparison.fails(10.0));
}

#[test]
fn rows_are_paired_by_everything_that_was_asked_for() {
    let comparison = after(|b| {
        b.scenarios[0].backing = "memfd".to_owned();
        b.scenarios[1].pattern = "rand".to_owned();
        b.scenarios[2].access = "load".to_owned();
        b.scenarios[3].page_bytes = 2 << 20;
        b.scenarios[4].vcpus = 2;
    });
    let pair = &comparison.pairs[0];
    assert_eq!((pair.rows.len(), pair.only_in_a.len(), pair.only_in_b.len()), (4, 5, 5));
    assert_eq!(pair.only_in_b[0].backing, "memfd");
    let text = table::render(&comparison, false);
    assert!(
        text.contains("only in A: warm-touch, minor, alloc-warm, alloc-cold, second-level-only\n"),
        "{text}"
    );
}

#[test]
fn zero_medians_have_no_ratio_and_still_a_verdict() {
    let mut a = precise();
    set(&mut a.scenarios[1], 0);
    let mut b = a.clone();
    set(&mut b.scenarios[2], 0);
    set(&mut b.scenarios[1], 500);
    let comparison = Comparison::of(&[a], &[b], None).unwrap();
    assert_eq!(verdict(&comparison, "minor"), Verdict::Slower);
    assert_eq!(verdict(&comparison, "alloc-warm"), Verdict::Faster);
    assert_eq!(comparison.pairs[0].rows[1].ratio, None);
    assert!(comparison.fails(10.0));
}

#[test]
fn other_hosts_guests_and_programs_are_told() {
    let comparison = after(|b| {
        b.host.insert("cpu_model".to_owned(), json!("Another CPU"));
        b.host.insert("tsc_khz".to_owned(), json!(3_000_000));
        b.host.insert("faultlab_commit".to_owned(), json!("abc"));
        b.vm.insert("trace_level".to_owned(), json!("stages"));
        (b.partial, b.ended) = (true, Some("ended by signal 2".to_owned()));
    });
    let pair = &comparison.pairs[0];
    assert_eq!(
        pair.warnings,
        [
            "the hosts differ: cpu_model is Test CPU in A and Another CPU in B",
            "the guests differ: trace_level is unknown in A and stages in B",
            "a cycle is not the same time: 2000000 kHz in A and 3000000 kHz in B",
            "B is partial: ended by signal 2",
        ]
    );
    assert_eq!(pair.differs[0].b, "abc");
    let text = table::render(&comparison, false);
    assert!(
        text.contains("WARNING: the hosts differ: cpu_model") && text.contains("faultlab_commit: unknown in A"),
        "{text}"
    );
    let same_rate = after(|b| drop(b.host.insert("tsc_khz".to_owned(), json!(2_000_100))));
    assert!(same_rate.pairs[0].warnings.is_empty());
}

#[test]
fn time_and_instructions_are_not_compared() {
    let (a, mut b) = (precise(), precise());
    b.cost_unit = CostUnit::Instructions;
    let refusal = Comparison::of(&[a], &[b], None).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "A counts cycles and B instructions; compare reports of one unit"
    );
}

#[test]
fn collections_are_paired_by_machine() {
    let on = |machine: &str| {
        let mut report = precise();
        report.host.insert("machine".to_owned(), json!(machine));
        report
    };
    let (amd, intel, real) = (on("rig:amd:icount"), on("rig:intel:icount"), precise());
    let a = [real.clone(), amd.clone()];
    let comparison = Comparison::of(&a, &[intel.clone(), amd, on("other")], None).unwrap();
    assert_eq!(comparison.pairs.len(), 1);
    assert!(comparison.pairs[0].host_a.ends_with("rig:amd:icount"));
    assert_eq!(
        (comparison.reports_only_in_a.len(), comparison.reports_only_in_b.len()),
        (1, 2)
    );
    let text = table::render(&comparison, false);
    assert!(text.contains("only in B, a report of Test CPU"), "{text}");
    let refusal = Comparison::of(&a, &[intel], None).unwrap_err();
    assert!(matches!(refusal, Refusal::NothingInCommon { .. }), "{refusal}");
}

#[test]
fn the_json_and_the_table_say_the_same() {
    let comparison = after(|b| set(&mut b.scenarios[3], 15_000));
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["schema"], "faultlab.comparison/1");
    let row = &json["pairs"][0]["rows"][3];
    assert_eq!(
        (&row["scenario"], &row["verdict"]),
        (&json!("alloc-cold"), &json!("slower"))
    );
    assert_eq!((&row["ratio"], &row["noise_percent"]), (&json!(1.5), &json!(2.0)));
    let text = table::render(&comparison, false);
    let line = text.lines().find(|line| line.starts_with("alloc-cold")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        cells,
        [
            "alloc-cold",
            "10000",
            "15000",
            "1.5000",
            "1.4998",
            "1.5002",
            "2.0",
            "%",
            "slower"
        ]
    );
    assert!(text.contains("\n1 slower, 0 faster, 8 the same\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 120));
    assert!(!text.contains('\x1b') && table::render(&comparison, true).contains('\x1b'));
}

#[test]
fn a_handful_of_samples_is_not_judged() {
    let comparison = after(|b| {
        set(&mut b.scenarios[1], 20_000);
        b.scenarios[1].count = SAMPLES_MIN - 1;
    });
    assert_eq!(verdict(&comparison, "minor"), Verdict::TooFew);
    let row = &comparison.pairs[0].rows[1];
    assert_eq!((row.ratio, row.ratio_interval), (Some(2.0), None));
    assert!(comparison.fails(1000.0), "nothing says that it is not slower");
    assert!(table::render(&comparison, false).contains("8 the same, 1 not judged"));
}

#[test]
fn what_b_has_not_cannot_be_judged() {
    let missing = after(|b| _ = b.scenarios.remove(1));
    let partial = after(|b| b.partial = true);
    let more = after(|b| b.scenarios.push(b.scenarios[1].clone()));
    assert!(missing.fails(1000.0) && partial.fails(1000.0) && !more.fails(1000.0));
}
