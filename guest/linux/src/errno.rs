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
    EIO = 5, "Input/output error.";
    EBADF = 9, "Bad file descriptor.";
    ECHILD = 10, "No child processes.";
    EAGAIN = 11, "Resource temporarily unavailable.";
    ENOMEM = 12, "Cannot allocate memory.";
    EFAULT = 14, "Bad address.";
    EBUSY = 16, "Device or resource busy.";
    ENODEV = 19, "No such device.";
    EINVAL = 22, "Invalid argument.";
    EMFILE = 24, "Too many open files.";
    ENOTTY = 25, "Inappropriate ioctl for device.";
    EFBIG = 27, "File too large.";
    ESPIPE = 29, "Illegal seek.";
    ENOSYS = 38, "Function not implemented.";
    EOPNOTSUPP = 95, "Operation not supported.";
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
