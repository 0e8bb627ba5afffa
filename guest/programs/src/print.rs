//! `println!` and `eprintln!`: one `write` a line, nothing held back, so that the lines of several processes never
//! mix and none is lost when a process dies.

use core::fmt::{self, Write};

use crate::sys;

/// Standard output's descriptor.
pub const STDOUT: i32 = 1;
/// Standard error's descriptor.
pub const STDERR: i32 = 2;

/// Bytes that go out in one `write`; longer lines take several.
const LINE_BYTES: usize = 512;

/// A line under construction. What a failing `write` refuses is dropped: there is nowhere to report it.
struct Line {
    descriptor: i32,
    used: usize,
    bytes: [u8; LINE_BYTES],
}

impl Line {
    fn flush(&mut self) {
        let mut rest = &self.bytes[..self.used];
        while let Ok(written @ 1..) = sys::write(self.descriptor, rest) {
            rest = rest.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == LINE_BYTES {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Writes a line with its newline; what the macros expand to.
pub fn line(descriptor: i32, text: fmt::Arguments<'_>) {
    let mut line = Line {
        descriptor,
        used: 0,
        bytes: [0; LINE_BYTES],
    };
    // `Line` never fails; a `Display` that does leaves what it wrote so far.
    _ = line.write_fmt(text);
    _ = line.write_str("\n");
    line.flush();
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::print::line($crate::print::STDOUT, ::core::format_args!($($argument)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::print::line($crate::print::STDERR, ::core::format_args!($($argument)*)) };
}

/// Bytes that need not be UTF-8 (arguments, environment), other characters escaped.
pub struct Bytes<'a>(pub &'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}
