//! Address spaces. The memory manager does the work and knows the rules; here is what concerns descriptors.

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_mm::mmap::{MapFile, map_flag};

use super::file::MapTarget;
use super::{Errno, device, file};
use crate::mem::platform::MEMORY;
use crate::task::process::current_mm;

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
        MapTarget::Anonymous { writable } => return map_zeroes([addr, len, prot, flags, pgoff], writable),
        MapTarget::Lab => {}
    }
    // Device memory, at an address of the kernel's choice.
    if flags & map_flag::TYPE != map_flag::SHARED || flags & map_flag::FIXED != 0 {
        return Err(Errno::EINVAL);
    }
    let (phys, len) = device::mmap_target(offset, len)?;
    Ok(MEMORY.map_device(current_mm(), phys, len)?)
}

/// `/dev/zero`: as without a file. But of what is shared, the page asked for counts, although the object is as long as the mapping; and through a
/// descriptor that does not write it can never be written, either. Rules B5, B6; Linux, drivers/char/mem.c (`mmap_zero`).
#[cold]
#[inline(never)]
fn map_zeroes([addr, len, prot, flags, pgoff]: [u64; 5], writable: bool) -> Result<u64, Errno> {
    if flags & map_flag::TYPE == map_flag::PRIVATE {
        let flags = flags | map_flag::ANONYMOUS;
        return Ok(MEMORY.do_mmap(current_mm(), addr, len, prot, flags, None, 0)?);
    }
    // Nothing is charged for what nobody can store to.
    let noreserve = !writable || flags & map_flag::NORESERVE != 0;
    let inode = MEMORY.shmem_file_setup(len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::ENOMEM)?, noreserve)?;
    let zeroes = MapFile {
        writable,
        ..MapFile::from(inode)
    };
    let mapped = MEMORY.do_mmap(current_mm(), addr, len, prot, flags, Some(zeroes), pgoff);
    MEMORY.iput(inode);
    Ok(mapped?)
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
