//! Address spaces. The memory manager does the work and knows the rules; here is what concerns descriptors.

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_mm::mmap::map_flag;

use super::file::MapTarget;
use super::{Errno, device, file};
use crate::platform::MEMORY;
use crate::process::current_mm;

/// `mmap(addr, len, prot, flags, descriptor, offset)`.
#[inline(never)]
pub(super) fn mmap([addr, len, prot, flags, descriptor, offset]: [u64; 6]) -> Result<u64, Errno> {
    if offset % PAGE_SIZE != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & map_flag::ANONYMOUS != 0 {
        return Ok(MEMORY.do_mmap(current_mm(), addr, len, prot, flags, None, offset / PAGE_SIZE)?);
    }
    let pgoff = offset / PAGE_SIZE;
    match file::mmap_target(descriptor, prot, flags)? {
        MapTarget::File(object) => {
            let flags = flags | MEMORY.hugetlb_flag(object.inode);
            let at = MEMORY.do_mmap(current_mm(), addr, len, prot, flags, Some(object), pgoff)?;
            file::accessed(descriptor);
            return Ok(at);
        }
        MapTarget::Anonymous => {
            let flags = flags | map_flag::ANONYMOUS;
            return Ok(MEMORY.do_mmap(current_mm(), addr, len, prot, flags, None, pgoff)?);
        }
        MapTarget::Lab => {}
    }
    // Device memory, at an address of the kernel's choice.
    if flags & map_flag::TYPE != map_flag::SHARED || flags & map_flag::FIXED != 0 {
        return Err(Errno::EINVAL);
    }
    let (phys, len) = device::mmap_target(offset, len)?;
    Ok(MEMORY.map_device(current_mm(), phys, len)?)
}

#[inline(never)]
pub(super) fn mprotect(addr: u64, len: u64, prot: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_mprotect(current_mm(), addr, len, prot).map(|()| 0)?)
}

#[inline(never)]
pub(super) fn munmap(addr: u64, len: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_munmap(current_mm(), addr, len).map(|()| 0)?)
}

#[inline(never)]
pub(super) fn brk(addr: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_brk(current_mm(), addr))
}

#[inline(never)]
pub(super) fn madvise(addr: u64, len: u64, advice: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_madvise(current_mm(), addr, len, advice as i32).map(|()| 0)?)
}
