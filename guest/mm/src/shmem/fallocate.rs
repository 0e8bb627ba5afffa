//! `fallocate`: pages ahead of their use, and holes. Source: Linux, mm/shmem.c (`shmem_fallocate`, `shmem_undo_range`), fs/open.c
//! (`vfs_fallocate`). Rules B40, C24 to C30, C49.

use super::{InodeId, MAX_INDEX, Sgp, seal};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, pages_for};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;
use crate::truncate::Cows;

/// Modes of `fallocate`. Source: fallocate(2).
pub mod falloc {
    /// The size stays.
    pub const KEEP_SIZE: u32 = 1;
    /// A hole; only with `KEEP_SIZE`.
    pub const PUNCH_HOLE: u32 = 2;
}

impl<P: Platform> Memory<P> {
    /// `fallocate` of `len` bytes from `offset` on, `len` not 0 and their sum at most 2^63-1.
    ///
    /// # Errors
    /// [`Error::Eopnotsupp`] for modes that shmem has not, [`Error::Eperm`] where a seal forbids it, [`Error::Enomem`] without memory:
    /// then every page that the call added is gone again. Rules C24 to C28.
    pub fn shmem_fallocate(&self, id: InodeId, mode: u32, offset: u64, len: u64) -> Result<(), Error> {
        match mode {
            0 | falloc::KEEP_SIZE => self.allocate_range(id, mode, offset, offset + len),
            mode if mode == falloc::KEEP_SIZE | falloc::PUNCH_HOLE => self.punch_range(id, offset, offset + len),
            _ => Err(Error::Eopnotsupp),
        }
    }

    fn allocate_range(&self, id: InodeId, mode: u32, start: u64, end: u64) -> Result<(), Error> {
        let inode = self.inode(id);
        if inode.seals() & seal::GROW != 0 && end > inode.i_size() {
            return Err(Error::Eperm);
        }
        let (first, last) = (start >> PAGE_SHIFT, pages_for(end));
        for index in first..last {
            match self.shmem_getpage_called(id, index, Sgp::Falloc) {
                Ok(got) => self.put_page(got.pfn),
                Err(error) => {
                    self.undo_allocation(id, first, index);
                    return Err(error);
                }
            }
        }
        if mode & falloc::KEEP_SIZE == 0 && end > inode.i_size() {
            inode.set_i_size(end);
        }
        self.content_changed(id);
        Ok(())
    }

    /// Takes back the pages of `first..end` that have no content yet. Those that had been there when the call met them got theirs then
    /// (rule C2 (7)), so these are its own. Rules C26, C30.
    fn undo_allocation(&self, id: InodeId, first: u64, end: u64) {
        let _guard = self.locks.mmap.lock();
        for index in first..end {
            let entry = self.filemap_get_entry(self.inode(id), index);
            if entry.as_page().is_some_and(|pfn| !self.page(pfn).has(flag::UPTODATE)) {
                self.shmem_remove_pages(id, index, index, Cows::Stay);
            }
        }
    }

    /// Frees the whole pages of `start..end`, and zeroes what it covers of others. Rule C28.
    fn punch_range(&self, id: InodeId, start: u64, end: u64) -> Result<(), Error> {
        if self.inode(id).seals() & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Error::Eperm);
        }
        let head_end = end.min((start | PAGE_MASK) + 1);
        if start & PAGE_MASK != 0 || head_end == end {
            self.zero_partial(id, start, head_end)?;
        }
        if end & PAGE_MASK != 0 && head_end != end {
            self.zero_partial(id, end & !PAGE_MASK, end)?;
        }
        let (first, past) = (pages_for(start), end / PAGE_SIZE);
        if first < past {
            let _guard = self.locks.mmap.lock();
            self.shmem_remove_pages(id, first, (past - 1).min(MAX_INDEX), Cows::Stay);
        }
        self.content_changed(id);
        Ok(())
    }
}
