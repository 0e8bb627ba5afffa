//! Robust futexes: a thread that ends lets those who wait for its locks know.
//!
//! The list is the program's, and may be anything: it is read word by word, no further than [`LIMIT`], and only words that hold the number of
//! the thread that ended are changed.
//!
//! Source: Linux, kernel/futex/core.c (`exit_robust_list`, `handle_futex_death`); get_robust_list(2).

/// Somebody waits for the lock.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
/// Its owner ended with it.
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// The owner's thread.
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;

/// Entries that are looked at. Source: Linux `ROBUST_LIST_LIMIT`.
const LIMIT: usize = 2048;

/// A lock that may be one that the thread held: address, and whether its priority is inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of its word.
    pub addr: u64,
    /// Whether it is a lock with inheritance of priorities.
    pub pi: bool,
    /// Whether the thread was about to take it or give it back.
    pub pending: bool,
}

/// Calls `each` with the locks of a list, which `read` reads; ends where either says `None`.
pub fn walk_robust_list(
    head: u64,
    mut read: impl FnMut(u64) -> Option<u64>,
    mut each: impl FnMut(Left) -> Option<()>,
) -> Option<()> {
    let entry = |word: u64| (word & !1, word & 1 != 0);
    let mut next = read(head)?;
    let offset = read(head.wrapping_add(8))?;
    let (pending, pending_pi) = entry(read(head.wrapping_add(16))?);
    let left = |(at, pi): (u64, bool), pending| Left {
        addr: at.wrapping_add(offset),
        pi,
        pending,
    };
    for _ in 0..LIMIT {
        let at = entry(next);
        if at.0 == head {
            break;
        }
        // The entry may be gone once its lock is.
        let after = read(at.0);
        if at.0 != pending {
            each(left(at, false))?;
        }
        next = after?;
    }
    if pending != 0 {
        each(left((pending, pending_pi), true))?;
    }
    Some(())
}

/// What the word of a lock becomes when thread `tid` ends, if that held it.
#[must_use]
pub fn left_by(tid: u32, word: u32) -> Option<u32> {
    (word & FUTEX_TID_MASK == tid).then_some(word & FUTEX_WAITERS | FUTEX_OWNER_DIED)
}
