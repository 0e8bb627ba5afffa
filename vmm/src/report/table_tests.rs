//! The table and the JSON of synthetic reports.

use faultlab_abi::dev::SkipArgs;
use serde_json::json;

use super::CostUnit;
use super::measured::Regime;
use super::table::render;
use super::testing::{builder, phase, report, vm};
use super::{SCENARIOS, exit_kind};

const HEADER: &str = "host line";

fn table(report: &super::Report) -> String {
    render(report, &[HEADER.to_owned()], false)
}

#[test]
fn the_whole_table() {
    let text = table(&report(Regime::TwoDimensional));
    assert!(text == include_str!("table_snapshot.txt"), "the table is now:\n{text}");
}

#[test]
fn fits_100_columns_with_seven_digit_costs() {
    let mut report = report(Regime::Shadow);
    for row in &mut report.scenarios {
        (row.cycles.p50, row.cycles.p99) = (9_999_999, 9_999_999);
        (row.ns.p50, row.ns.p99) = (9_999_999.0, 9_999_999.0);
        row.count = 65_536;
        row.guest_per_fault
            .values_mut()
            .chain(row.host_per_fault.values_mut())
            // Whole numbers, or the row's checks do not hold.
            .for_each(|each| *each = 12.0);
        row.kvm_per_fault.values_mut().for_each(|each| *each = 99_999.0);
    }
    for line in table(&report).lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn a_failing_row_is_marked_and_explained() {
    let mut builder = builder(Regime::TwoDimensional);
    let mut broken = phase("swap-in", Regime::TwoDimensional);
    *broken.moved.guest.get_mut("pswpin").unwrap() -= 2;
    *broken.moved.host.get_mut(exit_kind::PIO).unwrap() += 1;
    builder.add(&broken);
    let report = builder.finish(vm(), Some("ended by SIGINT".to_owned()));
    assert!(!report.adds_up());
    let text = table(&report);
    assert!(
        text.contains("FAIL swap-in: pswpin 98 of 100; exits 1 of 0\n"),
        "{text}"
    );
    assert!(text.contains("\nnot measured: warm-touch, minor"), "{text}");
    assert!(text.contains("partial: ended by SIGINT\n"), "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("swap-in") && line.ends_with("FAIL")),
        "{text}"
    );
}

#[test]
fn a_row_that_was_asked_for_and_is_not_there_fails() {
    let mut builder = builder(Regime::Shadow);
    for scenario in &SCENARIOS[1..] {
        builder.add(&phase(scenario, Regime::Shadow));
    }
    let report = builder.finish(vm(), None);
    assert!(!report.adds_up());
    assert!(
        table(&report).contains("\nFAIL not measured: warm-touch\n"),
        "{}",
        table(&report)
    );
}

#[test]
fn a_counter_the_host_lacks_has_no_column() {
    let mut report = report(Regime::TwoDimensional);
    assert!(table(&report).contains("insn"));
    for row in &mut report.scenarios {
        row.kvm_per_fault.remove("insn_emulation");
    }
    assert!(!table(&report).contains("insn"));
}

#[test]
fn instructions_are_not_called_cycles() {
    let mut report = report(Regime::TwoDimensional);
    assert_eq!(serde_json::to_value(&report).unwrap()["cost_unit"], "cycles");
    report.cost_unit = CostUnit::Instructions;
    assert_eq!(serde_json::to_value(&report).unwrap()["cost_unit"], "instructions");
    let text = table(&report);
    assert!(!text.contains("cycles"), "{text}");
    assert!(
        text.contains("  instruc  ") && text.contains(" 10000 instructions:"),
        "{text}"
    );
    let row = text.lines().find(|line| line.starts_with("alloc-cold")).unwrap();
    assert!(row.starts_with("alloc-cold          100   12049 "), "{row}");
    assert!(!row.contains("6024"), "no nanoseconds: {row}");
}

#[test]
fn the_host_tells_the_unit() {
    for (machine, expected) in [
        (json!("rig:amd:icount"), CostUnit::Instructions),
        (json!("rig:amd"), CostUnit::Cycles),
        (json!("a name that somebody gave:icount"), CostUnit::Cycles),
        (json!(null), CostUnit::Cycles),
    ] {
        let mut host = serde_json::Map::new();
        host.insert("machine".to_owned(), machine.clone());
        let builder = super::Builder::new(host, 1_000_000, Regime::TwoDimensional, Vec::new());
        assert_eq!(builder.finish(vm(), None).cost_unit, expected, "{machine}");
    }
}

#[test]
fn colours_only_when_asked_for() {
    let report = report(Regime::TwoDimensional);
    assert!(!table(&report).contains('\x1b'));
    assert!(render(&report, &[], true).contains('\x1b'));
}

#[test]
fn nothing_measured_is_said() {
    let text = table(&builder(Regime::Shadow).finish(vm(), Some("the guest kernel panicked".to_owned())));
    assert!(text.contains("nothing was measured"), "{text}");
}

#[test]
fn the_json_has_the_promised_shape() {
    let json = serde_json::to_value(report(Regime::TwoDimensional)).unwrap();
    assert_eq!(json["schema"], "faultlab.report/1");
    assert_eq!(json["partial"], false);
    assert!(json["host"].is_object() && json["vm"].is_object());
    let rows = json["scenarios"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, SCENARIOS);
    for row in rows {
        assert_eq!(row["backing"], "anon");
        assert_eq!(
            (&row["page_bytes"], &row["pattern"], &row["vcpus"]),
            (&4096.into(), &"seq".into(), &1.into())
        );
        for unit in ["cycles", "ns"] {
            for statistic in ["min", "p50", "p90", "p99", "p999", "max", "mean"] {
                assert!(row[unit][statistic].is_number(), "{unit} {statistic}");
            }
        }
        assert!(row["kvm_per_fault"]["pf_taken"].is_number() && row["kvm_per_fault"]["exits"].is_number());
        assert!(row["guest_per_fault"]["pgfault"].is_number() && row["guest_per_fault"]["pgmajfault"].is_number());
        assert_eq!(row["checks"][0]["name"], "count");
        assert_eq!(row["checks"][0]["ok"], true);
        assert_eq!(row["checks"][0]["detail"], "100 of 100");
    }
    assert_eq!(rows[3]["kvm_per_fault"]["pf_taken"], 1.0);
    assert_eq!(rows[7]["host_per_fault"]["exit_pio"], 1.0);
    assert_eq!(json["marks"]["kvm"]["exits"], 4);
    assert_eq!(json["closure"]["error_percent"], 0.0);
}

#[test]
fn what_is_written_can_be_read_back() {
    let report = report(Regime::TwoDimensional);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<super::Report>(&text).unwrap(), report);
    let both = super::Collection::of(vec![report.clone(), report]);
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<super::Collection>(&text).unwrap(), both);
}

#[test]
fn a_reader_ignores_what_a_later_version_adds() {
    let report = report(Regime::Shadow);
    let mut json = serde_json::to_value(&report).unwrap();
    json["added"] = json!({"later": [1]});
    json["scenarios"][0]["added"] = json!(1);
    json["scenarios"][0]["cycles"]["p9999"] = json!(1);
    assert_eq!(serde_json::from_value::<super::Report>(json).unwrap(), report);
}

#[test]
fn backings_and_patterns_are_told_apart() {
    let mut builder = builder(Regime::TwoDimensional);
    let both = ["minor", "alloc-cold"];
    both.iter()
        .for_each(|name| builder.add(&phase(name, Regime::TwoDimensional)));
    builder.boot("memfd");
    builder.add(&super::testing::empty());
    for pattern in ["seq", "rand"] {
        let mut measured = phase("minor", Regime::TwoDimensional);
        measured.args.pattern = [0; 32];
        measured.args.pattern[..pattern.len()].copy_from_slice(pattern.as_bytes());
        builder.add(&measured);
    }
    builder.skip_backing("hugetlb-2m", "the pool has 0 free", false);
    let mut report = builder.finish(vm(), None);
    report.missing.clear();
    assert!(report.adds_up(), "what cannot be had fails nothing");
    let text = table(&report);
    let starts: Vec<&str> = text
        .lines()
        .map(|line| line.get(..12).unwrap_or(line).trim_end())
        .collect();
    let at = starts.iter().position(|start| *start == "on anon").unwrap();
    assert_eq!(
        starts[at + 1..at + 6],
        ["minor", "alloc-cold", "on memfd", "minor seq", "minor rand"],
        "{text}"
    );
    assert!(
        text.contains("\nskipped all on hugetlb-2m: the pool has 0 free\n"),
        "{text}"
    );
}

#[test]
fn a_row_whose_state_is_not_what_it_should_be_fails() {
    let mut builder = builder(Regime::TwoDimensional);
    let mut args = SkipArgs {
        scenario: phase("minor", Regime::TwoDimensional).args.scenario,
        pattern: phase("minor", Regime::TwoDimensional).args.pattern,
        access: 1,
        failed: 0,
        reason: [0; 128],
    };
    args.reason[..9].copy_from_slice(b"no memory");
    builder.skip(&args);
    args.failed = 1;
    args.reason[..9].copy_from_slice(b"3 of 4000");
    builder.skip(&args);
    let report = builder.finish(vm(), None);
    assert!(!report.missing.contains(&"minor".to_owned()), "a reason is known");
    assert_eq!(report.missing.len(), SCENARIOS.len() - 1);
    let text = table(&report);
    assert!(
        text.contains("\nskipped minor on anon: no memory\nFAIL minor on anon: 3 of 4000\n"),
        "{text}"
    );
    let mut only = report.clone();
    only.missing.clear();
    assert!(!only.adds_up());
    only.skipped.retain(|skipped| !skipped.failed);
    assert!(only.adds_up());
}
