//! `/dev/faultlab`: what a program asks the laboratory for. A program that cannot open it runs on plain Linux and
//! skips what needs it.
//!
//! All calls are `ioctl(fd, NUMBER, argument)` and return 0 or a negative `errno`. What can be mapped (`MAP_SHARED`, without
//! `MAP_FIXED`), at these offsets:
//!
//! | offset | bytes | what it is |
//! |---|---|---|
//! | 0 | one page | every access exits to the VMM ([`crate::layout::LAB_SCRATCH`]) |
//! | [`WINDOW_OFFSET`] + x | up to [`HostInfo::window_bytes`] - x | the lab window from x on ([`crate::layout::WINDOW`]) |
//!
//! The window is memory that the guest's allocator knows nothing of. `mmap` enters all of its pages into the page table at once, as
//! 4 KiB pages, present and writable: a touch never faults in the guest, whatever the host has or has not behind it. Pages beyond
//! the window's end are `EINVAL`, as is the window of a VM that has none.

use core::mem::size_of;

/// Path of the device.
pub const PATH: &str = "/dev/faultlab";

/// Offset for `mmap` at which the lab window begins.
pub const WINDOW_OFFSET: u64 = 1 << 40;

/// Linux's `_IOC(dir, 0xfa, nr, size)`. Source: Linux, include/uapi/asm-generic/ioctl.h.
const fn ioc(dir: u64, nr: u64, size: usize) -> u64 {
    (dir << 30) | ((size as u64) << 16) | (0xfa << 8) | nr
}

/// `_IOW`: the program gives.
const fn iow(nr: u64, size: usize) -> u64 {
    ioc(1, nr, size)
}

/// `_IOR`: the program gets.
const fn ior(nr: u64, size: usize) -> u64 {
    ioc(2, nr, size)
}

/// `_IOWR`: both.
const fn iowr(nr: u64, size: usize) -> u64 {
    ioc(3, nr, size)
}

/// Argument: [`PhaseArgs`]. Waits for the disks, then counters are snapshotted; what follows is measured.
pub const PHASE_BEGIN: u64 = iow(1, size_of::<PhaseArgs>());
/// Argument: the same [`PhaseArgs`], with [`PhaseArgs::count`] set to what was really provoked.
/// Waits for the disks, so that what the phase had them do is in the counters.
pub const PHASE_END: u64 = iow(2, size_of::<PhaseArgs>());
/// Argument: [`Samples`]. Hands over the samples of the phase that ended last.
pub const SAMPLES: u64 = iow(3, size_of::<Samples>());
/// Argument: [`Range`] of present, mapped pages, of memory or of the window, whose host backing is dropped: the next touch of each
/// is a second-level violation. Contents read as zero afterwards, or are what they were where [`host_flag::COLD_KEEPS`] says so.
/// `EFAULT` if a page of it is not present, `EACCES` if the program may not change it as it is (a mapping that is not writable, a private page
/// that is shared until it is written). `EINVAL` unless the guest-physical pages form whole granules of the backing
/// ([`HostInfo::granule_bytes`]), which only the window's are sure to; nothing is dropped then.
pub const COLD: u64 = iow(4, size_of::<Range>());
/// Argument: number of pages (by value). Drops the host backing of at least that many free frames, those that are
/// allocated next once the disks have answered, which is waited for. `ENOMEM` if so many are not free. What the kernel knows about these frames is backed. `EOPNOTSUPP` where the
/// backing's granule is larger than a page: a granule holds frames in use beside free ones.
pub const COLD_FREE: u64 = iow(5, size_of::<u64>());
/// Argument: [`Samples`]. The kernel fills the buffer with the cycles of that many `out` instructions to
/// [`crate::layout::LAB_PIO_PORT`], timed in ring 0 (ring 3 has no right to ports).
pub const PIO_EXITS: u64 = iow(6, size_of::<Samples>());
/// Argument: number of scenarios that follow (by value), for the progress bar.
pub const PLAN: u64 = iow(7, size_of::<u64>());
/// Argument: number of pages (by value). Makes the host back at least that many free frames, those that are allocated next, by
/// touching them (their contents become undefined). Waits for the disks. `ENOMEM` if so many are not free.
pub const WARM_FREE: u64 = iow(8, size_of::<u64>());
/// Argument: [`HostInfo`], filled.
pub const HOST_INFO: u64 = ior(9, size_of::<HostInfo>());
/// Argument: [`Range`] of present, mapped pages, of memory or of the window, that the host is to back, as by a store that changes nothing
/// (`MADV_POPULATE_WRITE`). The second-level tables stay KVM's to fill: a first touch may still be a violation, though one with no
/// host fault behind it. `EFAULT` if a page of it is not present.
pub const WARM: u64 = iow(10, size_of::<Range>());
/// Argument: [`RangeCount`]; its count is set to how many 4 KiB pages of the range the host has backed, that is, mapped in the VMM's
/// own page table (a granule counts with all its pages). Exact, and changes nothing. `EFAULT` if a page of it is not present.
pub const PRESENT: u64 = iowr(11, size_of::<RangeCount>());
/// Argument: [`Range`] of pages of the window. Afterwards the next store to each is logged, and is a write-protection violation where
/// the processor does not log by itself (page-modification logging); [`DIRTY_PAGES`] counts from here. Logging is switched on if
/// it was off. Other pages of the window may become protected, too. `EACCES` as for [`COLD`]. `EOPNOTSUPP` without [`host_flag::DIRTY_LOG`].
pub const WRITE_PROTECT: u64 = iow(12, size_of::<Range>());
/// Argument: [`RangeCount`] of pages of the window; its count is set to how many of them the log shows stored to since they were last
/// write-protected. They may be protected again thereby. `EINVAL` if logging is off.
pub const DIRTY_PAGES: u64 = iowr(13, size_of::<RangeCount>());
/// No argument (0). Switches logging off; nothing if it is.
pub const DIRTY_STOP: u64 = iow(14, 0);
/// Argument: [`Samples`]. The kernel fills the buffer with the cycles of that many `cpuid` instructions (leaf 0), timed in ring 0. KVM
/// answers without the VMM; whether it is an exit at all is for the counters to say.
pub const CPUID_EXITS: u64 = iow(15, size_of::<Samples>());
/// Argument: [`Samples`]. The same for `hlt` with interrupts off, from which the VMM's own thread resumes the guest at once: an exit to
/// user space that nothing is asked of.
pub const HLT_EXITS: u64 = iow(16, size_of::<Samples>());
/// Argument: [`Samples`]. The same for `hlt` after which the vCPU's thread sleeps until another thread of the VMM, told at the exit,
/// wakes it: the exit and two wake-ups of threads.
pub const HLT_WAKES: u64 = iow(17, size_of::<Samples>());
/// Argument: [`SkipArgs`]. A row that was planned will not come, or is not to be trusted.
pub const SKIP: u64 = iow(18, size_of::<SkipArgs>());
/// Argument: bytes (by value), rounded down to a power of two, a page at least. A load that faults on an object's page maps the cached
/// pages of so many bytes around it, too; with a page, none. What Linux has in debugfs as `fault_around_bytes`. `EINVAL` for more than
/// 2 MiB. Holds for all programs until set again; 65,536 at boot.
pub const FAULT_AROUND: u64 = iow(19, size_of::<u64>());

/// Bytes of a scenario's name, NUL-padded.
pub const NAME_BYTES: usize = 32;

/// One phase of measurement: a scenario, and how it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PhaseArgs {
    /// Scenario name, NUL-padded: `warm-touch`, `minor`, ... The name [`EMPTY_PHASE`] calibrates the marks themselves.
    pub scenario: [u8; NAME_BYTES],
    /// Order of the touches, NUL-padded: `seq`, `rand`, `stride:N`, or `none`.
    pub pattern: [u8; NAME_BYTES],
    /// Bytes of the guest's pages in this phase.
    pub page_bytes: u64,
    /// How many faults (touches, exits) the phase provokes.
    pub count: u64,
    /// Frames that the guest kernel must allocate in it, as the program expects.
    pub expect_pgalloc: u64,
    /// Guest page faults expected (`pgfault`).
    pub expect_pgfault: u64,
    /// Of these, with I/O (`pgmajfault`).
    pub expect_pgmajfault: u64,
    /// Pages expected to be written to swap (`pswpout`).
    pub expect_pswpout: u64,
    /// Pages expected to be read from swap (`pswpin`).
    pub expect_pswpin: u64,
    /// Pages without host backing that the phase touches: second-level violations expected.
    pub expect_cold: u64,
    /// Exits to the VMM that the phase provokes on purpose.
    pub expect_exits: u64,
    /// How pages are touched: one of [`access`].
    pub access: u64,
    /// System calls expected, the marks of the phase not counted.
    pub expect_syscalls: u64,
    /// 0: the first or only part of a row; 1: the second part, measured in the same state again. What the two differ by is noise.
    pub half: u64,
}

/// Bytes of a reason, NUL-padded.
pub const REASON_BYTES: usize = 128;

/// Why a row is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SkipArgs {
    /// As in [`PhaseArgs`].
    pub scenario: [u8; NAME_BYTES],
    /// As in [`PhaseArgs`].
    pub pattern: [u8; NAME_BYTES],
    /// As in [`PhaseArgs`].
    pub access: u64,
    /// 0: it cannot be measured here, which is no fault. 1: its state was set, and is not what it should be.
    pub failed: u64,
    /// Why, UTF-8, NUL-padded, one line.
    pub reason: [u8; REASON_BYTES],
}

/// Values of [`PhaseArgs::access`].
pub mod access {
    /// Loads.
    pub const LOAD: u64 = 0;
    /// Stores.
    pub const STORE: u64 = 1;
    /// No page is touched: calls, exits.
    pub const NONE: u64 = 2;
}

/// A count in [`PhaseArgs`] that is not known beforehand, but must be the same for every operation: what is counted must be
/// a multiple of [`PhaseArgs::count`].
pub const SAME_EACH_TIME: u64 = u64::MAX;

/// Name of the phase with nothing in it, from which the VMM learns what the marks themselves cost.
pub const EMPTY_PHASE: &str = "empty";

/// A buffer of samples in the program's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Samples {
    /// Address of `u64`s: time-stamp counter cycles, one a fault.
    pub cycles: u64,
    /// How many; at most 65,536.
    pub count: u64,
}

/// A range of the program's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// First address; page-aligned.
    pub addr: u64,
    /// Bytes; a multiple of the page size.
    pub len: u64,
}

/// A range of the program's memory, and what was counted in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RangeCount {
    /// First address; page-aligned.
    pub addr: u64,
    /// Bytes; a multiple of the page size.
    pub len: u64,
    /// Answer: pages of 4 KiB.
    pub pages: u64,
}

/// How the host backs the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HostInfo {
    /// Name of the backing, NUL-padded: `anon`, `hugetlb-2m`, ...
    pub backing: [u8; NAME_BYTES],
    /// Bytes that the host backs, and drops, as one: 4096, 2 MiB or 1 GiB.
    pub granule_bytes: u64,
    /// Bytes of the lab window; a multiple of the granule, 0 without one.
    pub window_bytes: u64,
    /// Of [`host_flag`].
    pub flags: u64,
}

/// Bits of [`HostInfo::flags`].
pub mod host_flag {
    /// [`super::COLD`] keeps contents (they come back from a file or a page cache).
    pub const COLD_KEEPS: u64 = 1;
    /// [`super::WRITE_PROTECT`] and [`super::DIRTY_PAGES`] work.
    pub const DIRTY_LOG: u64 = 2;
    /// They use the dirty ring of the vCPU, not the bitmap of the memory slot.
    pub const DIRTY_RING: u64 = 4;
    /// [`super::COLD_FREE`] works.
    pub const COLD_FREE: u64 = 8;
}

const _: () = {
    assert!(size_of::<RangeCount>() == 24 && size_of::<HostInfo>() == 56);
    assert!(size_of::<PhaseArgs>() == 160 && size_of::<SkipArgs>() == 208);
    assert!(size_of::<Samples>() == 16 && size_of::<Range>() == 16);
};
