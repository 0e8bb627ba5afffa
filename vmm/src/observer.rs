//! What a run tells its caller while it happens.

use faultlab_abi::dev::{PhaseArgs, SkipArgs};
use faultlab_abi::vmstat;

use crate::devices::bus::BusCounters;
use crate::host_events::HostTally;
use crate::kvm_stats::KvmCounters;
use crate::timeline::requests::Requests;
use crate::trace_ring::Trace;

/// The guest's counters, indexed by [`faultlab_abi::vmstat::Item`].
pub type Vmstat = [u64; vmstat::COUNT];

/// Where a program's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
    /// The terminal, whatever the other two are.
    Terminal,
}

/// Receives what the guest says. Every method runs on the vCPU's thread while the guest waits, and does nothing unless
/// overridden.
pub trait Observer {
    /// Bytes that a program wrote, at most 4096 at a time.
    fn output(&mut self, _stream: Stream, _bytes: &[u8]) {}

    /// A line of the kernel's log, bytes that are no UTF-8 replaced.
    ///
    /// Unless overridden, it goes to the log of this process with target `guest`, control characters replaced: the guest is not trusted
    /// with a terminal.
    fn log(&mut self, level: log::Level, line: &str) {
        log::log!(target: "guest", level, "{}", line.replace(char::is_control, "?"));
    }

    /// A program reads the terminal, or changes its modes.
    fn terminal_wanted(&mut self) {}

    /// A line about a system call, with [`crate::VmConfig::strace`]; it holds no control characters.
    fn call(&mut self, _line: &str) {}

    /// So many scenarios follow.
    fn plan(&mut self, _scenarios: u64) {}

    /// A row of the plan will not come, or cannot be trusted.
    fn skipped(&mut self, _args: &SkipArgs) {}

    /// A phase begins.
    fn phase_begin(&mut self, _args: &PhaseArgs) {}

    /// A phase is complete, its samples included.
    fn phase(&mut self, _record: PhaseRecord) {}
}

/// An observer that ignores everything.
impl Observer for () {}

/// Faults that the host kernel took on behalf of the vCPU's thread.
///
/// Source: getrusage(2), `RUSAGE_THREAD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostFaults {
    /// `ru_minflt`.
    pub minor: u64,
    /// `ru_majflt`.
    pub major: u64,
    /// Faults in guest memory that other threads of the VMM answered. Those are not in the other two.
    pub served: u64,
}

impl HostFaults {
    /// What the calling thread took so far, and threads that serve guest memory have `served`.
    #[must_use]
    pub fn of_this_thread(served: u64) -> HostFaults {
        // SAFETY: all-zero is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live `rusage`. With valid arguments the call cannot fail.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        HostFaults {
            minor: usage.ru_minflt as u64,
            major: usage.ru_majflt as u64,
            served,
        }
    }
}

/// One measured phase: what was asked, and every counter before and after.
#[derive(Clone, Debug)]
pub struct PhaseRecord {
    /// The arguments of the phase's end, where `count` is what was really provoked.
    pub args: PhaseArgs,
    /// The guest's counters at the beginning, as the guest snapshotted them.
    pub vmstat_before: Vmstat,
    /// The guest's counters at the end.
    pub vmstat_after: Vmstat,
    /// KVM's counters at the beginning; empty if this host's KVM has none.
    pub kvm_before: KvmCounters,
    /// KVM's counters at the end.
    pub kvm_after: KvmCounters,
    /// The host's faults at the beginning.
    pub host_before: HostFaults,
    /// The host's faults at the end.
    pub host_after: HostFaults,
    /// What the bus had carried at the beginning, the command that began the phase included. KVM's own `io_exits`
    /// does not count the accesses of a ring 0 that it emulates.
    pub bus_before: BusCounters,
    /// What it had carried at the end, the command that ended the phase included.
    pub bus_after: BusCounters,
    /// What the host kernel's events say; `None` unless [`crate::VmConfig::host_events`].
    pub host_side: Option<Result<HostTally, String>>,
    /// Time-stamp counter cycles of every sample, in the order of the touches.
    pub samples: Vec<u64>,
    /// What the guest traced in the phase, oldest first; empty with tracing off.
    pub trace: Trace,
    /// What the swap disk did in it; empty with tracing off.
    pub requests: Requests,
}
