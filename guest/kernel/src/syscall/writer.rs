//! Who writes, and `SIGXFSZ` for who may not write more. Rule C17.

use core::cell::Cell;

use faultlab_linux::signal::{Info, Signal, code};
use faultlab_linux::writer::Writer;

use super::{Errno, Outcome, long_way};
use crate::cpu::entry::VolatileRegs;
use crate::global::Global;
use crate::task::{process, signal};

/// Whether the call that takes the long way was refused for its size.
static EXCEEDED: Global<Cell<bool>> = Global::new(Cell::new(false));

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

/// What such a call comes to there.
pub(super) fn call() -> Option<Result<Outcome, Errno>> {
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
    // A standard signal is never refused.
    _ = signal::send_thread(process::current(), &Info::sent(Signal::XFSZ, code::KERNEL, 0, 0));
    Errno::EFBIG
}
