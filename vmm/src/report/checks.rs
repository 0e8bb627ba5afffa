//! The instrument checks itself: N faults provoked must show as N wherever they are counted.
//!
//! [`RULES`] is the whole list. A rule compares one counter, less what the phase's marks move themselves
//! ([`faultlab_abi::dev::EMPTY_PHASE`]), with what the program said it would provoke, and it compares *exactly*: a
//! counter that is off by one has counted something else, and the row's cost then contains that something.
//!
//! | rule | counter | must equal |
//! |---|---|---|
//! | `count` | samples handed over | `PhaseArgs::count`, not 0 |
//! | `pgfault` `pgmajfault` `pgalloc` `pswpout` `pswpin` | the guest's counter of that name | `PhaseArgs::expect_*` |
//! | `syscalls` | the guest's `nr_syscalls` | `expect_syscalls` |
//! | `cold`, memory that userfaultfd serves | pages served | `expect_cold` |
//! | `cold`, EPT and NPT | KVM's `pf_taken` | `expect_cold` |
//! | `cold`, shadow, pages that are mapped in the guest | KVM's `pf_taken` | `expect_cold` |
//! | `cold`, shadow, several pages mapped in the guest to one of the host | the vCPU thread's `minflt` and `majflt` | `expect_cold` |
//! | `cold`, shadow, other rows | the vCPU thread's `minflt` and `majflt` | `expect_cold` |
//! | `exits`, rows without swap I/O | port and device-memory accesses, and halts, carried by the VMM | `expect_exits` |
//! | `exits`, rows with swap I/O | of these, those to ports | `expect_exits` |
//!
//! On plain Linux ([`Regime::Linux`]) there is neither a guest nor a VMM: `count` holds as above, and instead of the others
//!
//! | rule | the process's counter of getrusage(2) | must equal |
//! |---|---|---|
//! | `minflt` | `ru_minflt` | `expect_pgfault`, less `expect_pgmajfault` |
//! | `majflt` | `ru_majflt` | `expect_pgmajfault` |
//!
//! [`SAME_EACH_TIME`] instead of a number: not known beforehand, but a multiple of `PhaseArgs::count`.
//!
//! # Why `cold` differs
//! With EPT or NPT the guest's own page faults do not reach KVM, so `pf_taken` counts second-level violations and
//! nothing else: one for each page that the host does not back, if it is touched by a plain load or store. The one
//! exception is a host whose KVM does not cache MMIO translations (`kvm.mmio_caching=N`): there each MMIO access is
//! a violation, so a row that measures them may show `expect_exits` more.
//!
//! With shadow page tables KVM intercepts every guest page fault and fills shadow entries besides, so `pf_taken` says
//! something about cold pages only where the guest itself does not fault: there each violation is one page without
//! backing, unless the host backs several of the guest's as one: then KVM fills as many shadow entries as it thinks fit. In other rows the evidence is the host's side of the same event. KVM resolves a missing page by
//! `get_user_pages` in the context of the vCPU's thread, which Linux accounts to that thread as one minor fault, or major
//! if it read a file (mm/memory.c, `mm_account_fault`); so does the emulator's own access to guest memory when ring 0 is interpreted.
//! While a phase runs that thread does nothing else that can fault: its buffers are allocated before.
//!
//! Where userfaultfd serves memory, one message means one page, on every host. The fault that waited for it is counted as a major
//! one or not at all, as the path to it has it, and a page that is filled with the zero page is a violation more when it is stored
//! to: neither says how many pages were cold.
//!
//! # Why `exits` differs
//! A swap disk is rung and answered by accesses to its registers, as many as the driver needs for its requests: they
//! are part of the cost of such a row, and not a number known beforehand. In all other rows the only accesses to
//! devices are those that the scenario provokes on purpose. They are counted by the VMM's bus and not by KVM, whose
//! `io_exits` does not count what its emulator carries out.
//!
//! Source: Linux, arch/x86/kvm/mmu/mmu.c (`kvm_mmu_page_fault`), mm/memory.c; docs/measuring.md.

use std::collections::BTreeMap;

use faultlab_abi::dev::{PhaseArgs, SAME_EACH_TIME};

use super::measured::{Measured, Regime};
use super::model::{Check, Counters};
use super::{exit_kind, host_fault};

/// A row as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// What was expected, and the samples.
    pub measured: &'a Measured,
    /// The counters, less the marks.
    pub net: &'a Counters,
    /// How this host counts.
    pub regime: Regime,
}

/// One rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name in the JSON and in the footer.
    pub name: &'static str,
    /// What was counted and what had to be.
    judge: fn(&Row) -> Verdict,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    ok: bool,
    detail: String,
}

/// Every rule, in the order they are reported.
pub const RULES: &[Rule] = &[
    rule("count", count),
    rule("pgfault", |row| guest(row, "pgfault", |args| args.expect_pgfault)),
    rule("pgmajfault", |row| {
        guest(row, "pgmajfault", |args| args.expect_pgmajfault)
    }),
    rule("pgalloc", |row| {
        guest(row, "pgalloc_normal", |args| args.expect_pgalloc)
    }),
    rule("pswpout", |row| guest(row, "pswpout", |args| args.expect_pswpout)),
    rule("pswpin", |row| guest(row, "pswpin", |args| args.expect_pswpin)),
    rule("syscalls", |row| guest(row, "nr_syscalls", |args| args.expect_syscalls)),
    rule("cold", cold),
    rule("exits", exits),
];

const fn rule(name: &'static str, judge: fn(&Row) -> Verdict) -> Rule {
    Rule { name, judge }
}

/// The rules of plain Linux, where the process's own counters are all there is.
const LINUX_RULES: &[Rule] = &[
    rule("count", count),
    rule("minflt", |row| {
        let args = &row.measured.args;
        let expected = match args.expect_pgfault {
            SAME_EACH_TIME => SAME_EACH_TIME,
            faults => faults.saturating_sub(args.expect_pgmajfault),
        };
        counter(&row.net.host, host_fault::MINFLT, expected, args.count)
    }),
    rule("majflt", |row| {
        let args = &row.measured.args;
        counter(&row.net.host, host_fault::MAJFLT, args.expect_pgmajfault, args.count)
    }),
];

/// Every rule's verdict on `row`.
#[must_use]
pub fn judge(row: &Row) -> Vec<Check> {
    let check = |rule: &Rule| {
        let Verdict { ok, detail } = (rule.judge)(row);
        Check {
            name: rule.name.to_owned(),
            ok,
            detail,
        }
    };
    match row.regime {
        Regime::Linux => LINUX_RULES.iter().map(check).collect(),
        Regime::TwoDimensional | Regime::Shadow => RULES.iter().map(check).collect(),
    }
}

/// `found`, of `count` operations, must be `expected`.
fn equal(found: i64, expected: u64, count: u64) -> Verdict {
    if expected == SAME_EACH_TIME {
        let each = u64::try_from(found)
            .ok()
            .filter(|found| found.is_multiple_of(count.max(1)));
        return Verdict {
            ok: each.is_some(),
            detail: match each {
                Some(found) => format!("{found}, {} each", found / count.max(1)),
                None => format!("{found}, not the same for each of {count}"),
            },
        };
    }
    Verdict {
        ok: u64::try_from(found) == Ok(expected),
        detail: format!("{found} of {expected}"),
    }
}

/// A counter that this host or guest does not have proves nothing, so the rule fails and says so.
fn counter(counters: &BTreeMap<String, i64>, name: &str, expected: u64, count: u64) -> Verdict {
    match counters.get(name) {
        Some(&found) => equal(found, expected, count),
        None => Verdict {
            ok: false,
            detail: format!("no counter {name}, {expected} expected"),
        },
    }
}

fn count(row: &Row) -> Verdict {
    let (samples, count) = (row.measured.cycles.len(), row.measured.args.count);
    Verdict {
        ok: count > 0 && samples as u64 == count,
        detail: format!("{samples} of {count}"),
    }
}

fn guest(row: &Row, name: &str, expected: fn(&PhaseArgs) -> u64) -> Verdict {
    let args = &row.measured.args;
    counter(&row.net.guest, name, expected(args), args.count)
}

fn cold(row: &Row) -> Verdict {
    let args = &row.measured.args;
    match row.net.host.get(host_fault::SERVED) {
        Some(&served) if served != 0 => return equal(served, args.expect_cold, args.count),
        _ => {}
    }
    let by_violations = || counter(&row.net.kvm, "pf_taken", args.expect_cold, args.count);
    match row.regime {
        Regime::TwoDimensional => {
            let verdict = by_violations();
            if verdict.ok || args.expect_exits == 0 {
                return verdict;
            }
            // Uncached MMIO translations: each access is a violation of its own.
            let each = match args.expect_cold.checked_add(args.expect_exits) {
                Some(each) if each != SAME_EACH_TIME => each,
                _ => return verdict,
            };
            let uncached = counter(&row.net.kvm, "pf_taken", each, args.count);
            if uncached.ok { uncached } else { verdict }
        }
        Regime::Shadow if row.measured.touches_mapped_pages() && !row.measured.shares_cold_pages() => by_violations(),
        Regime::Shadow | Regime::Linux => host_faults(row),
    }
}

/// The host's side of cold pages: each was one fault of one of these kinds.
fn host_faults(row: &Row) -> Verdict {
    const KINDS: [&str; 2] = [host_fault::MINFLT, host_fault::MAJFLT];
    let args = &row.measured.args;
    let found = KINDS.iter().filter_map(|kind| row.net.host.get(*kind)).sum();
    if row.net.host.contains_key(host_fault::MINFLT) {
        equal(found, args.expect_cold, args.count)
    } else {
        counter(&row.net.host, host_fault::MINFLT, args.expect_cold, args.count)
    }
}

fn exits(row: &Row) -> Verdict {
    let args = &row.measured.args;
    let swap_io = args.expect_pswpin > 0 || args.expect_pswpout > 0;
    let kinds = if swap_io {
        &[exit_kind::PIO][..]
    } else {
        &[exit_kind::PIO, exit_kind::MMIO, exit_kind::HLT]
    };
    match kinds.iter().map(|kind| row.net.host.get(*kind)).sum::<Option<i64>>() {
        Some(found) => equal(found, args.expect_exits, args.count),
        None => Verdict {
            ok: false,
            detail: format!("not counted, {} expected", args.expect_exits),
        },
    }
}
