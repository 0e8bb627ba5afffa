//! Files of tmpfs: calls on them. They are in `/dev/shm`, as objects of POSIX shared memory are.

use core::ffi::CStr;

use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::{Errno, files, paths};
use faultlab_programs::tsc;
use linux_raw_sys::general::{AT_FDCWD, O_CREAT, O_EXCL, O_RDWR};

use super::calls::expected;
use crate::phase::{Failure, Phases};

const PATH: &CStr = c"/dev/shm/faultlab";

pub(super) fn pread(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    let file = create().map_err(|errno| Failure::Call("open", errno))?;
    let mut page = Page([1; PAGE_BYTES]);
    let at = page.0.as_mut_ptr() as usize;
    // SAFETY: reads the page.
    let written = unsafe { files::pwrite([file, at, PAGE_BYTES, 0]) };
    // SAFETY: fills the page.
    let read = || unsafe { files::pread([file, at, PAGE_BYTES, 0]) };
    let result = match written {
        Ok(_) => phases.time(expected(calls, 1), |_| tsc::call(read).0),
        Err(errno) => Err(Failure::Call("pwrite", errno)),
    };
    close(file)
        .and_then(|_| unlink())
        .map_err(|errno| Failure::Call("unlink", errno))?;
    result
}

pub(super) fn create_unlink(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    // A refused call shows as system calls too few.
    phases.time(expected(calls, 3), |_| {
        tsc::call(|| create().and_then(close).and_then(|_| unlink())).0
    })
}

/// A page of the program's, aligned as one.
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

#[inline(always)]
fn create() -> Result<usize, Errno> {
    let flags = O_CREAT | O_EXCL | O_RDWR;
    // SAFETY: only reads the path.
    unsafe { paths::openat([AT_FDCWD as usize, PATH.as_ptr() as usize, flags as usize, 0o600]) }
}

#[inline(always)]
fn close(file: usize) -> Result<usize, Errno> {
    // SAFETY: the descriptor is the caller's, who gives it up.
    unsafe { files::close([file]) }
}

#[inline(always)]
fn unlink() -> Result<usize, Errno> {
    // SAFETY: only reads the path.
    unsafe { paths::unlinkat([AT_FDCWD as usize, PATH.as_ptr() as usize, 0]) }
}
