//! The lab device: commands to the VMM. Layout and meaning: [`faultlab_abi::lab`].

use core::arch::asm;
use core::cell::Cell;

use faultlab_abi::lab::{Command, Hello, MAGIC, kind, reg};
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_kernel::cmdline::Region;
use faultlab_kernel::line;

use crate::global::Global;
use crate::mem::ram;
use crate::report::panic;

/// The device's registers in the fixmap, and the physical address of its scratch page.
#[derive(Clone, Copy)]
struct Lab {
    registers: u64,
    scratch: u64,
}

static LAB: Global<Cell<Option<Lab>>> = Global::new(Cell::new(None));

/// Finds the device where the command line says it is.
pub(crate) fn attach(region: Region) {
    let registers = ram::map_mmio(region.base);
    // SAFETY: mapped just now; reading this register has no effect.
    let magic = unsafe { mmio_read32(registers + reg::MAGIC) };
    if magic != MAGIC {
        panic::boot(&line!["boot: no lab device where faultlab.device= says"]);
    }
    LAB.set(Some(Lab {
        registers,
        scratch: region.base + PAGE_SIZE,
    }));
}

/// Whether there is one.
pub(crate) fn is_present() -> bool {
    LAB.get().is_some()
}

/// Physical address of the page whose every access exits.
pub(crate) fn scratch() -> Option<u64> {
    LAB.get().map(|lab| lab.scratch)
}

/// Has the VMM carry out a command; returns its status, 0 or a negative `errno` (`-ENODEV` without the device).
pub(crate) fn command(kind: u32, args: [u64; 6]) -> i32 {
    const ENODEV: i32 = 19;
    let Some(lab) = LAB.get() else { return -ENODEV };
    let mut command = Command { kind, status: 0, args };
    let doorbell = lab.registers + reg::DOORBELL;
    // SAFETY: the register takes the physical address of a command, which lies on the stack, is complete, and stays
    // until the store returns; the VMM reads it, and memory that it names, and writes its status. The assembly block
    // counts as reading and writing all memory.
    unsafe {
        asm!(
            "mov qword ptr [{doorbell}], {command}",
            doorbell = in(reg) doorbell,
            command = in(reg) ram::phys_of(&raw mut command),
            options(nostack, preserves_flags),
        );
    }
    // SAFETY: a field of a local; the VMM wrote it meanwhile.
    unsafe { (&raw const command.status).read_volatile() }
}

/// The first command of a boot.
pub(crate) fn hello(hello: &Hello) {
    if is_present() && command(kind::HELLO, [ram::phys_of(hello), 0, 0, 0, 0, 0]) != 0 {
        panic::boot(&line![
            "boot: the VMM speaks another version of the lab device than ",
            hello.version
        ]);
    }
}

/// Nanoseconds since 1970-01-01 UTC; 0 without the device.
pub(crate) fn wallclock_ns() -> u64 {
    let Some(lab) = LAB.get() else { return 0 };
    let ns;
    // SAFETY: reading this register has no effect.
    unsafe {
        asm!("mov {}, [{}]", out(reg) ns, in(reg) lab.registers + reg::WALLCLOCK_NS, options(nostack, preserves_flags));
    }
    ns
}

/// Asks for the timer's interrupt in `ns` nanoseconds, instead of what was asked for before.
pub(crate) fn interrupt_in(ns: u64) {
    store(reg::TIMER_NS, ns);
}

/// Lets the host do something else for `ns` nanoseconds, or until the VMM has something to tell.
pub(crate) fn idle(ns: u64) {
    store(reg::IDLE_NS, ns);
}

/// Writes a 64-bit register that names no memory; nothing without the device.
fn store(register: u64, value: u64) {
    let Some(lab) = LAB.get() else { return };
    // SAFETY: those registers take any value, and touch no memory.
    unsafe {
        asm!("mov qword ptr [{}], {}", in(reg) lab.registers + register, in(reg) value, options(nostack, preserves_flags));
    }
}

/// Reads a 32-bit device register with a plain `mov`.
///
/// # Safety
/// `address` is that of a mapped register, and reading it does nothing that the caller does not want.
pub(crate) unsafe fn mmio_read32(address: u64) -> u32 {
    let value;
    // SAFETY: the caller's contract.
    unsafe { asm!("mov {:e}, dword ptr [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value
}

/// Writes a 32-bit device register with a plain `mov`.
///
/// # Safety
/// `address` is that of a mapped register; what the device then reads and writes in memory is what the caller means.
pub(crate) unsafe fn mmio_write32(address: u64, value: u32) {
    // SAFETY: the caller's contract.
    unsafe { asm!("mov dword ptr [{}], {:e}", in(reg) address, in(reg) value, options(nostack, preserves_flags)) };
}
