//! `faultlab bench`: a matrix in one report, what cannot be had in one line, and what a signal leaves.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Needs, Suite, faultlab};

/// Wrong ways to ask, and words of the answer.
const REFUSALS: &[(&str, &[&str])] = &[
    ("--vcpus 2", &["--vcpus 2", "one vCPU", "--vcpus 1"]),
    ("--vcpus 0", &["--vcpus"]),
    ("--scenario no-such", &["no-such", "minor"]),
    ("--backing no-such", &["no-such", "anon"]),
    ("--backing all,no-such", &["no-such"]),
    ("--pattern zigzag", &["zigzag", "stride:N"]),
    ("--pattern stride:0", &["stride:0", "65536"]),
    (
        "--pattern stride:1,stride:2,stride:3,stride:4,stride:5,stride:6,stride:7,stride:8,stride:9,stride:10,stride:11,\
         stride:12,stride:13,stride:14,stride:15,stride:16,stride:17",
        &["17 patterns", "at most 16"],
    ),
    ("--access both", &["both", "store", "load"]),
    ("--seed -1", &["-1"]),
    ("--pages 0", &["--pages", "65536"]),
    (
        "--scenario swap-in --swap 0 --backing anon",
        &["swap-in", "give --swap"],
    ),
    ("--backing anon --uffd-threads 2", &["--uffd-threads", "uffd-missing"]),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("bench::every scenario adds up", Needs::Kvm, everything);
    suite.test("bench::a matrix of backings and patterns", Needs::Kvm, matrix);
    for server in ["inline", "thread", "uring"] {
        let name = format!("bench::swap rows add up, disk served by {server}");
        suite.test(name, Needs::Kvm, move || swap_rows(server));
    }
    suite.test("bench::random orders repeat with their seed", Needs::Kvm, seeds);
    for signal in [Signal::INT, Signal::TERM] {
        let name = format!("bench::what a signal leaves: {signal:?}");
        suite.test(name, Needs::Kvm, move || interrupted(signal));
    }
    for (options, words) in REFUSALS {
        suite.test(format!("bench::refuses {options}"), Needs::Kvm, || {
            let ran = faultlab("bench").args(options.split_ascii_whitespace());
            ran.run().expect_refusal(2, words);
        });
    }
    suite.test("bench::lists its scenarios", Needs::Nothing, || {
        let ran = faultlab("bench --list").run().expect(0);
        let names = faultlab_abi::scenario::ALL.iter().map(|scenario| scenario.name());
        let listed = ran.stdout();
        let listed: Vec<&str> = listed
            .lines()
            .skip(1)
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(listed, names.collect::<Vec<_>>());
    });
}

/// Runs with these options, which must end with `status`. Returns the JSON and the table.
fn bench(options: &str, status: i32) -> (Value, String) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let ran = faultlab("bench --json")
        .args([&path])
        .args(options.split_ascii_whitespace());
    let ran = ran.run().expect(status);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("no report: {error}; {}", ran.stderr()));
    (serde_json::from_slice(&bytes).expect("valid JSON"), ran.stdout())
}

/// `scenario backing pattern access` of every row.
fn rows(report: &Value) -> Vec<String> {
    let rows = report["scenarios"].as_array().expect("a list").iter();
    let row =
        |row: &Value| ["name", "backing", "pattern", "access"].map(|key| row[key].as_str().unwrap_or("?").to_owned());
    rows.map(|each| row(each).join(" ")).collect()
}

fn everything() {
    let (report, table) = bench("--backing anon --pages 16", 0);
    assert_eq!(
        rows(&report).len(),
        faultlab_abi::scenario::ALL
            .iter()
            .filter(|each| !each.is_special())
            .count(),
        "{table}"
    );
    for row in report["scenarios"].as_array().expect("a list") {
        assert_eq!(row["count"], 16);
        assert!(row["noise_floor_cycles"].as_u64() > Some(0), "{row}");
    }
    assert_eq!(report["closures"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["closure"], report["closures"][0]);
}

fn matrix() {
    let options =
        "--backing anon,memfd --scenario second-level-only,getppid --pattern seq,stride:3 --access load --pages 8";
    let (report, table) = bench(options, 0);
    let of = |backing: &str| {
        ["seq", "stride:3"]
            .map(|pattern| format!("second-level-only {backing} {pattern} load"))
            .into_iter()
            .chain([format!("getppid {backing} none none")])
    };
    assert_eq!(rows(&report), of("anon").chain(of("memfd")).collect::<Vec<_>>());
    for line in ["on anon", "on memfd", "second-level-only stride:3 "] {
        assert!(
            table.lines().any(|found| found.starts_with(line)),
            "{line} is not in\n{table}"
        );
    }
    // Whatever this host cannot do is a reason, not a failure.
    let (report, _) = bench("--backing all --scenario getppid --pages 2", 0);
    let skipped = report["skipped"].as_array().expect("a list").len();
    assert_eq!(rows(&report).len() + skipped, faultlab::memory::Backing::ALL.len());
}

/// More pages than there can be requests under way, so that all of these are used, and some are waited for.
fn swap_rows(server: &str) {
    let options = format!("--backing anon,memfd --scenario swap-out,swap-in --pages 128 --swap-io {server}");
    let (report, table) = bench(&options, 0);
    assert_eq!(rows(&report).len(), 4, "{table}");
}

fn seeds() {
    let run = |seed: u32| {
        let options = format!("--backing anon --scenario minor --pattern rand --pages 64 --seed {seed}");
        let (report, _) = bench(&options, 0);
        assert_eq!(report["vm"]["seed"], seed);
        rows(&report)
    };
    assert_eq!(run(7), ["minor anon rand store"]);
}

fn interrupted(signal: Signal) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    // The program's lines are in the log: one row is done, and the other takes longer than a signal.
    let options = "-v --backing anon,memfd --scenario getppid,fork --pages 20000";
    let mut running = faultlab("bench --json")
        .args([&path])
        .args(options.split_ascii_whitespace())
        .start();
    let stderr = running.child.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains("getppid") && line.contains("samples")),
        "no row was done"
    );
    running.signal(signal);
    // Read on, lest the command wait for a reader.
    lines.for_each(drop);
    let ran = running.end().expect(128 + signal.as_raw());
    assert!(ran.in_order);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("valid JSON");
    assert_eq!(report["partial"], true);
    assert_eq!(report["ended"], format!("ended by signal {}", signal.as_raw()));
    let missing = report["missing"].as_array().expect("a list");
    assert_eq!(rows(&report), ["getppid anon none none"], "what was measured is there");
    assert!(missing.iter().any(|row| row == "fork on memfd"), "{missing:?}");
    assert!(ran.stdout().contains("partial: ended by signal"), "{}", ran.stdout());
}
