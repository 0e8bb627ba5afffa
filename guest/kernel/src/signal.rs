//! Signals on their way into a program: exceptions become signals, and before a program goes on, those that wait for it are taken: a
//! handler's frame is written and entered, or the process ends or stops.
//!
//! What a signal means is decided in [`faultlab_linux::signal`]; here are registers, and memory that a program chose. Neither is trusted:
//! the frame is copied as any other bytes, and what `rt_sigreturn` brings back is cut down to what ring 3 may have. What is left, an
//! RIP that is no address, faults at the `iretq`, and is the program's fault again (`trap.rs`).
//!
//! Source: Linux, arch/x86/kernel/signal.c, signal_64.c, traps.c; arch/x86/mm/fault.c (`show_signal_msg`); signal(7).

use faultlab_abi::trace::level;
use faultlab_kernel::line;
use faultlab_kernel::text::{Hex16, Line};
use faultlab_linux::signal::{
    Action, CONTEXT_BYTES, DefaultAction, Delivery, Frame, Handler, Info, Place, Registers, Restored, SigSet, Signal,
    To, code, exception_code, sa,
};

use crate::entry::{PtRegs, VolatileRegs};
use crate::interrupts::vector;
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, Interrupted, Process, Report, State};
use crate::segments::{USER_CS, USER_DS};
use crate::syscall::Errno;
use crate::{exit, fpu, log, rseq, sched, strace, syscall, trap, uaccess};

/// RFLAGS that a handler begins without: TF, DF, RF. Source: Linux `handle_signal`.
const CLEARED_IN_HANDLERS: u64 = 0x1_0500;

/// Sends a signal to a process, and wakes a thread that can take it.
///
/// # Errors
/// `EAGAIN`: no memory for a real-time signal.
pub(crate) fn send(to: &Process, info: &Info) -> Result<(), Errno> {
    let leader = to.leader();
    if leader.threads.get() == 0 {
        return Ok(());
    }
    if queue(To::Process, leader, info)? {
        // The first thread has the first chance. Source: Linux `complete_signal`.
        let wants = |thread: &&Process| thread.lives() && thread.signals.wants(info.signal);
        if let Some(thread) = Some(leader)
            .filter(wants)
            .or_else(|| leader.living_threads().find(wants))
        {
            wake(thread, info.signal);
        }
    }
    Ok(())
}

/// Sends a signal to one thread of a process, and wakes it if it can take it.
///
/// # Errors
/// As for [`send`].
pub(crate) fn send_thread(to: &Process, info: &Info) -> Result<(), Errno> {
    if to.lives() && queue(To::Thread, to, info)? && to.signals.wants(info.signal) {
        wake(to, info.signal);
    }
    Ok(())
}

/// Adds a signal to those that wait, and lets a stopped process go on if the signal says so; whether somebody has to look.
fn queue(to: To, target: &Process, info: &Info) -> Result<bool, Errno> {
    let leader = target.leader();
    let threads = leader.living_threads().map(|thread| &thread.signals);
    let queued = LINUX.send(to, &target.signals, &leader.shared, threads, info)?;
    if matches!(info.signal, Signal::KILL | Signal::CONT) {
        resume(leader, info.signal);
    }
    Ok(queued)
}

/// A process that was stopped goes on.
fn resume(leader: &Process, signal: Signal) {
    let mut stopped = false;
    for thread in leader.living_threads() {
        if thread.state.get() == State::Stopped {
            thread.state.set(State::Runnable);
            stopped = true;
            if thread.interrupted.get() == Interrupted::AtStops {
                thread.interrupted.set(Interrupted::Over);
            }
        }
    }
    if stopped && signal == Signal::CONT {
        leader.report.set(Report::Continued);
        exit::tell_parent(leader, code::CLD_CONTINUED, Signal::CONT.number().cast_signed());
    }
}

/// A thread that has a signal to take leaves the call that it waits in. In `vfork` it does so only for its end. Source: Linux `sig_fatal`.
fn wake(thread: &Process, signal: Signal) {
    let ends = || {
        let action = LINUX.action(&thread.signals, signal);
        action.handler == Handler::Default && signal.default_action() == DefaultAction::End
    };
    match thread.state.get() {
        State::Waiting => thread.state.set(State::Runnable),
        State::Vfork if ends() => thread.state.set(State::Runnable),
        _ => {}
    }
}

/// A thread does not take the signals that wait for its process, or no longer: the others look whether they do. Source: Linux
/// `retarget_shared_pending`.
pub(crate) fn retarget(thread: &Process) {
    let leader = thread.leader();
    if leader.shared.is_empty() {
        return;
    }
    for other in leader.living_threads().filter(|other| has_pending(other)) {
        if other.state.get() == State::Waiting {
            other.state.set(State::Runnable);
        }
    }
}

/// Whether a thread has a signal to take.
#[inline]
pub(crate) fn has_pending(thread: &Process) -> bool {
    thread.signals.is_pending(&thread.leader().shared)
}

/// Takes the running process's signals, until one that can go on has none, or is in a handler. To be called before every return to a program
/// that may have got one, or was not the one that ran before.
///
/// A call that waited is made again from here, not by the program: so the program is never between two attempts, where a handler would find
/// what the call remembers, and nobody could tell whether the call had begun.
pub(crate) fn before_return(regs: &mut PtRegs) {
    loop {
        while has_pending(process::current()) {
            match LINUX.next_delivery(&process::current().signals, &process::current().leader().shared) {
                Some(delivery) => deliver(delivery, regs),
                None => break,
            }
        }
        match process::current().interrupted.take() {
            Interrupted::Nothing => return,
            Interrupted::Over => {
                let moved = end_call(regs);
                process::current().signals.resume();
                leave_call(moved, regs);
            }
            _ => {
                regs.volatile.rip = regs.volatile.rip.wrapping_add(SYSCALL_BYTES);
                if strace::is_on() {
                    strace::make_again(regs);
                } else {
                    syscall::call_slow(regs);
                }
                trap::run_kswapd::<{ level::OFF }>();
            }
        }
    }
}

fn deliver(delivery: Delivery, regs: &mut PtRegs) {
    strace::signal(&delivery);
    match delivery {
        Delivery::End(signal) => exit::exit_current(signal.number().cast_signed(), regs),
        Delivery::Stop(signal) => stop(signal, regs),
        Delivery::Handler(info, action) => {
            interrupt_call(action, regs);
            let info = taken(info);
            if enter_handler(&info, action, regs).is_err() {
                no_frame(info.signal, regs);
            }
        }
    }
}

/// A signal that the running process takes, whoever sent it.
pub(crate) fn taken(info: Info) -> Info {
    match info.code {
        code::TIMER => LINUX.timer_signal_taken(&process::current().leader().timers, info),
        _ => info,
    }
}

/// Stops the running process, unless nobody could let it go on: stops from a terminal are lost on a group whose members' parents are all in
/// it, or elsewhere altogether. Source: setpgid(2), "orphaned process group"; Linux, kernel/exit.c (`will_become_orphaned_pgrp`).
fn stop(signal: Signal, regs: &mut PtRegs) {
    let own = process::current().leader();
    if signal != Signal::STOP && is_orphaned(own.group.get()) {
        return;
    }
    // Who is to end does not stop, or nobody would let it go on to its end. Source: Linux `get_signal`, which looks for that first.
    let is_killed = |pending: SigSet| pending.contains(Signal::KILL);
    if is_killed(own.shared.pending()) || own.living_threads().any(|thread| is_killed(thread.signals.pending())) {
        return;
    }
    let number = signal.number().cast_signed();
    for thread in own.living_threads() {
        // A call that one waits in is made again afterwards.
        if matches!(thread.state.get(), State::Runnable | State::Waiting) {
            thread.state.set(State::Stopped);
        }
    }
    own.report.set(Report::Stopped(number));
    exit::tell_parent(own, code::CLD_STOPPED, number);
    sched::yield_now(regs);
}

/// Whether nobody could let the members of a process group go on: their parents are all in it, or elsewhere altogether.
pub(crate) fn is_orphaned(group: u32) -> bool {
    let living = |process: &&Process| process.is_leader() && process.threads.get() != 0;
    let keeps = |process: &Process| {
        process.group.get() == group
            && process::find(process.parent.get())
                .is_some_and(|parent| parent.group.get() != group && parent.session.get() == process.session.get())
    };
    !process::table().iter().filter(living).any(keeps)
}

/// A handler runs instead of a call that waited: the call fails, unless it is one that is made again and the action says so. Source:
/// signal(7), "Interruption of system calls".
fn interrupt_call(action: Action, regs: &mut PtRegs) {
    let process = process::current();
    MEMORY.cancel_userfault(process.tid.get());
    let kind = process.interrupted.take();
    if syscall::futex::interrupted() {
        leave_call(Some(0), regs);
        return;
    }
    if kind == Interrupted::Nothing {
        return;
    }
    let moved = end_call(regs);
    // One that moved bytes already is not made again: it says how many.
    let again = match kind {
        Interrupted::Anyway => true,
        Interrupted::Restartable => action.flags & sa::RESTART != 0,
        _ => false,
    };
    if !again || moved.is_some() {
        leave_call(moved, regs);
    }
}

/// The call that the running process waited in is over for now: what it remembered is forgotten. How many bytes it had moved, if any.
fn end_call(regs: &PtRegs) -> Option<u64> {
    syscall::interrupted(regs);
    LINUX.end_wait(&process::current().waiter)
}

/// The program goes on behind a call that waited: with what it came to, or because it was interrupted.
fn leave_call(value: Option<u64>, regs: &mut PtRegs) {
    regs.volatile.rip = regs.volatile.rip.wrapping_add(SYSCALL_BYTES);
    regs.volatile.rax = value.unwrap_or(u64::from(Errno::EINTR.0).wrapping_neg());
}

/// Bytes of the `syscall` instruction.
pub(crate) const SYSCALL_BYTES: u64 = 2;

/// Lets others run until something happens; then the same call is made again ([`before_return`]): RAX still holds its number, and RIP goes
/// back to the `syscall` instruction, where a handler's return finds it. Source: Linux, `ERESTARTSYS` in arch/x86/kernel/signal.c.
pub(crate) fn sleep_and_restart(kind: Interrupted, regs: &mut PtRegs) {
    restart(regs);
    process::current().interrupted.set(kind);
    sleep(regs);
}

/// The program makes the same call again when it goes on.
pub(crate) fn restart(regs: &mut PtRegs) {
    regs.volatile.rip = regs.volatile.rip.wrapping_sub(SYSCALL_BYTES);
}

/// Lets others run until something happens, unless a signal has.
pub(crate) fn sleep(regs: &mut PtRegs) {
    let process = process::current();
    if !has_pending(process) {
        process.state.set(State::Waiting);
        sched::yield_now(regs);
    }
}

/// Writes a handler's frame and continues in the handler.
fn enter_handler(info: &Info, action: Action, regs: &mut PtRegs) -> Result<(), Errno> {
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
fn no_frame(signal: Signal, regs: &mut PtRegs) {
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
fn fault(info: Info, message: &Line, regs: &mut PtRegs) {
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
