//! The page cache of one object: which frame, or what else, is at an index.
//!
//! Each index holds nothing, a page, or a value (shmem: where the page is in swap). The cache owns one reference to each of its
//! pages. `nrpages` counts pages, `swapped` of the inode counts values.
//!
//! Source: Linux, mm/filemap.c. Rules D21, D22, D23, D25, D27.

use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::shmem::{Inode, InodeId};
use crate::xarray::{Entry, XArray};

impl<'a> Inode<'a> {
    /// The page cache. Source: Linux `address_space.i_pages`.
    #[inline(always)]
    pub(crate) fn i_pages(self) -> XArray<'a> {
        XArray::new(&self.0[Inode::XA_HEAD], &self.0[Inode::XA_FLAGS])
    }
}

impl<P: Platform> Memory<P> {
    /// What is at `index`: nothing, a value, or a page, without a reference.
    #[inline(always)]
    pub(crate) fn filemap_get_entry(&self, inode: Inode<'_>, index: u64) -> Entry {
        inode.i_pages().load(self, index)
    }

    /// Puts a page where there is nothing. The cache takes a reference of its own; the page gets the given state flags besides
    /// those that it has, and is put on the LRU.
    ///
    /// # Errors
    /// [`Error::Eexist`] when there is something, [`Error::Enomem`] when no node can be had.
    // Wherever it is called, so that faults do not pay for a call.
    #[inline(always)]
    pub(crate) fn add_to_page_cache(&self, id: InodeId, index: u64, pfn: Pfn, flags: u32) -> Result<(), Error> {
        let inode = self.inode(id);
        {
            let _guard = self.locks.i_pages.lock();
            inode
                .i_pages()
                .insert(self, index, Entry::page(pfn))
                .map_err(|error| match error {
                    Error::Ebusy => Error::Eexist,
                    other => other,
                })?;
        }
        self.page_enters_cache(id, index, pfn, flags);
        self.lru_add(pfn);
        Ok(())
    }

    /// Sets what a page of the cache knows about its owner, and counts it.
    #[inline]
    pub(crate) fn page_enters_cache(&self, id: InodeId, index: u64, pfn: Pfn, flags: u32) {
        let page = self.page(pfn);
        page.refcount.add(1);
        page.set_flags(flags | flag::SWAPBACKED);
        page.mapping.set(id.0.get());
        page.index.set(index);
        let inode = self.inode(id);
        inode.set_nrpages(inode.nrpages() + 1);
        self.count(Vmstat::NrFilePages);
        self.count(Vmstat::NrShmem);
    }

    /// A page that has just entered the cache is of ramfs: not shared memory, and with no place in swap. Rule C52.
    pub(crate) fn no_shared_memory(&self, pfn: Pfn) {
        self.page(pfn).clear_flags(flag::SWAPBACKED);
        self.uncount(Vmstat::NrShmem);
    }

    /// What a page of the cache knew about its owner is no longer so; the cache's reference is still to be dropped.
    #[inline]
    pub(crate) fn page_leaves_cache(&self, inode: Inode<'_>, pfn: Pfn) {
        self.page(pfn).mapping.set(0);
        inode.set_nrpages(inode.nrpages() - 1);
        self.uncount(Vmstat::NrFilePages);
        if self.page(pfn).has(flag::SWAPBACKED) {
            self.uncount(Vmstat::NrShmem);
        }
    }
}
