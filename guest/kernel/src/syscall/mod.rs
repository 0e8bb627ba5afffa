//! System calls: numbers, structures and errors of Linux on x86-64.
//!
//! | file | calls |
//! |---|---|
//! | `mod.rs` | the dispatch; identity, FS and GS |
//! | `file.rs` | `close ioctl dup dup2 dup3 fcntl memfd_create` |
//! | `fs/` | what takes a path, or is about files that have one |
//! | `descriptor.rs` | `pipe pipe2`; `read write readv writev` of what may have to wait |
//! | `userfault.rs` | `userfaultfd`, and waiting for its answers |
//! | `poll.rs` | `poll ppoll select pselect6` |
//! | `epoll.rs` | `epoll_*`, `eventfd eventfd2` |
//! | `notify.rs` | `timerfd_*`, `signalfd signalfd4`, `pidfd_open pidfd_send_signal` |
//! | `locks.rs` | `flock`, `fcntl` of locks, `close_range` |
//! | `splice.rs` | `splice tee vmsplice`, `sendfile` to pipes |
//! | `vectors.rs` | `preadv pwritev preadv2 pwritev2` |
//! | `io.rs` | `read write pread64 pwrite64 readv writev lseek ftruncate fallocate fsync fdatasync` |
//! | `memory.rs` | `mmap munmap mprotect madvise brk` |
//! | `residency.rs` | `mremap msync mincore mlock mlock2 munlock mlockall munlockall` |
//! | `shm.rs` | `shmget shmat shmdt shmctl` |
//! | `swap.rs` | `swapon swapoff` |
//! | `cred.rs` | `getuid getgid geteuid getegid setuid setgid setresuid setresgid getresuid getresgid setgroups` |
//! | `limits.rs` | `getrlimit setrlimit prlimit64` |
//! | `device.rs` | what `/dev/faultlab` can do |
//! | `task.rs` | `setreuid setregid setfsuid setfsgid getgroups prctl fadvise64 readahead` |
//! | `prctl.rs` | `prctl` about huge pages |
//! | `info.rs` | `uname getrandom` |
//! | `time.rs` | `clock_gettime clock_settime clock_getres gettimeofday settimeofday time nanosleep clock_nanosleep` |
//! | `told.rs` | `capget capset personality adjtimex clock_adjtime ioprio_get ioprio_set sync_file_range process_vm_readv process_vm_writev` |
//! | `timer.rs` | `alarm getitimer setitimer timer_*` |
//! | `usage.rs` | `getrusage times sysinfo getcpu` |
//! | `scheduler.rs` | `sched_*`, `getpriority setpriority` |
//! | `process.rs` | `wait4 waitid getpgrp getpgid setpgid getsid setsid` |
//! | `signal.rs` | `rt_sig*`, `sigaltstack kill tkill tgkill pause` |
//! | `writer.rs` | who writes, and the signal for who may not write more |
//! | `../exec/replace.rs` | `execve` |
//! | `../clone.rs`, `../exit.rs` | `fork vfork clone clone3`, `exit exit_group` |
//! | `futex.rs` | `futex` |
//! | `thread.rs` | the same's arguments; `set_tid_address rseq` |
//!
//! Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl; the man page of each call.

use core::cell::Cell;

use faultlab_abi::layout::USER_END;
use faultlab_abi::trace::level;
use faultlab_abi::vmstat::Item;
use faultlab_kernel::line;
pub(crate) use faultlab_linux::Errno;
use faultlab_linux::clone::CloneArgs;
use faultlab_linux::read_write::At;

use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::cpu::x86;
use crate::cpu::x86::msr;
use crate::global::Global;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::report::{log, vmstat};
use crate::task::exit;
use crate::task::process::{Interrupted, current, set_deadline};
use crate::task::{clone, exec, kswapd, sched};

mod cred;
mod descriptor;
mod device;
mod epoll;
mod file;
mod fs;
pub(crate) mod futex;
mod info;
mod io;
mod limits;
mod locks;
mod memory;
mod notify;
mod poll;
mod prctl;
mod process;
mod residency;
mod scheduler;
mod shm;
mod signal;
mod splice;
mod swap;
mod task;
mod thread;
mod time;
mod timer;
mod told;
mod usage;
pub(crate) mod userfault;
mod vectors;
mod writer;

/// Numbers of the calls that exist.
pub(crate) mod nr {
    pub(super) const READ: u64 = 0;
    pub(super) const WRITE: u64 = 1;
    pub(super) const CLOSE: u64 = 3;
    pub(super) const LSEEK: u64 = 8;
    pub(super) const MMAP: u64 = 9;
    pub(super) const MPROTECT: u64 = 10;
    pub(super) const MUNMAP: u64 = 11;
    pub(super) const BRK: u64 = 12;
    pub(super) const IOCTL: u64 = 16;
    pub(super) const PREAD64: u64 = 17;
    pub(super) const PWRITE64: u64 = 18;
    pub(super) const READV: u64 = 19;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const SCHED_YIELD: u64 = 24;
    pub(super) const MREMAP: u64 = 25;
    pub(super) const MSYNC: u64 = 26;
    pub(super) const MINCORE: u64 = 27;
    pub(super) const MADVISE: u64 = 28;
    pub(super) const SHMGET: u64 = 29;
    pub(super) const SHMAT: u64 = 30;
    pub(super) const SHMCTL: u64 = 31;
    pub(super) const DUP: u64 = 32;
    pub(super) const DUP2: u64 = 33;
    pub(super) const GETPID: u64 = 39;
    pub(super) const FORK: u64 = 57;
    pub(crate) const EXECVE: u64 = 59;
    pub(super) const EXIT: u64 = 60;
    pub(super) const WAIT4: u64 = 61;
    pub(super) const SHMDT: u64 = 67;
    pub(super) const FCNTL: u64 = 72;
    pub(super) const FSYNC: u64 = 74;
    pub(super) const FDATASYNC: u64 = 75;
    pub(super) const FTRUNCATE: u64 = 77;
    pub(super) const GETRLIMIT: u64 = 97;
    pub(super) const GETUID: u64 = 102;
    pub(super) const GETGID: u64 = 104;
    pub(super) const SETUID: u64 = 105;
    pub(super) const SETGID: u64 = 106;
    pub(super) const GETEUID: u64 = 107;
    pub(super) const GETEGID: u64 = 108;
    pub(super) const GETPPID: u64 = 110;
    pub(super) const SETGROUPS: u64 = 116;
    pub(super) const SETRESUID: u64 = 117;
    pub(super) const GETRESUID: u64 = 118;
    pub(super) const SETRESGID: u64 = 119;
    pub(super) const GETRESGID: u64 = 120;
    pub(super) const MLOCK: u64 = 149;
    pub(super) const MUNLOCK: u64 = 150;
    pub(super) const MLOCKALL: u64 = 151;
    pub(super) const MUNLOCKALL: u64 = 152;
    pub(super) const ARCH_PRCTL: u64 = 158;
    pub(super) const SWAPON: u64 = 167;
    pub(super) const SWAPOFF: u64 = 168;
    pub(super) const SETRLIMIT: u64 = 160;
    pub(super) const GETTID: u64 = 186;
    pub(super) const CLOCK_GETTIME: u64 = 228;
    pub(super) const EXIT_GROUP: u64 = 231;
    pub(super) const FALLOCATE: u64 = 285;
    pub(super) const DUP3: u64 = 292;
    pub(super) const PRLIMIT64: u64 = 302;
    pub(super) const MEMFD_CREATE: u64 = 319;
    pub(super) const MLOCK2: u64 = 325;
}

/// What a call returns in RAX.
pub(crate) fn encode(result: Result<u64, Errno>) -> u64 {
    match result {
        Ok(value) => value,
        Err(Errno(number)) => u64::from(number).wrapping_neg(),
    }
}

/// What a call that needs all registers came to.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// It returns this.
    Value(u64),
    /// It has to wait.
    Sleep(Interrupted),
    /// The registers are as it wants them.
    Registers,
}

fn finish(result: Result<Outcome, Errno>, regs: &mut PtRegs) {
    let value = match result {
        Ok(Outcome::Value(value)) => value,
        Ok(Outcome::Sleep(kind)) => {
            crate::task::signal::sleep_and_restart(kind, regs);
            return;
        }
        Ok(Outcome::Registers) => return,
        // Also one that the short way gave up: its number is still in RAX.
        Err(errno) if userfault::failed_by_it(errno, regs) => return,
        Err(errno) => encode(Err(writer::told(errno))),
    };
    regs.volatile.rax = if current().waiter.is_over() {
        forget(value, result.is_err())
    } else {
        value
    };
}

/// A call that had waited is over, with this in RAX: the thread's next one finds nothing of it. What it comes to: bytes that it moved before it
/// failed count.
#[cold]
#[inline(never)]
fn forget(value: u64, failed: bool) -> u64 {
    let own = current();
    signal::stop_waiting();
    set_deadline(own, None);
    own.signals.resume();
    LINUX.end_wait(&own.waiter).filter(|_| failed).unwrap_or(value)
}

/// What a call came to, unless it may have to wait: then the long way takes it.
macro_rules! or_wait {
    ($call:expr, $regs:ident) => {
        match $call {
            Err(Errno::RESTART) => return long_way($regs),
            Err(Errno::XFSZ) => return writer::exceeded($regs),
            result => result,
        }
    };
}

/// A system call. Returns 0 when the program can go on, 1 for [`system_call_slow`].
pub(crate) extern "C" fn system_call(regs: &mut VolatileRegs) -> u32 {
    vmstat::count(Item::NrSyscalls, 1);
    let VolatileRegs {
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = *regs;
    let result = match regs.rax {
        nr::READ => or_wait!(io::read(rdi, rsi, rdx, At::Position), regs),
        nr::WRITE => or_wait!(io::write(rdi, rsi, rdx, At::Position), regs),
        nr::PREAD64 => io::pread(rdi, rsi, rdx, r10),
        nr::PWRITE64 => or_wait!(io::pwrite(rdi, rsi, rdx, r10), regs),
        nr::READV => or_wait!(io::readv(rdi, rsi, rdx), regs),
        nr::WRITEV => or_wait!(io::writev(rdi, rsi, rdx), regs),
        nr::LSEEK => io::lseek(rdi, rsi, rdx),
        nr::FTRUNCATE => or_wait!(io::ftruncate(rdi, rsi), regs),
        nr::FALLOCATE => or_wait!(io::fallocate(rdi, rsi, rdx, r10), regs),
        nr::FSYNC | nr::FDATASYNC => io::fsync(rdi),
        nr::DUP => file::dup(rdi),
        nr::DUP2 => file::dup2(rdi, rsi),
        nr::DUP3 => file::dup3(rdi, rsi, rdx),
        nr::FCNTL => or_wait!(file::fcntl(rdi, rsi, rdx), regs),
        nr::MEMFD_CREATE => file::memfd_create(rdi, rsi),
        nr::CLOSE => file::close(rdi),
        nr::IOCTL => or_wait!(file::ioctl(rdi, rsi, rdx), regs),
        nr::MMAP => memory::mmap([rdi, rsi, rdx, r10, r8, r9]),
        nr::MPROTECT => memory::mprotect(rdi, rsi, rdx),
        nr::MUNMAP => memory::munmap(rdi, rsi),
        nr::BRK => memory::brk(rdi),
        nr::MADVISE => memory::madvise(rdi, rsi, rdx),
        nr::MREMAP => residency::mremap(rdi, rsi, rdx, r10, r8),
        nr::MSYNC => residency::msync(rdi, rsi, rdx),
        nr::MINCORE => residency::mincore(rdi, rsi, rdx),
        nr::MLOCK => residency::mlock(rdi, rsi, 0),
        nr::MLOCK2 => residency::mlock(rdi, rsi, rdx),
        nr::MUNLOCK => residency::munlock(rdi, rsi),
        nr::MLOCKALL => residency::mlockall(rdi),
        nr::MUNLOCKALL => residency::munlockall(),
        nr::SHMGET => shm::shmget(rdi, rsi, rdx),
        nr::SHMAT => shm::shmat(rdi, rsi, rdx),
        nr::SHMCTL => shm::shmctl(rdi, rsi, rdx),
        nr::SHMDT => shm::shmdt(rdi),
        nr::SWAPON => swap::swapon(rdi, rsi),
        nr::SWAPOFF => swap::swapoff(rdi),
        nr::GETPID => Ok(u64::from(current().pid.get())),
        nr::GETTID => Ok(u64::from(current().tid.get())),
        nr::GETPPID => Ok(u64::from(current().parent.get())),
        nr::GETUID => Ok(u64::from(cred::current().user.real)),
        nr::GETEUID => Ok(u64::from(cred::current().user.effective)),
        nr::GETGID => Ok(u64::from(cred::current().group.real)),
        nr::GETEGID => Ok(u64::from(cred::current().group.effective)),
        nr::SETUID | nr::SETGID | nr::SETRESUID | nr::SETRESGID | nr::GETRESUID | nr::GETRESGID | nr::SETGROUPS => {
            cred::call(regs)
        }
        nr::GETRLIMIT => limits::getrlimit(rdi, rsi),
        nr::SETRLIMIT => limits::setrlimit(rdi, rsi),
        nr::PRLIMIT64 => limits::prlimit64(rdi, rsi, rdx, r10),
        nr::ARCH_PRCTL => arch_prctl(rdi, rsi),
        nr::CLOCK_GETTIME => time::clock_gettime(rdi, rsi),
        _ => match fs::call(regs) {
            Some(result) => or_wait!(result, regs),
            None => return long_way(regs),
        },
    };
    if MEMORY.work_is_deferred() {
        return deferred(result, regs);
    }
    regs.rax = encode(result);
    0
}

/// The end of a call after which there is more to do.
#[cold]
#[inline(never)]
fn deferred(result: Result<u64, Errno>, regs: &mut VolatileRegs) -> u32 {
    kswapd::run_kswapd::<{ level::OFF }>();
    if result == Err(Errno::EFAULT) && MEMORY.has_userfault() {
        return 1;
    }
    // One that the call went on without.
    _ = MEMORY.take_userfault();
    if crate::task::signal::has_pending(current()) {
        return writer::signalled(result);
    }
    regs.rax = encode(result);
    0
}

/// Calls that need all registers, those that signals have to be looked for after, and those that do not exist: 1. What is no number of a
/// call at all has its answer here. A function of its own, so that the way of the others does not carry the 1.
#[cold]
#[inline(never)]
fn long_way(regs: &mut VolatileRegs) -> u32 {
    // Linux looks at the lower half of a number only: so here, where it costs the others nothing. Source: Linux, arch/x86/entry/common.c.
    if regs.rax > u64::from(u32::MAX) {
        regs.rax = u64::from(regs.rax as u32);
        return system_call(regs);
    }
    if regs.rax < NUMBERS {
        return 1;
    }
    regs.rax = encode(Err(Errno::ENOSYS));
    0
}

pub(crate) use time::{interrupted, is_over};

/// A call that may copy, switch or end the process, or leave it with a signal.
pub(crate) extern "C" fn system_call_slow(regs: &mut PtRegs) {
    call_slow(regs);
    crate::task::signal::before_return(regs);
    kswapd::run_kswapd::<{ level::OFF }>();
}

/// The same before signals are looked for.
#[inline(always)]
pub(crate) fn call_slow(regs: &mut PtRegs) {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        ..
    } = regs.volatile;
    if MEMORY.has_userfault() {
        // The short way left it at this: the call is made again, or fails.
        finish(Err(Errno::EFAULT), regs);
        return;
    }
    match rax {
        nr::FORK => {
            let result = clone::clone(regs, &CloneArgs::FORK);
            finish(result, regs);
        }
        nr::EXIT => exit::exit_thread((rdi as i32 & 0xff) << 8, regs),
        nr::EXIT_GROUP => exit::exit_current((rdi as i32 & 0xff) << 8, regs),
        nr::EXECVE => {
            let result = exec::execve(regs, [rdi, rsi, rdx]);
            finish(result, regs);
        }
        nr::WAIT4 => finish(process::wait4(rdi as i32, rsi, rdx as u32, r10), regs),
        futex::NUMBER => finish(futex::futex(regs), regs),
        nr::SCHED_YIELD => {
            regs.volatile.rax = 0;
            sched::yield_now(regs);
        }
        number => {
            let result = writer::call()
                .or_else(|| signal::call(regs))
                .or_else(|| thread::call(regs))
                .or_else(|| process::call(regs))
                .or_else(|| time::call(regs))
                .or_else(|| timer::call(regs))
                .or_else(|| usage::call(regs))
                .or_else(|| scheduler::call(regs))
                .or_else(|| descriptor::call(regs))
                .or_else(|| fs::call_waiting(regs).map(|result| result.map(descriptor::outcome)))
                .or_else(|| epoll::call(regs))
                .or_else(|| notify::call(regs))
                .or_else(|| locks::call(regs))
                .or_else(|| splice::call(regs))
                .or_else(|| vectors::call(regs))
                .or_else(|| poll::call(regs))
                .or_else(|| info::call(regs))
                .or_else(|| prctl::call(regs))
                .or_else(|| task::call(regs))
                .or_else(|| told::call(regs))
                .unwrap_or_else(|| Err(unknown(number)));
            finish(result, regs);
        }
    }
    // One that the call went on without.
    _ = MEMORY.take_userfault();
    sched::wake_waiters();
}

/// No call has a number from this on.
const NUMBERS: u64 = 512;

/// Logged once a number.
#[cold]
#[inline(never)]
fn unknown(number: u64) -> Errno {
    static LOGGED: Global<Cell<[u64; NUMBERS as usize / 64]>> = Global::new(Cell::new([0; NUMBERS as usize / 64]));
    let word = &LOGGED.as_array_of_cells()[number as usize / 64];
    let bit = 1 << (number % 64);
    if word.get() & bit == 0 {
        word.set(word.get() | bit);
        log::warn(&line!["system call ", number, " does not exist here: ENOSYS"]);
    }
    Errno::ENOSYS
}

/// `arch_prctl`: bases of FS and GS.
#[inline(never)]
fn arch_prctl(code: u64, addr: u64) -> Result<u64, Errno> {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_GET_FS: u64 = 0x1003;
    const ARCH_GET_GS: u64 = 0x1004;
    match code {
        ARCH_SET_FS | ARCH_SET_GS if addr >= USER_END => return Err(Errno::EPERM),
        ARCH_SET_FS => sched::set_fs_base(addr),
        ARCH_SET_GS => sched::set_gs_base(addr),
        ARCH_GET_FS => uaccess::copy_to_user(addr, &x86::rdmsr(msr::FS_BASE).to_le_bytes())?,
        ARCH_GET_GS => uaccess::copy_to_user(addr, &x86::rdmsr(msr::GS_BASE).to_le_bytes())?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
