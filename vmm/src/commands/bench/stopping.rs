//! Signals that end a matrix: the guest that runs is stopped, and no other is started.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use faultlab::StopHandle;

use crate::commands::signals::StopOnSignals;

/// What the listening thread and the measuring one share.
#[derive(Default)]
struct State {
    /// The first signal that came.
    signal: Option<i32>,
    /// Of the guest that runs.
    guest: Option<StopHandle>,
}

/// While this lives, signals stop the guests that it is told of.
pub(super) struct Stopping {
    state: Arc<Mutex<State>>,
    _listening: StopOnSignals,
}

impl Stopping {
    /// Starts listening.
    pub(super) fn listen() -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listening = StopOnSignals::listen_with(move |signal| {
            let mut state = lock(&shared);
            state.signal.get_or_insert(signal);
            if let Some(guest) = &state.guest {
                guest.stop(signal);
            }
        })?;
        Ok(Self {
            state,
            _listening: listening,
        })
    }

    /// A guest is about to run. A signal that is already there stops it before its first instruction.
    pub(super) fn guest(&self, guest: StopHandle) {
        let mut state = lock(&self.state);
        if let Some(signal) = state.signal {
            guest.stop(signal);
        }
        state.guest = Some(guest);
    }

    /// The signal that came, if one did.
    pub(super) fn signal(&self) -> Option<i32> {
        lock(&self.state).signal
    }
}

/// Nothing that holds the lock panics, and the state is whole at any moment.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
