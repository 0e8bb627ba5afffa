//! `timerfd`: a timer whose expirations are read. Source: Linux, fs/timerfd.c; timerfd_create(2).
//!
//! The timer is one of those on the monotonic clock ([`crate::timer`]); how often it was due since it was read or set is the description's
//! position, which such a description does not have. Nobody sets the clock of the day, so nothing is ever cancelled by that.

use faultlab_mm::Platform;
use faultlab_mm::record::Field;

use crate::fdtable::TableId;
use crate::file::{File, FileId, Kind, o};
use crate::iov::IovIter;
use crate::poll::{Ready, event};
use crate::timer::{DESCRIPTOR, Setting, Timer};
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

/// Bytes of a number.
const NUMBER_BYTES: u64 = 8;

fn queue(file: File<'_>) -> Queue {
    Queue::numbered(file.opened())
}

impl<P: Platform> Linux<'_, P> {
    /// `timerfd_create`: a new descriptor, for the clock with this number, which is one that can be waited for.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE`, `ENOMEM`.
    pub fn timerfd_create(&self, table: TableId, clock: u64, flags: u64) -> Result<u64, Errno> {
        let flags = u64::from(flags as u32);
        if flags & !(o::CLOEXEC | o::NONBLOCK) != 0 {
            return Err(Errno::EINVAL);
        }
        let timer = self.alloc_timer(0, DESCRIPTOR)?;
        let id = self
            .alloc_file()
            .inspect_err(|_| self.free_timer_of(&self.timers, timer))?;
        self.timer(timer).set_clock(clock);
        self.timer(timer).set_owner(Some(id).to_word());
        self.set_file(id, Kind::Timer, None, o::RDWR | flags & o::NONBLOCK);
        self.file(id).set_timer(Some(timer));
        self.install(table, id, 0, flags & o::CLOEXEC != 0)
    }

    /// The clock that it was made for.
    #[must_use]
    pub fn timerfd_clock(&self, file: File<'_>) -> Option<u64> {
        file.timer().map(|id| self.timer(id).clock())
    }

    /// `timerfd_settime`: how it was set before. With `until`, `new.left` is when it is due on the monotonic clock, instead of for how long it
    /// is set; what is over by `now` is due at once.
    ///
    /// # Errors
    /// `EINVAL` for what is no timer.
    pub fn timerfd_settime(
        &self,
        file: File<'_>,
        new: Setting,
        until: Option<u64>,
        now: u64,
    ) -> Result<Setting, Errno> {
        let id = file.timer().ok_or(Errno::EINVAL)?;
        let before = self.timerfd_gettime(file, now)?;
        self.dequeue_timer(&self.timers, id);
        self.timer(id).set_interval(new.interval);
        file.set_f_pos(0);
        let expires = match until {
            Some(until) => Some(until),
            None => now.checked_add(new.left),
        };
        if let Some(expires) = expires.filter(|_| new.left != 0) {
            self.enqueue_timer(&self.timers, id, expires);
        }
        Ok(before)
    }

    /// `timerfd_gettime`.
    ///
    /// # Errors
    /// `EINVAL` for what is no timer.
    pub fn timerfd_gettime(&self, file: File<'_>, now: u64) -> Result<Setting, Errno> {
        let timer = self.timer(file.timer().ok_or(Errno::EINVAL)?);
        let left = timer.expires().saturating_sub(now).max(1);
        Ok(Setting {
            left: if timer.queued() { left } else { 0 },
            interval: timer.interval(),
        })
    }

    /// A descriptor's timer was due so many times.
    pub(crate) fn timerfd_due(&self, timer: Timer<'_>, times: u64) {
        if let Some(id) = Option::<FileId>::from_word(timer.owner()) {
            let file = self.file(id);
            file.set_f_pos(file.f_pos().saturating_add(times));
            file.set_edges(file.edges() + 1);
            self.wake(queue(file));
        }
    }

    /// `read`: how often it was due.
    ///
    /// # Errors
    /// `EINVAL` for less than 8 bytes, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn timerfd_read(&self, waiter: &Waiter, file: File<'_>, mut to: IovIter) -> Result<Call, Errno> {
        if to.left() < NUMBER_BYTES {
            return Err(Errno::EINVAL);
        }
        match file.f_pos() {
            0 if file.f_flags() & o::NONBLOCK != 0 => Err(Errno::EAGAIN),
            0 => Ok(waiter.wait(Keys::of(queue(file)))),
            times => {
                // Taken, even if the program has no place for it.
                file.set_f_pos(0);
                self.poke_iter(&mut to, &times.to_le_bytes())?;
                Ok(waiter.done(NUMBER_BYTES))
            }
        }
    }

    pub(crate) fn timerfd_poll(file: File<'_>) -> Ready {
        let mask = if file.f_pos() != 0 { event::IN } else { 0 };
        Ready::of(mask, queue(file), file.edges())
    }

    /// The last descriptor is closed.
    pub(crate) fn release_timerfd(&self, file: File<'_>) {
        if let Some(timer) = file.timer() {
            self.free_timer_of(&self.timers, timer);
        }
    }
}
