//! Seals: what may never again be done to an object. Source: Linux, mm/memfd.c; fcntl(2), "File Sealing". Rules C46 to C49.

use super::InodeId;
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::vm;

/// Seals. Source: fcntl(2).
pub mod seal {
    /// No more seals.
    pub const SEAL: u64 = 0x1;
    /// It does not become smaller.
    pub const SHRINK: u64 = 0x2;
    /// It does not become larger.
    pub const GROW: u64 = 0x4;
    /// Its content stays.
    pub const WRITE: u64 = 0x8;
    /// Its content changes through mappings that are there already only.
    pub const FUTURE_WRITE: u64 = 0x10;
    /// The rights to execute it stay.
    pub const EXEC: u64 = 0x20;
    /// All of them.
    pub const ALL: u64 = 0x3f;
    /// Own, never shown: there is no `write` for such an object.
    pub(crate) const NO_WRITE: u64 = 1 << 32;
}

/// Any right to execute, in `st_mode`.
const S_IXUGO: u32 = 0o111;

impl<P: Platform> Memory<P> {
    /// A memory object without a name, as `memfd_create` makes it: size 0, with one reference. Rules C37, C46, C47.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub fn memfd_create(&self, mode: u32, owner: (u32, u32), seals: u64) -> Result<InodeId, Error> {
        let id = self.shmem_file_setup(0, true)?;
        self.set_memfd(id, mode, owner, seals);
        Ok(id)
    }

    /// The same with huge pages, of which `1 << shift` bytes are one; 0 is the usual size. Rule C46.
    ///
    /// # Errors
    /// [`Error::Enodev`] for sizes that cannot be had, [`Error::Enomem`].
    pub fn memfd_create_hugetlb(&self, shift: u64, mode: u32, owner: (u32, u32), seals: u64) -> Result<InodeId, Error> {
        crate::hugetlb::check_size(shift).map_err(|_| Error::Enodev)?;
        let id = self.hugetlb_file_setup(0, true)?;
        self.set_memfd(id, mode, owner, seals | seal::NO_WRITE);
        Ok(id)
    }

    fn set_memfd(&self, id: InodeId, mode: u32, owner: (u32, u32), seals: u64) {
        let (inode, now) = (self.inode(id), self.platform.now_ns());
        inode.set_i_mode(mode);
        inode.set_i_uid(owner.0);
        inode.set_i_gid(owner.1);
        inode.set_seals(seals);
        inode.set_i_atime(now);
        inode.set_i_mtime(now);
        inode.set_i_ctime(now);
    }

    /// The [`seal`] bits of an object.
    pub fn seals(&self, id: InodeId) -> u64 {
        self.inode(id).seals() & seal::ALL
    }

    /// Adds seals.
    ///
    /// # Errors
    /// [`Error::Einval`] for bits that are none, [`Error::Eperm`] when the object takes no more, [`Error::Ebusy`] for [`seal::WRITE`]
    /// while something could write through a mapping. Rule C48.
    pub fn add_seals(&self, id: InodeId, seals: u64) -> Result<(), Error> {
        let inode = self.inode(id);
        if seals & !seal::ALL != 0 {
            return Err(Error::Einval);
        }
        if inode.seals() & seal::SEAL != 0 {
            return Err(Error::Eperm);
        }
        if seals & !inode.seals() & seal::WRITE != 0 && self.mapped_for_writing(id) {
            return Err(Error::Ebusy);
        }
        let mut seals = seals;
        if seals & seal::EXEC != 0 && inode.i_mode() & S_IXUGO != 0 {
            seals |= seal::SHRINK | seal::GROW | seal::WRITE | seal::FUTURE_WRITE;
        }
        inode.set_seals(inode.seals() | seals);
        Ok(())
    }

    /// Whether a shared mapping is, or could become, writable. Source: Linux `mapping_deny_writable`.
    fn mapped_for_writing(&self, id: InodeId) -> bool {
        self.i_mmap(id)
            .overlapping(0..=u64::MAX)
            .any(|vma| self.vma(vma).has(vm::SHARED | vm::MAYWRITE))
    }
}
