//! `signalfd`: signals of the process that asks, read as records. Source: Linux, fs/signalfd.c; signalfd(2).
//!
//! The set is the description's position, which such a description does not have. All of them wait on one queue: whoever is sent a signal
//! wakes it while there are any.

use faultlab_mm::Platform;

use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::iov::IovIter;
use crate::poll::{Ready, event};
use crate::signal::{Info, Shared, SigSet, Signal, Signals, code};
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

/// Bytes of a `struct signalfd_siginfo`.
pub const SIGINFO_BYTES: usize = 128;

/// The queue of all of them: no description has this number.
fn queue() -> Queue {
    Queue::numbered(u64::MAX)
}

fn set_of(file: File<'_>) -> SigSet {
    SigSet(file.f_pos())
}

/// A signal as it is read. Which fields hold something depends on its code. Source: Linux `signalfd_copyinfo`, `siginfo_layout`.
fn record(info: &Info) -> [u8; SIGINFO_BYTES] {
    let mut bytes = [0; SIGINFO_BYTES];
    let mut put = |at: usize, value: u64, len: usize| bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    let [first, second, third, fourth] = info.rest;
    put(0, info.signal.number().into(), 4);
    put(8, u64::from(info.code.cast_unsigned()), 4);
    let faults = [Signal::ILL, Signal::FPE, Signal::SEGV, Signal::BUS, Signal::TRAP];
    match info.code {
        code::TIMER => {
            put(24, first, 4);
            put(32, first >> 32, 4);
            put(44, second, 4);
            put(48, second, 8);
        }
        1..code::KERNEL if faults.contains(&info.signal) => put(72, first, 8),
        other => {
            put(12, first, 4);
            put(16, first >> 32, 4);
            if other < 0 {
                put(44, second, 4);
                put(48, second, 8);
            } else if info.signal == Signal::CHLD && other != code::USER && other != code::KERNEL {
                put(40, second, 4);
                put(56, third, 8);
                put(64, fourth, 8);
            }
        }
    }
    bytes
}

impl<P: Platform> Linux<'_, P> {
    /// `signalfd4`: a new descriptor, or, for the one with this number, another set.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags and for what is no signalfd, `EBADF`, `EMFILE`, `ENOMEM`.
    pub fn signalfd4(&self, table: TableId, number: Option<u64>, set: SigSet, flags: u64) -> Result<u64, Errno> {
        let flags = u64::from(flags as u32);
        if flags & !(o::CLOEXEC | o::NONBLOCK) != 0 {
            return Err(Errno::EINVAL);
        }
        let set = set.blockable();
        if let Some(number) = number {
            let file = self.get(table, number)?;
            if file.kind() != Kind::Signal {
                return Err(Errno::EINVAL);
            }
            file.set_f_pos(set.0);
            self.wake(queue());
            return Ok(number);
        }
        let id = self.alloc_file()?;
        self.set_file(id, Kind::Signal, None, o::RDWR | flags & o::NONBLOCK);
        self.file(id).set_f_pos(set.0);
        self.signalfds.add(1);
        self.install(table, id, 0, flags & o::CLOEXEC != 0)
    }

    /// The last descriptor is closed.
    pub(crate) fn release_signalfd(&self) {
        self.signalfds.sub(1);
    }

    /// A signal was sent to somebody.
    #[inline]
    pub(crate) fn wake_signalfds(&self) {
        if self.signalfds.get() != 0 {
            self.wake(queue());
        }
    }

    /// `read`, by a thread with these signals: as many as there are, and fit.
    ///
    /// # Errors
    /// `EINVAL` if not one fits, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn signalfd_read(
        &self,
        waiter: &Waiter,
        (signals, shared): (&Signals, &Shared),
        file: File<'_>,
        mut to: IovIter,
        taken: impl Fn(Info) -> Info,
    ) -> Result<Call, Errno> {
        const BYTES: u64 = SIGINFO_BYTES as u64;
        if to.left() < BYTES {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while to.left() >= BYTES
            && let Some(info) = self.take_signal(signals, shared, set_of(file))
        {
            match self.poke_iter(&mut to, &record(&taken(info))) {
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
                Ok(()) => done += BYTES,
            }
        }
        match done {
            0 if file.f_flags() & o::NONBLOCK != 0 => Err(Errno::EAGAIN),
            0 => Ok(waiter.wait(Keys::of(queue()))),
            done => Ok(waiter.done(done)),
        }
    }

    /// Whether the thread that asks has any of the signals. Its edges cannot be counted: they are those of nobody in particular.
    pub(crate) fn signalfd_poll(&self, file: File<'_>) -> Ready {
        let pending = SigSet(self.system.pending());
        let mask = match pending.intersection(set_of(file)).is_empty() {
            true => 0,
            false => event::IN,
        };
        Ready::of(mask, queue(), pending.0)
    }
}
