//! Calls about processes.

use linux_raw_sys::general;

use super::{Errno, call};

bare! {
    execve, __NR_execve, 3, "execve(path, argv, envp)";
    wait4, __NR_wait4, 4, "wait4(pid, status, options, rusage)";
    waitid, __NR_waitid, 5, "waitid(kind, id, info, options, rusage)";
    setpgid, __NR_setpgid, 2, "setpgid(pid, group)";
    getpgid, __NR_getpgid, 1, "getpgid(pid)";
    getsid, __NR_getsid, 1, "getsid(pid)";
    setsid, __NR_setsid, 0, "setsid()";
    nanosleep, __NR_nanosleep, 2, "nanosleep(time, rest)";
    clock_nanosleep, __NR_clock_nanosleep, 4, "clock_nanosleep(clock, flags, time, rest)";
    sched_yield, __NR_sched_yield, 0, "sched_yield()";
    arch_prctl, __NR_arch_prctl, 2, "arch_prctl(code, address)";
}

/// `exit_group(2)`.
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process; no Rust code runs after it.
    _ = unsafe { call(general::__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    // A kernel that returns from it is beyond repair.
    // SAFETY: raises an exception.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// `getpid(2)`.
#[must_use]
pub fn id() -> i32 {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_getpid, [0; 6]) }.map_or(0, |id| id as i32)
}

/// `getppid(2)`.
#[inline(always)]
#[must_use]
pub fn parent_id() -> i32 {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_getppid, [0; 6]) }.map_or(0, |id| id as i32)
}

/// `setresgid(2)` and `setresuid(2)` with one group and one user, after `setgroups(2)` with none: the process keeps no right that it had
/// as root.
///
/// # Errors
/// As in the man pages.
pub fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (uid as usize, gid as usize);
    // SAFETY: none of the calls touches memory (an empty list of groups is never read).
    unsafe {
        call(general::__NR_setgroups, [0; 6])?;
        call(general::__NR_setresgid, [gid, gid, gid, 0, 0, 0])?;
        call(general::__NR_setresuid, [uid, uid, uid, 0, 0, 0])?;
    }
    Ok(())
}

/// `setresuid(2)`; `u32::MAX` leaves an ID as it is.
///
/// # Errors
/// As in the man page.
pub fn set_user_ids(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    let ids = [real as usize, effective as usize, saved as usize, 0, 0, 0];
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_setresuid, ids) }.map(drop)
}

/// `setuid(2)`.
///
/// # Errors
/// As in the man page.
pub fn set_user(uid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_setuid, [uid as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `setgid(2)`.
///
/// # Errors
/// As in the man page.
pub fn set_group(gid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_setgid, [gid as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `getuid(2)`, `geteuid(2)`, `getgid(2)`, `getegid(2)`.
#[must_use]
pub fn ids() -> [u32; 4] {
    let calls = [
        general::__NR_getuid,
        general::__NR_geteuid,
        general::__NR_getgid,
        general::__NR_getegid,
    ];
    // SAFETY: touches no memory. These calls cannot fail.
    calls.map(|number| unsafe { call(number, [0; 6]) }.map_or(u32::MAX, |id| id as u32))
}

/// `setrlimit(2)`: soft and hard limit of a resource, each in its unit.
///
/// # Errors
/// As in the man page.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    let arguments = [resource as usize, limit.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: only reads `limit`, which has the layout of `struct rlimit`.
    unsafe { call(general::__NR_setrlimit, arguments) }.map(drop)
}

/// `getrlimit(2)`: the soft limit of a resource.
///
/// # Errors
/// As in the man page.
pub fn limit(resource: u32) -> Result<u64, Errno> {
    let mut limit = [0u64; 2];
    let arguments = [resource as usize, limit.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: `limit` has the layout of the `struct rlimit` that the call fills.
    unsafe { call(general::__NR_getrlimit, arguments) }.map(|_| limit[0])
}

/// Who continues after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The caller, with the child's process ID.
    Parent(i32),
}

/// `fork(2)`.
///
/// # Errors
/// As in the man page.
pub fn fork() -> Result<Fork, Errno> {
    // SAFETY: a copy of a single-threaded process is as consistent as the original.
    let id = unsafe { call(general::__NR_fork, [0; 6]) }?;
    Ok(if id == 0 { Fork::Child } else { Fork::Parent(id as i32) })
}

/// `wait4(2)` for one child to end; its wait status, see [`exit_status`].
///
/// # Errors
/// As in the man page.
pub fn wait(child: i32) -> Result<i32, Errno> {
    let mut status = 0i32;
    // SAFETY: `status` is the `int` that the call fills.
    unsafe {
        call(
            general::__NR_wait4,
            [child as usize, &raw mut status as usize, 0, 0, 0, 0],
        )
    }?;
    Ok(status)
}

/// A wait status as a shell shows it: the exit status, or 128 and the signal's number.
#[must_use]
pub const fn exit_status(wait_status: i32) -> i32 {
    match wait_status & 0x7f {
        0 => (wait_status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

/// Page faults of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Without I/O.
    pub minor: u64,
    /// With I/O.
    pub major: u64,
}

/// `getrusage(RUSAGE_SELF)`: the faults of this process so far; none if the kernel does not count.
#[inline(always)]
#[must_use]
pub fn faults() -> Faults {
    let mut usage = core::mem::MaybeUninit::<general::rusage>::zeroed();
    let arguments = [general::RUSAGE_SELF as usize, usage.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: `usage` is the record that the call fills; all zeroes is a valid one, too.
    let usage = unsafe {
        _ = call(general::__NR_getrusage, arguments);
        usage.assume_init()
    };
    Faults {
        minor: usage.ru_minflt as u64,
        major: usage.ru_majflt as u64,
    }
}
