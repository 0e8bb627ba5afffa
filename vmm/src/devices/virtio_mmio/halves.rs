//! 64-bit values in 32-bit registers.

/// The 32-bit half of `value` that `select` names; there are only two.
pub(super) fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

/// Replaces that half; false if it does not exist and `value` is not 0.
pub(super) fn set_half(field: &mut u64, select: u32, value: u32) -> bool {
    match select {
        0 => *field = *field & !0xffff_ffff | u64::from(value),
        1 => *field = *field & 0xffff_ffff | u64::from(value) << 32,
        // A driver may clear bits that do not exist.
        _ => return value == 0,
    }
    true
}
