//! `poll ppoll select pselect6`: waiting for any of several descriptors, for a time, with another signal mask.
//!
//! Source: poll(2), select(2); Linux, fs/select.c (`do_poll`, `do_select`, `poll_select_finish`).

use faultlab_abi::layout::USER_END;
use faultlab_linux::fdtable::NOFILE;
use faultlab_linux::file::{File, Kind};
use faultlab_linux::poll::{Ready, event};
use faultlab_linux::signal::SigSet;
use faultlab_linux::wait::Keys;

use super::time::{self, NS_PER_S};
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::terminal;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, current_files};
use crate::task::signal;

mod nr {
    pub(super) const POLL: u64 = 7;
    pub(super) const SELECT: u64 = 23;
    pub(super) const PSELECT6: u64 = 270;
    pub(super) const PPOLL: u64 = 271;
}

/// Source: getrlimit(2).
const RLIMIT_NOFILE: u64 = 7;

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
    let result = match rax {
        nr::POLL => poll(rdi, rsi, &Patience::of_ms(rdx)),
        nr::PPOLL => ppoll(rdi, rsi, rdx, (r10, r8)),
        nr::SELECT => Patience::of_timeval(r8).and_then(|patience| select(rdi, [rsi, rdx, r10], &patience)),
        nr::PSELECT6 => pselect6(rdi, [rsi, rdx, r10], r8, r9),
        _ => return None,
    };
    Some(result.inspect_err(|_| end()))
}

/// What a description is ready for, whoever knows that: this layer for all that it knows.
pub(super) fn ready(file: File<'_>) -> Ready {
    match file.kind() {
        Kind::Stream(stream) => terminal::poll(stream),
        Kind::Timer => {
            super::notify::look_at_timers();
            LINUX.poll(file)
        }
        _ => LINUX.poll(file),
    }
}

/// Where a program wants to be told how much of its time is left.
#[derive(Clone, Copy)]
pub(super) enum Rest {
    /// Nowhere.
    Nowhere,
    /// In a `struct timespec`.
    Timespec(u64),
    /// In a `struct timeval`.
    Timeval(u64),
}

impl Rest {
    /// That of a call that waited, whose registers these are.
    pub(super) fn of(v: &VolatileRegs) -> Self {
        match v.rax {
            nr::PPOLL => Self::Timespec(v.rdx),
            nr::PSELECT6 => Self::Timespec(v.r8),
            nr::SELECT => Self::Timeval(v.r8),
            _ => Self::Nowhere,
        }
    }

    /// Tells it. A bad address is the program's affair, as on Linux.
    pub(super) fn tell(self, ns: u64) {
        _ = match self {
            Self::Nowhere | Self::Timespec(0) | Self::Timeval(0) => Ok(()),
            Self::Timespec(addr) => time::write_pair(addr, [ns / NS_PER_S, ns % NS_PER_S]),
            Self::Timeval(addr) => time::write_pair(addr, [ns / NS_PER_S, ns % NS_PER_S / 1000]),
        };
    }
}

/// How long a call waits at most.
pub(super) struct Patience {
    /// Nanoseconds; `None` is for ever.
    timeout: Option<u64>,
    rest: Rest,
}

impl Patience {
    /// So many milliseconds; for ever if negative.
    pub(super) fn of_ms(ms: u64) -> Self {
        Self {
            timeout: u64::try_from(ms as i32).ok().map(|ms| ms * 1_000_000),
            rest: Rest::Nowhere,
        }
    }

    /// What a `struct timespec` says; for ever without one.
    pub(super) fn of_timespec(addr: u64) -> Result<Self, Errno> {
        let timeout = match addr {
            0 => None,
            addr => Some(time::read_timespec(addr)?),
        };
        Ok(Self {
            timeout,
            rest: Rest::Timespec(addr),
        })
    }

    /// The same, but nobody is told what is left.
    pub(super) fn untold(self) -> Self {
        Self {
            rest: Rest::Nowhere,
            ..self
        }
    }

    /// What a `struct timeval` says, of any number of microseconds that is not negative; for ever without one.
    fn of_timeval(addr: u64) -> Result<Self, Errno> {
        const US_PER_S: u64 = 1_000_000;
        let timeout = match addr {
            0 => None,
            addr => {
                let [seconds, us] = time::read_pair(addr)?;
                if us.cast_signed() < 0 || seconds.cast_signed() < 0 {
                    return Err(Errno::EINVAL);
                }
                let seconds = seconds.saturating_add(us / US_PER_S);
                Some(seconds.saturating_mul(NS_PER_S).saturating_add(us % US_PER_S * 1000))
            }
        };
        Ok(Self {
            timeout,
            rest: Rest::Timeval(addr),
        })
    }
}

/// Takes a mask for the time of the call: its address, or 0 for none, and its size.
pub(super) fn set_mask((addr, bytes): (u64, u64)) -> Result<(), Errno> {
    if addr == 0 {
        return Ok(());
    }
    if bytes != size_of::<SigSet>() as u64 {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(u64::from_le_bytes(uaccess::read(addr)?));
    process::current().signals.suspend(mask);
    Ok(())
}

/// Whether a call is over that looked and found `found` descriptors ready; if not, it sleeps until one of `keys` is woken. The one place where
/// a time-out is begun, looked at and ended, and where the mask of before comes back.
pub(super) fn is_over(found: u64, patience: &Patience, keys: Keys) -> bool {
    let process = process::current();
    // A signal comes before the end of the time, but after descriptors; its handler finds the mask to come back to.
    if found == 0 && (signal::has_pending(process) || !time::is_over(process, patience.timeout)) {
        _ = process.waiter.wait(keys);
        return false;
    }
    if let Some(timeout) = patience.timeout.filter(|&timeout| timeout != 0) {
        patience.rest.tell(time::left(process, timeout));
    }
    end();
    true
}

/// A call is over: mask and time-out are as before it.
pub(super) fn end() {
    let process = process::current();
    process::set_deadline(process, None);
    process.signals.resume();
}

/// Bytes of a `struct pollfd`.
const POLLFD_BYTES: u64 = 8;

/// A descriptor, and the events asked for.
fn pollfd(addr: u64) -> Result<(i32, u16), Errno> {
    let [a, b, c, d, e, f, _, _] = uaccess::read(addr)?;
    Ok((i32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f])))
}

fn poll_one((descriptor, events): (i32, u16)) -> Ready {
    let Ok(descriptor) = u64::try_from(descriptor) else {
        return Ready::default();
    };
    let mut ready = match LINUX.get(current_files(), descriptor) {
        Ok(file) => ready(file),
        Err(_) => {
            return Ready {
                mask: event::NVAL,
                ..Ready::default()
            };
        }
    };
    ready.mask &= u32::from(events) | event::ERR | event::HUP;
    ready
}

fn ppoll(fds: u64, count: u64, timeout: u64, mask: (u64, u64)) -> Result<Outcome, Errno> {
    let patience = Patience::of_timespec(timeout)?;
    set_mask(mask)?;
    poll(fds, count, &patience)
}

fn poll(fds: u64, count: u64, patience: &Patience) -> Result<Outcome, Errno> {
    const REVENTS_AT: u64 = 6;
    let count = u64::from(count as u32);
    if count
        > process::current()
            .leader()
            .limits
            .get()
            .get(RLIMIT_NOFILE)
            .map_or(0, |limit| limit.soft)
    {
        return Err(Errno::EINVAL);
    }
    let at = |index: u64| fds.wrapping_add(index * POLLFD_BYTES);
    let (mut found, mut keys) = (0, Keys::NONE);
    for index in 0..count {
        let ready = poll_one(pollfd(at(index))?);
        found += u64::from(ready.mask != 0);
        keys = keys.with(ready.keys);
    }
    if !is_over(found, patience, keys) {
        return Ok(Outcome::Sleep(Interrupted::Once));
    }
    // Also where nothing is written. Source: Linux `do_sys_poll` (`user_write_access_begin`).
    if at(count) < fds || at(count) > USER_END {
        return Err(Errno::EFAULT);
    }
    for index in 0..count {
        let revents = poll_one(pollfd(at(index))?).mask as u16;
        uaccess::copy_to_user(at(index).wrapping_add(REVENTS_AT), &revents.to_le_bytes())?;
    }
    Ok(Outcome::Value(found))
}

/// Bytes of an `fd_set` that any descriptor has a bit in.
const SET_BYTES: usize = NOFILE as usize / 8;
/// A set of descriptors.
type FdSet = [u8; SET_BYTES];

/// What each of the three sets of `select` asks for, and what shows in it. Source: Linux `POLLIN_SET` and its neighbours.
const SHOWS: [u32; 3] = [
    event::READABLE | event::RDBAND | event::HUP | event::ERR | event::NVAL,
    event::WRITABLE | event::WRBAND | event::ERR | event::NVAL,
    event::PRI | event::NVAL,
];

fn has(set: &FdSet, descriptor: usize) -> bool {
    set[descriptor / 8] >> (descriptor % 8) & 1 != 0
}

fn pselect6(count: u64, sets: [u64; 3], timeout: u64, mask: u64) -> Result<Outcome, Errno> {
    let mask = match mask {
        0 => (0, 0),
        addr => time::read_pair(addr)?.into(),
    };
    let patience = Patience::of_timespec(timeout)?;
    set_mask(mask)?;
    select(count, sets, &patience)
}

fn select(count: u64, addrs: [u64; 3], patience: &Patience) -> Result<Outcome, Errno> {
    const WORD_BITS: usize = 64;
    let count = usize::try_from(count as i32).map_err(|_| Errno::EINVAL)?;
    let count = count.min(LINUX.descriptors(current_files()) as usize);
    // Sets are arrays of 64-bit words.
    let bytes = count.div_ceil(WORD_BITS) * (WORD_BITS / 8);
    let mut wanted = [[0; SET_BYTES]; 3];
    for (set, addr) in wanted.iter_mut().zip(addrs).filter(|(_, addr)| *addr != 0) {
        uaccess::copy_from_user(&mut set[..bytes], addr)?;
    }
    let (mut shown, mut found, mut keys) = ([[0; SET_BYTES]; 3], 0, Keys::NONE);
    for descriptor in 0..count {
        if !wanted.iter().any(|set| has(set, descriptor)) {
            continue;
        }
        let ready = ready(LINUX.get(current_files(), descriptor as u64)?);
        keys = keys.with(ready.keys);
        for ((wanted, shown), shows) in wanted.iter().zip(&mut shown).zip(SHOWS) {
            if has(wanted, descriptor) && ready.mask & shows != 0 {
                shown[descriptor / 8] |= 1 << (descriptor % 8);
                found += 1;
            }
        }
    }
    if !is_over(found, patience, keys) {
        return Ok(Outcome::Sleep(Interrupted::Once));
    }
    for (set, addr) in shown.iter().zip(addrs).filter(|(_, addr)| *addr != 0) {
        uaccess::copy_to_user(addr, &set[..bytes])?;
    }
    Ok(Outcome::Value(found))
}
