//! Exceptions that are not about memory. Source: sigaction(2), "The si_code field".

use core::arch::naked_asm;

use faultlab_programs::arena::{Arena, line};

use crate::accesses::jump;
use crate::attempt::{Instruction, attempt};

macro_rules! instructions {
    ($($name:ident: $($line:literal)*;)*) => {
        $(
            #[unsafe(naked)]
            extern "C" fn $name(_: usize) {
                naked_asm!($($line),*, "ret")
            }
        )*
        const ALL: &[(&str, Instruction)] = &[$((stringify!($name), $name)),*];
    };
}

instructions! {
    divide_by_zero: "xor ecx, ecx" "xor edx, edx" "mov eax, 1" "div ecx";
    divide_overflow: "mov ecx, 1" "mov edx, 5" "xor eax, eax" "div ecx";
    undefined: "ud2";
    breakpoint: "int3";
    into_the_breakpoint_vector: "int 3";
    overflow_vector: "int 4";
    halt: "hlt";
    disable_interrupts: "cli";
    port: "in al, 0x60";
    read_control_register: "mov rax, cr0";
    read_model_specific: "mov ecx, 0x10" "rdmsr";
    single_step: "pushfq" "or qword ptr [rsp], 0x100" "popfq" "nop" "nop";
    load_a_bad_segment: "mov eax, 0x18" "mov ds, eax";
    unaligned: "pushfq" "or qword ptr [rsp], 0x40000" "popfq" "mov rax, rsp" "mov rax, [rax + 1]";
    unaligned_vector: "mov rax, rsp" "movaps xmm0, [rax + 1]";
    x87_divide: "fninit" "push 0x37b" "fldcw [rsp]" "fld1" "fldz" "fdivp st(1), st" "fwait";
    x87_invalid: "fninit" "push 0x37e" "fldcw [rsp]" "fldz" "fldz" "fdivp st(1), st" "fwait";
    x87_stack: "fninit" "push 0x37e" "fldcw [rsp]" "fstp st(0)" "fwait";
    x87_inexact: "fninit" "push 0x35f" "fldcw [rsp]" "fldpi" "push 0" "fstp dword ptr [rsp]" "fwait";
    simd_divide: "push 0x1d80" "ldmxcsr [rsp]" "xorps xmm0, xmm0" "mov eax, 0x3f800000" "movd xmm1, eax" "divss xmm1, xmm0";
    simd_invalid: "push 0x1f00" "ldmxcsr [rsp]" "xorps xmm0, xmm0" "divss xmm0, xmm0";
    simd_overflow: "push 0x1b80" "ldmxcsr [rsp]" "mov eax, 0x7f000000" "movd xmm1, eax" "mulss xmm1, xmm1";
    simd_underflow: "push 0x1780" "ldmxcsr [rsp]" "mov eax, 0x00800001" "movd xmm1, eax" "mulss xmm1, xmm1";
    simd_inexact: "push 0x0f80" "ldmxcsr [rsp]" "mov eax, 0x3f800000" "movd xmm1, eax" "mov eax, 0x40400000" "movd xmm0, eax" "divss xmm1, xmm0";
}

pub(crate) fn show(_arena: &Arena) {
    for (case, instruction) in ALL {
        line("signal", case, attempt(*instruction, 0));
    }
    line("signal", "jump to no canonical address", attempt(jump, 1 << 62));
}
