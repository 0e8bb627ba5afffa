//! The ways into ring 0 and out of it, in assembly.
//!
//! | module | what it is |
//! |---|---|
//! | this | the entries, and the ways back |
//! | [`trap`] | page faults and other exceptions, after this saved the registers |
//! | [`gate`] | how system calls enter on this host |
//!
//! Two frames, one inside the other, on the one kernel stack (the TSS points to its top):
//!
//! ```text
//! SS RSP RFLAGS CS RIP                     pushed by the processor
//! RSI                                      in the error code's place
//! RDI RAX RCX RDX R8 R9 R10 R11            -> VolatileRegs: what a Rust function may overwrite
//! RBX RBP R12 R13 R14 R15                  -> PtRegs: all, saved only when somebody has to see or change them
//! ```
//!
//! A page fault and a system call are the hot paths: they save the first frame, call Rust, and return. Rust answers 1
//! when the process has to be killed, copied or switched; then the rest is saved, and a second function does that.
//!
//! `swapgs` is not used: one vCPU needs no per-CPU pointer.
//!
//! Source: Intel SDM vol. 3, 6.12.1, 6.14; `SYSCALL`, `SYSRET`, `IRET` in vol. 2.

use core::arch::{asm, global_asm};
use core::mem::offset_of;

use faultlab_abi::trace::{FaultRecord, STAMPS, level};

pub(crate) mod gate;
pub(crate) mod trap;

use crate::cpu::interrupts::{self, VECTORS, vector};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::cpu::ring3::GATE;
use crate::cpu::segments::{USER_CS, USER_DS};
use crate::cpu::x86::{self, msr};
use crate::mem::ram;
use crate::report::{strace, trace};
use crate::syscall;

global_asm!(
    r#"
    .macro SAVE_VOLATILE
    push rdi
    push rax
    push rcx
    push rdx
    push r8
    push r9
    push r10
    push r11
    .endm
    .macro SAVE_REST
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    .endm
    .macro SAVE_NATIVE_SYSCALL
    mov [rip + program_rsp], rsp
    mov rsp, {stack_top}
    push {user_ds}
    push qword ptr [rip + program_rsp]
    push r11
    push {user_cs}
    push rcx
    push rsi
    SAVE_VOLATILE
    .endm
    .macro SAVE_GATE_SYSCALL
    cmp qword ptr [rsp], {gate}
    jne exception_6
    push rsi
    SAVE_VOLATILE
    mov [rsp + {rip}], rcx
    and r11d, {user_flags}
    or r11d, 0x200
    mov [rsp + {rflags}], r11
    .endm
    .macro RESTORE_VOLATILE
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdx
    pop rcx
    pop rax
    pop rdi
    pop rsi
    .endm

    .text
# The hot path, once a level of tracing (trace.rs). 14 words are on the stack at the call, so it is aligned. The last word
# of the cursor's 16 carries when a chunk of records is full.
    .macro PAGE_FAULT_ENTRY name, handler, level
    .global \name
\name:
    xchg [rsp], rsi
    SAVE_VOLATILE
    .if \level
    mov rcx, [rip + {cursor}]
    rdtsc
    mov [rcx], eax
    .endif
    mov rdi, cr2
    cld
    test byte ptr [rsp + {cs}], 3
    jz page_fault_in_ring_0
    .if \level == {timeline}
    mov [rcx + {entry_high}], edx
    mov [rcx + {address}], rdi
    mov rax, [rsp + {rip}]
    mov [rcx + {record_rip}], rax
    mov [rcx + {error_code}], esi
    mov eax, [rip + {pid}]
    mov [rcx + {record_pid}], eax
    .endif
    call \handler
    test eax, eax
    jnz page_fault_slow
    .if \level
    rdtsc
    mov rcx, [rip + {cursor}]
    mov [rcx + {exit}], eax
    add word ptr [rip + {cursor}], {record_bytes}
    jc 3f
2:
    .endif
    RESTORE_VOLATILE
    iretq
    .if \level
3:
    call {next_chunk}
    jmp 2b
    .endif
    .endm
    PAGE_FAULT_ENTRY page_fault_entry, {page_fault}, 0
    PAGE_FAULT_ENTRY page_fault_entry_stages, {page_fault_stages}, {stages}
    PAGE_FAULT_ENTRY page_fault_entry_timeline, {page_fault_timeline}, {timeline}

    .global page_fault_slow
page_fault_slow:
    SAVE_REST
    mov rdi, rsp
    call {page_fault_slow}
    .global return_to_program
return_to_program:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    RESTORE_VOLATILE
    .global return_to_program_iretq
return_to_program_iretq:
    iretq

    .global page_fault_in_ring_0
page_fault_in_ring_0:
    SAVE_REST
    mov edi, 14
    mov rdx, rsp
    call {exception}
    jmp return_to_program

# #UD: where ring 0 is interpreted, system calls arrive here (gate.rs). RCX and R11 hold the program's RIP and RFLAGS
# as `syscall` left them, or anything, if the program jumped to the gate itself: flags that are not a program's to
# choose are cleared, interrupts are on, and an impossible RIP faults at the `iretq`, for which trap.rs has a fix-up.
    .global invalid_opcode_entry
invalid_opcode_entry:
    SAVE_GATE_SYSCALL
    mov rdi, rsp
    cld
    call {system_call}
    test eax, eax
    jnz system_call_slow
    RESTORE_VOLATILE
    .global gate_iretq
gate_iretq:
    iretq

    .global system_call_slow
system_call_slow:
    SAVE_REST
    mov rdi, rsp
    call {system_call_slow}
    jmp return_to_program

# `syscall` where ring 0 is native. SFMASK cleared IF, DF, TF and AC.
    .global native_syscall_entry
native_syscall_entry:
    SAVE_NATIVE_SYSCALL
    mov rdi, rsp
    call {system_call}
    test eax, eax
    jnz system_call_slow
    RESTORE_VOLATILE
    # `sysretq` faults in ring 0, on the program's stack, if RIP is not canonical: only the lower half may take it.
    mov rcx, [rsp]
    bt rcx, 47
    jc return_to_program_iretq
    add rsp, 16
    pop r11
    pop rsp
    sysretq

# Both entries of system calls where each is told (strace.rs).
    .global invalid_opcode_entry_traced
invalid_opcode_entry_traced:
    SAVE_GATE_SYSCALL
    jmp 2f
    .global native_syscall_entry_traced
native_syscall_entry_traced:
    SAVE_NATIVE_SYSCALL
2:
    SAVE_REST
    mov rdi, rsp
    cld
    call {system_call_traced}
    jmp return_to_program

# All other exceptions: vector and error code are exchanged with the registers that carry them to Rust.
    .global exception_common
exception_common:
    xchg [rsp + 8], rsi
    xchg [rsp], rdi
    push rax
    push rcx
    push rdx
    push r8
    push r9
    push r10
    push r11
    SAVE_REST
    mov rdx, rsp
    cld
    call {exception}
    jmp return_to_program

    .macro EXCEPTION number
    .global exception_\number
exception_\number:
    push 0
    push \number
    jmp exception_common
    .endm
    .macro EXCEPTION_WITH_ERROR_CODE number
    .global exception_\number
exception_\number:
    push \number
    jmp exception_common
    .endm
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31, 32
    EXCEPTION \number
    .endr
    .irp number, 8, 10, 11, 12, 13, 17, 21, 29, 30
    EXCEPTION_WITH_ERROR_CODE \number
    .endr

    .section .rodata.vectors, "a"
    .balign 8
    .global exception_vectors
exception_vectors:
    .quad exception_0, exception_1, exception_2, exception_3, exception_4, exception_5, invalid_opcode_entry
    .quad exception_7, exception_8, exception_9, exception_10, exception_11, exception_12, exception_13
    .quad page_fault_entry, exception_15, exception_16, exception_17, exception_18, exception_19, exception_20
    .quad exception_21, exception_22, exception_23, exception_24, exception_25, exception_26, exception_27
    .quad exception_28, exception_29, exception_30, exception_31, exception_32

    .section .bss.program_rsp, "aw", @nobits
    .balign 8
program_rsp:
    .zero 8
    "#,
    rip = const offset_of!(VolatileRegs, rip),
    cs = const offset_of!(VolatileRegs, cs),
    rflags = const offset_of!(VolatileRegs, rflags),
    gate = const GATE.cast_signed(),
    user_flags = const USER_FLAGS,
    stack_top = const ram::STACK_TOP.cast_signed(),
    user_ds = const USER_DS,
    user_cs = const USER_CS,
    page_fault = sym trap::page_fault::<{ level::OFF }>,
    page_fault_stages = sym trap::page_fault::<{ level::STAGES }>,
    page_fault_timeline = sym trap::page_fault::<{ level::TIMELINE }>,
    stages = const level::STAGES,
    timeline = const level::TIMELINE,
    cursor = sym trace::CURSOR,
    pid = sym trace::PID,
    next_chunk = sym trace::next_chunk,
    record_bytes = const size_of::<FaultRecord>(),
    exit = const (STAMPS - 1) * 4,
    entry_high = const offset_of!(FaultRecord, entry_high),
    address = const offset_of!(FaultRecord, address),
    record_rip = const offset_of!(FaultRecord, rip),
    error_code = const offset_of!(FaultRecord, error_code),
    record_pid = const offset_of!(FaultRecord, pid),
    page_fault_slow = sym trap::page_fault_slow,
    exception = sym trap::exception,
    system_call = sym syscall::system_call,
    system_call_slow = sym syscall::system_call_slow,
    system_call_traced = sym strace::system_call,
);

/// RFLAGS bits that are a program's own: CF PF AF ZF SF TF IF DF OF AC ID.
const USER_FLAGS: u32 = 0x24_0fd5;

unsafe extern "C" {
    safe static exception_vectors: [u64; VECTORS];
    safe static return_to_program_iretq: [u8; 0];
    safe static gate_iretq: [u8; 0];
    fn native_syscall_entry();
    fn native_syscall_entry_traced();
    fn invalid_opcode_entry_traced();
    fn page_fault_entry();
    fn page_fault_entry_stages();
    fn page_fault_entry_timeline();
}

/// Leads page faults to the entry that stamps what `trace_level` asks for.
pub(crate) fn trace_faults(trace_level: u8) {
    let entry = match trace_level {
        level::STAGES => page_fault_entry_stages,
        level::TIMELINE => page_fault_entry_timeline,
        _ => page_fault_entry,
    };
    interrupts::set(vector::PAGE_FAULT, entry as *const () as u64);
}

/// Leads system calls to the entries that tell each (strace.rs). `syscall_gate` is what [`gate::install`] returned.
pub(crate) fn tell_calls(syscall_gate: u32) {
    interrupts::set(vector::INVALID_OPCODE, invalid_opcode_entry_traced as *const () as u64);
    if syscall_gate == 0 {
        // SAFETY: an entry like the one that was there.
        unsafe { x86::wrmsr(msr::LSTAR, native_syscall_entry_traced as *const () as u64) };
    }
}

/// Where the exception vectors lead.
pub(crate) fn vectors() -> &'static [u64; VECTORS] {
    &exception_vectors
}

/// Where `syscall` leads on hosts with a native ring 0.
fn syscall_entry() -> u64 {
    native_syscall_entry as *const () as u64
}

/// Whether this is the address of an `iretq` that loads values chosen by a program, and so may fault on their account.
pub(crate) fn is_return_to_program(rip: u64) -> bool {
    rip == (&raw const return_to_program_iretq) as u64 || rip == (&raw const gate_iretq) as u64
}

/// Leaves ring 0 for a program.
pub(crate) fn enter_program(regs: &PtRegs) -> ! {
    // On the stack: should its `iretq` fault, what is pushed lands on dead stack.
    let frame = *regs;
    // SAFETY: the frame is complete, and nothing on the stack is needed after it.
    unsafe { asm!("mov rsp, {}", "jmp return_to_program", in(reg) &raw const frame, options(noreturn)) }
}
