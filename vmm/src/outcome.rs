//! How a run ended, and what was counted during it.

use std::fmt;
use std::time::Duration;

use faultlab_abi::lab::{Hello, Panic, panic_reason};

use crate::bring_back::NotBrought;
use crate::devices::block::{BlockCounters, Unanswered};
use crate::devices::bus::BusCounters;
use crate::error::exit;
use crate::observer::Vmstat;
use crate::timeline::Timeline;
use crate::timeline::requests::Requests;
use crate::trace_ring::Trace;
use crate::vcpu::state::VcpuState;

/// Everything known after a run, however it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the run ended.
    pub end: End,
    /// What the kernel said about itself; `None` if it ended before its first command.
    pub hello: Option<Hello>,
    /// The guest's counters at the end; all zero without [`Outcome::hello`].
    pub guest_vmstat: Vmstat,
    /// What the swap disk did; `None` without one.
    pub block: Option<BlockCounters>,
    /// What the bus carried and refused.
    pub bus: BusCounters,
    /// Commands of the lab device that were refused.
    pub lab_refused: u64,
    /// What of [`crate::VmConfig::out`] was not brought back.
    pub not_brought: Vec<NotBrought>,
    /// Resident memory of this process at the end less that of this guest's RAM, in KiB.
    pub vmm_resident_kib: u64,
    /// From the start of this process to the first `KVM_RUN`. The kernel dates the start to 10 ms, rounded down, so
    /// this is at most 10 ms too long.
    pub start_to_guest: Duration,
    /// From the call of [`crate::Vm::new`] to the first `KVM_RUN`.
    pub build: Duration,
    /// From the kernel's first command, after which it loads the program, to the end, in cycles of the host's time-stamp counter;
    /// `None` without [`Outcome::hello`].
    pub program_cycles: Option<u64>,
    /// What the guest traced; empty with tracing off.
    pub trace: Trace,
    /// What the swap disk did since the last phase began or ended; empty with tracing off, and with a timeline, which has it.
    pub requests: Requests,
    /// What the VMM and the host did meanwhile; `None` without [`crate::TraceLevel::Timeline`].
    pub timeline: Option<Timeline>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum End {
    /// The last process ended with this wait status (encoded as by `wait4`).
    Exited(i32),
    /// The guest kernel could not go on and said why.
    Panicked(Box<PanicReport>),
    /// The vCPU could not go on: triple fault, or an instruction that KVM cannot emulate.
    Crashed(Box<CrashReport>),
    /// The VMM gave up on a guest that makes no progress or takes too long.
    Watchdog(Box<WatchdogReport>),
    /// [`crate::StopHandle::stop`] was called with this signal number.
    Stopped(i32),
}

impl End {
    /// The process exit status that reports this end (see [`crate::error::exit`]).
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match *self {
            // The encoding is POSIX's: low 7 bits the signal, next byte the exit status.
            End::Exited(status) if status & 0x7f == 0 => (status >> 8 & 0xff) as u8,
            End::Exited(status) => exit::signal(status & 0x7f),
            End::Panicked(ref report) => report.exit_status(),
            End::Crashed(_) => exit::GUEST_PANIC,
            End::Watchdog(_) => exit::TIMEOUT,
            End::Stopped(signal) => exit::signal(signal),
        }
    }
}

/// A panic of the guest kernel. Its `Display` is the report for people, several lines.
#[derive(Clone, Debug)]
pub struct PanicReport {
    /// The record as the guest left it; `None` if its address was outside RAM.
    pub record: Option<Panic>,
    /// Function and offset of the record's RIP, if the kernel's symbol table covers it.
    pub symbol: Option<String>,
}

impl PanicReport {
    /// Whether the guest kernel stopped at a place that says nothing: where it looked, not where something went wrong.
    fn is_verdict(&self) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.reason == panic_reason::INVARIANT)
    }

    /// Whether the guest kernel refused what it was given, rather than failing itself: its text says all there is to say.
    fn is_refusal(&self) -> bool {
        let reason = self.record.as_ref().map(|record| record.reason);
        matches!(
            reason,
            Some(panic_reason::BOOT | panic_reason::NOT_A_PROGRAM | panic_reason::NOT_FOUND)
        )
    }

    /// The process exit status that reports it.
    fn exit_status(&self) -> u8 {
        match &self.record {
            Some(record) if record.reason == panic_reason::NOT_A_PROGRAM => exit::NOT_A_PROGRAM,
            Some(record) if record.reason == panic_reason::NOT_FOUND => exit::NOT_FOUND,
            Some(record) if record.reason == panic_reason::BOOT => exit::FAILURE,
            Some(record) if record.reason == panic_reason::INVARIANT => exit::INVARIANT,
            _ => exit::GUEST_PANIC,
        }
    }

    /// The kernel's message; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        self.record.as_ref().map_or_else(String::new, |record| {
            let used = usize::try_from(record.text_bytes)
                .unwrap_or(usize::MAX)
                .min(record.text.len());
            String::from_utf8_lossy(&record.text[..used]).into_owned()
        })
    }
}

/// Name of a [`Panic::reason`].
fn reason_name(reason: u32) -> &'static str {
    match reason {
        panic_reason::PANIC => "panic",
        panic_reason::EXCEPTION => "unexpected exception",
        panic_reason::DEADLOCK => "deadlock: every process waits",
        panic_reason::BOOT => "cannot boot",
        panic_reason::OUT_OF_MEMORY => "out of memory with nothing to kill",
        panic_reason::NOT_A_PROGRAM => "not a program",
        panic_reason::NOT_FOUND => "no such program",
        panic_reason::INVARIANT => "invariant violated",
        _ => "unknown reason",
    }
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(r) = &self.record else {
            return write!(f, "guest kernel panicked and left its record outside RAM");
        };
        if self.is_refusal() {
            return f.write_str(&self.text());
        }
        write!(f, "guest kernel: {}: {}", reason_name(r.reason), self.text())?;
        if self.is_verdict() {
            return Ok(());
        }
        if r.reason == panic_reason::EXCEPTION {
            write!(
                f,
                "\n  vector {} error code {:#x} cr2 {:#x}",
                r.vector, r.error_code, r.cr2
            )?;
        }
        let symbol = self.symbol.as_deref().unwrap_or("no symbol");
        write!(f, "\n  rip {:#018x} ({symbol})", r.rip)?;
        write!(
            f,
            "\n  cs {:#x} rflags {:#x} rsp {:#018x} cr3 {:#x}",
            r.cs, r.rflags, r.rsp, r.cr3
        )?;
        for (row, names) in GPR_NAMES.chunks(3).enumerate() {
            f.write_str("\n ")?;
            for (column, name) in names.iter().enumerate() {
                write!(f, " {name:<3} {:#018x}", r.gpr[row * 3 + column])?;
            }
        }
        Ok(())
    }
}

/// Names of [`Panic::gpr`] in its order.
const GPR_NAMES: [&str; 15] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
];

/// Why the vCPU stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashCause {
    /// `KVM_EXIT_SHUTDOWN`: an exception while delivering a double fault.
    TripleFault,
    /// `KVM_EXIT_INTERNAL_ERROR` with this suberror; 1 is an instruction that KVM's emulator does not know.
    InternalError(u32),
    /// `KVM_EXIT_FAIL_ENTRY` with the hardware's reason: the processor refused the guest state.
    FailEntry(u64),
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrashCause::TripleFault => f.write_str("triple fault"),
            CrashCause::InternalError(1) => f.write_str("KVM cannot emulate the guest's instruction (suberror 1)"),
            CrashCause::InternalError(suberror) => write!(f, "KVM internal error (suberror {suberror})"),
            CrashCause::FailEntry(reason) => write!(f, "the processor refused to enter the guest (reason {reason:#x})"),
        }
    }
}

/// A vCPU that cannot go on. Its `Display` is the report for people, several lines.
#[derive(Clone, Debug)]
pub struct CrashReport {
    /// Why.
    pub cause: CrashCause,
    /// Where.
    pub state: VcpuState,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest crashed: {}\n{}", self.cause, self.state)
    }
}

/// Why the VMM gave up on the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogCause {
    /// Ring 0 ran for this many seconds without any counter of the guest moving.
    NoProgress {
        /// Consecutive seconds seen in ring 0 with the heartbeat unchanged.
        seconds: u32,
    },
    /// `hlt` with no interrupt controller that could end it.
    Halted,
    /// [`crate::VmConfig::timeout`] elapsed.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}

impl fmt::Display for WatchdogCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchdogCause::NoProgress { seconds } => write!(f, "no progress in ring 0 for {seconds} s"),
            WatchdogCause::Halted => f.write_str("deadlock: halted with nothing that could wake it"),
            WatchdogCause::TimedOut { limit } => {
                write!(f, "still running after {} s; raise --timeout", limit.as_secs_f64())
            }
        }
    }
}

/// A guest that the VMM ended. Its `Display` is the report for people, several lines.
#[derive(Clone, Debug)]
pub struct WatchdogReport {
    /// Why.
    pub cause: WatchdogCause,
    /// The request to a device that it waited for, if there was one.
    pub waits_for: Option<Unanswered>,
    /// Where the vCPU was.
    pub state: VcpuState,
}

impl fmt::Display for WatchdogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "guest ended by faultlab: {}", self.cause)?;
        if let Some(request) = &self.waits_for {
            writeln!(f, "  it waits for {request}")?;
        }
        self.state.fmt(f)
    }
}
