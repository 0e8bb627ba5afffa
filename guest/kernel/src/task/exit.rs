//! How threads and processes end: `exit`, `exit_group`, and being killed; who is told.
//!
//! No thread has a kernel stack of its own, so one that is killed while it waits in a call ends at once, whoever kills it.
//!
//! Source: Linux, kernel/exit.c; _exit(2), wait4(2).

use faultlab_abi::lab::{kind, panic_reason};
use faultlab_kernel::line;
use faultlab_linux::signal::{Handler, Info, Signal, code, sa};
use faultlab_mm::oom::Candidate;

use crate::cpu::regs::PtRegs;
use crate::cpu::{fpu, x86};
use crate::dev::lab;
use crate::mem::platform::{LINUX, MEMORY};
use crate::report::{check, log, out, panic, strace};
use crate::syscall;
use crate::task::process::{self, FIRST_PID, INIT_PID, OUTSIDE_PID, Process, State};
use crate::task::{sched, signal, times};

/// Ends the running thread's process with a wait status, and continues in `regs` with another.
pub(crate) fn exit_current(status: i32, regs: &mut PtRegs) {
    end(process::current(), status);
    sched::leave_ended(regs);
}

/// Ends the running thread, and continues in `regs` with another. The last one of a process ends that.
pub(crate) fn exit_thread(status: i32, regs: &mut PtRegs) {
    end_thread(process::current(), status);
    sched::leave_ended(regs);
}

/// Ends a process: all its threads, wherever they are.
pub(crate) fn end(process: &Process, status: i32) {
    let leader = process.leader();
    strace::end(process, status);
    if leader.pid.get() == FIRST_PID {
        end_machine(status);
    }
    if leader.threads.get() > 1 {
        leader.group_exit.set(Some(status));
        end_others(process, status);
    }
    if process.lives() {
        end_thread(process, status);
    }
}

/// Ends the threads of a process but for one.
pub(crate) fn end_others(process: &Process, status: i32) {
    for other in process.living_threads().filter(|other| !core::ptr::eq(*other, process)) {
        end_thread(other, status);
    }
}

/// Ends a thread: what it has goes, if nobody shares it. With the last one the process ends.
fn end_thread(thread: &Process, status: i32) {
    let leader = thread.leader();
    let last = leader.threads.get() == 1;
    if last && leader.pid.get() == FIRST_PID {
        end_machine(leader.group_exit.get().unwrap_or(status));
    }
    MEMORY.cancel_userfault(thread.tid.get());
    times::ended(thread);
    leave_memory(thread);
    release(thread);
    if last {
        LINUX.exit_timers(&leader.timers);
        MEMORY.exit_shm(leader.pid.get());
    }
    process::set_deadline(thread, None);
    leader.threads.set(leader.threads.get() - 1);
    thread.state.set(if thread.is_leader() {
        State::Zombie(status)
    } else {
        State::Free
    });
    if last {
        end_process(leader, leader.group_exit.get().unwrap_or(status));
    } else {
        signal::retarget(leader);
    }
}

/// Drops what a thread has, shared or not.
pub(crate) fn release(thread: &Process) {
    if let Some(mm) = thread.mm.take() {
        if core::ptr::eq(thread, process::current()) {
            sched::leave_address_space();
        }
        MEMORY.mmput(mm, thread.pid.get());
    }
    // How far a call had come interests nobody any more.
    _ = LINUX.end_wait(&thread.waiter);
    if let Some(files) = thread.files.take() {
        LINUX.close_table(files);
    }
    LINUX.exit_signals(&thread.signals);
    fpu::free(thread);
    if let Some(fs) = thread.fs.take() {
        LINUX.put_fs(fs);
    }
    if let Some(program) = thread.exe.take() {
        MEMORY.iput(program);
    }
    LINUX.put_groups(thread.groups.take());
}

/// A thread is about to leave its address space, by its end or by `execve`: those who wait for that learn of it. Source: Linux, kernel/fork.c
/// (`mm_release`).
pub(crate) fn leave_memory(thread: &Process) {
    syscall::futex::exit(thread);
    if let Some(waiting) = process::find_thread(thread.vforked_by.take())
        && waiting.state.get() == State::Vfork
    {
        let stopped = |other: &'static Process| other.state.get() == State::Stopped;
        waiting.state.set(if waiting.living_threads().any(stopped) {
            State::Stopped
        } else {
            State::Runnable
        });
    }
}

/// The last thread of a process has ended: its children become init's, its parent learns of it. Unless all were ended together, the last one
/// says how. Source: Linux `synchronize_group_exit`.
fn end_process(leader: &'static Process, status: i32) {
    let pid = leader.pid.get();
    leader.state.set(State::Zombie(status));
    LINUX.wake_pidfds(pid);
    LINUX.exit_shared(&leader.shared);
    for orphan in process::table().iter().filter(|other| other.parent.get() == pid) {
        orphan.parent.set(INIT_PID);
        if let Some(signal) = orphan.parent_death.get().filter(|_| orphan.is_leader()) {
            let info = Info::sent(signal, code::USER, pid, leader.cred.get().user.real);
            // As with the parent of one that ended.
            _ = signal::send(orphan, &info);
        }
        reap_if_init(orphan);
    }
    reap_if_init(leader);
    if let Some(parent) = process::parent_of(leader) {
        notify(parent, leader, status);
    }
}

/// Tells a parent that a child ended. One that said that it does not want to know does not find a zombie, either. Source: wait4(2), NOTES;
/// Linux, kernel/signal.c (`do_notify_parent`).
fn notify(parent: &Process, child: &Process, status: i32) {
    if let Some(signal) = child.exit_signal.get()
        && !parent.signals.is_deaf_to(signal)
    {
        let action = LINUX.action(&parent.signals, signal);
        if signal == Signal::CHLD && (action.handler == Handler::Ignore || action.flags & sa::NOCLDWAIT != 0) {
            child.state.set(State::Free);
        }
        let info = Info::child(signal, child.pid.get(), child.cred.get().user.real, status);
        // Without memory, a real-time signal is lost; Linux's `do_notify_parent` does not look, either.
        _ = signal::send(parent, &info);
    }
    parent.wake_all();
}

/// Forgets a zombie whose parent is init, or outside: there it is waited for, too.
fn reap_if_init(process: &Process) {
    let ended = process.threads.get() == 0 && matches!(process.state.get(), State::Zombie(_));
    if matches!(process.parent.get(), INIT_PID | OUTSIDE_PID) && ended {
        process.state.set(State::Free);
    }
}

/// The first program ended: so does the machine, once the VMM has what it wants of it.
fn end_machine(status: i32) -> ! {
    if out::is_wanted() || check::is_wanted() {
        let task = process::current().task();
        if check::is_wanted() {
            check::before_the_end();
        }
        end_everybody();
        if check::is_wanted() {
            check::after_the_end();
        }
        if out::is_wanted() {
            out::hand_out(&task);
        }
    }
    lab::command(kind::EXIT, [u64::from(status.cast_unsigned()), 0, 0, 0, 0, 0]);
    log::info(&line!["the first program ended with wait status ", status]);
    x86::halt()
}

/// Takes from all threads what they have: there is memory for what comes, and nothing left but files and segments.
fn end_everybody() {
    sched::leave_address_space();
    for thread in process::table().iter().filter(|thread| thread.lives()) {
        MEMORY.cancel_userfault(thread.tid.get());
        release(thread);
        if thread.is_leader() {
            LINUX.exit_timers(&thread.timers);
            MEMORY.exit_shm(thread.pid.get());
            LINUX.exit_shared(&thread.shared);
        }
    }
}

/// Tells a parent that a child stopped or goes on, unless it said that it does not want to know.
pub(crate) fn tell_parent(child: &Process, code: i32, status: i32) {
    let Some(parent) = process::parent_of(child) else {
        return;
    };
    if LINUX.action(&parent.signals, Signal::CHLD).flags & sa::NOCLDSTOP == 0 {
        let (pid, uid) = (child.pid.get(), child.cred.get().user.real);
        // A standard signal is never refused.
        _ = signal::send(parent, &Info::child_changed(Signal::CHLD, code, pid, uid, status));
    }
    parent.wake_all();
}

/// Memory ran out: ends the process that holds most of it, and says so.
///
/// Source: Linux, mm/oom_kill.c (`pagefault_out_of_memory`, `__oom_kill_process`).
pub(crate) fn out_of_memory(regs: &mut PtRegs) {
    const SIGKILL: i32 = 9;
    let candidates = process::table().iter().filter_map(|process| {
        Some(Candidate {
            process,
            mm: process.mm.get()?,
            oom_score_adj: process.leader().oom_score_adj.get(),
        })
    });
    let Some(Candidate {
        process: victim,
        mm,
        oom_score_adj,
    }) = MEMORY.select_bad_process(candidates)
    else {
        panic::stop(panic_reason::OUT_OF_MEMORY, &line!["System is deadlocked on memory"])
    };
    crate::report::vmstat::count(faultlab_abi::vmstat::Item::OomKill, 1);
    let comm = victim.comm.get();
    let name = comm.get(..victim.comm_len()).unwrap_or_default();
    let holds = MEMORY.footprint(mm);
    log::error(&line![
        "Out of memory: Killed process ",
        victim.pid.get(),
        " (",
        name,
        ") total-vm:",
        holds.total_vm * 4,
        "kB, anon-rss:",
        holds.rss_anon * 4,
        "kB, file-rss:",
        holds.rss_file * 4,
        "kB, shmem-rss:",
        holds.rss_shmem * 4,
        "kB, swap:",
        holds.swapents * 4,
        "kB, pgtables:",
        holds.page_tables * 4,
        "kB oom_score_adj:",
        oom_score_adj,
        "; give the guest more memory or swap"
    ]);
    // All that use it, or nothing would be gained.
    let own = process::current().mm.get() == Some(mm);
    for user in process::table().iter().filter(|user| user.mm.get() == Some(mm)) {
        // Those that ended with another of their process's threads have it no longer.
        if user.mm.get() == Some(mm) && user.pid.get() != process::current().pid.get() {
            end(user, SIGKILL);
        }
    }
    if own {
        exit_current(SIGKILL, regs);
    }
}
