//! `sched_*`, `getpriority setpriority`: what programs say about who should run. It is kept, checked and told; here all take turns alike.
//!
//! Differs from Linux: it is the process's, not the thread's.
//!
//! Source: sched(7), sched_setscheduler(2), sched_setparam(2), sched_rr_get_interval(2), sched_setaffinity(2), getpriority(2); Linux,
//! kernel/sched/syscalls.c, kernel/sys.c.

use super::time::write_ns;
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::uaccess;
use crate::task::preempt;
use crate::task::process::{self, Process, State};

mod nr {
    pub(super) const GETPRIORITY: u64 = 140;
    pub(super) const SETPRIORITY: u64 = 141;
    pub(super) const SCHED_SETPARAM: u64 = 142;
    pub(super) const SCHED_GETPARAM: u64 = 143;
    pub(super) const SCHED_SETSCHEDULER: u64 = 144;
    pub(super) const SCHED_GETSCHEDULER: u64 = 145;
    pub(super) const SCHED_GET_PRIORITY_MAX: u64 = 146;
    pub(super) const SCHED_GET_PRIORITY_MIN: u64 = 147;
    pub(super) const SCHED_RR_GET_INTERVAL: u64 = 148;
    pub(super) const SCHED_SETAFFINITY: u64 = 203;
    pub(super) const SCHED_GETAFFINITY: u64 = 204;
}

/// `SCHED_*`.
mod policy {
    pub(super) const FIFO: u32 = 1;
    pub(super) const RR: u32 = 2;
    pub(super) const BATCH: u32 = 3;
    pub(super) const OTHER: u32 = 0;
    pub(super) const IDLE: u32 = 5;
    pub(super) const DEADLINE: u32 = 6;
    /// Since Linux 6.12.
    pub(super) const EXT: u32 = 7;
    /// `SCHED_RESET_ON_FORK`; children are as `clone` says.
    pub(super) const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// Highest real-time priority.
const RT_PRIORITY_MAX: u32 = 99;

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    let result = match rax {
        nr::GETPRIORITY => getpriority(rdi as i32, rsi as u32),
        nr::SETPRIORITY => setpriority(rdi as i32, rsi as u32, rdx as i32),
        nr::SCHED_SETPARAM => find(rdi).and_then(|process| set_policy(process, process.policy.get()[0], rsi)),
        nr::SCHED_GETPARAM => find(rdi).and_then(|process| getparam(process, rsi)),
        nr::SCHED_SETSCHEDULER if (rsi as i32) < 0 => Err(Errno::EINVAL),
        nr::SCHED_SETSCHEDULER => find(rdi).and_then(|process| set_policy(process, rsi as u32, rdx)),
        nr::SCHED_GETSCHEDULER => find(rdi).map(|process| process.policy.get()[0].into()),
        nr::SCHED_GET_PRIORITY_MAX => priorities(rdi as u32).map(|[_, most]| most.into()),
        nr::SCHED_GET_PRIORITY_MIN => priorities(rdi as u32).map(|[least, _]| least.into()),
        nr::SCHED_RR_GET_INTERVAL => find(rdi).and_then(|process| interval(process, rsi)),
        nr::SCHED_SETAFFINITY => setaffinity(rdi, rsi as u32, rdx),
        nr::SCHED_GETAFFINITY => getaffinity(rdi, rsi as u32, rdx),
        _ => return None,
    };
    Some(result.map(Outcome::Value))
}

/// The process with this number; 0 is the running one.
fn find(pid: u64) -> Result<&'static Process, Errno> {
    match pid as i32 {
        pid if pid < 0 => Err(Errno::EINVAL),
        0 => Ok(process::current().leader()),
        pid => process::find_thread(pid.cast_unsigned())
            .map(Process::leader)
            .ok_or(Errno::ESRCH),
    }
}

/// Whether the running process may change another. Source: Linux `check_same_owner`.
fn may_change(other: &Process) -> bool {
    let (own, other) = (process::current().cred.get(), other.cred.get().user);
    own.privileged() || [other.real, other.effective].contains(&own.user.effective)
}

/// Least and most priority of a policy.
fn priorities(policy: u32) -> Result<[u32; 2], Errno> {
    match policy {
        policy::FIFO | policy::RR => Ok([1, RT_PRIORITY_MAX]),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE | policy::EXT => Ok([0, 0]),
        _ => Err(Errno::EINVAL),
    }
}

/// Policy, and priority at `param`. One with deadlines needs another call, which does not exist here.
fn set_policy(process: &Process, policy: u32, param: u64) -> Result<u64, Errno> {
    if param == 0 {
        return Err(Errno::EINVAL);
    }
    let priority = u32::from_le_bytes(uaccess::read(param)?);
    let bare = policy & !policy::RESET_ON_FORK;
    let [least, most] = priorities(bare)?;
    if !(least..=most).contains(&priority) || matches!(bare, policy::DEADLINE | policy::EXT) {
        return Err(Errno::EINVAL);
    }
    // RLIMIT_RTPRIO is 0 for who is not privileged.
    if !process::current().cred.get().privileged() && (most != 0 || !may_change(process)) {
        return Err(Errno::EPERM);
    }
    process.policy.set([policy, priority]);
    Ok(0)
}

fn getparam(process: &Process, addr: u64) -> Result<u64, Errno> {
    if addr == 0 {
        return Err(Errno::EINVAL);
    }
    uaccess::copy_to_user(addr, &process.policy.get()[1].to_le_bytes())?;
    Ok(0)
}

/// The slice; none for who runs until it waits.
fn interval(process: &Process, addr: u64) -> Result<u64, Errno> {
    let slice = match process.policy.get()[0] & !policy::RESET_ON_FORK {
        policy::FIFO => 0,
        _ => preempt::slice_ns(),
    };
    write_ns(addr, slice)?;
    Ok(0)
}

/// There is one processor, which has to be in the set.
fn setaffinity(pid: u64, bytes: u32, addr: u64) -> Result<u64, Errno> {
    // What is longer than the kernel's own mask is not looked at.
    let mut mask = [0; 8];
    let given = mask.len().min(bytes as usize);
    uaccess::copy_from_user(&mut mask[..given], addr)?;
    let process = find(pid).map_err(|_| Errno::ESRCH)?;
    if !may_change(process) {
        return Err(Errno::EPERM);
    }
    if mask[0] & 1 == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

fn getaffinity(pid: u64, bytes: u32, addr: u64) -> Result<u64, Errno> {
    const MASK_BYTES: u32 = 8;
    if bytes < MASK_BYTES || !bytes.is_multiple_of(MASK_BYTES) {
        return Err(Errno::EINVAL);
    }
    find(pid).map_err(|_| Errno::ESRCH)?;
    uaccess::copy_to_user(addr, &1u64.to_le_bytes())?;
    Ok(MASK_BYTES.into())
}

/// The processes that `which` and `who` name. Source: getpriority(2).
fn named(which: i32, who: u32) -> Result<impl Iterator<Item = &'static Process>, Errno> {
    const PROCESS: i32 = 0;
    const GROUP: i32 = 1;
    const USER: i32 = 2;
    if !(PROCESS..=USER).contains(&which) {
        return Err(Errno::EINVAL);
    }
    let own = process::current().leader();
    let is = move |process: &&Process| {
        let (number, default) = match which {
            PROCESS => (process.pid.get(), own.pid.get()),
            GROUP => (process.group.get(), own.group.get()),
            _ => (process.cred.get().user.real, own.cred.get().user.real),
        };
        process.state.get() != State::Free && process.is_leader() && number == if who == 0 { default } else { who }
    };
    Ok(process::table().iter().filter(is))
}

/// The best of the named, as 40 to 1: no error looks like it.
fn getpriority(which: i32, who: u32) -> Result<u64, Errno> {
    let best = named(which, who)?.map(|process| process.nice.get()).min();
    best.map(|nice| (20 - nice).cast_unsigned().into()).ok_or(Errno::ESRCH)
}

/// Better only for the privileged: RLIMIT_NICE is 0.
fn setpriority(which: i32, who: u32, nice: i32) -> Result<u64, Errno> {
    let nice = nice.clamp(-20, 19);
    let mut outcome = Err(Errno::ESRCH);
    for process in named(which, who)? {
        let result = if !may_change(process) {
            Err(Errno::EPERM)
        } else if nice < process.nice.get() && !process::current().cred.get().privileged() {
            Err(Errno::EACCES)
        } else {
            process.nice.set(nice);
            Ok(0)
        };
        if outcome != Ok(0) || result.is_err() {
            outcome = result;
        }
    }
    outcome
}
