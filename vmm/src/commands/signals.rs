//! SIGINT, SIGTERM and SIGHUP end the guest in order: what was measured is saved, the terminal restored, temporary
//! files removed. Without a guest they end the process, as by default.
//!
//! The signals arrive on a thread of their own, so that stopping the guest is ordinary code and not a signal handler.
//! The thread lives as long as the process: a handler, once installed, is never taken back, and without the thread
//! the signals would be lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use faultlab::StopHandle;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// So many signals end the process at once, should the orderly end hang.
const PATIENCE: u32 = 3;

/// While this lives, signals stop the guest.
pub(super) struct StopOnSignals {
    guest_lives: Arc<AtomicBool>,
}

impl StopOnSignals {
    /// Starts listening.
    pub(super) fn listen(stop: StopHandle) -> io::Result<Self> {
        Self::listen_with(move |signal| stop.stop(signal))
    }

    /// The same for something that `stop` stops, given the signal's number.
    pub(super) fn listen_with(stop: impl Fn(i32) + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let guest_lives = Arc::new(AtomicBool::new(true));
        let lives = Arc::clone(&guest_lives);
        let listen = move || {
            for (signal, seen) in signals.forever().zip(1..) {
                stop(signal);
                if seen >= PATIENCE || !lives.load(Ordering::SeqCst) {
                    super::terminal::restore();
                    // Fails only for signals that have no default to emulate.
                    let _ = emulate_default_handler(signal);
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(listen)?;
        Ok(Self { guest_lives })
    }
}

impl Drop for StopOnSignals {
    fn drop(&mut self) {
        self.guest_lives.store(false, Ordering::SeqCst);
    }
}
