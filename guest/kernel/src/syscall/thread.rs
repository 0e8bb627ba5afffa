//! `clone clone3 vfork set_tid_address set_robust_list get_robust_list rseq membarrier`.
//!
//! Source: clone(2), set_tid_address(2), get_robust_list(2), membarrier(2); Linux, kernel/fork.c, kernel/futex/syscalls.c.

use faultlab_abi::layout::{PAGE_SIZE, USER_END};
use faultlab_linux::clone::{CLONE3_BYTES, CloneArgs};

use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::uaccess;
use crate::task::{clone, process, rseq};

mod nr {
    pub(super) const CLONE: u64 = 56;
    pub(super) const VFORK: u64 = 58;
    pub(super) const SET_TID_ADDRESS: u64 = 218;
    pub(super) const SET_ROBUST_LIST: u64 = 273;
    pub(super) const GET_ROBUST_LIST: u64 = 274;
    pub(super) const MEMBARRIER: u64 = 324;
    pub(super) const RSEQ: u64 = 334;
    pub(super) const CLONE3: u64 = 435;
}

/// Bytes of a `struct robust_list_head`.
const ROBUST_LIST_HEAD_BYTES: u64 = 24;

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &mut PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        ..
    } = regs.volatile;
    Some(match rax {
        nr::CLONE => CloneArgs::of_clone([rdi, rsi, rdx, r10, r8]).and_then(|args| clone::clone(regs, &args)),
        nr::CLONE3 => clone3_args(rdi, rsi).and_then(|args| clone::clone(regs, &args)),
        nr::VFORK => clone::clone(regs, &CloneArgs::VFORK),
        nr::SET_TID_ADDRESS => {
            process::current().clear_child_tid.set(rdi);
            Ok(Outcome::Value(u64::from(process::current().tid.get())))
        }
        nr::SET_ROBUST_LIST => set_robust_list(rdi, rsi),
        nr::GET_ROBUST_LIST => get_robust_list(rdi as u32, rsi, rdx),
        nr::MEMBARRIER => membarrier(rdi as u32, rsi as u32),
        nr::RSEQ => rseq::register(rdi, rsi as u32, rdx as u32, r10 as u32).map(Outcome::Value),
        _ => return None,
    })
}

/// The structure of `clone3`, of which a program may know more than this Linux, if that is 0. Source: Linux `copy_struct_from_user`.
fn clone3_args(addr: u64, bytes: u64) -> Result<CloneArgs, Errno> {
    if bytes > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let bytes = bytes as usize;
    if bytes < *CLONE3_BYTES.start() {
        return Err(Errno::EINVAL);
    }
    let mut args = [0; *CLONE3_BYTES.end()];
    let known = bytes.min(args.len());
    for at in (known..bytes).step_by(8) {
        let mut rest = [0; 8];
        uaccess::copy_from_user(&mut rest[..(bytes - at).min(8)], addr.wrapping_add(at as u64))?;
        if rest != [0; 8] {
            return Err(Errno::E2BIG);
        }
    }
    uaccess::copy_from_user(&mut args[..known], addr)?;
    CloneArgs::of_clone3(&args, USER_END)
}

fn set_robust_list(head: u64, bytes: u64) -> Result<Outcome, Errno> {
    if bytes != ROBUST_LIST_HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    process::current().robust_list.set(head);
    Ok(Outcome::Value(0))
}

/// Of another thread: for who may read its memory.
fn get_robust_list(tid: u32, head: u64, bytes: u64) -> Result<Outcome, Errno> {
    let own = process::current();
    let thread = match tid {
        0 => own,
        tid => process::find_thread(tid).ok_or(Errno::ESRCH)?,
    };
    let (caller, target) = (own.cred.get(), thread.cred.get());
    let same = [target.user.real, target.user.effective, target.user.saved] == [caller.user.real; 3]
        && [target.group.real, target.group.effective, target.group.saved] == [caller.group.real; 3];
    if thread.pid.get() != own.pid.get() && !same && !caller.privileged() {
        return Err(Errno::EPERM);
    }
    uaccess::copy_to_user(bytes, &ROBUST_LIST_HEAD_BYTES.to_le_bytes())?;
    uaccess::copy_to_user(head, &thread.robust_list.get().to_le_bytes())?;
    Ok(Outcome::Value(0))
}

/// With one processor every entry into the kernel is a barrier for all threads: nothing is left to be done.
fn membarrier(command: u32, flags: u32) -> Result<Outcome, Errno> {
    /// The commands for all, global expedited, private expedited; each of the latter two with its registration.
    const KNOWN: u32 = 0x1f;
    match (command, flags) {
        (_, 1..) => Err(Errno::EINVAL),
        (0, 0) => Ok(Outcome::Value(u64::from(KNOWN))),
        (command, 0) if command.is_power_of_two() && command & KNOWN != 0 => Ok(Outcome::Value(0)),
        _ => Err(Errno::EINVAL),
    }
}
