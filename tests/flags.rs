//! `faultlab bench` with any valid flags together measures, or says in one line why not.
//!
//! Every pair of two flags' values is in some case: cases are made by a greedy search, the same each time. By default two values of each flag are
//! paired; `FAULTLAB_FLAGS=N` pairs the first N of each, up to all. Values of which one excludes another are values of one flag here, or most cases would
//! be refused at once.
//!
//! Source of the method: Cohen and others, "The AETG System" (IEEE TSE 23, 1997).

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Needs, Suite, faultlab};

/// Values paired unless more are asked for.
const VALUES: usize = 2;
/// Names the number of values instead.
const VALUES_VARIABLE: &str = "FAULTLAB_FLAGS";

/// Each flag's values, the most telling first. `@` is the case's own directory.
const FLAGS: &[&[&str]] = &[
    &[
        "--scenario swap-out,swap-in",
        "--scenario alloc-cold,second-level-read,tlb-miss",
        "--scenario write-protect,cow,zero-upgrade",
        "--scenario pio-exit,mmio-exit,halt-exit,cpuid-exit",
        "--scenario fault-around,minor-read,fork",
        "--scenario pread,create-unlink,mprotect,getppid",
        "--scenario minor-1m,minor-10-vmas",
    ],
    &[
        "--backing anon",
        "--backing file-cold --backing-file @/backing",
        "--backing uffd-missing --uffd-threads 2 --uffd-fill zeropage",
        "--backing uffd-minor --uffd-delay-us 20",
        "--backing hugetlb-2m",
        "--backing memfd-thp",
        "--backing file",
        "--backing anon-thp,memfd",
        "--backing uffd-missing --uffd-fill copy",
        "--backing hugetlb-1g",
    ],
    &["", "--prepare populate", "--prepare prefault"],
    &[
        "--swap 16M",
        "--swap-file @/swap",
        "--swap 16M --swap-backend memory --swap-area 8M,prio=3",
        "--swap 1M --swap-backend null",
        "--swap 0",
    ],
    &["", "--swap-io thread", "--swap-io uring"],
    &["", "--swap-direct"],
    &["", "--trace-level stages"],
    &["", "--dirty ring"],
    &["", "--pattern rand,stride:3 --seed 7", "--pattern stride:2"],
    &["", "--access load"],
    &["", "--memory 16M", "--memory 1G"],
    &["", "--window 32M", "--window 4K", "--window 1G"],
    &["", "--host-events"],
    &["--quiet", "", "--verbose"],
    &["", "--versus-linux"],
    &[
        "",
        "--swap-latency fixed:30us",
        "--swap-errors read:1e-1,write:1e-1,seed=3",
        "--swap-space 1M",
        "--swap-stall 2",
    ],
    &["", "--vcpus 2"],
];

/// Those after which rows may be found wrong, and the guest may end early: what is asked for.
const BREAKING: &[&str] = &["--swap-errors", "--swap-stall", "--swap-space", "--swap-backend null"];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    let values = std::env::var(VALUES_VARIABLE)
        .ok()
        .and_then(|values| values.parse().ok());
    let flags: Vec<&[&str]> = FLAGS
        .iter()
        .map(|flag| &flag[..values.unwrap_or(VALUES).clamp(1, flag.len())])
        .collect();
    for case in pairwise(&flags) {
        let words: Vec<&str> = flags
            .iter()
            .zip(case)
            .map(|(values, value)| values[value])
            .filter(|words| !words.is_empty())
            .collect();
        let words = words.join(" ");
        suite.test(format!("flags::{words}"), Needs::Kvm, move || {
            measures_or_says_why(&words);
        });
    }
}

/// A value of each flag in every case, such that each two values of two flags are in one case.
fn pairwise(flags: &[&[&str]]) -> Vec<Vec<usize>> {
    let values = |flag: usize| 0..flags[flag].len();
    let pairs_of = |one: usize, other: usize| {
        values(one).flat_map(move |a| (0..flags[other].len()).map(move |b| ((one, a), (other, b))))
    };
    let mut left: Vec<_> = (0..flags.len())
        .flat_map(|one| (one + 1..flags.len()).flat_map(move |other| pairs_of(one, other)))
        .collect();
    let mut cases = Vec::new();
    while let Some(&(first, second)) = left.first() {
        let mut case: Vec<Option<usize>> = vec![None; flags.len()];
        for (flag, value) in [first, second] {
            case[flag] = Some(value);
        }
        for flag in 0..flags.len() {
            if case[flag].is_some() {
                continue;
            }
            // Pairs that it would add; of values that add as many, a later one for a later case.
            let adds = |value: usize| {
                let is_chosen = |(flag, value): (usize, usize)| case[flag] == Some(value);
                let here = (flag, value);
                let new = left
                    .iter()
                    .filter(|(a, b)| *a == here && is_chosen(*b) || *b == here && is_chosen(*a));
                (new.count(), (value + cases.len()) % flags[flag].len())
            };
            case[flag] = values(flag).max_by_key(|value| adds(*value));
        }
        let case: Vec<usize> = case.into_iter().flatten().collect();
        left.retain(|((a, x), (b, y))| case[*a] != *x || case[*b] != *y);
        cases.push(case);
    }
    cases
}

/// Either a whole report whose rows add up or say why they are not there, or one line and its documented status.
fn measures_or_says_why(words: &str) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let words = words.replace('@', &directory.path().display().to_string());
    let ran = faultlab("bench --pages 4 --timeout 60 --json")
        .args([&path])
        .args(words.split_ascii_whitespace())
        .run();
    let stderr = ran.stderr();
    assert!(ran.in_order && !stderr.contains("panicked at"), "{stderr}");
    if matches!(ran.status, 2 | 69) {
        let lines = stderr.lines().filter(|line| !is_log(line));
        assert_eq!(lines.count(), 1, "not one line:\n{stderr}");
        assert_eq!(ran.stdout(), "", "a refusal says nothing on standard output");
        return;
    }
    let may_fail = BREAKING.iter().any(|flag| words.contains(flag));
    assert!(
        ran.status == 0 || may_fail && matches!(ran.status, 1 | 124 | 125),
        "status {}; standard error:\n{stderr}standard output:\n{}",
        ran.status,
        ran.stdout()
    );
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("no report: {error}; {stderr}"));
    let report: Value = serde_json::from_slice(&bytes).expect("valid JSON");
    let reports = report["reports"].as_array().cloned().unwrap_or_else(|| vec![report]);
    for report in reports {
        let listed = |what: &str| report[what].as_array().map_or(0, Vec::len);
        assert!(
            listed("scenarios") + listed("skipped") + listed("missing") > 0,
            "an empty report: {report}"
        );
    }
}

/// A line of the log, which `--verbose` asks for.
fn is_log(line: &str) -> bool {
    ["warn: ", "info: ", "debug: ", "trace: "].iter().any(|level| {
        line.strip_prefix("faultlab: ")
            .is_some_and(|rest| rest.starts_with(level))
    })
}
