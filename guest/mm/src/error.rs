//! What can go wrong, as values. The numbers of Linux's `errno` appear in one function.

/// Why a memory-management call was refused. Names and meanings are those of Linux's `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Error {
    /// Operation not permitted.
    Eperm = 1,
    /// No such object.
    Enoent = 2,
    /// Whose it was is gone.
    Esrch = 3,
    /// Interrupted by a signal.
    Eintr = 4,
    /// The disk failed.
    Eio = 5,
    /// Nothing there: past the end, or no data.
    Enxio = 6,
    /// Would have to wait.
    Eagain = 11,
    /// Out of memory, address space or mappings.
    Enomem = 12,
    /// Permission denied.
    Eacces = 13,
    /// Bad address.
    Efault = 14,
    /// In use.
    Ebusy = 16,
    /// Exists already.
    Eexist = 17,
    /// The object cannot do this.
    Enodev = 19,
    /// Invalid argument.
    Einval = 22,
    /// Beyond the largest file size.
    Efbig = 27,
    /// No space left.
    Enospc = 28,
    /// Not there.
    Enodata = 61,
    /// The object cannot do this in this way.
    Eopnotsupp = 95,
    /// Result does not fit.
    Eoverflow = 75,
    /// Removed meanwhile.
    Eidrm = 43,
}

impl Error {
    /// Linux's number, positive.
    #[inline(always)]
    #[must_use]
    pub const fn errno(self) -> u8 {
        self as u8
    }
}

/// Why a page fault could not be resolved: the signal and `si_code` that Linux sends, or out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// SIGSEGV, `SEGV_MAPERR` (1): nothing is mapped there. Rule B36.
    SegvMaperr,
    /// SIGSEGV, `SEGV_ACCERR` (2): the mapping forbids this access. Rule B36.
    SegvAccerr,
    /// SIGBUS, `BUS_ADRERR` (2): no page can be had there. Rules B36, C7, F28.
    BusAdrerr,
    /// No frame could be had, reclaim included. Rule B45.
    Oom,
    /// It is for a program to resolve: see [`crate::userfaultfd`]. Rule H3.
    Userfault,
    /// A disk works on the page: the access is to be made again when it is done. See [`crate::Memory::take_page_wait`]. Rule F22.
    Retry,
}
