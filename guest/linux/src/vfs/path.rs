//! The path of an object, as the kernel shows it. Source: Linux, fs/d_path.c (`prepend_path`).
//!
//! Differs from Linux: of several names, the one made last is shown, not the one that was opened.

use faultlab_mm::Platform;
use faultlab_mm::record::Field;
use faultlab_mm::shmem::InodeId;

use super::dentry::DentryId;
use super::{NAME_MAX, is_dir};
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
    fn a_name_of(&self, id: InodeId) -> Option<DentryId> {
        let object = self.object(id);
        let known: Option<DentryId> = Field::from_word(object.i_dentry());
        if known.is_some() || is_dir(object) || object.i_nlink() == 0 {
            return known;
        }
        let root = self.super_block(object.i_sb()?).s_root()?;
        self.name_below(root, id)
    }
}
