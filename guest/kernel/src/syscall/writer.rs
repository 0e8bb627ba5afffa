//! Who writes, and `SIGXFSZ` for who may not write more (rule C17); and other signals that a process gets from a call of its own on the short way,
//! which looks for none.

use core::cell::Cell;

use faultlab_linux::signal::{Info, Signal, code};
use faultlab_linux::writer::Writer;

use super::{Errno, Outcome, long_way};
use crate::cpu::regs::VolatileRegs;
use crate::global::Global;
use crate::task::{process, signal};

/// Whether the call that takes the long way was refused for its size.
static EXCEEDED: Global<Cell<bool>> = Global::new(Cell::new(false));
/// What the call came to that goes the long way only for its signals.
static SIGNALLED: Global<Cell<Option<Result<u64, Errno>>>> = Global::new(Cell::new(None));

/// The running process.
#[inline(always)]
pub(super) fn writer() -> Writer {
    let process = process::current();
    Writer::new(process.cred.get(), process.leader().limits.get().file_bytes())
}

/// A call was refused with [`Errno::XFSZ`]: signals are looked for on the long way only, so it goes there.
#[cold]
#[inline(never)]
pub(super) fn exceeded(regs: &mut VolatileRegs) -> u32 {
    EXCEEDED.set(true);
    long_way(regs)
}

/// A call that is over sent its own process a signal: it goes the long way, where it finds what it came to.
pub(super) fn signalled(result: Result<u64, Errno>) -> u32 {
    SIGNALLED.set(Some(result));
    1
}

/// What such a call comes to there.
pub(super) fn call() -> Option<Result<Outcome, Errno>> {
    if let Some(result) = SIGNALLED.take() {
        return Some(result.map(Outcome::Value));
    }
    if !EXCEEDED.replace(false) {
        return None;
    }
    Some(Err(Errno::XFSZ))
}

/// What programs are told of an error on the long way.
pub(super) fn told(errno: Errno) -> Errno {
    if errno != Errno::XFSZ {
        return errno;
    }
    send_exceeded();
    Errno::EFBIG
}

/// The running thread wanted to write more than it may.
pub(super) fn send_exceeded() {
    // A standard signal is never refused.
    _ = signal::send_thread(process::current(), &Info::sent(Signal::XFSZ, code::KERNEL, 0, 0));
}
