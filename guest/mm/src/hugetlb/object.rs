//! Objects whose pages are of the pool: nameless files of a hugetlbfs of the kernel's own. Source: Linux, fs/hugetlbfs/inode.c.

use super::is_hpage_aligned;
use crate::addr::{PAGE_SHIFT, Pfn};
use crate::error::{Error, Fault};
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE};
use crate::memory::Memory;
use crate::mmap::map_flag;
use crate::page::flag;
use crate::platform::{Platform, Stage};
use crate::shmem::{GotPage, InodeId, falloc, inode_flag, seal};
use crate::vma::vm;
use crate::xarray::Entry;

/// Pages of a huge page.
const PAGES: u64 = HPAGE_PAGES as u64;

impl<P: Platform> Memory<P> {
    /// Whether an object's pages are of the pool.
    #[inline(always)]
    pub fn is_hugetlb(&self, id: InodeId) -> bool {
        self.inode(id).i_flags() & inode_flag::HUGETLB != 0
    }

    /// [`map_flag::HUGETLB`] for an object whose pages are of the pool, 0 for others: what a mapping of it has in its flags.
    #[inline(always)]
    pub fn hugetlb_flag(&self, id: InodeId) -> u64 {
        if self.is_hugetlb(id) { map_flag::HUGETLB } else { 0 }
    }

    /// A new object of `size` bytes, a multiple of 2 MiB, with one reference. Its pages are reserved unless `noreserve`. Source: Linux
    /// `hugetlb_file_setup`.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the pool has too few, or no memory can be had. Rule A23.
    pub(crate) fn hugetlb_file_setup(&self, size: u64, noreserve: bool) -> Result<InodeId, Error> {
        let id = self.shmem_file_setup(0, true)?;
        let inode = self.inode(id);
        inode.set_i_size(size);
        inode.set_i_flags(inode_flag::HUGE | inode_flag::HUGETLB);
        // There is no `write` for such files.
        inode.set_seals(seal::NO_WRITE);
        if !noreserve && let Err(error) = self.hugetlb_reserve_pages(id, 0..size >> HPAGE_SHIFT) {
            self.iput(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Puts a page into the cache of an object; the caller's reference becomes the cache's.
    ///
    /// # Errors
    /// [`Error::Enomem`]; the page is still the caller's.
    pub(crate) fn hugetlb_add_to_page_cache(&self, id: InodeId, index: u64, head: Pfn) -> Result<(), Error> {
        let inode = self.inode(id);
        let first = index << HPAGE_ORDER;
        {
            let _guard = self.locks.i_pages.lock();
            inode
                .i_pages()
                .store_order(self, first, HPAGE_ORDER, Entry::page(head))?;
        }
        let page = self.page(head);
        page.mapping.set(id.0.get());
        page.index.set(first);
        inode.set_nrpages(inode.nrpages() + PAGES);
        inode.set_alloced(inode.alloced() + PAGES);
        self.platform.stage(Stage::AddToPageCache, first);
        Ok(())
    }

    /// Fills a hole of an object with a page of zeroes, which stays the cache's.
    ///
    /// # Errors
    /// [`Fault::BusAdrerr`] without a page, [`Fault::Oom`] without memory.
    pub(super) fn hugetlb_fill_hole(&self, id: InodeId, index: u64) -> Result<Pfn, Fault> {
        let reserved = self.is_region(id, index);
        let head = self.alloc_hugetlb_folio_in(Some(id), true, index)?;
        self.platform.stage(Stage::AllocPages, u64::from(head.0));
        self.platform.clear_huge_page(head);
        self.platform.stage(Stage::ClearPage, 0);
        if self.hugetlb_add_to_page_cache(id, index, head).is_err() {
            self.unalloc_hugetlb_folio(id, index, head, reserved);
            return Err(Fault::Oom);
        }
        Ok(head)
    }

    /// The frame at a (small) index of an object, for `read` and the like, which fill no holes.
    ///
    /// # Errors
    /// [`Error::Einval`] in a hole.
    pub(crate) fn hugetlb_getpage(&self, id: InodeId, index: u64) -> Result<GotPage, Error> {
        let entry = self.filemap_get_entry(self.inode(id), index);
        let pfn = entry.as_page().ok_or(Error::Einval)?;
        self.get_page(pfn);
        Ok(GotPage { pfn, major: false })
    }

    /// `truncate`: as [`Memory::shmem_truncate`].
    ///
    /// # Errors
    /// [`Error::Einval`] for sizes that are no multiple of 2 MiB or beyond 2^63-1, [`Error::Eperm`] where a seal forbids it.
    pub(crate) fn hugetlb_truncate(&self, id: InodeId, size: u64) -> Result<(), Error> {
        let inode = self.inode(id);
        let old = inode.i_size();
        if !is_hpage_aligned(size) || i64::try_from(size).is_err() {
            return Err(Error::Einval);
        }
        let sealed = |seal| inode.seals() & seal != 0;
        if (size < old && sealed(seal::SHRINK)) || (size > old && sealed(seal::GROW)) {
            return Err(Error::Eperm);
        }
        inode.set_i_size(size);
        if size <= old {
            let _guard = self.locks.mmap.lock();
            self.hugetlb_remove_pages(id, size >> HPAGE_SHIFT, u64::MAX >> HPAGE_SHIFT);
        }
        self.content_changed(id);
        Ok(())
    }

    /// `fallocate`: as [`Memory::shmem_fallocate`]. What a failing call added stays.
    ///
    /// # Errors
    /// [`Error::Eopnotsupp`], [`Error::Eperm`], [`Error::Eintr`]; [`Error::Enospc`] when the pool has no more, [`Error::Enomem`].
    pub(crate) fn hugetlb_fallocate(&self, id: InodeId, mode: u32, offset: u64, len: u64) -> Result<(), Error> {
        let end = offset + len;
        let inode = self.inode(id);
        if mode == falloc::KEEP_SIZE | falloc::PUNCH_HOLE {
            return self.hugetlb_punch_hole(id, offset, end);
        }
        if mode & !falloc::KEEP_SIZE != 0 {
            return Err(Error::Eopnotsupp);
        }
        if inode.seals() & seal::GROW != 0 && end > inode.i_size() {
            return Err(Error::Eperm);
        }
        for index in offset >> HPAGE_SHIFT..end.div_ceil(HPAGE_SIZE) {
            if self.platform.signal_pending() {
                return Err(Error::Eintr);
            }
            if self.huge_cached_at(id, index << HPAGE_ORDER).is_none() {
                self.hugetlb_fill_hole(id, index).map_err(|fault| match fault {
                    Fault::Oom => Error::Enomem,
                    _ => Error::Enospc,
                })?;
            }
        }
        if mode & falloc::KEEP_SIZE == 0 && end > inode.i_size() {
            inode.set_i_size(end);
        }
        self.content_changed(id);
        Ok(())
    }

    /// Frees the whole pages of `start..end`, and zeroes what it covers of others.
    ///
    /// # Errors
    /// [`Error::Eperm`] where a seal forbids it.
    fn hugetlb_punch_hole(&self, id: InodeId, start: u64, end: u64) -> Result<(), Error> {
        if self.inode(id).seals() & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Error::Eperm);
        }
        let _guard = self.locks.mmap.lock();
        self.hugetlb_punch_locked(id, start, end);
        self.content_changed(id);
        Ok(())
    }

    /// As [`Memory::hugetlb_punch_hole`], with the `mmap_lock`.
    pub(super) fn hugetlb_punch_locked(&self, id: InodeId, start: u64, end: u64) {
        let (first, past) = (start.div_ceil(HPAGE_SIZE), end >> HPAGE_SHIFT);
        self.hugetlb_zero(id, start, end.min(first << HPAGE_SHIFT));
        if first < past {
            self.hugetlb_remove_pages(id, first, past);
        }
        if first <= past {
            self.hugetlb_zero(id, past << HPAGE_SHIFT, end);
        }
    }

    /// Zeroes bytes `start..end` of one page, if the object has that page.
    fn hugetlb_zero(&self, id: InodeId, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let Some(head) = self.huge_cached_at(id, start >> PAGE_SHIFT) else {
            return;
        };
        let mut at = start;
        while at < end {
            let page_end = end.min((at >> PAGE_SHIFT << PAGE_SHIFT) + (1 << PAGE_SHIFT));
            let pfn = head.offset((at >> PAGE_SHIFT) as u32 & (HPAGE_PAGES - 1));
            let offset = (at & ((1 << PAGE_SHIFT) - 1)) as usize;
            self.platform.clear_bytes(pfn, offset, (page_end - at) as usize);
            at = page_end;
        }
    }

    /// Makes a hole of pages `first..end` (huge indices) of an object: they are unmapped everywhere, private copies included, and go; what was
    /// promised there, too. Source: Linux `remove_inode_hugepages`, `hugetlb_unreserve_pages`.
    fn hugetlb_remove_pages(&self, id: InodeId, first: u64, end: u64) {
        let (low, high) = (first << HPAGE_ORDER, (end << HPAGE_ORDER) - 1);
        for vma_id in self.i_mmap(id).overlapping(low..=high) {
            let vma = self.vma(vma_id);
            let Some(mm) = vma.vm_mm().map(|mm| self.mm(mm)) else {
                continue;
            };
            let from = low.max(vma.vm_pgoff());
            let to = (high + 1).min(vma.last_page_index() + 1);
            let at = |index: u64| vma.vm_start().offset((index - vma.vm_pgoff()) << PAGE_SHIFT);
            self.hugetlb_zap_range(mm, vma, at(from)..at(to));
        }
        let inode = self.inode(id);
        let mut freed = 0;
        inode.i_pages().erase_range(self, low, high, |_, entry| {
            if let Some(head) = entry.as_page() {
                freed += 1;
                self.page(head).mapping.set(0);
                inode.set_nrpages(inode.nrpages() - PAGES);
                inode.set_alloced(inode.alloced() - PAGES);
                self.put_page(head);
            }
        });
        let known = self.region_del(id, first..end);
        self.hugetlb_unacct_memory(known - freed);
    }

    /// An object that nobody refers to has no pages, and is promised none; a reservation map is empty.
    pub(crate) fn hugetlb_evict_inode(&self, id: InodeId) {
        let all = u64::MAX >> HPAGE_SHIFT;
        if self.inode(id).i_flags() & inode_flag::RESV_MAP != 0 {
            self.region_del(id, 0..all);
        } else {
            self.hugetlb_remove_pages(id, 0, all);
        }
    }

    /// Whether a page is one of the pool.
    pub(crate) fn is_hugetlb_page(&self, head: Pfn) -> bool {
        self.page(head).has(flag::HUGETLB)
    }

    /// The flags of a mapping of an object of huge pages: they are not locked, since they stay anyway. Source: Linux `hugetlbfs_file_mmap`.
    pub(super) fn hugetlb_vm_flags(vm_flags: u64) -> u64 {
        vm_flags & !(vm::LOCKED | vm::LOCKONFAULT) | vm::HUGETLB | vm::DONTEXPAND
    }
}
