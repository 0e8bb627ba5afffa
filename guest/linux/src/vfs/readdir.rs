//! What is in a directory. Source: Linux, fs/libfs.c (`offset_readdir`), fs/readdir.c; getdents64(2). Rule C39.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::dentry::COOKIE_MIN;
use super::{NAME_MAX, s};
use crate::file::{File, Kind};
use crate::fsnotify::fs;
use crate::{Errno, Linux};

/// One name.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Number of what it names.
    pub ino: u64,
    /// Where a listing continues after it.
    pub next: u64,
    /// Type of what it names, as in `struct linux_dirent64`.
    pub d_type: u8,
    /// The name.
    pub name: &'a [u8],
}

impl<P: Platform> Linux<'_, P> {
    /// Gives `each` the names of a directory from the position of the description on, while it says `true`; the position goes along.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` for a removed directory; what `each` says.
    pub fn iterate_dir(
        &self,
        file: File<'_>,
        each: &mut dyn FnMut(&Entry<'_>) -> Result<bool, Errno>,
    ) -> Result<(), Errno> {
        let Kind::Directory(dir) = file.kind() else {
            return Err(Errno::ENOTDIR);
        };
        if self.object(dir).i_nlink() == 0 {
            return Err(Errno::ENOENT);
        }
        self.object(dir).set_i_atime(self.memory.platform.now_ns());
        self.fsnotify(dir, fs::ACCESS);
        if self.is_proc(dir) {
            while let Some((next, taken)) = self.proc_emit(dir, file.f_pos(), each)? {
                if !taken {
                    break;
                }
                file.set_f_pos(next);
            }
            return Ok(());
        }
        let above = self.name_of_dir(dir).and_then(|entry| self.dentry(entry).parent());
        let own = [(&b"."[..], dir), (&b".."[..], above.unwrap_or(dir))];
        for (at, (name, inode)) in own.into_iter().enumerate().skip(file.f_pos() as usize) {
            if !self.emit(file, inode, at as u64 + 1, name, each)? {
                return Ok(());
            }
        }
        let mut next = self.newest_name(dir);
        let mut name = [0; NAME_MAX + 1];
        while let Some(id) = next {
            let dentry = self.dentry(id);
            next = dentry.older();
            // Behind the position are older names, which have lower numbers.
            if file.f_pos() >= COOKIE_MIN && dentry.cookie() >= file.f_pos() {
                continue;
            }
            let Some(inode) = dentry.inode() else { continue };
            let len = self.copy_name(id, &mut name);
            if !self.emit(file, inode, dentry.cookie(), &name[..len], each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn emit(
        &self,
        file: File<'_>,
        inode: InodeId,
        next: u64,
        name: &[u8],
        each: &mut dyn FnMut(&Entry<'_>) -> Result<bool, Errno>,
    ) -> Result<bool, Errno> {
        let object = self.object(inode);
        let entry = Entry {
            ino: object.i_ino(),
            next,
            d_type: ((object.i_mode() & s::IFMT) >> 12) as u8,
            name,
        };
        let taken = each(&entry)?;
        if taken {
            file.set_f_pos(next);
        }
        Ok(taken)
    }
}
