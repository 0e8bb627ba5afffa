//! Who a process is: `getuid` and its like, `setuid setgid setresuid setresgid getresuid getresgid getgroups setgroups`.

use faultlab_linux::cred::{Cred, Ids, Refused};

use super::{Errno, limits};
use crate::{process, uaccess};

/// Ids of the running process.
pub(super) fn current() -> Cred {
    process::current().cred.get()
}

/// Gives the running process other ids.
pub(super) fn set(cred: Result<Cred, Refused>) -> Result<u64, Errno> {
    process::current().cred.set(cred?);
    limits::apply(process::current());
    Ok(0)
}

/// `getresuid` and `getresgid`.
#[inline(never)]
pub(super) fn get(ids: Ids, addresses: [u64; 3]) -> Result<u64, Errno> {
    for (id, address) in [ids.real, ids.effective, ids.saved].into_iter().zip(addresses) {
        uaccess::copy_to_user(address, &id.to_le_bytes())?;
    }
    Ok(0)
}

/// `setgroups`: there are no supplementary groups, so only their absence can be asked for.
pub(super) fn setgroups(count: u64) -> Result<u64, Errno> {
    if !current().privileged() {
        return Err(Errno::EPERM);
    }
    if count == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}
