//! Timers: of a process's three intervals (`setitimer`), and those that it makes (`timer_create`).
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | a process's timers: set, read, expired |
//! | `posix.rs` | those that it makes |
//! | `queue.rs` | which expires next |
//! | `spec.rs` | how programs write times |
//!
//! Times are nanoseconds of one of two clocks: the monotonic one, whose queue all processes share, and a process's own CPU time, whose queue is
//! its own. What the other clocks say is a constant away from one of these.
//!
//! A timer with an interval is due again at the next multiple of it that is still to come; how many passed is its overrun, as far as its signal
//! was waiting all that time. Differs from Linux, where it starts again only when its signal is taken: a program sees the same.
//!
//! # Invariants
//! A timer is in the list of its process from its making to its deletion, and in the queue of its clock while it is set.
//!
//! Source: Linux, kernel/time/itimer.c, posix-timers.c, posix-cpu-timers.c; setitimer(2), timer_create(2), timer_settime(2),
//! timer_getoverrun(2).

mod posix;
mod queue;
mod spec;
#[cfg(test)]
mod tests;

use core::cell::Cell;

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

pub use posix::Made;
pub use queue::TimerQueue;
pub use spec::{NS_PER_S, Pair, timespec_ns, timeval_ns};

use crate::signal::{Info, Signal, code};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Timer`].
    TimerId
);

record! {
    /// A timer of a process.
    pub struct Timer[16] {
        /// The first of those below it in its queue.
        child, set_child: Option<TimerId> = 0;
        /// The next below the same one.
        sibling, set_sibling: Option<TimerId> = 1;
        /// The way back, see `queue.rs`.
        back, set_back: Option<TimerId> = 2;
        /// Whether it is set.
        queued, set_queued: bool = 3;
        /// When it is due; meaningful while it is set.
        expires, set_expires: u64 = 4;
        /// How many were set before it.
        added, set_added: u64 = 5;
        /// Nanoseconds after which it is due again; 0 for never.
        interval, set_interval: u64 = 6;
        /// The next of its process.
        next, set_next: Option<TimerId> = 7;
        /// Which of the process's three intervals it is, or [`MADE`].
        which, set_which: u64 = 8;
        /// Number of its process, and above it that of the thread that gets its signal, if not any.
        owner, set_owner: u64 = 9;
        /// Its number for `timer_settime`.
        number, set_number: u64 = 10;
        /// The clock that it was made for.
        clock, set_clock: u64 = 11;
        /// Number of its signal; 0 for none.
        signal, set_signal: u64 = 12;
        /// What the signal carries.
        value, set_value: u64 = 13;
        /// How often it was due since its signal was sent, and whether that waits: 0 if not, otherwise 1 more.
        missed, set_missed: u64 = 14;
        /// Overrun of the signal that was taken last.
        overrun, set_overrun: u64 = 15;
    }
}

/// [`Timer::which`] of those that `timer_create` made.
const MADE: u64 = 3;
/// The same of a descriptor's. Its owner is the description.
pub(crate) const DESCRIPTOR: u64 = 4;
/// Most that an overrun is told as. Source: Linux `DELAYTIMER_MAX`, `timer_overrun_to_int`.
const OVERRUN_MAX: u64 = i32::MAX as u64;

/// `ITIMER_*`: real time, CPU time of the program, CPU time of program and kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Itimer {
    /// `SIGALRM`.
    Real = 0,
    /// `SIGVTALRM`.
    Virtual = 1,
    /// `SIGPROF`.
    Prof = 2,
}

impl Itimer {
    /// The one with this number.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Real),
            1 => Some(Self::Virtual),
            2 => Some(Self::Prof),
            _ => None,
        }
    }

    const fn signal(self) -> Signal {
        match self {
            Self::Real => Signal::ALRM,
            Self::Virtual => Signal::VTALRM,
            Self::Prof => Signal::PROF,
        }
    }
}

/// Until when, and how often: 0 and 0 for a timer that is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Nanoseconds until it is due; 0 if it is not set.
    pub left: u64,
    /// Nanoseconds between that and the next time; 0 for once.
    pub interval: u64,
}

/// The timers of a process. All zero in one that has none.
#[derive(Debug)]
pub struct Timers {
    /// Those of `setitimer`, once used.
    intervals: [Cell<Option<TimerId>>; 3],
    /// Those of `timer_create`, the newest first.
    made: Cell<Option<TimerId>>,
    /// Number of the next one.
    next_number: Cell<u64>,
    /// Those on its CPU time.
    cpu: TimerQueue,
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            intervals: [const { Cell::new(None) }; 3],
            made: Cell::new(None),
            next_number: Cell::new(0),
            cpu: TimerQueue::new(),
        }
    }
}

/// The two clocks that timers run on, now.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic nanoseconds.
    pub monotonic: u64,
    /// Nanoseconds of the process's CPU time.
    pub cpu: u64,
}

/// What a timer that is due wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Number of its process.
    pub owner: u32,
    /// Number of the thread that gets the signal; `None`: any of the process.
    pub thread: Option<u32>,
    /// The signal to be sent; `None` if it is waiting already, or there is none.
    pub info: Option<Info>,
}

/// Clocks whose timers are CPU timers: `CLOCK_PROCESS_CPUTIME_ID`, `CLOCK_THREAD_CPUTIME_ID`.
fn is_cpu_clock(clock: u64) -> bool {
    matches!(clock, 2 | 3)
}

impl<P: Platform> Linux<'_, P> {
    pub(crate) fn timer(&self, id: TimerId) -> Timer<'_> {
        Timer(object(self.memory, id.0))
    }

    /// The queue that a timer of this process belongs into.
    fn queue_of<'q>(&'q self, timers: &'q Timers, timer: Timer<'_>) -> &'q TimerQueue {
        if timer.which() == Itimer::Real as u64 || timer.which() == MADE && !is_cpu_clock(timer.clock()) {
            &self.timers
        } else {
            &timers.cpu
        }
    }

    fn now_of(timer: Timer<'_>, now: Now) -> u64 {
        if timer.which() == Itimer::Real as u64 || timer.which() == MADE && !is_cpu_clock(timer.clock()) {
            now.monotonic
        } else {
            now.cpu
        }
    }

    /// When the first timer of any process on the monotonic clock is due.
    #[must_use]
    #[inline]
    pub fn first_timer(&self) -> Option<u64> {
        self.first_expiry(&self.timers)
    }

    /// When the first timer of a process on its CPU time is due.
    #[must_use]
    #[inline]
    pub fn first_cpu_timer(&self, timers: &Timers) -> Option<u64> {
        self.first_expiry(&timers.cpu)
    }

    /// What a timer says that is due on the monotonic clock; to be called until there is none.
    pub fn expire_timer(&self, now: u64) -> Option<Expired> {
        self.expire(&self.timers, now)
    }

    /// The same for a process's CPU time.
    pub fn expire_cpu_timer(&self, timers: &Timers, cpu: u64) -> Option<Expired> {
        self.expire(&timers.cpu, cpu)
    }

    fn expire(&self, queue: &TimerQueue, now: u64) -> Option<Expired> {
        let id = self.expired_timer(queue, now)?;
        let timer = self.timer(id);
        let (due, interval) = (timer.expires(), timer.interval());
        self.dequeue_timer(queue, id);
        let times = (now - due).checked_div(interval).map_or(1, |more| more + 1);
        if interval != 0 {
            // Beyond what the clock can say is never.
            if let Some(next) = times.checked_mul(interval).and_then(|passed| due.checked_add(passed)) {
                self.enqueue_timer(queue, id, next);
            }
        }
        if timer.which() == DESCRIPTOR {
            self.timerfd_due(timer, times);
        }
        Some(Expired {
            owner: timer.owner() as u32,
            thread: Some((timer.owner() >> 32) as u32).filter(|&thread| thread != 0),
            info: self.signal_of(timer, times),
        })
    }

    /// The signal of a timer that was due so many times.
    fn signal_of(&self, timer: Timer<'_>, times: u64) -> Option<Info> {
        if timer.which() != MADE {
            return Itimer::new(timer.which() as u32).map(|which| Info::kernel(which.signal()));
        }
        let signal = Signal::new(timer.signal())?;
        let waits = timer.missed() != 0;
        timer.set_missed(timer.missed() + times);
        (!waits).then(|| Info::timer(signal, timer.number() as u32, timer.value()))
    }

    /// A process takes the signal of one of its timers: with how often that was due meanwhile.
    pub fn timer_signal_taken(&self, timers: &Timers, info: Info) -> Info {
        let Some(timer) = self
            .made_timer(timers, info.timer_number().into())
            .ok()
            .map(|id| self.timer(id))
        else {
            return info;
        };
        timer.set_overrun(timer.missed().saturating_sub(1).min(OVERRUN_MAX));
        timer.set_missed(0);
        info.with_overrun(timer.overrun() as u32)
    }

    /// The signal of a timer could not be sent, or was not wanted.
    pub fn timer_signal_lost(&self, timers: &Timers, info: &Info) {
        if info.code == code::TIMER
            && let Ok(id) = self.made_timer(timers, info.timer_number().into())
        {
            self.timer(id).set_missed(0);
        }
    }

    /// How a timer is set.
    fn setting(&self, timer: Timer<'_>, now: Now) -> Setting {
        if !timer.queued() {
            return Setting {
                left: 0,
                interval: timer.interval(),
            };
        }
        Setting {
            // One that is due, and was not noticed yet, is not one that is not set.
            left: timer.expires().saturating_sub(Self::now_of(timer, now)).max(1),
            interval: timer.interval(),
        }
    }

    /// Sets a timer to be due at `expires`, or not at all.
    fn set_timer(&self, timers: &Timers, id: TimerId, expires: Option<u64>, interval: u64) {
        let timer = self.timer(id);
        let queue = self.queue_of(timers, timer);
        self.dequeue_timer(queue, id);
        timer.set_interval(interval);
        if let Some(expires) = expires {
            self.enqueue_timer(queue, id, expires);
        }
    }

    /// `getitimer`.
    #[must_use]
    pub fn getitimer(&self, timers: &Timers, which: Itimer, now: Now) -> Setting {
        let id = timers.intervals[which as usize].get();
        id.map_or(Setting::default(), |id| self.setting(self.timer(id), now))
    }

    /// `setitimer`, `alarm`: how it was set before.
    ///
    /// # Errors
    /// `ENOMEM`. Differs from Linux, whose processes have room for these from the start.
    pub fn setitimer(
        &self,
        timers: &Timers,
        owner: u32,
        which: Itimer,
        new: Setting,
        now: Now,
    ) -> Result<Setting, Errno> {
        let slot = &timers.intervals[which as usize];
        let id = match slot.get() {
            Some(id) => id,
            None if new.left == 0 => return Ok(Setting::default()),
            None => self.alloc_timer(owner, which as u64)?,
        };
        slot.set(Some(id));
        let timer = self.timer(id);
        let before = self.setting(timer, now);
        let interval = if new.left == 0 { 0 } else { new.interval };
        let expires = Self::now_of(timer, now).checked_add(new.left);
        self.set_timer(timers, id, expires.filter(|_| new.left != 0), interval);
        Ok(before)
    }

    pub(crate) fn alloc_timer(&self, owner: u32, which: u64) -> Result<TimerId, Errno> {
        let id = TimerId(self.alloc_record(&self.timer_records)?);
        self.timer(id).set_owner(owner.into());
        self.timer(id).set_which(which);
        Ok(id)
    }

    fn free_timer(&self, timers: &Timers, id: TimerId) {
        self.free_timer_of(self.queue_of(timers, self.timer(id)), id);
    }

    /// The same, of a timer that belongs into this queue.
    pub(crate) fn free_timer_of(&self, queue: &TimerQueue, id: TimerId) {
        let timer = self.timer(id);
        self.dequeue_timer(queue, id);
        for word in timer.0 {
            word.set(0);
        }
        self.timer_records.free(self.memory, id.0);
    }

    /// `execve`: what the old program made is gone; its intervals go on. Source: execve(2), setitimer(2).
    pub fn exec_timers(&self, timers: &Timers) {
        while let Some(id) = timers.made.get() {
            timers.made.set(self.timer(id).next());
            self.free_timer(timers, id);
        }
        timers.next_number.set(0);
    }

    /// The end of a process. A new one begins without timers. Source: fork(2).
    pub fn exit_timers(&self, timers: &Timers) {
        self.exec_timers(timers);
        for slot in &timers.intervals {
            if let Some(id) = slot.take() {
                self.free_timer(timers, id);
            }
        }
    }
}
