//! The threads that wait for futexes.
//!
//! A thread is a slot of the kernel's table, and waits for one word at a time: so there is a record for each slot, and they are linked by
//! number, in the order of their arrival, in the bucket of their word.
//!
//! | state | event | next |
//! |---|---|---|
//! | `Idle` | `wait` | `Queued` |
//! | `Queued` | `wake` | `Woken` |
//! | `Queued` | `requeue` | `Queued`, for another word |
//! | `Queued`, `Woken` | `leave` | `Idle` |
//!
//! # Invariants
//! A record is in exactly one bucket, that of its key, if it is `Queued`, and in none otherwise.
//!
//! Source: Linux, kernel/futex/core.c (`futex_queue`), waitwake.c, requeue.c.

use core::cell::Cell;

use faultlab_mm::mmap::FutexKey;

/// Buckets. With few threads there are few words at a time.
const BUCKETS: usize = 16;

/// What a thread has to do with futexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    #[default]
    Idle,
    /// It waits for a word.
    Queued,
    /// It was woken, and has not returned from its call yet.
    Woken,
}

/// A link: number of a record plus one, 0 for none. All zero at the start, so that the table costs no space in an image.
type Link = Cell<u16>;

#[derive(Debug)]
struct Waiter {
    state: Cell<Wait>,
    key: Cell<FutexKey>,
    bitset: Cell<u32>,
    next: Link,
    prev: Link,
}

#[derive(Debug)]
struct Bucket {
    first: Link,
    last: Link,
}

/// The futexes of a machine with `N` threads at most.
#[derive(Debug)]
pub struct Futexes<const N: usize> {
    buckets: [Bucket; BUCKETS],
    waiters: [Waiter; N],
}

impl<const N: usize> Default for Futexes<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Futexes<N> {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N < u16::MAX as usize, "a link has 16 bits") };
        Self {
            buckets: [const {
                Bucket {
                    first: Cell::new(0),
                    last: Cell::new(0),
                }
            }; BUCKETS],
            waiters: [const {
                Waiter {
                    state: Cell::new(Wait::Idle),
                    key: Cell::new(FutexKey::NONE),
                    bitset: Cell::new(0),
                    next: Cell::new(0),
                    prev: Cell::new(0),
                }
            }; N],
        }
    }

    fn bucket(&self, key: FutexKey) -> &Bucket {
        &self.buckets[key.hash() as usize % BUCKETS]
    }

    /// The record that a link names, with its number.
    fn at(&self, link: u16) -> Option<(usize, &Waiter)> {
        let index = usize::from(link).checked_sub(1)?;
        self.waiters.get(index).map(|waiter| (index, waiter))
    }

    /// What thread `index` does.
    #[must_use]
    pub fn state(&self, index: usize) -> Wait {
        self.waiters[index].state.get()
    }

    /// Thread `index` waits for a word from now on, after those that do already.
    ///
    /// # Panics
    /// When it waits already: it is in one call at a time.
    pub fn wait(&self, index: usize, key: FutexKey, bitset: u32) {
        let waiter = &self.waiters[index];
        assert!(
            waiter.state.get() == Wait::Idle,
            "a thread waits for one futex at a time"
        );
        waiter.state.set(Wait::Queued);
        waiter.bitset.set(bitset);
        self.append(index, key);
    }

    /// Thread `index` does not wait any more; what it did.
    pub fn leave(&self, index: usize) -> Wait {
        let waiter = &self.waiters[index];
        if waiter.state.get() == Wait::Queued {
            self.unlink(index);
        }
        waiter.state.replace(Wait::Idle)
    }

    /// Whether any thread waits for a word.
    #[must_use]
    pub fn any(&self, key: FutexKey) -> bool {
        let mut link = self.bucket(key).first.get();
        while let Some((_, waiter)) = self.at(link) {
            if waiter.key.get() == key {
                return true;
            }
            link = waiter.next.get();
        }
        false
    }

    /// Wakes at most `most` threads that wait for a word with a bit in common, and tells who they are; how many.
    pub fn wake(&self, key: FutexKey, most: u64, bitset: u32, mut woken: impl FnMut(usize)) -> u64 {
        let mut done = 0;
        let mut link = self.bucket(key).first.get();
        while let Some((index, waiter)) = self.at(link)
            && done < most
        {
            link = waiter.next.get();
            if waiter.key.get() == key && waiter.bitset.get() & bitset != 0 {
                self.end_wait(index);
                woken(index);
                done += 1;
            }
        }
        done
    }

    /// Wakes at most `wake` threads that wait for `from`, and lets at most `most` others wait for `to`; how many both are.
    pub fn requeue(&self, [from, to]: [FutexKey; 2], wake: u64, most: u64, mut woken: impl FnMut(usize)) -> u64 {
        let all = wake.saturating_add(most);
        let mut done = 0;
        // Those that go to the end of the same bucket have another key, or were seen.
        let last = self.bucket(from).last.get();
        let mut link = self.bucket(from).first.get();
        while let Some((index, waiter)) = self.at(link)
            && done < all
        {
            let was_last = link == last;
            link = waiter.next.get();
            if waiter.key.get() == from {
                done += 1;
                if done <= wake {
                    self.end_wait(index);
                    woken(index);
                } else if from != to {
                    self.unlink(index);
                    self.append(index, to);
                }
            }
            if was_last {
                break;
            }
        }
        done
    }

    fn end_wait(&self, index: usize) {
        self.unlink(index);
        self.waiters[index].state.set(Wait::Woken);
    }

    fn append(&self, index: usize, key: FutexKey) {
        let (waiter, bucket) = (&self.waiters[index], self.bucket(key));
        let (own, last) = (index as u16 + 1, bucket.last.get());
        waiter.key.set(key);
        waiter.next.set(0);
        waiter.prev.set(last);
        match self.at(last) {
            Some((_, before)) => before.next.set(own),
            None => bucket.first.set(own),
        }
        bucket.last.set(own);
    }

    fn unlink(&self, index: usize) {
        let waiter = &self.waiters[index];
        let bucket = self.bucket(waiter.key.get());
        let (prev, next) = (waiter.prev.get(), waiter.next.get());
        match self.at(prev) {
            Some((_, before)) => before.next.set(next),
            None => bucket.first.set(next),
        }
        match self.at(next) {
            Some((_, after)) => after.prev.set(prev),
            None => bucket.last.set(prev),
        }
    }
}
