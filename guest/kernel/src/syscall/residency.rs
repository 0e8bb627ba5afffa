//! Where pages are: moved, in memory, kept there. The memory manager does the work and knows the rules.

use faultlab_abi::layout::{PAGE_SIZE, USER_END};

use super::Errno;
use crate::mem::platform::MEMORY;
use crate::mem::uaccess;
use crate::task::process::current_mm;

/// Pages that `mincore` reports at a time.
const MINCORE_PAGES: usize = 256;

#[inline(never)]
pub(super) fn mremap(addr: u64, old_len: u64, new_len: u64, flags: u64, new_addr: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_mremap(current_mm(), addr, old_len, new_len, flags, new_addr)?)
}

#[inline(never)]
pub(super) fn msync(addr: u64, len: u64, flags: u64) -> Result<u64, Errno> {
    // The flags are a C integer.
    Ok(MEMORY
        .do_msync(current_mm(), addr, len, u64::from(flags as u32))
        .map(|()| 0)?)
}

/// `mincore`: a byte a page. What comes before a gap is reported.
#[inline(never)]
pub(super) fn mincore(addr: u64, len: u64, vector: u64) -> Result<u64, Errno> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if addr.checked_add(len).is_none_or(|end| end > USER_END) {
        return Err(Errno::ENOMEM);
    }
    let pages = len.div_ceil(PAGE_SIZE);
    if vector.checked_add(pages).is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT);
    }
    let mut done = 0;
    while done < pages {
        let mut resident = [0; MINCORE_PAGES];
        let count = (pages - done).min(MINCORE_PAGES as u64);
        let part = &mut resident[..count as usize];
        MEMORY.do_mincore(current_mm(), addr + done * PAGE_SIZE, part)?;
        uaccess::copy_to_user(vector + done, part)?;
        done += count;
    }
    Ok(0)
}

/// `mlock` and `mlock2`.
#[inline(never)]
pub(super) fn mlock(addr: u64, len: u64, flags: u64) -> Result<u64, Errno> {
    Ok(MEMORY
        .do_mlock(current_mm(), addr, len, u64::from(flags as u32))
        .map(|()| 0)?)
}

#[inline(never)]
pub(super) fn munlock(addr: u64, len: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_munlock(current_mm(), addr, len).map(|()| 0)?)
}

#[inline(never)]
pub(super) fn mlockall(flags: u64) -> Result<u64, Errno> {
    Ok(MEMORY.do_mlockall(current_mm(), u64::from(flags as u32)).map(|()| 0)?)
}

#[inline(never)]
pub(super) fn munlockall() -> Result<u64, Errno> {
    Ok(MEMORY.do_munlockall(current_mm()).map(|()| 0)?)
}
