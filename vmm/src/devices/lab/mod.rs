//! The lab device: how the guest kernel speaks to the laboratory.
//!
//! | module | what is in it |
//! |---|---|
//! | `records` | copies records out of guest memory |
//! | `commands` | one function a command |
//! | `memory` | the commands about host memory |
//! | `input` | what comes in |
//! | `halt` | halts that are measured |
//! | `out` | files that come back |
//! | `phase` | the phase that is measured |
//! | `timer` | the guest's timer and its idle wait |
//! | this one | registers, dispatch, status |
//!
//! # Invariants
//! A command is copied once; every address and length in it is checked against RAM and the limits of
//! [`faultlab_abi::lab`] before it is used; nothing is read twice. A refused command is counted and logged at a limited
//! rate, and answered with the `errno` that the interface names.
//!
//! Source: `guest/abi/src/lab.rs`.

mod commands;
mod halt;
mod input;
mod memory;
mod out;
mod phase;
mod records;
mod timer;

use std::mem::offset_of;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use faultlab_abi::lab::{Command, Hello, MAGIC, kind, reg};
use vm_memory::{Bytes, GuestAddress};

use self::halt::Halts;
use self::input::Input;
use self::phase::PhaseState;
pub(crate) use self::timer::Bell;
use self::timer::Timer;
use super::Session;
use crate::bring_back::{BringBack, NotBrought};
use crate::error::KvmError;
use crate::memory::GuestRam;
use crate::memory::dirty_log::DirtyLog;
use crate::outcome::End;
use crate::rate_limit::{RateLimit, warn_limited};
use crate::strace::Strace;
use crate::timeline::clock::host_tsc;
use crate::vcpu::kick::StopHandle;

/// Why a command is refused: the `errno` it is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A value out of range.
    Invalid,
    /// An address outside RAM.
    Fault,
    /// An unknown kind.
    Unknown,
    /// This VM cannot.
    Unsupported,
    /// The host failed.
    Io,
    /// No fault of the guest's, and told in another way: this `errno`.
    Told(i32),
}

impl Refusal {
    fn errno(self) -> i32 {
        match self {
            Refusal::Invalid => libc::EINVAL,
            Refusal::Fault => libc::EFAULT,
            Refusal::Unknown => libc::ENOSYS,
            Refusal::Unsupported => libc::EOPNOTSUPP,
            Refusal::Io => libc::EIO,
            Refusal::Told(errno) => errno,
        }
    }
}

/// What a command does: `Ok(Some(end))` ends the run.
type Handled = Result<Option<End>, Refusal>;

/// The lab device.
#[derive(Default)]
pub struct LabDevice {
    hello: Option<Hello>,
    /// Host time-stamp counter when it came.
    hello_tsc: u64,
    phase: PhaseState,
    /// `None`: this VM has no window, or KVM no log.
    dirty_log: Option<DirtyLog>,
    halts: Halts,
    timer: Timer,
    calls: Strace,
    input: Input,
    back: BringBack,
    commands: u64,
    refused: RateLimit,
    /// Phases that were begun and never ended.
    dropped: RateLimit,
}

impl LabDevice {
    /// With a log of the window's pages, and a timer that kicks through `stop`.
    pub(crate) fn new(log: Option<DirtyLog>, stop: StopHandle) -> LabDevice {
        LabDevice {
            dirty_log: log,
            timer: Timer::new(stop),
            ..LabDevice::default()
        }
    }

    /// With input from a descriptor, which may be a terminal.
    pub(crate) fn with_input(self, source: Option<Arc<OwnedFd>>, is_terminal: bool) -> LabDevice {
        LabDevice {
            input: Input::new(source, is_terminal, self.timer.bell()),
            ..self
        }
    }

    /// With files that are to come back.
    pub(crate) fn with_files_back(self, back: BringBack) -> LabDevice {
        LabDevice { back, ..self }
    }

    /// Files that were to come back and did not, now that the run is over.
    pub(crate) fn not_brought(&mut self) -> Vec<NotBrought> {
        self.back.not_brought()
    }

    /// The vCPU's dirty ring is nearly full: empties it.
    pub(crate) fn dirty_ring_full(&mut self, ram: &GuestRam) -> Result<(), KvmError> {
        self.dirty_log.as_mut().map_or(Ok(()), |log| log.harvest(ram))
    }

    /// The vCPU halted: whether the guest announced that, and goes on.
    pub(crate) fn halt(&mut self) -> bool {
        self.halts.halt()
    }

    /// What the kernel said at boot, once its values were accepted.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The host's time-stamp counter at [`LabDevice::hello`]; the kernel loads the program next.
    #[must_use]
    pub(crate) fn hello_tsc(&self) -> Option<u64> {
        self.hello.map(|_| self.hello_tsc)
    }

    /// Commands taken, refused ones included.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Idle waits of the guest.
    #[must_use]
    pub fn idle_waits(&self) -> u64 {
        self.timer.idle_waits()
    }

    /// Time that the guest spent in them.
    #[must_use]
    pub(crate) fn idle_time(&self) -> Duration {
        self.timer.idle_time()
    }

    /// What another device rings when it has something for the guest.
    pub(crate) fn bell(&self) -> Bell {
        self.timer.bell()
    }

    /// Whether the timer's interrupt is to be delivered.
    pub(crate) fn timer_is_due(&self) -> bool {
        self.timer.is_due()
    }

    /// The timer's interrupt is delivered.
    pub(crate) fn timer_delivered(&self) {
        self.timer.delivered();
    }

    /// Commands and register accesses refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.seen()
    }

    /// A load from the register page.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match (offset, data.len()) {
            (reg::MAGIC, 4) => data.copy_from_slice(&MAGIC.to_le_bytes()),
            (reg::VERSION, 4) => data.copy_from_slice(&faultlab_abi::VERSION.to_le_bytes()),
            (reg::WALLCLOCK_NS, 8) => data.copy_from_slice(&wallclock_ns().to_le_bytes()),
            (_, len) => warn_limited!(self.refused, "lab device: read of {len} bytes at {offset:#x}"),
        }
    }

    /// A store to the register page; `Break` if it ends the run.
    pub fn write(&mut self, offset: u64, data: &[u8], session: &mut Session<'_>) -> ControlFlow<End> {
        match (offset, <[u8; 8]>::try_from(data)) {
            (reg::DOORBELL, Ok(bytes)) => return self.doorbell(u64::from_le_bytes(bytes), session),
            (reg::TIMER_NS, Ok(bytes)) => {
                if let Err(error) = self.timer.arm(u64::from_le_bytes(bytes)) {
                    warn_limited!(self.refused, "lab device: no thread for the guest's timer: {error}");
                }
            }
            (reg::IDLE_NS, Ok(bytes)) => self.timer.idle(u64::from_le_bytes(bytes)),
            _ => {
                warn_limited!(self.refused, "lab device: write of {} bytes at {offset:#x}", data.len());
            }
        }
        ControlFlow::Continue(())
    }

    /// Delivers a phase that waits for more samples: the run is over.
    pub(crate) fn finish(&mut self, session: &mut Session<'_>) {
        self.phase.deliver(session);
    }

    fn doorbell(&mut self, address: u64, session: &mut Session<'_>) -> ControlFlow<End> {
        self.commands += 1;
        let command = match records::copy::<Command>(session.ram, address) {
            Ok(command) => command,
            Err(_) => {
                warn_limited!(self.refused, "lab device: doorbell with a command at {address:#x}");
                return ControlFlow::Continue(());
            }
        };
        let result = self.handle(&command, session);
        if let Ok(Some(end)) = result {
            return ControlFlow::Break(end);
        }
        let told = matches!(result, Err(Refusal::Told(_)));
        let status = result.map_or_else(|refusal| -refusal.errno(), |_| 0);
        if status != 0 && !told {
            warn_limited!(
                self.refused,
                "lab device: command {} with {:x?} is refused: errno {}",
                command.kind,
                command.args,
                -status
            );
        }
        // The whole command was just read from there, so its status lies in RAM.
        let at = GuestAddress(address + offset_of!(Command, status) as u64);
        let _ = session.ram.memory().write_obj(status, at);
        ControlFlow::Continue(())
    }

    fn handle(&mut self, command: &Command, session: &mut Session<'_>) -> Handled {
        let args = command.args;
        match command.kind {
            kind::HELLO => self.say_hello(args[0], session),
            kind::WRITE => commands::write(args, self.input.is_terminal(), session),
            kind::EXIT => commands::exit(args[0], &mut self.phase, session),
            kind::PANIC => commands::panic(args[0], &mut self.phase, session),
            kind::LOG => commands::log(args, session),
            kind::PHASE_BEGIN => self
                .phase
                .begin(args[0], self.hello.as_ref(), session, &mut self.dropped),
            kind::PHASE_END => self.phase.end(args[0], self.hello.as_ref(), session),
            kind::SAMPLES => self.phase.samples(args[0], args[1], session),
            kind::COLD => memory::cold(args, session),
            kind::WARM => memory::warm(args, session),
            kind::PRESENT => memory::present(args, session),
            kind::WRITE_PROTECT => memory::write_protect(args, self.dirty_log.as_mut(), session),
            kind::DIRTY_PAGES => memory::dirty_pages(args, self.dirty_log.as_mut(), session),
            kind::DIRTY_STOP => memory::dirty_stop(self.dirty_log.as_mut(), session),
            kind::HOST_INFO => memory::host_info(args[0], self.dirty_log.as_ref(), session),
            kind::HALTS => self.halts.announce(args),
            kind::SKIP => commands::skip(args[0], &mut self.phase, session),
            kind::INPUT => self.input.take(args, session),
            kind::WINDOW_SIZE => self.input.window_size(args[0], session),
            kind::CALL => commands::call(args[0], &mut self.calls, session),
            kind::PLAN => commands::plan(args[0], session),
            kind::OUT_NEXT => out::next(args, &mut self.back, session),
            kind::OUT_ENTRY => out::entry(args, &mut self.back, session),
            kind::OUT_PAGES => out::pages(args, &mut self.back, session),
            kind::OUT_END => out::end(args, &mut self.back),
            _ => Err(Refusal::Unknown),
        }
    }

    fn say_hello(&mut self, address: u64, session: &mut Session<'_>) -> Handled {
        self.hello = Some(commands::hello(address, session)?);
        self.hello_tsc = host_tsc();
        Ok(None)
    }
}

fn wallclock_ns() -> u64 {
    // 64 bits of nanoseconds last until the year 2554; a clock before 1970 reads as 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
