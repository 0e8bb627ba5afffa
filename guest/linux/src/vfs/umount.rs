//! File systems leave the tree of names. Source: Linux, fs/namespace.c (`do_umount`, `umount_tree`); umount(2). Rules C31, C37.
//!
//! Differs from Linux: what is detached while in use goes when a descriptor closes or a process ends that finds it unused, not with its last
//! mapping.

use faultlab_mm::Platform;
use faultlab_mm::record::Field;
use faultlab_mm::shmem::{InodeId, inode_flag, super_flag};

use super::mount::{Mount, MountId, mount_flag};
use super::namei::Follow;
use super::{PathAt, Task, is_dir};
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// `umount2`.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags and for what is no mount, `EPERM` for others than root, `EBUSY`; those of a walk.
    pub fn umount(&self, task: &Task, target: &[u8], flags: u32) -> Result<(), Errno> {
        if flags & !(mount_flag::MNT_FORCE | mount_flag::MNT_DETACH | mount_flag::UMOUNT_NOFOLLOW) != 0 {
            return Err(Errno::EINVAL);
        }
        let follow = if flags & mount_flag::UMOUNT_NOFOLLOW != 0 {
            Follow::IfSlash
        } else {
            Follow::Yes
        };
        let root = self.lookup(task, PathAt::cwd(target), follow, false)?;
        if !task.cred.privileged() {
            return Err(Errno::EPERM);
        }
        let (id, mount) = self.mount_of(root).ok_or(Errno::EINVAL)?;
        let Some(covered) = mount.covered() else {
            return Err(if self.is_detached(root) {
                Errno::EINVAL
            } else {
                Errno::EBUSY
            });
        };
        let lazy = flags & mount_flag::MNT_DETACH != 0;
        if !lazy && self.in_use(root) {
            return Err(Errno::EBUSY);
        }
        if lazy {
            self.detach_below(root);
        }
        self.uncover(mount, covered);
        if self.in_use(root) {
            let sb = self.super_block(self.sb_of(root));
            sb.set_s_flags(sb.s_flags() | super_flag::DETACHED);
            self.mounts.detached.add(1);
        } else {
            self.free_mount(id);
        }
        Ok(())
    }

    /// Takes a mount out of the tree.
    fn uncover(&self, mount: Mount<'_>, covered: InodeId) {
        mount.set_covered(None);
        let object = self.object(covered);
        object.set_i_flags(object.i_flags() & !inode_flag::MOUNTPOINT);
        self.put_inode(covered);
    }

    /// Detaches what is mounted in a file system, and in what is mounted there, however deep: no call a level, ring 0 has one small stack.
    fn detach_below(&self, root: InodeId) {
        let sb = self.super_block(self.sb_of(root));
        let before = sb.s_flags();
        sb.set_s_flags(before | super_flag::DETACHED);
        let is_below = |covered: &InodeId| self.super_block(self.sb_of(*covered)).s_flags() & super_flag::DETACHED != 0;
        while let Some((mount, covered)) = self
            .mounts()
            .find_map(|(_, mount)| Some((mount, mount.covered().filter(is_below)?)))
        {
            if let Some(sb) = mount.sb().map(|sb| self.super_block(sb)) {
                sb.set_s_flags(sb.s_flags() | super_flag::DETACHED);
                self.mounts.detached.add(1);
            }
            self.uncover(mount, covered);
        }
        sb.set_s_flags(before);
    }

    /// Frees what is detached and no longer in use.
    pub(crate) fn reap_detached(&self) {
        while self.mounts.detached.get() != 0 {
            let unused = self.mounts().find(|(_, mount)| {
                let detached = |sb| self.super_block(sb).s_flags() & super_flag::DETACHED != 0;
                mount.sb().is_some_and(detached) && mount.root().is_some_and(|root| !self.in_use(root))
            });
            let Some((id, _)) = unused else { return };
            self.mounts.detached.sub(1);
            self.free_mount(id);
        }
    }

    /// Whether anything but names, and the mount itself, refers to an object of a file system.
    fn in_use(&self, root: InodeId) -> bool {
        if self.super_block(self.sb_of(root)).orphans() != 0 {
            return true;
        }
        let mut used = self.object(root).i_count() != 1;
        self.for_each_below(root, |inode| {
            let object = self.object(inode);
            let names = if is_dir(object) { 1 } else { object.i_nlink() };
            used |= object.i_count() != names;
        });
        used
    }

    /// Frees a file system that nobody uses, all its names first.
    fn free_mount(&self, id: MountId) {
        let mount = self.mount_record(id);
        if let Some(root) = mount.root() {
            self.remove_all(root);
            self.memory.clear_nlink(root);
            self.put_inode(root);
        }
        self.forget_mount(id);
    }

    fn forget_mount(&self, id: MountId) {
        let next = self.mount_record(id).next();
        let before = self.mounts().find(|(_, mount)| mount.next() == Some(id));
        match before {
            Some((_, before)) => before.set_next(next),
            None => self.mounts.first.set(Field::to_word(next) as u32),
        }
        if let Some(text) = self.mount_record(id).source() {
            self.free_short_text(text);
        }
        self.mount_record(id).0.iter().for_each(|word| word.set(0));
        self.mounts.cache.free(self.memory, id.0);
    }
}
