//! `docs/rules.md` is what the tests say: for each rule of `docs/rules.tsv` the tests that show it, or "not yet".
//!
//! A test shows a rule when it is named with it: in the documentation of a `#[test]`, in its name (`d7_...`), or as the first
//! argument of a line that an oracle program prints. The committed file must be what these sources give;
//! `FAULTLAB_RECORD=1 cargo test --release --test rules` writes it.

mod scan;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Where rules may be named, from the repository's root.
const SOURCES: [&str; 6] = [
    "guest/mm/src",
    "guest/linux/src",
    "guest/kernel/src",
    "guest/programs/src/bin",
    "vmm/src",
    "tests",
];
const RULES: &str = "docs/rules.tsv";
const TABLE: &str = "docs/rules.md";

const HEAD: &str = "\
# Rules, and the tests that show them

Generated from the tests by `FAULTLAB_RECORD=1 cargo test --release --test rules`; the same test fails when this file is not what it would
write. Rules are numbered after the part of Linux that they are about: A System V shm, B address spaces, C shmem and tmpfs, D page cache and
XArray, E page allocation, F reclaim and swap, G huge pages, H userfaultfd, I reporting. P0 is the core, P1 what users expect, P2 beyond.

`rules-*` are programs that run on Linux and in the guest, and print the same. `mm::` and `linux::` tests run on a fake machine. A test that is named shows the
rule's main clause; it need not show every clause.

";

/// One rule.
struct Rule {
    id: String,
    priority: String,
    title: String,
}

fn rules(text: &str) -> Vec<Rule> {
    let rule = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || {
            fields
                .next()
                .unwrap_or_else(|| panic!("{RULES}: {line:?} has no three fields"))
        };
        Rule {
            id: next(),
            priority: next(),
            title: next(),
        }
    };
    text.lines().map(rule).collect()
}

fn table(rules: &[Rule], shown: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = HEAD.to_owned();
    text += "| section | P0 shown | P1 shown | P2 shown |\n|---|---|---|---|\n";
    let sections: Vec<&str> = {
        let mut all: Vec<&str> = rules.iter().map(|rule| &rule.id[..1]).collect();
        all.dedup();
        all
    };
    for section in sections {
        let of = |priority: &str| {
            let all: Vec<&Rule> = rules
                .iter()
                .filter(|rule| rule.id.starts_with(section) && rule.priority == priority)
                .collect();
            let known = all.iter().filter(|rule| shown.contains_key(&rule.id)).count();
            format!("{known} of {}", all.len())
        };
        _ = writeln!(text, "| {section} | {} | {} | {} |", of("P0"), of("P1"), of("P2"));
    }
    text += "\n| rule | | about | shown by |\n|---|---|---|---|\n";
    for rule in rules {
        let tests = shown.get(&rule.id).map_or("not yet".to_owned(), |tests| {
            tests
                .iter()
                .map(|test| format!("`{test}`"))
                .collect::<Vec<_>>()
                .join(" ")
        });
        _ = writeln!(text, "| {} | {} | {} | {tests} |", rule.id, rule.priority, rule.title);
    }
    text
}

#[test]
fn the_table_is_what_the_tests_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rules = rules(&fs::read_to_string(root.join(RULES)).expect("the list of rules"));
    let mut shown = BTreeMap::<String, Vec<String>>::new();
    for source in SOURCES {
        scan::directory(&root, Path::new(source), &mut |rule, test| {
            assert!(
                rules.iter().any(|known| known.id == rule),
                "{test} names rule {rule}, which {RULES} does not have"
            );
            let tests = shown.entry(rule.to_owned()).or_default();
            if !tests.iter().any(|known| known == test) {
                tests.push(test.to_owned());
            }
        });
    }
    shown.values_mut().for_each(|tests| tests.sort());
    let text = table(&rules, &shown);
    if env::var_os("FAULTLAB_RECORD").is_some() {
        fs::write(root.join(TABLE), &text).expect("the table can be written");
    }
    let committed = fs::read_to_string(root.join(TABLE)).unwrap_or_default();
    let different = text.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert!(
        text == committed,
        "{TABLE} is not what the tests say; run FAULTLAB_RECORD=1 cargo test --release --test rules. First difference: {different:?}"
    );
}
