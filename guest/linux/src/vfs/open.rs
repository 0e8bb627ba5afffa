//! `open`. Source: Linux, fs/open.c (`build_open_flags`, `do_dentry_open`), fs/namei.c (`open_last_lookups`, `do_open`, `do_tmpfile`);
//! open(2). Rules C19, C40, C43, C45.
//!
//! Differs from Linux: sockets are nodes only; opening one is `ENXIO`, as is a device that nobody drives.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, inode_flag};

use super::create::Place;
use super::namei::{Component, Follow, Target};
use super::permission::may;
use super::{PathAt, Task, is_dir, s, type_of};
use crate::file::{Kind, o};
use crate::fsnotify::fs;
use crate::wait::{Call, Waiter};
use crate::writer::Writer;
use crate::{Errno, Linux};

/// What `open` was asked for.
#[derive(Clone, Copy)]
struct How {
    flags: u64,
    /// Type and rights of what it makes.
    mode: u32,
    /// [`may`] rights that are needed of what is there.
    rights: u32,
}

impl How {
    /// Source: Linux `build_open_flags`.
    fn new(flags: u64, mode: u32) -> Result<Self, Errno> {
        if flags & o::PATH != 0 {
            return Ok(Self {
                flags: flags & (o::PATH | o::DIRECTORY | o::NOFOLLOW | o::CLOEXEC),
                mode: 0,
                rights: 0,
            });
        }
        let mut rights = match flags & o::ACCMODE {
            o::RDONLY => may::READ,
            o::WRONLY => may::WRITE,
            _ => may::READ | may::WRITE,
        };
        let temporary = flags & o::TMPFILE != 0;
        let unnamed_for_reading = temporary && rights & may::WRITE == 0;
        let half_temporary = temporary && flags & o::DIRECTORY == 0;
        let directory_to_be = flags & o::DIRECTORY != 0 && flags & o::CREAT != 0;
        if unnamed_for_reading || half_temporary || directory_to_be {
            return Err(Errno::EINVAL);
        }
        if flags & o::TRUNC != 0 {
            rights |= may::WRITE;
        }
        Ok(Self {
            flags: flags & o::VALID | o::LARGEFILE,
            mode: s::IFREG | mode & s::IALLUGO,
            rights,
        })
    }

    fn has(self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Whether and how the last component is followed.
    fn follow(self) -> Follow {
        let creates = self.has(o::CREAT);
        match self.has(o::NOFOLLOW) || (creates && self.has(o::EXCL)) {
            true if creates => Follow::Name,
            true => Follow::IfSlash,
            false if creates => Follow::UnlessSlash,
            false => Follow::Yes,
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// `openat`: a new descriptor. Nothing is made, nor emptied, unless there is a number and a description for it.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`, `EINVAL`, `EEXIST`, `EISDIR`, `ENOTDIR`, `ELOOP`, `EACCES`, `EPERM`, `EROFS`, `ENXIO`, `ENOSPC`; those of a walk.
    pub fn openat(&self, task: &Task, at: PathAt<'_>, flags: u64, mode: u32) -> Result<u64, Errno> {
        match self.open_with(task, None, at, flags, mode)? {
            Call::Done(number) => Ok(number),
            Call::Wait => Err(Errno::RESTART),
        }
    }

    /// The same where it may wait, for the partner of a FIFO. [`Linux::openat`] refuses those with [`Errno::RESTART`].
    ///
    /// # Errors
    /// As [`Linux::openat`].
    pub fn openat_waiting(
        &self,
        task: &Task,
        waiter: &Waiter,
        at: PathAt<'_>,
        flags: u64,
        mode: u32,
    ) -> Result<Call, Errno> {
        let cloexec = flags & o::CLOEXEC != 0;
        match self.reopen_fifo((task.table, cloexec), waiter) {
            Some(result) => result,
            None => self.open_with(task, Some(waiter), at, flags, mode),
        }
    }

    fn open_with(
        &self,
        task: &Task,
        waiter: Option<&Waiter>,
        at: PathAt<'_>,
        flags: u64,
        mode: u32,
    ) -> Result<Call, Errno> {
        const AT_OPENING: u64 = o::CREAT | o::EXCL | o::NOCTTY | o::TRUNC | o::CLOEXEC;
        let how = How::new(u64::from(flags as u32), mode)?;
        if at.path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let number = self.reserve(task.table)?;
        let file = self.alloc_file()?;
        match self.open_object(task, at, how) {
            Ok((inode, Kind::Pipe(_), _)) => {
                self.free_empty_file(file);
                let opened = waiter.map_or(Ok(Call::Wait), |waiter| {
                    let at = (task.table, how.has(o::CLOEXEC));
                    self.open_fifo(at, waiter, inode, how.flags & !AT_OPENING, task.cred)
                });
                self.put_inode(inode);
                opened
            }
            Ok((inode, kind, created)) => {
                self.set_file(file, kind, Some(inode), how.flags & !AT_OPENING | created);
                self.fill(task.table, number, file, how.has(o::CLOEXEC));
                Ok(Call::Done(number))
            }
            Err(errno) => {
                self.free_empty_file(file);
                match (errno, waiter) {
                    (Errno::RESTART, Some(waiter)) => Ok(self.wait_for_lease(waiter)),
                    _ => Err(errno),
                }
            }
        }
    }

    /// The regular file at a path, to be executed: a reference to it.
    ///
    /// # Errors
    /// `EACCES` for what is no regular file, or may not be executed; those of a walk.
    pub fn open_exec(&self, task: &Task, at: PathAt<'_>) -> Result<InodeId, Errno> {
        let inode = self.lookup(task, at, Follow::Yes, false)?;
        if type_of(self.object(inode)) != s::IFREG {
            return Err(Errno::EACCES);
        }
        self.permission(task.cred, inode, may::EXEC)?;
        self.memory.ihold(inode);
        Ok(inode)
    }

    /// What is to be opened, with a reference; and [`o::CREATED`] if it was made now.
    fn open_object(&self, task: &Task, at: PathAt<'_>, how: How) -> Result<(InodeId, Kind, u64), Errno> {
        if how.has(o::TMPFILE) {
            let (inode, kind) = self.open_unnamed(task, at, how)?;
            return Ok((inode, kind, 0));
        }
        let mut name = Component::new();
        let target = self.walk(task, at, how.follow(), &mut name)?;
        if target.slash && how.has(o::CREAT) {
            return Err(Errno::EISDIR);
        }
        let Some(inode) = target.inode else {
            if !how.has(o::CREAT) {
                return Err(Errno::ENOENT);
            }
            let inode = self.create(task, &target, name.name(), how)?;
            self.fsnotify(inode, fs::OPEN);
            return Ok((inode, Kind::Object(inode), o::CREATED));
        };
        let object = self.object(inode);
        if how.has(o::CREAT) && how.has(o::EXCL) {
            return Err(Errno::EEXIST);
        }
        if how.has(o::CREAT) {
            if is_dir(object) {
                return Err(Errno::EISDIR);
            }
            self.may_create_in_sticky(task.cred, target.dir, inode)?;
        }
        if (target.slash || how.has(o::DIRECTORY)) && !is_dir(object) {
            return Err(Errno::ENOTDIR);
        }
        let kind = if how.has(o::PATH) {
            Kind::Path(inode)
        } else {
            self.may_open(task, inode, how)?;
            self.kind_of(inode)?
        };
        if let Kind::Object(inode) = kind {
            self.break_lease(inode, how.flags)?;
        }
        // Before it is emptied.
        if let Kind::Object(inode) | Kind::Directory(inode) = kind {
            self.fsnotify(inode, fs::OPEN);
        }
        if how.has(o::TRUNC) && matches!(kind, Kind::Object(_)) {
            self.set_size(Writer::new(task.cred, u64::MAX), inode, 0)?;
        }
        self.memory.ihold(inode);
        Ok((inode, kind, 0))
    }

    fn may_open(&self, task: &Task, inode: InodeId, how: How) -> Result<(), Errno> {
        match type_of(self.object(inode)) {
            s::IFLNK => return Err(Errno::ELOOP),
            s::IFDIR if how.rights & may::WRITE != 0 => return Err(Errno::EISDIR),
            _ => {}
        }
        self.permission(task.cred, inode, how.rights)?;
        self.may_use_knob(inode, how.rights)?;
        self.may_look_into(task.cred, inode)?;
        if how.has(o::NOATIME) && !self.owns(task.cred, inode) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// What a descriptor of an object is.
    fn kind_of(&self, inode: InodeId) -> Result<Kind, Errno> {
        let object = self.object(inode);
        match type_of(object) {
            s::IFREG if self.is_proc(inode) => Ok(Kind::Proc(inode)),
            s::IFREG => Ok(Kind::Object(inode)),
            s::IFDIR => Ok(Kind::Directory(inode)),
            s::IFIFO => Ok(Kind::Pipe(inode)),
            s::IFCHR => Kind::of_device(object.i_private()).ok_or(Errno::ENXIO),
            _ => Err(Errno::ENXIO),
        }
    }

    /// A new file, with a reference besides its name's.
    fn create(&self, task: &Task, target: &Target, name: &[u8], how: How) -> Result<InodeId, Errno> {
        self.want_write(target.dir)?;
        self.may_create(task.cred, target.dir)?;
        let place = Place { dir: target.dir, name };
        let new = self.prepare(task, place, how.mode & !task.fs.umask)?;
        self.complete(new, place);
        self.memory.ihold(new.inode);
        Ok(new.inode)
    }

    /// `O_TMPFILE`: a file without a name.
    fn open_unnamed(&self, task: &Task, at: PathAt<'_>, how: How) -> Result<(InodeId, Kind), Errno> {
        let dir = self.lookup(task, at, Follow::Yes, false)?;
        if !is_dir(self.object(dir)) {
            return Err(Errno::ENOTDIR);
        }
        self.want_write(dir)?;
        let refused = self.may_make_unnamed(dir);
        // What nobody may change comes before rights.
        if refused == Err(Errno::EPERM) {
            return Err(Errno::EPERM);
        }
        self.permission(task.cred, dir, may::WRITE | may::EXEC)?;
        refused?;
        let inode = self.make_inode(task.cred, dir, how.mode & !task.fs.umask)?;
        self.memory.clear_nlink(inode);
        if let Err(errno) = self.name_unnamed(inode, dir) {
            self.put_inode(inode);
            return Err(errno);
        }
        if !how.has(o::EXCL) {
            let object = self.object(inode);
            object.set_i_flags(object.i_flags() | inode_flag::LINKABLE);
        }
        Ok((inode, Kind::Object(inode)))
    }
}
