//! Signals on their way into a program: before a program goes on, those that wait for it are taken: a handler is entered, or the process ends
//! or stops.
//!
//! | file | what it is |
//! |---|---|
//! | `signal.rs` | sent, waited for, taken |
//! | `frame.rs` | a handler's frame, and the way back from it |
//! | `exception.rs` | exceptions as signals |
//!
//! What a signal means is decided in [`faultlab_linux::signal`]; here are registers, and memory that a program chose.
//!
//! Source: Linux, kernel/signal.c, arch/x86/kernel/signal.c; signal(7).

mod exception;
mod frame;

use faultlab_abi::trace::level;
use faultlab_linux::Errno;
use faultlab_linux::signal::{Action, DefaultAction, Delivery, Handler, Info, SigSet, Signal, To, code, sa};

pub(crate) use exception::{exception_name, page_fault, trap};
pub(crate) use frame::sigreturn;

use crate::cpu::regs::PtRegs;
use crate::mem::platform::{LINUX, MEMORY};
use crate::report::strace;
use crate::syscall;
use crate::task::process::{self, Interrupted, Process, Report, State};
use crate::task::{exit, sched};
use frame::{enter_handler, no_frame};

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
    // Init has no thread.
    if to.lives() && to.leader().threads.get() != 0 && queue(To::Thread, to, info)? && to.signals.wants(info.signal) {
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
///
/// One that waited is made again before a signal is taken, too: what it waited for may have come, and then it has not been interrupted. So
/// `wait4` returns the child whose `SIGCHLD` has a handler. Source: Linux, kernel/exit.c (`do_wait`), include/linux/wait.h (`___wait_event`),
/// fs/select.c (`do_poll`): all look at signals last.
pub(crate) fn before_return(regs: &mut PtRegs) {
    let mut looked = None;
    loop {
        if has_pending(process::current()) {
            take_signals(&mut looked, regs);
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
                crate::task::kswapd::run_kswapd::<{ level::OFF }>();
            }
        }
    }
}

/// Takes the running process's signals, unless it is in a call that is to look once more. `looked` is the slot of who has done that.
#[cold]
#[inline(never)]
fn take_signals(looked: &mut Option<usize>, regs: &mut PtRegs) {
    let waits = !matches!(
        process::current().interrupted.get(),
        Interrupted::Nothing | Interrupted::Over
    );
    if waits && looked.replace(process::current_index()) != Some(process::current_index()) {
        return;
    }
    while has_pending(process::current()) {
        match LINUX.next_delivery(&process::current().signals, &process::current().leader().shared) {
            Some(delivery) => deliver(delivery, regs),
            None => break,
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
        end_call(regs);
        leave_call(Some(0), regs);
        return;
    }
    // One that waits for the answer to its own touch has no kind, but remembers what it had come to.
    if kind == Interrupted::Nothing && !process.waiter.has_waited() {
        return;
    }
    let moved = end_call(regs);
    // One that moved bytes already is not made again: it says how many.
    let again = match kind {
        Interrupted::Anyway | Interrupted::Nothing => true,
        Interrupted::Restartable => action.flags & sa::RESTART != 0,
        _ => false,
    };
    if !again || moved.is_some() {
        leave_call(moved, regs);
    }
}

/// The call that the running process waited in is over for now: what it remembered is forgotten. What it came to: how many bytes it had
/// moved, if any, or another error than `EINTR`.
fn end_call(regs: &PtRegs) -> Option<u64> {
    let told = syscall::interrupted(regs);
    let moved = LINUX.end_wait(&process::current().waiter);
    moved.or_else(|| told.err().map(|errno| syscall::encode(Err(errno))))
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
    let process = process::current();
    process.interrupted.set(kind);
    LINUX.begin_wait(&process.waiter);
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
