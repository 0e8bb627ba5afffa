//! Characters on their way in. Source: Linux, drivers/tty/n_tty.c (`n_tty_receive_char_special`, `eraser`, `echo_char`).

use super::termios::{cc, iflag, lflag};
use super::{BUFFER, Show, Tty};
use crate::signal::Signal;

/// What stands for the end of input in the buffer: a NUL with a mark, where a typed NUL has none.
const END_OF_INPUT: u8 = 0;

/// Whether a byte continues a character of several. Source: RFC 3629.
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

impl Tty {
    /// Takes a byte that was typed. The signal, if it is one: for the foreground group.
    pub fn receive(&self, byte: u8, show: &mut Show<'_>) -> Option<Signal> {
        let settings = self.termios();
        let mut byte = if settings.iflag & iflag::ISTRIP != 0 {
            byte & 0x7f
        } else {
            byte
        };
        if self.literal.take() {
            self.add(byte);
            self.echo(byte, show);
            return None;
        }
        let is = |index: usize| settings.cc[index] == byte && byte != 0;
        if settings.iflag & iflag::IXON != 0 {
            if is(cc::START) || is(cc::STOP) {
                self.stop_output(is(cc::STOP) && !is(cc::START));
                return None;
            }
            let signals = settings.lflag & lflag::ISIG != 0 && [cc::INTR, cc::QUIT, cc::SUSP].into_iter().any(is);
            if signals || settings.iflag & iflag::IXANY != 0 {
                self.stop_output(false);
            }
        }
        if settings.lflag & lflag::ISIG != 0 {
            let signals = [
                (cc::INTR, Signal::INT),
                (cc::QUIT, Signal::QUIT),
                (cc::SUSP, Signal::TSTP),
            ];
            if let Some((_, signal)) = signals.into_iter().find(|&(index, _)| is(index)) {
                if settings.lflag & lflag::NOFLSH == 0 {
                    self.flush_input();
                }
                self.echo(byte, show);
                return Some(signal);
            }
        }
        match byte {
            b'\r' if settings.iflag & iflag::IGNCR != 0 => return None,
            b'\r' if settings.iflag & iflag::ICRNL != 0 => byte = b'\n',
            b'\n' if settings.iflag & iflag::INLCR != 0 => byte = b'\r',
            _ => {}
        }
        if settings.lflag & lflag::ICANON != 0 {
            self.edit(byte, show);
        } else {
            self.add(byte);
            self.echo(byte, show);
        }
        None
    }

    /// A byte of a line that can be edited.
    fn edit(&self, byte: u8, show: &mut Show<'_>) {
        let settings = self.termios();
        let is = |index: usize| settings.cc[index] == byte && byte != 0;
        let extended = settings.lflag & lflag::IEXTEN != 0;
        if is(cc::ERASE) {
            self.erase(show);
        } else if is(cc::KILL) {
            self.kill(show);
        } else if is(cc::WERASE) && extended {
            self.erase_word(show);
        } else if is(cc::LNEXT) && extended {
            self.literal.set(true);
            if self.has(lflag::ECHO) && self.has(lflag::ECHOCTL) {
                show(b"^\x08");
            }
        } else if is(cc::EOF) {
            self.end_line(END_OF_INPUT);
        } else if byte == b'\n' {
            if self.has(lflag::ECHO) || self.has(lflag::ECHONL) {
                self.put(byte, show);
            }
            self.end_line(byte);
            self.line_column.set(self.column.get());
        } else if is(cc::EOL) || is(cc::EOL2) && extended {
            self.echo(byte, show);
            self.end_line(byte);
            self.line_column.set(self.column.get());
        } else {
            if self.head.get() == self.canon.get() {
                self.line_column.set(self.column.get());
            }
            if self.add(byte) {
                self.echo(byte, show);
            }
        }
    }

    /// Whether there was room. The last byte is kept for a line's end.
    fn add(&self, byte: u8) -> bool {
        if self.head.get() - self.tail.get() >= BUFFER - 1 {
            return false;
        }
        self.push(byte);
        true
    }

    fn push(&self, byte: u8) {
        let at = self.head.get();
        self.buffer[at % BUFFER].set(byte);
        self.unmark(at);
        self.head.set(at + 1);
    }

    fn end_line(&self, byte: u8) {
        if self.head.get() - self.tail.get() >= BUFFER {
            return;
        }
        self.push(byte);
        self.mark(self.head.get() - 1);
        self.canon.set(self.head.get());
    }

    /// The last byte of the line being typed.
    fn last(&self) -> Option<u8> {
        let head = self.head.get();
        (head > self.canon.get()).then(|| self.buffer[(head - 1) % BUFFER].get())
    }

    /// Erases a character; it, if there was one.
    fn erase(&self, show: &mut Show<'_>) -> bool {
        let whole = self.termios().iflag & iflag::IUTF8 != 0;
        let Some(mut byte) = self.last() else { return false };
        let before = self.line_end_column();
        self.head.set(self.head.get() - 1);
        while whole && continues(byte) {
            let Some(previous) = self.last() else { break };
            byte = previous;
            self.head.set(self.head.get() - 1);
        }
        if self.has(lflag::ECHO) {
            if self.has(lflag::ECHOE) {
                for _ in 0..before.saturating_sub(self.line_end_column()) {
                    show(b"\x08 \x08");
                    self.column.set(self.column.get().saturating_sub(1));
                }
            } else {
                self.echo(self.termios().cc[cc::ERASE], show);
            }
        }
        true
    }

    fn erase_word(&self, show: &mut Show<'_>) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut seen = false;
        while let Some(byte) = self.last() {
            if seen && !is_word(byte) {
                break;
            }
            seen |= is_word(byte);
            self.erase(show);
        }
    }

    fn kill(&self, show: &mut Show<'_>) {
        if self.has(lflag::ECHO) && self.has(lflag::ECHOE) && self.has(lflag::ECHOK) && self.has(lflag::ECHOKE) {
            while self.erase(show) {}
            return;
        }
        self.head.set(self.canon.get());
        if self.has(lflag::ECHO) {
            self.echo(self.termios().cc[cc::KILL], show);
            if self.has(lflag::ECHOK) {
                self.put(b'\n', show);
            }
        }
    }

    /// The column after the line being typed.
    fn line_end_column(&self) -> u32 {
        let whole = self.termios().iflag & iflag::IUTF8 != 0;
        let mut column = self.line_column.get();
        for at in self.canon.get()..self.head.get() {
            column += match self.buffer[at % BUFFER].get() {
                b'\t' => 8 - column % 8,
                byte if byte.is_ascii_control() => {
                    if self.has(lflag::ECHOCTL) {
                        2
                    } else {
                        0
                    }
                }
                byte if whole && continues(byte) => 0,
                _ => 1,
            };
        }
        column
    }

    /// Shows what was typed.
    fn echo(&self, byte: u8, show: &mut Show<'_>) {
        if !self.has(lflag::ECHO) {
            return;
        }
        let shown_as_is = !byte.is_ascii_control() || matches!(byte, b'\n' | b'\t') || !self.has(lflag::ECHOCTL);
        if shown_as_is {
            self.put(byte, show);
        } else {
            self.put(b'^', show);
            self.put(byte ^ 0o100, show);
        }
    }
}
