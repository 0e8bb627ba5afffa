//! `userfaultfd(2)` and what is asked of its descriptor.
//!
//! Source: userfaultfd(2), ioctl_userfaultfd(2); linux/userfaultfd.h.

use linux_raw_sys::general;

use super::{Errno, call, ioctl};

/// `UFFDIO_REGISTER_MODE_MISSING`: pages that are nowhere are asked for.
pub const MODE_MISSING: u64 = 1;
/// `UFFDIO_REGISTER_MODE_MINOR`: pages that are cached, and not mapped, are asked for.
pub const MODE_MINOR: u64 = 4;

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const COPY: u64 = 0xc028_aa03;
const CONTINUE: u64 = 0xc020_aa07;

/// A new descriptor. Only accesses of programs are answered, which needs no rights.
///
/// # Errors
/// As in the man page.
pub fn open() -> Result<i32, Errno> {
    const USER_MODE_ONLY: usize = 1;
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_userfaultfd, [USER_MODE_ONLY, 0, 0, 0, 0, 0]) }.map(|descriptor| descriptor as i32)
}

/// `UFFDIO_API`.
///
/// # Errors
/// As in the man page: `EINVAL` for another version, and for features that the kernel has not.
pub fn introduce(descriptor: i32, version: u64, features: u64) -> Result<(), Errno> {
    ask(descriptor, API, &mut [version, features, 0])
}

/// `UFFDIO_REGISTER`: start, length, mode, and room for the answer.
///
/// # Errors
/// As in the man page.
pub fn register(descriptor: i32, mut range: [u64; 4]) -> Result<(), Errno> {
    ask(descriptor, REGISTER, &mut range)
}

/// `UFFDIO_COPY` of `bytes` from `source`, in this process's memory, to `to` in that of the descriptor.
///
/// # Errors
/// As in the man page.
pub fn copy(descriptor: i32, to: u64, source: u64, bytes: u64) -> Result<(), Errno> {
    ask(descriptor, COPY, &mut [to, source, bytes, 0, 0])
}

/// `UFFDIO_CONTINUE`: cached pages are mapped.
///
/// # Errors
/// As in the man page.
pub fn let_go(descriptor: i32, to: u64, bytes: u64) -> Result<(), Errno> {
    ask(descriptor, CONTINUE, &mut [to, bytes, 0, 0])
}

fn ask<const WORDS: usize>(descriptor: i32, request: u64, words: &mut [u64; WORDS]) -> Result<(), Errno> {
    // SAFETY: callers give the structure of the request, which is theirs. What is put into memory was registered for that.
    unsafe { ioctl(descriptor, request, words.as_mut_ptr() as usize) }.map(drop)
}
