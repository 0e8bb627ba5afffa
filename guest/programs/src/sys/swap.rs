//! `swapon(2)` and `swapoff(2)`.

use core::ffi::CStr;

use linux_raw_sys::general;

use super::{Errno, call};

/// `SWAP_FLAG_PREFER`: the priority is in the lowest 15 bits.
pub const FLAG_PREFER: u32 = 0x8000;

/// `swapon(2)`.
///
/// # Errors
/// As in the man page.
pub fn swapon(path: &CStr, flags: u32) -> Result<(), Errno> {
    // SAFETY: only reads the NUL-terminated path.
    unsafe {
        call(
            general::__NR_swapon,
            [path.as_ptr() as usize, flags as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// `swapoff(2)`.
///
/// # Errors
/// As in the man page.
pub fn swapoff(path: &CStr) -> Result<(), Errno> {
    // SAFETY: only reads the NUL-terminated path.
    unsafe { call(general::__NR_swapoff, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}
