//! Exceptions of programs become signals that they have to take at once, and a line in the log if they end by it.
//!
//! Source: Linux, arch/x86/kernel/traps.c; arch/x86/mm/fault.c (`show_signal_msg`).

use faultlab_kernel::line;
use faultlab_kernel::text::{Hex16, Line};
use faultlab_linux::signal::{Delivery, Info, Signal, code, exception_code};

use super::deliver;
use crate::cpu::fpu;
use crate::cpu::interrupts::vector;
use crate::cpu::regs::PtRegs;
use crate::mem::platform::LINUX;
use crate::report::log;
use crate::task::process;

/// Names of exceptions, for messages.
pub(crate) fn exception_name(vector: u64) -> &'static str {
    match vector {
        vector::DIVIDE => "divide error",
        vector::DEBUG => "debug",
        vector::BREAKPOINT => "int3",
        vector::OVERFLOW => "overflow",
        vector::INVALID_OPCODE => "invalid opcode",
        vector::NOT_PRESENT => "segment not present",
        vector::STACK_SEGMENT => "stack segment",
        vector::X87 => "x87 floating-point exception",
        vector::ALIGNMENT => "alignment check",
        vector::SIMD => "SIMD floating-point exception",
        vector::GENERAL_PROTECTION => "general protection fault",
        _ => "exception",
    }
}

/// The signal that an exception at `rip` is. Source: Linux, arch/x86/kernel/traps.c.
fn of_exception(vector: u64, rip: u64) -> Info {
    match vector {
        vector::DIVIDE => Info::fault(Signal::FPE, code::FPE_INTDIV, rip),
        vector::DEBUG => Info::fault(Signal::TRAP, code::TRAP_TRACE, rip),
        vector::BREAKPOINT => Info::kernel(Signal::TRAP),
        vector::INVALID_OPCODE => Info::fault(Signal::ILL, code::ILL_ILLOPN, rip),
        vector::NOT_PRESENT | vector::STACK_SEGMENT => Info::kernel(Signal::BUS),
        vector::ALIGNMENT => Info::fault(Signal::BUS, code::BUS_ADRALN, 0),
        vector::X87 | vector::SIMD => {
            let code = fpu::with_image(process::current(), |image| {
                exception_code(image, vector == vector::SIMD)
            });
            Info::fault(Signal::FPE, code, rip)
        }
        _ => Info::kernel(Signal::SEGV),
    }
}

/// The running process gets the signal of an exception; `regs` continue in its handler, or in another process.
pub(crate) fn trap(vector: u64, error_code: u64, regs: &mut PtRegs) {
    let process = process::current();
    let [_, _, cr2] = process.fault.get();
    process.fault.set([error_code, vector, cr2]);
    let message = line![
        "traps: ",
        who(),
        " trap ",
        exception_name(vector),
        place(regs),
        " error:",
        error_code
    ];
    fault(of_exception(vector, regs.volatile.rip), &message, regs);
}

/// The running process gets the signal of a page fault; `regs` continue as for [`trap`].
pub(crate) fn page_fault(info: &Info, addr: u64, error_code: u64, regs: &mut PtRegs) {
    process::current().fault.set([error_code, vector::PAGE_FAULT, addr]);
    let what = if info.signal == Signal::BUS {
        ": bus error at "
    } else {
        ": segfault at "
    };
    let message = line![who(), what, Hex16(addr), place(regs), " error ", error_code];
    fault(*info, &message, regs);
}

/// A signal that the program has to take now. If it ends by it, that is logged.
pub(super) fn fault(info: Info, message: &Line, regs: &mut PtRegs) {
    let delivery = LINUX.force(&process::current().signals, info);
    if let Delivery::End(_) = delivery {
        log::info(message);
    }
    deliver(delivery, regs);
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
