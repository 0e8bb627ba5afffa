//! `swapon` and `swapoff`. What can be swapped to are the disks, `/dev/vda` and on. Source: swapon(2). Rules F24 to F27.

use faultlab_kernel::cmdline::VIRTIO_MAX;
use faultlab_mm::swap::AreaConfig;

use super::{Errno, cred};
use crate::platform::MEMORY;
use crate::{swap_disk, uaccess};

/// A disk's path but for its last letter.
const DISK: &[u8] = b"/dev/vd";

/// Bits of `swapon`'s flags. Source: swapon(2).
mod flag {
    pub(super) const PRIO_MASK: u32 = 0x7fff;
    /// The priority is given.
    pub(super) const PREFER: u32 = 0x8000;
    /// Three about telling the disk of slots that are free; ignored, as Linux does where a disk cannot be told.
    pub(super) const DISCARD: u32 = 0x7_0000;
}

/// `swapon(path, flags)`.
#[inline(never)]
pub(super) fn swapon(path: u64, flags: u64) -> Result<u64, Errno> {
    let flags = flags as u32;
    if flags & !(flag::PRIO_MASK | flag::PREFER | flag::DISCARD) != 0 {
        return Err(Errno::EINVAL);
    }
    let disk = named_disk(path)?;
    if MEMORY.swap_area(disk).is_some() {
        return Err(Errno::EBUSY);
    }
    let header = swap_disk::header(disk).map_err(|_| Errno::EINVAL)?;
    let area = AreaConfig {
        slots: header.pages,
        prio: (flags & flag::PREFER != 0).then_some((flags & flag::PRIO_MASK) as u16),
        bad: header.bad_pages(),
    };
    MEMORY.swapon(disk, area)?;
    Ok(0)
}

/// `swapoff(path)`.
#[inline(never)]
pub(super) fn swapoff(path: u64) -> Result<u64, Errno> {
    MEMORY.swapoff(named_disk(path)?)?;
    Ok(0)
}

/// The number of the disk that a privileged program names.
fn named_disk(path: u64) -> Result<usize, Errno> {
    if !cred::current().privileged() {
        return Err(Errno::EPERM);
    }
    for (at, expected) in (path..).zip(DISK) {
        if uaccess::read::<1>(at)? != [*expected] {
            return Err(Errno::ENOENT);
        }
    }
    let end = path + DISK.len() as u64;
    let [letter] = uaccess::read::<1>(end)?;
    let disk = usize::from(letter.wrapping_sub(b'a'));
    if disk < VIRTIO_MAX && swap_disk::is_there(disk) && uaccess::read::<1>(end + 1)? == [0] {
        Ok(disk)
    } else {
        Err(Errno::ENOENT)
    }
}
