//! How system calls enter on this host.
//!
//! Where ring 0 is native, `syscall` goes to ring 0 at the address in LSTAR. Where KVM interprets ring 0 on a processor
//! without hardware virtualization, `syscall` goes to that address *without leaving ring 3*. So at boot ring 3 executes
//! one `syscall`, with LSTAR pointing at a page that ring 3 may execute and that begins with `ud2`; the invalid-opcode
//! handler then sees from CS in which ring it arrived. If that was ring 3, LSTAR keeps pointing there and the handler
//! takes system calls (entry.rs): the same program runs on both kinds of host.
//!
//! The gate page lies in the kernel's half, mapped for ring 3 on every level like Linux's vsyscall page, so that all
//! address spaces share it.
//!
//! Source: Intel SDM vol. 2, `SYSCALL`; vol. 3, 5.8.8.

use core::arch::{asm, global_asm};

use crate::cpu::entry;
use crate::cpu::interrupts::{self, vector};
use crate::cpu::segments::{self, KERNEL_CS, USER_CS, USER_DS, USER32_CS};
use crate::cpu::x86::{self, msr};
use crate::mem::ram;

/// Address of the gate.
pub(crate) const GATE: u64 = ram::FIXMAP;
/// Offset of the probe's code in the gate page.
const PROBE_OFFSET: u64 = 16;

global_asm!(
    r#"
    .section .user_text, "ax"
    .balign 4096
    .global user_gate, user_probe
user_gate:
    ud2
    .balign 16
user_probe:
    syscall
    ud2
# Instructions for ring3.rs, 16 bytes each.
    .balign 16, 0xcc
    cpuid
    ud2
    .balign 16, 0xcc
    xgetbv
    ud2
    .balign 16, 0xcc
    xsave64 [rdi]
    ud2
    .balign 16, 0xcc
    xrstor64 [rdi]
    ud2

    .text
# fn() -> u64: enters ring 3 at the probe, and returns CS as the invalid-opcode handler found it.
    .global probe_syscall
probe_syscall:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rip + probe_rsp], rsp
    # Ring 3 uses no stack; if `syscall` enters ring 0 it is still the stack pointer then, and the exception's frame
    # goes there.
    push {user_ds}
    lea rax, [rsp - 256]
    and rax, -16
    push rax
    push 2
    push {user_cs}
    push {probe}
    iretq

# The invalid-opcode handler during the probe.
    .global probe_invalid_opcode
probe_invalid_opcode:
    mov rax, [rsp + 8]
    mov rsp, [rip + probe_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .section .bss.probe_rsp, "aw", @nobits
    .balign 8
probe_rsp:
    .zero 8
    "#,
    user_ds = const USER_DS,
    user_cs = const USER_CS,
    probe = const (GATE + PROBE_OFFSET).cast_signed(),
);

unsafe extern "C" {
    fn probe_invalid_opcode();
}

/// Finds out where `syscall` goes and lets system calls in. Returns [`faultlab_abi::lab::Hello::syscall_gate`]: 0 if it
/// enters ring 0, 1 if it stays in ring 3.
pub(crate) fn install() -> u32 {
    const SCE: u64 = 1;
    // IF, DF, TF, AC, NT: off in ring 0.
    const CLEARED: u64 = 0x200 | 0x400 | 0x100 | 0x4_0000 | 0x4000;
    // SAFETY: these registers matter only to `syscall` and `sysret`; the selectors are those of the GDT, and LSTAR
    // points at code that is ready for it: the gate, whose `ud2` the probe's handler expects.
    unsafe {
        x86::wrmsr(msr::EFER, x86::rdmsr(msr::EFER) | SCE);
        x86::wrmsr(msr::STAR, USER32_CS << 48 | KERNEL_CS << 32);
        x86::wrmsr(msr::FMASK, CLEARED);
        x86::wrmsr(msr::LSTAR, GATE);
    }
    interrupts::set(vector::INVALID_OPCODE, probe_invalid_opcode as *const () as u64);
    let cs: u64;
    let saved = segments::use_probe_stack();
    // SAFETY: `probe_syscall` keeps to the calling convention: it comes back through the handler set above with the
    // callee-saved registers and the stack as they were, and the exception's frame is on the probe's stack.
    unsafe { asm!("call probe_syscall", out("rax") cs, clobber_abi("C")) };
    segments::restore_stacks(saved);
    interrupts::set(
        vector::INVALID_OPCODE,
        entry::vectors()[vector::INVALID_OPCODE as usize],
    );
    if cs & 3 == 3 {
        return 1;
    }
    // SAFETY: that code is an entry for `syscall`.
    unsafe { x86::wrmsr(msr::LSTAR, entry::syscall_entry()) };
    0
}
