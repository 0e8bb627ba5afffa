//! Timers in the order in which they expire: a pairing heap, linked through the records.
//!
//! The first is at hand, adding one is a comparison, and taking any out costs the logarithm of their number on average. Of timers of the same
//! time, the one that was added first comes first.
//!
//! # Invariants
//! A timer is in one queue, or in none; none expires before the one above it. [`Timer::back`] of a first child is its parent, of another child
//! the sibling before it; the root has none.
//!
//! Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap" (1986). Differs from Linux, whose lib/timerqueue.c is a red-black tree.

use faultlab_mm::Platform;
use faultlab_mm::record::Field;
use faultlab_mm::sync::Word;

use super::{Timer, TimerId};
use crate::Linux;

/// Timers of one clock.
#[derive(Debug)]
pub struct TimerQueue {
    root: Word,
    /// Timers that were added so far.
    added: Word,
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerQueue {
    /// Without timers. All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            root: Word::new(0),
            added: Word::new(0),
        }
    }

    pub(super) fn root(&self) -> Option<TimerId> {
        Option::from_word(self.root.get())
    }

    fn set_root(&self, root: Option<TimerId>) {
        self.root.set(root.to_word());
    }
}

impl<P: Platform> Linux<'_, P> {
    /// When the first timer of a queue expires.
    #[must_use]
    #[inline]
    pub fn first_expiry(&self, queue: &TimerQueue) -> Option<u64> {
        queue.root().map(|id| self.timer(id).expires())
    }

    /// The first timer, if it has expired at `now`. It stays where it is.
    pub(super) fn expired_timer(&self, queue: &TimerQueue, now: u64) -> Option<TimerId> {
        queue.root().filter(|&id| self.timer(id).expires() <= now)
    }

    /// Adds a timer that is in no queue.
    pub(crate) fn enqueue_timer(&self, queue: &TimerQueue, id: TimerId, expires: u64) {
        let timer = self.timer(id);
        debug_assert!(!timer.queued(), "a timer is in one queue");
        queue.added.set(queue.added.get() + 1);
        timer.set_expires(expires);
        timer.set_added(queue.added.get());
        timer.set_queued(true);
        queue.set_root(self.meld_timers(queue.root(), Some(id)));
    }

    /// Takes a timer out of the queue that it is in; one that is in none stays so.
    pub(crate) fn dequeue_timer(&self, queue: &TimerQueue, id: TimerId) {
        let timer = self.timer(id);
        if !timer.queued() {
            return;
        }
        let below = self.merge_children(timer);
        match timer.back() {
            None => queue.set_root(below),
            Some(back_id) => {
                let (back, next) = (self.timer(back_id), timer.sibling());
                if back.child() == Some(id) {
                    back.set_child(next);
                } else {
                    back.set_sibling(next);
                }
                if let Some(next) = next {
                    self.timer(next).set_back(Some(back_id));
                }
                queue.set_root(self.meld_timers(queue.root(), below));
            }
        }
        timer.set_child(None);
        timer.set_sibling(None);
        timer.set_back(None);
        timer.set_queued(false);
    }

    /// One heap of two. Neither root has siblings.
    fn meld_timers(&self, one: Option<TimerId>, other: Option<TimerId>) -> Option<TimerId> {
        let (Some(one), Some(other)) = (one, other) else {
            return one.or(other);
        };
        let key = |id: TimerId| (self.timer(id).expires(), self.timer(id).added());
        let (above_id, below_id) = if key(one) < key(other) {
            (one, other)
        } else {
            (other, one)
        };
        let (above, below) = (self.timer(above_id), self.timer(below_id));
        below.set_sibling(above.child());
        if let Some(first) = above.child() {
            self.timer(first).set_back(Some(below_id));
        }
        below.set_back(Some(above_id));
        above.set_child(Some(below_id));
        Some(above_id)
    }

    /// One heap of a timer's children: melded in pairs from the first on, and these from the last on.
    fn merge_children(&self, timer: Timer<'_>) -> Option<TimerId> {
        let take = |from: &mut Option<TimerId>| {
            let id = (*from)?;
            let taken = self.timer(id);
            *from = taken.sibling();
            taken.set_sibling(None);
            taken.set_back(None);
            Some(id)
        };
        let mut rest = timer.child();
        // Linked backwards, through the siblings.
        let mut pairs = None;
        while let Some(one) = take(&mut rest) {
            let pair = self.meld_timers(Some(one), take(&mut rest));
            if let Some(pair) = pair {
                self.timer(pair).set_sibling(pairs);
            }
            pairs = pair;
        }
        let mut whole = None;
        while let Some(pair) = take(&mut pairs) {
            whole = self.meld_timers(whole, Some(pair));
        }
        whole
    }
}
