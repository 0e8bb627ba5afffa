//! How a signal, seen by another thread, reaches the thread that waits for the machine.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::error::RigError;

/// What the waiting thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// The machine sent this.
    Bytes(Vec<u8>),
    /// The machine will send nothing more.
    Ended,
    /// The user wants it to end, by this signal.
    Interrupt(i32),
}

/// Ends a machine from another thread.
#[derive(Clone, Debug)]
pub struct Interrupter {
    events: Sender<Event>,
}

impl Interrupter {
    /// Ends the machine in order, as signal `number` would; [`super::run`] then returns
    /// [`RigError::Interrupted`] with it. Nothing happens once it has returned.
    pub fn interrupt(&self, number: i32) {
        // There is no receiver any more once the machine has ended.
        let _ = self.events.send(Event::Interrupt(number));
    }
}

/// The receiving end, for [`super::run`].
#[derive(Debug)]
pub struct Interrupts {
    events: Receiver<Event>,
    sender: Sender<Event>,
}

/// A connected pair.
#[must_use]
pub fn interrupts() -> (Interrupter, Interrupts) {
    let (sender, events) = channel();
    (Interrupter { events: sender.clone() }, Interrupts { events, sender })
}

impl Interrupts {
    /// For what the machine sends.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// The next event within `limit`.
    pub(super) fn wait(&self, limit: Duration) -> Result<Event, RecvTimeoutError> {
        self.events.recv_timeout(limit)
    }

    /// Before the machine runs: `result`, unless there was an interrupt, which may have made it fail.
    pub(super) fn check<T>(&self, result: Result<T, RigError>) -> Result<T, RigError> {
        match self.events.try_recv() {
            Ok(Event::Interrupt(signal)) => Err(RigError::Interrupted(signal)),
            _ => result,
        }
    }
}
