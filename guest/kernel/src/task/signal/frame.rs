//! A handler's frame: written before it, and read after it.
//!
//! Its memory is the program's choice and nothing in it is trusted: the frame is copied as any other bytes, and what `rt_sigreturn` brings
//! back is cut down to what ring 3 may have. What is left, an RIP that is no address, faults at the `iretq`, and is the program's fault again
//! (`entry/trap.rs`).
//!
//! Source: Linux, arch/x86/kernel/signal.c, signal_64.c.

use faultlab_kernel::line;
use faultlab_linux::Errno;
use faultlab_linux::signal::{
    Action, CONTEXT_BYTES, Delivery, Frame, Handler, Info, Place, Registers, Restored, Signal, sa,
};

use super::exception::fault;
use crate::cpu::fpu;
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::cpu::segments::{USER_CS, USER_DS};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::{exit, process, rseq};

/// RFLAGS that a handler begins without: TF, DF, RF. Source: Linux `handle_signal`.
const CLEARED_IN_HANDLERS: u64 = 0x1_0500;

/// Writes a handler's frame and continues in the handler.
pub(super) fn enter_handler(info: &Info, action: Action, regs: &mut PtRegs) -> Result<(), Errno> {
    let (process, format) = (process::current(), fpu::format());
    let Handler::Function(handler) = action.handler else {
        return Err(Errno::EFAULT);
    };
    if action.flags & sa::RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let altstack = process.signals.altstack();
    let onstack = action.flags & sa::ONSTACK != 0;
    rseq::interrupted(regs);
    let place =
        Place::below(regs.volatile.rsp, altstack, onstack, format.frame_bytes() as u64).map_err(|_| Errno::EFAULT)?;
    fpu::copy_to_user(process, place.fpstate)?;
    let frame = Frame {
        restorer: action.restorer,
        registers: &registers(regs, process.fault.get()),
        mask: process.signals.take_saved_mask(),
        altstack,
        fpstate: place.fpstate,
        extended: format.is_extended(),
        info,
    };
    uaccess::copy_to_user(place.frame, &frame.encode())?;
    LINUX.handler_begins(&process.signals, info.signal, action);
    // A handler begins as a program does, whatever was interrupted. Source: Linux `fpu__clear_user_states`.
    fpu::reset(process);
    fpu::load(process);
    let v = &mut regs.volatile;
    v.rdi = u64::from(info.signal.number());
    v.rsi = place.frame + Frame::INFO_AT;
    v.rdx = place.frame + Frame::CONTEXT_AT;
    v.rax = 0;
    v.rip = handler;
    v.rsp = place.frame;
    v.rflags &= !CLEARED_IN_HANDLERS;
    v.cs = USER_CS;
    v.ss = USER_DS;
    Ok(())
}

/// A frame could not be written, or was not worth reading: the program gets a SIGSEGV, and without a place for that it ends.
pub(super) fn no_frame(signal: Signal, regs: &mut PtRegs) {
    let again = Info::kernel(Signal::SEGV);
    let entered = match LINUX.force(&process::current().signals, again) {
        Delivery::Handler(info, action) if signal != Signal::SEGV => enter_handler(&info, action, regs),
        _ => Err(Errno::EFAULT),
    };
    if entered.is_err() {
        exit::exit_current(Signal::SEGV.number().cast_signed(), regs);
    }
}

fn registers(regs: &PtRegs, fault: [u64; 3]) -> Registers {
    let v = &regs.volatile;
    Registers {
        general: [
            v.r8, v.r9, v.r10, v.r11, regs.r12, regs.r13, regs.r14, regs.r15, v.rdi, v.rsi, regs.rbp, regs.rbx, v.rdx,
            v.rax, v.rcx, v.rsp, v.rip, v.rflags,
        ],
        segments: [v.cs as u16, v.ss as u16],
        fault,
    }
}

fn set_registers(regs: &mut PtRegs, from: &Registers) {
    let [
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip,
        rflags,
    ] = from.general;
    let volatile = VolatileRegs {
        r11,
        r10,
        r9,
        r8,
        rdx,
        rcx,
        rax,
        rdi,
        rsi,
        rip,
        cs: USER_CS,
        rflags,
        rsp,
        ss: USER_DS,
    };
    *regs = PtRegs {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        volatile,
    };
}

/// `rt_sigreturn`: a handler is over. Differs from Linux: SS is always the one that programs have.
pub(crate) fn sigreturn(regs: &mut PtRegs) {
    // The handler's `ret` took the return address.
    let frame = regs.volatile.rsp.wrapping_sub(8);
    let back = uaccess::read::<CONTEXT_BYTES>(frame)
        .map(|bytes| Restored::decode(&bytes, regs.volatile.rflags))
        .and_then(|restored| {
            fpu::copy_from_user(process::current(), restored.fpstate)?;
            Ok(restored)
        });
    match back {
        Ok(back) if u64::from(back.registers.segments[0]) == USER_CS => {
            let signals = &process::current().signals;
            signals.set_blocked(back.mask);
            set_registers(regs, &back.registers);
            // As on Linux, one that does not suit is left out.
            if let Ok(altstack) = signals.altstack().replaced(&back.altstack, regs.volatile.rsp) {
                signals.set_altstack(altstack);
            }
        }
        _ => fault(Info::kernel(Signal::SEGV), &line!["bad frame in rt_sigreturn"], regs),
    }
}
