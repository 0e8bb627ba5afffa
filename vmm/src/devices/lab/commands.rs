//! The commands of the lab device, except those of a phase and those about memory.

use faultlab_abi::dev::{SkipArgs, access};
use faultlab_abi::lab::{CallRecord, Hello, Panic, log_level};
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::vmstat;

use super::phase::PhaseState;
use super::records::{copy, copy_bytes, in_one_page};
use super::{Handled, Refusal};
use crate::devices::Session;
use crate::observer::Stream;
use crate::outcome::{End, PanicReport};
use crate::strace::{Space, Strace};

/// Limits stated in [`faultlab_abi::lab::kind`].
const WRITE_MAX_BYTES: u64 = PAGE_SIZE;
const LOG_MAX_BYTES: u64 = 512;

/// Scenarios that a plan may announce; more would make a progress bar of nothing.
const PLAN_MAX: u64 = 10_000;

/// Copies and checks what the kernel says about itself.
pub(super) fn hello(address: u64, session: &Session<'_>) -> Result<Hello, Refusal> {
    let ram = session.ram;
    let hello: Hello = copy(ram, address)?;
    let counters = hello.vmstat_count == vmstat::COUNT as u64 && hello.vmstat.is_multiple_of(8);
    // A ring has a page of header and at least one record.
    let trace = hello.trace_bytes == 0 && hello.trace == 0
        || hello.trace_bytes.is_power_of_two() && hello.trace_bytes > PAGE_SIZE && hello.trace.is_multiple_of(8);
    if hello.version != faultlab_abi::VERSION || hello.syscall_gate > 1 || !counters || !trace {
        return Err(Refusal::Invalid);
    }
    let in_ram = ram.contains(hello.vmstat, hello.vmstat_count * 8) && ram.contains(hello.trace, hello.trace_bytes);
    in_ram.then_some(hello).ok_or(Refusal::Fault)
}

/// Program output: stream, address, bytes.
pub(super) fn write(args: [u64; 6], has_terminal: bool, session: &mut Session<'_>) -> Handled {
    let [stream, address, bytes, ..] = args;
    let stream = match stream {
        0 if has_terminal => Stream::Terminal,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Err(Refusal::Invalid),
    };
    if bytes > WRITE_MAX_BYTES || !in_one_page(address, bytes) {
        return Err(Refusal::Invalid);
    }
    let output = copy_bytes(session.ram, address, bytes, WRITE_MAX_BYTES)?;
    session.observer.output(stream, &output);
    Ok(None)
}

/// The last process ended with this wait status.
pub(super) fn exit(status: u64, phase: &mut PhaseState, session: &mut Session<'_>) -> Handled {
    // wait4's status is a C int; its signal may be accompanied by the core flag.
    let status = i32::try_from(status).map_err(|_| Refusal::Invalid)?;
    phase.deliver(session);
    Ok(Some(End::Exited(status)))
}

/// The kernel cannot go on; it does not return, so even a record outside RAM ends the run.
pub(super) fn panic(address: u64, phase: &mut PhaseState, session: &mut Session<'_>) -> Handled {
    phase.deliver(session);
    let record: Option<Panic> = copy(session.ram, address).ok();
    // The symbol is looked up by the VM, which has the kernel's symbol table.
    Ok(Some(End::Panicked(Box::new(PanicReport { record, symbol: None }))))
}

/// A line of the kernel's log: level, address, bytes.
pub(super) fn log(args: [u64; 6], session: &mut Session<'_>) -> Handled {
    let [level, address, bytes, ..] = args;
    let level = match level {
        log_level::ERROR => log::Level::Error,
        log_level::WARN => log::Level::Warn,
        log_level::INFO => log::Level::Info,
        log_level::DEBUG => log::Level::Debug,
        _ => return Err(Refusal::Invalid),
    };
    let line = copy_bytes(session.ram, address, bytes, LOG_MAX_BYTES)?;
    session.observer.log(level, String::from_utf8_lossy(&line).trim_end());
    Ok(None)
}

/// A system call, a signal or an end, for `--strace`.
pub(super) fn call(address: u64, calls: &mut Strace, session: &mut Session<'_>) -> Handled {
    let record: CallRecord = copy(session.ram, address)?;
    let memory = Space {
        ram: session.ram,
        root: record.root,
    };
    for line in calls.record(&record, &memory) {
        session.observer.call(&line);
    }
    Ok(None)
}

/// So many scenarios follow.
pub(super) fn plan(scenarios: u64, session: &mut Session<'_>) -> Handled {
    if scenarios > PLAN_MAX {
        return Err(Refusal::Invalid);
    }
    session.observer.plan(scenarios);
    Ok(None)
}

/// A row of the plan will not come.
pub(super) fn skip(address: u64, phase: &mut PhaseState, session: &mut Session<'_>) -> Handled {
    let args: SkipArgs = copy(session.ram, address)?;
    if args.failed > 1 || args.access > access::NONE {
        return Err(Refusal::Invalid);
    }
    // What was measured before comes first.
    phase.deliver(session);
    session.observer.skipped(&args);
    Ok(None)
}
