//! Times as programs write them: two numbers of 64 bits, seconds and nanoseconds or microseconds.
//!
//! Source: timespec(3type), timeval(3type); Linux, include/linux/time64.h (`timespec64_valid`), include/linux/ktime.h (`ktime_set`).

use crate::Errno;

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;
const US_PER_S: u64 = 1_000_000;
/// The longest time, in nanoseconds: 292 years. Source: Linux `KTIME_MAX`.
const LONGEST: u64 = i64::MAX as u64;

/// `struct timespec`, `struct timeval`.
pub type Pair = [u64; 2];

/// Nanoseconds of a `struct timespec`.
///
/// # Errors
/// `EINVAL` for times before 0, or no number of nanoseconds.
pub fn timespec_ns([seconds, ns]: Pair) -> Result<u64, Errno> {
    if seconds.cast_signed() < 0 || ns >= NS_PER_S {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(NS_PER_S).saturating_add(ns).min(LONGEST))
}

/// Nanoseconds of a `struct timeval`.
///
/// # Errors
/// As [`timespec_ns`].
pub fn timeval_ns([seconds, us]: Pair) -> Result<u64, Errno> {
    if us >= US_PER_S {
        return Err(Errno::EINVAL);
    }
    timespec_ns([seconds, us * 1000])
}
