//! The timer: when a running program is interrupted, so that others run, and what waits for a time gets it.
//!
//! The VMM interrupts ring 3 at a time that the kernel asks for by a store to the lab device ([`reg::TIMER_NS`]). It is asked for
//! only when something needs it: a second process that can run, or a deadline while somebody runs. A machine with one process and no
//! deadlines has no tick at all. What is armed is never disarmed or put off, only brought forward: an interrupt that finds nothing to do
//! costs less than an exit for each deadline that comes and goes. So processes that fork, wait and wake in quick succession pay for at most one
//! exit and one interrupt in a slice.
//!
//! Interrupts arrive in ring 3 only: ring 0 runs with them off, on its one stack.
//!
//! | | ring 0 native | ring 0 interpreted |
//! |---|---|---|
//! | slice, if others can run | 10 ms | 20 ms |
//! | a timer fires late by | the host's own latency, about 0.1 ms | the same, and what ring 0 takes: about 1 ms |
//!
//! Without the lab device there is no interrupt: then programs run until they wait.
//!
//! [`reg::TIMER_NS`]: faultlab_abi::lab::reg::TIMER_NS

use core::cell::Cell;

use crate::entry::PtRegs;
use crate::global::Global;
use crate::{clock, lab, process, sched, signal, terminal};

/// As a time: none.
const NEVER: u64 = u64::MAX;
/// How long a process runs while others could.
const SLICE_NS: u64 = 10_000_000;
/// The same where a switch takes a millisecond.
const SLICE_INTERPRETED_NS: u64 = 20_000_000;

struct Timer {
    /// When the VMM interrupts, on the monotonic clock, or [`NEVER`].
    armed: Cell<u64>,
    /// Whether that is at most a slice from when it was asked for.
    slicing: Cell<bool>,
    slice_ns: Cell<u64>,
}

static TIMER: Global<Timer> = Global::new(Timer {
    armed: Cell::new(NEVER),
    slicing: Cell::new(false),
    slice_ns: Cell::new(SLICE_NS),
});

/// Sets the slice for this host. `syscall_gate` is what [`crate::gate::install`] returned.
pub(crate) fn init(syscall_gate: u32) {
    if syscall_gate != 0 {
        TIMER.slice_ns.set(SLICE_INTERPRETED_NS);
    }
}

/// Several processes can run: sees to it that the running one does not keep the others waiting for longer than a slice.
#[inline]
pub(crate) fn contended() {
    if !TIMER.slicing.get() {
        arm_slice();
    }
}

#[cold]
#[inline(never)]
fn arm_slice() {
    TIMER.slicing.set(true);
    let now = clock::monotonic_ns();
    arm(now + TIMER.slice_ns.get(), now);
}

/// Somebody wants to be heard of at `deadline`, on the monotonic clock, while a program runs.
pub(crate) fn at(deadline: u64) {
    if deadline < TIMER.armed.get() {
        arm(deadline, clock::monotonic_ns());
    }
}

fn arm(at: u64, now: u64) {
    if at < TIMER.armed.get() {
        TIMER.armed.set(at);
        // 0 would be never.
        lab::interrupt_in(at.saturating_sub(now).max(1));
    }
}

/// The interrupt: deadlines are looked at, and another process has its turn if the running one had its slice. Most often it had not, where
/// processes wait for each other.
pub(crate) fn interrupt(regs: &mut PtRegs) {
    TIMER.armed.set(NEVER);
    TIMER.slicing.set(false);
    terminal::look_if_present();
    if let Some(first) = sched::wake_sleepers() {
        at(first);
    }
    if process::runnable() > 1 {
        let left = TIMER.slice_ns.get().saturating_sub(sched::ran_ns());
        if left == 0 {
            sched::yield_now(regs);
            contended();
        } else {
            TIMER.slicing.set(true);
            let now = clock::monotonic_ns();
            arm(now + left, now);
        }
    }
    signal::before_return(regs);
}
