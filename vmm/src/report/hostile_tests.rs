//! Files that were edited to harm: whatever can be read can also be shown in every form, and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::compare::{self, Comparison};
use super::measured::Regime;
use super::stages::{StageCost, Stages};
use super::testing::report;
use super::{Report, csv, header, html, markdown, read, stage_table, table};

/// Text that is markup somewhere, in a field that any reader shows.
pub(super) const MARKUP: &str = "</td><script>alert(1)</script>\"'&`|=@\u{1b}[2J\u{202e}";

/// A report with everything that a report can have.
pub(super) fn full() -> Report {
    let mut report = report(Regime::Shadow);
    report.partial = true;
    report.ended = Some("ended by signal 2".to_owned());
    report.missing = vec!["fork".to_owned()];
    let row = &mut report.scenarios[1];
    row.noise_floor_cycles = Some(7);
    row.checks[0].ok = false;
    let cost = |stage: &str, cycles| StageCost {
        stage: stage.to_owned(),
        count: 2,
        p50_cycles: cycles,
        p99_cycles: cycles,
        total_cycles: 2 * cycles,
    };
    row.stages = Some(Stages {
        records: 10,
        lost: 3,
        stages: vec![cost("find_vma", 300), cost("set_pte", 100)],
        whole_mean_cycles: Some(420.0),
        apart_percent: Some(-4.762),
        clock_error_cycles: Some(5),
    });
    report
}

/// Shows `reports` in every way there is.
fn show_all(reports: &[Report]) -> usize {
    let tables = reports
        .iter()
        .map(|report| table::render(report, &header::lines(report), true).len() + stage_table::render(report).len());
    let compared = match Comparison::of(reports, &[full()], None) {
        Ok(comparison) => {
            let other_way = Comparison::of(&[full()], reports, Some(0.0)).map(|it| it.fails(5.0));
            assert!(other_way.is_ok());
            compare::table::render(&comparison, true).len() + serde_json::to_vec(&comparison).unwrap().len()
        }
        Err(refusal) => refusal.to_string().len(),
    };
    tables.sum::<usize>()
        + compared
        + csv::render(reports).unwrap().len()
        + markdown::render(reports).len()
        + html::render(reports).len()
}

/// The value at number `at` of `value`'s parts, counted depth first and around.
fn part(value: &mut Value, at: usize) -> &mut Value {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(values) => values.iter().map(count).sum(),
            Value::Object(map) => map.values().map(count).sum(),
            _ => 0,
        }
    }
    let mut rest = at % count(value);
    let mut here = value;
    while rest > 0 {
        rest -= 1;
        let parts: Vec<&mut Value> = match here {
            Value::Array(values) => values.iter_mut().collect(),
            Value::Object(map) => map.values_mut().collect(),
            _ => unreachable!("only parts are counted"),
        };
        let mut found = None;
        for each in parts {
            let inside = count(each);
            if rest < inside {
                found = Some(each);
                break;
            }
            rest -= inside;
        }
        here = found.expect("it is in one of them");
    }
    here
}

fn hostile_values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just(json!(u64::MAX)),
            Just(json!(0)),
            Just(json!(1)),
            Just(json!(f64::MAX)),
            Just(json!(-1e-300)),
            Just(json!(MARKUP)),
            Just(json!("")),
            Just(json!("x".repeat(5000))),
            Just(json!(null)),
            Just(json!(true)),
            Just(json!([])),
            Just(json!({})),
            Just(json!([[0, 5], [100, 0], [50, u64::MAX]])),
        ],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_can_be_read_can_be_shown(edits in prop::collection::vec((any::<prop::sample::Index>(), hostile_values()), 1..4)) {
        let mut value = serde_json::to_value(full()).unwrap();
        for (at, edit) in edits {
            *part(&mut value, at.index(4096)) = edit;
        }
        match read::parse(value.to_string().as_bytes()) {
            Ok(reports) => prop_assert!(show_all(&reports) > 0),
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }

    #[test]
    fn bytes_that_are_no_report_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read::parse(&bytes).is_err());
    }

    #[test]
    fn any_numbers_can_be_drawn(
        points in prop::collection::vec((any::<f64>(), any::<u64>()), 0..40),
        counts in any::<[u64; 4]>(),
    ) {
        let mut report = full();
        let row = &mut report.scenarios[0];
        row.percentiles_cycles = points.into_iter().map(|(percent, cycles)| super::Percentile(percent, cycles)).collect();
        (row.count, row.cycles.p50, row.p50_interval_cycles) = (counts[0], counts[1], [counts[2], counts[3]]);
        prop_assert!(show_all(&[report]) > 0);
    }
}
