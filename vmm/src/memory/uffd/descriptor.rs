//! The userfaultfd descriptor: opened, set up, and the calls that answer a fault.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use faultlab_abi::layout::PAGE_SIZE;
use linux_raw_sys::general::{
    UFFD_API, UFFD_EVENT_PAGEFAULT, UFFD_FEATURE_MINOR_SHMEM, UFFD_PAGEFAULT_FLAG_MINOR, UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING, uffd_msg, uffdio_api, uffdio_continue, uffdio_copy, uffdio_range, uffdio_register,
    uffdio_zeropage,
};
use linux_raw_sys::ioctl::{
    UFFDIO_API, UFFDIO_CONTINUE, UFFDIO_COPY, UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_WAKE, UFFDIO_ZEROPAGE,
};
use rustix::io::Errno;
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use super::Fill;
use crate::memory::area::Area;
use crate::memory::backing::Unavailable;

/// The device that gives a descriptor to whoever may open it. Source: userfaultfd(2).
const DEVICE: &str = "/dev/userfaultfd";
/// `_IO(0xAA, 0)`.
const USERFAULTFD_IOC_NEW: u64 = 0xaa00;

/// What faults are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Missing,
    Minor,
}

/// A fault that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Its page.
    pub(super) page: u64,
    /// Whether the page is in the page cache.
    pub(super) is_minor: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Descriptor {
    fd: OwnedFd,
    mode: Mode,
}

impl Descriptor {
    /// Opens one for faults of user and kernel (KVM's are the kernel's).
    pub(super) fn open(mode: Mode) -> Result<Descriptor, Unavailable> {
        let fd = open()?;
        let descriptor = Descriptor { fd, mode };
        let features = match mode {
            Mode::Missing => 0,
            Mode::Minor => u64::from(UFFD_FEATURE_MINOR_SHMEM),
        };
        let mut api = uffdio_api {
            api: u64::from(UFFD_API),
            features,
            ioctls: 0,
        };
        match descriptor.ioctl(UFFDIO_API, &mut api) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(Unavailable::here(
                "this kernel's userfaultfd lacks minor faults of shared memory",
                "use Linux 5.14 or later",
            )),
            result => Ok(result.map(|()| descriptor)?),
        }
    }

    /// Faults in `area` come here from now on.
    pub(super) fn register(&self, area: &Area) -> io::Result<()> {
        let mode = match self.mode {
            Mode::Missing => UFFDIO_REGISTER_MODE_MISSING,
            Mode::Minor => UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
        };
        let mut register = uffdio_register {
            range: uffdio_range {
                start: area.as_ptr() as u64,
                len: area.bytes(),
            },
            mode: u64::from(mode),
            ioctls: 0,
        };
        self.ioctl(UFFDIO_REGISTER, &mut register)
    }

    /// The next fault, if one waits.
    pub(super) fn read(&self) -> io::Result<Option<Fault>> {
        let mut bytes = [0; size_of::<uffd_msg>()];
        match rustix::io::read(&self.fd, &mut bytes) {
            Ok(read) if read == bytes.len() => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // Another thread was faster.
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // SAFETY: the kernel's record, as long as was read, of integers.
        let message: uffd_msg = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        if u32::from(message.event) != UFFD_EVENT_PAGEFAULT {
            return Ok(None);
        }
        // SAFETY: the member that this event fills; any bits are valid.
        let fault = unsafe { message.arg.pagefault };
        Ok(Some(Fault {
            page: fault.address & !(PAGE_SIZE - 1),
            is_minor: fault.flags & u64::from(UFFD_PAGEFAULT_FLAG_MINOR) != 0,
        }))
    }

    /// Answers a fault. A page that somebody else has just put there is as good.
    ///
    /// Whether that brought the page in: one fault may be told several times, by each that waits for it.
    pub(super) fn answer(&self, fault: Fault, fill: Fill) -> io::Result<bool> {
        loop {
            let result = match (fault.is_minor, fill) {
                (true, _) => self.resume(fault.page),
                (false, Fill::Copy) => self.copy(fault.page),
                (false, Fill::ZeroPage) => self.zero(fault.page),
            };
            match result.as_ref().err().and_then(io::Error::raw_os_error) {
                // The address space is being changed.
                Some(libc::EAGAIN) => {}
                Some(libc::EEXIST) => return self.wake(fault.page).map(|()| false),
                _ => return result.map(|()| true),
            }
        }
    }

    /// Leaves all faults to the kernel, those that wait included.
    pub(super) fn unregister(&self, start: u64, len: u64) -> io::Result<()> {
        self.ioctl(UFFDIO_UNREGISTER, &mut uffdio_range { start, len })
    }

    fn copy(&self, page: u64) -> io::Result<()> {
        static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        let mut copy = uffdio_copy {
            dst: page,
            src: ZEROES.as_ptr() as u64,
            len: PAGE_SIZE,
            mode: 0,
            copy: 0,
        };
        self.ioctl(UFFDIO_COPY, &mut copy)
    }

    fn zero(&self, page: u64) -> io::Result<()> {
        let mut zero = uffdio_zeropage {
            range: range(page),
            mode: 0,
            zeropage: 0,
        };
        self.ioctl(UFFDIO_ZEROPAGE, &mut zero)
    }

    fn resume(&self, page: u64) -> io::Result<()> {
        let mut resume = uffdio_continue {
            range: range(page),
            mode: 0,
            mapped: 0,
        };
        self.ioctl(UFFDIO_CONTINUE, &mut resume)
    }

    fn wake(&self, page: u64) -> io::Result<()> {
        self.ioctl(UFFDIO_WAKE, &mut range(page))
    }

    fn ioctl<T>(&self, request: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: `argument` is the record that `request` takes (the functions above), with addresses of registered areas only.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), u64::from(request), &raw mut *argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn range(page: u64) -> uffdio_range {
    uffdio_range {
        start: page,
        len: PAGE_SIZE,
    }
}

/// By system call, or, where that is forbidden, through the device.
fn open() -> Result<OwnedFd, Unavailable> {
    let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
    // SAFETY: only areas of this module are registered, and their faults answered.
    match unsafe { userfaultfd(flags) } {
        Ok(fd) => Ok(fd),
        Err(Errno::PERM) => open_device().map_err(|_| {
            let remedy = "sudo sysctl vm.unprivileged_userfaultfd=1, or run as root";
            Unavailable::here("no permission to serve the kernel's faults", remedy)
        }),
        Err(Errno::NOSYS) => Err(Unavailable::here(
            "this kernel has no userfaultfd",
            "use one with CONFIG_USERFAULTFD",
        )),
        Err(error) => Err(error.into()),
    }
}

fn open_device() -> io::Result<OwnedFd> {
    let device = File::options().read(true).write(true).open(DEVICE)?;
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: takes flags by value.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
