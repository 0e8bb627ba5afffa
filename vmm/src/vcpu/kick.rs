//! Making `KVM_RUN` return: from the watchdog's thread, or on behalf of a signal handler.
//!
//! A kick stores 1 to `kvm_run.immediate_exit` and then sends a signal to the vCPU's thread. Whether the vCPU is about
//! to enter the guest (it sees the flag) or in it (the signal ends it), `KVM_RUN` returns `EINTR`: no kick is lost. A thread
//! that waits because the guest is idle ([`crate::devices::lab`]) goes on.
//!
//! # Invariants
//! `Armed::immediate_exit` and `Armed::thread` are valid while the slot is `Some`: the vCPU's thread fills the slot
//! before it runs and clears it, under the same lock, before it returns.
//!
//! # Locks
//! `Shared::armed` is held only for the two steps of a kick, and to arm and disarm.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, section 5, `immediate_exit`.

use std::os::raw::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

/// Ends a run from another thread. Cloneable; works before, during and after the run.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Signal number to report, or 0.
    stop: AtomicI32,
    /// When the time is up, if there is a limit.
    deadline: OnceLock<Instant>,
    armed: Mutex<Option<Armed>>,
}

/// Where to kick.
#[derive(Debug)]
struct Armed {
    immediate_exit: NonNull<AtomicU8>,
    thread: libc::pthread_t,
    /// The same thread, which may wait in [`std::thread::park_timeout`] on the guest's behalf.
    parked: Thread,
}

// SAFETY: the pointer is to memory shared with KVM, accessed atomically and only while armed (module invariant).
unsafe impl Send for Armed {}

impl StopHandle {
    /// Ends the run with [`crate::End::Stopped`] of this signal number (1 to 64; the first call counts). Returns at
    /// once; the guest is left within a few milliseconds. Not async-signal-safe: call it from a thread.
    pub fn stop(&self, signal: i32) {
        // A failed exchange means that an earlier call already set the reason.
        let _ = self
            .shared
            .stop
            .compare_exchange(0, signal.clamp(1, 64), Ordering::SeqCst, Ordering::SeqCst);
        self.kick();
    }

    /// The signal number that [`StopHandle::stop`] was called with.
    pub(crate) fn stopped(&self) -> Option<i32> {
        match self.shared.stop.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Whether the run is to end: it was stopped, or its time is up. What waits on the guest's behalf gives up then, and the vCPU
    /// does not enter the guest again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let deadline = self.shared.deadline.get();
        let is_over = self.stopped().is_some() || deadline.is_some_and(|deadline| Instant::now() >= *deadline);
        if is_over {
            // The watchdog may come a moment later: the guest is not to go on as if what was given up had been done.
            self.kick();
        }
        is_over
    }

    /// The run has until then; the first call counts.
    pub(crate) fn end_at(&self, deadline: Instant) {
        // A failed call means that a guest of this handle ran before.
        let _ = self.shared.deadline.set(deadline);
    }

    /// Makes the vCPU return from the guest once, if it runs.
    pub(crate) fn kick(&self) {
        if let Some(armed) = &*self.lock() {
            // SAFETY: the slot is `Some`, so the pointer is valid (module invariant).
            unsafe { armed.immediate_exit.as_ref() }.store(1, Ordering::SeqCst);
            // SAFETY: the slot is `Some`, so the thread still runs (module invariant), and the handler is installed.
            unsafe { libc::pthread_kill(armed.thread, SIGRTMIN()) };
            armed.parked.unpark();
        }
    }

    /// Lets kicks reach `vcpu`, which the calling thread is about to run, until the guard is dropped.
    pub(crate) fn arm(&self, vcpu: &mut VcpuFd) -> ArmedGuard {
        install_handler();
        let immediate_exit = NonNull::from(&mut vcpu.get_kvm_run().immediate_exit).cast();
        // SAFETY: takes no argument and cannot fail.
        let thread = unsafe { libc::pthread_self() };
        *self.lock() = Some(Armed {
            immediate_exit,
            thread,
            parked: thread::current(),
        });
        ArmedGuard { handle: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Armed>> {
        self.shared.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Disarms on drop.
pub(crate) struct ArmedGuard {
    handle: StopHandle,
}

impl ArmedGuard {
    /// Clears the flag that a kick left, so that the vCPU can enter the guest again.
    pub(crate) fn acknowledge(&self) {
        if let Some(armed) = &*self.handle.lock() {
            // SAFETY: the slot is `Some`, so the pointer is valid (module invariant).
            unsafe { armed.immediate_exit.as_ref() }.store(0, Ordering::SeqCst);
        }
    }
}

impl Drop for ArmedGuard {
    fn drop(&mut self) {
        *self.handle.lock() = None;
    }
}

/// Installs the handler of the kick signal, which does nothing: being interrupted is all.
fn install_handler() {
    extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SIGRTMIN is a valid signal that can be caught, so this cannot fail.
        let _ = register_signal_handler(SIGRTMIN(), nothing);
    });
}
