//! The terminal while a guest has it: what is typed goes to the guest as it is, and the modes come back at every end.
//!
//! Source: termios(3), `cfmakeraw`.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Modes to come back to.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static RAW: AtomicBool = AtomicBool::new(false);

/// While this lives, the terminal on standard input is the guest's.
pub(super) struct GuestsTerminal;

impl GuestsTerminal {
    /// Takes the terminal's own processing away.
    pub(super) fn take() -> io::Result<GuestsTerminal> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let this = GuestsTerminal;
        RAW.store(true, Ordering::SeqCst);
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(this)
    }
}

impl Drop for GuestsTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Brings the modes back, if they were changed; also for a process that is about to be killed.
pub(super) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Should the terminal be gone, there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
    RAW.store(false, Ordering::SeqCst);
}

/// Which of the three streams are a terminal, a bit each; none if standard input is not.
pub(super) fn streams() -> u8 {
    if !io::stdin().is_terminal() {
        return 0;
    }
    1 | u8::from(io::stdout().is_terminal()) << 1 | u8::from(io::stderr().is_terminal()) << 2
}

/// What ends a line of this process's own on the terminal.
pub(crate) fn line_end() -> &'static str {
    if RAW.load(Ordering::SeqCst) { "\r\n" } else { "\n" }
}
