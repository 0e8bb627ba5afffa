//! Timers, signals and processes as descriptors: `timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4 pidfd_open
//! pidfd_send_signal`; and `inotify_init inotify_init1 inotify_rm_watch`.
//!
//! Source: timerfd_create(2), signalfd(2), pidfd_open(2), pidfd_send_signal(2); Linux, fs/timerfd.c, fs/signalfd.c, kernel/pid.c.

use faultlab_linux::file::{File, o};
use faultlab_linux::iov::IovIter;
use faultlab_linux::signal::{Info, SigSet, Signal, code};
use faultlab_linux::timer::{Setting, timespec_ns};
use faultlab_linux::wait::Call;

use super::file::file;
use super::signal::may_signal;
use super::time::{Clock, read_pair};
use super::timer::{VALUE_AT, was_set, write_itimerspec};
use super::told::may_access;
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, current_files};
use crate::task::{signal, timers};

mod nr {
    pub(super) const INOTIFY_INIT: u64 = 253;
    pub(super) const INOTIFY_RM_WATCH: u64 = 255;
    pub(super) const SIGNALFD: u64 = 282;
    pub(super) const TIMERFD_CREATE: u64 = 283;
    pub(super) const TIMERFD_SETTIME: u64 = 286;
    pub(super) const TIMERFD_GETTIME: u64 = 287;
    pub(super) const SIGNALFD4: u64 = 289;
    pub(super) const INOTIFY_INIT1: u64 = 294;
    pub(super) const PIDFD_SEND_SIGNAL: u64 = 424;
    pub(super) const PIDFD_OPEN: u64 = 434;
    pub(super) const PIDFD_GETFD: u64 = 438;
}

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
    let result = match rax {
        nr::TIMERFD_CREATE => timerfd_create(rdi, rsi),
        nr::TIMERFD_SETTIME => timerfd_settime(rdi, rsi, rdx, r10),
        nr::TIMERFD_GETTIME => timerfd_gettime(rdi, rsi),
        nr::INOTIFY_INIT => LINUX.inotify_init1(current_files(), 0),
        nr::INOTIFY_INIT1 => LINUX.inotify_init1(current_files(), rdi),
        nr::INOTIFY_RM_WATCH => LINUX.inotify_rm_watch(current_files(), rdi, rsi).map(|()| 0),
        nr::SIGNALFD => signalfd(rdi, rsi, rdx, 0),
        nr::SIGNALFD4 => signalfd(rdi, rsi, rdx, r10),
        nr::PIDFD_OPEN => pidfd_open(rdi as i32, rsi),
        nr::PIDFD_GETFD => pidfd_getfd(rdi, rsi, rdx),
        nr::PIDFD_SEND_SIGNAL => pidfd_send_signal(rdi, rsi, rdx, r10),
        _ => return None,
    };
    Some(result.map(Outcome::Value))
}

/// What is due is noticed, though nobody was switched to.
pub(super) fn look_at_timers() {
    timers::expire();
}

fn timerfd_create(clock: u64, flags: u64) -> Result<u64, Errno> {
    // Those that can be waited for, but no processor's time. The alarms want a clock that wakes the machine.
    match clock as i32 {
        0 | 1 | 7 => LINUX.timerfd_create(current_files(), clock, flags),
        _ => Err(Errno::EINVAL),
    }
}

fn timerfd_settime(descriptor: u64, flags: u64, new: u64, old: u64) -> Result<u64, Errno> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    let (interval, left) = (read_pair(new)?, read_pair(new.wrapping_add(VALUE_AT))?);
    let setting = Setting {
        interval: timespec_ns(interval)?,
        left: timespec_ns(left)?,
    };
    if flags as u32 & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(descriptor)?;
    look_at_timers();
    let of_the_day = matches!(
        Clock::new(LINUX.timerfd_clock(file).ok_or(Errno::EINVAL)?),
        Ok(Clock::Real { .. })
    );
    let until = match flags as u32 & ABSOLUTE {
        0 => None,
        _ if of_the_day => Some(clock::monotonic_of_realtime(setting.left)),
        _ => Some(setting.left),
    };
    let before = LINUX.timerfd_settime(file, setting, until, clock::monotonic_ns())?;
    was_set();
    if old != 0 {
        write_itimerspec(old, before)?;
    }
    Ok(0)
}

fn timerfd_gettime(descriptor: u64, to: u64) -> Result<u64, Errno> {
    let file = file(descriptor)?;
    look_at_timers();
    write_itimerspec(to, LINUX.timerfd_gettime(file, clock::monotonic_ns())?)?;
    Ok(0)
}

pub(super) fn timerfd_read(file: File<'_>, to: IovIter) -> Result<Call, Errno> {
    look_at_timers();
    LINUX.timerfd_read(&process::current().waiter, file, to)
}

fn signalfd(descriptor: u64, set: u64, bytes: u64, flags: u64) -> Result<u64, Errno> {
    if bytes != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL);
    }
    let set = SigSet(u64::from_le_bytes(uaccess::read(set)?));
    let number = match descriptor as i32 {
        -1 => None,
        number => Some(u64::from(number.cast_unsigned())),
    };
    LINUX.signalfd4(current_files(), number, set, flags)
}

pub(super) fn signalfd_read(file: File<'_>, to: IovIter) -> Result<Call, Errno> {
    let own = process::current();
    LINUX.signalfd_read(
        &own.waiter,
        (&own.signals, &own.leader().shared),
        file,
        to,
        signal::taken,
    )
}

fn pidfd_open(pid: i32, flags: u64) -> Result<u64, Errno> {
    /// `PIDFD_THREAD`, a thread instead of a process, does not exist here.
    const KNOWN: u64 = o::NONBLOCK;
    if u64::from(flags as u32) & !KNOWN != 0 || pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let thread = process::find_thread(pid.cast_unsigned()).ok_or(Errno::ESRCH)?;
    if !thread.is_leader() {
        return Err(Errno::ENOENT);
    }
    LINUX.pidfd_open(current_files(), pid.cast_unsigned(), flags & o::NONBLOCK != 0)
}

/// `pidfd_getfd(pidfd, descriptor, flags)`: for who may look into the other's memory.
fn pidfd_getfd(pidfd: u64, descriptor: u64, flags: u64) -> Result<u64, Errno> {
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let other = process::find(LINUX.pidfd_pid(file(pidfd)?)?).ok_or(Errno::ESRCH)?;
    // One that has ended has none, and asks for nothing.
    let table = other.files.get().ok_or(Errno::ESRCH)?;
    if !may_access(other) {
        return Err(Errno::EPERM);
    }
    LINUX.pidfd_getfd(current_files(), table, descriptor)
}

/// `pidfd_send_signal(descriptor, signal, info, flags)`: as `kill`, or as `rt_sigqueueinfo` with something to say.
fn pidfd_send_signal(descriptor: u64, number: u64, info: u64, flags: u64) -> Result<u64, Errno> {
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let file = file(descriptor)?;
    let (own, number) = (process::current(), u64::from(number as u32));
    let pid = LINUX.pidfd_or_proc_pid(file)?;
    let sent = match info {
        0 => None,
        addr => {
            let words: [u8; 48] = uaccess::read(addr)?;
            let word = |at: usize| words[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            let code = word(8) as i32;
            if word(0) as u32 != number as u32 {
                return Err(Errno::EINVAL);
            }
            if (code >= 0 || code == code::TKILL) && pid != own.pid.get() {
                return Err(Errno::EPERM);
            }
            Some((code, [word(16), word(24), word(32), word(40)]))
        }
    };
    if number != 0 && Signal::new(number).is_none() {
        return Err(Errno::EINVAL);
    }
    let target = process::find(pid).ok_or(Errno::ESRCH)?;
    if !may_signal(target, number) {
        return Err(Errno::EPERM);
    }
    let Some(kind) = Signal::new(number) else { return Ok(0) };
    let info = match sent {
        None => Info::sent(kind, code::USER, own.pid.get(), own.cred.get().user.real),
        Some((code, rest)) => Info {
            signal: kind,
            code,
            rest,
        },
    };
    signal::send(target, &info).map(|()| 0)
}
