//! How processes begin and end: `fork`, `exit_group`, and being killed; who is told.
//!
//! Source: Linux, kernel/fork.c, kernel/exit.c; fork(2), wait4(2).

use faultlab_abi::lab::{kind, panic_reason};
use faultlab_kernel::line;
use faultlab_linux::signal::{Handler, Info, Signal, sa};
use faultlab_linux::vfs::Fs;
use faultlab_mm::oom::Candidate;

use crate::entry::PtRegs;
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, FIRST_PID, INIT_PID, Interrupted, Process, Report, State};
use crate::syscall::Errno;
use crate::x86::msr;
use crate::{fpu, lab, log, panic, sched, signal, strace, uaccess, x86};

/// What `clone` says of a new process: where its number is stored besides the result, and how its end is told.
pub(crate) struct Clone {
    /// In the parent's memory.
    pub(crate) parent_tid: Option<u64>,
    /// In the child's memory.
    pub(crate) child_tid: Option<u64>,
    /// What the parent gets when the child ends.
    pub(crate) exit_signal: Option<Signal>,
}

impl Clone {
    /// As `fork` does.
    pub(crate) const FORK: Self = Self {
        parent_tid: None,
        child_tid: None,
        exit_signal: Some(Signal::CHLD),
    };
}

/// `fork`: the child's number. The child continues from the same place, with 0.
///
/// # Errors
/// `EAGAIN` when the table is full, `ENOMEM`.
pub(crate) fn fork(regs: &PtRegs, clone: &Clone) -> Result<u64, Errno> {
    let parent = process::current();
    // A slot that is not taken into use stays free.
    let (_, child) = process::alloc().ok_or(Errno::EAGAIN)?;
    let files = LINUX.dup_table(process::current_files())?;
    let mm = MEMORY
        .dup_mmap(process::current_mm(), parent.pid.get())
        .inspect_err(|_| LINUX.close_table(files))?;
    fpu::alloc(child)
        .and_then(|()| LINUX.fork_signals(&parent.signals, &child.signals))
        .inspect_err(|_| {
            fpu::free(child);
            MEMORY.mmput(mm, parent.pid.get());
            LINUX.close_table(files);
        })?;
    let mut child_regs = *regs;
    child_regs.volatile.rax = 0;
    child.regs.set(child_regs);
    child.parent.set(parent.pid.get());
    child.mm.set(Some(mm));
    child.files.set(Some(files));
    child.fs.set(LINUX.copy_fs(parent.fs.get()));
    child
        .exe
        .set(parent.exe.get().inspect(|&program| MEMORY.ihold(program)));
    child.cred.set(parent.cred.get());
    child.limits.set(parent.limits.get());
    child.oom_score_adj.set(parent.oom_score_adj.get());
    child.comm.set(parent.comm.get());
    child.fs_base.set(x86::rdmsr(msr::FS_BASE));
    child.gs_base.set(x86::rdmsr(msr::GS_BASE));
    // The parent's registers are the processor's.
    fpu::save(child);
    child.interrupted.set(Interrupted::Nothing);
    child.group.set(parent.group.get());
    child.session.set(parent.session.get());
    child.executed.set(false);
    child.report.set(Report::Nothing);
    child.exit_signal.set(clone.exit_signal);
    child.state.set(State::Runnable);
    let tid = child.pid.get().to_le_bytes();
    // A bad address is the program's affair, as on Linux: the child is there.
    if let Some(addr) = clone.parent_tid {
        _ = uaccess::copy_to_user(addr, &tid);
    }
    if let Some(addr) = clone.child_tid {
        _ = uaccess::copy_to(mm, addr, &tid);
    }
    Ok(u64::from(child.pid.get()))
}

/// Ends the running process with a wait status, and continues in `regs` with another.
pub(crate) fn exit_current(status: i32, regs: &mut PtRegs) {
    end(process::current(), status);
    sched::leave_ended(regs);
}

/// Ends a process: its memory goes, its children become init's, its parent learns of it. If it is the first program,
/// the machine ends.
pub(crate) fn end(process: &Process, status: i32) {
    let pid = process.pid.get();
    strace::end(process, status);
    if pid == FIRST_PID {
        end_machine(status);
    }
    MEMORY.cancel_userfault(pid);
    if let Some(mm) = process.mm.take() {
        if core::ptr::eq(process, process::current()) {
            sched::leave_address_space();
        }
        MEMORY.mmput(mm, pid);
    }
    MEMORY.exit_shm(pid);
    // How far a call had come interests nobody any more.
    _ = LINUX.end_wait(&process.waiter);
    if let Some(files) = process.files.take() {
        LINUX.close_table(files);
    }
    LINUX.exit_signals(&process.signals);
    fpu::free(process);
    process::set_deadline(process, None);
    LINUX.exit_fs(process.fs.replace(Fs::NONE));
    if let Some(program) = process.exe.take() {
        MEMORY.iput(program);
    }
    process.state.set(State::Zombie(status));
    for orphan in process::table().iter().filter(|other| other.parent.get() == pid) {
        orphan.parent.set(INIT_PID);
        reap_if_init(orphan);
    }
    reap_if_init(process);
    if let Some(parent) = process::find(process.parent.get()) {
        notify(parent, process, status);
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
    if parent.state.get() == State::Waiting {
        parent.state.set(State::Runnable);
    }
}

/// Forgets a zombie whose parent is init.
fn reap_if_init(process: &Process) {
    if process.parent.get() == INIT_PID && matches!(process.state.get(), State::Zombie(_)) {
        process.state.set(State::Free);
    }
}

/// The first program ended: so does the machine.
fn end_machine(status: i32) -> ! {
    lab::command(kind::EXIT, [u64::from(status.cast_unsigned()), 0, 0, 0, 0, 0]);
    log::info(&line!["the first program ended with wait status ", status]);
    x86::halt()
}

/// Tells a parent that a child stopped or goes on, unless it said that it does not want to know.
pub(crate) fn tell_parent(child: &Process, code: i32, status: i32) {
    let Some(parent) = process::find(child.parent.get()) else {
        return;
    };
    if LINUX.action(&parent.signals, Signal::CHLD).flags & sa::NOCLDSTOP == 0 {
        let (pid, uid) = (child.pid.get(), child.cred.get().user.real);
        // A standard signal is never refused.
        _ = signal::send(parent, &Info::child_changed(Signal::CHLD, code, pid, uid, status));
    }
    if parent.state.get() == State::Waiting {
        parent.state.set(State::Runnable);
    }
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
            oom_score_adj: process.oom_score_adj.get(),
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
    crate::vmstat::count(faultlab_abi::vmstat::Item::OomKill, 1);
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
    if core::ptr::eq(victim, process::current()) {
        exit_current(SIGKILL, regs);
    } else {
        end(victim, SIGKILL);
    }
}
