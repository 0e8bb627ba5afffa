//! Names to be shown of objects that have none in a directory (any more): memory files, and what was removed while in use.
//!
//! The name is in place of what a directory or link has besides its inode: a file has nothing there, and a removed directory nothing left.
//!
//! Source: Linux, mm/memfd.c (`"memfd:"`), fs/d_path.c (`" (deleted)"`).

use super::{Inode, InodeId, inode_flag};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::{Field, id_type, record};

id_type!(
    /// Number of a [`Name`].
    NameId
);

record! {
    /// Some of a name, from word [`Name::TEXT`] on.
    pub struct Name[32] {
        /// The rest.
        next, set_next: Option<NameId> = 0;
        /// Bytes here.
        bytes, set_bytes: u64 = 1;
    }
}

impl Name<'_> {
    const TEXT: usize = 2;
    const BYTES: usize = (Self::WORDS - Self::TEXT) * 8;
}

impl<P: Platform> Memory<P> {
    /// Gives an object a name to be shown; it replaces an earlier one. The object is a file, or an empty directory.
    ///
    /// # Errors
    /// [`Error::Enomem`]; the object has none then.
    pub fn set_i_name(&self, id: InodeId, name: &[u8]) -> Result<(), Error> {
        let inode = self.inode(id);
        self.drop_i_name(inode);
        let mut first = None;
        for chunk in name.chunks(Name::BYTES).rev() {
            let Some(part) = self.alloc_name() else {
                self.free_names(first);
                return Err(Error::Enomem);
            };
            let record = self.name(part);
            record.set_next(first);
            record.set_bytes(chunk.len() as u64);
            for (bytes, word) in chunk.chunks(8).zip(&record.0[Name::TEXT..]) {
                let mut content = [0; 8];
                content[..bytes.len()].copy_from_slice(bytes);
                word.set(u64::from_le_bytes(content));
            }
            first = Some(part);
        }
        if first.is_some() {
            inode.set_i_private(Field::to_word(first));
            inode.set_i_flags(inode.i_flags() | inode_flag::NAMED);
        }
        Ok(())
    }

    /// Gives the name of an object to `each`, in pieces; whether it has one.
    pub fn i_name(&self, id: InodeId, each: &mut dyn FnMut(&[u8])) -> bool {
        let inode = self.inode(id);
        if inode.i_flags() & inode_flag::NAMED == 0 {
            return false;
        }
        let mut next: Option<NameId> = Field::from_word(inode.i_private());
        while let Some(part) = next {
            let record = self.name(part);
            next = record.next();
            for (at, word) in (0..record.bytes()).step_by(8).zip(&record.0[Name::TEXT..]) {
                each(&word.get().to_le_bytes()[..(record.bytes() - at).min(8) as usize]);
            }
        }
        true
    }

    /// Takes the name off an object that has one.
    #[inline]
    pub fn forget_i_name(&self, id: InodeId) {
        self.drop_i_name(self.inode(id));
    }

    #[inline(always)]
    pub(super) fn drop_i_name(&self, inode: Inode<'_>) {
        if inode.i_flags() & inode_flag::NAMED != 0 {
            inode.set_i_flags(inode.i_flags() & !inode_flag::NAMED);
            let first = Field::from_word(inode.i_private());
            inode.set_i_private(0);
            self.free_names(first);
        }
    }

    #[inline(never)]
    fn free_names(&self, mut next: Option<NameId>) {
        while let Some(part) = next {
            next = self.name(part).next();
            self.free_name(part);
        }
    }
}
