//! How threads and processes begin: `fork`, `vfork`, `clone`, `clone3`.
//!
//! What the new one has of the old one is a copy, or the same object, as the flags say.
//!
//! Source: Linux, kernel/fork.c (`copy_process`); fork(2), vfork(2), clone(2).

use faultlab_linux::clone::{CloneArgs, flag};

use crate::cpu::regs::PtRegs;
use crate::cpu::x86::msr;
use crate::cpu::{fpu, x86};
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::syscall::{Errno, Outcome};
use crate::task::process::{self, Interrupted, Process, Report, State};
use crate::task::rseq::Rseq;
use crate::task::{exit, sched};

/// Source: Linux, include/uapi/asm-generic/resource.h.
const RLIMIT_NPROC: u64 = 6;

/// A new thread, of the running one's process or of one of its own: its number. It continues from the same place, with 0.
///
/// # Errors
/// `EAGAIN` when the table is full or the user has too many, `ENOMEM`, `EPERM` for a base of FS that is not a program's; `EMFILE`, `EFAULT` for a pidfd.
pub(crate) fn clone(regs: &mut PtRegs, args: &CloneArgs) -> Result<Outcome, Errno> {
    let parent = process::current();
    if args.has(flag::SETTLS) && args.tls >= faultlab_abi::layout::USER_END {
        return Err(Errno::EPERM);
    }
    if has_too_many(parent) {
        return Err(Errno::EAGAIN);
    }
    // A slot that is not taken into use stays free.
    let (_, child) = process::alloc().ok_or(Errno::EAGAIN)?;
    copy_objects(parent, child, args)
        .and_then(|()| tell_pidfd(child, args))
        .inspect_err(|_| exit::release(child))?;
    copy_state(parent, child, regs, args);
    let tid = child.tid.get();
    if args.has(flag::THREAD) {
        process::join(child, parent);
    } else {
        begin_process(parent, child, args);
    }
    child.state.set(State::Runnable);
    // A bad address is the program's affair, as on Linux: the child is there.
    if args.has(flag::PARENT_SETTID) {
        _ = uaccess::copy_to_user(args.parent_tid, &tid.to_le_bytes());
    }
    if let (true, Some(mm)) = (args.has(flag::CHILD_SETTID), child.mm.get()) {
        _ = uaccess::copy_to(mm, args.child_tid, &tid.to_le_bytes());
    }
    if !args.has(flag::VFORK) {
        return Ok(Outcome::Value(u64::from(tid)));
    }
    child.vforked_by.set(parent.tid.get());
    parent.state.set(State::Vfork);
    regs.volatile.rax = u64::from(tid);
    sched::yield_now(regs);
    Ok(Outcome::Registers)
}

/// `RLIMIT_NPROC`: whether the user has as many threads as the process may have them. Nobody counts root's. Source: Linux `copy_process`.
fn has_too_many(parent: &Process) -> bool {
    let cred = parent.cred.get();
    !cred.privileged() && cred.user.real != 0 && {
        let users = |other: &&Process| other.state.get() != State::Free && other.cred.get().user.real == cred.user.real;
        let limit = parent.leader().limits.get().get(RLIMIT_NPROC);
        limit.is_some_and(|limit| process::table().iter().filter(users).count() as u64 >= limit.soft)
    }
}

/// What is shared or copied and takes memory. On an error some of it is there.
fn copy_objects(parent: &Process, child: &Process, args: &CloneArgs) -> Result<(), Errno> {
    let (files, mm) = (process::current_files(), process::current_mm());
    child.files.set(Some(if args.has(flag::FILES) {
        LINUX.share_table(files)
    } else {
        LINUX.dup_table(files)?
    }));
    if let Some(fs) = parent.fs.get() {
        child.fs.set(Some(if args.has(flag::FS) {
            LINUX.share_fs(fs)
        } else {
            LINUX.dup_fs(fs)?
        }));
    }
    child.mm.set(Some(if args.has(flag::VM) {
        MEMORY.mmget(mm)
    } else {
        MEMORY.dup_mmap(mm, parent.pid.get())?
    }));
    fpu::alloc(child)?;
    if args.has(flag::SIGHAND) {
        LINUX.share_signals(&parent.signals, &child.signals)?;
    } else {
        LINUX.fork_signals(&parent.signals, &child.signals)?;
    }
    if args.has(flag::CLEAR_SIGHAND) {
        LINUX.clear_handlers(&child.signals);
    }
    Ok(())
}

/// `CLONE_PIDFD`: the parent gets a descriptor for the child, which has none itself unless both have one table.
fn tell_pidfd(child: &Process, args: &CloneArgs) -> Result<(), Errno> {
    if !args.has(flag::PIDFD) {
        return Ok(());
    }
    let files = process::current_files();
    let descriptor = LINUX.pidfd_open(files, child.tid.get(), false)?;
    uaccess::copy_to_user(args.pidfd, &(descriptor as u32).to_le_bytes()).inspect_err(|_| {
        // It was opened a moment ago.
        _ = LINUX.close(files, descriptor);
    })
}

/// What is the thread's own.
fn copy_state(parent: &Process, child: &Process, regs: &PtRegs, args: &CloneArgs) {
    let mut child_regs = *regs;
    child_regs.volatile.rax = 0;
    if args.stack != 0 {
        child_regs.volatile.rsp = args.stack;
    }
    child.regs.set(child_regs);
    child
        .exe
        .set(parent.exe.get().inspect(|&program| MEMORY.ihold(program)));
    child.cred.set(parent.cred.get());
    child.groups.set(parent.groups.get());
    LINUX.share_groups(parent.groups.get());
    child.comm.set(parent.comm.get());
    child.fs_base.set(if args.has(flag::SETTLS) {
        args.tls
    } else {
        x86::rdmsr(msr::FS_BASE)
    });
    child.gs_base.set(x86::rdmsr(msr::GS_BASE));
    // The parent's registers are the processor's.
    fpu::save(child);
    child.interrupted.set(Interrupted::Nothing);
    child.times.begin();
    child.vforked_by.set(0);
    child.robust_list.set(0);
    // One in the same memory has its own to tell of.
    child.rseq.set(if args.has(flag::VM) && !args.has(flag::VFORK) {
        Rseq::NONE
    } else {
        parent.rseq.get()
    });
    child.clear_child_tid.set(if args.has(flag::CHILD_CLEARTID) {
        args.child_tid
    } else {
        0
    });
    // A child on its parent's stack would run over what is in use there. Source: Linux `copy_process`, on `CLONE_VM` without `CLONE_VFORK`.
    if args.has(flag::VM) && !args.has(flag::VFORK) {
        child.signals.set_altstack(faultlab_linux::signal::AltStack::NONE);
    }
}

/// Policy, priority and niceness, unless the parent said that children are to be as any other. Source: sched(7), "Resetting scheduling policy
/// for child processes"; Linux `sched_fork`.
fn inherit_policy(parent: &Process, child: &Process) {
    const RESET_ON_FORK: u32 = 0x4000_0000;
    const FIFO: u32 = 1;
    const RR: u32 = 2;
    let ([policy, priority], nice) = (parent.policy.get(), parent.nice.get());
    let (policy, nice) = match policy & !RESET_ON_FORK {
        _ if policy & RESET_ON_FORK == 0 => ([policy, priority], nice),
        FIFO | RR => ([0, 0], 0),
        policy => ([policy, 0], nice.max(0)),
    };
    child.policy.set(policy);
    child.nice.set(nice);
}

/// What a process has besides its first thread.
fn begin_process(parent: &Process, child: &Process, args: &CloneArgs) {
    let leader = parent.leader();
    if args.has(flag::PARENT) {
        child.parent.set(parent.parent.get());
        child.exit_signal.set(leader.exit_signal.get());
    } else {
        child.parent.set(parent.pid.get());
        child.exit_signal.set(args.exit_signal);
    }
    child.limits.set(leader.limits.get());
    child.times.set_limit_ns(leader.times.limit_ns());
    child.personality.set(leader.personality.get());
    inherit_policy(leader, child);
    child.parent_death.set(None);
    child.oom_score_adj.set(leader.oom_score_adj.get());
    child.group.set(leader.group.get());
    child.session.set(leader.session.get());
    child.executed.set(false);
    child.group_exit.set(None);
    child.report.set(Report::Nothing);
}
