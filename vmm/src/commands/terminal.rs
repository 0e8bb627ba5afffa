//! The terminal while a guest has it: what is typed goes to the guest as it is, and the modes come back at every end.
//!
//! A guest that neither reads it nor writes to it leaves it to others, a pager for instance; and a process in the background may not take it.
//!
//! Source: termios(3), `cfmakeraw`; tcgetpgrp(3).

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Stat, fstat};
use rustix::process::getpgrp;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Modes to come back to.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static RAW: AtomicBool = AtomicBool::new(false);

/// While this lives, the terminal on standard input is the guest's.
pub(super) struct GuestsTerminal;

impl GuestsTerminal {
    /// Takes the terminal's own processing away, that of output only if the guest's goes there; `None` in the background.
    pub(super) fn take() -> io::Result<Option<GuestsTerminal>> {
        // One that is not the controlling terminal has no foreground.
        if tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp()) {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        if !is_for_output() {
            raw.output_modes = before.output_modes;
        }
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let this = GuestsTerminal;
        RAW.store(true, Ordering::SeqCst);
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(this))
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

/// Whether standard output is the terminal on standard input.
pub(super) fn is_for_output() -> bool {
    let device = |stat: rustix::io::Result<Stat>| stat.ok().map(|stat| stat.st_rdev);
    io::stdout().is_terminal() && device(fstat(stdin())) == device(fstat(stdout()))
}

/// What ends a line of this process's own on the terminal.
pub(crate) fn line_end() -> &'static str {
    if RAW.load(Ordering::SeqCst) { "\r\n" } else { "\n" }
}
