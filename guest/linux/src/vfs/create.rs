//! New names: `mkdir`, `mknod`, `link`, and what they share with `open` and `symlink`. Source: Linux, fs/namei.c (`filename_create`,
//! `vfs_mkdir`, `vfs_link`), mm/shmem.c (`shmem_mknod`, `shmem_link`), fs/inode.c (`inode_init_owner`). Rules C35, C39, C40, C43.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, inode_flag};

use super::dentry::DentryId;
use super::namei::{Component, Follow, Last};
use super::{PathAt, Task, at, is_dir, s, type_of};
use crate::cred::Cred;
use crate::fsnotify::fs;
use crate::{Errno, Linux};

/// Where something new goes.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) dir: InodeId,
    pub(crate) name: &'a [u8],
}

/// An object and its entry, before anybody sees them.
#[derive(Clone, Copy)]
pub(crate) struct New {
    pub(crate) inode: InodeId,
    dentry: DentryId,
}

impl<P: Platform> Linux<'_, P> {
    /// The directory of a name that is not there yet and may be added.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `EROFS`, `EACCES`; those of a walk.
    pub(super) fn new_name(
        &self,
        task: &Task,
        at: PathAt<'_>,
        for_dir: bool,
        name: &mut Component,
    ) -> Result<InodeId, Errno> {
        let dir = self.free_name(task, at, for_dir, name)?;
        self.may_create(task.cred, dir)?;
        Ok(dir)
    }

    /// As [`Linux::new_name`], before anybody's rights are looked at.
    fn free_name(&self, task: &Task, at: PathAt<'_>, for_dir: bool, name: &mut Component) -> Result<InodeId, Errno> {
        let target = self.walk(task, at, Follow::Name, name)?;
        if target.last != Last::Name || target.inode.is_some() {
            return Err(Errno::EEXIST);
        }
        if target.slash && !for_dir {
            return Err(Errno::ENOENT);
        }
        self.want_write(target.dir)?;
        Ok(target.dir)
    }

    /// A new object, of the caller, and an entry for it: everything that can fail.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM`.
    pub(super) fn prepare(&self, task: &Task, place: Place<'_>, mode: u32) -> Result<New, Errno> {
        let dentry = self.alloc_dentry(place.name)?;
        match self.make_inode(task.cred, place.dir, mode) {
            Ok(inode) => Ok(New { inode, dentry }),
            Err(errno) => {
                self.free_dentry(dentry);
                Err(errno)
            }
        }
    }

    /// Takes back [`Linux::prepare`].
    pub(super) fn abandon(&self, new: New) {
        self.free_dentry(new.dentry);
        self.memory.clear_nlink(new.inode);
        self.put_inode(new.inode);
    }

    /// Makes what was prepared visible. Its entry takes over the reference.
    pub(super) fn complete(&self, new: New, place: Place<'_>) {
        self.add_name(new.dentry, place.dir, place.name, new.inode);
        if is_dir(self.object(new.inode)) {
            self.memory.inc_nlink(place.dir);
        }
        self.changed(place.dir, true);
        self.fsnotify_name(place.dir, fs::CREATE, place.name, new.inode);
    }

    /// An object with the owner that what is made in `dir` has. Source: Linux `inode_init_owner`.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(super) fn make_inode(&self, cred: Cred, dir: InodeId, mode: u32) -> Result<InodeId, Errno> {
        let parent = self.object(dir);
        let (mut mode, mut group) = (mode, cred.group.effective);
        if parent.i_mode() & s::ISGID != 0 {
            group = parent.i_gid();
            if mode & s::IFMT == s::IFDIR {
                mode |= s::ISGID;
            } else if mode & (s::ISGID | 0o010) == s::ISGID | 0o010 && !cred.privileged() && !self.in_group(cred, group)
            {
                mode &= !s::ISGID;
            }
        }
        let inode = self
            .memory
            .new_inode(self.sb_of(dir), mode, (cred.user.effective, group))?;
        if mode & s::IFMT == s::IFDIR {
            self.init_dir(inode);
        }
        Ok(inode)
    }

    /// `mkdirat`.
    ///
    /// # Errors
    /// As [`Linux::new_name`]; `ENOSPC`, `ENOMEM`.
    pub fn mkdirat(&self, task: &Task, at: PathAt<'_>, mode: u32) -> Result<(), Errno> {
        let mode = mode & (0o777 | s::ISVTX) & !task.fs.umask;
        self.make(task, at, s::IFDIR | mode, 0)
    }

    /// `mknodat`: a file, FIFO, socket, or device node.
    ///
    /// # Errors
    /// `EPERM` for directories, and for devices without privilege; `EINVAL` for other types; as [`Linux::mkdirat`].
    pub fn mknodat(&self, task: &Task, at: PathAt<'_>, mode: u32, device: u32) -> Result<(), Errno> {
        let kind = match mode & s::IFMT {
            0 | s::IFREG => s::IFREG,
            kind @ (s::IFCHR | s::IFBLK | s::IFIFO | s::IFSOCK) => kind,
            s::IFDIR => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        };
        self.make(task, at, kind | mode & s::IALLUGO & !task.fs.umask, device)
    }

    fn make(&self, task: &Task, at: PathAt<'_>, mode: u32, device: u32) -> Result<(), Errno> {
        let mut name = Component::new();
        let kind = mode & s::IFMT;
        let dir = self.new_name(task, at, kind == s::IFDIR, &mut name)?;
        let is_device = matches!(kind, s::IFCHR | s::IFBLK);
        // A whiteout is no device.
        if is_device && !task.cred.privileged() && (kind, device) != (s::IFCHR, 0) {
            return Err(Errno::EPERM);
        }
        let place = Place { dir, name: name.name() };
        let new = self.prepare(task, place, mode)?;
        if is_device {
            self.object(new.inode).set_i_private(u64::from(device));
        }
        self.complete(new, place);
        Ok(())
    }

    /// `linkat`: one more name.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EEXIST`, `EXDEV`, `EACCES`, `EPERM` for directories, `ENOENT`, `ENOSPC`, `ENOMEM`; those of a walk.
    pub fn linkat(&self, task: &Task, old: PathAt<'_>, new: PathAt<'_>, flags: u32) -> Result<(), Errno> {
        if flags & !(at::SYMLINK_FOLLOW | at::EMPTY_PATH) != 0 {
            return Err(Errno::EINVAL);
        }
        let follow = if flags & at::SYMLINK_FOLLOW != 0 {
            Follow::Yes
        } else {
            Follow::IfSlash
        };
        let empty = flags & at::EMPTY_PATH != 0 && task.cred.privileged();
        let inode = self.lookup(task, old, follow, empty)?;
        let mut name = Component::new();
        let dir = self.free_name(task, new, false, &mut name)?;
        let object = self.object(inode);
        let sb = self.sb_of(dir);
        if object.i_sb() != Some(sb) {
            return Err(Errno::EXDEV);
        }
        self.may_create(task.cred, dir)?;
        if type_of(object) == s::IFDIR {
            return Err(Errno::EPERM);
        }
        let first = object.i_nlink() == 0;
        if first && object.i_flags() & inode_flag::LINKABLE == 0 {
            return Err(Errno::ENOENT);
        }
        let dentry = self.alloc_dentry(name.name())?;
        // The first name of an unnamed file is counted with it.
        if !first && let Err(error) = self.memory.reserve_inode(sb) {
            self.free_dentry(dentry);
            return Err(error.into());
        }
        object.set_i_flags(object.i_flags() & !inode_flag::LINKABLE);
        self.memory.forget_i_name(inode);
        self.memory.ihold(inode);
        self.memory.inc_nlink(inode);
        self.add_name(dentry, dir, name.name(), inode);
        self.changed(dir, true);
        self.changed(inode, false);
        self.fsnotify_links(inode);
        self.fsnotify_name(dir, fs::CREATE, name.name(), inode);
        Ok(())
    }
}
