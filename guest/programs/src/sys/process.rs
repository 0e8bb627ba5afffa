//! Calls about processes.

use linux_raw_sys::general;

use super::{Errno, call};

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
