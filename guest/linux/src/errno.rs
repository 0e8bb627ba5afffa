//! Error numbers. Source: Linux, include/uapi/asm-generic/errno-base.h, errno.h; errno(3).

/// An error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(
                #[doc = $text]
                pub const $name: Self = Self($number);
            )*
        }
    };
}

errnos! {
    EPERM = 1, "Operation not permitted.";
    ENOENT = 2, "No such file or directory.";
    ESRCH = 3, "No such process.";
    EINTR = 4, "Interrupted system call.";
    EIO = 5, "Input/output error.";
    ENXIO = 6, "No such device or address.";
    E2BIG = 7, "Argument list too long.";
    ENOEXEC = 8, "Exec format error.";
    EBADF = 9, "Bad file descriptor.";
    ECHILD = 10, "No child processes.";
    EAGAIN = 11, "Resource temporarily unavailable.";
    ENOMEM = 12, "Cannot allocate memory.";
    EACCES = 13, "Permission denied.";
    EFAULT = 14, "Bad address.";
    EBUSY = 16, "Device or resource busy.";
    EEXIST = 17, "File exists.";
    EXDEV = 18, "Invalid cross-device link.";
    ENODEV = 19, "No such device.";
    ENOTDIR = 20, "Not a directory.";
    EISDIR = 21, "Is a directory.";
    EINVAL = 22, "Invalid argument.";
    ENFILE = 23, "Too many open files in system.";
    EMFILE = 24, "Too many open files.";
    ENOTTY = 25, "Inappropriate ioctl for device.";
    EFBIG = 27, "File too large.";
    ENOSPC = 28, "No space left on device.";
    ESPIPE = 29, "Illegal seek.";
    EROFS = 30, "Read-only file system.";
    EPIPE = 32, "Broken pipe.";
    ERANGE = 34, "Numerical result out of range.";
    EDEADLK = 35, "Resource deadlock avoided.";
    ENAMETOOLONG = 36, "File name too long.";
    ENOLCK = 37, "No locks available.";
    ENOSYS = 38, "Function not implemented.";
    ENOTEMPTY = 39, "Directory not empty.";
    ELOOP = 40, "Too many levels of symbolic links.";
    ENODATA = 61, "No data available.";
    EOVERFLOW = 75, "Value too large for defined data type.";
    ETIMEDOUT = 110, "Connection timed out.";
    EOPNOTSUPP = 95, "Operation not supported.";
    XFSZ = 511, "Beyond `RLIMIT_FSIZE`: the program gets `EFBIG`, and a `SIGXFSZ`. Programs never see this number.";
    RESTART = 512, "The call may have to wait, and is made again where it can. Programs never see it. Source: Linux, include/linux/errno.h.";
}

impl Errno {
    /// From a negative error number, as devices report it.
    #[must_use]
    pub fn of_status(status: i32) -> Self {
        Self(u16::try_from(status.unsigned_abs()).unwrap_or(Self::EIO.0))
    }
}

impl From<faultlab_mm::Error> for Errno {
    #[inline(always)]
    fn from(error: faultlab_mm::Error) -> Self {
        Self(u16::from(error.errno()))
    }
}

impl From<crate::cred::Refused> for Errno {
    fn from(refused: crate::cred::Refused) -> Self {
        match refused {
            crate::cred::Refused::Invalid => Self::EINVAL,
            crate::cred::Refused::NotPermitted => Self::EPERM,
        }
    }
}
