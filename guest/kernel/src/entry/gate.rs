//! How system calls enter on this host.
//!
//! Where ring 0 is native, `syscall` goes to ring 0 at the address in LSTAR. Where KVM interprets ring 0 on a processor
//! without hardware virtualization, `syscall` goes to that address *without leaving ring 3*. So at boot ring 3 executes
//! one `syscall`, with LSTAR pointing at a page that ring 3 may execute and that begins with `ud2`; the invalid-opcode
//! handler then sees from CS in which ring it arrived (ring3.rs). If that was ring 3, LSTAR keeps pointing there and the handler
//! takes system calls (mod.rs): the same program runs on both kinds of host.
//!
//! The gate page lies in the kernel's half, mapped for ring 3 on every level like Linux's vsyscall page, so that all
//! address spaces share it.
//!
//! Source: Intel SDM vol. 2, `SYSCALL`; vol. 3, 5.8.8.

use crate::cpu::ring3::{self, GATE};
use crate::cpu::segments::{KERNEL_CS, USER32_CS};
use crate::cpu::x86::{self, msr};
use crate::entry;

/// Finds out where `syscall` goes and lets system calls in. Returns [`faultlab_abi::lab::Hello::syscall_gate`]: 0 if it
/// enters ring 0, 1 if it stays in ring 3.
pub(crate) fn install() -> u32 {
    const SCE: u64 = 1;
    // IF, DF, TF, AC, NT: off in ring 0.
    const CLEARED: u64 = 0x200 | 0x400 | 0x100 | 0x4_0000 | 0x4000;
    // SAFETY: these registers matter only to `syscall` and `sysret`; the selectors are those of the GDT, and LSTAR
    // points at code that is ready for it: the gate, whose `ud2` ring3.rs expects.
    unsafe {
        x86::wrmsr(msr::EFER, x86::rdmsr(msr::EFER) | SCE);
        x86::wrmsr(msr::STAR, USER32_CS << 48 | KERNEL_CS << 32);
        x86::wrmsr(msr::FMASK, CLEARED);
        x86::wrmsr(msr::LSTAR, GATE);
    }
    if ring3::syscall() == 3 {
        return 1;
    }
    // SAFETY: that code is an entry for `syscall`.
    unsafe { x86::wrmsr(msr::LSTAR, entry::syscall_entry()) };
    0
}
