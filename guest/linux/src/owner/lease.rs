//! Leases: a description's owner is told before somebody else opens the file in a way that does not go with it, and has a time to give it up.
//!
//! Source: Linux, fs/locks.c (`generic_add_lease`, `__break_lease`, `time_out_leases`); fcntl(2), "Leases".
//!
//! Differs from Linux: who is in the way of a new lease is looked for among the descriptors of all processes, so a mapping whose descriptor is
//! closed is not; `execve` of a file breaks no lease on it.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::{Event, FileOwner, Who};
use crate::cred::Cred;
use crate::file::{File, FileId, Kind, o};
use crate::locks::lock_type;
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

/// What a lease allows others.
mod kind {
    pub(super) const NONE: u64 = 0;
    /// Reading.
    pub(super) const READ: u64 = 1;
    /// Nothing.
    pub(super) const WRITE: u64 = 2;
}

/// What a lease that somebody waits for is to become.
mod pending {
    pub(super) const DOWNGRADE: u64 = 1;
    pub(super) const UNLOCK: u64 = 2;
}

/// Who waits for leases to be given up.
const QUEUE: u64 = 0x1ea5_0000_0000_0001;
const NS_PER_S: u64 = 1_000_000_000;
/// What `/proc/sys/fs/lease-break-time` begins with, in seconds.
pub(crate) const BREAK_TIME_S: u64 = 45;

fn keys() -> Keys {
    Keys::of(Queue::numbered(QUEUE))
}

impl<P: Platform> Linux<'_, P> {
    /// The leases on an object.
    fn leases(&self, inode: InodeId) -> impl Iterator<Item = FileOwner<'_>> {
        self.owners()
            .filter(move |owner| owner.lease() != kind::NONE && self.inode_of(*owner) == Some(inode))
    }

    fn inode_of(&self, owner: FileOwner<'_>) -> Option<InodeId> {
        owner.file().and_then(|file| self.file(file).inode())
    }

    /// Whoever waits for a lease to be given up is to look.
    pub(super) fn wake_for_leases(&self) {
        self.wake(Queue::numbered(QUEUE));
    }

    fn now_ns(&self) -> u64 {
        self.system.uptime_ns()[0]
    }

    /// A lease becomes another. Source: Linux `lease_modify`.
    fn modify_lease(&self, owner: FileOwner<'_>, to: u64) {
        owner.set_lease(to);
        match to {
            kind::NONE => {
                owner.set_lease_pending(0);
                owner.set_downgrade_ns(0);
                owner.set_break_ns(0);
            }
            kind::READ => {
                owner.set_lease_pending(owner.lease_pending() & !pending::DOWNGRADE);
                owner.set_downgrade_ns(0);
            }
            _ => {}
        }
        self.wake_for_leases();
    }

    /// Takes away what was not given up in time.
    fn time_out_leases(&self, inode: InodeId) {
        let now = self.now_ns();
        let past = |time: u64| time != 0 && now >= time;
        for owner in self.leases(inode) {
            if past(owner.downgrade_ns()) {
                self.modify_lease(owner, kind::READ);
            }
            if past(owner.break_ns()) {
                self.modify_lease(owner, kind::NONE);
            }
        }
    }

    /// `F_GETLEASE`.
    pub(crate) fn f_getlease(&self, file: File<'_>) -> u64 {
        if let Some(inode) = file.inode() {
            self.time_out_leases(inode);
        }
        let found = file.owner().map(|id| self.file_owner(id)).map_or(kind::NONE, |owner| {
            if owner.lease_pending() & pending::UNLOCK != 0 {
                kind::NONE
            } else if owner.lease_pending() & pending::DOWNGRADE != 0 {
                kind::READ
            } else {
                owner.lease()
            }
        });
        u64::from(match found {
            kind::READ => lock_type::READ,
            kind::WRITE => lock_type::WRITE,
            _ => lock_type::UNLOCK,
        })
    }

    /// `F_SETLEASE`, under a descriptor.
    ///
    /// # Errors
    /// `EINVAL` for an unknown kind, and for what is no file; `EACCES` for a file of somebody else's; `EAGAIN` where others have it open, and for
    /// giving up what one does not have; `ENOMEM`.
    pub(crate) fn f_setlease(&self, cred: Cred, id: FileId, descriptor: u64, asked: u64) -> Result<(), Errno> {
        let asked = match u16::try_from(asked as u32) {
            Ok(lock_type::READ) => kind::READ,
            Ok(lock_type::WRITE) => kind::WRITE,
            Ok(lock_type::UNLOCK) => kind::NONE,
            _ => return Err(Errno::EINVAL),
        };
        let file = self.file(id);
        if file.inode().is_some_and(|inode| !self.owns(cred, inode)) {
            return Err(Errno::EACCES);
        }
        let (Kind::Object(inode), true) = (file.kind(), self.leases_enabled.get() != 0) else {
            return Err(Errno::EINVAL);
        };
        self.time_out_leases(inode);
        if asked == kind::NONE {
            let owner = file.owner().map(|id| self.file_owner(id));
            let owner = owner.filter(|owner| owner.lease() != kind::NONE).ok_or(Errno::EAGAIN)?;
            self.modify_lease(owner, kind::NONE);
            return Ok(());
        }
        if self.is_in_the_way(id, inode, asked) {
            return Err(Errno::EAGAIN);
        }
        let owner = self.owner_of(id)?;
        if owner.lease() == kind::NONE {
            owner.set_lease_descriptor(u64::from(descriptor as u32));
            if owner.number() == 0 {
                self.set_owner(owner, cred, Who::Process, self.system.current().1);
            }
        }
        self.modify_lease(owner, asked);
        Ok(())
    }

    /// Whether another description or lease of an object keeps a description from getting a lease.
    fn is_in_the_way(&self, id: FileId, inode: InodeId, wanted: u64) -> bool {
        let opened = if wanted == kind::READ {
            self.any_description(&|_, file| file.inode() == Some(inode) && file.writable())
        } else {
            self.any_description(&|other, file| {
                other != id && file.inode() == Some(inode) && (file.readable() || file.writable())
            })
        };
        let others = |owner: &FileOwner<'_>| owner.file() != Some(id);
        opened
            || self
                .leases(inode)
                .filter(others)
                .any(|owner| wanted == kind::WRITE || owner.lease_pending() & pending::UNLOCK != 0)
    }

    /// Whether a descriptor of any process names one of this kind.
    fn any_description(&self, is_it: &dyn Fn(FileId, File<'_>) -> bool) -> bool {
        let mut group = 0;
        while let Some(found) = self.system.next_group(group) {
            let mut thread = 0;
            while let Some(tid) = self.system.next_thread(found, thread) {
                if let Some(table) = self.system.process(tid).and_then(|process| process.files)
                    && (0..self.descriptors(table))
                        .filter_map(|number| self.get_id(table, number).ok())
                        .any(|id| is_it(id, self.file(id)))
                {
                    return true;
                }
                thread = tid + 1;
            }
            group = found + 1;
        }
        false
    }

    /// Somebody is about to open an object, or to change its size: the leases that do not go with that are broken.
    ///
    /// # Errors
    /// `EAGAIN` for who does not wait; `RESTART` for who does: see [`Linux::wait_for_lease`].
    #[inline]
    pub(crate) fn break_lease(&self, inode: InodeId, flags: u64) -> Result<(), Errno> {
        if self.first_owner.get() == 0 {
            return Ok(());
        }
        self.break_leases(inode, flags)
    }

    #[cold]
    #[inline(never)]
    fn break_leases(&self, inode: InodeId, flags: u64) -> Result<(), Errno> {
        self.time_out_leases(inode);
        let writes = flags & o::ACCMODE != o::RDONLY;
        let conflicts = |owner: &FileOwner<'_>| writes || owner.lease() == kind::WRITE;
        let end_ns = match self.lease_break_s.get() {
            0 => 0,
            seconds => self.now_ns().saturating_add(seconds * NS_PER_S),
        };
        let mut any = false;
        for owner in self.leases(inode).filter(conflicts) {
            any = true;
            let before = owner.lease_pending();
            if writes && before & pending::UNLOCK == 0 {
                owner.set_lease_pending(before | pending::UNLOCK);
                owner.set_break_ns(end_ns);
            } else if !writes && before == 0 {
                owner.set_lease_pending(pending::DOWNGRADE);
                owner.set_downgrade_ns(end_ns);
            } else {
                continue;
            }
            self.send_sigio(owner, owner.lease_descriptor(), Event::Message);
        }
        match any {
            true if flags & o::NONBLOCK != 0 => Err(Errno::EAGAIN),
            true => Err(Errno::RESTART),
            false => Ok(()),
        }
    }

    /// A call that [`Linux::break_lease`] held up waits, until a lease is given up or its time is over ([`Waiter::until`]).
    pub(crate) fn wait_for_lease(&self, waiter: &Waiter) -> Call {
        let ends = self
            .owners()
            .flat_map(|owner| [owner.downgrade_ns(), owner.break_ns()])
            .filter(|&ns| ns != 0);
        waiter.set_until(ends.min());
        waiter.wait(keys())
    }

    /// A call that may have been held up by a lease: what it came to.
    ///
    /// # Errors
    /// Those of the call.
    pub fn after_lease(&self, waiter: &Waiter, result: Result<(), Errno>) -> Result<Call, Errno> {
        match result {
            Err(Errno::RESTART) => Ok(self.wait_for_lease(waiter)),
            Err(errno) => Err(errno),
            Ok(()) => Ok(waiter.done(0)),
        }
    }
}
