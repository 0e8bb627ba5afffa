//! The end of a kernel that cannot go on: what is known goes to the VMM, and the vCPU halts.

use core::arch::asm;
use core::panic::PanicInfo;

use faultlab_abi::lab::{Panic, kind, panic_reason};
use faultlab_kernel::line;
use faultlab_kernel::text::{Hex, Line};

use crate::cpu::interrupts::vector;
use crate::cpu::regs::PtRegs;
use crate::cpu::x86;
use crate::dev::{lab, serial};
use crate::mem::ram;
use crate::task::signal;

/// A Rust panic or failed assertion.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A message with arguments would need `core::fmt`; the place says what it is about.
    let message = info.message().as_str().unwrap_or("a message with arguments");
    let text = match info.location() {
        Some(at) => line!["kernel panic: ", message, ", at ", at.file(), ":", at.line()],
        None => line!["kernel panic: ", message],
    };
    stop(panic_reason::PANIC, &text)
}

/// Ends the kernel for a reason that its own code found.
#[inline(never)]
pub(crate) fn stop(reason: u32, text: &Line) -> ! {
    let mut record = record(reason, text);
    // SAFETY: reads registers only.
    unsafe {
        asm!(
            "lea {rip}, [rip]",
            "mov {rsp}, rsp",
            "pushfq",
            "pop {rflags}",
            "mov {cs:e}, cs",
            rip = out(reg) record.rip,
            rsp = out(reg) record.rsp,
            rflags = out(reg) record.rflags,
            cs = out(reg) record.cs,
        );
    }
    report(&record)
}

/// Boot cannot go on.
pub(crate) fn boot(why: &Line) -> ! {
    stop(panic_reason::BOOT, why)
}

/// Ends the kernel for an exception in ring 0.
pub(crate) fn exception(vector: u64, error_code: u64, regs: &PtRegs) -> ! {
    let frame = &regs.volatile;
    let text = match vector {
        vector::DOUBLE_FAULT if ram::is_stack_guard(x86::read_cr2()) => line!["kernel panic: kernel stack overflow"],
        vector::DOUBLE_FAULT => line!["kernel panic: double fault"],
        vector::NMI => line!["kernel panic: non-maskable interrupt"],
        vector::PAGE_FAULT => line!["kernel panic: page fault at ", Hex(x86::read_cr2())],
        _ => line![
            "kernel panic: ",
            signal::exception_name(vector),
            " (exception ",
            vector,
            ")"
        ],
    };
    let text = line![text, " in ring 0, at ", Hex(frame.rip)];
    let record = Panic {
        vector: vector as u32,
        error_code,
        rip: frame.rip,
        rsp: frame.rsp,
        rflags: frame.rflags,
        cs: frame.cs,
        gpr: regs.gpr(),
        ..record(panic_reason::EXCEPTION, &text)
    };
    report(&record)
}

fn record(reason: u32, line: &Line) -> Panic {
    let bytes = line.as_bytes();
    let mut text = [0; 256];
    text[..bytes.len()].copy_from_slice(bytes);
    Panic {
        reason,
        vector: 0,
        error_code: 0,
        cr2: x86::read_cr2(),
        cr3: x86::read_cr3(),
        rip: 0,
        rsp: 0,
        rflags: 0,
        cs: 0,
        gpr: [0; 15],
        text_bytes: bytes.len() as u64,
        text,
    }
}

fn report(record: &Panic) -> ! {
    if lab::is_present() {
        lab::command(kind::PANIC, [ram::phys_of(record), 0, 0, 0, 0, 0]);
    } else {
        serial::write(record.text.get(..record.text_bytes as usize).unwrap_or_default());
        serial::write(b"\r\n");
    }
    x86::halt()
}
