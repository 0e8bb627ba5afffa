//! Who has no huge pages does not pay for those of others, and a huge page costs little more than its clear.

use std::collections::BTreeMap;
use std::process::Command;

use crate::c_programs::{compiled, source};
use crate::support::{Needs, Suite, faultlab};

/// Words of 8 bytes in 2 MiB: instructions that clear them, as the simulated machine counts `rep stosq`.
const CLEAR: u64 = 1 << 18;
/// Kinds of faults that find their page table, and those that do not, being the first under it, with what that costs them beside the former, in
/// instructions: as measured with this kernel and nothing about huge pages on the way (the tables are walked once more, and missing ones made).
const UNDER_A_TABLE: [&str; 5] = ["anon", "zero", "cow", "alloc", "minor"];
const FIRST: [(&str, &str, u64); 3] = [
    ("first-zero", "zero", 768),
    ("first-anon", "anon", 860),
    ("first-alloc", "alloc", 768),
];
/// The same for an object that grows under a mapping with room for huge pages.
const FIRST_WITH_ROOM: [(&str, &str, u64); 1] = [("first-alloc", "alloc", 1104)];
/// Settings under which small pages come out, and what the first fault under a page table, one in 512, may cost more than without huge pages.
/// `no-room`: the policy says yes, and then the mapping is looked at; `private-only`: the object's policy says no; `tail`: its size, at last.
const SETTINGS: [(&str, u64); 4] = [("never", 0), ("advised", 0), ("declined", 20), ("no-room", 20)];
const SETTINGS_WITH_ROOM: [(&str, u64); 3] = [("never-room", 0), ("private-only", 20), ("tail", 42)];
/// What faults may cost more in an object that has huge pages elsewhere, where each place is looked up: first, the others, and those that find
/// their page.
const BESIDE: [(&str, u64); 3] = [("first-alloc", 330), ("alloc", 165), ("minor", 62)];

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
    let groups = [
        (&SETTINGS[..], &FIRST[..]),
        (&SETTINGS_WITH_ROOM[..], &FIRST_WITH_ROOM[..]),
    ];
    for (settings, firsts) in groups {
        let never = &costs[settings[0].0];
        for (setting, more) in settings {
            let of_setting = &costs[*setting];
            for kind in UNDER_A_TABLE.iter().filter(|kind| never.contains_key(**kind)) {
                judge(setting, kind, of_setting[*kind], never[*kind], &shown);
            }
            for (first, under, table) in firsts {
                judge(setting, first, of_setting[*first], never[*under] + table + more, &shown);
            }
        }
    }
    for (kind, more) in BESIDE {
        judge(
            "beside",
            kind,
            costs["beside"][kind],
            costs["never-room"][kind] + more,
            &shown,
        );
    }
    let huge: u64 = shown
        .lines()
        .find_map(|line| line.strip_prefix("huge "))
        .and_then(|cost| cost.parse().ok())
        .expect("what a huge page costs");
    assert!(
        (CLEAR..=CLEAR + 2 * costs["never"]["alloc"]).contains(&huge),
        "a huge page costs more than its clear and two small ones:\n{shown}"
    );
}

fn judge(setting: &str, kind: &str, cost: u64, most: u64, shown: &str) {
    assert!(
        cost <= most,
        "{kind}, {setting}: {cost}, more than {most} instructions:\n{shown}"
    );
}
