//! `wait4 waitid getpgrp getpgid setpgid getsid setsid`: children, groups, sessions.
//!
//! Source: wait4(2), waitid(2), setpgid(2), setsid(2); Linux, kernel/exit.c (`do_wait`), kernel/sys.c.

use faultlab_linux::file::o;
use faultlab_linux::signal::{INFO_BYTES, Info, Signal, code};

use super::{Errno, Outcome, usage};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, Process, Report, State};

mod nr {
    pub(super) const SETPGID: u64 = 109;
    pub(super) const GETPGRP: u64 = 111;
    pub(super) const SETSID: u64 = 112;
    pub(super) const GETPGID: u64 = 121;
    pub(super) const GETSID: u64 = 124;
    pub(super) const WAITID: u64 = 247;
}

/// Options of both calls. `__WNOTHREAD` is taken for granted.
mod option {
    pub(super) const NOHANG: u32 = 1;
    pub(super) const STOPPED: u32 = 2;
    pub(super) const EXITED: u32 = 4;
    pub(super) const CONTINUED: u32 = 8;
    pub(super) const NOWAIT: u32 = 0x0100_0000;
    /// `__WALL`.
    pub(super) const ALL: u32 = 0x4000_0000;
    /// `__WCLONE`.
    pub(super) const CLONE: u32 = 0x8000_0000;
    pub(super) const THREADS: u32 = 0xe000_0000;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        ..
    } = regs.volatile;
    let own = process::current();
    let value = |result: Result<u32, Errno>| result.map(|value| Outcome::Value(u64::from(value)));
    Some(match rax {
        nr::WAITID => waitid([rdi, rsi], rdx, r10 as u32, r8),
        nr::SETPGID => value(setpgid(rdi as i32, rsi as i32)),
        nr::GETPGRP => value(Ok(own.leader().group.get())),
        nr::GETPGID => value(find(rdi as i32).map(|process| process.group.get())),
        nr::GETSID => value(find(rdi as i32).map(|process| process.session.get())),
        nr::SETSID => value(setsid()),
        _ => return None,
    })
}

/// Whom a call waits for.
#[derive(Clone, Copy)]
enum Which {
    Any,
    Pid(u32),
    Group(u32),
}

impl Which {
    fn includes(self, child: &Process) -> bool {
        match self {
            Self::Any => true,
            Self::Pid(pid) => child.pid.get() == pid,
            Self::Group(group) => child.group.get() == group,
        }
    }
}

/// What a call finds.
enum Found {
    /// A child with something to tell, as a wait status.
    Child(&'static Process, i32),
    /// Children, but nothing to tell, and the call does not wait.
    Nothing,
    /// The same, and it does.
    Sleep,
}

/// Looks for a child with something to tell that `options` ask for, and takes it.
fn look(which: Which, options: u32) -> Result<Found, Errno> {
    let own = process::current().pid.get();
    let mut any = false;
    let children = process::table()
        .iter()
        .filter(|child| child.state.get() != State::Free && child.is_leader() && child.parent.get() == own)
        .filter(|child| which.includes(child) && is_eligible(child, options));
    for child in children {
        // One that ended is none for a call that does not ask for that.
        any |= options & option::EXITED != 0 || child.threads.get() != 0;
        if let Some(status) = told(child, options) {
            return Ok(Found::Child(child, status));
        }
    }
    match any {
        false => Err(Errno::ECHILD),
        true if options & option::NOHANG != 0 => Ok(Found::Nothing),
        true => Ok(Found::Sleep),
    }
}

/// Whether a call's options are about children of this kind: `__WCLONE` asks for those whose end is not told by `SIGCHLD`, `__WALL` for all.
/// Source: Linux, kernel/exit.c (`eligible_child`).
fn is_eligible(child: &Process, options: u32) -> bool {
    let other = child.exit_signal.get() != Some(Signal::CHLD);
    options & option::ALL != 0 || other == (options & option::CLONE != 0)
}

/// What a child has to tell, as a wait status.
fn told(child: &Process, options: u32) -> Option<i32> {
    let keep = options & option::NOWAIT != 0;
    let status = match (child.state.get(), child.report.get()) {
        // Others of its threads may still run.
        (State::Zombie(status), _) if options & option::EXITED != 0 && child.threads.get() == 0 => {
            if !keep {
                process::current().leader().times.add_child(child);
                child.state.set(State::Free);
            }
            return Some(status);
        }
        (State::Zombie(_), _) if child.threads.get() == 0 => return None,
        (_, Report::Stopped(signal)) if options & option::STOPPED != 0 => signal << 8 | 0x7f,
        (_, Report::Continued) if options & option::CONTINUED != 0 => 0xffff,
        _ => return None,
    };
    if !keep {
        child.report.set(Report::Nothing);
    }
    Some(status)
}

/// `wait4`.
pub(super) fn wait4(pid: i32, status: u64, options: u32, rusage: u64) -> Result<Outcome, Errno> {
    const KNOWN: u32 = option::NOHANG | option::STOPPED | option::CONTINUED | option::THREADS;
    if options & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::Any,
        0 => Which::Group(process::current().leader().group.get()),
        pid if pid < 0 => Which::Group(pid.unsigned_abs()),
        pid => Which::Pid(pid.cast_unsigned()),
    };
    match look(which, options | option::EXITED)? {
        Found::Child(child, wait_status) => {
            if status != 0 {
                uaccess::copy_to_user(status, &wait_status.to_le_bytes())?;
            }
            if rusage != 0 {
                usage::write_rusage(rusage, usage::of_child(child))?;
            }
            Ok(Outcome::Value(u64::from(child.pid.get())))
        }
        Found::Nothing => Ok(Outcome::Value(0)),
        Found::Sleep => Ok(Outcome::Sleep(Interrupted::Restartable)),
    }
}

/// `waitid`.
fn waitid([kind, id]: [u64; 2], info: u64, options: u32, rusage: u64) -> Result<Outcome, Errno> {
    const WHAT: u32 = option::STOPPED | option::EXITED | option::CONTINUED;
    const KNOWN: u32 = WHAT | option::NOHANG | option::NOWAIT | option::THREADS;
    const P_ALL: u32 = 0;
    const P_PID: u32 = 1;
    const P_PGID: u32 = 2;
    const P_PIDFD: u32 = 3;
    if options & !KNOWN != 0 || options & WHAT == 0 {
        return Err(Errno::EINVAL);
    }
    let mut patient = true;
    let which = match (kind as u32, id as u32) {
        (P_ALL, _) => Which::Any,
        (P_PID, pid) if pid.cast_signed() > 0 => Which::Pid(pid),
        (P_PGID, 0) => Which::Group(process::current().leader().group.get()),
        (P_PIDFD, descriptor) if descriptor.cast_signed() < 0 => return Err(Errno::EINVAL),
        (P_PIDFD, descriptor) => {
            let file = super::file::file(descriptor.into())?;
            patient = file.f_flags() & o::NONBLOCK == 0;
            Which::Pid(LINUX.pidfd_pid(file)?)
        }
        (P_PGID, group) if group.cast_signed() > 0 => Which::Group(group),
        _ => return Err(Errno::EINVAL),
    };
    let (bytes, used) = match look(which, options) {
        Ok(Found::Child(child, status)) => (child_info(child, status).encode(), Some(usage::of_child(child))),
        Ok(Found::Nothing) => ([0; INFO_BYTES], None),
        // Source: Linux, kernel/exit.c (`kernel_waitid_prepare`).
        Ok(Found::Sleep) if !patient => return Err(Errno::EAGAIN),
        Ok(Found::Sleep) => return Ok(Outcome::Sleep(Interrupted::Restartable)),
        // Without a child, too, the structure is cleared. Source: Linux, kernel/exit.c (`waitid`).
        Err(errno) => {
            tell(info, &[0; INFO_BYTES])?;
            return Err(errno);
        }
    };
    if let Some(used) = used.filter(|_| rusage != 0) {
        usage::write_rusage(rusage, used)?;
    }
    tell(info, &bytes)?;
    Ok(Outcome::Value(0))
}

/// Stores a `siginfo_t`, if it is wanted.
fn tell(info: u64, bytes: &[u8; INFO_BYTES]) -> Result<(), Errno> {
    match info {
        0 => Ok(()),
        info => uaccess::copy_to_user(info, bytes),
    }
}

/// What a wait status says, as `siginfo_t`.
fn child_info(child: &Process, status: i32) -> Info {
    let (pid, uid) = (child.pid.get(), child.cred.get().user.real);
    let changed = |code, status| Info::child_changed(Signal::CHLD, code, pid, uid, status);
    match status {
        0xffff => changed(code::CLD_CONTINUED, Signal::CONT.number().cast_signed()),
        stopped if stopped & 0xff == 0x7f => changed(code::CLD_STOPPED, stopped >> 8),
        ended => Info::child(Signal::CHLD, pid, uid, ended),
    }
}

/// The process of this number, 0 being the running one.
fn find(pid: i32) -> Result<&'static Process, Errno> {
    match pid {
        0 => Ok(process::current().leader()),
        pid => u32::try_from(pid).ok().and_then(process::find).ok_or(Errno::ESRCH),
    }
}

fn setpgid(pid: i32, group: i32) -> Result<u32, Errno> {
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    let (own, target) = (process::current().leader(), find(pid)?);
    let is_child = target.parent.get() == own.pid.get();
    if !is_child && !core::ptr::eq(own, target) {
        return Err(Errno::ESRCH);
    }
    if is_child && target.session.get() != own.session.get() {
        return Err(Errno::EPERM);
    }
    if is_child && target.executed.get() {
        return Err(Errno::EACCES);
    }
    if target.session.get() == target.pid.get() {
        return Err(Errno::EPERM);
    }
    let group = if group == 0 {
        target.pid.get()
    } else {
        group.cast_unsigned()
    };
    let exists = |process: &Process| {
        process.state.get() != State::Free
            && process.is_leader()
            && process.group.get() == group
            && process.session.get() == own.session.get()
    };
    if group != target.pid.get() && !process::table().iter().any(exists) {
        return Err(Errno::EPERM);
    }
    target.group.set(group);
    Ok(0)
}

fn setsid() -> Result<u32, Errno> {
    let own = process::current().leader();
    let pid = own.pid.get();
    let leads =
        |process: &Process| process.state.get() != State::Free && process.is_leader() && process.group.get() == pid;
    if process::table().iter().any(leads) {
        return Err(Errno::EPERM);
    }
    own.group.set(pid);
    own.session.set(pid);
    Ok(pid)
}
