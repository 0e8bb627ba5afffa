//! `getrlimit setrlimit prlimit64`.

use faultlab_linux::limits::Limit;

use super::Errno;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::task::process::{self, Process};
use crate::task::{preempt, timers};

/// Lets the memory manager know what the running process may map and lock, after its limits or its user changed.
pub(super) fn apply(process: &Process) {
    if let Some(mm) = process.mm.get() {
        let privileged = process.cred.get().privileged();
        MEMORY.set_rlimits(mm, process.leader().limits.get().of_memory(privileged));
    }
}

fn read(addr: u64) -> Result<Limit, Errno> {
    let bytes: [u8; 16] = uaccess::read(addr)?;
    let value = u128::from_le_bytes(bytes);
    Ok(Limit {
        soft: value as u64,
        hard: (value >> 64) as u64,
    })
}

fn write(addr: u64, limit: Limit) -> Result<(), Errno> {
    let value = u128::from(limit.hard) << 64 | u128::from(limit.soft);
    uaccess::copy_to_user(addr, &value.to_le_bytes())
}

#[inline(never)]
pub(super) fn getrlimit(resource: u64, addr: u64) -> Result<u64, Errno> {
    let limit = process::current().leader().limits.get().get(u64::from(resource as u32));
    write(addr, limit.ok_or(Errno::EINVAL)?)?;
    Ok(0)
}

#[inline(never)]
pub(super) fn setrlimit(resource: u64, addr: u64) -> Result<u64, Errno> {
    set(process::current().leader(), resource, read(addr)?)?;
    Ok(0)
}

/// `prlimit64(pid, resource, new, old)`: of another process, whose real, effective and saved ids must be the caller's unless that is
/// privileged.
#[inline(never)]
pub(super) fn prlimit64(pid: u64, resource: u64, new: u64, old: u64) -> Result<u64, Errno> {
    let new = if new == 0 { None } else { Some(read(new)?) };
    let own = process::current();
    let target = match pid as u32 {
        0 => own.leader(),
        pid => process::find_thread(pid).map(Process::leader).ok_or(Errno::ESRCH)?,
    };
    let (caller, owner) = (own.cred.get(), target.cred.get());
    let same = [owner.user.real, owner.user.effective, owner.user.saved] == [caller.user.real; 3]
        && [owner.group.real, owner.group.effective, owner.group.saved] == [caller.group.real; 3];
    if !core::ptr::eq(own.leader(), target) && !same && !caller.privileged() {
        return Err(Errno::EPERM);
    }
    let before = target
        .limits
        .get()
        .get(u64::from(resource as u32))
        .ok_or(Errno::EINVAL)?;
    if let Some(new) = new {
        set(target, resource, new)?;
    }
    if old != 0 {
        write(old, before)?;
    }
    Ok(0)
}

const RLIMIT_CPU: u32 = 0;
const RLIMIT_NOFILE: u32 = 7;

fn set(process: &Process, resource: u64, new: Limit) -> Result<(), Errno> {
    let privileged = process::current().cred.get().privileged();
    let limits = process.limits.get().set(u64::from(resource as u32), new, privileged)?;
    process.limits.set(limits);
    apply(process);
    if let (RLIMIT_NOFILE, Some(table)) = (resource as u32, process.files.get()) {
        LINUX.limit_descriptors(table, new.soft);
    }
    if resource as u32 == RLIMIT_CPU {
        timers::limit_changed(process);
        preempt::at_cpu_deadline();
    }
    Ok(())
}
