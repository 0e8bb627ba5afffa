//! Telling the VMM every system call, every signal and every end, for `faultlab exec --strace`. The VMM reads what arguments point to out of
//! the process's memory and writes the lines: no text is made in ring 0.
//!
//! It is decided once, at boot, which entry `syscall` leads to: the ordinary one knows nothing of this.
//!
//! Source: strace(1).

use core::cell::Cell;

use faultlab_abi::lab::{CallRecord, call_event, kind};
use faultlab_linux::signal::Delivery;
use faultlab_linux::vfs::PATH_MAX;

use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::lab;
use crate::global::Global;
use crate::mem::platform::MEMORY;
use crate::mem::{ram, uaccess};
use crate::syscall;
use crate::task::process::{self, Process, State};
use crate::task::{kswapd, signal};

static ON: Global<Cell<bool>> = Global::new(Cell::new(false));

/// Every call is told from now on; `entry::tell_calls` leads them here.
pub(crate) fn start() {
    ON.set(true);
}

fn tell(process: &Process, event: u32, number: u64, args: [u64; 6], result: u64) {
    let record = CallRecord {
        pid: process.tid.get(),
        event,
        number,
        args,
        result,
        root: process.mm.get().map_or(0, |mm| MEMORY.pgd(mm).phys()),
    };
    lab::command(kind::CALL, [ram::phys_of(&raw const record), 0, 0, 0, 0, 0]);
}

/// A process takes a signal.
pub(crate) fn signal(delivery: &Delivery) {
    if !ON.get() {
        return;
    }
    let (signal, code, rest) = match delivery {
        Delivery::End(signal) | Delivery::Stop(signal) => (*signal, 0, [0; 4]),
        Delivery::Handler(info, _) => (info.signal, info.code, info.rest),
    };
    let args = [u64::from(code.cast_unsigned()), rest[0], rest[1], 0, 0, 0];
    tell(
        process::current(),
        call_event::SIGNAL,
        u64::from(signal.number()),
        args,
        0,
    );
}

/// A process ends.
pub(crate) fn end(process: &Process, status: i32) {
    if ON.get() {
        tell(process, call_event::END, 0, [0; 6], u64::from(status.cast_unsigned()));
    }
}

/// A system call, told before and after. Both ways of the ordinary entry lie in it.
pub(crate) extern "C" fn system_call(regs: &mut PtRegs) {
    let (caller, tid) = (process::current(), process::current().tid.get());
    let VolatileRegs {
        rax: number,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rip,
        ..
    } = regs.volatile;
    if number == syscall::nr::EXECVE {
        // Its memory is gone afterwards: what may not be in it yet is brought in before.
        _ = uaccess::string_len(rdi, PATH_MAX);
    }
    tell(caller, call_event::ENTER, number, [rdi, rsi, rdx, r10, r8, r9], 0);
    if syscall::system_call(&mut regs.volatile) != 0 {
        syscall::call_slow(regs);
    }
    tell_end((caller, tid), number, rip, regs);
    signal::before_return(regs);
    kswapd::run_kswapd::<{ faultlab_abi::trace::level::OFF }>();
}

/// A call that waited is made again: its end is told, if it comes to one.
pub(crate) fn make_again(regs: &mut PtRegs) {
    let (caller, tid) = (process::current(), process::current().tid.get());
    let VolatileRegs { rax: number, rip, .. } = regs.volatile;
    syscall::call_slow(regs);
    tell_end((caller, tid), number, rip, regs);
}

/// Tells what a call came to, if it is over; `rip` is behind it.
fn tell_end((caller, tid): (&Process, u32), number: u64, rip: u64, regs: &PtRegs) {
    let after = if core::ptr::eq(caller, process::current()) {
        *regs
    } else {
        caller.regs.get()
    };
    let lives = caller.tid.get() == tid && !matches!(caller.state.get(), State::Free | State::Zombie(_));
    // One that waits is to be made again: its RIP went back to the instruction.
    if lives && after.volatile.rip != rip.wrapping_sub(signal::SYSCALL_BYTES) {
        tell(caller, call_event::LEAVE, number, [0; 6], after.volatile.rax);
    }
}

/// Whether calls are told.
pub(crate) fn is_on() -> bool {
    ON.get()
}
