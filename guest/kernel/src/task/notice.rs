//! Signals to the owners of descriptors. Whom they are for is decided in [`faultlab_linux::owner`]; here are the processes.
//!
//! Source: Linux, fs/fcntl.c (`send_sigio_to_task`, `sigio_perm`).

use faultlab_linux::owner::{Notice, Who};
use faultlab_linux::signal::{Info, Signal, code};

use crate::mem::platform::MEMORY;
use crate::task::process::{self, Process, State};
use crate::task::signal;

fn is_meant(process: &Process, who: Who, number: u32) -> bool {
    process.state.get() != State::Free
        && match who {
            Who::Thread => process.tid.get() == number,
            Who::Process => process.is_leader() && process.pid.get() == number,
            Who::Group => process.is_leader() && process.group.get() == number,
        }
}

/// Whether there is a thread, process or group with this number.
pub(crate) fn exists(who: Who, number: u32) -> bool {
    let is_init = core::iter::once(process::init());
    is_init
        .chain(process::table())
        .any(|process| is_meant(process, who, number))
}

/// Whether who named the owner may signal it.
fn may_tell(notice: &Notice, to: &Process) -> bool {
    let (user, [real, effective]) = (to.cred.get().user, notice.users);
    effective == 0 || [user.saved, user.real].iter().any(|id| [real, effective].contains(id))
}

/// Sends the signal.
pub(crate) fn tell(notice: &Notice) {
    for process in process::table() {
        if is_meant(process, notice.who, notice.number) && may_tell(notice, process) {
            tell_one(notice, process);
        }
    }
    // The call that caused it may be on the short way, which looks for no signals.
    if signal::has_pending(process::current()) {
        MEMORY.defer_work();
    }
}

fn tell_one(notice: &Notice, to: &Process) {
    let send = |info: &Info| match notice.who {
        Who::Thread => signal::send_thread(to, info),
        Who::Process | Who::Group => signal::send(to, info),
    };
    let queued = Signal::new(notice.signal.into()).is_some_and(|signal| {
        // The codes of some signals are taken. Source: Linux `sig_specific_sicodes`.
        let own_codes = [
            Signal::ILL,
            Signal::TRAP,
            Signal::BUS,
            Signal::FPE,
            Signal::SEGV,
            Signal::CHLD,
            Signal::SYS,
        ];
        let code = if own_codes.contains(&signal) {
            code::SIGIO
        } else {
            notice.event as i32
        };
        let rest = [notice.event.band(), notice.descriptor.into(), 0, 0];
        send(&Info { signal, code, rest }).is_ok()
    });
    if !queued {
        // A standard signal is never refused.
        _ = send(&Info::kernel(Signal::IO));
    }
}
