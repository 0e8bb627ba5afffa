//! What the report is built from: one phase as the VMM saw it, before any arithmetic.

use std::collections::BTreeMap;

use faultlab_abi::dev::{EMPTY_PHASE, PhaseArgs, access};
use faultlab_abi::vmstat;

use super::model::Counters;
use super::{exit_kind, host_fault};
use crate::PhaseRecord;
use crate::host_events::HostTally;
use crate::timeline::requests::Requests;
use crate::trace_ring::Trace;

/// How second-level faults are counted on a host; decides the rule behind the `cold` check ([`super::checks`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// EPT or NPT: KVM sees a fault only when the second level lacks a translation.
    TwoDimensional,
    /// Shadow page tables, ring 0 native or emulated: KVM sees the guest's own faults too, and refills shadow entries.
    Shadow,
    /// No KVM: the program ran on Linux itself, whose faults are the process's.
    Linux,
}

/// One phase of measurement.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What the program said it would provoke.
    pub args: PhaseArgs,
    /// The samples it handed over, in time-stamp counter cycles.
    pub cycles: Vec<u64>,
    /// Counters at the end of the phase less those at its beginning.
    pub moved: Counters,
    /// The host kernel's side, if asked for.
    pub host_side: Option<Result<HostTally, String>>,
    /// What the guest traced.
    pub trace: Trace,
    /// What the swap disk did meanwhile; empty with tracing off.
    pub requests: Requests,
}

impl Measured {
    /// The scenario's name. Bytes from the guest that are not UTF-8 are shown as replacement characters.
    #[must_use]
    pub fn scenario(&self) -> String {
        Self::name_of(&self.args)
    }

    /// The scenario's name in `args`.
    #[must_use]
    pub fn name_of(args: &PhaseArgs) -> String {
        padded(&args.scenario)
    }

    /// The access pattern's name.
    #[must_use]
    pub fn pattern(&self) -> String {
        padded(&self.args.pattern)
    }

    /// Whether this is the phase with nothing in it.
    #[must_use]
    pub fn is_empty_phase(&self) -> bool {
        self.scenario() == EMPTY_PHASE
    }

    /// How the pages are touched, in words.
    #[must_use]
    pub fn access(&self) -> &'static str {
        access_name(self.args.access)
    }

    /// Whether the program only touches pages that its page tables map already: no fault of its own, no exit and no
    /// work of the kernel is meant.
    #[must_use]
    pub fn touches_mapped_pages(&self) -> bool {
        self.args.access != access::NONE && self.args.expect_pgfault == 0 && self.args.expect_exits == 0
    }
}

impl Measured {
    /// Whether several of the pages that are touched are one that the host does not back.
    #[must_use]
    pub fn shares_cold_pages(&self) -> bool {
        (1..self.args.count).contains(&self.args.expect_cold)
    }
}

impl From<PhaseRecord> for Measured {
    fn from(record: PhaseRecord) -> Self {
        // Differences wrap: a level that fell becomes negative, as it should.
        let moved = |before: u64, after: u64| after.wrapping_sub(before) as i64;
        let guest = vmstat::ALL
            .iter()
            .zip(record.vmstat_before.iter().zip(&record.vmstat_after));
        let guest = guest
            .map(|(item, (&before, &after))| (item.name().to_owned(), moved(before, after)))
            .collect();
        let mut kvm = BTreeMap::new();
        for (name, moved) in record.kvm_after.since(&record.kvm_before).iter() {
            // The vCPU's counters come first; a VM-wide one of the same name must not replace it.
            kvm.entry(name.to_owned()).or_insert(moved as i64);
        }
        let (before, after) = (record.host_before, record.host_after);
        let host = BTreeMap::from([
            (host_fault::MINFLT.to_owned(), moved(before.minor, after.minor)),
            (host_fault::MAJFLT.to_owned(), moved(before.major, after.major)),
            (host_fault::SERVED.to_owned(), moved(before.served, after.served)),
            (
                exit_kind::PIO.to_owned(),
                moved(record.bus_before.pio, record.bus_after.pio),
            ),
            (
                exit_kind::MMIO.to_owned(),
                moved(record.bus_before.mmio, record.bus_after.mmio),
            ),
            (
                exit_kind::HLT.to_owned(),
                moved(record.bus_before.hlt, record.bus_after.hlt),
            ),
        ]);
        Self {
            args: record.args,
            cycles: record.samples,
            moved: Counters { guest, kvm, host },
            host_side: record.host_side,
            trace: record.trace,
            requests: record.requests,
        }
    }
}

/// [`PhaseArgs::access`] in words.
pub(super) fn access_name(access: u64) -> &'static str {
    match access {
        access::STORE => "store",
        access::LOAD => "load",
        _ => "none",
    }
}

/// A NUL-padded name.
pub(super) fn padded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Counters {
    /// Adds `other` to these counters.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |to: &mut BTreeMap<String, i64>, what: &BTreeMap<String, i64>| {
            for (name, moved) in what {
                let sum = to.entry(name.clone()).or_insert(0);
                *sum = sum.wrapping_add(*moved);
            }
        };
        add(&mut self.guest, &other.guest);
        add(&mut self.kvm, &other.kvm);
        add(&mut self.host, &other.host);
    }

    /// These counters less `marks`. A counter that `marks` lacks is kept as it is.
    #[must_use]
    pub fn less(&self, marks: &Self) -> Self {
        let subtract = |from: &BTreeMap<String, i64>, what: &BTreeMap<String, i64>| {
            let rest = |(name, moved): (&String, &i64)| {
                (name.clone(), moved.wrapping_sub(what.get(name).copied().unwrap_or(0)))
            };
            from.iter().map(rest).collect()
        };
        Self {
            guest: subtract(&self.guest, &marks.guest),
            kvm: subtract(&self.kvm, &marks.kvm),
            host: subtract(&self.host, &marks.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostFaults;
    use crate::devices::bus::BusCounters;
    use crate::kvm_stats::KvmCounters;

    #[test]
    fn names_end_at_the_first_nul_or_the_field() {
        let mut phase = Measured::default();
        phase.args.scenario[..5].copy_from_slice(b"minor");
        assert_eq!(phase.scenario(), "minor");
        phase.args.scenario = [b'x'; faultlab_abi::dev::NAME_BYTES];
        assert_eq!(phase.scenario(), "x".repeat(faultlab_abi::dev::NAME_BYTES));
        phase.args.scenario[0] = 0xff;
        assert!(phase.scenario().starts_with('\u{fffd}'));
    }

    #[test]
    fn a_record_becomes_differences_by_name() {
        let mut record = PhaseRecord {
            args: PhaseArgs {
                count: 2,
                ..PhaseArgs::default()
            },
            vmstat_before: [5; vmstat::COUNT],
            vmstat_after: [5; vmstat::COUNT],
            kvm_before: KvmCounters::from_pairs(&[("pf_taken", 7), ("exits", 1), ("exits", 100)]),
            kvm_after: KvmCounters::from_pairs(&[("pf_taken", 9), ("exits", 4), ("exits", 200)]),
            host_before: HostFaults {
                minor: 10,
                major: 1,
                served: 3,
            },
            host_after: HostFaults {
                minor: 12,
                major: 1,
                served: 7,
            },
            bus_before: BusCounters {
                pio: 1,
                mmio: 2,
                ..BusCounters::default()
            },
            bus_after: BusCounters {
                pio: 4,
                mmio: 3,
                ..BusCounters::default()
            },
            host_side: None,
            samples: vec![1, 2],
            trace: Trace::default(),
            requests: Requests::default(),
        };
        record.vmstat_after[vmstat::Item::Pgfault as usize] = 8;
        record.vmstat_after[vmstat::Item::NrFreePages as usize] = 3;
        let measured = Measured::from(record);
        assert_eq!((measured.args.count, &measured.cycles[..]), (2, &[1, 2][..]));
        assert_eq!(
            (measured.moved.guest["pgfault"], measured.moved.guest["nr_free_pages"]),
            (3, -2)
        );
        assert_eq!((measured.moved.kvm["pf_taken"], measured.moved.kvm["exits"]), (2, 3));
        assert_eq!((measured.moved.host["minflt"], measured.moved.host["majflt"]), (2, 0));
        assert_eq!(
            (
                measured.moved.host[exit_kind::PIO],
                measured.moved.host[exit_kind::MMIO]
            ),
            (3, 1)
        );
    }

    #[test]
    fn marks_are_subtracted_by_name() {
        let counters = |pairs: &[(&str, i64)]| Counters {
            kvm: pairs.iter().map(|&(name, moved)| (name.to_owned(), moved)).collect(),
            ..Counters::default()
        };
        let net = counters(&[("exits", 10), ("pf_taken", 3)]).less(&counters(&[("exits", 4), ("absent", 9)]));
        assert_eq!(net, counters(&[("exits", 6), ("pf_taken", 3)]));
    }
}
