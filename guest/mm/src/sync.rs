//! Shared state: the one place that decides how it is read, written and locked.
//!
//! Everything the memory manager keeps is made of [`Word`]s and [`Word32`]s: in frames (page tables, XArray nodes,
//! VMAs, inodes), in [`crate::page::Page`], in the roots of [`crate::Memory`]. They are relaxed atomics, which on
//! x86-64 compile to plain loads and stores: sharing them between vCPUs is sound without `unsafe`, and costs nothing.
//!
//! Relaxed words give no exclusion. What may change together is guarded by a [`Lock`]; the table in
//! `ARCHITECTURE.md` says which lock guards what, and in which order they are taken.
//!
//! Today one vCPU enters the kernel at a time and never waits inside it, so a lock has nobody to exclude: [`Lock`]
//! compiles to nothing in the guest. In builds with debug assertions (the host's tests) it records that it is held
//! and panics when taken twice: exactly the places that would deadlock once a second vCPU makes it spin.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// A 64-bit word of shared state.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// A word holding `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Its value.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets it.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Adds under the lock that guards the word: not atomic as a whole. Wraps.
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }

    /// Subtracts under the lock that guards the word: not atomic as a whole. Wraps.
    #[inline(always)]
    pub fn sub(&self, value: u64) {
        self.set(self.get().wrapping_sub(value));
    }
}

/// A 32-bit word of shared state.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word32(AtomicU32);

impl Word32 {
    /// A word holding `value`.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// Its value.
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Sets it.
    #[inline(always)]
    pub fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }

    /// Adds under the lock that guards the word: not atomic as a whole. Wraps.
    #[inline(always)]
    pub fn add(&self, value: u32) {
        self.set(self.get().wrapping_add(value));
    }

    /// Subtracts under the lock that guards the word: not atomic as a whole. Wraps.
    #[inline(always)]
    pub fn sub(&self, value: u32) {
        self.set(self.get().wrapping_sub(value));
    }
}

/// A lock; see the module's text for what it does today.
#[derive(Debug, Default)]
pub struct Lock {
    #[cfg(debug_assertions)]
    held: Word32,
}

impl Lock {
    /// A lock that nobody holds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            #[cfg(debug_assertions)]
            held: Word32::new(0),
        }
    }

    /// Takes the lock until the guard is dropped.
    ///
    /// # Panics
    /// With debug assertions, when it is held already: on one vCPU nobody could ever release it.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_> {
        #[cfg(debug_assertions)]
        {
            assert_eq!(self.held.get(), 0, "lock taken twice: this would deadlock");
            self.held.set(1);
        }
        Guard { lock: self }
    }
}

/// Holds a [`Lock`] until dropped.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard<'a> {
    #[cfg_attr(
        not(debug_assertions),
        expect(dead_code, reason = "locks exclude nobody on one vCPU")
    )]
    lock: &'a Lock,
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        self.lock.held.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock taken twice")]
    fn taking_a_lock_twice_is_caught() {
        let lock = Lock::new();
        let _held = lock.lock();
        let _again = lock.lock();
    }

    #[test]
    fn a_lock_is_released_with_its_guard() {
        let lock = Lock::new();
        drop(lock.lock());
        drop(lock.lock());
    }
}
