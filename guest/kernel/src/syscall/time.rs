//! `clock_gettime clock_getres gettimeofday time nanosleep clock_nanosleep`.
//!
//! A process that sleeps has a deadline, which its call finds when it is made again: so it sleeps no longer for being woken in between.
//!
//! Source: clock_gettime(2), nanosleep(2), clock_nanosleep(2); Linux, kernel/time/hrtimer.c.

use super::poll::Rest;
use super::{Errno, Outcome};
use crate::entry::{PtRegs, VolatileRegs};
use crate::process::{self, Interrupted, Process};
use crate::{clock, uaccess};

mod nr {
    pub(super) const NANOSLEEP: u64 = 35;
    pub(super) const GETTIMEOFDAY: u64 = 96;
    pub(super) const TIME: u64 = 201;
    pub(super) const CLOCK_GETRES: u64 = 229;
    pub(super) const CLOCK_NANOSLEEP: u64 = 230;
}

pub(super) const NS_PER_S: u64 = 1_000_000_000;
const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: u64 = 1;
/// `TIMER_ABSTIME`: until, not for.
const ABSOLUTE: u64 = 1;

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    Some(match rax {
        nr::NANOSLEEP => sleep(CLOCK_MONOTONIC, 0, rdi),
        nr::CLOCK_NANOSLEEP => sleep(rdi, rsi, rdx),
        nr::GETTIMEOFDAY => gettimeofday(rdi, rsi),
        nr::TIME => time(rdi),
        nr::CLOCK_GETRES => clock_getres(rdi, rsi),
        _ => return None,
    })
}

/// The real and the monotonic clocks, with all their variants, in nanoseconds.
fn now(clock: u64) -> Result<u64, Errno> {
    match clock as i32 {
        // CLOCK_REALTIME and its coarse form; CLOCK_MONOTONIC, raw, coarse, CLOCK_BOOTTIME.
        0 | 5 => Ok(clock::realtime_ns()),
        1 | 4 | 6 | 7 => Ok(clock::monotonic_ns()),
        _ => Err(Errno::EINVAL),
    }
}

/// Two 64-bit numbers: `struct timespec`, `struct timeval`.
pub(super) fn write_pair(addr: u64, pair: [u64; 2]) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&pair[0].to_le_bytes());
    bytes[8..].copy_from_slice(&pair[1].to_le_bytes());
    uaccess::copy_to_user(addr, &bytes)
}

pub(super) fn read_pair(addr: u64) -> Result<[u64; 2], Errno> {
    let pair = u128::from_le_bytes(uaccess::read(addr)?);
    Ok([pair as u64, (pair >> 64) as u64])
}

/// A `struct timespec` of a time that is not negative, in nanoseconds.
pub(super) fn read_timespec(addr: u64) -> Result<u64, Errno> {
    let [seconds, ns] = read_pair(addr)?;
    if seconds.cast_signed() < 0 || ns >= NS_PER_S {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(NS_PER_S).saturating_add(ns))
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

fn write_ns(addr: u64, ns: u64) -> Result<(), Errno> {
    write_pair(addr, [ns / NS_PER_S, ns % NS_PER_S])
}

#[inline(never)]
pub(super) fn clock_gettime(clock: u64, addr: u64) -> Result<u64, Errno> {
    write_ns(addr, now(clock)?).map(|()| 0)
}

fn clock_getres(clock: u64, addr: u64) -> Result<Outcome, Errno> {
    now(clock)?;
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
        None => deadline_of(clock, flags, request)?,
    };
    if clock::monotonic_ns() >= deadline {
        process::set_deadline(process, None);
        return Ok(Outcome::Value(0));
    }
    process::set_deadline(process, Some(deadline));
    Ok(Outcome::Sleep(Interrupted::Once))
}

fn deadline_of(clock: u64, flags: u64, request: u64) -> Result<u64, Errno> {
    if !matches!(clock as i32, CLOCK_REALTIME | 1 | 7) {
        return Err(Errno::EINVAL);
    }
    let time = read_timespec(request)?;
    Ok(match (flags & ABSOLUTE, clock as i32) {
        (0, _) => clock::monotonic_ns().saturating_add(time),
        (_, CLOCK_REALTIME) => clock::monotonic_of_realtime(time),
        _ => time,
    })
}

/// A handler runs instead of a call that waited, whose registers these are: one that sleeps for a time tells how much of it is left.
pub(crate) fn interrupted(regs: &PtRegs) {
    let process = process::current();
    let Some(deadline) = process.deadline.get() else { return };
    process::set_deadline(process, None);
    let v = &regs.volatile;
    let rest = match v.rax {
        nr::NANOSLEEP => v.rsi,
        nr::CLOCK_NANOSLEEP if v.rsi & ABSOLUTE == 0 => v.r10,
        _ => 0,
    };
    Rest::of(v).tell(deadline.saturating_sub(clock::monotonic_ns()));
    if rest != 0 {
        // A bad address is the program's affair: it is told EINTR in any case. Differs from Linux, which says EFAULT.
        _ = write_ns(rest, deadline.saturating_sub(clock::monotonic_ns()));
    }
}
