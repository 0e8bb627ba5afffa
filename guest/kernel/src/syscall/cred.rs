//! Who a process is: `getuid` and its like, `setuid setgid setresuid setresgid getresuid getresgid getgroups setgroups`.

use faultlab_linux::cred::{Cred, Ids, Refused};

use super::{Errno, limits, nr};
use crate::cpu::regs::VolatileRegs;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process;

/// Ids of the running process.
pub(super) fn current() -> Cred {
    process::current().cred.get()
}

/// Calls about ids that are rare. It takes their arguments out of the registers itself, so that calls about something else carry nothing of it.
#[inline(never)]
pub(super) fn call(regs: &VolatileRegs) -> Result<u64, Errno> {
    let VolatileRegs { rdi, rsi, rdx, .. } = *regs;
    let (own, ids) = (current(), [rdi, rsi, rdx].map(|id| id as u32));
    match regs.rax {
        nr::SETUID => set(own.set_user(ids[0])),
        nr::SETGID => set(own.set_group(ids[0])),
        nr::SETRESUID => set(own.set_users(ids)),
        nr::SETRESGID => set(own.set_groups(ids)),
        nr::GETRESUID => get(own.user, [rdi, rsi, rdx]),
        nr::GETRESGID => get(own.group, [rdi, rsi, rdx]),
        _ => setgroups(rdi, rsi),
    }
}

/// Gives the running process other ids.
pub(super) fn set(cred: Result<Cred, Refused>) -> Result<u64, Errno> {
    process::current().cred.set(cred?);
    limits::apply(process::current());
    Ok(0)
}

/// `getresuid` and `getresgid`.
fn get(ids: Ids, addresses: [u64; 3]) -> Result<u64, Errno> {
    for (id, address) in [ids.real, ids.effective, ids.saved].into_iter().zip(addresses) {
        uaccess::copy_to_user(address, &id.to_le_bytes())?;
    }
    Ok(0)
}

/// Bytes of a group's number.
const GROUP_BYTES: u64 = 4;

/// `setgroups`.
fn setgroups(count: u64, list: u64) -> Result<u64, Errno> {
    if !current().privileged() {
        return Err(Errno::EPERM);
    }
    let at = |index: u64| list.wrapping_add(index * GROUP_BYTES);
    let groups = LINUX.make_groups(u64::from(count as u32), |index| {
        uaccess::read(at(index)).map(u32::from_le_bytes)
    })?;
    LINUX.put_groups(process::current().groups.replace(groups));
    Ok(0)
}

/// `getgroups`: how many there are.
pub(super) fn getgroups(room: u64, list: u64) -> Result<u64, Errno> {
    let groups = process::current().groups.get();
    let room = u64::from(u32::try_from(room as i32).map_err(|_| Errno::EINVAL)?);
    let count = LINUX.groups(groups).count() as u64;
    if room == 0 {
        return Ok(count);
    }
    if count > room {
        return Err(Errno::EINVAL);
    }
    for (group, at) in LINUX.groups(groups).zip((list..).step_by(GROUP_BYTES as usize)) {
        uaccess::copy_to_user(at, &group.to_le_bytes())?;
    }
    Ok(count)
}
