//! What a phase looked like from the host's side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HostEventKind, HostTrace};

/// The host's side of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HostSide {
    /// From the host kernel's events.
    Measured(HostSideTimes),
    /// There are none.
    Unavailable {
        /// Why, and the remedy.
        unavailable: String,
    },
}

/// Times between the host kernel's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostSideTimes {
    /// Exits (`kvm_exit`) that an entry (`kvm_entry`) followed.
    pub exits: u64,
    /// From exit to entry, median, in nanoseconds; absent without exits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_to_entry_ns_p50: Option<f64>,
    /// The part of all time from exit to entry that lies between `kvm_page_fault` and entry: KVM and the host's memory
    /// management resolving a second-level fault. 0 to 1; absent without exits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_fault_share: Option<f64>,
    /// `kvm_page_fault` events.
    pub kvm_page_faults: u64,
    /// `page_fault_user` and `page_fault_kernel` events of the vCPU's thread.
    pub host_page_faults: u64,
    /// Events that were lost: with any, the others are those of a part of the phase.
    pub events_lost: u64,
}

impl HostSide {
    /// Of a row's events, or the reason why there are none, on a host whose time-stamp counter runs at `tsc_khz`.
    #[must_use]
    pub fn of(tally: &Result<HostTally, String>, tsc_khz: u64) -> HostSide {
        match tally {
            Ok(tally) => HostSide::Measured(tally.times(tsc_khz)),
            Err(reason) => HostSide::Unavailable {
                unavailable: reason.clone(),
            },
        }
    }
}

/// The events of a phase, counted; those of two phases add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTally {
    /// From each exit to the entry that followed, in cycles of the time-stamp counter.
    pub exit_to_entry_cycles: Vec<u64>,
    /// Of all those, the cycles between `kvm_page_fault` and entry.
    pub in_fault_cycles: u64,
    /// `kvm_page_fault` events.
    pub kvm_page_faults: u64,
    /// `page_fault_user` and `page_fault_kernel` events of the vCPU's thread.
    pub host_page_faults: u64,
    /// Events that were lost.
    pub events_lost: u64,
}

impl HostTally {
    /// Of the events of a phase.
    #[must_use]
    pub fn of(trace: &HostTrace) -> HostTally {
        let mut tally = HostTally {
            events_lost: trace.lost,
            ..HostTally::default()
        };
        let (mut exit, mut fault) = (None, None);
        for event in &trace.events {
            match event.kind {
                HostEventKind::Exit => (exit, fault) = (Some(event.tsc), None),
                HostEventKind::KvmPageFault => {
                    tally.kvm_page_faults += 1;
                    fault = fault.or(Some(event.tsc));
                }
                HostEventKind::Entry => {
                    if let Some(since) = exit.take() {
                        tally.exit_to_entry_cycles.push(event.tsc.saturating_sub(since));
                        tally.in_fault_cycles += fault.take().map_or(0, |since| event.tsc.saturating_sub(since));
                    }
                }
                HostEventKind::PageFaultUser | HostEventKind::PageFaultKernel => tally.host_page_faults += 1,
            }
        }
        tally
    }

    /// This and `other`.
    #[must_use]
    pub fn and(mut self, other: HostTally) -> HostTally {
        self.exit_to_entry_cycles.extend(other.exit_to_entry_cycles);
        self.in_fault_cycles += other.in_fault_cycles;
        self.kvm_page_faults += other.kvm_page_faults;
        self.host_page_faults += other.host_page_faults;
        self.events_lost += other.events_lost;
        self
    }

    /// As times, on a host whose time-stamp counter runs at `tsc_khz`.
    #[must_use]
    pub fn times(&self, tsc_khz: u64) -> HostSideTimes {
        let mut times = HostSideTimes {
            exits: self.exit_to_entry_cycles.len() as u64,
            kvm_page_faults: self.kvm_page_faults,
            host_page_faults: self.host_page_faults,
            events_lost: self.events_lost,
            ..HostSideTimes::default()
        };
        let all: u64 = self.exit_to_entry_cycles.iter().sum();
        if all > 0 {
            let mut between = self.exit_to_entry_cycles.clone();
            let middle = between.len() / 2;
            let p50 = *between.select_nth_unstable(middle).1;
            times.exit_to_entry_ns_p50 = Some((p50 as f64 * 1e9 / tsc_khz.max(1) as f64).round() / 1e3);
            times.host_fault_share = Some((self.in_fault_cycles as f64 / all as f64 * 1e3).round() / 1e3);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_events::HostEvent;

    #[test]
    fn times_lie_between_exit_and_entry() {
        use HostEventKind::{Entry, Exit, KvmPageFault, PageFaultKernel};
        let event = |&(tsc, kind): &(u64, HostEventKind)| HostEvent {
            tsc,
            kind,
            detail: String::new(),
        };
        // An entry without its exit, three pairs of 100, 300 and 200 cycles, an exit without its entry.
        let events = [
            (10, Entry),
            (100, Exit),
            (200, Entry),
            (1000, Exit),
            (1100, KvmPageFault),
            (1150, PageFaultKernel),
            (1300, Entry),
            (2000, Exit),
            (2200, Entry),
            (3000, Exit),
        ];
        let trace = HostTrace {
            events: events.iter().map(event).collect(),
            lost: 2,
        };
        let times = HostTally::of(&trace).times(2_000_000);
        assert_eq!(
            times,
            HostSideTimes {
                exits: 3,
                exit_to_entry_ns_p50: Some(100.0),
                host_fault_share: Some(0.333),
                kvm_page_faults: 1,
                host_page_faults: 1,
                events_lost: 2
            }
        );
        assert_eq!(HostTally::default().times(1).exit_to_entry_ns_p50, None);
        // Both halves of a row: 100, 300, 200 and twice 400.
        let second = HostTally {
            exit_to_entry_cycles: vec![400, 400],
            in_fault_cycles: 400,
            host_page_faults: 2,
            ..HostTally::default()
        };
        let both = HostTally::of(&trace).and(second).times(2_000_000);
        assert_eq!((both.exits, both.host_page_faults, both.events_lost), (5, 3, 2));
        assert_eq!(
            (both.exit_to_entry_ns_p50, both.host_fault_share),
            (Some(150.0), Some(0.429))
        );
    }
}
