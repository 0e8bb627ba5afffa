//! Calls that change the address space.

use linux_raw_sys::general;

use super::{Errno, call};

pub use linux_raw_sys::general::{
    MADV_PAGEOUT, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// `mmap(2)` at an address of the kernel's choice; `descriptor` is -1 for anonymous memory, the offset is 0.
///
/// # Errors
/// As in the man page.
pub fn map(bytes: usize, protection: u32, flags: u32, descriptor: i32) -> Result<*mut u8, Errno> {
    // SAFETY: without MAP_FIXED nothing that exists is replaced.
    let address = unsafe {
        let flags = (flags & !general::MAP_FIXED) as usize;
        call(
            general::__NR_mmap,
            [0, bytes, protection as usize, flags, descriptor as usize, 0],
        )
    }?;
    Ok(address as *mut u8)
}

/// `mmap(2)` of a device's memory from byte `offset` on, shared, readable and writable.
///
/// # Errors
/// As in the man page.
pub fn map_device(descriptor: i32, offset: u64, bytes: usize) -> Result<*mut u8, Errno> {
    let protection = (PROT_READ | PROT_WRITE) as usize;
    // SAFETY: without MAP_FIXED nothing that exists is replaced.
    let address = unsafe {
        call(
            general::__NR_mmap,
            [
                0,
                bytes,
                protection,
                MAP_SHARED as usize,
                descriptor as usize,
                offset as usize,
            ],
        )
    }?;
    Ok(address as *mut u8)
}

/// Address of `bytes` bytes where nothing is mapped; a mapping of that size was there for a moment.
///
/// # Errors
/// As `mmap(2)`.
pub fn free_range(bytes: usize) -> Result<usize, Errno> {
    let address = map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1)?;
    // SAFETY: nobody has had time to use it.
    unsafe { unmap(address, bytes) }?;
    Ok(address as usize)
}

/// `mmap(2)` of anonymous private memory with `MAP_FIXED`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nothing uses what is mapped there any more.
pub unsafe fn map_fixed(address: usize, bytes: usize, protection: u32) -> Result<(), Errno> {
    let flags = (general::MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS) as usize;
    // SAFETY: the caller's contract.
    unsafe {
        call(
            general::__NR_mmap,
            [address, bytes, protection as usize, flags, usize::MAX, 0],
        )
    }
    .map(drop)
}

/// `mmap(2)` of a file, shared, from its beginning on, readable and writable, with `MAP_FIXED`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nothing uses what is mapped there any more.
pub unsafe fn map_file_fixed(address: usize, bytes: usize, file: i32) -> Result<(), Errno> {
    let (protection, flags) = (PROT_READ | PROT_WRITE, general::MAP_FIXED | MAP_SHARED);
    // SAFETY: the caller's contract.
    unsafe {
        call(
            general::__NR_mmap,
            [address, bytes, protection as usize, flags as usize, file as usize, 0],
        )
    }
    .map(drop)
}

/// `mprotect(2)`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nothing relies on rights that the range loses.
pub unsafe fn protect(address: usize, bytes: usize, protection: u32) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    unsafe { call(general::__NR_mprotect, [address, bytes, protection as usize, 0, 0, 0]) }.map(drop)
}

/// `mincore(2)`: of each page from `address` on, whether it is in memory (its lowest bit). One byte of `vector` a page.
///
/// # Errors
/// As in the man page.
pub fn residency(address: usize, vector: &mut [u8]) -> Result<(), Errno> {
    let arguments = [
        address,
        vector.len() * PAGE_BYTES,
        vector.as_mut_ptr() as usize,
        0,
        0,
        0,
    ];
    // SAFETY: fills the vector and changes nothing else.
    unsafe { call(general::__NR_mincore, arguments) }.map(drop)
}

/// `madvise(2)` with `MADV_NOHUGEPAGE`: this range is to consist of small pages. Kernels that know no others refuse.
///
/// # Errors
/// As in the man page.
pub fn small_pages(address: usize, bytes: usize) -> Result<(), Errno> {
    // SAFETY: changes how pages are mapped, never what they hold.
    unsafe {
        call(
            general::__NR_madvise,
            [address, bytes, general::MADV_NOHUGEPAGE as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `madvise(2)` with `MADV_HUGEPAGE`: this range is to have huge pages where they fit. Kernels that know none refuse.
///
/// # Errors
/// As in the man page.
pub fn huge_pages(address: usize, bytes: usize) -> Result<(), Errno> {
    // SAFETY: changes how pages are mapped, never what they hold.
    unsafe {
        call(
            general::__NR_madvise,
            [address, bytes, general::MADV_HUGEPAGE as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `madvise(2)` with `MADV_DONTNEED` of private memory: its pages are gone, with what they hold.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nobody relies on what the range holds.
#[inline(always)]
pub unsafe fn discard(address: usize, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    unsafe {
        call(
            general::__NR_madvise,
            [address, bytes, general::MADV_DONTNEED as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `madvise(2)` with `MADV_DONTNEED` of memory that is shared: its pages are unmapped here, and stay in memory with what they hold.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// The range is of a mapping made with [`MAP_SHARED`]; private memory would lose its contents.
pub unsafe fn unmap_pages(address: usize, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    unsafe {
        call(
            general::__NR_madvise,
            [address, bytes, general::MADV_DONTNEED as usize, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `munmap(2)`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nothing uses the range any more.
pub unsafe fn unmap(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    unsafe { call(general::__NR_munmap, [address as usize, bytes, 0, 0, 0, 0]) }.map(drop)
}

/// `madvise(2)` with `MADV_PAGEOUT`: reclaim these pages now. Their contents stay.
///
/// # Errors
/// As in the man page.
#[inline(always)]
pub fn page_out(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the advice changes where pages are kept, never what they hold.
    unsafe {
        call(
            general::__NR_madvise,
            [address as usize, bytes, MADV_PAGEOUT as usize, 0, 0, 0],
        )
    }
    .map(drop)
}
