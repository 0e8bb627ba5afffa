//! The functions that compiled code calls behind the programmer's back: there is no C library to have them.
//!
//! The string instructions keep the compiler from recognizing a loop as the very function that it implements.
//!
//! Source: rustc, `library/core/src/lib.rs`, "How to use the core library".

use core::arch::asm;

/// `memcpy(3)`.
///
/// # Safety
/// As in C: `src` readable and `dst` writable for `len` bytes, without overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(dst: *mut u8, src: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of the instruction; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rdi") dst => _, inout("rsi") src => _,
            options(nostack, preserves_flags),
        );
    }
    dst
}

/// `memmove(3)`.
///
/// # Safety
/// As in C: `src` readable and `dst` writable for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(dst: *mut u8, src: *const u8, len: usize) -> *mut u8 {
    if (dst as usize).wrapping_sub(src as usize) >= len {
        // SAFETY: `dst` is below `src` or past its end: a forward copy reads every byte before overwriting it.
        return unsafe { memcpy(dst, src, len) };
    }
    let (last_dst, last_src) = (
        dst.wrapping_add(len).wrapping_sub(1),
        src.wrapping_add(len).wrapping_sub(1),
    );
    // SAFETY: as above, backwards from the last byte; the direction flag is clear again afterwards.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") len => _, inout("rdi") last_dst => _, inout("rsi") last_src => _,
            options(nostack),
        );
    }
    dst
}

/// `memset(3)`.
///
/// # Safety
/// As in C: `dst` writable for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(dst: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of the instruction; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len => _, inout("rdi") dst => _, in("al") byte as u8,
            options(nostack, preserves_flags),
        );
    }
    dst
}

/// `memcmp(3)`.
///
/// # Safety
/// As in C: both readable for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for index in 0..len {
        // SAFETY: `index < len`, and both are readable for `len` bytes.
        let (x, y) = unsafe { (*a.add(index), *b.add(index)) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// `bcmp(3)`: `memcmp` of which only zero or not is asked.
///
/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, len) }
}

/// `strlen(3)`.
///
/// # Safety
/// As in C: `text` is NUL-terminated.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let end: *const u8;
    // SAFETY: the scan ends at the NUL, which the caller promises.
    unsafe {
        asm!(
            "repne scasb",
            inout("rdi") text => end, inout("rcx") usize::MAX => _, in("al") 0u8,
            options(nostack, readonly),
        );
    }
    end as usize - text as usize - 1
}
