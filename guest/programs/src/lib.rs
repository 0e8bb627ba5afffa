//! What faultlab's programs share: entry, system calls, output, arguments, time.
//!
//! The programs are static Linux x86-64 executables without a C library, so that they need of a kernel exactly what
//! they call: `write exit_group mmap munmap madvise shmget shmat shmdt shmctl fork wait4 getpid clock_gettime brk
//! openat ioctl close mincore mprotect getppid`. Nothing here knows whether it runs on Linux or in the guest.
//!
//! | module | what it is |
//! |---|---|
//! | [`arena`] | addresses to experiment with, and how outcomes are shown |
//! | [`by_path`] | files by their paths: calls, and what is shown of the answers |
//! | [`start`] | `_start`, arguments and environment, the panic handler |
//! | [`sys`] | system calls |
//! | [`print`] | `println!` and `eprintln!`, one `write` a line |
//! | [`parse`] | numbers, sizes and lists from the command line |
//! | [`shm`] | a System V segment that cannot be left behind |
//! | [`tsc`] | accesses timed with the time-stamp counter |
//! | [`stats`] | percentiles |
//!
//! Conventions of all programs: 0 is success, 1 a failed check or call, 2 a wrong command line; messages go to
//! stderr and begin with the program's name.

#![cfg_attr(not(test), no_std)]

pub mod arena;
pub mod by_path;
#[cfg(not(test))]
mod mem;
pub mod parse;
pub mod print;
pub mod shm;
pub mod start;
pub mod stats;
pub mod sys;
pub mod tsc;
