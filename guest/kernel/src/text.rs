//! Lines of text, put together without `core::fmt`: its integer formatting is precompiled with SSE, which ring 0 on
//! some hosts does not have.

/// Bytes of the longest line; what does not fit is cut.
pub const LINE_BYTES: usize = 256;

/// A line under construction.
///
/// # Invariants
/// `len <= LINE_BYTES`.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

/// What a line can be made of.
pub trait Piece {
    /// Appends it.
    fn push_to(&self, line: &mut Line);
}

/// A number shown as `0x` and lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex(pub u64);

/// A number shown as 16 hexadecimal digits without a prefix, as in Linux's register lines.
#[derive(Clone, Copy, Debug)]
pub struct Hex16(pub u64);

/// Makes a [`Line`] of [`Piece`]s: `line!["page ", 3u64, " of ", Hex(x)]`.
#[macro_export]
macro_rules! line {
    ($($piece:expr),+ $(,)?) => {{
        let mut line = $crate::text::Line::new();
        $($crate::text::Piece::push_to(&$piece, &mut line);)+
        line
    }};
}

impl Line {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LINE_BYTES],
            len: 0,
        }
    }

    /// Appends bytes as they are.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let Some(free) = self.bytes.get_mut(self.len) else {
                return;
            };
            *free = byte;
            self.len += 1;
        }
    }

    /// What was put together.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push_hex(&mut self, value: u64, digits: u32) {
        for digit in (0..digits).rev() {
            let nibble = (value >> (4 * digit)) as usize & 15;
            self.push_bytes(&b"0123456789abcdef"[nibble..=nibble]);
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Piece for &str {
    fn push_to(&self, line: &mut Line) {
        line.push_bytes(self.as_bytes());
    }
}

impl Piece for &[u8] {
    fn push_to(&self, line: &mut Line) {
        line.push_bytes(self);
    }
}

impl Piece for u64 {
    fn push_to(&self, line: &mut Line) {
        let mut digits = [0u8; 20];
        let mut first = digits.len();
        let mut rest = *self;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        line.push_bytes(&digits[first..]);
    }
}

impl Piece for u32 {
    fn push_to(&self, line: &mut Line) {
        u64::from(*self).push_to(line);
    }
}

impl Piece for usize {
    fn push_to(&self, line: &mut Line) {
        (*self as u64).push_to(line);
    }
}

impl Piece for i32 {
    fn push_to(&self, line: &mut Line) {
        if *self < 0 {
            line.push_bytes(b"-");
        }
        self.unsigned_abs().push_to(line);
    }
}

impl Piece for Hex {
    fn push_to(&self, line: &mut Line) {
        line.push_bytes(b"0x");
        line.push_hex(self.0, (64 - self.0.leading_zeros()).div_ceil(4).max(1));
    }
}

impl Piece for Hex16 {
    fn push_to(&self, line: &mut Line) {
        line.push_hex(self.0, 16);
    }
}

impl Piece for Line {
    fn push_to(&self, line: &mut Line) {
        line.push_bytes(self.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> &str {
        core::str::from_utf8(line.as_bytes()).expect("ASCII")
    }

    #[test]
    fn numbers_read_as_core_would_write_them() {
        for value in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 1 << 32, u64::MAX - 1, u64::MAX] {
            assert_eq!(text(&line![value]), format!("{value}"));
            assert_eq!(text(&line![Hex(value)]), format!("{value:#x}"));
            assert_eq!(text(&line![Hex16(value)]), format!("{value:016x}"));
        }
        for value in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(text(&line![value]), format!("{value}"));
        }
    }

    #[test]
    fn pieces_follow_each_other() {
        assert_eq!(
            text(&line!["a ", 7u32, " b ", &b"cd"[..], line![" ", 1usize]]),
            "a 7 b cd 1"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let mut line = line!["x"];
        line.push_bytes(&[b'y'; 2 * LINE_BYTES]);
        assert_eq!(line.as_bytes().len(), LINE_BYTES);
        assert_eq!(line.as_bytes()[LINE_BYTES - 1], b'y');
    }
}
