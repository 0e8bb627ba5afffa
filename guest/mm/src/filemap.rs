//! The page cache of one object: which frame, or what else, is at an index.
//!
//! Each index holds nothing, a page, or a value (shmem: where the page is in swap). The cache owns one reference to each of its
//! pages. `nrpages` counts pages, `swapped` of the inode counts values.
//!
//! | file | |
//! |---|---|
//! | `filemap.rs` | what an index holds; entering and leaving |
//! | `filemap/find.rs` | looking up, with a reference, the lock, or in the end a new page |
//! | `filemap/map_pages.rs` | mapping what is cached around a fault |
//!
//! Source: Linux, mm/filemap.c. Rules D21, D27.

mod find;
mod map_pages;
#[cfg(test)]
mod tests;

pub(crate) use find::fgp;
pub(crate) use map_pages::FaultAround;

use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Vmstat};
use crate::shmem::{Inode, InodeId, inode_flag};
use crate::xarray::{Entry, XArray};

impl<'a> Inode<'a> {
    /// The page cache. Source: Linux `address_space.i_pages`.
    #[inline(always)]
    pub(crate) fn i_pages(self) -> XArray<'a> {
        XArray::new(&self.0[Inode::XA_HEAD], &self.0[Inode::XA_FLAGS])
    }
}

impl<P: Platform> Memory<P> {
    /// What is at `index`: nothing, a value, or a page, without a reference; of a huge page, the frame for the index.
    #[inline(always)]
    pub(crate) fn filemap_get_entry(&self, inode: Inode<'_>, index: u64) -> Entry {
        let entry = inode.i_pages().load(self, index);
        if inode.i_flags() & inode_flag::HUGE != 0 {
            return self.subpage_entry(entry, index);
        }
        entry
    }

    /// Puts a new page where there is nothing. The cache takes a reference of its own; the page is locked, has no content yet, counts as
    /// differing from any disk's, and is on an LRU list. Rule D27.
    ///
    /// # Errors
    /// [`Error::Eexist`] when there is something, [`Error::Enomem`] when no node can be had; the page belongs to nobody then.
    #[inline(always)]
    pub(crate) fn add_to_page_cache(&self, id: InodeId, index: u64, pfn: Pfn) -> Result<(), Error> {
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
            self.page(pfn).begin([Event::Lock, Event::Dirty], flag::SWAPBACKED);
        }
        self.page_enters_cache(id, index, pfn);
        self.lru_add(pfn);
        Ok(())
    }

    /// [`Memory::add_to_page_cache`] for others than faults.
    #[inline(never)]
    pub(crate) fn add_to_page_cache_called(&self, id: InodeId, index: u64, pfn: Pfn) -> Result<(), Error> {
        self.add_to_page_cache(id, index, pfn)
    }

    /// Sets what a page of the cache knows about its owner, and counts it.
    #[inline]
    pub(crate) fn page_enters_cache(&self, id: InodeId, index: u64, pfn: Pfn) {
        let page = self.page(pfn);
        page.refcount.add(1);
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
        if self.page(pfn).has(flag::HEAD) {
            return self.huge_page_leaves_cache(inode, pfn);
        }
        self.page(pfn).mapping.set(0);
        inode.set_nrpages(inode.nrpages() - 1);
        self.uncount(Vmstat::NrFilePages);
        if self.page(pfn).has(flag::SWAPBACKED) {
            self.uncount(Vmstat::NrShmem);
        }
    }
}
