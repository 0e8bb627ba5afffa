//! Signals that end a process: there are no handlers yet, so every fault of a program is fatal to it.
//!
//! Source: Linux, arch/x86/kernel/traps.c, arch/x86/mm/fault.c (`show_signal_msg`); signal(7).

use faultlab_kernel::line;
use faultlab_kernel::text::{Hex16, Line};

use crate::entry::PtRegs;
use crate::interrupts::vector;
use crate::{exit, log, process};

/// Signal numbers.
pub(crate) const SIGILL: i32 = 4;
pub(crate) const SIGTRAP: i32 = 5;
pub(crate) const SIGBUS: i32 = 7;
pub(crate) const SIGFPE: i32 = 8;
pub(crate) const SIGSEGV: i32 = 11;

/// Signal and description of an exception in ring 3.
pub(crate) fn of_exception(vector: u64) -> (i32, &'static str) {
    match vector {
        vector::DIVIDE => (SIGFPE, "divide error"),
        vector::DEBUG => (SIGTRAP, "debug"),
        vector::BREAKPOINT => (SIGTRAP, "int3"),
        vector::OVERFLOW => (SIGSEGV, "overflow"),
        vector::INVALID_OPCODE => (SIGILL, "invalid opcode"),
        vector::NOT_PRESENT => (SIGBUS, "segment not present"),
        vector::STACK_SEGMENT => (SIGBUS, "stack segment"),
        vector::X87 => (SIGFPE, "x87 floating-point exception"),
        vector::ALIGNMENT => (SIGBUS, "alignment check"),
        vector::SIMD => (SIGFPE, "SIMD floating-point exception"),
        vector::GENERAL_PROTECTION => (SIGSEGV, "general protection fault"),
        _ => (SIGSEGV, "exception"),
    }
}

/// Ends the running process because of an exception, and continues in `regs` with another.
pub(crate) fn trap(vector: u64, error_code: u64, regs: &mut PtRegs) {
    let (signal, what) = of_exception(vector);
    log::info(&line![
        "traps: ",
        who(),
        " trap ",
        what,
        place(regs),
        " error:",
        error_code
    ]);
    exit::exit_current(signal, regs);
}

/// Ends the running process because of a page fault, and continues in `regs` with another.
pub(crate) fn page_fault(signal: i32, addr: u64, error_code: u64, regs: &mut PtRegs) {
    let what = if signal == SIGBUS {
        ": bus error at "
    } else {
        ": segfault at "
    };
    log::info(&line![who(), what, Hex16(addr), place(regs), " error ", error_code]);
    exit::exit_current(signal, regs);
}

fn who() -> Line {
    let process = process::current();
    let comm = process.comm.get();
    line![
        comm.get(..process.comm_len()).unwrap_or_default(),
        "[",
        process.pid.get(),
        "]"
    ]
}

fn place(regs: &PtRegs) -> Line {
    line![" ip ", Hex16(regs.volatile.rip), " sp ", Hex16(regs.volatile.rsp)]
}
