//! The path of an object, as the kernel shows it. Source: Linux, fs/d_path.c (`prepend_path`).
//!
//! Differs from Linux: of several names, the one made last is shown, not the one that was opened.

use faultlab_mm::Platform;
use faultlab_mm::record::Field;
use faultlab_mm::shmem::InodeId;

use super::dentry::DentryId;
use super::{NAME_MAX, PATH_MAX, is_dir, s, type_of};
use crate::proc::text::Digits;
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// Writes the path of an object that has a name to the end of `to`; where it begins.
    ///
    /// # Errors
    /// `ENOENT` for what has no name, `ERANGE` when the path does not fit.
    pub(crate) fn d_path(&self, id: InodeId, to: &mut [u8]) -> Result<usize, Errno> {
        let mut at = id;
        let mut start = to.len();
        let mut name = [0; NAME_MAX + 1];
        loop {
            if is_dir(self.object(at)) && self.is_root(at) {
                match self.covered_by(at) {
                    Some(covered) => {
                        at = covered;
                        continue;
                    }
                    None => break,
                }
            }
            let entry = self.a_name_of(at).ok_or(Errno::ENOENT)?;
            let len = self.copy_name(entry, &mut name);
            let begin = start.checked_sub(len + 1).ok_or(Errno::ERANGE)?;
            to[begin] = b'/';
            to[begin + 1..start].copy_from_slice(&name[..len]);
            start = begin;
            at = self.dentry(entry).parent().ok_or(Errno::ENOENT)?;
        }
        if start == to.len() {
            start = start.checked_sub(1).ok_or(Errno::ERANGE)?;
            to[start] = b'/';
        }
        Ok(start)
    }

    /// A name of an object: the one made last, or, if that is gone, any.
    pub(crate) fn a_name_of(&self, id: InodeId) -> Option<DentryId> {
        let object = self.object(id);
        if object.i_nlink() == 0 {
            return None;
        }
        let known: Option<DentryId> = Field::from_word(object.i_dentry());
        if known.is_some() || is_dir(object) {
            return known;
        }
        let root = self.super_block(object.i_sb()?).s_root()?;
        self.name_below(root, id)
    }

    /// The last name of what is in use goes: its path is kept, to be shown. Without memory for it, it is not.
    #[inline(always)]
    pub(super) fn keep_path(&self, entry: DentryId) {
        let inode = self.dentry(entry).inode();
        if let Some(inode) = inode.filter(|&inode| self.object(inode).i_count() > 1) {
            self.keep_path_of(inode);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_path_of(&self, inode: InodeId) {
        let object = self.object(inode);
        let last = is_dir(object) || object.i_nlink() == 1 && type_of(object) == s::IFREG;
        if !last || self.is_proc(inode) {
            return;
        }
        let mut path = [0; PATH_MAX];
        if let Ok(start) = self.d_path(inode, &mut path) {
            _ = self.memory.set_i_name(inode, &path[start..]);
        }
    }

    /// Gives a file that is made without a name in a directory the one that is shown. Source: Linux `d_mark_tmpfile`.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline(never)]
    pub(super) fn name_unnamed(&self, inode: InodeId, dir: InodeId) -> Result<(), Errno> {
        let mut path = [0; PATH_MAX];
        // After the path, `/#` and the number.
        let (front, back) = path.split_at_mut(PATH_MAX - 24);
        let Ok(start) = self.d_path(dir, front) else {
            return Ok(());
        };
        let digits = Digits::new(self.object(inode).i_ino(), 10);
        let len = 2 + digits.as_bytes().len();
        back[..2].copy_from_slice(b"/#");
        back[2..len].copy_from_slice(digits.as_bytes());
        let start = if front[start..] == *b"/" { start + 1 } else { start };
        Ok(self.memory.set_i_name(inode, &path[start..PATH_MAX - 24 + len])?)
    }

    /// Gives the path of an object to `each`, in pieces, as links in `/proc` show it. What has no path is of the kernel's internal mount.
    pub(crate) fn each_path_piece(&self, inode: InodeId, each: &mut dyn FnMut(&[u8])) {
        let mut path = [0; PATH_MAX];
        if self.memory.i_name(inode, each) {
            each(b" (deleted)");
            return;
        }
        let of_mount = self.object(inode).i_sb().is_some();
        match self.d_path(inode, &mut path) {
            Ok(start) if of_mount => each(&path[start..]),
            _ if of_mount => each(b"/ (deleted)"),
            _ => each(b"/dev/zero (deleted)"),
        }
    }
}
