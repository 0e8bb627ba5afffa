//! Who has no huge pages does not pay for those of others, and a huge page costs little more than its clear.

use std::collections::BTreeMap;
use std::process::Command;

use crate::c_programs::{compiled, source};
use crate::support::{Needs, Suite, faultlab};

/// Words of 8 bytes in 2 MiB: instructions that clear them, as the simulated machine counts `rep stosq`.
const CLEAR: u64 = 1 << 18;
/// Settings under which small pages come out, and what the first fault under a page table, one in 512, may cost more there than where nobody
/// may have huge pages. `no-room`: the policy says yes, and then the mapping and the size of the object are looked at.
const SETTINGS: [(&str, u64); 3] = [("advised", 40), ("declined", 40), ("no-room", 80)];
/// Kinds of faults that find their page table.
const UNDER_A_TABLE: [&str; 5] = ["anon", "zero", "cow", "alloc", "minor"];

/// Adds the test.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test(
        "huge_costs::small faults do not pay for huge ones",
        Needs::SimulatorAndStaticC,
        costs,
    );
}

/// What `tests/c/huge_costs.c` says: by setting of the knobs, by kind of fault, in instructions.
fn measured() -> (BTreeMap<String, BTreeMap<String, u64>>, String) {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/huge_costs.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "huge_costs", cc);
    // Only there: on this host it would set the knobs of the whole machine.
    let ran = faultlab("--quiet rig -- exec -q --memory 128M --")
        .args([&program])
        .run()
        .expect(0);
    let shown = ran.stdout();
    let lines = shown.lines().map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (setting, costs) = words.split_first().expect("a line has a word");
        let of_pair = |pair: &[&str]| (pair[0].to_owned(), pair[1].parse().expect("a number"));
        ((*setting).to_owned(), costs.chunks_exact(2).map(of_pair).collect())
    });
    (lines.collect(), shown)
}

fn costs() {
    let (costs, shown) = measured();
    let never = &costs["never"];
    for (setting, more) in SETTINGS {
        for (kind, &cost) in &costs[setting] {
            let most = if UNDER_A_TABLE.contains(&kind.as_str()) {
                never[kind]
            } else {
                never[kind] + more
            };
            assert!(
                cost <= most,
                "{kind}, {setting}: {cost}, more than {most} instructions:\n{shown}"
            );
        }
        assert_eq!(costs[setting].len(), never.len(), "{shown}");
    }
    let huge: u64 = shown
        .lines()
        .find_map(|line| line.strip_prefix("huge "))
        .and_then(|cost| cost.parse().ok())
        .expect("what a huge page costs");
    assert!(
        (CLEAR..=CLEAR + 2 * never["alloc"]).contains(&huge),
        "a huge page costs more than its clear and two small ones:\n{shown}"
    );
}
