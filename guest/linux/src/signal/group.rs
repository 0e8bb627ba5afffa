//! Signals to a process of several threads: what they share, and who of them a signal is for.
//!
//! The threads of a process have their actions in common ([`Linux::share_signals`]), and the signals that were sent to the process as a
//! whole ([`Shared`]), which any of them may take that does not block them; masks, alternate stacks and signals to one of them are their own.
//!
//! Source: Linux, kernel/signal.c (`prepare_signal`, `dequeue_signal`, `do_sigaction`), `struct signal_struct`; signal(7), clone(2).

use faultlab_mm::Platform;

use super::action::Action;
use super::info::Info;
use super::pending::Pending;
use super::set::{DefaultAction, SigSet, Signal};
use super::{Delivery, Handler, Signals};
use crate::{Errno, Linux};

/// The signals that wait for a process, not for one of its threads. All zero in a program that got none.
#[derive(Debug)]
pub struct Shared {
    pub(super) pending: Pending,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pending: Pending::new(),
        }
    }

    /// Which wait.
    #[must_use]
    pub fn pending(&self) -> SigSet {
        self.pending.set()
    }

    /// Whether none waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.set().is_empty()
    }
}

/// Whom a signal is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// One thread: `tgkill`.
    Thread,
    /// All of them: `kill`.
    Process,
}

impl<P: Platform> Linux<'_, P> {
    /// `CLONE_SIGHAND`: the child has the very actions of the parent. Mask and alternate stack are copies, and it has nothing pending.
    ///
    /// # Errors
    /// `ENOMEM`; the child's state is as it was.
    pub fn share_signals(&self, parent: &Signals, child: &Signals) -> Result<(), Errno> {
        let actions = match parent.actions.get() {
            Some(actions) => actions,
            None => self.alloc_actions()?,
        };
        parent.actions.set(Some(actions));
        self.share_actions(actions);
        child.actions.set(Some(actions));
        child.blocked.set(parent.blocked.get());
        child.saved.set(None);
        child.waited.set(SigSet::EMPTY);
        child.altstack.set(parent.altstack.get());
        Ok(())
    }

    /// `execve`: the actions are those of this thread alone. Source: Linux `unshare_sighand`.
    ///
    /// # Errors
    /// `ENOMEM`; they are shared as before.
    pub fn unshare_actions(&self, signals: &Signals) -> Result<(), Errno> {
        let Some(old) = signals.actions.get() else {
            return Ok(());
        };
        if self.actions_are_shared(old) {
            signals.actions.set(self.dup_actions(Some(old))?);
            self.put_actions(old);
        }
        Ok(())
    }

    /// `CLONE_CLEAR_SIGHAND`: handlers become defaults, what is ignored stays so.
    pub fn clear_handlers(&self, signals: &Signals) {
        if let Some(actions) = signals.actions.get() {
            self.reset_handlers(actions);
        }
    }

    /// A thread that has ended goes on as another, which is ending: `execve` by one that is not the first. Source: Linux `de_thread`.
    pub fn move_signals(&self, from: &Signals, to: &Signals) {
        self.exit_signals(to);
        to.blocked.set(from.blocked.get());
        to.saved.set(from.saved.take());
        to.actions.set(from.actions.take());
        to.altstack.set(from.altstack.get());
        to.pending.take_from(&from.pending);
    }

    /// The end of a process: what waits for it is forgotten.
    #[inline]
    pub fn exit_shared(&self, shared: &Shared) {
        if !shared.is_empty() {
            self.flush(&shared.pending, SigSet::ALL);
        }
    }

    /// `rt_sigaction` by one of the `threads` of a process. A signal that is ignored from now on is no longer pending for any.
    ///
    /// # Errors
    /// `EINVAL` for signals that cannot be handled, `ENOMEM`.
    pub fn set_action<'a>(
        &self,
        signals: &Signals,
        shared: &Shared,
        threads: impl IntoIterator<Item = &'a Signals>,
        signal: Signal,
        action: Action,
    ) -> Result<(), Errno> {
        if SigSet::of(signal).blockable().is_empty() {
            return Err(Errno::EINVAL);
        }
        let actions = match signals.actions.get() {
            Some(actions) => actions,
            None => self.alloc_actions()?,
        };
        signals.actions.set(Some(actions));
        self.put_action(actions, signal, action);
        if action.ignores(signal) {
            self.flush_all(shared, threads, SigSet::of(signal));
        }
        Ok(())
    }

    fn flush_all<'a>(&self, shared: &Shared, threads: impl IntoIterator<Item = &'a Signals>, signals: SigSet) {
        self.flush(&shared.pending, signals);
        for thread in threads {
            self.flush(&thread.pending, signals);
        }
    }

    /// Sends a signal to `target`, one of the `threads` of a process, or to the process, of whose threads `target` is the one that it is
    /// offered to first; whether somebody has to look.
    ///
    /// A signal that is ignored and not blocked is gone at once. One that stops and one that continues undo each other.
    ///
    /// # Errors
    /// `EAGAIN` when a real-time signal finds no memory.
    pub fn send<'a>(
        &self,
        to: To,
        target: &Signals,
        shared: &Shared,
        threads: impl IntoIterator<Item = &'a Signals>,
        info: &Info,
    ) -> Result<bool, Errno> {
        let signal = info.signal;
        match signal.default_action() {
            DefaultAction::Stop => self.flush_all(shared, threads, SigSet::of(Signal::CONT)),
            DefaultAction::Continue => self.flush_all(shared, threads, SigSet::STOPPING),
            _ => {}
        }
        if !target.blocked.get().contains(signal) && self.action(target, signal).ignores(signal) {
            return Ok(false);
        }
        let pending = match to {
            To::Thread => &target.pending,
            To::Process => &shared.pending,
        };
        self.queue(pending, info)?;
        self.wake_signalfds();
        Ok(true)
    }

    /// Takes the first pending signal of a set, blocked or not: `rt_sigtimedwait`.
    pub fn take_signal(&self, signals: &Signals, shared: &Shared, set: SigSet) -> Option<Info> {
        let others = SigSet::ALL.minus(set);
        self.dequeue(&signals.pending, others)
            .or_else(|| self.dequeue(&shared.pending, others))
    }

    /// Takes the next signal that does something. The thread's own come before those of all, and among each those of a program's own making
    /// before the lowest number.
    pub fn next_delivery(&self, signals: &Signals, shared: &Shared) -> Option<Delivery> {
        loop {
            let blocked = signals.blocked.get();
            let info = match self.dequeue(&signals.pending, blocked) {
                Some(info) => info,
                None => self.dequeue(&shared.pending, blocked)?,
            };
            let action = self.action(signals, info.signal);
            match (action.handler, info.signal.default_action()) {
                (Handler::Function(_), _) => return Some(Delivery::Handler(info, action)),
                (Handler::Ignore, _) | (_, DefaultAction::Ignore | DefaultAction::Continue) => {}
                (_, DefaultAction::Stop) => return Some(Delivery::Stop(info.signal)),
                (_, DefaultAction::End) => return Some(Delivery::End(info.signal)),
            }
        }
    }
}
