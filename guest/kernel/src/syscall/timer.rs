//! `alarm getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete`.
//!
//! Source: alarm(2), setitimer(2), timer_create(2) and its neighbours, sigevent(3type); Linux, kernel/time/itimer.c, posix-timers.c.

use faultlab_linux::signal::Signal;
use faultlab_linux::timer::{Itimer, Made, NS_PER_S, Setting, timespec_ns, timeval_ns};

use super::time::{ABSOLUTE, Clock, read_pair, write_ns, write_pair};
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::{preempt, process, timers};

mod nr {
    pub(super) const GETITIMER: u64 = 36;
    pub(super) const ALARM: u64 = 37;
    pub(super) const SETITIMER: u64 = 38;
    pub(super) const TIMER_CREATE: u64 = 222;
    pub(super) const TIMER_SETTIME: u64 = 223;
    pub(super) const TIMER_GETTIME: u64 = 224;
    pub(super) const TIMER_GETOVERRUN: u64 = 225;
    pub(super) const TIMER_DELETE: u64 = 226;
}

/// Bytes of a `struct itimerval`, a `struct itimerspec`: the interval, and what is left.
pub(super) const VALUE_AT: u64 = 16;
const NS_PER_US: u64 = 1000;

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        ..
    } = regs.volatile;
    let timers = &process::current().leader().timers;
    let done = |result: Result<(), Errno>| result.map(|()| Outcome::Value(0));
    Some(match rax {
        nr::GETITIMER => done(getitimer(rdi, rsi)),
        nr::ALARM => alarm(rdi),
        nr::SETITIMER => done(setitimer(rdi, rsi, rdx)),
        nr::TIMER_CREATE => done(timer_create(rdi, rsi, rdx)),
        nr::TIMER_SETTIME => done(timer_settime(rdi as u32, rsi, rdx, r10)),
        nr::TIMER_GETTIME => done(timer_gettime(rdi as u32, rsi)),
        nr::TIMER_GETOVERRUN => LINUX.timer_getoverrun(timers, rdi as u32).map(Outcome::Value),
        nr::TIMER_DELETE => done(LINUX.timer_delete(timers, rdi as u32)),
        _ => return None,
    })
}

/// A timer was set: the machine's has to be early enough.
pub(super) fn was_set() {
    if let Some(first) = LINUX.first_timer() {
        preempt::at(first);
    }
    preempt::at_cpu_deadline();
}

/// Microseconds are rounded up: what is set is not told as what is not.
fn write_itimerval(addr: u64, setting: Setting) -> Result<(), Errno> {
    for (at, ns) in [(0, setting.interval), (VALUE_AT, setting.left)] {
        let us = ns.div_ceil(NS_PER_US);
        write_pair(addr.wrapping_add(at), [us / 1_000_000, us % 1_000_000])?;
    }
    Ok(())
}

pub(super) fn write_itimerspec(addr: u64, setting: Setting) -> Result<(), Errno> {
    write_ns(addr, setting.interval)?;
    write_ns(addr.wrapping_add(VALUE_AT), setting.left)
}

fn which(number: u64) -> Result<Itimer, Errno> {
    Itimer::new(number as u32).ok_or(Errno::EINVAL)
}

fn getitimer(number: u64, addr: u64) -> Result<(), Errno> {
    let process = process::current();
    let setting = LINUX.getitimer(&process.leader().timers, which(number)?, timers::now(process));
    write_itimerval(addr, setting)
}

/// Without a new value, as Linux does: the timer is stopped.
fn setitimer(number: u64, new: u64, old: u64) -> Result<(), Errno> {
    let setting = match new {
        0 => Setting::default(),
        addr => Setting {
            interval: timeval_ns(read_pair(addr)?)?,
            left: timeval_ns(read_pair(addr.wrapping_add(VALUE_AT))?)?,
        },
    };
    let before = set(which(number)?, setting)?;
    if old != 0 {
        write_itimerval(old, before)?;
    }
    Ok(())
}

fn set(which: Itimer, setting: Setting) -> Result<Setting, Errno> {
    let process = process::current();
    let (owner, now) = (process.pid.get(), timers::now(process));
    let before = LINUX.setitimer(&process.leader().timers, owner, which, setting, now)?;
    was_set();
    Ok(before)
}

/// What is left is rounded to seconds, but never to none. Source: Linux `alarm_setitimer`.
fn alarm(seconds: u64) -> Result<Outcome, Errno> {
    let left = u64::from(seconds as u32) * NS_PER_S;
    let before = set(Itimer::Real, Setting { left, interval: 0 })?.left;
    let (seconds, rest) = (before / NS_PER_S, before % NS_PER_S);
    let up = seconds == 0 && rest != 0 || rest >= NS_PER_S / 2;
    Ok(Outcome::Value(seconds + u64::from(up)))
}

/// `timer_create(clock, sigevent, number)`.
fn timer_create(clock: u64, event: u64, to: u64) -> Result<(), Errno> {
    if matches!(
        Clock::new(clock)?,
        Clock::Real { coarse: true } | Clock::Monotonic { coarse: true }
    ) {
        return Err(Errno::EOPNOTSUPP);
    }
    let (signal, value, thread) = match event {
        0 => (Some(Signal::ALRM), None, None),
        addr => read_event(addr)?,
    };
    let process = process::current();
    let number = LINUX.timer_create(
        &process.leader().timers,
        process.pid.get(),
        Made {
            clock,
            signal,
            value,
            thread,
        },
    )?;
    uaccess::copy_to_user(to, &number.to_le_bytes())
        .inspect_err(|_| _ = LINUX.timer_delete(&process.leader().timers, number))
}

/// What a new timer's signal is, what it carries, and which thread gets it if not any.
type Event = (Option<Signal>, Option<u64>, Option<u32>);

/// A `struct sigevent`.
fn read_event(addr: u64) -> Result<Event, Errno> {
    /// `SIGEV_SIGNAL`, `SIGEV_NONE`, `SIGEV_THREAD`, `SIGEV_THREAD_ID`.
    const SIGNAL: u32 = 0;
    const NONE: u32 = 1;
    const THREAD: u32 = 2;
    const THREAD_ID: u32 = 4;
    let [value, signal_and_notify, thread] = {
        let bytes: [u8; 24] = uaccess::read(addr)?;
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[8 * at + byte]));
        [word(0), word(1), word(2)]
    };
    let (signal, notify) = (signal_and_notify as u32, (signal_and_notify >> 32) as u32);
    let known = match notify {
        NONE => return Ok((None, Some(value), None)),
        SIGNAL | THREAD => true,
        THREAD_ID => {
            process::find_thread(thread as u32).is_some_and(|thread| thread.pid.get() == process::current().pid.get())
        }
        _ => false,
    };
    let signal = Signal::new(signal.into()).filter(|_| known).ok_or(Errno::EINVAL)?;
    Ok((
        Some(signal),
        Some(value),
        (notify == THREAD_ID).then_some(thread as u32),
    ))
}

/// `timer_settime(timer, flags, new, old)`.
fn timer_settime(number: u32, flags: u64, new: u64, old: u64) -> Result<(), Errno> {
    let process = process::current();
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let setting = Setting {
        interval: timespec_ns(read_pair(new)?)?,
        left: timespec_ns(read_pair(new.wrapping_add(VALUE_AT))?)?,
    };
    let until = match (
        flags & ABSOLUTE,
        Clock::new(LINUX.timer_clock(&process.leader().timers, number)?)?,
    ) {
        (0, _) => None,
        (_, Clock::Real { .. }) => Some(clock::monotonic_of_realtime(setting.left)),
        _ => Some(setting.left),
    };
    let before = LINUX.timer_settime(&process.leader().timers, number, setting, until, timers::now(process))?;
    was_set();
    if old != 0 {
        write_itimerspec(old, before)?;
    }
    Ok(())
}

fn timer_gettime(number: u32, addr: u64) -> Result<(), Errno> {
    let process = process::current();
    let setting = LINUX.timer_gettime(&process.leader().timers, number, timers::now(process))?;
    write_itimerspec(addr, setting)
}
