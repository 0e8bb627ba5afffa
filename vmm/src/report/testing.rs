//! Synthetic phases for the tests of checks, report and table: [`phase`] makes one whose every count is right.

use faultlab_abi::dev::PhaseArgs;
use serde_json::{Map, Value, json};

use super::measured::{Measured, Regime};
use super::model::{Counters, Report};
use super::{Builder, SCENARIOS, Wanted, exit_kind, host_fault};

/// Faults in every synthetic phase.
pub(super) const COUNT: u64 = 100;

/// What the marks move in every synthetic phase.
pub(super) const MARKS_EXITS: i64 = 4;

/// What `scenario` is meant to provoke, per fault.
fn expectations(scenario: &str) -> PhaseArgs {
    let mut args = PhaseArgs {
        page_bytes: 4096,
        count: COUNT,
        access: faultlab_abi::dev::access::STORE,
        ..PhaseArgs::default()
    };
    args.scenario[..scenario.len()].copy_from_slice(scenario.as_bytes());
    args.pattern[..3].copy_from_slice(b"seq");
    match scenario {
        "minor" => args.expect_pgfault = COUNT,
        "alloc-warm" => (args.expect_pgfault, args.expect_pgalloc) = (COUNT, COUNT),
        "alloc-cold" => (args.expect_pgfault, args.expect_pgalloc, args.expect_cold) = (COUNT, COUNT, COUNT),
        "second-level-only" => args.expect_cold = COUNT,
        "swap-out" => (args.expect_pswpout, args.access) = (COUNT, faultlab_abi::dev::access::NONE),
        "swap-in" => {
            (args.expect_pgfault, args.expect_pgmajfault) = (COUNT, COUNT);
            (args.expect_pgalloc, args.expect_pswpin) = (COUNT, COUNT);
        }
        "pio-exit" | "mmio-exit" => args.expect_exits = COUNT,
        _ => {}
    }
    args
}

/// A phase whose counts are exactly as expected on a host of this kind, marks included.
pub(super) fn phase(scenario: &str, regime: Regime) -> Measured {
    let args = expectations(scenario);
    let mut moved = empty().moved;
    let mut guest = |name: &str, by: u64| *moved.guest.get_mut(name).unwrap() += by as i64;
    guest("pgfault", args.expect_pgfault);
    guest("pgmajfault", args.expect_pgmajfault);
    guest("pgalloc_normal", args.expect_pgalloc);
    guest("pswpout", args.expect_pswpout);
    guest("pswpin", args.expect_pswpin);
    // Shadow paging: the guest's own faults reach KVM as well.
    let own = if regime == Regime::Shadow {
        2 * args.expect_pgfault
    } else {
        0
    };
    let mut kvm = |name: &str, by: u64| *moved.kvm.get_mut(name).unwrap() += by as i64;
    kvm("pf_taken", args.expect_cold + own);
    kvm("exits", args.expect_cold + own + args.expect_exits);
    let mut host = |name: &str, by: u64| *moved.host.get_mut(name).unwrap() += by as i64;
    host(host_fault::MINFLT, args.expect_cold);
    host(
        if scenario == "pio-exit" {
            exit_kind::PIO
        } else {
            exit_kind::MMIO
        },
        args.expect_exits,
    );
    host(exit_kind::MMIO, args.expect_pswpin + args.expect_pswpout);
    let cycles = (0..COUNT).map(|fault| 1000 * (1 + args.expect_pgfault.min(1) + 10 * args.expect_cold.min(1)) + fault);
    Measured {
        cycles: cycles.collect(),
        args,
        moved,
        ..Measured::default()
    }
}

/// The phase with nothing in it.
pub(super) fn empty() -> Measured {
    let counters = |pairs: &[(&str, i64)]| pairs.iter().map(|&(name, moved)| (name.to_owned(), moved)).collect();
    let mut args = PhaseArgs::default();
    args.scenario[..5].copy_from_slice(faultlab_abi::dev::EMPTY_PHASE.as_bytes());
    let moved = Counters {
        guest: counters(&[
            ("pgfault", 0),
            ("pgmajfault", 0),
            ("pgalloc_normal", 0),
            ("pswpout", 0),
            ("pswpin", 0),
            ("nr_syscalls", 2),
        ]),
        kvm: counters(&[("pf_taken", 0), ("exits", MARKS_EXITS), ("insn_emulation", 350)]),
        host: counters(&[
            (host_fault::MINFLT, 0),
            (host_fault::MAJFLT, 0),
            (exit_kind::PIO, 0),
            (exit_kind::MMIO, 1),
            (exit_kind::HLT, 0),
        ]),
    };
    Measured {
        args,
        cycles: Vec::new(),
        moved,
        ..Measured::default()
    }
}

/// The guest of every synthetic report.
pub(super) fn vm() -> Map<String, Value> {
    object(json!({"memory_bytes": 1 << 26}))
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A row that is asked for.
pub(super) fn wanted(name: &str, backing: &str, pattern: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        backing: backing.to_owned(),
        pattern: pattern.to_owned(),
    }
}

/// A builder for a host of this kind, with the marks already known.
pub(super) fn builder(regime: Regime) -> Builder {
    let wanted = SCENARIOS.map(|name| wanted(name, "anon", "seq")).to_vec();
    let host = object(json!({"cpu_model": "Test CPU", "tsc_khz": 2_000_000}));
    let mut builder = Builder::new(host, 2_000_000, regime, wanted);
    builder.boot("anon");
    builder.add(&empty());
    builder
}

/// A whole report whose every check holds.
pub(super) fn report(regime: Regime) -> Report {
    let mut builder = builder(regime);
    for scenario in SCENARIOS {
        builder.add(&phase(scenario, regime));
    }
    builder.finish(vm(), None)
}
