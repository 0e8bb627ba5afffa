//! Who may do what with an object. Source: Linux, fs/namei.c (`generic_permission`, `may_create`, `may_delete`), fs/attr.c; path_resolution(7).
//!
//! Differs from Linux: no capabilities apart from the effective user 0, no `fs.protected_*`.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{FsType, InodeId, inode_flag, super_flag};

use super::dentry::DentryId;
use super::{is_dir, s, type_of};
use crate::cred::Cred;
use crate::{Errno, Linux};

/// Rights that are asked for. Source: access(2).
pub(crate) mod may {
    /// Execute; of a directory: look up names.
    pub(crate) const EXEC: u32 = 1;
    /// Write.
    pub(crate) const WRITE: u32 = 2;
    /// Read.
    pub(crate) const READ: u32 = 4;
}

impl<P: Platform> Linux<'_, P> {
    /// Whether the effective user and group have these [`may`] rights.
    ///
    /// # Errors
    /// `EACCES`; `EROFS` for writing where nothing may be changed.
    #[inline]
    pub(crate) fn permission(&self, cred: Cred, id: InodeId, mask: u32) -> Result<(), Errno> {
        let inode = self.object(id);
        let mode = inode.i_mode();
        if mask & may::WRITE != 0 && matches!(mode & s::IFMT, s::IFREG | s::IFDIR | s::IFLNK) {
            self.want_write(id)?;
        }
        if cred.privileged() {
            // Nothing is executed that nobody may execute.
            let refused = mask & may::EXEC != 0 && mode & s::IFMT != s::IFDIR && mode & 0o111 == 0;
            return if refused { Err(Errno::EACCES) } else { Ok(()) };
        }
        let shift = match () {
            () if cred.user.effective == inode.i_uid() => 6,
            () if self.in_group(cred, inode.i_gid()) => 3,
            () => 0,
        };
        if mask & !(mode >> shift) & 7 != 0 {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// Whether a knob of `/proc/sys` has these [`may`] rights: what nobody may write, root may not, either. Source: Linux
    /// `proc_sys_permission`.
    ///
    /// # Errors
    /// `EACCES`.
    pub(crate) fn may_use_knob(&self, id: InodeId, mask: u32) -> Result<(), Errno> {
        let refused = self.is_knob(id) && mask & 6 & !(self.object(id).i_mode() >> 6) != 0;
        if refused { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Whether anything of the object's file system may be changed.
    ///
    /// # Errors
    /// `EROFS`.
    #[inline]
    pub(crate) fn want_write(&self, id: InodeId) -> Result<(), Errno> {
        match self.object(id).i_sb() {
            Some(sb) if self.super_block(sb).s_flags() & super_flag::RDONLY != 0 => Err(Errno::EROFS),
            _ => Ok(()),
        }
    }

    /// Whether a name may be added to a directory.
    ///
    /// # Errors
    /// `ENOENT` when it is removed, and in proc; `EACCES`; `EPERM` in sysfs.
    pub(crate) fn may_create(&self, cred: Cred, dir: InodeId) -> Result<(), Errno> {
        // What proc does not have cannot be made.
        if self.object(dir).i_nlink() == 0 || self.is_proc(dir) {
            let in_sysfs = self.is_proc(dir) && self.super_block(self.sb_of(dir)).s_type() == FsType::Sysfs;
            return Err(if in_sysfs { Errno::EPERM } else { Errno::ENOENT });
        }
        self.permission(cred, dir, may::WRITE | may::EXEC)
    }

    /// Whether a name may be removed from its directory, as that of a directory or of something else.
    ///
    /// # Errors
    /// `EACCES`, `EPERM` in sticky directories, `ENOTDIR`, `EISDIR`.
    pub(crate) fn may_delete(&self, cred: Cred, dir: InodeId, victim: DentryId, as_dir: bool) -> Result<(), Errno> {
        self.permission(cred, dir, may::WRITE | may::EXEC)?;
        if self.is_proc(dir) {
            return Err(Errno::EPERM);
        }
        let Some(inode) = self.dentry(victim).inode().map(|id| self.object(id)) else {
            return Err(Errno::ENOENT);
        };
        let dir = self.object(dir);
        let owners = [dir.i_uid(), inode.i_uid()];
        if dir.i_mode() & s::ISVTX != 0 && !cred.privileged() && !owners.contains(&cred.user.effective) {
            return Err(Errno::EPERM);
        }
        match (as_dir, is_dir(inode)) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    /// Whether `open` with `O_CREAT` may take what is there: in a sticky directory that everybody may write to, somebody else may have put
    /// it there to be written to by mistake. Regular files and FIFOs are let through, as with Linux's `fs.protected_regular` and
    /// `fs.protected_fifos` at 0, which is what the kernel begins with. Not even root is excepted. Source: Linux `may_create_in_sticky`.
    ///
    /// # Errors
    /// `EACCES`.
    pub(crate) fn may_create_in_sticky(&self, cred: Cred, dir: InodeId, id: InodeId) -> Result<(), Errno> {
        let (dir, inode) = (self.object(dir), self.object(id));
        let open_to_all = dir.i_mode() & (s::ISVTX | 0o002) == s::ISVTX | 0o002;
        let owner = inode.i_uid();
        if !open_to_all
            || matches!(type_of(inode), s::IFREG | s::IFIFO)
            || [dir.i_uid(), cred.user.effective].contains(&owner)
        {
            return Ok(());
        }
        Err(Errno::EACCES)
    }

    /// Whether something is mounted on an object.
    pub(crate) fn is_mountpoint(&self, id: InodeId) -> bool {
        self.object(id).i_flags() & inode_flag::MOUNTPOINT != 0
    }

    /// Whether somebody may do what is the owner's: change rights and set times.
    pub(crate) fn owns(&self, cred: Cred, id: InodeId) -> bool {
        cred.privileged() || cred.user.effective == self.object(id).i_uid()
    }
}
