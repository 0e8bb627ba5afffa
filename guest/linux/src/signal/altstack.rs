//! The alternate stack of handlers. Source: Linux, kernel/signal.c (`do_sigaltstack`), include/linux/sched/signal.h (`on_sig_stack`);
//! sigaltstack(2).

use crate::Errno;

/// Bytes of a `stack_t`.
pub const ALTSTACK_BYTES: usize = 24;

/// Flags of a `stack_t`.
mod ss {
    pub(super) const ONSTACK: u32 = 1;
    pub(super) const DISABLE: u32 = 2;
    pub(super) const AUTODISARM: u32 = 1 << 31;
}

/// Least bytes of an alternate stack. Source: Linux `MINSIGSTKSZ`.
const LEAST_BYTES: u64 = 2048;

/// An alternate stack, of size 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltStack {
    sp: u64,
    size: u64,
    autodisarm: bool,
}

impl AltStack {
    /// None.
    pub const NONE: Self = Self {
        sp: 0,
        size: 0,
        autodisarm: false,
    };

    /// Whether a stack pointer is on it. The end belongs to it, the start does not: a stack grows down.
    #[must_use]
    pub fn contains(self, sp: u64) -> bool {
        sp > self.sp && sp - self.sp <= self.size
    }

    /// As [`AltStack::contains`]; but one that a handler's start disables is never in use.
    #[must_use]
    pub fn is_used_by(self, sp: u64) -> bool {
        !self.autodisarm && self.contains(sp)
    }

    /// Where a handler begins on it that is not yet there.
    pub(super) fn top_unless_used_by(self, sp: u64) -> Option<u64> {
        (self.size != 0 && !self.is_used_by(sp)).then(|| self.sp.wrapping_add(self.size))
    }

    /// Whether a handler's start disables it.
    #[must_use]
    pub fn disarms(self) -> bool {
        self.autodisarm
    }

    /// `sigaltstack`: what a program at `sp` asked for.
    ///
    /// # Errors
    /// `EPERM` on the stack itself, `EINVAL` for unknown flags, `ENOMEM` for one that is too small.
    pub fn replaced(self, new: &[u8; ALTSTACK_BYTES], sp: u64) -> Result<Self, Errno> {
        if self.is_used_by(sp) {
            return Err(Errno::EPERM);
        }
        let (words, _) = new.as_chunks();
        let [start, flags, size] = [0, 1, 2].map(|at: usize| u64::from_le_bytes(words[at]));
        let flags = flags as u32;
        match flags & !ss::AUTODISARM {
            ss::DISABLE => Ok(Self {
                autodisarm: flags & ss::AUTODISARM != 0,
                ..Self::NONE
            }),
            0 | ss::ONSTACK if size < LEAST_BYTES => Err(Errno::ENOMEM),
            0 | ss::ONSTACK => Ok(Self {
                sp: start,
                size,
                autodisarm: flags & ss::AUTODISARM != 0,
            }),
            _ => Err(Errno::EINVAL),
        }
    }

    /// As a program at `sp` reads it.
    #[must_use]
    pub fn encode(self, sp: u64) -> [u8; ALTSTACK_BYTES] {
        let state = if self.size == 0 {
            ss::DISABLE
        } else if self.is_used_by(sp) {
            ss::ONSTACK
        } else {
            0
        };
        self.with_flags(state)
    }

    /// As a handler's frame keeps it.
    #[must_use]
    pub fn saved(self) -> [u8; ALTSTACK_BYTES] {
        self.with_flags(if self.size == 0 { ss::DISABLE } else { 0 })
    }

    fn with_flags(self, state: u32) -> [u8; ALTSTACK_BYTES] {
        let flags = state | if self.autodisarm { ss::AUTODISARM } else { 0 };
        let mut bytes = [0; ALTSTACK_BYTES];
        bytes[..8].copy_from_slice(&self.sp.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[16..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}
