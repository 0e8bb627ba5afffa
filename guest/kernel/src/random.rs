//! Random numbers, for `getrandom` and `/dev/urandom`. Differs from Linux: they only look random, made from the time; no secrets.
//!
//! Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (SplitMix64).

use core::cell::Cell;

use crate::global::Global;
use crate::syscall::Errno;
use crate::{uaccess, x86};

/// The next 64 bits.
pub(crate) fn next() -> u64 {
    static STATE: Global<Cell<u64>> = Global::new(Cell::new(0));
    STATE.set((STATE.get() ^ x86::rdtsc()).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mixed = STATE.get();
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Fills a program's buffer.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn read(addr: u64, len: u64) -> Result<u64, Errno> {
    for done in (0..len).step_by(8) {
        let word = next().to_le_bytes();
        uaccess::copy_to_user(addr.wrapping_add(done), &word[..(len - done).min(8) as usize])?;
    }
    Ok(len)
}
