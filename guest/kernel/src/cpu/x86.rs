//! Instructions that Rust has no name for. Each does what its manual page says and nothing else.
//!
//! Source: Intel SDM vol. 2; AMD APM vol. 3.

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

/// Model-specific registers. Source: Intel SDM vol. 4.
pub(crate) mod msr {
    /// Extended features: SCE (bit 0), NXE (bit 11).
    pub(crate) const EFER: u32 = 0xc000_0080;
    /// Selectors for `syscall` and `sysret`.
    pub(crate) const STAR: u32 = 0xc000_0081;
    /// Where `syscall` goes.
    pub(crate) const LSTAR: u32 = 0xc000_0082;
    /// Flags that `syscall` clears.
    pub(crate) const FMASK: u32 = 0xc000_0084;
    /// FS base.
    pub(crate) const FS_BASE: u32 = 0xc000_0100;
    /// GS base.
    pub(crate) const GS_BASE: u32 = 0xc000_0101;
}

/// The time-stamp counter.
#[inline(always)]
pub(crate) fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: no effect but the result; CR4.TSD is clear.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// EAX, EBX, ECX, EDX of a CPUID leaf.
pub(crate) fn cpuid(leaf: u32) -> [u32; 4] {
    let result = __cpuid_count(leaf, 0);
    [result.eax, result.ebx, result.ecx, result.edx]
}

pub(crate) fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: callers name registers of `msr`, which every x86-64 processor has; reading has no effect.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    };
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// The value must keep what the running kernel relies on, and be canonical where the register holds an address.
pub(crate) unsafe fn wrmsr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's contract.
    unsafe { asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
}

#[inline(always)]
pub(crate) fn outb(port: u16, value: u8) {
    // SAFETY: ports reach devices of the VMM; those used here (serial, lab) take any value and touch no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

pub(crate) fn read_cr2() -> u64 {
    let value;
    // SAFETY: no effect but the result.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

#[inline(always)]
pub(crate) fn read_cr3() -> u64 {
    let value;
    // SAFETY: no effect but the result.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// # Safety
/// `root` is the physical address of a root whose upper half is the kernel's.
#[inline(always)]
pub(crate) unsafe fn write_cr3(root: u64) {
    // SAFETY: the caller's contract: the kernel stays mapped where it is.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

#[inline(always)]
pub(crate) fn invlpg(addr: u64) {
    // SAFETY: only makes the next access walk the page tables.
    unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
}

/// Tells the processor that this is a polling loop.
#[inline(always)]
pub(crate) fn pause() {
    core::hint::spin_loop();
}

/// Stops the vCPU until the VMM resumes it.
#[inline(always)]
pub(crate) fn hlt() {
    // SAFETY: nothing changes but the time; the VMM was told that this is not the end.
    unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
}

/// Stops the vCPU for good.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off, so nothing else runs after it.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
