//! What is known about an object, changed: `chmod`, `chown`, `utimensat`, `truncate`; and asked: `access`. Source: Linux, fs/attr.c
//! (`setattr_prepare`), fs/open.c, fs/utimes.c; the man page of each. Rules C18, C23.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::namei::Follow;
use super::permission::may;
use super::{PathAt, Task, at, s, type_of};
use crate::cred::{Cred, UNCHANGED};
use crate::file::o;
use crate::fsnotify::fs;
use crate::writer::Writer;
use crate::{Errno, Linux};

/// User and group; [`UNCHANGED`] is "as it is".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Now.
    Now,
    /// As it is.
    Omit,
    /// Nanoseconds since 1970.
    At(i64),
}

impl Time {
    /// From a `struct timespec`. Times beyond 2262 become the last that can be kept.
    ///
    /// # Errors
    /// `EINVAL` for nanoseconds that are none.
    pub fn of_timespec(seconds: i64, nanoseconds: i64) -> Result<Self, Errno> {
        const UTIME_NOW: i64 = 0x3fff_ffff;
        const UTIME_OMIT: i64 = 0x3fff_fffe;
        const NS_PER_S: i64 = 1_000_000_000;
        match nanoseconds {
            UTIME_NOW => Ok(Self::Now),
            UTIME_OMIT => Ok(Self::Omit),
            0..NS_PER_S => Ok(Self::At(seconds.saturating_mul(NS_PER_S).saturating_add(nanoseconds))),
            _ => Err(Errno::EINVAL),
        }
    }
}

fn follow(flags: u32) -> Follow {
    if flags & at::SYMLINK_NOFOLLOW != 0 {
        Follow::IfSlash
    } else {
        Follow::Yes
    }
}

impl<P: Platform> Linux<'_, P> {
    /// The object that a call with these [`at`] flags is about, without a reference.
    ///
    /// # Errors
    /// `EINVAL` for flags that are not `known`; those of a walk.
    pub fn find(&self, task: &Task, at: PathAt<'_>, flags: u32, known: u32) -> Result<InodeId, Errno> {
        if flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        self.lookup(task, at, follow(flags), flags & at::EMPTY_PATH != 0)
    }

    /// `chmod` of an object.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for links, `EROFS`; `EPERM` for others than its owner, and where rights to execute are sealed.
    pub fn chmod(&self, cred: Cred, inode: InodeId, mode: u32) -> Result<(), Errno> {
        self.want_write(inode)?;
        self.may_change(inode)?;
        let object = self.object(inode);
        if type_of(object) == s::IFLNK {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.owns(cred, inode) {
            return Err(Errno::EPERM);
        }
        let foreign = !cred.privileged() && !self.in_group(cred, object.i_gid());
        let mode = if foreign { mode & !s::ISGID } else { mode };
        self.memory.shmem_chmod(inode, mode)?;
        self.fsnotify(inode, fs::ATTRIB);
        Ok(())
    }

    /// Whether what is known about an object may be changed at all.
    ///
    /// # Errors
    /// `EPERM` in proc.
    fn may_change(&self, inode: InodeId) -> Result<(), Errno> {
        if self.is_proc(inode) { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// `chown` of an object.
    ///
    /// # Errors
    /// `EROFS`; `EPERM` for what only root may do.
    pub fn chown(&self, cred: Cred, inode: InodeId, owner: Owner) -> Result<(), Errno> {
        self.want_write(inode)?;
        self.may_change(inode)?;
        let object = self.object(inode);
        let own = self.owns(cred, inode);
        let user_stays = owner.user == UNCHANGED || own && owner.user == object.i_uid();
        let group_may =
            owner.group == UNCHANGED || own && (object.i_gid() == owner.group || self.in_group(cred, owner.group));
        if !(cred.privileged() || user_stays && group_may) {
            return Err(Errno::EPERM);
        }
        self.remove_capability(inode);
        let or = |new: u32, old: u32| if new == UNCHANGED { old } else { new };
        let mode = object.i_mode();
        if mode & s::IFMT != s::IFDIR {
            let foreign = !cred.privileged() && !self.in_group(cred, object.i_gid());
            let group = if mode & 0o010 != 0 || foreign { s::ISGID } else { 0 };
            object.set_i_mode(mode & !s::ISUID & !group);
        }
        object.set_i_uid(or(owner.user, object.i_uid()));
        object.set_i_gid(or(owner.group, object.i_gid()));
        self.changed(inode, false);
        self.fsnotify(inode, fs::ATTRIB);
        Ok(())
    }

    /// `utimensat` of an object: times of access and of change.
    ///
    /// # Errors
    /// `EROFS`; `EACCES` for now without the right to write, `EPERM` for other times without owning it.
    pub fn utimens(&self, cred: Cred, inode: InodeId, [access, change]: [Time; 2]) -> Result<(), Errno> {
        if (access, change) == (Time::Omit, Time::Omit) {
            return Ok(());
        }
        self.want_write(inode)?;
        self.may_change(inode)?;
        if !self.owns(cred, inode) {
            if (access, change) != (Time::Now, Time::Now) {
                return Err(Errno::EPERM);
            }
            self.permission(cred, inode, may::WRITE)?;
        }
        let (object, now) = (self.object(inode), self.memory.platform.now_ns());
        let of = |time: Time, old: i64| match time {
            Time::Now => now,
            Time::Omit => old,
            Time::At(at) => at,
        };
        object.set_i_atime(of(access, object.i_atime()));
        object.set_i_mtime(of(change, object.i_mtime()));
        object.set_i_ctime(now);
        self.fsnotify(
            inode,
            match (access, change) {
                (_, Time::Omit) => fs::ACCESS,
                (Time::Omit, _) => fs::MODIFY,
                _ => fs::ATTRIB,
            },
        );
        Ok(())
    }

    /// `truncate`, for somebody whose files may have `fsize` bytes.
    ///
    /// # Errors
    /// `EINVAL` for sizes below 0 and for what is no file, `EISDIR`, `EACCES`, `EROFS`; as [`Linux::ftruncate`]; those of a walk.
    /// `RESTART` where it has to wait for a lease: see [`Linux::after_lease`].
    pub fn truncate(&self, task: &Task, fsize: u64, at: PathAt<'_>, size: u64) -> Result<(), Errno> {
        if size.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let inode = self.lookup(task, at, Follow::Yes, false)?;
        match type_of(self.object(inode)) {
            s::IFREG => {}
            s::IFDIR => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        self.permission(task.cred, inode, may::WRITE)?;
        if self.is_proc(inode) {
            return Ok(());
        }
        self.break_lease(inode, o::WRONLY)?;
        self.set_size(Writer::new(task.cred, fsize), inode, size)
    }

    /// `faccessat2`: whether the real user has these rights; the effective one with [`at::EACCESS`].
    ///
    /// # Errors
    /// `EINVAL` for unknown rights and flags, `EACCES`, `EROFS`; those of a walk.
    pub fn faccessat(&self, task: &Task, at: PathAt<'_>, rights: u32, flags: u32) -> Result<(), Errno> {
        if rights & !7 != 0 {
            return Err(Errno::EINVAL);
        }
        let mut task = *task;
        if flags & at::EACCESS == 0 {
            task.cred.user.effective = task.cred.user.real;
            task.cred.group.effective = task.cred.group.real;
        }
        let known = at::EACCESS | at::SYMLINK_NOFOLLOW | at::EMPTY_PATH;
        let inode = self.find(&task, at, flags, known)?;
        if rights == 0 {
            return Ok(());
        }
        self.permission(task.cred, inode, rights)?;
        self.may_use_knob(inode, rights)
    }
}
