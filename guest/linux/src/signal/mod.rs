//! Signals: who gets one, what it does there, and what a handler finds on its stack.
//!
//! | file | what it is |
//! |---|---|
//! | `set.rs` | signals, sets of them, and what each does where nothing is said |
//! | `action.rs` | what a process asked for, signal by signal |
//! | `group.rs` | what the threads of a process share, and who of them takes a signal |
//! | `info.rs` | `siginfo_t` |
//! | `pending.rs` | signals that were sent and not yet taken |
//! | `altstack.rs` | the alternate stack |
//! | `frame.rs` | what a handler's stack holds, and where |
//! | `fpstate.rs` | x87, SSE and AVX registers in that frame |
//!
//! # Invariants
//! `SIGKILL` and `SIGSTOP` are in no mask and have no action.
//!
//! Source: Linux, kernel/signal.c; signal(7).

mod action;
mod altstack;
mod fpstate;
mod frame;
mod group;
mod info;
mod pending;
mod set;
#[cfg(test)]
mod tests;

use core::cell::Cell;

use faultlab_mm::Platform;

use crate::{Errno, Linux};

pub use action::{ACTION_BYTES, Action, Actions, ActionsId, Handler, sa};
pub use altstack::{ALTSTACK_BYTES, AltStack};
pub use fpstate::{FXSAVE_BYTES, FpFormat, claims_more, exception_code, own_mxcsr_mask, reset_image, sanitize};
pub use frame::{CONTEXT_BYTES, FRAME_BYTES, Frame, NoRoom, Place, Registers, Restored, USER_FLAGS};
pub use group::{Shared, To};
pub use info::{INFO_BYTES, Info, code};
pub use pending::{Pending, Queued};
pub use set::{DefaultAction, SigSet, Signal};

/// What a thread has of signals. All zero in a program that never heard of them.
#[derive(Debug)]
pub struct Signals {
    blocked: Cell<SigSet>,
    /// The mask that comes back after the next handler: `sigsuspend`'s caller's.
    saved: Cell<Option<SigSet>>,
    pending: Pending,
    /// What `sigtimedwait` waits for.
    waited: Cell<SigSet>,
    /// `None`: nothing but defaults.
    actions: Cell<Option<ActionsId>>,
    altstack: Cell<AltStack>,
}

/// What a signal does to the process that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its handler runs.
    Handler(Info, Action),
    /// It ends.
    End(Signal),
    /// It stops.
    Stop(Signal),
}

/// How `rt_sigprocmask` changes a mask. Source: Linux, include/uapi/asm-generic/signal-defs.h.
mod how {
    pub(super) const BLOCK: u64 = 0;
    pub(super) const UNBLOCK: u64 = 1;
    pub(super) const SETMASK: u64 = 2;
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

impl Signals {
    /// Nothing blocked, pending or asked for.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            blocked: Cell::new(SigSet::EMPTY),
            saved: Cell::new(None),
            pending: Pending::new(),
            waited: Cell::new(SigSet::EMPTY),
            actions: Cell::new(None),
            altstack: Cell::new(AltStack::NONE),
        }
    }

    /// The mask.
    #[must_use]
    pub fn blocked(&self) -> SigSet {
        self.blocked.get()
    }

    /// Sets the mask.
    pub fn set_blocked(&self, mask: SigSet) {
        self.blocked.set(mask.blockable());
    }

    /// `rt_sigprocmask`.
    ///
    /// # Errors
    /// `EINVAL` for an unknown way of changing it.
    pub fn change_mask(&self, how: u64, set: SigSet) -> Result<(), Errno> {
        let old = self.blocked.get();
        let new = match u64::from(how as u32) {
            how::BLOCK => old.union(set),
            how::UNBLOCK => old.minus(set),
            how::SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        self.set_blocked(new);
        Ok(())
    }

    /// `rt_sigsuspend`: another mask until a handler ran. Called again while it holds, it changes nothing.
    pub fn suspend(&self, mask: SigSet) {
        if self.saved.get().is_none() {
            self.saved.set(Some(self.blocked.get()));
            self.set_blocked(mask);
        }
    }

    /// The mask of before [`Signals::suspend`] comes back without a handler.
    pub fn resume(&self) {
        if let Some(mask) = self.saved.take() {
            self.set_blocked(mask);
        }
    }

    /// The mask that a handler's frame keeps, for its return.
    pub fn take_saved_mask(&self) -> SigSet {
        self.saved.take().unwrap_or(self.blocked.get())
    }

    /// `rt_sigpending`: sent to it or to all, and blocked.
    #[must_use]
    pub fn pending_blocked(&self, shared: &Shared) -> SigSet {
        let pending = self.pending.set().union(shared.pending.set());
        pending.intersection(self.blocked.get())
    }

    /// Sent, and not delivered yet.
    #[must_use]
    pub fn pending(&self) -> SigSet {
        self.pending.set()
    }

    /// Whether a signal waits, for it or for all, that is not blocked.
    #[inline]
    #[must_use]
    pub fn is_pending(&self, shared: &Shared) -> bool {
        let pending = self.pending.set().union(shared.pending.set());
        !pending.minus(self.blocked.get()).is_empty()
    }

    /// Whether a signal is one that nobody hears of: ignored by default, and nothing was ever said to the contrary. The end of a child is
    /// mostly told so.
    #[inline]
    #[must_use]
    pub fn is_deaf_to(&self, signal: Signal) -> bool {
        self.actions.get().is_none()
            && !self.blocked.get().contains(signal)
            && signal.default_action() == DefaultAction::Ignore
    }

    /// Whether it would take a signal now, or waits for it. Source: Linux `wants_signal`.
    #[must_use]
    pub fn wants(&self, signal: Signal) -> bool {
        !self.blocked.get().contains(signal) || self.waited.get().contains(signal)
    }

    /// `rt_sigtimedwait` waits: these wake the thread though they are blocked. [`SigSet::EMPTY`]: it does not, or no longer.
    pub fn wait_for(&self, set: SigSet) {
        self.waited.set(set);
    }

    /// The alternate stack.
    #[must_use]
    pub fn altstack(&self) -> AltStack {
        self.altstack.get()
    }

    /// Sets it.
    pub fn set_altstack(&self, altstack: AltStack) {
        self.altstack.set(altstack);
    }
}

impl<P: Platform> Linux<'_, P> {
    /// `fork`: the child blocks and does what the parent does, and has nothing pending.
    ///
    /// # Errors
    /// `ENOMEM`; the child's state is as it was.
    pub fn fork_signals(&self, parent: &Signals, child: &Signals) -> Result<(), Errno> {
        child.actions.set(self.dup_actions(parent.actions.get())?);
        child.blocked.set(parent.blocked.get());
        child.saved.set(None);
        child.waited.set(SigSet::EMPTY);
        child.altstack.set(parent.altstack.get());
        Ok(())
    }

    /// `execve`: handlers become defaults, what is ignored stays so; no alternate stack. Mask and pending signals stay. Nobody shares the
    /// actions ([`Linux::unshare_actions`]). Source: execve(2), signal(7).
    pub fn exec_signals(&self, signals: &Signals) {
        if let Some(actions) = signals.actions.get() {
            self.reset_handlers(actions);
        }
        signals.altstack.set(AltStack::NONE);
        signals.saved.set(None);
    }

    /// The end of a thread. What is left holds nothing, and is overwritten by [`Linux::fork_signals`].
    #[inline]
    pub fn exit_signals(&self, signals: &Signals) {
        if !signals.pending.set().is_empty() {
            self.flush(&signals.pending, SigSet::ALL);
        }
        if let Some(actions) = signals.actions.take() {
            self.put_actions(actions);
        }
    }

    /// What a process does on a signal.
    #[must_use]
    pub fn action(&self, signals: &Signals, signal: Signal) -> Action {
        signals
            .actions
            .get()
            .map_or(Action::DEFAULT, |actions| self.get_action(actions, signal))
    }

    /// A signal that the process caused itself and cannot go on without: blocking or ignoring it ends the process. Source: Linux
    /// `force_sig_info`.
    pub fn force(&self, signals: &Signals, info: Info) -> Delivery {
        let action = self.action(signals, info.signal);
        let blocked = signals.blocked.get().contains(info.signal);
        match action.handler {
            Handler::Function(_) if !blocked => Delivery::Handler(info, action),
            _ => Delivery::End(info.signal),
        }
    }

    /// A handler begins: what is blocked while it runs, and whether its action stays. Source: sigaction(2).
    pub fn handler_begins(&self, signals: &Signals, signal: Signal, action: Action) {
        let mut mask = signals.blocked.get().union(action.mask);
        if action.flags & sa::NODEFER == 0 {
            mask = mask.union(SigSet::of(signal));
        }
        signals.set_blocked(mask);
        if let (true, Some(actions)) = (action.flags & sa::RESETHAND != 0, signals.actions.get()) {
            self.put_action(
                actions,
                signal,
                Action {
                    handler: Handler::Default,
                    ..action
                },
            );
        }
        let altstack = signals.altstack.get();
        if altstack.disarms() {
            signals.altstack.set(AltStack::NONE);
        }
    }
}
