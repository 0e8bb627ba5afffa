//! What is in memory, and what is on the disk: `mincore` and `msync`. Source: Linux, mm/mincore.c, mm/msync.c. Rules B29, B30.

use crate::addr::{PAGE_SHIFT, VirtAddr, page_align_wrapping};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::swap::SwapSlot;
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::find_vma;

/// `MS_*` of `msync`. Source: msync(2).
mod sync_flag {
    pub(super) const ASYNC: u64 = 1;
    pub(super) const INVALIDATE: u64 = 2;
    pub(super) const SYNC: u64 = 4;
}

impl<P: Platform> Memory<P> {
    /// `mincore` for the pages from `addr` (page-aligned) on: 1 in `resident` for each that is in memory, else 0. For objects that is
    /// their page cache, whatever this address space maps.
    ///
    /// # Errors
    /// [`Error::Enomem`] where nothing is mapped. Rule B30.
    pub fn do_mincore(&self, mm_id: MmId, addr: u64, resident: &mut [u8]) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        for (page, byte) in resident.iter_mut().enumerate() {
            let at = VirtAddr(addr).offset((page as u64) << PAGE_SHIFT);
            let id = find_vma(self, mm, at)
                .filter(|&id| self.vma(id).vm_start() <= at)
                .ok_or(Error::Enomem)?;
            *byte = u8::from(self.is_resident(mm, id, at));
        }
        Ok(())
    }

    fn is_resident(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr) -> bool {
        let entry = self.entry_at(mm.pgd(), addr);
        if P::Pte::is_present(entry) {
            return true;
        }
        if entry != 0 {
            return self.is_in_swap_cache(P::Pte::swap_entry(entry));
        }
        let vma = self.vma(id);
        // Source: Linux `mincore_hugetlb`.
        if vma.has(vm::HUGETLB) && self.pmd(mm.pgd(), addr).0.is_some() {
            return false;
        }
        let Some(file) = vma.vm_file() else { return false };
        let cached = self.filemap_get_entry(self.inode(file), vma.linear_page_index(addr));
        match cached.as_value() {
            Some(value) => self.is_in_swap_cache(value),
            None => cached
                .as_page()
                .is_some_and(|pfn| self.page(self.compound_head(pfn)).has(flag::UPTODATE)),
        }
    }

    /// Whether what names a slot, or a lost page, has its content in memory.
    fn is_in_swap_cache(&self, entry: u64) -> bool {
        SwapSlot::of_entry(entry).is_some_and(|slot| self.lookup_swap_cache(slot).is_some())
    }

    /// `msync`: nothing here has a disk of its own, so only the range is checked.
    ///
    /// # Errors
    /// As msync(2). Rule B29.
    pub fn do_msync(&self, mm_id: MmId, addr: u64, len: u64, flags: u64) -> Result<(), Error> {
        const KNOWN: u64 = sync_flag::ASYNC | sync_flag::INVALIDATE | sync_flag::SYNC;
        let both = sync_flag::ASYNC | sync_flag::SYNC;
        let start = VirtAddr(addr);
        if flags & !KNOWN != 0 || flags & both == both || !start.is_page_aligned() {
            return Err(Error::Einval);
        }
        let len = page_align_wrapping(len);
        let end = VirtAddr(addr.checked_add(len).ok_or(Error::Enomem)?);
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        self.for_each_mapped_part(mm, start..end, |id, _| {
            let locked = flags & sync_flag::INVALIDATE != 0 && self.vma(id).has(vm::LOCKED);
            if locked { Err(Error::Ebusy) } else { Ok(()) }
        })
    }
}
