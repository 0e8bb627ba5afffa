//! Costs in the simulated machine repeat, and one that exceeds its baseline fails.

use std::path::Path;

use faultlab::gate::{Baseline, scenarios};
use tempfile::TempDir;

use crate::support::{Needs, Ran, Suite, faultlab};

/// The repository's baseline.
const BASELINE: &str = include_str!("baselines/amd.json");

/// The same of the Intel machine.
const INTEL_BASELINE: &str = include_str!("baselines/intel.json");

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("gate::two runs agree within a thousandth", Needs::Simulator, twice);
    suite.test(
        "gate::every difference is told, and fails where it must",
        Needs::Simulator,
        differences,
    );
    suite.test("gate::the repository's baselines are whole", Needs::Nothing, whole);
}

/// Runs the gate with this baseline, and these further options.
fn gate(baseline: &Path, options: &str) -> Ran {
    faultlab("gate --baseline")
        .args([baseline])
        .args(options.split_ascii_whitespace())
        .run()
}

fn twice() {
    let directory = TempDir::new().expect("a temporary directory");
    let [first, second] = ["first.json", "second.json"].map(|name| {
        let path = directory.path().join(name);
        let ran = gate(&path, "--record").expect(0);
        assert!(ran.stdout().contains("Recorded 30 scenarios"), "{}", ran.stdout());
        let text = std::fs::read_to_string(&path).expect("a baseline was written");
        Baseline::parse(&text).expect("what was written can be read")
    });
    assert_eq!(first.holds_for, second.holds_for);
    let names = |baseline: &Baseline| {
        baseline
            .instructions
            .iter()
            .map(|cost| cost.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (scenarios().map(str::to_owned).collect(), names(&first))
    );
    for (first, second) in first.instructions.iter().zip(&second.instructions) {
        let apart = first.p50.abs_diff(second.p50);
        assert!(apart * 1000 < first.p50, "{first:?} and then {second:?}");
    }
}

/// One run against a baseline that is wrong in every way at once.
fn differences() {
    let mut baseline = Baseline::parse(BASELINE).expect("the repository's baseline");
    baseline.pages = 64;
    baseline.holds_for.linux = "2.6.7".to_owned();
    for cost in &mut baseline.instructions {
        match cost.name.as_str() {
            "minor" => cost.p50 /= 2,
            "alloc-warm" => cost.p50 *= 2,
            "pio-exit" => cost.name = "no-such".to_owned(),
            _ => {}
        }
    }
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("baseline.json");
    let text = serde_json::to_string(&baseline).expect("it was read from JSON");
    std::fs::write(&path, &text).expect("a file can be written");
    let ran = gate(&path, "").expect(1);
    let table = ran.stdout();
    for (scenario, mark) in [
        ("minor", "FAIL costs more"),
        ("alloc-warm", "costs less"),
        ("pio-exit", "FAIL not in the baseline"),
        ("no-such", "FAIL not measured"),
    ] {
        let told = |line: &str| line.split(' ').next() == Some(scenario) && line.ends_with(mark);
        assert!(table.lines().any(told), "{scenario}: {mark} is not in\n{table}");
    }
    assert!(table.contains("holds for another Linux: 2.6.7; now "), "{table}");
    assert!(table.contains(" 64 pages "), "{table}");
    assert!(
        table.contains(&format!(
            "faultlab gate --machine amd --baseline {} --record",
            path.display()
        )),
        "{table}"
    );
    let after = std::fs::read_to_string(&path).expect("the baseline is still there");
    assert_eq!(after, text, "only --record writes");
}

fn whole() {
    for (text, machine) in [(BASELINE, "rig:amd:icount"), (INTEL_BASELINE, "rig:intel:icount")] {
        let baseline = Baseline::parse(text).expect("the repository's baseline");
        let names: Vec<_> = baseline.instructions.iter().map(|cost| cost.name.as_str()).collect();
        assert_eq!(names, scenarios().collect::<Vec<_>>(), "record it again");
        assert_eq!(baseline.machine, machine);
        assert!(baseline.instructions.iter().all(|cost| cost.p50 > 0));
    }
}
