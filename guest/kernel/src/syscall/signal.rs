//! `rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigreturn sigaltstack kill tkill tgkill pause getpgrp`.
//!
//! All of them take the long way in and out, where signals are looked for: a call that changes what is pending or blocked needs no test of
//! its own, and no other call pays for one.

use faultlab_linux::signal::{ACTION_BYTES, ALTSTACK_BYTES, Action, INFO_BYTES, Info, SigSet, Signal, To, code};

use super::{Errno, Outcome, time};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, Process, State};
use crate::task::signal;

mod nr {
    pub(super) const RT_SIGACTION: u64 = 13;
    pub(super) const RT_SIGPROCMASK: u64 = 14;
    pub(super) const RT_SIGRETURN: u64 = 15;
    pub(super) const PAUSE: u64 = 34;
    pub(super) const KILL: u64 = 62;
    pub(super) const RT_SIGPENDING: u64 = 127;
    pub(super) const RT_SIGTIMEDWAIT: u64 = 128;
    pub(super) const RT_SIGQUEUEINFO: u64 = 129;
    pub(super) const RT_SIGSUSPEND: u64 = 130;
    pub(super) const SIGALTSTACK: u64 = 131;
    pub(super) const TKILL: u64 = 200;
    pub(super) const TGKILL: u64 = 234;
    pub(super) const RT_TGSIGQUEUEINFO: u64 = 297;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &mut PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        rsp,
        ..
    } = regs.volatile;
    let result = match rax {
        nr::RT_SIGACTION => rt_sigaction(rdi, rsi, rdx, r10),
        nr::RT_SIGPROCMASK => rt_sigprocmask(rdi, rsi, rdx, r10),
        nr::RT_SIGPENDING => rt_sigpending(rdi, rsi),
        nr::SIGALTSTACK => sigaltstack(rdi, rsi, rsp),
        nr::KILL => kill(rdi as i32, rsi),
        nr::TKILL => tgkill(None, rdi as i32, rsi),
        nr::TGKILL => tgkill(Some(rdi as i32), rsi as i32, rdx),
        nr::RT_SIGQUEUEINFO => rt_sigqueueinfo(None, rdi as i32, rsi, rdx),
        nr::RT_TGSIGQUEUEINFO => rt_sigqueueinfo(Some(rdi as i32), rsi as i32, rdx, r10),
        nr::RT_SIGSUSPEND => rt_sigsuspend(rdi, rsi),
        nr::RT_SIGTIMEDWAIT => rt_sigtimedwait(rdi, rsi, rdx, r10),
        nr::PAUSE => Ok(Outcome::Sleep(Interrupted::Once)),
        nr::RT_SIGRETURN => {
            signal::sigreturn(regs);
            Ok(Outcome::Registers)
        }
        _ => return None,
    };
    Some(result)
}

/// Sets have the kernel's size, told with every call.
fn check_size(bytes: u64) -> Result<(), Errno> {
    if bytes == size_of::<SigSet>() as u64 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn read_set(addr: u64) -> Result<SigSet, Errno> {
    uaccess::read(addr).map(|bytes| SigSet(u64::from_le_bytes(bytes)))
}

fn write_set(addr: u64, set: SigSet) -> Result<(), Errno> {
    uaccess::copy_to_user(addr, &set.0.to_le_bytes())
}

fn rt_sigaction(number: u64, new: u64, old: u64, bytes: u64) -> Result<Outcome, Errno> {
    check_size(bytes)?;
    let new = match new {
        0 => None,
        addr => Some(Action::decode(&uaccess::read::<ACTION_BYTES>(addr)?)),
    };
    let target = Signal::new(u64::from(number as u32)).ok_or(Errno::EINVAL)?;
    let own = process::current();
    let before = LINUX.action(&own.signals, target);
    if let Some(new) = new {
        let threads = own.living_threads().map(|thread| &thread.signals);
        LINUX.set_action(&own.signals, &own.leader().shared, threads, target, new)?;
    }
    if old != 0 {
        uaccess::copy_to_user(old, &before.encode())?;
    }
    Ok(Outcome::Value(0))
}

fn rt_sigprocmask(how: u64, set: u64, old: u64, bytes: u64) -> Result<Outcome, Errno> {
    check_size(bytes)?;
    let signals = &process::current().signals;
    let before = signals.blocked();
    if set != 0 {
        signals.change_mask(how, read_set(set)?)?;
        signal::retarget(process::current());
    }
    if old != 0 {
        write_set(old, before)?;
    }
    Ok(Outcome::Value(0))
}

/// Shorter sets are allowed here: the rest is not written.
fn rt_sigpending(addr: u64, bytes: u64) -> Result<Outcome, Errno> {
    let set = process::current()
        .signals
        .pending_blocked(&process::current().leader().shared)
        .0
        .to_le_bytes();
    let wanted = set.get(..bytes as usize).ok_or(Errno::EINVAL)?;
    uaccess::copy_to_user(addr, wanted)?;
    Ok(Outcome::Value(0))
}

fn rt_sigsuspend(mask: u64, bytes: u64) -> Result<Outcome, Errno> {
    check_size(bytes)?;
    process::current().signals.suspend(read_set(mask)?);
    Ok(Outcome::Sleep(Interrupted::Once))
}

/// `rt_sigtimedwait(set, info, timeout, size)`: the first signal of a set that was sent, or is within a time. Its number.
fn rt_sigtimedwait(set: u64, info: u64, timeout: u64, bytes: u64) -> Result<Outcome, Errno> {
    check_size(bytes)?;
    let set = read_set(set)?.blockable();
    let process = process::current();
    let deadline = match (process.deadline.get(), timeout) {
        (None, 0) => None,
        // Made again: the time goes on.
        (Some(deadline), _) => Some(deadline),
        (None, addr) => Some(clock::monotonic_ns().saturating_add(time::read_timespec(addr)?)),
    };
    if let Some(found) = LINUX.take_signal(&process.signals, &process.leader().shared, set) {
        stop_waiting();
        process::set_deadline(process, None);
        let found = signal::taken(found);
        if info != 0 {
            uaccess::copy_to_user(info, &found.encode())?;
        }
        return Ok(Outcome::Value(found.signal.number().into()));
    }
    process.signals.wait_for(set);
    match deadline {
        None => Ok(Outcome::Sleep(Interrupted::AtStops)),
        Some(deadline) => time::wait_until(deadline, Interrupted::AtStops).ok_or_else(|| {
            stop_waiting();
            Errno::EAGAIN
        }),
    }
}

/// The running thread no longer waits for signals.
pub(super) fn stop_waiting() {
    process::current().signals.wait_for(SigSet::EMPTY);
}

fn sigaltstack(new: u64, old: u64, sp: u64) -> Result<Outcome, Errno> {
    let signals = &process::current().signals;
    let before = signals.altstack();
    if new != 0 {
        signals.set_altstack(before.replaced(&uaccess::read::<ALTSTACK_BYTES>(new)?, sp)?);
    }
    if old != 0 {
        uaccess::copy_to_user(old, &before.encode(sp))?;
    }
    Ok(Outcome::Value(0))
}

/// Whether the running process may send a signal to another. Source: kill(2).
pub(super) fn may_signal(to: &Process, signal: u64) -> bool {
    let (own, target) = (process::current().cred.get(), to.cred.get().user);
    let ids = [own.user.effective, own.user.real];
    let continues = signal == u64::from(Signal::CONT.number());
    own.privileged() || continues || ids.contains(&target.real) || ids.contains(&target.saved)
}

/// Sends a signal, or with number 0 only asks whether it could.
fn send(to: &Process, number: u64, kind: To) -> Result<(), Errno> {
    let own = process::current();
    let target = Signal::new(number);
    if number != 0 && target.is_none() {
        return Err(Errno::EINVAL);
    }
    if !may_signal(to, number) {
        return Err(Errno::EPERM);
    }
    match target {
        Some(target) => {
            let info = |code| Info::sent(target, code, own.pid.get(), own.cred.get().user.real);
            match kind {
                To::Process => signal::send(to, &info(code::USER)),
                To::Thread => signal::send_thread(to, &info(code::TKILL)),
            }
        }
        None => Ok(()),
    }
}

/// The process of a thread with this number: any of its threads does. Source: Linux, kernel/signal.c (`kill_pid_info`).
fn find(pid: i32) -> Result<&'static Process, Errno> {
    let thread = u32::try_from(pid).ok().and_then(process::find_thread);
    thread.map(Process::leader).ok_or(Errno::ESRCH)
}

/// `rt_sigqueueinfo`, and `rt_tgsigqueueinfo` with a group: a signal with what the program says of it. Only to itself may it say that the
/// kernel sent it, or `kill`. Source: rt_sigqueueinfo(2).
fn rt_sigqueueinfo(group: Option<i32>, id: i32, number: u64, info: u64) -> Result<Outcome, Errno> {
    let bytes: [u8; INFO_BYTES] = uaccess::read(info)?;
    if id <= 0 && group.is_some() || group.is_some_and(|group| group <= 0) {
        return Err(Errno::EINVAL);
    }
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let code = word(8) as i32;
    let own = process::current();
    let target = match group {
        None => find(id),
        Some(group) => process::find_thread(id.cast_unsigned())
            .filter(|thread| thread.pid.get() == group.cast_unsigned())
            .ok_or(Errno::ESRCH),
    };
    let is_self = match group {
        None => id == own.pid.get().cast_signed(),
        Some(_) => id == own.tid.get().cast_signed(),
    };
    if (code >= 0 || code == code::TKILL) && !is_self {
        return Err(Errno::EPERM);
    }
    let target = target?;
    let number = u64::from(number as u32);
    if number != 0 && Signal::new(number).is_none() {
        return Err(Errno::EINVAL);
    }
    if !may_signal(target, number) {
        return Err(Errno::EPERM);
    }
    if let Some(signal) = Signal::new(number) {
        let rest = [word(16), word(24), word(32), word(40)];
        let info = Info { signal, code, rest };
        match group {
            None => signal::send(target, &info)?,
            Some(_) => signal::send_thread(target, &info)?,
        }
    }
    Ok(Outcome::Value(0))
}

/// `kill`: one process, the own group (0), all that may be (-1), a group (negative).
fn kill(pid: i32, number: u64) -> Result<Outcome, Errno> {
    let number = u64::from(number as u32);
    if pid > 0 {
        return send(find(pid)?, number, To::Process).map(|()| Outcome::Value(0));
    }
    let own = process::current().leader();
    let group = match pid {
        0 => Some(own.group.get()),
        -1 => None,
        group => Some(group.unsigned_abs()),
    };
    let wanted = |process: &&Process| match group {
        Some(group) => process.group.get() == group,
        None => !core::ptr::eq(*process, own),
    };
    let living = process::table()
        .iter()
        .filter(|process| process.state.get() != State::Free && process.is_leader());
    let mut outcome = Err(Errno::ESRCH);
    for process in living.filter(wanted) {
        // One success is a success.
        match (send(process, number, To::Process), outcome) {
            (Ok(()), _) => outcome = Ok(Outcome::Value(0)),
            (Err(errno), Err(_)) => outcome = Err(errno),
            (Err(_), Ok(_)) => {}
        }
    }
    outcome
}

/// `tgkill`, and `tkill` without a group.
fn tgkill(group: Option<i32>, tid: i32, number: u64) -> Result<Outcome, Errno> {
    if tid <= 0 || group.is_some_and(|group| group <= 0) {
        return Err(Errno::EINVAL);
    }
    let thread = process::find_thread(tid.cast_unsigned())
        .filter(|thread| group.is_none_or(|group| thread.pid.get() == group.cast_unsigned()));
    send(thread.ok_or(Errno::ESRCH)?, u64::from(number as u32), To::Thread).map(|()| Outcome::Value(0))
}
