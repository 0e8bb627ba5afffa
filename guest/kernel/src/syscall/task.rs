//! Small calls about the running process: `setreuid setregid setfsuid setfsgid getgroups prctl fadvise64 readahead`.
//!
//! There are no ids for files apart from the effective ones.
//!
//! Source: the man page of each; Linux, kernel/sys.c, mm/fadvise.c.

use faultlab_linux::cred::{Cred, Ids, UNCHANGED};
use faultlab_linux::file::Kind;
use faultlab_linux::signal::Signal;

use super::file::file;
use super::{Errno, Outcome, cred};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::uaccess;
use crate::task::process::{self, COMM_BYTES};

mod nr {
    pub(super) const SETREUID: u64 = 113;
    pub(super) const SETREGID: u64 = 114;
    pub(super) const GETGROUPS: u64 = 115;
    pub(super) const SETFSUID: u64 = 122;
    pub(super) const SETFSGID: u64 = 123;
    pub(super) const PRCTL: u64 = 157;
    pub(super) const READAHEAD: u64 = 187;
    pub(super) const FADVISE64: u64 = 221;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, r10, .. } = regs.volatile;
    let own = cred::current();
    let result = match rax {
        nr::SETREUID => own_ids(own, own.user, rdi as u32, rsi as u32, Cred::set_users),
        nr::SETREGID => own_ids(own, own.group, rdi as u32, rsi as u32, Cred::set_groups),
        // They cannot be told from the effective ones, and never fail.
        nr::SETFSUID => Ok(u64::from(own.user.effective)),
        nr::SETFSGID => Ok(u64::from(own.group.effective)),
        nr::GETGROUPS => cred::getgroups(rdi, rsi),
        nr::PRCTL => prctl(rdi as u32, rsi),
        nr::FADVISE64 => fadvise(rdi, rsi, r10),
        nr::READAHEAD => readahead(rdi),
        _ => return None,
    };
    Some(result.map(Outcome::Value))
}

/// `setreuid` and `setregid`: the saved id follows when the real one is set, or the effective one to another than the real.
fn own_ids(
    own: Cred,
    ids: Ids,
    real: u32,
    effective: u32,
    set: impl Fn(Cred, [u32; 3]) -> Result<Cred, faultlab_linux::cred::Refused>,
) -> Result<u64, Errno> {
    // The real one may not become the saved one.
    if !own.privileged() && real != UNCHANGED && real != ids.real && real != ids.effective {
        return Err(Errno::EPERM);
    }
    let follows = real != UNCHANGED || effective != UNCHANGED && effective != ids.real;
    let next = if effective == UNCHANGED {
        ids.effective
    } else {
        effective
    };
    cred::set(set(own, [real, effective, if follows { next } else { UNCHANGED }]))
}

/// `prctl`, as far as it is about the process's name, how it is seen, and its parent's end.
fn prctl(option: u32, arg: u64) -> Result<u64, Errno> {
    const SET_PDEATHSIG: u32 = 1;
    const GET_PDEATHSIG: u32 = 2;
    const GET_DUMPABLE: u32 = 3;
    const SET_DUMPABLE: u32 = 4;
    const SET_NAME: u32 = 15;
    const GET_NAME: u32 = 16;
    let process = process::current();
    match option {
        SET_NAME => {
            let mut comm = [0; COMM_BYTES];
            for (at, byte) in (arg..).zip(&mut comm[..COMM_BYTES - 1]) {
                *byte = uaccess::read::<1>(at)?[0];
                if *byte == 0 {
                    break;
                }
            }
            process.comm.set(comm);
            Ok(0)
        }
        GET_NAME => uaccess::copy_to_user(arg, &process.comm.get()).map(|()| 0),
        // Differs from Linux: it is the end of the parent's process that counts, not that of the thread that forked.
        SET_PDEATHSIG if arg > 64 => Err(Errno::EINVAL),
        SET_PDEATHSIG => {
            process.leader().parent_death.set(Signal::new(arg));
            Ok(0)
        }
        GET_PDEATHSIG => {
            let number = process.leader().parent_death.get().map_or(0, Signal::number);
            uaccess::copy_to_user(arg, &number.to_le_bytes()).map(|()| 0)
        }
        // There are no core dumps.
        GET_DUMPABLE => Ok(1),
        SET_DUMPABLE if arg <= 1 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// Advice is checked, and not needed.
fn fadvise(descriptor: u64, _offset: u64, advice: u64) -> Result<u64, Errno> {
    const NOREUSE: u32 = 5;
    match file(descriptor)?.kind() {
        Kind::Pipe(_) => Err(Errno::ESPIPE),
        _ if advice as u32 > NOREUSE => Err(Errno::EINVAL),
        _ => Ok(0),
    }
}

/// What is in memory need not be read.
fn readahead(descriptor: u64) -> Result<u64, Errno> {
    let file = file(descriptor)?;
    match file.kind() {
        _ if !file.readable() => Err(Errno::EBADF),
        Kind::Object(_) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
