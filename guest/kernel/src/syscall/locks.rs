//! `flock`, `fcntl` as far as it is about locks, `close_range`. What they mean is decided in [`faultlab_linux::locks`].
//!
//! Source: flock(2), fcntl(2), close_range(2).

use faultlab_linux::file::File;
use faultlab_linux::locks::{Flock, Locker};
use faultlab_linux::wait::{Call, Waiter};

use super::descriptor::outcome;
use super::file::{file as file_now, file_of_call};
use super::{Errno, Outcome, nr};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, current_files};

mod number {
    pub(super) const FLOCK: u64 = 73;
    pub(super) const CLOSE_RANGE: u64 = 436;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    let process = process::current();
    Some(match rax {
        nr::FCNTL => LockCommand::of(rsi)
            .ok_or(Errno::EINVAL)
            .and_then(|command| fcntl(rdi, command, rdx, Some(&process.waiter)).map(outcome)),
        number::FLOCK => file_of_call(rdi, 0)
            .and_then(|file| LINUX.flock(&process.waiter, file, rsi, process.pid.get()))
            .map(outcome),
        number::CLOSE_RANGE => close_range(rdi, rsi, rdx).map(|()| Outcome::Value(0)),
        _ => return None,
    })
}

/// `close_range`, with `CLOSE_RANGE_UNSHARE` in a table of the thread's own. Source: close_range(2).
fn close_range(first: u64, last: u64, flags: u64) -> Result<(), Errno> {
    const UNSHARE: u32 = 2;
    const KNOWN: u32 = UNSHARE | 4;
    let flags32 = flags as u32;
    if flags32 & UNSHARE != 0 && flags32 & !KNOWN == 0 && first as u32 <= last as u32 {
        let own = LINUX.unshare_table(current_files())?;
        process::current().files.set(Some(own));
    }
    LINUX.close_range(current_files(), first, last, flags)
}

/// A command of `fcntl` that is about locks.
#[derive(Clone, Copy)]
pub(super) struct LockCommand {
    asks: bool,
    waits: bool,
    /// Of the description, not of the process.
    ofd: bool,
}

impl LockCommand {
    /// Source: fcntl(2).
    pub(super) fn of(command: u64) -> Option<Self> {
        let of = |asks, waits, ofd| Some(Self { asks, waits, ofd });
        match command as u32 {
            5 => of(true, false, false),
            6 => of(false, false, false),
            7 => of(false, true, false),
            36 => of(true, false, true),
            37 => of(false, false, true),
            38 => of(false, true, true),
            _ => None,
        }
    }
}

/// `fcntl` of a lock. Without a waiter, one that would have to wait says so and has done nothing.
pub(super) fn fcntl(
    descriptor: u64,
    command: LockCommand,
    argument: u64,
    waiter: Option<&Waiter>,
) -> Result<Call, Errno> {
    let file = match waiter {
        Some(_) => file_of_call(descriptor, 0)?,
        None => file_now(descriptor)?,
    };
    let asked = Flock::decode(&uaccess::read(argument)?);
    let locker = Locker {
        table: current_files(),
        pid: process::current().pid.get(),
    };
    if command.asks {
        let found = LINUX.get_lock(locker, file, command.ofd, asked)?;
        return uaccess::copy_to_user(argument, &found.encode()).map(|()| Call::Done(0));
    }
    match waiter {
        None if command.waits => Ok(Call::Wait),
        None => LINUX.set_lock(&Waiter::new(), locker, file, (command.ofd, false), &asked),
        Some(waiter) => {
            let taken = LINUX.set_lock(waiter, locker, file, (command.ofd, command.waits), &asked)?;
            // Who closed it meanwhile could not release what is taken only now. Source: Linux `fcntl_setlk`.
            let stale = |now: File<'_>| now.opened() != file.opened();
            if matches!(taken, Call::Done(_)) && !command.ofd && file_now(descriptor).map_or(true, stale) {
                _ = LINUX.set_lock(waiter, locker, file, (false, false), &asked.unlock())?;
                return Err(Errno::EBADF);
            }
            Ok(taken)
        }
    }
}
