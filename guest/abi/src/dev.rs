//! `/dev/faultlab`: what a program asks the laboratory for. A program that cannot open it runs on plain Linux and
//! skips what needs it.
//!
//! All calls are `ioctl(fd, NUMBER, argument)` and return 0 or a negative `errno`. `mmap` of the device (one page,
//! offset 0, `MAP_SHARED`) gives a page whose every access exits to the VMM ([`crate::layout::LAB_SCRATCH`]).

use core::mem::size_of;

/// Path of the device.
pub const PATH: &str = "/dev/faultlab";

/// Linux's `_IOW(0xfa, nr, size)`. Source: Linux, include/uapi/asm-generic/ioctl.h.
const fn iow(nr: u64, size: usize) -> u64 {
    (1 << 30) | ((size as u64) << 16) | (0xfa << 8) | nr
}

/// Argument: [`PhaseArgs`]. Counters are snapshotted; what follows is measured.
pub const PHASE_BEGIN: u64 = iow(1, size_of::<PhaseArgs>());
/// Argument: the same [`PhaseArgs`], with [`PhaseArgs::count`] set to what was really provoked.
pub const PHASE_END: u64 = iow(2, size_of::<PhaseArgs>());
/// Argument: [`Samples`]. Hands over the samples of the phase that ended last.
pub const SAMPLES: u64 = iow(3, size_of::<Samples>());
/// Argument: [`Range`] of present, mapped pages whose host backing is dropped (contents read as zero afterwards).
/// `EFAULT` if a page of it is not present.
pub const COLD: u64 = iow(4, size_of::<Range>());
/// Argument: number of pages (by value). Drops the host backing of at least that many free frames, those that are
/// allocated next. `ENOMEM` if so many are not free. What the kernel knows about these frames is backed.
pub const COLD_FREE: u64 = iow(5, size_of::<u64>());
/// Argument: [`Samples`]. The kernel fills the buffer with the cycles of that many `out` instructions to
/// [`crate::layout::LAB_PIO_PORT`], timed in ring 0 (ring 3 has no right to ports).
pub const PIO_EXITS: u64 = iow(6, size_of::<Samples>());
/// Argument: number of scenarios that follow (by value), for the progress bar.
pub const PLAN: u64 = iow(7, size_of::<u64>());
/// Argument: number of pages (by value). Makes the host back at least that many free frames, those that are allocated next, by
/// touching them (their contents become undefined). `ENOMEM` if so many are not free.
pub const WARM_FREE: u64 = iow(8, size_of::<u64>());

/// Bytes of a scenario's name, NUL-padded.
pub const NAME_BYTES: usize = 32;

/// One phase of measurement: a scenario, and how it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PhaseArgs {
    /// Scenario name, NUL-padded: `warm-touch`, `minor`, ... The name [`EMPTY_PHASE`] calibrates the marks themselves.
    pub scenario: [u8; NAME_BYTES],
    /// Access pattern, NUL-padded: `seq`.
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
    /// 1: touches are stores; 0: loads.
    pub stores: u64,
}

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

const _: () = {
    assert!(size_of::<PhaseArgs>() == 144);
    assert!(size_of::<Samples>() == 16 && size_of::<Range>() == 16);
};
