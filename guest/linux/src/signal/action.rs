//! What a process does on each signal.
//!
//! Source: Linux, arch/x86/include/uapi/asm/signal.h (`struct sigaction` of the kernel: handler, flags, restorer, mask); sigaction(2).

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use super::set::{DefaultAction, SigSet, Signal};
use crate::{Errno, Linux};

/// Flags of an action.
pub mod sa {
    /// No `SIGCHLD` when children stop.
    pub const NOCLDSTOP: u64 = 1;
    /// Children that end are forgotten.
    pub const NOCLDWAIT: u64 = 2;
    /// The handler wants `siginfo_t`.
    pub const SIGINFO: u64 = 4;
    /// There is a restorer, where the handler returns to.
    pub const RESTORER: u64 = 0x0400_0000;
    /// On the alternate stack.
    pub const ONSTACK: u64 = 0x0800_0000;
    /// Calls that the handler interrupts go on.
    pub const RESTART: u64 = 0x1000_0000;
    /// The signal is not blocked while its handler runs.
    pub const NODEFER: u64 = 0x4000_0000;
    /// Once only.
    pub const RESETHAND: u64 = 0x8000_0000;
    /// `SA_EXPOSE_TAGBITS`: without effect.
    const EXPOSE_TAGBITS: u64 = 0x800;
    /// Flags that exist; others are cleared, which is how a program finds out.
    pub(super) const KNOWN: u64 =
        NOCLDSTOP | NOCLDWAIT | SIGINFO | RESTORER | ONSTACK | RESTART | NODEFER | RESETHAND | EXPOSE_TAGBITS;
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// An address of the program's.
    Function(u64),
}

impl Handler {
    const fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Default,
            1 => Self::Ignore,
            function => Self::Function(function),
        }
    }

    const fn to_word(self) -> u64 {
        match self {
            Self::Default => 0,
            Self::Ignore => 1,
            Self::Function(function) => function,
        }
    }
}

/// Bytes of the kernel's `struct sigaction`.
pub const ACTION_BYTES: usize = 32;

/// What a process does on one signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What is called.
    pub handler: Handler,
    /// [`sa`] bits.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs, besides the signal itself.
    pub mask: SigSet,
}

impl Action {
    /// Nothing was asked for.
    pub const DEFAULT: Self = Self {
        handler: Handler::Default,
        flags: 0,
        restorer: 0,
        mask: SigSet::EMPTY,
    };

    fn from_words([handler, flags, restorer, mask]: [u64; 4]) -> Self {
        Self {
            handler: Handler::from_word(handler),
            flags,
            restorer,
            mask: SigSet(mask),
        }
    }

    fn to_words(self) -> [u64; 4] {
        [self.handler.to_word(), self.flags, self.restorer, self.mask.0]
    }

    /// As a program wrote it: unknown flags cleared, and nothing in the mask that cannot be blocked.
    #[must_use]
    pub fn decode(bytes: &[u8; ACTION_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks();
        let [handler, flags, restorer, mask] = [0, 1, 2, 3].map(|at: usize| u64::from_le_bytes(words[at]));
        Self::from_words([handler, flags & sa::KNOWN, restorer, SigSet(mask).blockable().0])
    }

    /// As a program reads it.
    #[must_use]
    pub fn encode(self) -> [u8; ACTION_BYTES] {
        let mut bytes = [0; ACTION_BYTES];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.to_words()) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Whether the signal does nothing.
    #[must_use]
    pub fn ignores(self, signal: Signal) -> bool {
        match self.handler {
            Handler::Ignore => true,
            Handler::Default => matches!(signal.default_action(), DefaultAction::Ignore),
            Handler::Function(_) => false,
        }
    }
}

id_type!(
    /// Number of an [`Actions`].
    ActionsId
);

record! {
    /// The actions of a process, four words a signal. Those of `SIGKILL`, which has none, count who shares the record: so it fills cache
    /// lines that a page is divided by.
    pub struct Actions[256] {
        /// Threads that have it besides the first.
        sharers, set_sharers: u64 = 32;
    }
}

/// Words of an action.
const WORDS: usize = 4;

impl Actions<'_> {
    fn at(signal: Signal) -> usize {
        (signal.number() as usize - 1) * WORDS
    }

    fn get(self, signal: Signal) -> Action {
        if signal == Signal::KILL {
            return Action::DEFAULT;
        }
        Action::from_words([0, 1, 2, 3].map(|word| self.0[Self::at(signal) + word].get()))
    }

    fn set(self, signal: Signal, action: Action) {
        for (word, value) in action.to_words().into_iter().enumerate() {
            self.0[Self::at(signal) + word].set(value);
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    fn actions(&self, id: ActionsId) -> Actions<'_> {
        Actions(object(self.memory, id.0))
    }

    pub(super) fn alloc_actions(&self) -> Result<ActionsId, Errno> {
        let id = self.memory.alloc_reclaiming(|| self.actions.alloc(self.memory));
        id.map(ActionsId).ok_or(Errno::ENOMEM)
    }

    pub(super) fn dup_actions(&self, old: Option<ActionsId>) -> Result<Option<ActionsId>, Errno> {
        let Some(old) = old else { return Ok(None) };
        let new = self.alloc_actions()?;
        for (from, to) in self.actions(old).0.iter().zip(self.actions(new).0) {
            to.set(from.get());
        }
        self.actions(new).set_sharers(0);
        Ok(Some(new))
    }

    /// One more has the actions. Source: Linux `copy_sighand`.
    pub(super) fn share_actions(&self, id: ActionsId) {
        let record = self.actions(id);
        record.set_sharers(record.sharers() + 1);
    }

    pub(super) fn actions_are_shared(&self, id: ActionsId) -> bool {
        self.actions(id).sharers() != 0
    }

    /// One less has the actions; with the last they go.
    pub(super) fn put_actions(&self, id: ActionsId) {
        let sharers = self.actions(id).sharers();
        if sharers != 0 {
            self.actions(id).set_sharers(sharers - 1);
            return;
        }
        for word in self.actions(id).0 {
            word.set(0);
        }
        self.actions.free(self.memory, id.0);
    }

    pub(super) fn get_action(&self, id: ActionsId, signal: Signal) -> Action {
        self.actions(id).get(signal)
    }

    pub(super) fn put_action(&self, id: ActionsId, signal: Signal, action: Action) {
        self.actions(id).set(signal, action);
    }

    /// Handlers become defaults without flags or mask; what is ignored stays so.
    pub(super) fn reset_handlers(&self, id: ActionsId) {
        let changeable = (1..=64)
            .filter_map(Signal::new)
            .filter(|&signal| signal != Signal::KILL);
        for signal in changeable {
            let handler = match self.get_action(id, signal).handler {
                Handler::Ignore => Handler::Ignore,
                _ => Handler::Default,
            };
            self.put_action(
                id,
                signal,
                Action {
                    handler,
                    ..Action::DEFAULT
                },
            );
        }
    }
}
