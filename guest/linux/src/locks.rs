//! File locks: those of a process on ranges of bytes, those of a description on ranges, and `flock`.
//!
//! Source: Linux, fs/locks.c; fcntl(2), "Advisory record locking" and "Open file description locks"; flock(2).
//!
//! # Invariants
//! Locks of one owner and class on one object do not overlap, and those of the same type do not touch. The owner of a process's locks is its
//! table of descriptors; that of the others is the description.

mod flock;
#[cfg(test)]
mod tests;

pub use flock::{FLOCK_BYTES, Flock};

use faultlab_mm::record::Id;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::fdtable::TableId;
use crate::file::{File, FileId};
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`FileLock`].
    LockId
);

record! {
    /// A lock, or one that somebody waits for.
    pub struct FileLock[16] {
        /// The next lock of all.
        next, set_next: Option<LockId> = 0;
        /// The object.
        inode, set_inode: Option<InodeId> = 1;
        /// Who has it.
        owner, set_owner: u64 = 2;
        /// See [`Class`].
        class, set_class: u64 = 3;
        /// First byte.
        start, set_start: u64 = 4;
        /// Last byte.
        end, set_end: u64 = 5;
        /// Whether nobody else may have one there.
        exclusive, set_exclusive: bool = 6;
        /// The process that took it.
        pid, set_pid: u64 = 7;
        /// Of one that somebody waits for: the owner of what is in its way.
        blocker, set_blocker: u64 = 8;
    }
}

/// What kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A process's.
    Posix = 1,
    /// A description's, on a range.
    Ofd = 2,
    /// A description's, on everything.
    Flock = 3,
    /// A process waits for one.
    Waiting = 4,
}

/// Types, as `l_type` has them. Source: fcntl(2).
pub mod lock_type {
    /// Shared.
    pub const READ: u16 = 0;
    /// Exclusive.
    pub const WRITE: u16 = 1;
    /// None.
    pub const UNLOCK: u16 = 2;
}

/// Last byte of any file.
const LAST: u64 = i64::MAX as u64;

/// A lock that is asked for.
#[derive(Clone, Copy)]
struct Wanted {
    inode: InodeId,
    owner: u64,
    class: Class,
    start: u64,
    end: u64,
    exclusive: bool,
    pid: u32,
}

impl Wanted {
    fn touches(&self, lock: FileLock<'_>) -> bool {
        lock.start() <= self.end.saturating_add(1) && self.start <= lock.end().saturating_add(1)
    }

    fn overlaps(&self, lock: FileLock<'_>) -> bool {
        lock.start() <= self.end && self.start <= lock.end()
    }

    fn is_of(&self, lock: FileLock<'_>) -> bool {
        lock.inode() == Some(self.inode) && lock.class() == self.class as u64 && lock.owner() == self.owner
    }

    /// Whether a lock keeps this one from being had. `flock` and the others do not know of each other.
    fn conflicts(&self, lock: FileLock<'_>) -> bool {
        let flock = |class: u64| class == Class::Flock as u64;
        lock.inode() == Some(self.inode)
            && lock.class() != Class::Waiting as u64
            && flock(lock.class()) == flock(self.class as u64)
            && (lock.class() != self.class as u64 || lock.owner() != self.owner)
            && (lock.exclusive() || self.exclusive)
            && self.overlaps(lock)
    }
}

/// On whose behalf `fcntl` locks.
#[derive(Clone, Copy, Debug)]
pub struct Locker {
    /// Its descriptors.
    pub table: TableId,
    /// Its number.
    pub pid: u32,
}

impl<P: Platform> Linux<'_, P> {
    fn file_lock(&self, id: LockId) -> FileLock<'_> {
        FileLock(object(self.memory, id.0))
    }

    fn first_lock(&self) -> Option<LockId> {
        faultlab_mm::record::Field::from_word(self.first_lock.get())
    }

    fn set_first_lock(&self, id: Option<LockId>) {
        self.first_lock.set(faultlab_mm::record::Field::to_word(id));
    }

    fn locks(&self) -> impl Iterator<Item = (LockId, FileLock<'_>)> {
        let mut next = self.first_lock();
        core::iter::from_fn(move || {
            let id = next?;
            let lock = self.file_lock(id);
            next = lock.next();
            Some((id, lock))
        })
    }

    fn alloc_lock(&self) -> Result<LockId, Errno> {
        self.alloc_record(&self.file_locks)
            .map(LockId)
            .map_err(|_| Errno::ENOLCK)
    }

    fn free_lock(&self, id: LockId) {
        for word in self.file_lock(id).0 {
            word.set(0);
        }
        self.file_locks.free(self.memory, id.0);
    }

    fn insert_lock(&self, id: LockId, wanted: &Wanted) {
        let lock = self.file_lock(id);
        lock.set_inode(Some(wanted.inode));
        lock.set_owner(wanted.owner);
        lock.set_class(wanted.class as u64);
        lock.set_start(wanted.start);
        lock.set_end(wanted.end);
        lock.set_exclusive(wanted.exclusive);
        lock.set_pid(u64::from(wanted.pid));
        match self.lock_before(wanted) {
            Some(before) => {
                lock.set_next(before.next());
                before.set_next(Some(id));
            }
            None => {
                lock.set_next(self.first_lock());
                self.set_first_lock(Some(id));
            }
        }
    }

    /// Behind which lock one belongs; `None`: it is to be the first. Those of an owner are together and in the order of where they begin, owners in
    /// that of their first lock: so `F_GETLK` tells the lowest of the first owner. Source: Linux `posix_lock_inode`.
    fn lock_before(&self, wanted: &Wanted) -> Option<FileLock<'_>> {
        let (mut before, mut of_owner) = (None, false);
        for (_, lock) in self.locks() {
            let same = wanted.is_of(lock);
            if of_owner && !same || same && lock.start() >= wanted.start {
                break;
            }
            of_owner |= same;
            before = Some(lock);
        }
        before
    }

    fn remove_lock(&self, id: LockId) {
        let next = self.file_lock(id).next();
        match self.locks().find(|(_, lock)| lock.next() == Some(id)) {
            Some((_, before)) => before.set_next(next),
            None => self.set_first_lock(next),
        }
        self.free_lock(id);
    }

    /// Removes all locks that `goes` says of, and wakes who waits for them.
    fn remove_locks(&self, goes: impl Fn(FileLock<'_>) -> bool) {
        while let Some((id, lock)) = self.locks().find(|(_, lock)| goes(*lock)) {
            if let Some(inode) = lock.inode() {
                self.wake(queue(inode));
            }
            self.remove_lock(id);
        }
    }

    /// A descriptor of a process closes: the process loses all its locks on the object. Source: Linux `locks_remove_posix`.
    #[inline]
    pub(crate) fn remove_posix_locks(&self, table: TableId, file: FileId) {
        if self.first_lock().is_some()
            && let Some(inode) = self.file(file).inode()
        {
            let owner = owner_of(table);
            self.remove_locks(|lock| {
                lock.class() == Class::Posix as u64 && lock.owner() == owner && lock.inode() == Some(inode)
            });
        }
    }

    /// A description goes, and its locks. Source: Linux `locks_remove_file`.
    #[inline]
    pub(crate) fn remove_file_locks(&self, file: File<'_>) {
        if self.first_lock().is_some() {
            let owner = file.opened();
            self.remove_locks(|lock| {
                matches!(lock.class(), class if class == Class::Ofd as u64 || class == Class::Flock as u64)
                    && lock.owner() == owner
            });
        }
    }

    /// A process no longer waits for a lock.
    pub(crate) fn end_lock_wait(&self, waiter: &Waiter) {
        if let Some(id) = waiter.lock.take() {
            self.remove_lock(id);
        }
    }

    /// Gives an owner a lock that nothing is in the way of, or with `exclusive: None` takes a range away. Source: Linux
    /// `posix_lock_inode`.
    fn apply_lock(&self, wanted: Wanted, unlock: bool) -> Result<(), Errno> {
        let new = self.alloc_lock()?;
        let half = self.alloc_lock().inspect_err(|_| self.free_lock(new))?;
        let (mut wanted, mut half) = (wanted, Some(half));
        let (start, end) = (wanted.start, wanted.end);
        if !unlock {
            // It takes its place before those that it replaces lose theirs.
            self.insert_lock(new, &wanted);
        }
        let mut next = self.first_lock();
        while let Some(id) = next {
            let lock = self.file_lock(id);
            next = lock.next();
            if id == new || !wanted.is_of(lock) {
                continue;
            }
            if !unlock && lock.exclusive() == wanted.exclusive {
                if wanted.touches(lock) {
                    wanted.start = wanted.start.min(lock.start());
                    wanted.end = wanted.end.max(lock.end());
                    self.remove_lock(id);
                }
                continue;
            }
            if lock.start() > end || lock.end() < start {
                continue;
            }
            let (below, above) = (lock.start() < start, lock.end() > end);
            if below
                && above
                && let Some(half) = half.take()
            {
                let rest = Wanted {
                    start: end + 1,
                    end: lock.end(),
                    exclusive: lock.exclusive(),
                    pid: lock.pid() as u32,
                    ..wanted
                };
                self.insert_lock(half, &rest);
            }
            match (below, above) {
                (true, _) => lock.set_end(start - 1),
                (false, true) => lock.set_start(end + 1),
                (false, false) => self.remove_lock(id),
            }
        }
        if unlock {
            self.free_lock(new);
        } else {
            self.file_lock(new).set_start(wanted.start);
            self.file_lock(new).set_end(wanted.end);
        }
        if let Some(half) = half {
            self.free_lock(half);
        }
        self.wake(queue(wanted.inode));
        Ok(())
    }

    /// Takes a lock, or waits for it.
    fn take_lock(&self, waiter: &Waiter, wanted: Wanted, may_wait: bool) -> Result<Call, Errno> {
        self.end_lock_wait(waiter);
        let blocker = self
            .locks()
            .find(|(_, lock)| wanted.conflicts(*lock))
            .map(|(_, lock)| lock);
        let Some(blocker) = blocker else {
            self.apply_lock(wanted, false)?;
            return Ok(waiter.done(0));
        };
        if !may_wait {
            return Err(Errno::EAGAIN);
        }
        if wanted.class == Class::Posix && blocker.class() == Class::Posix as u64 {
            let blocker = blocker.owner();
            if self.would_deadlock(wanted.owner, blocker) {
                return Err(Errno::EDEADLK);
            }
            let id = self.alloc_lock()?;
            let waiting = Wanted {
                class: Class::Waiting,
                ..wanted
            };
            self.insert_lock(id, &waiting);
            self.file_lock(id).set_blocker(blocker);
            waiter.lock.set(Some(id));
        }
        Ok(waiter.wait(Keys::of(queue(wanted.inode))))
    }

    /// Whether `blocker` waits, in the end, for `owner`. Source: Linux `posix_locks_deadlock`.
    fn would_deadlock(&self, owner: u64, blocker: u64) -> bool {
        const STEPS_MAX: u32 = 10;
        let mut at = blocker;
        for _ in 0..STEPS_MAX {
            let waits = |lock: &FileLock<'_>| lock.class() == Class::Waiting as u64 && lock.owner() == at;
            match self.locks().map(|(_, lock)| lock).find(waits) {
                Some(lock) if lock.blocker() == owner => return true,
                Some(lock) => at = lock.blocker(),
                None => return false,
            }
        }
        false
    }

    /// What `fcntl` asks for, of an object.
    fn wanted(&self, locker: Locker, file: File<'_>, ofd: bool, asked: &Flock) -> Result<Wanted, Errno> {
        let inode = file.inode().ok_or(Errno::EINVAL)?;
        let base = match asked.whence {
            0 => 0,
            1 => file.f_pos().cast_signed(),
            2 => self.memory.i_size(inode).cast_signed(),
            _ => return Err(Errno::EINVAL),
        };
        let start = base.checked_add(asked.start).ok_or(Errno::EOVERFLOW)?;
        let (first, last) = match asked.len {
            0 => (start, i64::MAX),
            len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
            len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
        };
        if first < 0 {
            return Err(Errno::EINVAL);
        }
        if ofd && asked.pid != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Wanted {
            inode,
            owner: if ofd { file.opened() } else { owner_of(locker.table) },
            class: if ofd { Class::Ofd } else { Class::Posix },
            start: first.cast_unsigned(),
            end: last.cast_unsigned(),
            exclusive: asked.kind == lock_type::WRITE,
            pid: locker.pid,
        })
    }

    /// `F_GETLK` and `F_OFD_GETLK`: what is in the way of a lock, if anything.
    ///
    /// # Errors
    /// `EINVAL`, `EOVERFLOW`.
    pub fn get_lock(&self, locker: Locker, file: File<'_>, ofd: bool, asked: Flock) -> Result<Flock, Errno> {
        // Locks of descriptions may be looked for with no type at all.
        if asked.kind != lock_type::READ && asked.kind != lock_type::WRITE {
            return Err(Errno::EINVAL);
        }
        let wanted = self.wanted(locker, file, ofd, &asked)?;
        let found = self.locks().map(|(_, lock)| lock).find(|lock| wanted.conflicts(*lock));
        let Some(lock) = found else {
            return Ok(Flock {
                kind: lock_type::UNLOCK,
                ..asked
            });
        };
        let to_end = lock.end() == LAST;
        Ok(Flock {
            kind: if lock.exclusive() {
                lock_type::WRITE
            } else {
                lock_type::READ
            },
            whence: 0,
            start: lock.start().cast_signed(),
            len: if to_end {
                0
            } else {
                (lock.end() - lock.start() + 1).cast_signed()
            },
            pid: if lock.class() == Class::Ofd as u64 {
                -1
            } else {
                lock.pid() as i32
            },
        })
    }

    /// `F_SETLK`, `F_SETLKW` and those of descriptions.
    ///
    /// # Errors
    /// `EBADF` for what is not opened for it, `EINVAL`, `EOVERFLOW`, `EAGAIN` where it may not wait, `EDEADLK`, `ENOLCK`.
    pub fn set_lock(
        &self,
        waiter: &Waiter,
        locker: Locker,
        file: File<'_>,
        (ofd, may_wait): (bool, bool),
        asked: &Flock,
    ) -> Result<Call, Errno> {
        let wanted = self.wanted(locker, file, ofd, asked)?;
        match asked.kind {
            lock_type::UNLOCK => self.apply_lock(wanted, true).map(|()| waiter.done(0)),
            lock_type::READ if !file.readable() => Err(Errno::EBADF),
            lock_type::WRITE if !file.writable() => Err(Errno::EBADF),
            lock_type::READ | lock_type::WRITE => self.take_lock(waiter, wanted, may_wait),
            _ => Err(Errno::EINVAL),
        }
    }

    /// `flock`.
    ///
    /// # Errors
    /// `EINVAL` for an unknown operation, `EAGAIN` where it may not wait, `ENOLCK`.
    pub fn flock(&self, waiter: &Waiter, file: File<'_>, operation: u64, pid: u32) -> Result<Call, Errno> {
        const NONBLOCK: u32 = 4;
        const SHARED: u32 = 1;
        const EXCLUSIVE: u32 = 2;
        const UNLOCK: u32 = 8;
        let operation = operation as u32;
        let kind = operation & !NONBLOCK;
        if !matches!(kind, SHARED | EXCLUSIVE | UNLOCK) {
            return Err(Errno::EINVAL);
        }
        // Devices without a name have nobody to share them with.
        let Some(inode) = file.inode() else {
            return Ok(waiter.done(0));
        };
        let wanted = Wanted {
            inode,
            owner: file.opened(),
            class: Class::Flock,
            start: 0,
            end: LAST,
            exclusive: kind == EXCLUSIVE,
            pid,
        };
        let own = self.locks().find(|(_, lock)| wanted.is_of(*lock));
        match own {
            Some((_, lock)) if kind != UNLOCK && lock.exclusive() == wanted.exclusive => return Ok(waiter.done(0)),
            // One is not changed into another: it goes first, and may be lost to somebody else.
            Some((id, _)) => {
                self.remove_lock(id);
                self.wake(queue(inode));
            }
            None => {}
        }
        if kind == UNLOCK {
            return Ok(waiter.done(0));
        }
        self.take_lock(waiter, wanted, operation & NONBLOCK == 0)
    }
}

fn owner_of(table: TableId) -> u64 {
    u64::from(table.object().get())
}

fn queue(inode: InodeId) -> Queue {
    Queue::of(inode.object(), 3)
}
