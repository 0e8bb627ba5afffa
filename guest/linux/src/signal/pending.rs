//! Signals that were sent and not yet taken.
//!
//! A record each, in the order sent. Of a real-time signal every one is kept, of the others one. Without memory for a record the signal
//! itself is not lost, only what it is about.
//!
//! Source: Linux, kernel/signal.c (`__send_signal_locked`, `collect_signal`).

use core::cell::Cell;

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use super::info::{Info, code};
use super::set::{SigSet, Signal};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Queued`].
    QueuedId
);

record! {
    /// A signal that waits. Its info's last four words are from word [`Queued::REST`] on.
    pub struct Queued[8] {
        /// The one sent after it.
        next, set_next: Option<QueuedId> = 0;
        /// Number of the signal.
        number, set_number: u64 = 1;
        /// [`code`].
        code, set_code: i64 = 2;
    }
}

impl Queued<'_> {
    const REST: usize = 3;
}

/// The signals that wait for one process.
#[derive(Debug)]
pub struct Pending {
    set: Cell<SigSet>,
    first: Cell<Option<QueuedId>>,
}

impl Pending {
    /// None.
    pub(super) const fn new() -> Self {
        Self {
            set: Cell::new(SigSet::EMPTY),
            first: Cell::new(None),
        }
    }

    /// Those of another, which has none from then on; there were none.
    pub(super) fn take_from(&self, other: &Self) {
        self.set.set(other.set.replace(SigSet::EMPTY));
        self.first.set(other.first.take());
    }

    /// Which there are.
    pub(super) fn set(&self) -> SigSet {
        self.set.get()
    }
}

impl<P: Platform> Linux<'_, P> {
    fn queued(&self, id: QueuedId) -> Queued<'_> {
        Queued(object(self.memory, id.0))
    }

    /// Adds a signal.
    pub(super) fn queue(&self, pending: &Pending, info: &Info) -> Result<(), Errno> {
        let signal = info.signal;
        if !signal.is_real_time() && pending.set.get().contains(signal) {
            return Ok(());
        }
        match self.memory.alloc_reclaiming(|| self.queued.alloc(self.memory)) {
            Some(id) => self.append(pending, QueuedId(id), info),
            None if signal.is_real_time() => return Err(Errno::EAGAIN),
            None => {}
        }
        pending.set.set(pending.set.get().union(SigSet::of(signal)));
        Ok(())
    }

    fn append(&self, pending: &Pending, id: QueuedId, info: &Info) {
        let record = self.queued(id);
        record.set_number(u64::from(info.signal.number()));
        record.set_code(i64::from(info.code));
        for (word, value) in info.rest.into_iter().enumerate() {
            record.0[Queued::REST + word].set(value);
        }
        let Some(mut last) = pending.first.get() else {
            pending.first.set(Some(id));
            return;
        };
        while let Some(next) = self.queued(last).next() {
            last = next;
        }
        self.queued(last).set_next(Some(id));
    }

    /// Takes the first signal that is not blocked.
    pub(super) fn dequeue(&self, pending: &Pending, blocked: SigSet) -> Option<Info> {
        let signal = pending.set.get().minus(blocked).first()?;
        let info = self.unlink_queued(pending, signal);
        if self.find_queued(pending, signal).is_none() {
            pending.set.set(pending.set.get().minus(SigSet::of(signal)));
        }
        // Nothing more is known of one that found no memory.
        Some(info.unwrap_or(Info::sent(signal, code::USER, 0, 0)))
    }

    /// The first record of a signal, and the one before it.
    fn find_queued(&self, pending: &Pending, signal: Signal) -> Option<(Option<QueuedId>, QueuedId)> {
        let (mut previous, mut next) = (None, pending.first.get());
        while let Some(id) = next {
            let record = self.queued(id);
            if record.number() == u64::from(signal.number()) {
                return Some((previous, id));
            }
            (previous, next) = (Some(id), record.next());
        }
        None
    }

    /// Takes the first record of a signal out.
    fn unlink_queued(&self, pending: &Pending, signal: Signal) -> Option<Info> {
        let (previous, id) = self.find_queued(pending, signal)?;
        let record = self.queued(id);
        match previous {
            Some(previous) => self.queued(previous).set_next(record.next()),
            None => pending.first.set(record.next()),
        }
        let info = Info {
            signal,
            code: record.code() as i32,
            rest: [0, 1, 2, 3].map(|word| record.0[Queued::REST + word].get()),
        };
        for word in record.0 {
            word.set(0);
        }
        self.queued.free(self.memory, id.0);
        Some(info)
    }

    /// Forgets signals.
    pub(super) fn flush(&self, pending: &Pending, signals: SigSet) {
        let mut left = pending.set.get().intersection(signals);
        while let Some(signal) = left.first() {
            while self.unlink_queued(pending, signal).is_some() {}
            left = left.minus(SigSet::of(signal));
        }
        pending.set.set(pending.set.get().minus(signals));
    }
}
