//! `rename`. Source: Linux, fs/namei.c (`do_renameat2`, `vfs_rename`), mm/shmem.c (`shmem_rename2`); rename(2). Rule C41.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::create::Place;
use super::dentry::DentryId;
use super::namei::{Component, Follow, Last, Target};
use super::permission::may;
use super::{PathAt, Task, is_dir, s};
use crate::{Errno, Linux};

/// Flags of `renameat2`. Source: rename(2).
pub mod rename_flag {
    /// Nothing may be there.
    pub const NOREPLACE: u32 = 1;
    /// Both are there, and change places.
    pub const EXCHANGE: u32 = 2;
    /// A whiteout stays behind: a character device 0:0.
    pub const WHITEOUT: u32 = 4;
}

use rename_flag::{EXCHANGE, NOREPLACE, WHITEOUT};

/// A name that is there, and what it names.
#[derive(Clone, Copy)]
struct Found {
    dentry: DentryId,
    inode: InodeId,
    is_dir: bool,
}

/// Both ends.
struct Ends<'a> {
    from: Place<'a>,
    source: Found,
    to: Place<'a>,
    target: Option<Found>,
}

impl<P: Platform> Linux<'_, P> {
    /// `renameat2`.
    ///
    /// # Errors
    /// `EINVAL` for flags that do not go together, and for a directory into itself; `EXDEV`, `EBUSY`, `EEXIST`, `ENOENT`, `ENOTDIR`,
    /// `EISDIR`, `ENOTEMPTY`, `EACCES`, `EPERM`, `EROFS`, `ENOSPC`, `ENOMEM`; those of a walk.
    pub fn renameat2(&self, task: &Task, old: PathAt<'_>, new: PathAt<'_>, flags: u32) -> Result<(), Errno> {
        if flags & !(NOREPLACE | EXCHANGE | WHITEOUT) != 0 || flags & EXCHANGE != 0 && flags != EXCHANGE {
            return Err(Errno::EINVAL);
        }
        let (mut old_name, mut new_name) = (Component::new(), Component::new());
        let from = self.walk(task, old, Follow::Name, &mut old_name)?;
        let to = self.walk(task, new, Follow::Name, &mut new_name)?;
        if self.sb_of(from.dir) != self.sb_of(to.dir) {
            return Err(Errno::EXDEV);
        }
        if from.last != Last::Name {
            return Err(Errno::EBUSY);
        }
        if to.last != Last::Name {
            return Err(if flags & NOREPLACE != 0 {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            });
        }
        self.want_write(from.dir)?;
        let ends = Ends {
            from: Place {
                dir: from.dir,
                name: old_name.name(),
            },
            source: self.found(&from).ok_or(Errno::ENOENT)?,
            to: Place {
                dir: to.dir,
                name: new_name.name(),
            },
            target: self.found(&to),
        };
        Self::check_names(&ends, (from.slash, to.slash), flags)?;
        self.check_ancestors(&ends, flags)?;
        if ends.target.is_some_and(|target| target.inode == ends.source.inode) {
            return Ok(());
        }
        self.check_rights(task, &ends, flags)?;
        if flags & EXCHANGE != 0 {
            self.exchange(&ends);
            Ok(())
        } else {
            self.replace(task, &ends, flags)
        }
    }

    fn found(&self, target: &Target) -> Option<Found> {
        let dentry = target.dentry?;
        let inode = self.dentry(dentry).inode()?;
        Some(Found {
            dentry,
            inode,
            is_dir: is_dir(self.object(inode)),
        })
    }

    /// What flags and slashes ask for.
    fn check_names(ends: &Ends<'_>, (from_slash, to_slash): (bool, bool), flags: u32) -> Result<(), Errno> {
        match ends.target {
            Some(_) if flags & NOREPLACE != 0 => return Err(Errno::EEXIST),
            None if flags & EXCHANGE != 0 => return Err(Errno::ENOENT),
            Some(target) if flags & EXCHANGE != 0 && !target.is_dir && to_slash => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if !ends.source.is_dir && (from_slash || flags & EXCHANGE == 0 && to_slash) {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// No directory goes below itself.
    fn check_ancestors(&self, ends: &Ends<'_>, flags: u32) -> Result<(), Errno> {
        if ends.source.is_dir && self.is_below(ends.to.dir, ends.source.inode) {
            return Err(Errno::EINVAL);
        }
        match ends.target {
            Some(target) if target.is_dir && self.is_below(ends.from.dir, target.inode) => {
                Err(if flags & EXCHANGE != 0 {
                    Errno::EINVAL
                } else {
                    Errno::ENOTEMPTY
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a directory is `top` or below it, in one file system.
    fn is_below(&self, mut dir: InodeId, top: InodeId) -> bool {
        loop {
            if dir == top {
                return true;
            }
            let above = self.name_of_dir(dir).and_then(|entry| self.dentry(entry).parent());
            match above {
                Some(above) => dir = above,
                None => return false,
            }
        }
    }

    fn check_rights(&self, task: &Task, ends: &Ends<'_>, flags: u32) -> Result<(), Errno> {
        let (source, exchange) = (ends.source, flags & EXCHANGE != 0);
        self.may_delete(task.cred, ends.from.dir, source.dentry, source.is_dir)?;
        match ends.target {
            None => self.may_create(task.cred, ends.to.dir)?,
            Some(target) => {
                let as_dir = if exchange { target.is_dir } else { source.is_dir };
                self.may_delete(task.cred, ends.to.dir, target.dentry, as_dir)?;
            }
        }
        // Its `..` changes.
        if ends.from.dir != ends.to.dir {
            let moved = [Some(source), ends.target.filter(|_| exchange)];
            for dir in moved.into_iter().flatten().filter(|found| found.is_dir) {
                self.permission(task.cred, dir.inode, may::WRITE)?;
            }
        }
        let mounted = |found: Found| self.is_mountpoint(found.inode);
        if mounted(source) || ends.target.is_some_and(mounted) {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    fn exchange(&self, ends: &Ends<'_>) {
        let Some(target) = ends.target else { return };
        self.exchange_names(ends.source.dentry, target.dentry);
        match (ends.source.is_dir, target.is_dir) {
            (true, false) => self.move_link(ends.from.dir, ends.to.dir),
            (false, true) => self.move_link(ends.to.dir, ends.from.dir),
            _ => {}
        }
        self.renamed(ends);
        let (from, to) = ((ends.from.dir, ends.from.name), (ends.to.dir, ends.to.name));
        self.fsnotify_moved(from, to, ends.source.inode);
        self.fsnotify_moved(to, from, target.inode);
    }

    /// A subdirectory is now another directory's.
    fn move_link(&self, from: InodeId, to: InodeId) {
        if from != to {
            self.memory.inc_nlink(to);
            self.memory.drop_nlink(from);
        }
    }

    fn replace(&self, task: &Task, ends: &Ends<'_>, flags: u32) -> Result<(), Errno> {
        let source = ends.source;
        if ends
            .target
            .is_some_and(|target| target.is_dir && self.newest_name(target.inode).is_some())
        {
            return Err(Errno::ENOTEMPTY);
        }
        // All that can fail, first.
        let new = self.alloc_dentry(ends.to.name)?;
        let whiteout = if flags & WHITEOUT != 0 {
            let made = self.prepare(task, ends.from, s::IFCHR);
            Some(made.inspect_err(|_| self.free_dentry(new))?)
        } else {
            None
        };
        match ends.target {
            Some(target) if target.is_dir => self.remove_dir(target.dentry),
            Some(target) => self.remove_link(target.dentry),
            None => {}
        }
        let inode = self.remove_name(source.dentry);
        self.add_name(new, ends.to.dir, ends.to.name, inode);
        if source.is_dir {
            self.move_link(ends.from.dir, ends.to.dir);
        }
        if let Some(whiteout) = whiteout {
            self.complete(whiteout, ends.from);
        }
        self.renamed(ends);
        self.fsnotify_moved(
            (ends.from.dir, ends.from.name),
            (ends.to.dir, ends.to.name),
            source.inode,
        );
        Ok(())
    }

    fn renamed(&self, ends: &Ends<'_>) {
        self.changed(ends.from.dir, true);
        self.changed(ends.to.dir, true);
        self.changed(ends.source.inode, false);
    }
}
