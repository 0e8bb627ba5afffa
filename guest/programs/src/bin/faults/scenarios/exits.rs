//! Exits of the vCPU, without memory behind them.

use faultlab_abi::dev::{self, PhaseArgs};
use faultlab_programs::tsc;

use crate::phase::{Failure, Phases};

/// Exits besides the halts: the kernel announces them, and takes back what is left.
const HALT_MARKS: usize = 2;

pub(super) fn pio(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    phases.time_in_lab(from_ring_0(exits, exits), "ioctl PIO_EXITS", dev::PIO_EXITS)
}

pub(super) fn cpuid(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    // Whether the processor or KVM answers, the VMM does not.
    phases.time_in_lab(from_ring_0(exits, 0), "ioctl CPUID_EXITS", dev::CPUID_EXITS)
}

pub(super) fn halt(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    let expected = from_ring_0(exits, exits + HALT_MARKS);
    phases.time_in_lab(expected, "ioctl HLT_EXITS", dev::HLT_EXITS)
}

pub(super) fn halt_wake(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    let expected = from_ring_0(exits, exits + HALT_MARKS);
    phases.time_in_lab(expected, "ioctl HLT_WAKES", dev::HLT_WAKES)
}

pub(super) fn mmio(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    let scratch = phases
        .lab()?
        .scratch()
        .map_err(|errno| Failure::Call("mmap of /dev/faultlab", errno))?;
    // SAFETY: mapped for good, and page-aligned. The first load may fault in the mapping.
    let load = || unsafe { tsc::load_u32(scratch) };
    load();
    let expected = PhaseArgs {
        expect_syscalls: 0,
        ..from_ring_0(exits, exits)
    };
    phases.time(expected, |_| load())
}

/// One call, which provokes all of them, `exits` to the VMM.
fn from_ring_0(count: usize, exits: usize) -> PhaseArgs {
    PhaseArgs {
        count: count as u64,
        expect_exits: exits as u64,
        expect_syscalls: 1,
        ..PhaseArgs::default()
    }
}
