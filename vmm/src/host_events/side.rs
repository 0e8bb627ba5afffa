//! What a phase looked like from the host's side.

use serde::Serialize;

use super::{HostEventKind, HostTrace};

/// The host's side of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HostSideTimes {
    /// Exits (`kvm_exit`) that an entry (`kvm_entry`) followed.
    pub exits: u64,
    /// From exit to entry, median, in nanoseconds; absent without exits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_to_entry_ns_p50: Option<f64>,
    /// The part of all time from exit to entry that lies between `kvm_page_fault` and entry: KVM and the host's memory
    /// management resolving a second-level fault. 0 to 1; absent without exits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_fault_share: Option<f64>,
    /// `kvm_page_fault` events.
    pub kvm_page_faults: u64,
    /// `page_fault_user` and `page_fault_kernel` events of the vCPU's thread.
    pub host_page_faults: u64,
    /// Events that were lost: with any, the others are those of a part of the phase.
    pub events_lost: u64,
}

impl HostSideTimes {
    /// Of the events of a phase, on a host whose time-stamp counter runs at `tsc_khz`.
    #[must_use]
    pub fn of(trace: &HostTrace, tsc_khz: u64) -> HostSideTimes {
        let mut times = HostSideTimes {
            events_lost: trace.lost,
            ..HostSideTimes::default()
        };
        let (mut between, mut in_fault) = (Vec::new(), 0_u64);
        let (mut exit, mut fault) = (None, None);
        for event in &trace.events {
            match event.kind {
                HostEventKind::Exit => (exit, fault) = (Some(event.tsc), None),
                HostEventKind::KvmPageFault => {
                    times.kvm_page_faults += 1;
                    fault = fault.or(Some(event.tsc));
                }
                HostEventKind::Entry => {
                    if let Some(since) = exit.take() {
                        between.push(event.tsc.saturating_sub(since));
                        in_fault += fault.take().map_or(0, |since| event.tsc.saturating_sub(since));
                    }
                }
                HostEventKind::PageFaultUser | HostEventKind::PageFaultKernel => times.host_page_faults += 1,
            }
        }
        times.exits = between.len() as u64;
        let all: u64 = between.iter().sum();
        if all > 0 {
            let middle = between.len() / 2;
            let p50 = *between.select_nth_unstable(middle).1;
            times.exit_to_entry_ns_p50 = Some((p50 as f64 * 1e9 / tsc_khz.max(1) as f64).round() / 1e3);
            times.host_fault_share = Some((in_fault as f64 / all as f64 * 1e3).round() / 1e3);
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
        let times = HostSideTimes::of(&trace, 2_000_000);
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
        assert_eq!(HostSideTimes::of(&HostTrace::default(), 1).exit_to_entry_ns_p50, None);
    }
}
