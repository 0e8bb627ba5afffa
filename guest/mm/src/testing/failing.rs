//! Allocations that fail because a test wants it, not because there is no memory.

use std::cell::Cell;
use std::ops::Range;

/// Counts attempts to allocate, and says which of them fail.
#[derive(Debug, Default)]
pub struct Failing {
    attempts: Cell<u64>,
    first: Cell<u64>,
    past: Cell<u64>,
}

impl Failing {
    /// Attempts so far.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts.get()
    }

    /// Lets the attempts with these numbers fail, the first ever being 0, and all others succeed.
    pub fn set(&self, numbers: Range<u64>) {
        self.first.set(numbers.start);
        self.past.set(numbers.end);
    }

    pub(super) fn attempt(&self) -> bool {
        let number = self.attempts.get();
        self.attempts.set(number + 1);
        (self.first.get()..self.past.get()).contains(&number)
    }
}
