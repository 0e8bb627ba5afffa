//! `clock_gettime clock_settime clock_getres gettimeofday settimeofday time nanosleep clock_nanosleep`.
//!
//! A process that sleeps has a deadline, which its call finds when it is made again: so it sleeps no longer for being woken in between.
//!
//! | clock | what it says |
//! |---|---|
//! | `REALTIME`, its coarse form, `TAI` | the host's time at boot, and what has passed since; nobody sets it |
//! | `MONOTONIC`, raw, coarse, `BOOTTIME` | nanoseconds since boot |
//! | `PROCESS_CPUTIME_ID`, `THREAD_CPUTIME_ID`, those of `clock_getcpuclockid` | CPU time ([`times`]) |
//!
//! Source: clock_gettime(2), clock_getcpuclockid(3), nanosleep(2), clock_nanosleep(2), settimeofday(2); Linux, kernel/time/posix-timers.c,
//! posix-cpu-timers.c, hrtimer.c.

pub(super) use faultlab_linux::timer::NS_PER_S;
use faultlab_linux::timer::{timespec_ns, timeval_ns};

use super::poll::Rest;
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, Process};
use crate::task::times;

mod nr {
    pub(super) const NANOSLEEP: u64 = 35;
    pub(super) const GETTIMEOFDAY: u64 = 96;
    pub(super) const SETTIMEOFDAY: u64 = 164;
    pub(super) const RT_SIGTIMEDWAIT: u64 = 128;
    pub(super) const TIME: u64 = 201;
    pub(super) const CLOCK_SETTIME: u64 = 227;
    pub(super) const CLOCK_GETRES: u64 = 229;
    pub(super) const CLOCK_NANOSLEEP: u64 = 230;
}

const CLOCK_MONOTONIC: u64 = 1;
/// `TIMER_ABSTIME`: until, not for.
pub(super) const ABSOLUTE: u64 = 1;

/// What a clock counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// Time of day; nobody can wait for the coarse one.
    Real { coarse: bool },
    /// Time since boot; nobody can wait for the raw and the coarse ones.
    Monotonic { coarse: bool },
    /// CPU time of a process; 0 is the running one.
    Cpu(u32),
    /// CPU time of a thread; 0 is the running one.
    Thread(u32),
}

impl Clock {
    /// The clock with this number.
    ///
    /// # Errors
    /// `EINVAL`: there is none, or its process is not there.
    pub(super) fn new(number: u64) -> Result<Self, Errno> {
        match number as i32 {
            0 | 11 => Ok(Self::Real { coarse: false }),
            5 => Ok(Self::Real { coarse: true }),
            1 | 7 => Ok(Self::Monotonic { coarse: false }),
            4 | 6 => Ok(Self::Monotonic { coarse: true }),
            2 => Ok(Self::Cpu(0)),
            3 => Ok(Self::Thread(0)),
            // The complement of the process's number, and which of its clocks. Source: Linux, include/linux/posix-timers.h.
            number if number < 0 && number & 3 != 3 => {
                let (id, of_thread) = (!(number >> 3) as u32, number & 4 != 0);
                match (of_thread, process::find_thread(id)) {
                    (true, Some(_)) => Ok(Self::Thread(id)),
                    (false, Some(process)) if process.is_leader() => Ok(Self::Cpu(id)),
                    (of_thread, None) if id == 0 => Ok(if of_thread { Self::Thread(0) } else { Self::Cpu(0) }),
                    _ => Err(Errno::EINVAL),
                }
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// What it says, in nanoseconds.
    pub(super) fn now(self) -> u64 {
        match self {
            Self::Real { .. } => clock::realtime_ns(),
            Self::Monotonic { .. } => clock::monotonic_ns(),
            Self::Cpu(0) => times::cpu_ns(process::current()),
            Self::Cpu(pid) => process::find(pid).map_or(0, times::cpu_ns),
            Self::Thread(0) => times::of_thread(process::current()).cpu_ns(),
            Self::Thread(tid) => process::find_thread(tid).map_or(0, |thread| times::of_thread(thread).cpu_ns()),
        }
    }
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    Some(match rax {
        nr::NANOSLEEP => sleep(CLOCK_MONOTONIC, 0, rdi),
        nr::CLOCK_NANOSLEEP => sleep(rdi, rsi, rdx),
        nr::GETTIMEOFDAY => gettimeofday(rdi, rsi),
        nr::SETTIMEOFDAY => settimeofday(rdi, rsi),
        nr::TIME => time(rdi),
        nr::CLOCK_SETTIME => clock_settime(rdi, rsi),
        nr::CLOCK_GETRES => clock_getres(rdi, rsi),
        _ => return None,
    })
}

/// Two 64-bit numbers: `struct timespec`, `struct timeval`.
pub(super) fn write_pair(addr: u64, pair: [u64; 2]) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pair[0].to_le_bytes());
    bytes[8..].copy_from_slice(&pair[1].to_le_bytes());
    uaccess::copy_to_user(addr, &bytes)
}

/// The same, read.
pub(super) fn read_pair(addr: u64) -> Result<[u64; 2], Errno> {
    let bytes: [u8; 16] = uaccess::read(addr)?;
    let pair = u128::from_le_bytes(bytes);
    Ok([pair as u64, (pair >> 64) as u64])
}

/// A `struct timespec` of a time that is not negative, in nanoseconds.
pub(super) fn read_timespec(addr: u64) -> Result<u64, Errno> {
    timespec_ns(read_pair(addr)?)
}

/// Whether a call that waits for `timeout` nanoseconds at most, or for ever, has done so. When it is made for the first time, the time begins.
pub(crate) fn is_over(process: &Process, timeout: Option<u64>) -> bool {
    let Some(timeout) = timeout else { return false };
    let now = clock::monotonic_ns();
    let deadline = process.deadline.get().unwrap_or(now.saturating_add(timeout));
    process::set_deadline(process, Some(deadline));
    deadline <= now
}

/// How much of a call's `timeout` is left, in nanoseconds.
pub(super) fn left(process: &Process, timeout: u64) -> u64 {
    let deadline = process.deadline.get();
    deadline.map_or(timeout, |deadline| deadline.saturating_sub(clock::monotonic_ns()))
}

pub(super) fn write_ns(addr: u64, ns: u64) -> Result<(), Errno> {
    write_pair(addr, [ns / NS_PER_S, ns % NS_PER_S])
}

#[inline(never)]
pub(super) fn clock_gettime(clock: u64, addr: u64) -> Result<u64, Errno> {
    write_ns(addr, Clock::new(clock)?.now()).map(|()| 0)
}

/// Nobody may: no process has `CAP_SYS_TIME`.
fn clock_settime(clock: u64, addr: u64) -> Result<Outcome, Errno> {
    // Only that of the day can be set at all.
    if clock as i32 != 0 && !matches!(Clock::new(clock), Ok(Clock::Cpu(_) | Clock::Thread(_))) {
        return Err(Errno::EINVAL);
    }
    timespec_ns(read_pair(addr)?)?;
    Err(Errno::EPERM)
}

fn clock_getres(clock: u64, addr: u64) -> Result<Outcome, Errno> {
    Clock::new(clock)?;
    if addr != 0 {
        write_pair(addr, [0, 1])?;
    }
    Ok(Outcome::Value(0))
}

/// There is no time zone but UTC.
fn gettimeofday(time: u64, zone: u64) -> Result<Outcome, Errno> {
    let ns = clock::realtime_ns();
    if time != 0 {
        write_pair(time, [ns / NS_PER_S, ns % NS_PER_S / 1000])?;
    }
    if zone != 0 {
        uaccess::clear_user(zone, 8)?;
    }
    Ok(Outcome::Value(0))
}

/// As [`clock_settime`].
fn settimeofday(time: u64, zone: u64) -> Result<Outcome, Errno> {
    if time != 0 {
        timeval_ns(read_pair(time)?)?;
    }
    if zone != 0 {
        uaccess::read::<8>(zone)?;
    }
    Err(Errno::EPERM)
}

fn time(addr: u64) -> Result<Outcome, Errno> {
    let seconds = clock::realtime_ns() / NS_PER_S;
    if addr != 0 {
        uaccess::copy_to_user(addr, &seconds.to_le_bytes())?;
    }
    Ok(Outcome::Value(seconds))
}

/// `nanosleep`, `clock_nanosleep`. Deadlines are the monotonic clock's: nobody sets the real one.
fn sleep(clock: u64, flags: u64, request: u64) -> Result<Outcome, Errno> {
    let process = process::current();
    let deadline = match process.deadline.get() {
        Some(deadline) => deadline,
        None => match deadline_of(clock, flags, request)? {
            Some(deadline) => deadline,
            // Its own CPU time, which stands still meanwhile: until a signal comes.
            None => return Ok(Outcome::Sleep(Interrupted::Once)),
        },
    };
    Ok(wait_until(deadline, Interrupted::Once).unwrap_or(Outcome::Value(0)))
}

/// Makes the running process wait for a time on the monotonic clock, in a call of this kind; `None` if it has come.
pub(super) fn wait_until(deadline: u64, kind: Interrupted) -> Option<Outcome> {
    let process = process::current();
    if clock::monotonic_ns() >= deadline {
        process::set_deadline(process, None);
        return None;
    }
    process::set_deadline(process, Some(deadline));
    Some(Outcome::Sleep(kind))
}

/// When a sleep is over, on the monotonic clock; `None` for never.
fn deadline_of(number: u64, flags: u64, request: u64) -> Result<Option<u64>, Errno> {
    let clock = Clock::new(number)?;
    if matches!(
        clock,
        Clock::Real { coarse: true } | Clock::Monotonic { coarse: true } | Clock::Thread(_)
    ) {
        return Err(Errno::EOPNOTSUPP);
    }
    let time = timespec_ns(read_pair(request)?)?;
    Ok(match (flags & ABSOLUTE, clock) {
        (_, Clock::Cpu(_) | Clock::Thread(_)) => None,
        (0, _) => Some(clock::monotonic_ns().saturating_add(time)),
        (_, Clock::Real { .. }) => Some(clock::monotonic_of_realtime(time)),
        (_, Clock::Monotonic { .. }) => Some(time),
    })
}

/// A call that waited, whose registers these are, is over before its time: one that sleeps for a time tells how much of it is left.
///
/// # Errors
/// `EFAULT` where that cannot be written. Source: Linux, kernel/time/hrtimer.c (`nanosleep_copyout`).
pub(crate) fn interrupted(regs: &PtRegs) -> Result<(), Errno> {
    let process = process::current();
    let v = &regs.volatile;
    if v.rax == nr::RT_SIGTIMEDWAIT {
        super::signal::stop_waiting();
    }
    let Some(deadline) = process.deadline.get() else {
        return Ok(());
    };
    process::set_deadline(process, None);
    let rest = match v.rax {
        nr::NANOSLEEP => v.rsi,
        nr::CLOCK_NANOSLEEP if v.rsi & ABSOLUTE == 0 => v.r10,
        _ => 0,
    };
    let left = deadline.saturating_sub(clock::monotonic_ns());
    Rest::of(v).tell(left);
    match rest {
        0 => Ok(()),
        rest => write_ns(rest, left),
    }
}
