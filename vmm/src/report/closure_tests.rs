use super::super::measured::Regime;
use super::super::testing::report;
use super::super::{Report, Scenario};
use super::*;

/// The four rows, with these medians: warm-touch, second-level-only, alloc-warm, alloc-cold. Each median's interval is 22 wide.
fn rows(p50: [u64; 4]) -> Report {
    let mut report = report(Regime::TwoDimensional);
    for (name, p50) in ["warm-touch", "second-level-only", "alloc-warm", "alloc-cold"]
        .iter()
        .zip(p50)
    {
        row(&mut report, name).cycles.p50 = p50;
    }
    report
}

fn row<'a>(report: &'a mut Report, name: &str) -> &'a mut Scenario {
    report.scenarios.iter_mut().find(|row| row.name == name).unwrap()
}

fn closure(report: &Report) -> Closure {
    let mut all = Closure::all_of(&report.scenarios);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn compares_the_two_differences() {
    let found = closure(&rows([100, 1100, 500, 1400]));
    assert_eq!(
        (found.alloc_difference_cycles, found.second_level_difference_cycles),
        (900, 1000)
    );
    assert_eq!(found.error_percent, -10.0);
    assert_eq!((found.backing.as_str(), found.pattern.as_str()), ("anon", "seq"));
    // Four intervals of 22 cycles each.
    assert_eq!(found.noise_cycles, 21);
    assert!(!found.within_noise());
    assert!(closure(&rows([100, 1100, 500, 1479])).within_noise());
}

#[test]
fn noise_is_at_least_what_a_row_differs_from_itself_and_one_cycle() {
    let mut report = rows([100, 1100, 500, 1400]);
    row(&mut report, "alloc-cold").noise_floor_cycles = Some(200);
    let found = closure(&report);
    assert_eq!(found.noise_cycles, 201, "200, and 11 three times, in squares");
    assert!(found.within_noise());
    for row in &mut report.scenarios {
        row.p50_interval_cycles = [row.cycles.p50; 2];
        row.noise_floor_cycles = None;
    }
    assert_eq!(closure(&report).noise_cycles, 1, "the counter shows no less");
}

#[test]
fn takes_four_rows_of_one_backing_and_pattern() {
    let mut report = rows([100, 1100, 500, 1400]);
    let mut other = report.scenarios.clone();
    other.iter_mut().for_each(|row| row.backing = "memfd".to_owned());
    report.scenarios.extend(other);
    let backings = |report: &Report| -> Vec<String> {
        let all = Closure::all_of(&report.scenarios).into_iter();
        all.map(|closure| closure.backing).collect()
    };
    assert_eq!(backings(&report), ["anon", "memfd"]);
    row(&mut report, "alloc-warm").pattern = "rand".to_owned();
    assert_eq!(backings(&report), ["memfd"]);
    report.scenarios.retain(|row| row.name != "warm-touch");
    assert_eq!(backings(&report), [""; 0]);
    assert_eq!(
        Closure::all_of(&rows([100, 100, 500, 1400]).scenarios),
        [],
        "a division by nothing"
    );
}

#[test]
fn medians_of_a_handful_say_nothing() {
    let mut report = rows([100, 1100, 500, 1400]);
    row(&mut report, "alloc-cold").count = SAMPLES_MIN - 1;
    assert!(Closure::all_of(&report.scenarios).is_empty());
}
