//! `swapon` and `swapoff`. What can be swapped to are the disks, `/dev/vda` and on. Source: swapon(2). Rules F24 to F27.

use faultlab_linux::vfs::s;
use faultlab_mm::swap::AreaConfig;

use super::{Errno, cred, fs};
use crate::dev::swap_disk;
use crate::mem::platform::MEMORY;

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
    let stat = fs::stat_of(path)?;
    match stat.kind() {
        s::IFDIR => Err(Errno::EISDIR),
        s::IFBLK => swap_disk::numbered(stat.rdev()).ok_or(Errno::ENXIO),
        // Files of tmpfs cannot be swapped to on Linux either: what is in them is in swap.
        _ => Err(Errno::EINVAL),
    }
}
