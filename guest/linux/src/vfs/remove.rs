//! Names go: `unlink`, `rmdir`. Source: Linux, fs/namei.c (`do_unlinkat`, `do_rmdir`), mm/shmem.c (`shmem_unlink`, `shmem_rmdir`). Rules C35, C40.

use faultlab_mm::Platform;

use super::dentry::DentryId;
use super::namei::{Component, Follow, Last, Target};
use super::{PathAt, Task, at, is_dir};
use crate::fsnotify::fs;
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// `unlinkat`, which is `rmdir` with [`at::REMOVEDIR`].
    ///
    /// # Errors
    /// `EINVAL` for unknown flags; `ENOENT`, `EACCES`, `EPERM`, `EROFS`, `EBUSY` under a mount; of files `EISDIR`; of directories `ENOTDIR`,
    /// `ENOTEMPTY`, `EINVAL` for `.`; those of a walk.
    pub fn unlinkat(&self, task: &Task, at: PathAt<'_>, flags: u32) -> Result<(), Errno> {
        if flags & !at::REMOVEDIR != 0 {
            return Err(Errno::EINVAL);
        }
        let target = self.walk(task, at, Follow::Name, &mut Component::new())?;
        if flags == 0 {
            self.unlink(task, &target)
        } else {
            self.rmdir(task, &target)
        }
    }

    fn unlink(&self, task: &Task, target: &Target) -> Result<(), Errno> {
        if target.last != Last::Name {
            return Err(Errno::EISDIR);
        }
        self.want_write(target.dir)?;
        let dentry = target.dentry.ok_or(Errno::ENOENT)?;
        if target.slash {
            let inode = target.inode.ok_or(Errno::ENOENT)?;
            return Err(if is_dir(self.object(inode)) {
                Errno::EISDIR
            } else {
                Errno::ENOTDIR
            });
        }
        self.may_delete(task.cred, target.dir, dentry, false)?;
        if self.watching.get() == 0 {
            self.remove_link(dentry);
        } else {
            self.removing(dentry, fs::DELETE, || self.remove_link(dentry));
        }
        self.changed(target.dir, true);
        Ok(())
    }

    /// Takes a name off something that is no directory.
    pub(crate) fn remove_link(&self, dentry: DentryId) {
        self.keep_path(dentry);
        let inode = self.remove_name(dentry);
        let object = self.object(inode);
        if object.i_nlink() > 1
            && let Some(sb) = object.i_sb()
        {
            self.memory.unreserve_inode(sb);
        }
        self.changed(inode, false);
        self.memory.drop_nlink(inode);
        self.fsnotify_links(inode);
        self.put_inode(inode);
    }

    fn rmdir(&self, task: &Task, target: &Target) -> Result<(), Errno> {
        match target.last {
            Last::Name => {}
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        }
        self.want_write(target.dir)?;
        let dentry = target.dentry.ok_or(Errno::ENOENT)?;
        self.may_delete(task.cred, target.dir, dentry, true)?;
        let inode = self.dentry(dentry).inode().ok_or(Errno::ENOENT)?;
        if self.is_mountpoint(inode) {
            return Err(Errno::EBUSY);
        }
        if self.newest_name(inode).is_some() {
            return Err(Errno::ENOTEMPTY);
        }
        if self.watching.get() == 0 {
            self.remove_dir(dentry);
        } else {
            self.removing(dentry, fs::DELETE | fs::ISDIR, || self.remove_dir(dentry));
        }
        self.changed(target.dir, true);
        Ok(())
    }

    /// Takes its name off an empty directory.
    pub(crate) fn remove_dir(&self, dentry: DentryId) {
        self.keep_path(dentry);
        let dir = self.dentry(dentry).parent();
        let inode = self.remove_name(dentry);
        if let Some(dir) = dir {
            self.memory.drop_nlink(dir);
        }
        self.changed(inode, false);
        self.memory.clear_nlink(inode);
        if let Some(dir) = dir.filter(|_| self.object(inode).i_count() > 1) {
            self.keep_parent(inode, dir);
        }
        self.put_inode(inode);
    }
}
