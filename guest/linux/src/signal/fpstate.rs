//! x87, SSE and AVX registers in a frame, and what an exception in them was.
//!
//! ```text
//! 0     fxsave image, its last 48 bytes software's: MAGIC1, bytes in all, features, bytes without MAGIC2
//! 512   xsave header: which parts are not in their initial state
//! 576   AVX and later
//! end   MAGIC2
//! ```
//!
//! Source: Intel SDM vol. 1, 10.5.1 "FXSAVE Area", 13.4 "XSAVE Area"; Linux, arch/x86/include/uapi/asm/sigcontext.h (`_fpx_sw_bytes`),
//! arch/x86/kernel/fpu/signal.c.

use super::info::code;

/// Bytes of an `fxsave` image.
pub const FXSAVE_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;
const STATUS_AT: usize = 2;
const MXCSR_AT: usize = 24;
const MXCSR_MASK_AT: usize = 28;
const SOFTWARE_AT: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const MAGIC2_BYTES: usize = 4;
/// x87 and SSE, in the header's mask.
const LEGACY: u64 = 3;
/// MXCSR bits of a processor whose `fxsave` does not say. Source: Intel SDM vol. 1, 11.6.6.
const MXCSR_MASK_DEFAULT: u32 = 0xffbf;
/// At a program's start. Source: System V ABI, AMD64 supplement, 3.4.1.
const FCW_START: u16 = 0x037f;
const MXCSR_START: u32 = 0x1f80;

/// How extended registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FpFormat {
    /// Parts that are kept: bits of XCR0; 0 where `fxsave` is all there is.
    pub features: u64,
    /// Bytes of an image.
    pub bytes: usize,
}

impl FpFormat {
    /// x87 and SSE.
    pub const FXSAVE: Self = Self {
        features: 0,
        bytes: FXSAVE_BYTES,
    };

    /// Whether there is more than x87 and SSE.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        self.features != 0
    }

    /// Bytes in a frame.
    #[must_use]
    pub const fn frame_bytes(self) -> usize {
        if self.is_extended() {
            self.bytes + MAGIC2_BYTES
        } else {
            self.bytes
        }
    }

    /// Turns an image into what a frame has: marks it. `bytes` has room for [`FpFormat::frame_bytes`].
    pub fn mark(self, bytes: &mut [u8]) {
        bytes[SOFTWARE_AT..FXSAVE_BYTES].fill(0);
        if !self.is_extended() {
            return;
        }
        put(bytes, SOFTWARE_AT, &MAGIC1.to_le_bytes());
        put(bytes, SOFTWARE_AT + 4, &(self.frame_bytes() as u32).to_le_bytes());
        put(bytes, SOFTWARE_AT + 8, &self.features.to_le_bytes());
        put(bytes, SOFTWARE_AT + 16, &(self.bytes as u32).to_le_bytes());
        put(bytes, self.bytes, &MAGIC2.to_le_bytes());
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Turns what a program gave back into an image that can be loaded: no bit is set that the processor would refuse. Parts that it did not
/// give come out in their initial state. `own_mask` is [`own_mxcsr_mask`] of an image of the processor's own.
pub fn sanitize(format: FpFormat, bytes: &mut [u8], own_mask: u32) {
    let mxcsr = word32(bytes, MXCSR_AT) & own_mask;
    put(bytes, MXCSR_AT, &mxcsr.to_le_bytes());
    if !format.is_extended() {
        return;
    }
    let whole = claims_more(bytes)
        && word32(bytes, SOFTWARE_AT + 16) as usize == format.bytes
        && word32(bytes, format.bytes) == MAGIC2;
    let given = if whole {
        word64(bytes, FXSAVE_BYTES) & word64(bytes, SOFTWARE_AT + 8)
    } else {
        LEGACY
    };
    bytes[FXSAVE_BYTES..FXSAVE_BYTES + HEADER_BYTES].fill(0);
    put(bytes, FXSAVE_BYTES, &(given & format.features).to_le_bytes());
}

/// Whether the first 512 bytes say that there is more.
#[must_use]
pub fn claims_more(image: &[u8]) -> bool {
    word32(image, SOFTWARE_AT) == MAGIC1
}

/// MXCSR bits that the processor has, from an image that it wrote.
#[must_use]
pub fn own_mxcsr_mask(image: &[u8]) -> u32 {
    match word32(image, MXCSR_MASK_AT) {
        0 => MXCSR_MASK_DEFAULT,
        mask => mask,
    }
}

/// The state at a program's start: everything zero, all exceptions masked.
pub fn reset_image(image: &mut [u8]) {
    image.fill(0);
    put(image, 0, &FCW_START.to_le_bytes());
    put(image, MXCSR_AT, &MXCSR_START.to_le_bytes());
}

/// `si_code` of an x87 (`simd` false) or SSE exception, from an image; 0 if none is unmasked. Source: Linux `fpu__exception_code`; the
/// bits are IM DM ZM OM UM PM.
#[must_use]
pub fn exception_code(image: &[u8], simd: bool) -> i32 {
    let raised = if simd {
        let mxcsr = word32(image, MXCSR_AT);
        mxcsr & !(mxcsr >> 7)
    } else {
        let (control, status) = (word32(image, 0) & 0xffff, word32(image, STATUS_AT) & 0xffff);
        status & !control
    };
    match raised {
        bits if bits & 0x01 != 0 => code::FPE_FLTINV,
        bits if bits & 0x04 != 0 => code::FPE_FLTDIV,
        bits if bits & 0x08 != 0 => code::FPE_FLTOVF,
        // Denormal operands count as underflow.
        bits if bits & 0x12 != 0 => code::FPE_FLTUND,
        bits if bits & 0x20 != 0 => code::FPE_FLTRES,
        _ => 0,
    }
}
