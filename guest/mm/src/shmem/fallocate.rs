//! `fallocate`: pages ahead of their use, and holes. Source: Linux, mm/shmem.c (`shmem_fallocate`, `shmem_undo_range`), fs/open.c
//! (`vfs_fallocate`). Rules B40, C24 to C30, C49.

use super::{InodeId, MAX_INDEX, Sgp, seal};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, pages_for};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;
use crate::sync::{Word, Word32};
use crate::truncate::Cows;

/// Modes of `fallocate`. Source: fallocate(2).
pub mod falloc {
    /// The size stays.
    pub const KEEP_SIZE: u32 = 1;
    /// A hole; only with `KEEP_SIZE`.
    pub const PUNCH_HOLE: u32 = 2;
}

/// The allocation that is under way: what it added is not written to swap, where it would only be zeroes. Source: Linux `struct shmem_falloc`.
#[derive(Debug)]
pub(crate) struct Falloc {
    /// Its object; 0 is none.
    object: Word32,
    /// Its pages so far.
    first: Word,
    next: Word,
    /// How often reclaim wanted one of them.
    refused: Word,
}

impl Falloc {
    pub(crate) const fn new() -> Self {
        Self {
            object: Word32::new(0),
            first: Word::new(0),
            next: Word::new(0),
            refused: Word::new(0),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Whether a page without content stays in memory, because the call that adds it is under way. Rules C27, C29; Linux `shmem_writeout`.
    pub(super) fn falloc_keeps(&self, id: InodeId, index: u64) -> bool {
        let falloc = &self.falloc;
        let its = falloc.object.get() == id.0.get() && (falloc.first.get()..falloc.next.get()).contains(&index);
        if its {
            falloc.refused.add(1);
        }
        its
    }

    /// `fallocate` of `len` bytes from `offset` on, `len` not 0 and their sum at most 2^63-1.
    ///
    /// # Errors
    /// [`Error::Eopnotsupp`] for modes that shmem has not, [`Error::Eperm`] where a seal forbids it, [`Error::Enomem`] without memory, or
    /// when what the call adds fills it; [`Error::Eintr`] when a signal waits: then every page that the call added is gone again. Rules C24 to C28.
    pub fn shmem_fallocate(&self, id: InodeId, mode: u32, offset: u64, len: u64) -> Result<(), Error> {
        if self.is_hugetlb(id) {
            return self.hugetlb_fallocate(id, mode, offset, len);
        }
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
        self.falloc.object.set(id.0.get());
        self.falloc.first.set(first);
        self.falloc.refused.set(0);
        let added = (first..last).try_for_each(|index| {
            self.falloc.next.set(index);
            self.allocate_one(id, first, index).map_err(|error| (index, error))
        });
        self.falloc.object.set(0);
        if let Err((index, error)) = added {
            self.undo_allocation(id, first, index);
            return Err(error);
        }
        if mode & falloc::KEEP_SIZE == 0 && end > inode.i_size() {
            inode.set_i_size(end);
        }
        self.content_changed(id);
        Ok(())
    }

    /// The page at `index`, in a call that began at `first`.
    fn allocate_one(&self, id: InodeId, first: u64, index: u64) -> Result<(), Error> {
        if self.platform.signal_pending() {
            return Err(Error::Eintr);
        }
        // Reclaim was in vain more often than there are pages: they fill memory, and more would only push others out.
        if self.falloc.refused.get() > index - first {
            return Err(Error::Enomem);
        }
        let got = self.shmem_getpage_called(id, index, Sgp::Falloc)?;
        self.put_page(got.pfn);
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
