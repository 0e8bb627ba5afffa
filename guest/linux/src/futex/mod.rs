//! Futexes: who waits for which word of memory, and what is asked of the kernel about that.
//!
//! | file | what it is |
//! |---|---|
//! | `queue.rs` | the threads that wait, by the word that they wait for |
//! | `wake_op.rs` | the operation that `FUTEX_WAKE_OP` is told in a word |
//! | `robust.rs` | the list of locks that a thread leaves behind |
//!
//! Words are named by [`faultlab_mm::mmap::FutexKey`].
//!
//! Source: Linux, kernel/futex/; futex(2).

mod queue;
mod robust;
mod wake_op;

#[cfg(test)]
mod tests;

pub use queue::{Futexes, Wait};
pub use robust::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, Left, left_by, walk_robust_list};
pub use wake_op::WakeOp;

/// All bits: who waits or wakes without a set.
pub const BITSET_ANY: u32 = u32::MAX;

/// Operations of `futex`, without [`PRIVATE`] and [`CLOCK_REALTIME`].
pub mod op {
    /// Waits while the word has a value.
    pub const WAIT: u32 = 0;
    /// Wakes.
    pub const WAKE: u32 = 1;
    /// Wakes some, and lets others wait for another word.
    pub const REQUEUE: u32 = 3;
    /// The same, if the word has a value.
    pub const CMP_REQUEUE: u32 = 4;
    /// Changes another word, wakes who waits for the first, and perhaps who waits for the other.
    pub const WAKE_OP: u32 = 5;
    /// Takes a lock, and waits for it until a time of the real clock.
    pub const LOCK_PI: u32 = 6;
    /// Gives it to the first that waits for it.
    pub const UNLOCK_PI: u32 = 7;
    /// Takes it if nobody has it.
    pub const TRYLOCK_PI: u32 = 8;
    /// As `LOCK_PI`, on either clock.
    pub const LOCK_PI2: u32 = 13;
    /// Waits with a set of bits, and until a time.
    pub const WAIT_BITSET: u32 = 9;
    /// Wakes those with bits in common.
    pub const WAKE_BITSET: u32 = 10;
}

/// The word is in no other process.
pub const PRIVATE: u32 = 128;
/// The time is that of the real clock.
pub const CLOCK_REALTIME: u32 = 256;
