//! The phase that is measured: begun, ended, its samples collected, delivered.
//!
//! ```text
//!          begin             end              samples
//! Idle ----------> Open ----------> Ended ----------> Ended
//!   ^               | begin: the open one is dropped     | begin, exit, panic: delivered
//!   +---------------+------------------------------------+
//! ```
//!
//! The VMM's own snapshots lie inside the guest's: the last thing that a begin does, and the first that an end does.

use faultlab_abi::dev::PhaseArgs;
use faultlab_abi::lab::{Hello, Phase};

use super::records::{copy, copy_array, in_one_page};
use super::{Handled, Refusal};
use crate::devices::Session;
use crate::devices::bus::BusCounters;
use crate::host_events::HostTally;
use crate::kvm_stats::KvmCounters;
use crate::observer::{HostFaults, PhaseRecord, Vmstat};
use crate::rate_limit::{RateLimit, warn_limited};
use crate::timeline::clock::GuestClock;
use crate::timeline::log::SharedLog;
use crate::timeline::requests::Requests;
use crate::trace_ring::{self, Mark};

/// Samples in one command, stated in [`faultlab_abi::lab::kind::SAMPLES`].
const SAMPLES_PER_COMMAND: u64 = 512;

/// Samples in one phase, stated in [`faultlab_abi::dev::Samples`].
const SAMPLES_PER_PHASE: usize = 65_536;

/// Where the measurement is.
#[derive(Default)]
pub(super) enum PhaseState {
    /// Nothing is measured.
    #[default]
    Idle,
    /// A phase has begun.
    Open(Box<Opened>),
    /// A phase has ended; its samples follow.
    Ended(Box<PhaseRecord>),
}

/// What was seen when the phase began.
pub(super) struct Opened {
    args: PhaseArgs,
    vmstat: Vmstat,
    kvm: KvmCounters,
    host: HostFaults,
    bus: BusCounters,
    trace_mark: Mark,
}

impl PhaseState {
    pub(super) fn begin(
        &mut self,
        address: u64,
        hello: Option<&Hello>,
        session: &mut Session<'_>,
        limit: &mut RateLimit,
    ) -> Handled {
        let phase: Phase = copy(session.ram, address)?;
        self.deliver(session);
        if let PhaseState::Open(dropped) = self {
            warn_limited!(
                limit,
                "phase {} was begun and never ended",
                name(&dropped.args.scenario)
            );
        }
        session.observer.phase_begin(&phase.args);
        let mut opened = Box::new(Opened {
            args: phase.args,
            vmstat: phase.vmstat,
            kvm: kvm_counters(session)?,
            host: HostFaults::default(),
            bus: session.bus,
            trace_mark: hello.map_or_else(Default::default, |hello| trace_ring::mark(session.ram, hello)),
        });
        if let Some(Ok(events)) = session.host_events {
            events.start().map_err(refused)?;
        }
        // What came before is no part of it.
        requests(session);
        // Last, so that no fault of the VMM's own allocations is counted.
        opened.host = HostFaults::of_this_thread(session.ram.served());
        *self = PhaseState::Open(opened);
        Ok(None)
    }

    pub(super) fn end(&mut self, address: u64, hello: Option<&Hello>, session: &mut Session<'_>) -> Handled {
        // First, for the same reason.
        let host_after = HostFaults::of_this_thread(session.ram.served());
        let kvm_after = kvm_counters(session)?;
        let host_side = host_side(session)?;
        let phase: Phase = copy(session.ram, address)?;
        let opened = match std::mem::take(self) {
            PhaseState::Open(opened) if same_phase(&opened.args, &phase.args) => opened,
            other => {
                *self = other;
                return Err(Refusal::Invalid);
            }
        };
        let trace = hello.map_or_else(Default::default, |hello| {
            trace_ring::read_since(session.ram, hello, opened.trace_mark)
        });
        *self = PhaseState::Ended(Box::new(PhaseRecord {
            args: phase.args,
            vmstat_before: opened.vmstat,
            vmstat_after: phase.vmstat,
            kvm_before: opened.kvm,
            kvm_after,
            host_before: opened.host,
            host_after,
            bus_before: opened.bus,
            bus_after: session.bus,
            host_side,
            samples: Vec::new(),
            trace,
            requests: requests(session),
        }));
        Ok(None)
    }

    pub(super) fn samples(&mut self, address: u64, count: u64, session: &Session<'_>) -> Handled {
        let PhaseState::Ended(record) = self else {
            return Err(Refusal::Invalid);
        };
        let fits = count <= SAMPLES_PER_COMMAND && record.samples.len() + count as usize <= SAMPLES_PER_PHASE;
        if !fits || !in_one_page(address, count * 8) {
            return Err(Refusal::Invalid);
        }
        record.samples.extend(copy_array::<u64>(session.ram, address, count)?);
        Ok(None)
    }

    /// Hands an ended phase to the observer; an open one stays.
    pub(super) fn deliver(&mut self, session: &mut Session<'_>) {
        match std::mem::take(self) {
            PhaseState::Ended(record) => session.observer.phase(*record),
            other => *self = other,
        }
    }
}

/// Only the count may differ between the beginning and the end.
fn same_phase(begin: &PhaseArgs, end: &PhaseArgs) -> bool {
    begin.scenario == end.scenario && begin.pattern == end.pattern
}

/// What the swap disk did since the last call.
fn requests(session: &Session<'_>) -> Requests {
    let of = |(log, clock): (&SharedLog, GuestClock)| Requests::new(log.drain(), clock);
    session.requests.map(of).unwrap_or_default()
}

/// What the host kernel's events of the phase say, if they were asked for.
fn host_side(session: &Session<'_>) -> Result<Option<Result<HostTally, String>>, Refusal> {
    Ok(match session.host_events {
        None => None,
        Some(Err(reason)) => Some(Err(reason.clone())),
        Some(Ok(events)) => {
            let trace = events.stop().map_err(refused)?;
            Some(Ok(HostTally::of(&trace)))
        }
    })
}

fn refused(error: String) -> Refusal {
    log::error!("host events: {error}");
    Refusal::Io
}

fn kvm_counters(session: &mut Session<'_>) -> Result<KvmCounters, Refusal> {
    let Some(stats) = &mut session.stats else {
        return Ok(KvmCounters::default());
    };
    stats.read().map_err(|error| {
        log::error!("cannot read KVM's statistics: {error}");
        Refusal::Io
    })
}

/// A name without its padding.
fn name(padded: &[u8]) -> String {
    let end = padded.iter().position(|&byte| byte == 0).unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..end]).into_owned()
}
