//! `swapon` and `swapoff`. The one thing to swap to is the disk, `/dev/vda`. Source: swapon(2). Rules F24 to F27.

use super::{Errno, cred};
use crate::platform::MEMORY;
use crate::{swap_disk, uaccess};

/// The disk's path.
const DISK: &[u8] = b"/dev/vda\0";

/// `swapon(path, flags)`; a priority means nothing with one area.
#[inline(never)]
pub(super) fn swapon(path: u64, flags: u64) -> Result<u64, Errno> {
    /// Priority, "prefer", and three about discarding.
    const KNOWN: u64 = 0x7fff | 0x8000 | 0x7_0000;
    if u64::from(flags as u32) & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    names_the_disk(path)?;
    let pages = swap_disk::pages().map_err(|_| Errno::EINVAL)?;
    MEMORY.swapon(pages)?;
    Ok(0)
}

/// `swapoff(path)`.
#[inline(never)]
pub(super) fn swapoff(path: u64) -> Result<u64, Errno> {
    names_the_disk(path)?;
    MEMORY.swapoff()?;
    Ok(0)
}

fn names_the_disk(path: u64) -> Result<(), Errno> {
    if !cred::current().privileged() {
        return Err(Errno::EPERM);
    }
    for (at, expected) in (path..).zip(DISK) {
        if uaccess::read::<1>(at)? != [*expected] {
            return Err(Errno::ENOENT);
        }
    }
    swap_disk::is_there().then_some(()).ok_or(Errno::ENOENT)
}
