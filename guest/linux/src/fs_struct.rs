//! Working directory and umask of a process, or of several that were cloned to share them.
//!
//! Source: Linux, fs/fs_struct.c; clone(2), `CLONE_FS`.

use faultlab_mm::record::Field;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::vfs::Fs;
use crate::{Errno, Linux};

id_type!(
    /// Number of an [`FsStruct`].
    FsId
);

record! {
    /// An [`Fs`], counted. Its directory is in word [`FsStruct::CWD`].
    pub struct FsStruct[4] {
        /// Threads that have it besides the first.
        sharers, set_sharers: u64 = 0;
        /// Rights that what they make does not get.
        umask, set_umask: u32 = 1;
    }
}

impl FsStruct<'_> {
    const CWD: usize = 2;
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    fn fs_struct(&self, id: FsId) -> FsStruct<'_> {
        FsStruct(object(self.memory, id.0))
    }

    /// An object of what `fs` says, whose reference to the directory is the object's from now on.
    ///
    /// # Errors
    /// `ENOMEM`; the reference is the caller's still.
    pub fn alloc_fs(&self, fs: Fs) -> Result<FsId, Errno> {
        let id = FsId(self.alloc_record(&self.fs_structs)?);
        self.set_fs(id, fs);
        Ok(id)
    }

    /// What an object says.
    #[inline]
    #[must_use]
    pub fn fs(&self, id: FsId) -> Fs {
        let record = self.fs_struct(id);
        Fs {
            cwd: Field::from_word(record.0[FsStruct::CWD].get()),
            umask: record.umask(),
        }
    }

    /// Changes it, for all that share it.
    pub fn set_fs(&self, id: FsId, fs: Fs) {
        let record = self.fs_struct(id);
        record.0[FsStruct::CWD].set(fs.cwd.to_word());
        record.set_umask(fs.umask);
    }

    /// One more has it. Source: Linux `copy_fs`.
    #[must_use]
    pub fn share_fs(&self, id: FsId) -> FsId {
        let record = self.fs_struct(id);
        record.set_sharers(record.sharers() + 1);
        id
    }

    /// A copy, for one alone. Source: Linux `copy_fs_struct`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn dup_fs(&self, id: FsId) -> Result<FsId, Errno> {
        let fs = self.copy_fs(self.fs(id));
        self.alloc_fs(fs).inspect_err(|_| self.exit_fs(fs))
    }

    /// One less has it; with the last it goes. Source: Linux `exit_fs`.
    pub fn put_fs(&self, id: FsId) {
        let record = self.fs_struct(id);
        if record.sharers() != 0 {
            record.set_sharers(record.sharers() - 1);
            return;
        }
        let fs = self.fs(id);
        for word in record.0 {
            word.set(0);
        }
        self.fs_structs.free(self.memory, id.0);
        self.exit_fs(fs);
    }
}
