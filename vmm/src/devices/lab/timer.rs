//! The guest's only source of interrupts: one shot, armed by a store, delivered by [`crate::vcpu`] when ring 3 runs. And its idle wait.
//!
//! A thread waits for the time and kicks the vCPU ([`crate::vcpu::kick`]), which is all that works alike on every kind of host: KVM's own
//! interrupt controllers are no part of the VM, so nothing else can interrupt the guest, and `KVM_RUN` says when it takes an interrupt. The
//! thread is started by the first store: a guest that never arms costs nothing.
//!
//! # Invariants
//! `due` is set by the thread only, for the time that was asked for last.
//!
//! # Locks
//! `Shared::state` is held for a few loads and stores; the kick happens without it.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, `KVM_INTERRUPT`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::vcpu::kick::StopHandle;

/// One timer.
#[derive(Default)]
pub(super) struct Timer {
    /// How the vCPU is told; that of nobody in tests.
    stop: StopHandle,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Idle waits so far: a guest that waits makes progress.
    idle_waits: u64,
    idle_time: Duration,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    due: AtomicBool,
    /// Somebody else wants the interrupt: arming does not take that back.
    rung: AtomicBool,
}

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    done: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer {
    /// One that kicks through `stop`.
    pub(super) fn new(stop: StopHandle) -> Timer {
        let mut timer = Timer::default();
        timer.stop = stop;
        timer
    }

    /// Asks for an interrupt in `ns` nanoseconds, instead of what was asked for before; 0 for none.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn arm(&mut self, ns: u64) -> io::Result<()> {
        if self.thread.is_none() && ns != 0 {
            self.start()?;
        }
        // What the clock cannot represent is never.
        let deadline = (ns != 0).then(|| Instant::now().checked_add(Duration::from_nanos(ns)));
        let mut state = self.shared.lock();
        let before = std::mem::replace(&mut state.deadline, deadline.flatten());
        self.shared.due.store(false, Ordering::SeqCst);
        // One that wakes too early looks again.
        if state.deadline.is_some_and(|new| before.is_none_or(|old| new < old)) {
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    /// Whether an interrupt is to be delivered.
    pub(super) fn is_due(&self) -> bool {
        self.shared.due.load(Ordering::SeqCst) || self.shared.rung.load(Ordering::SeqCst)
    }

    /// It is delivered.
    pub(super) fn delivered(&self) {
        self.shared.rung.store(false, Ordering::SeqCst);
        self.shared.due.store(false, Ordering::SeqCst);
    }

    /// Lets another thread end an idle wait, or interrupt.
    pub(super) fn bell(&self) -> Bell {
        Bell {
            stop: self.stop.clone(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits on the vCPU's thread for `ns` nanoseconds, or until somebody kicks, or for no reason.
    pub(super) fn idle(&mut self, ns: u64) {
        self.idle_waits += 1;
        let since = Instant::now();
        thread::park_timeout(Duration::from_nanos(ns));
        self.idle_time += since.elapsed();
        // The guest looks at everything after this.
        self.shared.rung.store(false, Ordering::SeqCst);
    }

    /// Time spent in [`Timer::idle`].
    pub(super) fn idle_time(&self) -> Duration {
        self.idle_time
    }

    /// Calls of [`Timer::idle`].
    pub(super) fn idle_waits(&self) -> u64 {
        self.idle_waits
    }

    fn start(&mut self) -> io::Result<()> {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        let builder = thread::Builder::new().name("timer".into()).stack_size(64 << 10);
        self.thread = Some(builder.spawn(move || run(&shared, &stop))?);
        Ok(())
    }
}

/// Ends an idle wait, or interrupts.
#[derive(Clone, Default)]
pub(crate) struct Bell {
    stop: StopHandle,
    shared: Arc<Shared>,
}

impl Bell {
    /// Ends the idle wait, if there is one; interrupts ring 3, too, if that is asked for.
    pub(crate) fn ring(&self, interrupt: bool) {
        if interrupt {
            self.shared.rung.store(true, Ordering::SeqCst);
        }
        self.stop.kick();
    }
}

/// The thread: waits for each time that is asked for, and kicks.
fn run(shared: &Shared, stop: &StopHandle) {
    let mut state = shared.lock();
    while !state.done {
        let now = Instant::now();
        match state.deadline {
            None => state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) if deadline > now => {
                let woken = shared.changed.wait_timeout(state, deadline - now);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(_) => {
                state.deadline = None;
                shared.due.store(true, Ordering::SeqCst);
                drop(state);
                stop.kick();
                state = shared.lock();
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.lock().done = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, the run's result is still good.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until `timer` is due; how long that took.
    fn wait(timer: &Timer) -> Duration {
        let start = Instant::now();
        while !timer.is_due() {
            assert!(start.elapsed() < Duration::from_secs(20), "never due");
            thread::sleep(Duration::from_millis(1));
        }
        start.elapsed()
    }

    #[test]
    fn it_is_due_once_at_the_time_asked_for_last() {
        let mut timer = Timer::default();
        timer.arm(3_600_000_000_000).unwrap();
        assert!(!timer.is_due());
        timer.arm(20_000_000).unwrap();
        assert!(wait(&timer) >= Duration::from_millis(15));
        timer.delivered();
        thread::sleep(Duration::from_millis(30));
        assert!(!timer.is_due(), "one shot");
        timer.arm(1_000_000).unwrap();
        wait(&timer);
        timer.arm(0).unwrap();
        assert!(!timer.is_due(), "disarmed");
        timer.arm(u64::MAX).unwrap();
    }

    #[test]
    fn an_idle_wait_ends_by_itself_or_by_an_earlier_wake_up() {
        let mut timer = Timer::default();
        thread::current().unpark();
        timer.idle(u64::MAX);
        timer.idle(1_000_000);
        assert_eq!(timer.idle_waits(), 2);
    }
}
