//! Numbers, sizes and lists as they are written on a command line.

/// A decimal number.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A size in bytes: a decimal number, optionally with one of the binary suffixes `K`, `M`, `G` (either case).
#[must_use]
pub fn size_bytes(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 10),
        (b'm' | b'M', digits) => (digits, 20),
        (b'g' | b'G', digits) => (digits, 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for refused in [&b""[..], b"-1", b"+1", b"1 ", b"0x10", b"18446744073709551616"] {
            assert_eq!(number(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn sizes_take_one_binary_suffix() {
        assert_eq!(size_bytes(b"24M"), Some(24 << 20));
        assert_eq!(size_bytes(b"4k"), Some(4096));
        assert_eq!(size_bytes(b"1G"), Some(1 << 30));
        assert_eq!(size_bytes(b"77"), Some(77));
        for refused in [&b""[..], b"M", b"1MB", b"1.5M", b"17179869184G"] {
            assert_eq!(size_bytes(refused), None, "{refused:?}");
        }
    }
}
