//! An object's size. Source: Linux, mm/shmem.c (`shmem_setattr`, `shmem_undo_range`, `shmem_get_partial_folio`). Rules B37, B40, C18, C49.

use super::{InodeId, MAX_INDEX, Sgp, seal};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, pages_for};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::Event;
use crate::platform::Platform;
use crate::truncate::Cows;

impl<P: Platform> Memory<P> {
    /// Size of an object, in bytes.
    #[inline(always)]
    pub fn i_size(&self, id: InodeId) -> u64 {
        self.inode(id).i_size()
    }

    /// `truncate`: the object becomes `size` bytes long. What lay behind goes, private copies included; the rest of its last page becomes
    /// zeroes. Growing takes no memory.
    ///
    /// # Errors
    /// [`Error::Einval`] beyond 2^63-1, [`Error::Eperm`] where a seal forbids it; [`Error::Enomem`], [`Error::Eio`] when the last page
    /// cannot be read back from swap, and nothing changed. Rules C18, C49.
    pub fn shmem_truncate(&self, id: InodeId, size: u64) -> Result<(), Error> {
        if self.is_hugetlb(id) {
            return self.hugetlb_truncate(id, size);
        }
        let inode = self.inode(id);
        let old = inode.i_size();
        if i64::try_from(size).is_err() {
            return Err(Error::Einval);
        }
        let sealed = |seal| inode.seals() & seal != 0;
        if (size < old && sealed(seal::SHRINK)) || (size > old && sealed(seal::GROW)) {
            return Err(Error::Eperm);
        }
        if size < old {
            self.zero_partial(id, size, (size | PAGE_MASK) + 1)?;
        }
        inode.set_i_size(size);
        // Pages that `fallocate` put past the end go as well, also when the size stays. Rule C25.
        if size <= old {
            let _guard = self.locks.mmap.lock();
            self.shmem_remove_pages(id, pages_for(size), MAX_INDEX, Cows::Go);
        }
        self.content_changed(id);
        Ok(())
    }

    /// Zeroes bytes `start..end` of one page, if the object has that page. A range of a whole page, or of none, is left to others.
    ///
    /// # Errors
    /// [`Error::Enomem`], [`Error::Eio`] when it cannot be read back from swap.
    pub(super) fn zero_partial(&self, id: InodeId, start: u64, end: u64) -> Result<(), Error> {
        if start >= end || end - start == PAGE_SIZE {
            return Ok(());
        }
        let index = start >> PAGE_SHIFT;
        let entry = self.filemap_get_entry(self.inode(id), index);
        if entry.is_null() {
            return Ok(());
        }
        let got = self.shmem_getpage_called(id, index, Sgp::Write)?;
        self.lock_page(got.pfn);
        self.fill_locked(got.pfn);
        self.platform
            .clear_bytes(got.pfn, (start & PAGE_MASK) as usize, (end - start) as usize);
        self.page(got.pfn).steps([Event::Dirty, Event::Unlock]);
        self.put_page(got.pfn);
        Ok(())
    }
}
