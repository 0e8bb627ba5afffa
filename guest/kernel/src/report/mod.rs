//! What is known from outside: logs, traces, counters, `/proc`, and the last words of a kernel that panics.
//!
//! | module | what it is |
//! |---|---|
//! | [`check`] | the kernel about itself, at the end |
//! | [`log`] | lines for people |
//! | [`panic`] | the end |
//! | [`out`] | files that go back to the host |
//! | [`proc`] | what `/proc` is told |
//! | [`strace`] | system calls, one by one |
//! | [`trace`] | stages of a fault, for the VMM |
//! | [`vmstat`] | counters |

pub(crate) mod check;
pub(crate) mod log;
pub(crate) mod out;
pub(crate) mod panic;
pub(crate) mod proc;
pub(crate) mod strace;
pub(crate) mod trace;
pub(crate) mod vmstat;
