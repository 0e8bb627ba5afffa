//! How processes begin and end: `fork`, `exit_group`, `wait4`, and being killed.
//!
//! Source: Linux, kernel/fork.c, kernel/exit.c; fork(2), wait4(2).

use faultlab_abi::lab::{kind, panic_reason};
use faultlab_kernel::line;
use faultlab_linux::vfs::Fs;

use crate::entry::PtRegs;
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, FIRST_PID, INIT_PID, Process, State};
use crate::syscall::Errno;
use crate::x86::msr;
use crate::{lab, log, panic, sched, uaccess, x86};

/// Where a new process's number is stored besides the result, on request of `clone`.
pub(crate) struct Clone {
    /// In the parent's memory.
    pub(crate) parent_tid: Option<u64>,
    /// In the child's memory.
    pub(crate) child_tid: Option<u64>,
}

impl Clone {
    /// Nowhere.
    pub(crate) const FORK: Self = Self {
        parent_tid: None,
        child_tid: None,
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
    let mut child_regs = *regs;
    child_regs.volatile.rax = 0;
    child.regs.set(child_regs);
    child.parent.set(parent.pid.get());
    child.mm.set(Some(mm));
    child.files.set(Some(files));
    child.fs.set(LINUX.copy_fs(parent.fs.get()));
    child.cred.set(parent.cred.get());
    child.limits.set(parent.limits.get());
    child.comm.set(parent.comm.get());
    child.fs_base.set(x86::rdmsr(msr::FS_BASE));
    child.gs_base.set(x86::rdmsr(msr::GS_BASE));
    // The parent's registers are the processor's.
    sched::save_fpu(&child.fpu);
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
    if pid == FIRST_PID {
        end_machine(status);
    }
    if let Some(mm) = process.mm.take() {
        if core::ptr::eq(process, process::current()) {
            sched::leave_address_space();
        }
        MEMORY.mmput(mm, pid);
    }
    if let Some(files) = process.files.take() {
        LINUX.close_table(files);
    }
    LINUX.exit_fs(process.fs.replace(Fs::NONE));
    process.state.set(State::Zombie(status));
    for orphan in process::table().iter().filter(|other| other.parent.get() == pid) {
        orphan.parent.set(INIT_PID);
        reap_if_init(orphan);
    }
    reap_if_init(process);
    if let Some(parent) = process::find(process.parent.get())
        && parent.state.get() == State::Waiting
    {
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

/// What `wait4` came to.
pub(crate) enum Wait {
    /// It is over with this result.
    Done(u64),
    /// A child has to end first: the call is to be made again then.
    Sleep,
}

/// `wait4`. `rusage` is zeroed if given.
///
/// # Errors
/// `ECHILD` without such a child, `EINVAL` for unknown options, `EFAULT`.
pub(crate) fn wait4(pid: i32, status: u64, options: u32, rusage: u64) -> Result<Wait, Errno> {
    const WNOHANG: u32 = 1;
    // Children never stop, so WUNTRACED and WCONTINUED change nothing; __WNOTHREAD, __WALL and __WCLONE are about
    // threads.
    const KNOWN: u32 = WNOHANG | 2 | 8 | 0xe000_0000;
    const RUSAGE_BYTES: u64 = 144;
    if options & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    // One process group: 0 and negative numbers mean any child.
    let wanted = u32::try_from(pid).ok().filter(|pid| *pid != 0);
    let own = process::current().pid.get();
    let mut children = process::table().iter().filter(|child| {
        child.state.get() != State::Free && child.parent.get() == own && wanted.is_none_or(|pid| pid == child.pid.get())
    });
    let mut any = false;
    let zombie = children.find_map(|child| {
        any = true;
        if let State::Zombie(status) = child.state.get() {
            Some((child, status))
        } else {
            None
        }
    });
    match zombie {
        Some((child, wait_status)) => {
            child.state.set(State::Free);
            if status != 0 {
                uaccess::copy_to_user(status, &wait_status.to_le_bytes())?;
            }
            if rusage != 0 {
                uaccess::clear_user(rusage, RUSAGE_BYTES)?;
            }
            Ok(Wait::Done(u64::from(child.pid.get())))
        }
        None if !any => Err(Errno::ECHILD),
        None if options & WNOHANG != 0 => Ok(Wait::Done(0)),
        None => Ok(Wait::Sleep),
    }
}

/// Memory ran out: ends the process that holds most of it.
///
/// Source: Linux, mm/oom_kill.c.
pub(crate) fn out_of_memory(regs: &mut PtRegs) {
    const SIGKILL: i32 = 9;
    let living = process::table()
        .iter()
        .filter_map(|process| Some((process, process.mm.get()?)));
    let Some((victim, pages)) = living
        .map(|(process, mm)| (process, MEMORY.oom_badness(mm)))
        .max_by_key(|(_, pages)| *pages)
    else {
        panic::stop(
            panic_reason::OUT_OF_MEMORY,
            &line!["out of memory, and no process to end"],
        )
    };
    crate::vmstat::count(faultlab_abi::vmstat::Item::OomKill, 1);
    let comm = victim.comm.get();
    let name = comm.get(..victim.comm_len()).unwrap_or_default();
    log::error(&line![
        "Out of memory: Killed process ",
        victim.pid.get(),
        " (",
        name,
        ") resident, swapped and page tables: ",
        pages * 4,
        " kB; give the guest more memory or swap"
    ]);
    if core::ptr::eq(victim, process::current()) {
        exit_current(SIGKILL, regs);
    } else {
        end(victim, SIGKILL);
    }
}
