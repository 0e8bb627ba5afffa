//! `epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2`, `eventfd eventfd2`.
//!
//! Source: epoll_create(2), epoll_ctl(2), epoll_wait(2), eventfd(2); Linux, fs/eventpoll.c.

use faultlab_abi::layout::USER_END;
use faultlab_linux::epoll::{EVENT_BYTES, has_event};

use super::file::file_of_call;
use super::poll::{Patience, end, is_over, set_mask};
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{Interrupted, current_files};

mod nr {
    pub(super) const EPOLL_CREATE: u64 = 213;
    pub(super) const EPOLL_WAIT: u64 = 232;
    pub(super) const EPOLL_CTL: u64 = 233;
    pub(super) const EPOLL_PWAIT: u64 = 281;
    pub(super) const EVENTFD: u64 = 284;
    pub(super) const EVENTFD2: u64 = 290;
    pub(super) const EPOLL_CREATE1: u64 = 291;
    pub(super) const EPOLL_PWAIT2: u64 = 441;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = regs.volatile;
    let table = current_files();
    let result = match rax {
        nr::EPOLL_CREATE if rdi.cast_signed() as i32 <= 0 => Err(Errno::EINVAL),
        nr::EPOLL_CREATE => LINUX.epoll_create1(table, 0).map(Outcome::Value),
        nr::EPOLL_CREATE1 => LINUX.epoll_create1(table, rdi).map(Outcome::Value),
        nr::EPOLL_CTL => epoll_ctl(rdi, rsi, rdx, r10),
        nr::EPOLL_WAIT => epoll_wait(rdi, rsi, rdx, &Patience::of_ms(r10)),
        nr::EPOLL_PWAIT => set_mask((r8, r9)).and_then(|()| epoll_wait(rdi, rsi, rdx, &Patience::of_ms(r10))),
        nr::EPOLL_PWAIT2 => Patience::of_timespec(r10).and_then(|patience| {
            set_mask((r8, r9))?;
            epoll_wait(rdi, rsi, rdx, &patience.untold())
        }),
        nr::EVENTFD => LINUX.eventfd2(table, rdi as u32, 0).map(Outcome::Value),
        nr::EVENTFD2 => LINUX.eventfd2(table, rdi as u32, rsi).map(Outcome::Value),
        _ => return None,
    };
    Some(result.inspect_err(|_| end()))
}

fn epoll_ctl(epoll: u64, operation: u64, number: u64, event: u64) -> Result<Outcome, Errno> {
    let event = if has_event(operation) {
        uaccess::read(event)?
    } else {
        [0; EVENT_BYTES]
    };
    LINUX
        .epoll_ctl(current_files(), epoll, operation, number, event)
        .map(|()| Outcome::Value(0))
}

fn epoll_wait(epoll: u64, events: u64, most: u64, patience: &Patience) -> Result<Outcome, Errno> {
    const BYTES: u64 = EVENT_BYTES as u64;
    let most = u64::from(u32::try_from(most as i32).map_err(|_| Errno::EINVAL)?);
    if most == 0 || most > i32::MAX as u64 / BYTES {
        return Err(Errno::EINVAL);
    }
    if events.checked_add(most * BYTES).is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT);
    }
    let (found, keys) = LINUX.epoll_collect(file_of_call(epoll, 0)?, most, &mut |index, event| {
        uaccess::copy_to_user(events + index * BYTES, event)
    })?;
    if !is_over(found, patience, keys) {
        return Ok(Outcome::Sleep(Interrupted::AtStops));
    }
    Ok(Outcome::Value(found))
}
