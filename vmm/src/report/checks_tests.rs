//! Every rule holds on phases that are right, and each one fails on the phase that breaks it.

use faultlab_abi::dev::SAME_EACH_TIME;

use super::checks::{RULES, Row, judge};
use super::measured::{Measured, Regime};
use super::model::Check;
use super::testing::{COUNT, empty, phase};
use super::{SCENARIOS, exit_kind, host_fault};

const REGIMES: [Regime; 2] = [Regime::TwoDimensional, Regime::Shadow];

fn verdicts(measured: &Measured, regime: Regime) -> Vec<Check> {
    judge(&Row {
        measured,
        net: &measured.moved.less(&empty().moved),
        regime,
    })
}

/// Names of the rules that fail.
fn failing(measured: &Measured, regime: Regime) -> Vec<String> {
    verdicts(measured, regime)
        .into_iter()
        .filter(|check| !check.ok)
        .map(|check| check.name)
        .collect()
}

#[test]
fn all_rules_hold_on_right_phases() {
    for regime in REGIMES {
        for scenario in SCENARIOS {
            let measured = phase(scenario, regime);
            assert_eq!(failing(&measured, regime), [""; 0], "{scenario}, {regime:?}");
            assert_eq!(verdicts(&measured, regime).len(), RULES.len());
        }
    }
}

#[test]
fn count_fails_on_a_lost_sample_and_on_none() {
    let mut measured = phase("minor", Regime::Shadow);
    measured.cycles.pop();
    assert_eq!(failing(&measured, Regime::Shadow), ["count"]);
    let detail = &verdicts(&measured, Regime::Shadow)[0].detail;
    assert_eq!(detail, "99 of 100");

    let mut nothing = phase("warm-touch", Regime::Shadow);
    nothing.cycles.clear();
    nothing.args.count = 0;
    assert_eq!(failing(&nothing, Regime::Shadow), ["count"]);
}

#[test]
fn each_guest_counter_fails_when_off_by_one() {
    let pairs = [
        ("pgfault", "pgfault"),
        ("pgmajfault", "pgmajfault"),
        ("pgalloc", "pgalloc_normal"),
        ("pswpout", "pswpout"),
        ("pswpin", "pswpin"),
    ];
    for (rule, counter) in pairs {
        for by in [-1, 1] {
            let mut measured = phase("swap-in", Regime::TwoDimensional);
            *measured.moved.guest.get_mut(counter).unwrap() += by;
            assert_eq!(failing(&measured, Regime::TwoDimensional), [rule]);
        }
    }
}

#[test]
fn a_counter_that_is_missing_proves_nothing() {
    let mut measured = phase("warm-touch", Regime::TwoDimensional);
    measured.moved.guest.remove("pgfault");
    measured.moved.kvm.remove("pf_taken");
    assert_eq!(failing(&measured, Regime::TwoDimensional), ["pgfault", "cold"]);
}

#[test]
fn cold_with_ept_or_npt_is_violations() {
    for scenario in ["warm-touch", "alloc-warm", "alloc-cold", "second-level-only", "swap-in"] {
        let mut measured = phase(scenario, Regime::TwoDimensional);
        *measured.moved.kvm.get_mut("pf_taken").unwrap() += 1;
        assert_eq!(failing(&measured, Regime::TwoDimensional), ["cold"], "{scenario}");
    }
}

#[test]
fn cold_allows_uncached_mmio_translations_but_nothing_between() {
    let mut measured = phase("mmio-exit", Regime::TwoDimensional);
    *measured.moved.kvm.get_mut("pf_taken").unwrap() += COUNT as i64;
    assert_eq!(failing(&measured, Regime::TwoDimensional), [""; 0]);
    *measured.moved.kvm.get_mut("pf_taken").unwrap() -= 1;
    assert_eq!(failing(&measured, Regime::TwoDimensional), ["cold"]);
}

#[test]
fn cold_with_shadow_paging_is_violations_only_of_mapped_pages() {
    for (scenario, expected) in [
        ("warm-touch", vec!["cold"]),
        ("second-level-only", vec!["cold"]),
        ("minor", vec![]),
        ("swap-out", vec![]),
    ] {
        let mut measured = phase(scenario, Regime::Shadow);
        *measured.moved.kvm.get_mut("pf_taken").unwrap() += 1;
        assert_eq!(failing(&measured, Regime::Shadow), expected, "{scenario}");
    }
}

/// Of several small pages on one of the host's, KVM may fill shadow entries as it likes; the host's fault is one.
#[test]
fn cold_with_shadow_paging_is_host_faults_where_pages_share_one_of_the_hosts() {
    let mut measured = phase("second-level-only", Regime::Shadow);
    measured.args.expect_cold = 1;
    *measured.moved.kvm.get_mut("pf_taken").unwrap() = 3;
    *measured.moved.host.get_mut(host_fault::MINFLT).unwrap() = 1;
    *measured.moved.host.get_mut(host_fault::MAJFLT).unwrap() = 0;
    assert_eq!(failing(&measured, Regime::Shadow), [""; 0]);
    *measured.moved.host.get_mut(host_fault::MINFLT).unwrap() = 2;
    assert_eq!(failing(&measured, Regime::Shadow), ["cold"]);
    assert_eq!(failing(&measured, Regime::TwoDimensional), ["cold"]);
}

#[test]
fn cold_with_shadow_paging_is_host_faults_elsewhere() {
    for scenario in [
        "minor",
        "alloc-warm",
        "alloc-cold",
        "swap-out",
        "swap-in",
        "pio-exit",
        "mmio-exit",
    ] {
        let mut measured = phase(scenario, Regime::Shadow);
        *measured.moved.host.get_mut(host_fault::MINFLT).unwrap() += 1;
        assert_eq!(failing(&measured, Regime::Shadow), ["cold"], "{scenario}");
    }
}

#[test]
fn exits_fails_on_one_too_few_and_on_one_nobody_asked_for() {
    let mut measured = phase("pio-exit", Regime::Shadow);
    *measured.moved.host.get_mut(exit_kind::PIO).unwrap() -= 1;
    assert_eq!(failing(&measured, Regime::Shadow), ["exits"]);
    for kind in [exit_kind::PIO, exit_kind::MMIO] {
        let mut measured = phase("warm-touch", Regime::Shadow);
        *measured.moved.host.get_mut(kind).unwrap() += 1;
        assert_eq!(failing(&measured, Regime::Shadow), ["exits"], "{kind}");
    }
}

#[test]
fn exits_leaves_the_swap_disks_doorbell_alone_but_not_ports() {
    let mut measured = phase("swap-out", Regime::Shadow);
    *measured.moved.host.get_mut(exit_kind::MMIO).unwrap() += 5;
    assert_eq!(failing(&measured, Regime::Shadow), [""; 0]);
    *measured.moved.host.get_mut(exit_kind::PIO).unwrap() += 1;
    assert_eq!(failing(&measured, Regime::Shadow), ["exits"]);
}

#[test]
fn a_count_that_must_be_the_same_each_time_is_a_multiple() {
    for (found, good) in [
        (0, true),
        (COUNT as i64, true),
        (3 * COUNT as i64, true),
        (COUNT as i64 + 1, false),
        (-100, false),
    ] {
        let mut measured = phase("warm-touch", Regime::TwoDimensional);
        measured.args.expect_cold = SAME_EACH_TIME;
        *measured.moved.kvm.get_mut("pf_taken").unwrap() = found;
        let expected = if good { vec![] } else { vec!["cold"] };
        assert_eq!(failing(&measured, Regime::TwoDimensional), expected, "{found}");
    }
    // A hostile program's sums may not overflow.
    let mut measured = phase("mmio-exit", Regime::TwoDimensional);
    measured.args.expect_cold = SAME_EACH_TIME - 1;
    assert_eq!(failing(&measured, Regime::TwoDimensional), ["cold"]);
}

#[test]
fn a_system_call_that_was_not_meant_fails() {
    let mut measured = phase("minor", Regime::Shadow);
    *measured.moved.guest.get_mut("nr_syscalls").unwrap() += 1;
    assert_eq!(failing(&measured, Regime::Shadow), ["syscalls"]);
}

#[test]
fn cold_with_shadow_paging_takes_whoever_resolved_the_fault() {
    for kind in [host_fault::MAJFLT, host_fault::SERVED] {
        let mut measured = phase("alloc-cold", Regime::Shadow);
        *measured.moved.host.get_mut(host_fault::MINFLT).unwrap() -= COUNT as i64;
        measured.moved.host.insert(kind.to_owned(), COUNT as i64);
        assert_eq!(failing(&measured, Regime::Shadow), [""; 0], "{kind}");
        measured.moved.host.insert(kind.to_owned(), COUNT as i64 - 1);
        assert_eq!(failing(&measured, Regime::Shadow), ["cold"], "{kind}");
    }
}

#[test]
fn cold_where_userfaultfd_serves_is_the_pages_served() {
    for regime in [Regime::Shadow, Regime::TwoDimensional] {
        let mut measured = phase("alloc-cold", regime);
        // The fault that waited is told as a major one too, and a zero page that is stored to as a second violation.
        measured.moved.host.insert(host_fault::SERVED.to_owned(), COUNT as i64);
        measured.moved.host.insert(host_fault::MAJFLT.to_owned(), COUNT as i64);
        measured.moved.kvm.insert("pf_taken".to_owned(), 2 * COUNT as i64);
        assert_eq!(failing(&measured, regime), [""; 0], "{regime:?}");
        measured
            .moved
            .host
            .insert(host_fault::SERVED.to_owned(), COUNT as i64 + 1);
        assert_eq!(failing(&measured, regime), ["cold"], "{regime:?}");
    }
}
