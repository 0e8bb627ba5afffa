//! Halts that are measured: the guest announces them, and each is woken.
//!
//! A `hlt` without an in-kernel interrupt controller is an exit to the VMM, which may enter the guest again at once, behind the instruction. Woken by
//! another thread, the vCPU's thread hands over to a *waker* and sleeps until that answers: two wake-ups of threads.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, `KVM_EXIT_HLT`.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Handled, Refusal};

/// Limit stated in [`faultlab_abi::lab::kind::HALTS`].
const HALTS_MAX: u64 = 65_536;

/// How a halted vCPU is woken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wake {
    #[default]
    AtOnce,
    ByThread,
}

/// What is announced.
#[derive(Default)]
pub(super) struct Halts {
    left: u64,
    wake: Wake,
    waker: Option<Waker>,
}

impl Halts {
    /// The command: how many, and how each is woken.
    pub(super) fn announce(&mut self, [count, wake, ..]: [u64; 6]) -> Handled {
        let wake = match wake {
            0 => Wake::AtOnce,
            1 => Wake::ByThread,
            _ => return Err(Refusal::Invalid),
        };
        if count > HALTS_MAX {
            return Err(Refusal::Invalid);
        }
        if wake == Wake::ByThread && self.waker.is_none() {
            self.waker = Some(Waker::start().map_err(|_| Refusal::Io)?);
        }
        (self.left, self.wake) = (count, wake);
        Ok(None)
    }

    /// A halt: whether it was announced. When this returns the vCPU is to go on.
    pub(super) fn halt(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            return false;
        };
        self.left = left;
        match (self.wake, &self.waker) {
            (Wake::ByThread, Some(waker)) => waker.sleep(),
            _ => true,
        }
    }
}

/// A thread that wakes whoever tells it to. It ends when this is dropped.
struct Waker {
    halted: SyncSender<()>,
    woken: Receiver<()>,
}

impl Waker {
    fn start() -> io::Result<Waker> {
        let (halted, wake_me) = sync_channel(1);
        let (wake, woken) = sync_channel(1);
        thread::Builder::new().name("waker".into()).spawn(
            move || {
                while wake_me.recv().is_ok() && wake.send(()).is_ok() {}
            },
        )?;
        Ok(Waker { halted, woken })
    }

    /// Sleeps until the other thread has run.
    fn sleep(&self) -> bool {
        self.halted.send(()).is_ok() && self.woken.recv().is_ok()
    }
}
