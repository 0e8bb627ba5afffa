//! SIGINT, SIGTERM and SIGHUP end the guest in order: what was measured is saved, the terminal restored, temporary
//! files removed. Without a guest they end the process, as by default. Others that end it at once leave at least the terminal in order.
//!
//! The signals arrive on a thread of their own, so that stopping the guest is ordinary code and not a signal handler.
//! The thread lives as long as the process: a handler, once installed, is never taken back, and without the thread
//! the signals would be lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use faultlab::StopHandle;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// So many signals end the process at once, should the orderly end hang.
const PATIENCE: u32 = 3;

/// These end the process in order.
const IN_ORDER: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// And these at once.
const AT_ONCE: [i32; 4] = [SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM];

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
        let mut signals = Signals::new(IN_ORDER.iter().chain(&AT_ONCE))?;
        let guest_lives = Arc::new(AtomicBool::new(true));
        let lives = Arc::clone(&guest_lives);
        let listen = move || {
            for (signal, seen) in signals.forever().zip(1..) {
                let at_once = AT_ONCE.contains(&signal);
                if !at_once {
                    stop(signal);
                }
                if at_once || seen >= PATIENCE || !lives.load(Ordering::SeqCst) {
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
