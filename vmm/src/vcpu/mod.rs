//! The run loop of the vCPU.
//!
//! | module | what is in it |
//! |---|---|
//! | [`kick`] | making `KVM_RUN` return |
//! | `interrupt` | the timer's interrupt |
//! | [`state`] | where a vCPU stopped |
//! | this one | exits, and who serves them |
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.10 `KVM_RUN` and section 5 (`kvm_run`).

mod interrupt;
pub mod kick;
pub mod state;

use std::io;
use std::ops::ControlFlow;

use kvm_bindings::KVM_EXIT_DIRTY_RING_FULL;
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::devices::Session;
use crate::devices::bus::Bus;
use crate::error::KvmError;
use crate::outcome::{CrashCause, End, WatchdogCause};
use crate::timeline::clock::host_tsc;
use crate::timeline::log::{ExitKind, ExitSpan};
use crate::watchdog::Watch;

/// Why the loop ended.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    /// The guest, or the caller, ended the run.
    End(End),
    /// The vCPU cannot go on.
    Crashed(CrashCause),
    /// The watchdog gave up.
    Watchdog(WatchdogCause),
}

/// Runs `vcpu` until the run ends. Kicks reach it while `watch` lives.
pub(crate) fn run(
    vcpu: &mut VcpuFd,
    bus: &mut Bus,
    session: &mut Session<'_>,
    watch: &mut Watch,
) -> Result<Stopped, KvmError> {
    loop {
        let exit = match vcpu.run() {
            Ok(VcpuExit::InternalError) => return Ok(Stopped::Crashed(internal_error(vcpu))),
            Ok(VcpuExit::IrqWindowOpen) => {
                interrupt::deliver(vcpu, &bus.lab)?;
                continue;
            }
            Ok(exit) => exit,
            Err(error) if error.errno() == libc::EINTR => match watch.look(vcpu, bus, session.ram) {
                Some(stopped) => return Ok(stopped),
                None => {
                    interrupt::deliver(vcpu, &bus.lab)?;
                    continue;
                }
            },
            Err(error) if error.errno() == libc::EAGAIN => continue,
            Err(error) => return Err(KvmError::of("KVM_RUN")(error)),
        };
        let served = match session.exits {
            None => serve(exit, bus, session)?,
            Some(_) => serve_noted(exit, bus, session)?,
        };
        if let ControlFlow::Break(stopped) = served {
            return Ok(stopped);
        }
    }
}

/// Serves one exit, and notes when for the timeline.
#[cold]
#[inline(never)]
fn serve_noted(exit: VcpuExit<'_>, bus: &mut Bus, session: &mut Session<'_>) -> Result<ControlFlow<Stopped>, KvmError> {
    let (kind, address) = describe(&exit);
    let start = host_tsc();
    let served = serve(exit, bus, session);
    let end = host_tsc();
    if let Some(log) = &mut session.exits {
        log.push(ExitSpan {
            start,
            end,
            kind,
            address,
        });
    }
    served
}

/// Kind and address of an exit, for the timeline.
fn describe(exit: &VcpuExit<'_>) -> (ExitKind, u64) {
    match exit {
        VcpuExit::IoOut(port, _) => (ExitKind::PioWrite, u64::from(*port)),
        VcpuExit::IoIn(port, _) => (ExitKind::PioRead, u64::from(*port)),
        VcpuExit::MmioRead(address, _) => (ExitKind::MmioRead, *address),
        VcpuExit::MmioWrite(address, _) => (ExitKind::MmioWrite, *address),
        _ => (ExitKind::Other, 0),
    }
}

/// Serves one exit.
#[inline(always)]
fn serve(exit: VcpuExit<'_>, bus: &mut Bus, session: &mut Session<'_>) -> Result<ControlFlow<Stopped>, KvmError> {
    match exit {
        VcpuExit::IoOut(port, data) => bus.pio_write(port, data),
        VcpuExit::IoIn(port, data) => bus.pio_read(port, data),
        VcpuExit::MmioRead(address, data) => bus.mmio_read(address, data),
        VcpuExit::MmioWrite(address, data) => {
            return Ok(bus.mmio_write(address, data, session).map_break(Stopped::End));
        }
        VcpuExit::Intr => {}
        VcpuExit::Unsupported(KVM_EXIT_DIRTY_RING_FULL) => bus.lab.dirty_ring_full(session.ram)?,
        VcpuExit::Hlt if bus.halt() => {}
        VcpuExit::Hlt => return Ok(ControlFlow::Break(Stopped::Watchdog(WatchdogCause::Halted))),
        VcpuExit::Shutdown => return Ok(ControlFlow::Break(Stopped::Crashed(CrashCause::TripleFault))),
        VcpuExit::FailEntry(reason, _) => {
            return Ok(ControlFlow::Break(Stopped::Crashed(CrashCause::FailEntry(reason))));
        }
        other => {
            let source = io::Error::other(format!("unexpected exit {other:?}"));
            return Err(KvmError {
                operation: "KVM_RUN",
                source,
            });
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn internal_error(vcpu: &mut VcpuFd) -> CrashCause {
    // SAFETY: `KVM_EXIT_INTERNAL_ERROR` fills this member of the union, and any bits are valid integers.
    let suberror = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror };
    CrashCause::InternalError(suberror)
}
