//! The four-way table: pages of 4 KiB or 2 MiB in the guest, times the same on the host. What a MiB costs when it is first touched, and
//! what a page of it costs later.
//!
//! A pure function of the rows (`faultlab bench --scenario four-way`), shown by every form that is for people.
//!
//! | column | rows, guest 4 KiB | guest 2 MiB | number |
//! |---|---|---|---|
//! | private | `anon` | `huge-anon` | median, times the faults of a MiB |
//! | shared | `alloc-warm` | `huge-shmem` | the same |
//! | violations | `cold-pages` | `huge-cold-pages` | KVM's `pf_taken` of a MiB |
//! | first touches | the same | the same | mean, times the 256 pages of a MiB |
//! | warm touch | `tlb-miss` | `huge-tlb-miss` | median; not where instructions are counted, which do not show what a TLB misses |
//!
//! A row whose checks fail gives no number.

use super::model::{CostUnit, Report, Scenario};
use super::table::short;
use crate::memory::Backing;

/// What the columns are.
pub(super) const HEADINGS: [&str; 8] = [
    "guest page",
    "host page",
    "backing",
    "private, fault/MiB",
    "shared, fault/MiB",
    "violations/MiB",
    "first touches/MiB",
    "warm touch",
];
/// How many of the columns, from the first on, are words.
pub(super) const WORDS: usize = 3;

const SMALL: u64 = 4 << 10;
const HUGE: u64 = 2 << 20;
const MIB: f64 = (1 << 20) as f64;

/// Rows of one size of the guest's pages: private, shared, cold, warm.
const ROWS: [(u64, [&str; 4]); 2] = [
    (SMALL, ["anon", "alloc-warm", "cold-pages", "tlb-miss"]),
    (HUGE, ["huge-anon", "huge-shmem", "huge-cold-pages", "huge-tlb-miss"]),
];

/// The rows of the table; none in a report without huge pages of the guest's.
pub(super) fn rows(report: &Report) -> Vec<[String; HEADINGS.len()]> {
    let mut sets: Vec<(&str, &str)> = Vec::new();
    for row in report.scenarios.iter().filter(|row| row.page_bytes == HUGE) {
        let set = (row.backing.as_str(), row.pattern.as_str());
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let line = |page: (u64, [&str; 4]), set: (&str, &str)| cells(report, page, set);
    let lines = ROWS.iter().flat_map(|&page| sets.iter().map(move |&set| (page, set)));
    lines.map(|(page, set)| line(page, set)).collect()
}

fn cells(report: &Report, (page_bytes, names): (u64, [&str; 4]), (backing, pattern): (&str, &str)) -> [String; 8] {
    let row = |name: &str| {
        let is = |row: &&Scenario| {
            row.name == name && row.backing == backing && row.pattern == pattern && row.count > 0 && row.adds_up()
        };
        report.scenarios.iter().find(is)
    };
    let [private, shared, cold, warm] = names.map(row);
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let fault = |row: Option<&Scenario>| shown(row.map(|row| row.cycles.p50 as f64 * MIB / page_bytes as f64));
    let pages = MIB / SMALL as f64;
    let violations = |row: &Scenario| {
        let taken = row.totals.kvm.get("pf_taken")?;
        Some(*taken as f64 / row.count as f64 * pages)
    };
    let warm = warm.filter(|_| report.cost_unit == CostUnit::Cycles);
    let host = Backing::named(backing).map_or_else(|| "?".to_owned(), |backing| size(backing.granule_bytes()));
    [
        size(page_bytes),
        host,
        backing.to_owned(),
        fault(private),
        fault(shared),
        shown(cold.and_then(violations)),
        shown(cold.map(|row| row.cycles.mean * pages)),
        shown(warm.map(|row| row.cycles.p50 as f64)),
    ]
}

fn size(bytes: u64) -> String {
    match bytes {
        0..HUGE => format!("{} KiB", bytes >> 10),
        HUGE..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// What the table is, in one line.
pub(super) fn caption(report: &Report) -> String {
    let unit = report.cost_unit.name();
    let warm = match report.cost_unit {
        CostUnit::Cycles => "a warm touch is one of more pages of 4 KiB than the TLB holds.",
        CostUnit::Instructions => "what a TLB misses takes no instructions, so warm touches are not shown.",
    };
    format!(
        "Small and huge pages, in {unit}; first touches are of what the guest has mapped and the host has not; {warm}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::measured::Regime;
    use super::super::testing;
    use super::*;

    fn report() -> Report {
        let mut report = testing::report(Regime::TwoDimensional);
        let template = report.scenarios[0].clone();
        report.scenarios.clear();
        let mut add = |name: &str, backing: &str, page_bytes: u64, p50: u64, taken: i64| {
            let mut row = Scenario {
                name: name.to_owned(),
                backing: backing.to_owned(),
                page_bytes,
                count: 512,
                ..template.clone()
            };
            row.cycles.p50 = p50;
            row.cycles.mean = p50 as f64 + 1.0;
            row.totals.kvm.insert("pf_taken".to_owned(), taken);
            report.scenarios.push(row);
        };
        for (backing, taken) in [("memfd", 512), ("hugetlb-2m", 1)] {
            add("anon", backing, SMALL, 1000, 0);
            add("huge-anon", backing, HUGE, 90_000, 0);
            add("cold-pages", backing, SMALL, 10, taken);
            add("huge-cold-pages", backing, HUGE, 20, taken);
            add("huge-tlb-miss", backing, HUGE, 7, 0);
        }
        report
    }

    #[test]
    fn four_combinations_of_two_sizes() {
        let rows = rows(&report());
        let expected = [
            "4 KiB|4 KiB|memfd|256000|-|256|2816|-",
            "4 KiB|2 MiB|hugetlb-2m|256000|-|0.50|2816|-",
            "2 MiB|4 KiB|memfd|45000|-|256|5376|7",
            "2 MiB|2 MiB|hugetlb-2m|45000|-|0.50|5376|7",
        ];
        assert_eq!(rows.iter().map(|row| row.join("|")).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_so_is_not_shown() {
        let mut report = report();
        report.cost_unit = CostUnit::Instructions;
        report.scenarios[1].checks[0].ok = false;
        let shown = rows(&report);
        assert_eq!(
            shown[2].join("|"),
            "2 MiB|4 KiB|memfd|-|-|256|5376|-",
            "a row that failed, and the TLB"
        );
        assert!(caption(&report).contains("no instructions"));
        report.scenarios.retain(|row| row.page_bytes == SMALL);
        assert!(rows(&report).is_empty(), "there is nothing to compare");
    }
}
