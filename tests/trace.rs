//! The timeline: what a trace viewer reads must be well formed and complete; tracing must stay cheap; the host's side must be
//! told, or why it cannot be.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Needs, Ran, Suite, faultlab};

/// Pages that faults read from the swap disk.
const SWAP_INS: u64 = 16;

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("trace::a fault leads to the disk and back", Needs::Kvm, to_the_disk);
    suite.test("trace::a full ring says what it lost", Needs::Kvm, full_ring);
    suite.test("trace::host events, or the reason", Needs::Kvm, host_events);
    suite.test("trace::cheap, in instructions", Needs::Simulator, cheap);
    suite.test("trace::the host's side of NPT faults", Needs::Simulator, nested_paging);
}

/// Traces with these options and program. Returns what it did and the file.
fn trace(options: &str) -> (Ran, Value) {
    json("trace --out", options)
}

/// Runs a command that writes JSON to the path put after it.
fn json(command: &str, options: &str) -> (Ran, Value) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("out.json");
    let ran = faultlab(command)
        .args([&path])
        .args(options.split_ascii_whitespace())
        .run()
        .expect(0);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("no file: {error}; {}", ran.stderr()));
    (ran, serde_json::from_slice(&bytes).expect("valid JSON"))
}

/// A slice, in nanoseconds.
struct Slice<'a> {
    name: &'a str,
    track: (u64, u64),
    start: u64,
    end: u64,
    args: &'a Value,
}

fn ns(value: &Value) -> u64 {
    (value.as_f64().expect("a number") * 1e3).round() as u64
}

fn track(event: &Value) -> (u64, u64) {
    (event["pid"].as_u64().expect("pid"), event["tid"].as_u64().expect("tid"))
}

fn all<'a>(file: &'a Value, ph: &'a str) -> impl Iterator<Item = &'a Value> {
    let events = file["traceEvents"].as_array().expect("a list").iter();
    events.filter(move |event| event["ph"] == ph)
}

fn slices(file: &Value) -> Vec<Slice<'_>> {
    let slice = |event| {
        let event: &Value = event;
        Slice {
            name: event["name"].as_str().expect("a name"),
            track: track(event),
            start: ns(&event["ts"]),
            end: ns(&event["ts"]) + ns(&event["dur"]),
            args: &event["args"],
        }
    };
    all(file, "X").map(slice).collect()
}

/// Slices of a track are in order, and each lies within those that it begins in.
fn expect_nesting(slices: &[Slice<'_>]) {
    let mut open: BTreeMap<(u64, u64), Vec<&Slice<'_>>> = BTreeMap::new();
    let mut last: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for slice in slices {
        let before = last.insert(slice.track, slice.start).unwrap_or(0);
        assert!(
            before <= slice.start,
            "{} at {} after {before}",
            slice.name,
            slice.start
        );
        let open = open.entry(slice.track).or_default();
        while open.last().is_some_and(|outer| outer.end <= slice.start) {
            open.pop();
        }
        if let Some(outer) = open.last() {
            assert!(
                slice.end <= outer.end,
                "{} ends at {}, after {}, which ends at {}",
                slice.name,
                slice.end,
                outer.name,
                outer.end
            );
        }
        open.push(slice);
    }
}

/// Every flow leads from a wait for the disk to a request for that slot, and back. Returns how many there are.
fn expect_flows(file: &Value, slices: &[Slice<'_>]) -> usize {
    let points = |ph| all(file, ph).map(|event| (event["id"].as_u64().expect("an id"), event));
    let (middles, ends): (BTreeMap<_, _>, BTreeMap<_, _>) = (points("t").collect(), points("f").collect());
    let starts: BTreeMap<_, _> = points("s").collect();
    assert_eq!((starts.len(), ends.len()), (middles.len(), middles.len()));
    for (id, start) in &starts {
        let at = |event: &Value, name: &[&str]| {
            let (on, ts) = (track(event), ns(&event["ts"]));
            // What viewers bind it to: the innermost slice around it. On a boundary they disagree.
            let around = |slice: &&Slice<'_>| slice.track == on && slice.start <= ts && ts <= slice.end;
            let found = slices.iter().rfind(around);
            let found = found.unwrap_or_else(|| panic!("flow {id}: nothing at {ts} on {on:?}"));
            assert!(
                name.contains(&found.name) && found.start < ts && ts < found.end,
                "flow {id}: {} from {} to {} at {ts}, not within one of {name:?}",
                found.name,
                found.start,
                found.end
            );
            found
        };
        let wait = at(start, &["swap_read", "swap_writepage"]);
        // The way of a request through the host lies within it, its first stage where the arrow points.
        let stage = at(middles[id], &["host queue", "disk read", "disk write"]);
        let holds = |slice: &&Slice<'_>| {
            slice.track == stage.track
                && slice.start <= stage.start
                && stage.end <= slice.end
                && slice.name.starts_with("disk ")
        };
        let request = slices.iter().rfind(holds).expect("a request around its stage");
        assert_eq!(wait.name == "swap_read", request.name == "disk read");
        assert_eq!(
            request.args["sector"].as_u64(),
            request.args["slot"].as_u64().map(|slot| slot * 8)
        );
        let end = at(ends[id], &["swap_read", "swap_writepage"]);
        assert_eq!((end.start, end.end, end.track), (wait.start, wait.end, wait.track));
        let error = file["otherData"]["guest_tsc_error_cycles"].as_u64().expect("a number");
        assert!(wait.start <= request.start + error && request.end <= wait.end + error);
    }
    starts.len()
}

fn to_the_disk() {
    let (ran, file) = trace(&format!(
        "--show -- faults --budget-ms 1000 --pages {SWAP_INS} --scenario swap-in"
    ));
    let slices = slices(&file);
    expect_nesting(&slices);
    let count = |name: &str| slices.iter().filter(|slice| slice.name == name).count();
    let waits = count("swap_read") + count("swap_writepage");
    // Read-ahead brings several pages by one request. Slot 0 is the area's header.
    let reads = slices
        .iter()
        .filter(|slice| slice.name == "disk read" && slice.args["slot"] != 0);
    let pages: u64 = reads
        .map(|read| read.args["bytes"].as_u64().expect("a number") / 4096)
        .sum();
    assert!(pages >= SWAP_INS, "{pages} pages read by {waits} waits");
    assert_eq!(expect_flows(&file, &slices), waits, "every wait has its request");
    for name in [
        "exc_page_fault",
        "shmem_fault",
        "find_vma",
        "set_pte",
        "clear_page",
        "alloc_pages",
    ] {
        assert!(count(name) > 0, "no {name}");
    }
    let fault = slices
        .iter()
        .find(|slice| slice.name == "exc_page_fault")
        .expect("a fault");
    let rip = fault.args["rip"].as_str().expect("text");
    assert!(rip.starts_with("0x") && rip.len() > 4, "{rip}");
    assert!(
        ["read", "write", "fetch"]
            .map(Value::from)
            .contains(&fault.args["access"])
    );
    for lost in ["lost_faults", "lost_guest_events", "lost_exits", "lost_disk_requests"] {
        assert_eq!(file["otherData"][lost], 0, "{lost}");
    }
    assert_eq!(file["otherData"]["guest_tsc_drift_cycles"], 0);
    let said = ran.stderr();
    assert!(
        said.contains(" faults (0 lost)") && said.contains("guest exc_page_fault"),
        "{said}"
    );
}

fn full_ring() {
    let (ran, file) = trace("--ring 256K -- shm-press 13M");
    let kept = slices(&file)
        .iter()
        .filter(|slice| slice.name == "exc_page_fault")
        .count() as u64;
    let lost = file["otherData"]["lost_faults"].as_u64().expect("a number");
    assert!(
        kept < 3328 && lost > 0 && kept + lost > 3328,
        "{kept} kept, {lost} lost"
    );
    assert!(
        ran.stderr().contains(&format!("{kept} faults ({lost} lost)")),
        "{}",
        ran.stderr()
    );
}

fn host_events() {
    let (ran, report) = json("run --json", "--pages 16 --scenario minor --host-events");
    let side = &report["scenarios"][0]["host_side"];
    match side["unavailable"].as_str() {
        Some(reason) => assert!(reason.contains("root"), "{reason}"),
        None => assert_eq!(side["events_lost"], 0, "{side}"),
    }
    assert_eq!(ran.stdout().matches("host side").count(), 1, "{}", ran.stdout());
    let left = std::fs::read_dir("/sys/kernel/tracing/instances")
        .into_iter()
        .flatten()
        .flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    let own = left
        .iter()
        .filter(|name| name.to_string_lossy().starts_with("faultlab-"));
    assert_eq!(own.count(), 0, "{left:?}");
}

/// Scenario and the p50 of its cost, in the simulated machine.
fn costs(options: &str) -> BTreeMap<String, u64> {
    let (_, report) = json("rig -- run --json", &format!("--pages 128 {options}"));
    let rows = report["scenarios"].as_array().expect("a list").iter();
    rows.map(|row| {
        let name = row["name"].as_str().expect("a name").to_owned();
        (name, row["cycles"]["p50"].as_u64().expect("a number"))
    })
    .collect()
}

fn cheap() {
    let scenarios = "--scenario minor,alloc-warm";
    let off = costs(scenarios);
    let on = costs(&format!("{scenarios} --trace-level stages"));
    for (name, off) in off {
        assert!(
            on[&name] * 100 <= off * 105,
            "{name}: {off} without tracing, {} with",
            on[&name]
        );
    }
}

fn nested_paging() {
    let options = "--pages 64 --scenario minor,alloc-cold --host-events";
    let (ran, report) = json("rig -- run --json", options);
    let side = |row: usize| &report["scenarios"][row]["host_side"];
    assert_eq!((&side(0)["exits"], &side(0)["events_lost"]), (&0.into(), &0.into()));
    assert_eq!(side(1)["exits"], 64, "one exit a cold frame");
    assert!(side(1)["exit_to_entry_ns_p50"].as_f64() > Some(1000.0), "{}", side(1));
    assert!(side(1)["host_fault_share"].as_f64() > Some(0.5), "{}", side(1));
    assert!(
        ran.stdout().contains("host side of alloc-cold: 64 exits"),
        "{}",
        ran.stdout()
    );
}
