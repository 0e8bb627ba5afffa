//! Random numbers, for `getrandom` and `/dev/urandom`. Differs from Linux: they only look random, made from the time; no secrets.
//!
//! Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (SplitMix64).

use core::cell::Cell;

use faultlab_abi::layout::{PAGE_SIZE, USER_END};
use faultlab_linux::Errno;

use crate::cpu::x86;
use crate::global::Global;
use crate::mem::uaccess;

/// The next 64 bits.
pub(crate) fn next() -> u64 {
    static STATE: Global<Cell<u64>> = Global::new(Cell::new(0));
    STATE.set((STATE.get() ^ x86::rdtsc()).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mixed = STATE.get();
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Fills a program's buffer, as far as it is there; how many bytes that was.
///
/// # Errors
/// `EFAULT` if nothing of it is there.
pub(crate) fn read(addr: u64, len: u64) -> Result<u64, Errno> {
    if addr.checked_add(len).is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT);
    }
    let mut done = 0;
    while done < len {
        let at = addr + done;
        // A word that a page's end divides is copied in two parts, of which the second may fail.
        let bytes = (len - done).min(8).min(PAGE_SIZE - at % PAGE_SIZE);
        let word = next().to_le_bytes();
        match uaccess::copy_to_user(at, &word[..bytes as usize]) {
            Err(_) if done != 0 => break,
            copied => copied?,
        }
        done += bytes;
    }
    Ok(done)
}
