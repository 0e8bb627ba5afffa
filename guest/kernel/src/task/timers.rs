//! What is due: signals of timers, and the ends of sleeps.
//!
//! It is looked at wherever another process may get its turn: at the timer's interrupt ([`preempt`](crate::task::preempt)), when a process waits or
//! yields, and when the machine was idle.
//!
//! Source: Linux, kernel/time/posix-timers.c, posix-cpu-timers.c (`run_posix_cpu_timers`).

use core::cell::Cell;

use faultlab_linux::signal::{Info, Signal};
use faultlab_linux::timer::{Expired, NS_PER_S, Now};

use crate::dev::clock;
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::task::process::{self, Process, State};
use crate::task::{signal, times};

/// Number of `RLIMIT_CPU`.
const RLIMIT_CPU: u64 = 0;

/// Slot of the process that was woken last because its time had come, until somebody took notice.
static WOKEN: Global<Cell<Option<usize>>> = Global::new(Cell::new(None));

/// The process in this slot was woken because what it waited for has happened, and comes in between in the same way.
pub(crate) fn woken(index: usize) {
    WOKEN.set(Some(index));
}

/// Takes that.
pub(crate) fn take_woken() -> Option<usize> {
    WOKEN.take()
}

/// The clocks of a process's timers, now.
pub(crate) fn now(process: &Process) -> Now {
    Now {
        monotonic: clock::monotonic_ns(),
        cpu: times::cpu_ns(process),
    }
}

/// Lets what is due on the monotonic clock happen; when the next is.
pub(crate) fn expire() -> Option<u64> {
    if LINUX.first_timer().is_none() && !process::any_sleeps() {
        return None;
    }
    let now = clock::monotonic_ns();
    while let Some(expired) = LINUX.expire_timer(now) {
        tell(expired);
    }
    [LINUX.first_timer(), wake_sleepers(now)].into_iter().flatten().min()
}

/// Lets those go on whose deadline is over; they find that out themselves. Returns the first of the others' deadlines.
fn wake_sleepers(now: u64) -> Option<u64> {
    if !process::any_sleeps() {
        return None;
    }
    let first = process::first_deadline();
    if first > now {
        return Some(first);
    }
    let mut first = None;
    for (index, process) in process::table().iter().enumerate() {
        match process.deadline.get() {
            Some(deadline) if deadline > now => first = Some(first.map_or(deadline, |first| deadline.min(first))),
            Some(_) if process.state.get() == State::Waiting => {
                process.state.set(State::Runnable);
                WOKEN.set(Some(index));
            }
            _ => {}
        }
    }
    process::set_first_deadline(first);
    first
}

/// Sends the signal of a timer.
fn tell(expired: Expired) {
    let (Some(info), Some(process)) = (expired.info, process::find(expired.owner)) else {
        return;
    };
    let target = expired.thread.and_then(process::find_thread).unwrap_or(process);
    let waited = target.state.get() != State::Runnable;
    let (sent, pending) = if expired.thread.is_some() {
        (signal::send_thread(target, &info), target.signals.pending())
    } else {
        (signal::send(process, &info), process.shared.pending())
    };
    if sent.is_err() || !pending.contains(info.signal) {
        LINUX.timer_signal_lost(&process.timers, &info);
    }
    if waited && target.state.get() == State::Runnable {
        WOKEN.set(process::table().iter().position(|slot| core::ptr::eq(slot, target)));
    }
}

/// Lets happen what is due on the running process's CPU time.
pub(crate) fn expire_cpu() {
    let process = process::current().leader();
    if cpu_deadline(process).is_none() {
        return;
    }
    let cpu = times::cpu_ns(process);
    while let Some(expired) = LINUX.expire_cpu_timer(&process.timers, cpu) {
        tell(expired);
    }
    if process.times.limit_ns().is_some_and(|limit| limit <= cpu) {
        over_limit(process, cpu);
    }
}

/// More CPU time than the limit: a signal, again after each further second, and at last one that ends it. Source: setrlimit(2).
fn over_limit(process: &Process, cpu: u64) {
    let hard = process
        .limits
        .get()
        .get(RLIMIT_CPU)
        .map_or(u64::MAX, |limit| limit.hard);
    let over = hard.checked_mul(NS_PER_S).is_some_and(|hard| hard <= cpu);
    let signal = if over { Signal::KILL } else { Signal::XCPU };
    // A standard signal is never refused.
    _ = signal::send(process, &Info::kernel(signal));
    process.times.set_limit_ns(Some((cpu / NS_PER_S + 1) * NS_PER_S));
}

/// `RLIMIT_CPU` of a process changed.
pub(crate) fn limit_changed(process: &Process) {
    let soft = process
        .limits
        .get()
        .get(RLIMIT_CPU)
        .map_or(u64::MAX, |limit| limit.soft);
    // 0 is taken for a second, as on Linux.
    process.times.set_limit_ns(soft.max(1).checked_mul(NS_PER_S));
}

/// The CPU time at which something is due for a process, in nanoseconds.
fn cpu_deadline(process: &Process) -> Option<u64> {
    [LINUX.first_cpu_timer(&process.timers), process.times.limit_ns()]
        .into_iter()
        .flatten()
        .min()
}

/// When that will be, if it runs all the time from now on.
pub(crate) fn cpu_deadline_at(process: &Process) -> Option<u64> {
    let process = process.leader();
    let left = cpu_deadline(process)?.saturating_sub(times::cpu_ns(process));
    Some(clock::monotonic_ns() + left)
}
