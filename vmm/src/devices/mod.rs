//! What the guest can reach besides RAM. Every access runs on the vCPU's thread while the guest waits; the swap disk's
//! requests may be served by a thread of their own ([`crate::swap_io`]).
//!
//! | address | device | module |
//! |---|---|---|
//! | port 0x3f8 to 0x3ff | COM1 | [`serial`] |
//! | port 0xfa0 | port-I/O exit to be measured; ignored | [`bus`] |
//! | 0xd000_0000 | virtio-mmio transport of the swap disk | [`virtio_mmio`], [`block`] |
//! | 0xd001_0000 | lab device: registers, scratch page | [`lab`] |
//!
//! The guest is hostile: whatever it accesses, and with whatever values, is answered, counted or refused; nothing here
//! panics, allocates without bound, or loops longer than a queue is long.

pub mod block;
pub mod bus;
pub mod lab;
pub mod serial;
pub mod virtio_mmio;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod linux_driver_tests;

use self::bus::BusCounters;
use crate::host_events::HostEvents;
use crate::kvm_stats::KvmStats;
use crate::memory::GuestRam;
use crate::observer::Observer;
use crate::timeline::clock::GuestClock;
use crate::timeline::log::{ExitSpan, Log, SharedLog};

/// What a device may use while it serves an access.
pub struct Session<'a> {
    /// Guest RAM.
    pub ram: &'a GuestRam,
    /// Who hears what the guest says.
    pub observer: &'a mut dyn Observer,
    /// KVM's counters; `None` where KVM has none.
    pub stats: Option<&'a mut KvmStats>,
    /// The host kernel's events, or why there are none; `None` if not asked for.
    pub host_events: Option<&'a Result<HostEvents, String>>,
    /// Where served exits are noted, if they are.
    pub exits: Option<Log<ExitSpan>>,
    /// Where requests of the swap disk are noted that belong to a phase, if they are, and how the guest's clock relates to that of the notes.
    pub requests: Option<(&'a SharedLog, GuestClock)>,
    /// What the bus carried so far, the access that is served included; kept by the [`bus::Bus`].
    pub bus: BusCounters,
}
