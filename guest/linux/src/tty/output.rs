//! Characters on their way out. Source: Linux, drivers/tty/n_tty.c (`do_output_char`).

use super::termios::oflag;
use super::{Show, Tty};

/// Bytes that are shown at a time.
const CHUNK: usize = 64;

impl Tty {
    /// Shows what a program wrote.
    pub fn write(&self, bytes: &[u8], show: &mut Show<'_>) {
        let flags = self.termios().oflag;
        if flags & oflag::OPOST == 0 {
            return show(bytes);
        }
        let mut chunk = [0; CHUNK];
        let mut len = 0;
        for &byte in bytes {
            if len + 2 > CHUNK {
                show(&chunk[..len]);
                len = 0;
            }
            let (first, second) = self.processed(byte, flags);
            for byte in [first, second].into_iter().flatten() {
                chunk[len] = byte;
                len += 1;
            }
        }
        if len != 0 {
            show(&chunk[..len]);
        }
    }

    /// Shows one byte, as programs' output is shown.
    pub(super) fn put(&self, byte: u8, show: &mut Show<'_>) {
        self.write(&[byte], show);
    }

    /// What a byte becomes.
    fn processed(&self, byte: u8, flags: u32) -> (Option<u8>, Option<u8>) {
        let column = self.column.get();
        let mut pair = (Some(byte), None);
        let next = match byte {
            b'\n' if flags & oflag::ONLCR != 0 => {
                pair = (Some(b'\r'), Some(b'\n'));
                0
            }
            b'\r' if flags & oflag::OCRNL != 0 => {
                pair = (Some(b'\n'), None);
                column
            }
            b'\r' => 0,
            b'\t' => column + 8 - column % 8,
            0x08 => column.saturating_sub(1),
            byte if byte.is_ascii_control() || byte & 0xc0 == 0x80 => column,
            _ => column + 1,
        };
        self.column.set(next);
        pair
    }
}
