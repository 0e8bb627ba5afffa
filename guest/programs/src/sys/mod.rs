//! Linux system calls, as thin as they can be safe: one function a call, named after it.
//!
//! Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl; System V ABI, AMD64 supplement, A.2.1; the man page of each.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

use linux_raw_sys::{errno, general};

/// Declares calls that take every argument as it is: name, number, count of the arguments, how it is written.
macro_rules! bare {
    ($($name:ident, $number:ident, $count:literal, $form:literal;)*) => {
        $(
            #[doc = concat!("`", $form, "`.")]
            ///
            /// # Errors
            /// As in the man page.
            ///
            /// # Safety
            /// Nothing of the program's own depends on what the call changes or replaces.
            pub unsafe fn $name(arguments: [usize; $count]) -> Result<usize, $crate::sys::Errno> {
                let mut all = [0; 6];
                all[..$count].copy_from_slice(&arguments);
                // SAFETY: the caller's contract.
                unsafe { $crate::sys::call(linux_raw_sys::general::$number, all) }
            }
        )*
    };
}

pub mod address_space;
pub mod files;
pub mod memory;
pub mod paths;
pub mod process;
pub mod signals;
pub mod swap;
pub mod sysv_shm;
pub mod userfaultfd;

pub use process::exit;

/// An error number. Displayed as name and number: `ENOMEM (12)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u32);

#[expect(missing_docs, reason = "those of errno(3)")]
impl Errno {
    pub const EACCES: Self = Self(errno::EACCES);
    pub const EBUSY: Self = Self(errno::EBUSY);
    pub const EFAULT: Self = Self(errno::EFAULT);
    pub const EINVAL: Self = Self(errno::EINVAL);
    pub const ENOENT: Self = Self(errno::ENOENT);
    pub const ENOMEM: Self = Self(errno::ENOMEM);
    pub const ENOTTY: Self = Self(errno::ENOTTY);
    pub const EOPNOTSUPP: Self = Self(errno::EOPNOTSUPP);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            errno::EPERM => "EPERM",
            errno::ENOENT => "ENOENT",
            errno::ESRCH => "ESRCH",
            errno::EINTR => "EINTR",
            errno::EBADF => "EBADF",
            errno::ECHILD => "ECHILD",
            errno::EAGAIN => "EAGAIN",
            errno::ENOMEM => "ENOMEM",
            errno::EACCES => "EACCES",
            errno::EFAULT => "EFAULT",
            errno::EBUSY => "EBUSY",
            errno::EEXIST => "EEXIST",
            errno::EXDEV => "EXDEV",
            errno::ENOTDIR => "ENOTDIR",
            errno::EISDIR => "EISDIR",
            errno::EROFS => "EROFS",
            errno::ERANGE => "ERANGE",
            errno::ENAMETOOLONG => "ENAMETOOLONG",
            errno::ENOTEMPTY => "ENOTEMPTY",
            errno::ELOOP => "ELOOP",
            errno::ENODEV => "ENODEV",
            errno::EINVAL => "EINVAL",
            errno::ENXIO => "ENXIO",
            errno::EFBIG => "EFBIG",
            errno::EMFILE => "EMFILE",
            errno::ESPIPE => "ESPIPE",
            errno::ENOTTY => "ENOTTY",
            errno::ENOSPC => "ENOSPC",
            errno::ENOSYS => "ENOSYS",
            errno::EIDRM => "EIDRM",
            errno::EOVERFLOW => "EOVERFLOW",
            errno::EOPNOTSUPP => "EOPNOTSUPP",
            _ => "errno",
        };
        write!(f, "{name} ({})", self.0)
    }
}

/// A system call.
///
/// # Safety
/// As the call's man page says of its arguments: what it writes to or unmaps must be the caller's to lose.
pub(crate) unsafe fn call(number: u32, a: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel keeps every register but RAX, RCX and R11; memory effects are the caller's contract.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // -4095 to -1 are errors. Source: Linux, include/linux/err.h, MAX_ERRNO.
    if (-4095..0).contains(&result) {
        Err(Errno(result.unsigned_abs() as u32))
    } else {
        Ok(result as usize)
    }
}

/// `write(2)`: how many bytes were taken.
///
/// # Errors
/// As in the man page.
pub fn write(descriptor: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: only reads `bytes`.
    unsafe {
        call(
            general::__NR_write,
            [descriptor as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )
    }
}

/// `openat(2)` of an absolute path, for reading and writing.
///
/// # Errors
/// As in the man page.
pub fn open_read_write(path: &CStr) -> Result<i32, Errno> {
    let arguments = [
        general::AT_FDCWD as usize,
        path.as_ptr() as usize,
        general::O_RDWR as usize,
        0,
        0,
        0,
    ];
    // SAFETY: only reads the NUL-terminated path.
    unsafe { call(general::__NR_openat, arguments) }.map(|descriptor| descriptor as i32)
}

/// `close(2)`.
///
/// # Errors
/// As in the man page.
pub fn close(descriptor: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory; descriptors are plain numbers here, owned by nobody.
    unsafe { call(general::__NR_close, [descriptor as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `ioctl(2)`.
///
/// # Errors
/// As the device says.
///
/// # Safety
/// `argument` is what the device expects for `request`, and what it writes there is the caller's to lose.
pub unsafe fn ioctl(descriptor: i32, request: u64, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the caller's contract.
    unsafe {
        call(
            general::__NR_ioctl,
            [descriptor as usize, request as usize, argument, 0, 0, 0],
        )
    }
}

/// `clock_gettime(CLOCK_MONOTONIC)` in nanoseconds; 0 if the kernel has no such clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = [0u64; 2];
    let arguments = [general::CLOCK_MONOTONIC as usize, now.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: `now` has the layout of `struct timespec` (two 64-bit numbers).
    match unsafe { call(general::__NR_clock_gettime, arguments) } {
        Ok(_) => now[0] * 1_000_000_000 + now[1],
        Err(_) => 0,
    }
}
