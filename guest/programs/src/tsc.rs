//! Single accesses timed in ring 3 with the time-stamp counter.
//!
//! `lfence; rdtsc; lfence` begins only after everything before has finished, and lets nothing after begin earlier;
//! `rdtscp; lfence` reads after the access has finished. (A store has then retired, which is when it faults; it may
//! still be on its way to the cache.)
//!
//! Source: Intel SDM, volume 2, RDTSC and RDTSCP; AMD APM, volume 3, the same.

use core::arch::asm;

/// Times one instruction: its template, then its operands. Cycles.
macro_rules! timed {
    ($instruction:literal, $($operand:tt)*) => {{
        let (begin_low, begin_high, end_low, end_high): (u32, u32, u32, u32);
        asm!(
            "lfence",
            "rdtsc",
            "lfence",
            "mov {low:e}, eax",
            "mov {high:e}, edx",
            $instruction,
            "rdtscp",
            "lfence",
            low = out(reg) begin_low,
            high = out(reg) begin_high,
            $($operand)*,
            out("eax") end_low,
            out("edx") end_high,
            out("ecx") _,
            options(nostack, preserves_flags),
        );
        join(end_low, end_high).wrapping_sub(join(begin_low, begin_high))
    }};
}

/// Times one plain 8-byte store. Cycles.
///
/// # Safety
/// `address` is 8-byte aligned, and the caller's to write.
#[inline(always)]
pub unsafe fn store(address: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller's contract for the store; the rest touches registers only.
    unsafe { timed!("mov qword ptr [{address}], {value}", address = in(reg) address, value = in(reg) value) }
}

/// Times one plain 8-byte load. Cycles.
///
/// # Safety
/// `address` is 8-byte aligned and mapped readable.
#[inline(always)]
pub unsafe fn load(address: *const u64) -> u64 {
    // SAFETY: the caller's contract for the load; the rest touches registers only.
    unsafe { timed!("mov {value}, qword ptr [{address}]", address = in(reg) address, value = out(reg) _) }
}

/// Times one plain 4-byte load. Cycles.
///
/// # Safety
/// `address` is 4-byte aligned and mapped readable.
#[inline(always)]
pub unsafe fn load_u32(address: *const u32) -> u64 {
    // SAFETY: the caller's contract for the load; the rest touches registers only.
    unsafe { timed!("mov {value:e}, dword ptr [{address}]", address = in(reg) address, value = out(reg) _) }
}

/// Times a call, such as a system call. Cycles.
#[inline(always)]
pub fn call<R>(operation: impl FnOnce() -> R) -> (u64, R) {
    let begin = now();
    let result = operation();
    (now().wrapping_sub(begin), result)
}

/// The counter, read after everything before has finished and before anything after begins.
#[inline(always)]
#[must_use]
pub fn now() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: touches registers only. Not `pure`, and memory is clobbered, so accesses stay on their side.
    unsafe { asm!("lfence", "rdtsc", "lfence", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    join(low, high)
}

const fn join(low: u32, high: u32) -> u64 {
    (high as u64) << 32 | low as u64
}
