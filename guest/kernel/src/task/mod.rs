//! Processes: their lives, their turns, their times, their signals.
//!
//! | module | what it is |
//! |---|---|
//! | [`process`] | the table of processes |
//! | [`sched`] | who runs |
//! | [`kswapd`] | its work, before a program goes on |
//! | [`page_wait`] | who waits for a disk |
//! | [`preempt`] | and for how long |
//! | [`clone`] | a process begins |
//! | [`exec`] | a program begins |
//! | [`exit`] | both end |
//! | [`notice`] | signals to the owners of descriptors |
//! | [`signal`] | signals on their way into a program |
//! | [`timers`] | timers that are due |
//! | [`times`] | CPU time |
//! | [`rseq`] | restartable sequences |

pub(crate) mod clone;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod kswapd;
pub(crate) mod notice;
pub(crate) mod page_wait;
pub(crate) mod preempt;
pub(crate) mod process;
pub(crate) mod rseq;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod timers;
pub(crate) mod times;
