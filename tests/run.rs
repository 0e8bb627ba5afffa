//! The table and the JSON of `faultlab run`: every row, its checks, the same counts twice, in time.

use std::time::Duration;

use faultlab::Host;
use faultlab::host::Ring0;
use faultlab::report::{SCENARIOS, SCHEMA};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Needs, Ran, Suite, faultlab, within};

/// What the whole command may take where ring 0 is native.
const NATIVE_LIMIT: Duration = Duration::from_secs(3);
/// The same where it is emulated.
const EMULATED_LIMIT: Duration = Duration::from_secs(15);

/// Options, and the rows that they lead to.
const SELECTIONS: &[(&str, &[&str])] = &[
    (
        "--pages 32 --scenario swap-in,warm-touch,swap-in",
        &["warm-touch", "swap-in"],
    ),
    ("--pages 1 --scenario minor", &["minor"]),
    ("--pages 700 --scenario alloc-warm", &["alloc-warm"]),
    ("--pages 64 --scenario alloc-cold --memory 256M", &["alloc-cold"]),
    (
        "--pages 64 --scenario second-level-only,alloc-warm --memory 8M",
        &["alloc-warm", "second-level-only"],
    ),
    (
        "--pages 64 --scenario swap-out,swap-in --memory 16M --swap 8M",
        &["swap-out", "swap-in"],
    ),
    ("--pages 64 --scenario minor --trace-level stages", &["minor"]),
    (
        "--pages 16 --swap 0",
        &[
            "warm-touch",
            "minor",
            "alloc-warm",
            "alloc-cold",
            "second-level-only",
            "pio-exit",
            "mmio-exit",
        ],
    ),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("run::everything, in time", Needs::Kvm, everything);
    suite.test("run::two runs agree in their counts", Needs::Kvm, twice);
    for (options, rows) in SELECTIONS {
        suite.test(format!("run::{options}"), Needs::Kvm, || {
            let (ran, report) = run(options);
            expect_rows(&ran.expect(0), &report, rows);
        });
    }
    suite.test("run::a traced run says so", Needs::Kvm, || {
        let (ran, report) = run("--pages 16 --scenario warm-touch --trace-level stages");
        assert!(ran.stdout().contains("TRACING ON"), "{}", ran.stdout());
        assert_eq!(report["vm"]["trace_level"], "stages");
    });
    suite.test("run::a traced program is told apart from its trace", Needs::Kvm, || {
        let ran = faultlab("exec --trace-level stages -- shm-pair").run().expect(0);
        assert!(ran.stdout().ends_with("\nshm-pair: ok\n"), "{}", ran.stdout());
        assert!(ran.stderr().contains("clear_page"), "{}", ran.stderr());
    });
}

/// Runs with these options. Returns what it did and the JSON.
fn run(options: &str) -> (Ran, Value) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let ran = faultlab("run --json")
        .args([&path])
        .args(options.split_ascii_whitespace())
        .run();
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("no report: {error}; {}", ran.stderr()));
    (ran, serde_json::from_slice(&bytes).expect("valid JSON"))
}

fn everything() {
    let limit = match Host::open().expect("the test needs KVM").identity().ring0 {
        Ring0::Native => NATIVE_LIMIT,
        Ring0::Emulated | Ring0::Unknown => EMULATED_LIMIT,
    };
    let mut report = Value::Null;
    let ran = within(limit, || {
        let (ran, read) = run("");
        expect_rows(&ran, &read, &SCENARIOS);
        report = read;
        let ran = ran.expect(0);
        (ran.elapsed, ran)
    });
    assert_eq!(ran.stderr(), "");
    // Enough samples for a 99th percentile to mean something.
    for row in report["scenarios"].as_array().expect("a list") {
        assert!(
            row["count"].as_u64() >= Some(64),
            "{}: {} samples",
            row["name"],
            row["count"]
        );
    }
}

/// Whatever a guest counts is the same the next time; times are not, nor are the host's interruptions.
fn twice() {
    let [first, second] = [(); 2].map(|()| {
        let (_, report) = run("--pages 64");
        let rows = report["scenarios"].as_array().expect("a list").iter();
        let counts = rows.map(|row| {
            let checks = row["checks"].to_string();
            (
                row["name"].to_string(),
                row["count"].to_string(),
                row["totals"]["guest"].to_string(),
                checks,
            )
        });
        counts.collect::<Vec<_>>()
    });
    assert_eq!(first.len(), SCENARIOS.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
}

/// The JSON has exactly these rows, complete and with all checks good, and the table shows them.
fn expect_rows(ran: &Ran, report: &Value, rows: &[&str]) {
    let fail = |what: &str| -> ! { panic!("{what}\n{}{}", ran.stderr(), ran.stdout()) };
    assert_eq!(report["schema"], SCHEMA);
    assert_eq!(SCHEMA, "faultlab.report/1");
    if report["partial"] != false || !report["missing"].as_array().is_some_and(Vec::is_empty) {
        fail("the report is partial");
    }
    expect_identity(report);
    let found = report["scenarios"].as_array().expect("a list");
    let names: Vec<_> = found
        .iter()
        .map(|row| row["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, rows);
    let table = ran.stdout();
    for row in found {
        expect_row(row);
        let name = row["name"].as_str().unwrap_or_default();
        let is_shown = |line: &str| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            words.first() == Some(&name) && words.last() == Some(&"ok")
        };
        if !table.lines().any(is_shown) {
            fail(&format!("{name} has no line that ends with ok"));
        }
    }
}

/// Who measured, and on what.
fn expect_identity(report: &Value) {
    for field in [
        "cpu_model",
        "kernel_release",
        "kvm_kind",
        "second_level_paging",
        "ring0",
        "faultlab_version",
    ] {
        let value = &report["host"][field];
        assert!(
            value.as_str().is_some_and(|text| !text.is_empty()),
            "host.{field} is {value}"
        );
    }
    for (object, field) in [
        ("host", "tsc_khz"),
        ("host", "memory_bytes"),
        ("vm", "memory_bytes"),
        ("vm", "vcpus"),
    ] {
        let value = &report[object][field];
        assert!(value.as_u64() > Some(0), "{object}.{field} is {value}");
    }
}

/// One row has every field of its schema, numbers that are in order, and checks that hold.
fn expect_row(row: &Value) {
    let touches = row["access"] != "none";
    assert_eq!(row["backing"], "anon");
    assert_eq!(row["pattern"], if touches { "seq" } else { "none" });
    let noise = row["count"] == 1 || row["noise_floor_cycles"].as_u64() > Some(0);
    assert!(noise, "{}: no A/A noise floor", row["name"]);
    assert_eq!(
        (row["page_bytes"].as_u64(), row["vcpus"].as_u64()),
        (Some(4096), Some(1))
    );
    for unit in ["cycles", "ns"] {
        let numbers = ["min", "p50", "p90", "p99", "p999", "max"].map(|field| {
            let value = &row[unit][field];
            value.as_f64().unwrap_or_else(|| panic!("{unit}.{field} is {value}"))
        });
        assert!(numbers.is_sorted() && numbers[0] > 0.0, "{unit}: {numbers:?}");
        let mean = row[unit]["mean"].as_f64().expect("a number");
        assert!(mean >= numbers[0] && mean <= numbers[5], "{unit}.mean is {mean}");
    }
    for (object, fields) in [
        ("kvm_per_fault", &["pf_taken", "exits"][..]),
        ("guest_per_fault", &["pgfault", "pgmajfault", "pswpin", "pswpout"]),
        ("host_per_fault", &["minflt", "majflt"]),
    ] {
        for field in fields {
            let value = &row[object][field];
            assert!(value.is_number(), "{}: {object}.{field} is {value}", row["name"]);
        }
    }
    let checks = row["checks"].as_array().expect("a list");
    for name in [
        "count",
        "pgfault",
        "pgmajfault",
        "pgalloc",
        "pswpout",
        "pswpin",
        "cold",
        "exits",
    ] {
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("{} has no check {name}", row["name"]));
        assert_eq!(check["ok"], true, "{}: {name}: {}", row["name"], check["detail"]);
    }
}
