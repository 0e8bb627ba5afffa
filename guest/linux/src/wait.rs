//! Waiting: who is woken by what, and what a call that waits remembers until it is made again.
//!
//! A call that finds nothing says so ([`Call::Wait`]); its process sleeps and then makes the same call again from the start. So nobody waits
//! inside this layer, and a wait queue holds no entries that could be left behind: it is a number, of which each sleeper keeps one of 64 bits
//! ([`Keys`]). Who wakes a queue sets its bit ([`Linux::wake`]); the scheduler asks for the bits ([`Linux::take_woken`]) before it chooses a
//! process. Who was woken for nothing looks, and sleeps again.
//!
//! **How to be waited for** (a terminal, a userfaultfd): have a [`Queue`], call [`Linux::wake`] whenever a waiting call might now find something,
//! and have [`Linux::poll`](crate::Linux::poll) report the queue with the mask of what is ready (module [`poll`](crate::poll)).
//!
//! Source: Linux, kernel/sched/wait.c, wait_bit.c (hashed queues); signal(7), "Interruption of system calls".

use core::cell::Cell;

use faultlab_mm::Platform;
use faultlab_mm::record::ObjId;

use crate::fdtable::TableId;
use crate::file::{File, FileId, o};
use crate::locks::LockId;
use crate::{Errno, Linux};

/// A wait queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue(u64);

impl Queue {
    /// The `side`th queue of an object, of at most four.
    #[inline]
    #[must_use]
    pub fn of(object: ObjId, side: u32) -> Self {
        Self::numbered(u64::from(object.get()) << 2 | u64::from(side & 3))
    }

    /// A queue of something that is no record.
    #[inline]
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// One of 64 bits. Source: Linux `hash_64`.
    fn bit(self) -> u64 {
        1 << (self.0.wrapping_mul(0x61c8_8646_80b5_83eb) >> 58)
    }
}

/// Queues that somebody waits on, a bit for many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys(u64);

impl Keys {
    /// Those of no queue.
    pub const NONE: Self = Self(0);

    /// That of one queue.
    #[must_use]
    pub fn of(queue: Queue) -> Self {
        Self(queue.bit())
    }

    /// These and others.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether any is among others.
    #[must_use]
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// What a call that may wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It is over.
    Done(u64),
    /// It has to be made again after [`Waiter::keys`].
    Wait,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none, or it remembers nothing.
    #[default]
    None,
    /// It has looked descriptors up.
    Looked,
    /// It has waited: what it looked up is counted.
    Waited,
}

/// What a process keeps of a call that waits. All zero while there is none.
#[derive(Debug, Default)]
pub struct Waiter {
    keys: Cell<Keys>,
    progress: Cell<u64>,
    /// When it is to be made again at the latest.
    until: Cell<Option<u64>>,
    broken: Cell<bool>,
    exceeded: Cell<bool>,
    /// A FIFO being opened, counted as open.
    pub(crate) opening: Cell<Option<FileId>>,
    /// The lock of a file that it waits for.
    pub(crate) lock: Cell<Option<LockId>>,
    /// Partners that it had had by then.
    pub(crate) partners: Cell<u64>,
    stage: Cell<Stage>,
    /// What its descriptors named when it began.
    files: [Cell<Option<FileId>>; 2],
}

impl Waiter {
    /// Of a process that waits for nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: Cell::new(Keys::NONE),
            progress: Cell::new(0),
            until: Cell::new(None),
            broken: Cell::new(false),
            exceeded: Cell::new(false),
            opening: Cell::new(None),
            lock: Cell::new(None),
            partners: Cell::new(0),
            stage: Cell::new(Stage::None),
            files: [const { Cell::new(None) }; 2],
        }
    }

    /// The queues that the call waits on.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.keys.get()
    }

    /// Bytes that the call moved before it had to wait.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.get()
    }

    /// Whether the call has waited.
    #[inline]
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.stage.get() == Stage::Waited
    }

    /// Whether the call is an `open` of a FIFO that waits for its other end.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.opening.get().is_some()
    }

    /// A call that returns is over; whether it had waited, so that what it remembers has to be forgotten: [`Linux::end_wait`].
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.stage.get() {
            Stage::None => false,
            Stage::Looked => {
                self.stage.set(Stage::None);
                false
            }
            Stage::Waited => true,
        }
    }

    /// When the call is to be made again at the latest, monotonic nanoseconds, if it said so since the last question.
    pub fn take_until(&self) -> Option<u64> {
        self.until.take()
    }

    pub(crate) fn set_until(&self, until: Option<u64>) {
        self.until.set(until);
    }

    /// Whether a pipe was found without readers since the last question: the process gets a `SIGPIPE`.
    pub fn take_broken(&self) -> bool {
        self.broken.take()
    }

    pub(crate) fn set_broken(&self) {
        self.broken.set(true);
    }

    /// Whether a call since the last question moved what `RLIMIT_FSIZE` allowed, of more: the process gets a `SIGXFSZ`.
    pub fn take_exceeded(&self) -> bool {
        self.exceeded.take()
    }

    pub(crate) fn set_exceeded(&self) {
        self.exceeded.set(true);
    }

    /// The call has to wait for these.
    pub fn wait(&self, keys: Keys) -> Call {
        self.keys.set(keys);
        Call::Wait
    }

    /// The call moved `by` more bytes, and has to wait for these.
    pub(crate) fn wait_after(&self, by: u64, keys: Keys) -> Call {
        self.progress.set(self.progress.get() + by);
        self.wait(keys)
    }

    /// The call is over; it moved `by` bytes besides those before it waited.
    pub(crate) fn done(&self, by: u64) -> Call {
        self.keys.set(Keys::NONE);
        Call::Done(self.progress.take() + by)
    }

    /// As [`Waiter::done`], for an error that is only told if nothing was moved.
    ///
    /// # Errors
    /// `errno`.
    pub(crate) fn failed(&self, by: u64, errno: Errno) -> Result<Call, Errno> {
        match self.done(by) {
            Call::Done(0) => Err(errno),
            done => Ok(done),
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// Whoever waits on a queue is to look.
    #[inline]
    pub fn wake(&self, queue: Queue) {
        self.woken.set(self.woken.get() | queue.bit());
    }

    /// The queues that were woken since the last question.
    #[inline]
    pub fn take_woken(&self) -> Keys {
        let woken = Keys(self.woken.get());
        self.woken.set(0);
        woken
    }

    /// What a call's first or second descriptor names: of one that has waited, what it named when the call began, whatever has become of the
    /// number. Source: Linux `fdget`, which a call does once.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get_for(&self, waiter: &Waiter, table: TableId, descriptor: u64, which: usize) -> Result<File<'_>, Errno> {
        match waiter.stage.get() {
            Stage::Waited => {
                if let Some(id) = waiter.files[which].get() {
                    return Ok(self.file(id));
                }
            }
            Stage::Looked => {}
            Stage::None => {
                waiter.files[1 - which].set(None);
                waiter.stage.set(Stage::Looked);
            }
        }
        let id = self.get_id(table, descriptor)?;
        let file = self.file(id);
        if file.f_flags() & o::PATH != 0 {
            return Err(Errno::EBADF);
        }
        if !waiter.has_waited() {
            waiter.files[which].set(Some(id));
        }
        Ok(file)
    }

    /// A call is about to wait: what it looked up stays until it is over.
    pub fn begin_wait(&self, waiter: &Waiter) {
        match waiter.stage.replace(Stage::Waited) {
            Stage::None => waiter.files.iter().for_each(|file| file.set(None)),
            Stage::Looked => waiter
                .files
                .iter()
                .filter_map(Cell::get)
                .for_each(|id| self.get_file(id)),
            Stage::Waited => {}
        }
    }

    /// A call that waited is not made again: it is over, a handler runs, or the process ends. How many bytes it had moved, if any.
    pub fn end_wait(&self, waiter: &Waiter) -> Option<u64> {
        waiter.keys.set(Keys::NONE);
        if waiter.stage.take() == Stage::Waited {
            waiter
                .files
                .iter()
                .filter_map(Cell::take)
                .for_each(|id| self.put_file(id));
        }
        if let Some(file) = waiter.opening.take() {
            self.free_file(file);
        }
        self.end_lock_wait(waiter);
        Some(waiter.progress.take()).filter(|&moved| moved != 0)
    }
}
