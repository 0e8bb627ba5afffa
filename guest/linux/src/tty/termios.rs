//! The settings of a terminal. Source: Linux, include/uapi/asm-generic/termbits.h, drivers/tty/tty_io.c (`tty_std_termios`); termios(3).

/// Bytes of a `struct termios` as `ioctl` has it (not the C library's).
pub const TERMIOS_BYTES: usize = 36;

/// Control characters.
pub const NCCS: usize = 19;

/// Bits of `c_iflag`.
pub mod iflag {
    /// A carriage return is dropped.
    pub const IGNCR: u32 = 0o200;
    /// A carriage return becomes a newline.
    pub const ICRNL: u32 = 0o400;
    /// A newline becomes a carriage return.
    pub const INLCR: u32 = 0o100;
    /// The eighth bit is dropped.
    pub const ISTRIP: u32 = 0o40;
    /// `^S` and `^Q` are not for programs.
    pub const IXON: u32 = 0o2000;
    /// Any character lets output go on.
    pub const IXANY: u32 = 0o4000;
    /// Characters of several bytes are erased whole.
    pub const IUTF8: u32 = 0o40000;
}

/// Bits of `c_oflag`.
pub mod oflag {
    /// Output is processed at all.
    pub const OPOST: u32 = 1;
    /// A newline becomes a carriage return and a newline.
    pub const ONLCR: u32 = 4;
    /// A carriage return becomes a newline.
    pub const OCRNL: u32 = 0o10;
}

/// Bits of `c_lflag`.
pub mod lflag {
    /// Characters send signals.
    pub const ISIG: u32 = 1;
    /// Lines, which can be edited.
    pub const ICANON: u32 = 2;
    /// What is typed is shown.
    pub const ECHO: u32 = 0o10;
    /// An erased character disappears.
    pub const ECHOE: u32 = 0o20;
    /// After a killed line comes a newline.
    pub const ECHOK: u32 = 0o40;
    /// A newline is shown, even if nothing else is.
    pub const ECHONL: u32 = 0o100;
    /// Signals leave what was typed alone.
    pub const NOFLSH: u32 = 0o200;
    /// Output from the background stops its process.
    pub const TOSTOP: u32 = 0o400;
    /// Control characters are shown as `^X`.
    pub const ECHOCTL: u32 = 0o1000;
    /// A killed line disappears.
    pub const ECHOKE: u32 = 0o4000;
    /// Words can be erased, and characters quoted.
    pub const IEXTEN: u32 = 0o100_000;
}

/// Indices of control characters.
pub mod cc {
    /// `SIGINT`.
    pub const INTR: usize = 0;
    /// `SIGQUIT`.
    pub const QUIT: usize = 1;
    /// Erases a character.
    pub const ERASE: usize = 2;
    /// Erases a line.
    pub const KILL: usize = 3;
    /// The end of the input.
    pub const EOF: usize = 4;
    /// Tenths of a second that a read waits.
    pub const TIME: usize = 5;
    /// Bytes that a read waits for.
    pub const MIN: usize = 6;
    /// Goes on with output.
    pub const START: usize = 8;
    /// Stops output.
    pub const STOP: usize = 9;
    /// `SIGTSTP`.
    pub const SUSP: usize = 10;
    /// Another end of a line.
    pub const EOL: usize = 11;
    /// Erases a word.
    pub const WERASE: usize = 14;
    /// The next character is meant.
    pub const LNEXT: usize = 15;
    /// A third end of a line.
    pub const EOL2: usize = 16;
}

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// [`iflag`] bits.
    pub iflag: u32,
    /// [`oflag`] bits.
    pub oflag: u32,
    /// Speed, size of a character: kept, and without effect.
    pub cflag: u32,
    /// [`lflag`] bits.
    pub lflag: u32,
    /// Line discipline: kept, and without effect.
    pub line: u8,
    /// Control characters, by [`cc`]; 0 for none.
    pub cc: [u8; NCCS],
}

impl Termios {
    /// Those of a new terminal.
    pub const NEW: Self = Self {
        iflag: iflag::ICRNL | iflag::IXON,
        oflag: oflag::OPOST | oflag::ONLCR,
        // B38400, CS8, CREAD.
        cflag: 0xbf,
        lflag: lflag::ISIG
            | lflag::ICANON
            | lflag::ECHO
            | lflag::ECHOE
            | lflag::ECHOK
            | lflag::ECHOCTL
            | lflag::ECHOKE
            | lflag::IEXTEN,
        line: 0,
        cc: [
            3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0xf, 0x17, 0x16, 0, 0, 0,
        ],
    };

    /// As programs have it in memory.
    #[must_use]
    pub fn encode(&self) -> [u8; TERMIOS_BYTES] {
        let mut bytes = [0; TERMIOS_BYTES];
        for (to, flags) in bytes
            .chunks_exact_mut(4)
            .zip([self.iflag, self.oflag, self.cflag, self.lflag])
        {
            to.copy_from_slice(&flags.to_le_bytes());
        }
        bytes[16] = self.line;
        bytes[17..].copy_from_slice(&self.cc);
        bytes
    }

    /// From a program's memory.
    #[must_use]
    pub fn decode(bytes: &[u8; TERMIOS_BYTES]) -> Self {
        let flags = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut cc = [0; NCCS];
        cc.copy_from_slice(&bytes[17..]);
        Self {
            iflag: flags(0),
            oflag: flags(4),
            cflag: flags(8),
            lflag: flags(12),
            line: bytes[16],
            cc,
        }
    }
}
