//! Time: the time-stamp counter, at the rate on the command line.
//!
//! Source: Linux, arch/x86/kernel/tsc.c; clock_gettime(2).

use core::cell::Cell;

use crate::cpu::x86;
use crate::dev::lab;
use crate::global::Global;

/// Taken when nobody knows better: one tick, one nanosecond.
const FALLBACK_KHZ: u64 = 1_000_000;

struct Clock {
    khz: Cell<u64>,
    boot_tsc: Cell<u64>,
    /// Nanoseconds since 1970 at boot; 0 without a lab device.
    boot_realtime_ns: Cell<u64>,
}

static CLOCK: Global<Clock> = Global::new(Clock {
    khz: Cell::new(FALLBACK_KHZ),
    boot_tsc: Cell::new(0),
    boot_realtime_ns: Cell::new(0),
});

/// Starts the clocks. `tsc_khz` is not 0.
pub(crate) fn start(tsc_khz: Option<u64>) {
    CLOCK.khz.set(tsc_khz.unwrap_or(FALLBACK_KHZ));
    CLOCK.boot_tsc.set(x86::rdtsc());
    CLOCK.boot_realtime_ns.set(lab::wallclock_ns());
}

/// Rate of the time-stamp counter, kHz.
pub(crate) fn khz() -> u64 {
    CLOCK.khz.get()
}

/// Nanoseconds since boot.
pub(crate) fn monotonic_ns() -> u64 {
    ns_of_ticks(x86::rdtsc().wrapping_sub(CLOCK.boot_tsc.get()))
}

/// Nanoseconds that so many ticks of the time-stamp counter take.
pub(crate) fn ns_of_ticks(ticks: u64) -> u64 {
    let khz = CLOCK.khz.get();
    // In milliseconds and a rest, so that nothing overflows.
    let (ms, rest) = (ticks / khz, ticks % khz);
    ms * 1_000_000 + rest * 1_000_000 / khz
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn realtime_ns() -> u64 {
    CLOCK.boot_realtime_ns.get() + monotonic_ns()
}

/// When, on the clock since boot, it is so many nanoseconds since 1970; 0 for times before.
pub(crate) fn monotonic_of_realtime(ns: u64) -> u64 {
    ns.saturating_sub(CLOCK.boot_realtime_ns.get())
}
