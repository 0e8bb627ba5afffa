//! Text, piece by piece: `put!(out; "VmRSS:\t", Right(kib, 8), " kB\n")`.
//!
//! (`core::fmt` is larger, and what is precompiled of it uses SSE, which ring 0 may not have.)

/// Where text goes.
pub(crate) struct Out<'a>(pub(crate) &'a mut dyn FnMut(&[u8]));

/// What text is made of.
pub(crate) trait Piece {
    /// Appends it.
    fn put(&self, out: &mut Out<'_>);
}

/// Appends pieces.
macro_rules! put {
    ($out:expr; $($piece:expr),+ $(,)?) => {{
        let out: &mut $crate::proc::text::Out<'_> = $out;
        $($crate::proc::text::Piece::put(&$piece, out);)+
    }};
}
pub(crate) use put;

/// A number in so many columns, to the right.
pub(crate) struct Right(pub(crate) u64, pub(crate) usize);
/// Text in so many columns, to the left.
pub(crate) struct Left<'a>(pub(crate) &'a str, pub(crate) usize);
/// A hexadecimal number of so many digits at least.
pub(crate) struct Hex0(pub(crate) u64, pub(crate) usize);
/// An octal number in so many columns, to the right.
pub(crate) struct Octal(pub(crate) u64, pub(crate) usize);
/// An octal number of so many digits at least.
pub(crate) struct Octal0(pub(crate) u64, pub(crate) usize);
/// Hundredths, as `7.62`.
pub(crate) struct Hundredths(pub(crate) u64);

/// The digits of a number.
pub(crate) struct Digits {
    bytes: [u8; 24],
    first: usize,
}

impl Digits {
    pub(crate) fn new(mut value: u64, radix: u64) -> Self {
        let mut digits = Self {
            bytes: [0; 24],
            first: 24,
        };
        loop {
            digits.first -= 1;
            digits.bytes[digits.first] = b"0123456789abcdef"[(value % radix) as usize];
            value /= radix;
            if value == 0 {
                return digits;
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

/// Most columns of a number.
const COLUMNS_MAX: usize = 32;
/// What fills up a text's columns.
const SPACES: &[u8; 64] = &[b' '; 64];

/// In one piece: each costs a call.
fn filled(value: u64, radix: u64, columns: usize, fill: u8, out: &mut Out<'_>) {
    let digits = Digits::new(value, radix);
    let digits = digits.as_bytes();
    let mut bytes = [fill; COLUMNS_MAX];
    bytes[COLUMNS_MAX - digits.len()..].copy_from_slice(digits);
    let len = columns.clamp(digits.len(), COLUMNS_MAX);
    (out.0)(&bytes[COLUMNS_MAX - len..]);
}

impl Piece for &str {
    fn put(&self, out: &mut Out<'_>) {
        (out.0)(self.as_bytes());
    }
}

impl Piece for &[u8] {
    fn put(&self, out: &mut Out<'_>) {
        (out.0)(self);
    }
}

impl Piece for u64 {
    fn put(&self, out: &mut Out<'_>) {
        (out.0)(Digits::new(*self, 10).as_bytes());
    }
}

impl Piece for u32 {
    fn put(&self, out: &mut Out<'_>) {
        u64::from(*self).put(out);
    }
}

impl Piece for i64 {
    fn put(&self, out: &mut Out<'_>) {
        if *self < 0 {
            (out.0)(b"-");
        }
        self.unsigned_abs().put(out);
    }
}

impl Piece for i32 {
    fn put(&self, out: &mut Out<'_>) {
        i64::from(*self).put(out);
    }
}

impl Piece for Right {
    fn put(&self, out: &mut Out<'_>) {
        filled(self.0, 10, self.1, b' ', out);
    }
}

impl Piece for Left<'_> {
    fn put(&self, out: &mut Out<'_>) {
        (out.0)(self.0.as_bytes());
        let pad = self.1.saturating_sub(self.0.len()).min(SPACES.len());
        (out.0)(&SPACES[..pad]);
    }
}

impl Piece for Hex0 {
    fn put(&self, out: &mut Out<'_>) {
        filled(self.0, 16, self.1, b'0', out);
    }
}

impl Piece for Octal {
    fn put(&self, out: &mut Out<'_>) {
        filled(self.0, 8, self.1, b' ', out);
    }
}

impl Piece for Octal0 {
    fn put(&self, out: &mut Out<'_>) {
        filled(self.0, 8, self.1, b'0', out);
    }
}

impl Piece for Hundredths {
    fn put(&self, out: &mut Out<'_>) {
        (self.0 / 100).put(out);
        (out.0)(b".");
        filled(self.0 % 100, 10, 2, b'0', out);
    }
}

#[cfg(test)]
pub(crate) fn text(make: impl FnOnce(&mut Out<'_>)) -> String {
    let mut bytes = Vec::new();
    make(&mut Out(&mut |piece| bytes.extend_from_slice(piece)));
    String::from_utf8(bytes).expect("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_printf_would_write_them() {
        for value in [0, 7, 8, 42, 4095, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(
                text(|out| put!(out; value, " ", Right(value, 8))),
                format!("{value} {value:>8}")
            );
            assert_eq!(
                text(|out| put!(out; Hex0(value, 1), " ", Hex0(value, 8))),
                format!("{value:x} {value:08x}")
            );
            assert_eq!(
                text(|out| put!(out; Octal(value, 5), " ", Octal0(value, 4))),
                format!("{value:>5o} {value:04o}")
            );
        }
        for value in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(text(|out| put!(out; value)), format!("{value}"));
        }
        assert_eq!(text(|out| put!(out; Hundredths(705), Left("ab", 4), "|")), "7.05ab  |");
    }
}
