//! Instructions that ring 0 does not have where it is interpreted, executed in ring 3 on the kernel's behalf: one at a time, in the gate
//! page, with nothing of a program's but its vector registers.
//!
//! Each is followed by `ud2`, which comes back: for that time invalid opcodes lead here, and entries from ring 3 use another stack.
//! A program that jumps there executes them with what is its own, and the `ud2` is a SIGILL to it.
//!
//! Source: Intel SDM vol. 2, `CPUID`, `XGETBV`, `XSAVE`, `XRSTOR`.

use core::arch::{asm, global_asm};
use core::cell::Cell;

use crate::cpu::interrupts::{self, vector};
use crate::cpu::segments::{self, USER_CS, USER_DS};
use crate::global::Global;
use crate::mem::ram;

/// Instructions, by their offset in the gate page.
#[derive(Clone, Copy)]
enum Instruction {
    Syscall = 16,
    Cpuid = 32,
    Xgetbv = 48,
    Xsave = 64,
    Xrstor = 80,
}

/// Address of the gate page, which ring 3 may execute.
pub(crate) const GATE: u64 = ram::FIXMAP;

global_asm!(
    r#"
    .section .user_text, "ax"
    .balign 4096
# What system calls enter by where `syscall` stays in ring 3 (entry/gate.rs).
    .global user_gate
user_gate:
    ud2
    .balign 16, 0xcc
    syscall
    ud2
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
# Enters ring 3 at RSI with the other registers as they are. What the instruction left in RBX comes back in R8, and in R9 the CS in which
# the `ud2` found itself.
    .global enter_ring_3
enter_ring_3:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rip + ring_3_rsp], rsp
    # Ring 3 uses no stack; if `syscall` enters ring 0, this is still the stack pointer there, and the exception's frame goes to it.
    lea r8, [rsp - 256]
    and r8, -16
    push {user_ds}
    push r8
    push 2
    push {user_cs}
    push rsi
    iretq

# The invalid-opcode handler meanwhile.
    .global back_from_ring_3
back_from_ring_3:
    mov r8, rbx
    mov r9, [rsp + 8]
    mov rsp, [rip + ring_3_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .section .bss.ring_3_rsp, "aw", @nobits
    .balign 8
ring_3_rsp:
    .zero 8
    "#,
    user_ds = const USER_DS,
    user_cs = const USER_CS,
);

unsafe extern "C" {
    fn back_from_ring_3();
}

/// Whether one runs: then no exception is a program's.
static RUNS: Global<Cell<bool>> = Global::new(Cell::new(false));

pub(crate) fn runs() -> bool {
    RUNS.get()
}

/// The ring to which `syscall` leads: 0, or 3 where it does not leave it. LSTAR must be [`GATE`].
pub(crate) fn syscall() -> u64 {
    // SAFETY: in whichever ring, the `ud2` at the gate is next, and the exception's frame finds room on this stack or the other one.
    unsafe { run(Instruction::Syscall, 0, [0; 3]) }.1
}

/// EAX, EBX, ECX, EDX of a leaf and subleaf, as programs see them.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    // SAFETY: changes these four registers only.
    unsafe { run(Instruction::Cpuid, 0, [leaf, subleaf, 0]) }.0
}

/// XCR0. The processor must have it (CPUID.1:ECX.OSXSAVE).
pub(crate) fn xcr0() -> u64 {
    // SAFETY: as for `cpuid`.
    let [low, _, _, high] = unsafe { run(Instruction::Xgetbv, 0, [0; 3]) }.0;
    u64::from(high) << 32 | u64::from(low)
}

/// Stores parts of the vector state.
///
/// # Safety
/// Ring 3 may access an area of the right size at `addr`, aligned to 64, which nobody refers to.
pub(crate) unsafe fn xsave(addr: u64, features: u64) {
    // SAFETY: the caller's contract.
    unsafe { run(Instruction::Xsave, addr, [features as u32, 0, (features >> 32) as u32]) };
}

/// Loads parts of the vector state.
///
/// # Safety
/// As for [`xsave`], and the area holds what the processor accepts.
pub(crate) unsafe fn xrstor(addr: u64, features: u64) {
    // SAFETY: the caller's contract.
    unsafe { run(Instruction::Xrstor, addr, [features as u32, 0, (features >> 32) as u32]) };
}

/// Executes an instruction with an address and EAX, ECX, EDX; what EAX, EBX, ECX, EDX are then, and the ring in which it ended.
///
/// # Safety
/// What it stores to is the caller's, and it does not fault.
unsafe fn run(instruction: Instruction, rdi: u64, [mut eax, mut ecx, mut edx]: [u32; 3]) -> ([u32; 4], u64) {
    let (ebx, cs): (u32, u64);
    RUNS.set(true);
    let before = interrupts::replace(vector::INVALID_OPCODE, back_from_ring_3 as *const () as u64);
    let saved = segments::use_probe_stack();
    // SAFETY: `enter_ring_3` keeps to the calling convention, with its results where they are taken: it comes back through the handler set
    // above, with the callee-saved registers and the stack as they were; the exception's frame is on the other stack.
    unsafe {
        asm!(
            "call enter_ring_3",
            in("rsi") GATE + instruction as u64,
            in("rdi") rdi,
            inout("eax") eax,
            inout("ecx") ecx,
            inout("edx") edx,
            lateout("r8d") ebx,
            lateout("r9") cs,
            clobber_abi("C"),
        );
    }
    segments::restore_stacks(saved);
    interrupts::restore(vector::INVALID_OPCODE, before);
    RUNS.set(false);
    ([eax, ebx, ecx, edx], cs & 3)
}
