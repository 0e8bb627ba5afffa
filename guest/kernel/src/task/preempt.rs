//! The timer: when a running program is interrupted, so that others run, and what waits for a time gets it.
//!
//! The VMM interrupts ring 3 at a time that the kernel asks for by a store to the lab device ([`reg::TIMER_NS`]). It is asked for
//! only when something needs it: a second process that can run, or a deadline while somebody runs. A machine with one process and no
//! deadlines has no tick at all. What is armed is never disarmed or put off, only brought forward: an interrupt that finds nothing to do
//! costs less than an exit for each deadline that comes and goes. So processes that fork, wait and wake in quick succession pay for at most one
//! exit and one interrupt in a slice.
//!
//! A disk that somebody waits for, and a terminal, interrupt in the same way when they have something.
//!
//! Interrupts arrive in ring 3 only: ring 0 runs with them off, on its one stack.
//!
//! | | ring 0 native | ring 0 interpreted |
//! |---|---|---|
//! | slice, if others can run | 10 ms | 20 ms |
//! | shortest time between two interrupts that deadlines ask for | 50 us | 2 ms |
//! | a deadline is noticed, besides, after | the host's own latency, about 0.1 ms | the same, and what ring 0 takes: about 1 ms |
//!
//! Who waited for a time runs at once when it comes; the process that is interrupted for it keeps the rest of its slice ([`sched::Turn`]).
//!
//! Without the lab device there is no interrupt: then programs run until they wait.
//!
//! [`reg::TIMER_NS`]: faultlab_abi::lab::reg::TIMER_NS
//! [`sched::Turn`]: crate::task::sched

use core::cell::Cell;

use crate::cpu::regs::PtRegs;
use crate::dev::{clock, lab, terminal};
use crate::global::Global;
use crate::task::{page_wait, process, sched, signal, timers};

/// As a time: none.
const NEVER: u64 = u64::MAX;
/// How long a process runs while others could, and how long it runs at least between two interrupts.
const NATIVE: [u64; 2] = [10_000_000, 50_000];
/// The same where a switch takes a millisecond.
const INTERPRETED: [u64; 2] = [20_000_000, 2_000_000];

struct Timer {
    /// When the VMM interrupts, on the monotonic clock, or [`NEVER`].
    armed: Cell<u64>,
    /// Whether that is at most a slice from when it was asked for.
    slicing: Cell<bool>,
    slice_ns: Cell<u64>,
    least_ns: Cell<u64>,
}

static TIMER: Global<Timer> = Global::new(Timer {
    armed: Cell::new(NEVER),
    slicing: Cell::new(false),
    slice_ns: Cell::new(NATIVE[0]),
    least_ns: Cell::new(NATIVE[1]),
});

/// Sets the times for this host. `syscall_gate` is what [`crate::entry::gate::install`] returned.
pub(crate) fn init(syscall_gate: u32) {
    if syscall_gate != 0 {
        TIMER.slice_ns.set(INTERPRETED[0]);
        TIMER.least_ns.set(INTERPRETED[1]);
    }
}

/// How long a process runs while others could, in nanoseconds.
pub(crate) fn slice_ns() -> u64 {
    TIMER.slice_ns.get()
}

/// Several processes can run: sees to it that the running one does not keep the others waiting for longer than a slice.
#[inline]
pub(crate) fn contended() {
    if !TIMER.slicing.get() {
        slice_of(TIMER.slice_ns.get());
    }
}

/// The running process may run for so long.
#[cold]
#[inline(never)]
fn slice_of(ns: u64) {
    TIMER.slicing.set(true);
    let now = clock::monotonic_ns();
    arm(now + ns, now);
}

/// Somebody wants to be heard of at `deadline`, on the monotonic clock, while a program runs.
pub(crate) fn at(deadline: u64) {
    if deadline < TIMER.armed.get() {
        let now = clock::monotonic_ns();
        // Programs get somewhere whatever they ask for.
        arm(deadline.max(now + TIMER.least_ns.get()), now);
    }
}

/// Something is due at some CPU time of the running process, perhaps.
#[inline]
pub(crate) fn at_cpu_deadline() {
    if let Some(deadline) = timers::cpu_deadline_at(process::current()) {
        at(deadline);
    }
}

fn arm(at: u64, now: u64) {
    if at < TIMER.armed.get() {
        TIMER.armed.set(at);
        // 0 would be never.
        lab::interrupt_in(at.saturating_sub(now).max(1));
    }
}

/// The interrupt: what is due happens, and another process has its turn if the running one had its slice. Most often it had not, where
/// processes wait for each other.
pub(crate) fn interrupt(regs: &mut PtRegs) {
    TIMER.armed.set(NEVER);
    TIMER.slicing.set(false);
    terminal::look_if_present();
    page_wait::look();
    timers::expire_cpu();
    if let Some(first) = timers::expire() {
        at(first);
    }
    if let Some(woken) = timers::take_woken() {
        sched::run_out_of_turn(woken, regs);
    }
    if process::runnable() > 1 {
        let left = TIMER.slice_ns.get().saturating_sub(sched::used_ns());
        if left == 0 {
            sched::preempt(regs);
            contended();
        } else if !TIMER.slicing.get() {
            slice_of(left);
        }
    }
    at_cpu_deadline();
    signal::before_return(regs);
}
