//! A terminal: what is typed becomes lines and signals, what is written is shown. Who may use it when is the kernel's part
//! ([`Tty::session`], [`Tty::foreground`] are only kept here).
//!
//! | module | what it is |
//! |---|---|
//! | [`termios`] | the settings |
//! | `input` | characters on their way in: signals, editing, echo |
//! | `output` | characters on their way out |
//! | this one | the buffer, reading from it |
//!
//! # Invariants
//! `tail <= canon <= head <= tail + BUFFER`; these count bytes since the beginning. What lies before `canon` are whole lines; each ends at a byte
//! with a mark, except after a change from single characters to lines.
//!
//! Differs from Linux: what is typed is shown even while output is stopped; there is no packet mode, no hardware flow control, no bell at the end of
//! the buffer.
//!
//! Source: Linux, drivers/tty/n_tty.c; termios(3); POSIX, chapter 11 "General Terminal Interface".

mod input;
mod output;
pub mod termios;
#[cfg(test)]
mod tests;

use core::cell::Cell;

pub use termios::{TERMIOS_BYTES, Termios};
use termios::{cc, iflag, lflag};

/// Bytes that are kept for programs. Source: Linux `N_TTY_BUF_SIZE`.
const BUFFER: usize = 4096;

/// Where characters that are to be shown go.
pub type Show<'s> = dyn FnMut(&[u8]) + 's;

/// Rows, columns, and the same in pixels. Source: ioctl_tty(2), `struct winsize`.
pub type WindowSize = [u16; 4];

/// A terminal.
#[derive(Debug)]
pub struct Tty {
    termios: Cell<Termios>,
    buffer: [Cell<u8>; BUFFER],
    /// Where lines end, a bit a byte.
    marks: [Cell<u64>; BUFFER / 64],
    tail: Cell<usize>,
    canon: Cell<usize>,
    head: Cell<usize>,
    /// The next character is meant as it is.
    literal: Cell<bool>,
    /// Nothing more will be typed.
    hung_up: Cell<bool>,
    /// [`stopped`] bits.
    stopped: Cell<u8>,
    /// The column that the next character is shown in.
    column: Cell<u32>,
    /// The column that the line being typed began in.
    line_column: Cell<u32>,
    session: Cell<u32>,
    foreground: Cell<u32>,
}

/// Why output is stopped.
mod stopped {
    /// By what was typed.
    pub(super) const TYPED: u8 = 1;
    /// By `tcflow`.
    pub(super) const ASKED: u8 = 2;
}

/// How a read of single characters goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Until there is more.
    ForEver,
    /// Until there is more, or so many nanoseconds have passed.
    For(u64),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes; none is the end.
    Bytes(usize),
    /// There are not enough.
    Wait(Waits),
}

impl Tty {
    /// A terminal that nobody has typed at.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            termios: Cell::new(Termios::NEW),
            buffer: [const { Cell::new(0) }; BUFFER],
            marks: [const { Cell::new(0) }; BUFFER / 64],
            tail: Cell::new(0),
            canon: Cell::new(0),
            head: Cell::new(0),
            literal: Cell::new(false),
            hung_up: Cell::new(false),
            stopped: Cell::new(0),
            column: Cell::new(0),
            line_column: Cell::new(0),
            session: Cell::new(0),
            foreground: Cell::new(0),
        }
    }

    /// The session whose terminal it is; 0 for none.
    #[must_use]
    pub fn session(&self) -> u32 {
        self.session.get()
    }

    /// The process group that may read it, and gets its signals.
    #[must_use]
    pub fn foreground(&self) -> u32 {
        self.foreground.get()
    }

    /// Gives it to a session and a group of it.
    pub fn give(&self, session: u32, foreground: u32) {
        self.session.set(session);
        self.foreground.set(foreground);
    }

    /// The settings.
    #[must_use]
    pub fn termios(&self) -> Termios {
        self.termios.get()
    }

    fn has(&self, local: u32) -> bool {
        self.termios.get().lflag & local != 0
    }

    /// Changes the settings. What was typed and not read is a line from now on if lines are asked for, and single characters otherwise.
    pub fn set_termios(&self, new: Termios) {
        let old = self.termios.replace(new);
        if old.iflag & !new.iflag & iflag::IXON != 0 {
            self.stop_output(false);
        }
        if (old.lflag ^ new.lflag) & lflag::ICANON == 0 {
            return;
        }
        for word in &self.marks {
            word.set(0);
        }
        self.canon.set(self.head.get());
        self.literal.set(false);
        if new.lflag & lflag::ICANON != 0 && self.head.get() != self.tail.get() {
            self.mark(self.head.get() - 1);
        }
        self.line_column.set(self.column.get());
    }

    /// Forgets what was typed and not read.
    pub fn flush_input(&self) {
        for word in &self.marks {
            word.set(0);
        }
        self.tail.set(self.head.get());
        self.canon.set(self.head.get());
        self.literal.set(false);
    }

    /// Nothing more will be typed: reads find the end after what there is.
    pub fn hang_up(&self) {
        self.hung_up.set(true);
        self.stopped.set(0);
    }

    /// Whether writes wait.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.get() != 0
    }

    /// What is typed stops output, or lets it go on, unless a program stopped it. Source: Linux, drivers/tty/tty_io.c (`__start_tty`).
    fn stop_output(&self, stop: bool) {
        match (stop, self.stopped.get() & stopped::ASKED != 0) {
            (true, _) => self.stopped.set(self.stopped.get() | stopped::TYPED),
            (false, true) => {}
            (false, false) => self.stopped.set(0),
        }
    }

    /// A program does (`TCOOFF`, `TCOON`).
    pub fn flow(&self, stop: bool) {
        self.stopped.set(if stop { stopped::ASKED } else { 0 });
    }

    fn mark(&self, at: usize) {
        let (word, bit) = (&self.marks[at % BUFFER / 64], 1 << (at % 64));
        word.set(word.get() | bit);
    }

    fn is_marked(&self, at: usize) -> bool {
        self.marks[at % BUFFER / 64].get() >> (at % 64) & 1 != 0
    }

    fn unmark(&self, at: usize) {
        let (word, bit) = (&self.marks[at % BUFFER / 64], 1 << (at % 64));
        word.set(word.get() & !bit);
    }

    /// Bytes that a read would find now (`FIONREAD`).
    #[must_use]
    pub fn available(&self) -> usize {
        let end = if self.has(lflag::ICANON) {
            self.canon.get()
        } else {
            self.head.get()
        };
        // An end of input is no byte.
        (self.tail.get()..end)
            .filter(|&at| !(self.has(lflag::ICANON) && self.is_marked(at) && self.buffer[at % BUFFER].get() == 0))
            .count()
    }

    /// Whether a read would not wait.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        if self.hung_up.get() {
            return true;
        }
        if self.has(lflag::ICANON) {
            return self.canon.get() != self.tail.get();
        }
        let control = self.termios.get().cc;
        let wanted = if control[cc::TIME] == 0 {
            control[cc::MIN].max(1)
        } else {
            1
        };
        self.head.get() - self.tail.get() >= usize::from(wanted)
    }

    /// `read`: at most a line, or as many characters as the settings ask for. `to` takes them one after the other.
    pub fn read(&self, len: usize, to: &mut dyn FnMut(u8)) -> Read {
        if len == 0 {
            return Read::Bytes(0);
        }
        if self.has(lflag::ICANON) {
            self.read_line(len, to)
        } else {
            self.read_characters(len, to)
        }
    }

    fn read_line(&self, len: usize, to: &mut dyn FnMut(u8)) -> Read {
        if self.canon.get() == self.tail.get() {
            return if self.hung_up.get() {
                Read::Bytes(0)
            } else {
                Read::Wait(Waits::ForEver)
            };
        }
        let mut count = 0;
        while count < len && self.tail.get() < self.canon.get() {
            let at = self.tail.get();
            let (byte, ends) = (self.buffer[at % BUFFER].get(), self.is_marked(at));
            self.unmark(at);
            self.tail.set(at + 1);
            // The mark of an end of input stands on no character.
            if !(ends && byte == 0) {
                to(byte);
                count += 1;
            }
            if ends {
                return Read::Bytes(count);
            }
        }
        // An end of input right behind what was asked for belongs to it. Source: Linux `canon_copy_from_read_buf`.
        let at = self.tail.get();
        if at < self.canon.get() && self.is_marked(at) && self.buffer[at % BUFFER].get() == 0 {
            self.unmark(at);
            self.tail.set(at + 1);
        }
        Read::Bytes(count)
    }

    fn read_characters(&self, len: usize, to: &mut dyn FnMut(u8)) -> Read {
        const NS_PER_TENTH: u64 = 100_000_000;
        let there = self.head.get() - self.tail.get();
        let control = self.termios.get().cc;
        let (min, time) = (
            usize::from(control[cc::MIN]),
            u64::from(control[cc::TIME]) * NS_PER_TENTH,
        );
        let enough = there >= min.min(len) && (there != 0 || min == 0 && time == 0);
        if !enough && !self.hung_up.get() {
            return Read::Wait(match (min, time) {
                (_, 0) => Waits::ForEver,
                (0, time) => Waits::For(time),
                // The time is that between two characters.
                (_, _) if there == 0 => Waits::ForEver,
                (_, time) => Waits::For(time),
            });
        }
        self.take(len, to)
    }

    /// The time of a read is over: what there is.
    pub fn take(&self, len: usize, to: &mut dyn FnMut(u8)) -> Read {
        let count = len.min(self.head.get() - self.tail.get());
        for _ in 0..count {
            let at = self.tail.get();
            to(self.buffer[at % BUFFER].get());
            self.unmark(at);
            self.tail.set(at + 1);
        }
        self.canon.set(self.canon.get().max(self.tail.get()));
        Read::Bytes(count)
    }
}

impl Default for Tty {
    fn default() -> Self {
        Self::new()
    }
}
