//! Timers that a process makes: `timer_create` and its relatives.
//!
//! Source: Linux, kernel/time/posix-timers.c; timer_create(2), timer_settime(2), timer_getoverrun(2), timer_delete(2).

use faultlab_mm::Platform;

use super::{MADE, Now, Setting, TimerId, Timers};
use crate::signal::Signal;
use crate::{Errno, Linux};

/// What a new timer does, and on which clock. Source: sigevent(3type).
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The clock's number, as the program gave it.
    pub clock: u64,
    /// Its signal; none if it only counts.
    pub signal: Option<Signal>,
    /// What the signal carries; `None`: the timer's number.
    pub value: Option<u64>,
    /// Number of the thread that gets the signal; `None`: any of the process.
    pub thread: Option<u32>,
}

impl<P: Platform> Linux<'_, P> {
    /// `timer_create`: the new timer's number.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn timer_create(&self, timers: &Timers, owner: u32, made: Made) -> Result<u32, Errno> {
        let id = self.alloc_timer(owner, MADE)?;
        let (timer, number) = (self.timer(id), timers.next_number.get());
        timers.next_number.set(number + 1);
        timer.set_owner(u64::from(owner) | u64::from(made.thread.unwrap_or(0)) << 32);
        timer.set_number(number);
        timer.set_clock(made.clock);
        timer.set_signal(made.signal.map_or(0, |signal| signal.number().into()));
        timer.set_value(made.value.unwrap_or(number));
        timer.set_next(timers.made.replace(Some(id)));
        Ok(number as u32)
    }

    /// The timer that has this number.
    pub(super) fn made_timer(&self, timers: &Timers, number: u64) -> Result<TimerId, Errno> {
        let mut next = timers.made.get();
        while let Some(id) = next {
            let timer = self.timer(id);
            if timer.number() == number {
                return Ok(id);
            }
            next = timer.next();
        }
        Err(Errno::EINVAL)
    }

    /// `timer_gettime`.
    ///
    /// # Errors
    /// `EINVAL`: there is no such timer.
    pub fn timer_gettime(&self, timers: &Timers, number: u32, now: Now) -> Result<Setting, Errno> {
        let id = self.made_timer(timers, number.into())?;
        Ok(self.setting(self.timer(id), now))
    }

    /// The clock that a timer was made for.
    ///
    /// # Errors
    /// `EINVAL`: there is no such timer.
    pub fn timer_clock(&self, timers: &Timers, number: u32) -> Result<u64, Errno> {
        Ok(self.timer(self.made_timer(timers, number.into())?).clock())
    }

    /// `timer_settime`: how it was set before. With `until`, `new.left` is when it is due, on its clock, instead of for how long it is set.
    ///
    /// # Errors
    /// `EINVAL`: there is no such timer.
    pub fn timer_settime(
        &self,
        timers: &Timers,
        number: u32,
        new: Setting,
        until: Option<u64>,
        now: Now,
    ) -> Result<Setting, Errno> {
        let id = self.made_timer(timers, number.into())?;
        let timer = self.timer(id);
        let before = self.setting(timer, now);
        let expires = match until {
            Some(until) => Some(until),
            None => Self::now_of(timer, now).checked_add(new.left),
        };
        let interval = if new.left == 0 { 0 } else { new.interval };
        timer.set_overrun(0);
        self.set_timer(timers, id, expires.filter(|_| new.left != 0), interval);
        Ok(before)
    }

    /// `timer_getoverrun`.
    ///
    /// # Errors
    /// `EINVAL`: there is no such timer.
    pub fn timer_getoverrun(&self, timers: &Timers, number: u32) -> Result<u64, Errno> {
        Ok(self.timer(self.made_timer(timers, number.into())?).overrun())
    }

    /// `timer_delete`.
    ///
    /// # Errors
    /// `EINVAL`: there is no such timer.
    pub fn timer_delete(&self, timers: &Timers, number: u32) -> Result<(), Errno> {
        let id = self.made_timer(timers, number.into())?;
        let after = self.timer(id).next();
        match timers.made.get() {
            Some(first) if first == id => timers.made.set(after),
            first => {
                let mut before = first;
                while let Some(timer) = before.map(|id| self.timer(id)) {
                    if timer.next() == Some(id) {
                        timer.set_next(after);
                        break;
                    }
                    before = timer.next();
                }
            }
        }
        self.free_timer(timers, id);
        Ok(())
    }
}
