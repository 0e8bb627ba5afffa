//! The simulated machine: programs of this host in it, signals, Linux beside the guest.

use std::io::{BufRead, BufReader};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Needs, Suite, faultlab};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    let simulated: [(&str, fn()); 9] = [
        ("words for its Linux reach it", appended),
        ("a program on Linux and in the guest", program_versus_linux),
        ("a program of this host runs there, with its libraries", foreign),
        ("SIGINT ends the command, whose partial report comes back", interrupted),
        ("a simulator that dies leaves nothing behind", killed),
        ("Linux stands beside the guest", versus_linux),
        ("Linux swaps beside the guest", swap_versus_linux),
        ("a file that leaves the page cache is on a disk", from_disk),
        ("files go through to the guest and back", through),
    ];
    for (name, body) in simulated {
        suite.test(format!("rig::{name}"), Needs::Simulator, body);
    }
    suite.test("rig::beside Linux is for what runs", Needs::Nothing, || {
        faultlab("rig --versus-linux -- doctor")
            .run()
            .expect_refusal(2, &["--versus-linux"]);
    });
    suite.test("rig::side by side is for what measures", Needs::Nothing, || {
        faultlab("rig --machine all -- doctor")
            .run()
            .expect_refusal(2, &["--machine all", "run"]);
    });
    suite.test("rig::directories do not go in", Needs::Nothing, || {
        for arguments in ["--dir /etc:/etc", "--out /etc:/tmp"] {
            faultlab(&format!("rig -- exec {arguments} -- hello"))
                .run()
                .expect_refusal(2, &["only files", "--file"]);
        }
    });
}

fn through() {
    let directory = TempDir::new().expect("a temporary directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, "through\n").expect("write");
    faultlab("--quiet rig -- exec --quiet")
        .args(["--file", &format!("{}:/tmp/there", from.display())])
        .args(["--out", &format!("/tmp/there:{}", to.display())])
        .args(["--", "hello"])
        .run()
        .expect(0);
    assert_eq!(std::fs::read_to_string(&to).expect("it came back"), "through\n");
}

/// Cold in the page cache costs less than cold on the disk, and more than present.
fn from_disk() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let ran = faultlab("--quiet rig -- bench --scenario second-level-only,second-level-read --pages 64 --memory 16M")
        .args(["--backing", "file,file-cold", "--json"])
        .args([&path])
        .run()
        .expect(0);
    let report = std::fs::read(&path).unwrap_or_else(|error| panic!("no report: {error}; {}", ran.stderr()));
    let report: Value = serde_json::from_slice(&report).expect("valid JSON");
    let median = |name: &str, backing: &str| {
        let mut rows = report["scenarios"].as_array().expect("a list").iter();
        let row = rows.find(|row| row["name"] == name && row["backing"] == backing);
        let row = row.unwrap_or_else(|| panic!("no {name} on {backing} in\n{}", ran.stdout()));
        row["cycles"]["p50"].as_u64().expect("a number")
    };
    for name in ["second-level-only", "second-level-read"] {
        let (cached, cold) = (median(name, "file"), median(name, "file-cold"));
        assert!(
            cold > cached + 2000,
            "{name}: {cached} in the page cache, {cold} from the disk"
        );
    }
}

fn appended() {
    let ran = faultlab("--quiet rig --append")
        .args(["hugepages=8 quiet", "--exec", "--", "/bin/sh", "-c"])
        .args(["read -r pages < /proc/sys/vm/nr_hugepages; echo \"$pages\""])
        .run()
        .expect(0);
    assert_eq!(ran.stdout(), "8\n");
}

fn program_versus_linux() {
    let ran = faultlab("--quiet rig --versus-linux -- exec -- hello 7")
        .run()
        .expect(7);
    assert_eq!(ran.stdout(), "argv[0] = hello\nargv[1] = 7\n");
    let told = ran.stderr();
    let cells = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{told}"));
        line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let number = |text: &String| text.parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}"));
    let costs: Vec<f64> = cells("instructions").iter().map(number).collect();
    let [linux, guest, ratio] = costs[..] else {
        panic!("{told}")
    };
    assert!(
        linux > 10_000.0 && guest > 10_000.0 && (guest / linux - ratio).abs() < 0.001,
        "{told}"
    );
    assert!(number(&cells("page faults")[1]) > 0.0, "{told}");
    assert_eq!(cells("exit status"), ["7", "7"]);
    assert_eq!(cells("stdout"), ["the", "same", "28", "bytes"], "{told}");
}

fn foreign() {
    let ran = faultlab("--quiet rig --exec -- /bin/sh -c")
        .args(["read -r version < /proc/version; echo \"$version\"; exit 7"])
        .run()
        .expect(7);
    assert!(ran.stdout().starts_with("Linux version "), "{}", ran.stdout());
}

/// Waits for the line that says that a scenario was measured; the rest of the stream is read on, so that nobody waits for it.
fn wait_for_a_row(child: &mut Child) {
    let stream = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(stream).lines();
    let found = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains(" samples, p50 "));
    assert!(found, "it ended before anything was measured");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

fn interrupted() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let mut running = faultlab("rig -- -v bench --backing anon --pages 8192 --json")
        .args([&path])
        .start();
    wait_for_a_row(&mut running.child);
    running.signal(Signal::INT);
    let ran = running.end().expect(130);
    assert!(ran.in_order, "the signal killed it");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("JSON");
    assert_eq!(
        (&report["partial"], &report["ended"]),
        (&true.into(), &"ended by signal 2".into())
    );
    assert!(report["scenarios"].as_array().is_some_and(|rows| !rows.is_empty()));
    assert!(report["missing"].as_array().is_some_and(|rows| !rows.is_empty()));
}

fn killed() {
    let mut running = faultlab("rig -- -v bench --backing anon --pages 8192").start();
    wait_for_a_row(&mut running.child);
    let children = format!("/proc/{0}/task/{0}/children", running.child.id());
    let children = std::fs::read_to_string(children).expect("a process that lives");
    let simulator = children.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(simulator.expect("one child"), Signal::KILL).expect("the simulator lives");
    // That nothing is left behind is checked at the end of every run.
    running.end().expect(125);
}

fn versus_linux() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("reports.json");
    let ran = faultlab("--quiet rig --versus-linux -- run --scenario minor,getppid,fork,pio-exit --pages 64 --json")
        .args([&path])
        .run()
        .expect(0);
    let collection: Value = serde_json::from_slice(&std::fs::read(&path).expect("reports")).expect("JSON");
    let [linux, guest] = collection["reports"].as_array().expect("reports").as_slice() else {
        panic!("not two reports")
    };
    assert_eq!(
        (&linux["vm"]["kernel"], &guest["vm"]["kernel"]),
        (&"linux".into(), &Value::Null)
    );
    assert_eq!(linux["cost_unit"], "instructions");
    let p50 = |report: &Value, name: &str| {
        let rows = report["scenarios"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["cycles"]["p50"].as_u64())
    };
    // Neither the guest's cost on Linux nor the other way round: a minor fault takes Linux thousands, a guest hundreds.
    let [on_linux, in_guest] = [linux, guest].map(|report| p50(report, "minor").expect("a row"));
    assert!(
        (1000..4000).contains(&on_linux) && in_guest < 1000,
        "{on_linux} and {in_guest}"
    );
    assert_eq!(
        (p50(linux, "pio-exit"), linux["skipped"][0]["name"].as_str()),
        (None, Some("pio-exit"))
    );
    let ratio = format!("{:.3}", in_guest as f64 / on_linux as f64);
    let told = |line: &str| line.starts_with("minor ") && line.ends_with(&ratio);
    assert!(ran.stdout().lines().any(told), "{}", ran.stdout());
}

/// Every page goes out and comes back alone, on both sides. A kernel without the modules for a disk leaves the rows out, and says why.
fn swap_versus_linux() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("reports.json");
    let options = "--backing anon --scenario swap-in,swap-out --pages 128";
    faultlab(&format!("--quiet rig --versus-linux -- bench {options} --json"))
        .args([&path])
        .run()
        .expect(0);
    let collection: Value = serde_json::from_slice(&std::fs::read(&path).expect("reports")).expect("JSON");
    let linux = &collection["reports"][0];
    let (rows, skipped) = (linux["scenarios"].as_array(), linux["skipped"].as_array());
    let (rows, skipped) = (rows.expect("rows"), skipped.expect("a list"));
    let reasons: Vec<_> = skipped.iter().map(|row| &row["reason"]).collect();
    println!("not measured on Linux: {reasons:?}");
    assert_eq!(rows.len() + skipped.len(), 2, "{linux}");
    for row in rows {
        // Thousands of instructions, of which the copy of the page is one; a wait for a disk would be millions.
        let p50 = row["cycles"]["p50"].as_u64().expect("a median");
        assert!((4000..40_000).contains(&p50), "{row}");
    }
}
