//! Mappings go. Source: Linux, mm/mmap.c (`do_munmap`, `unmap_region`), mm/memory.c (`zap_pte_range`). Rule B24.

use core::ops::Range;

use super::TASK_SIZE;
use crate::addr::{PAGE_SHIFT, VirtAddr, page_align};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::swap::SwapSlot;
use crate::sync::Word;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

/// Above so many pages, forgetting the whole TLB is cheaper than page by page. Source: Linux
/// `tlb_single_page_flush_ceiling`.
const TLB_SINGLE_PAGE_FLUSH_CEILING: u64 = 33;

/// Behind the last address that page tables of VMAs are for: beyond the last VMA, nothing needs the tables that it does not.
const TABLES_END: VirtAddr = VirtAddr(TASK_SIZE + (1 << PAGE_SHIFT));

impl<P: Platform> Memory<P> {
    /// `munmap`: whatever is mapped in `len` bytes from `addr` on goes; parts of mappings are cut off.
    ///
    /// # Errors
    /// As munmap(2). Rule B24.
    pub fn do_munmap(&self, mm_id: MmId, addr: u64, len: u64) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let len = page_align(len).filter(|&len| len != 0).ok_or(Error::Einval)?;
        let start = VirtAddr(addr);
        if !start.is_page_aligned() || addr.checked_add(len).is_none_or(|end| end > TASK_SIZE) {
            return Err(Error::Einval);
        }
        self.do_munmap_locked(self.mm(mm_id), start, start.offset(len))
    }

    pub(crate) fn do_munmap_locked(&self, mm: MmStruct<'_>, start: VirtAddr, end: VirtAddr) -> Result<(), Error> {
        let Some(mut first) = find_vma(self, mm, start) else {
            return Ok(());
        };
        if self.vma(first).vm_start() >= end {
            return Ok(());
        }
        // Cuts come first: they are what can fail, and nothing is lost yet.
        let vma = self.vma(first);
        let in_the_middle = vma.vm_start() < start && end < vma.vm_end();
        if in_the_middle {
            if mm.map_count() + 1 >= self.max_map_count() {
                return Err(Error::Enomem);
            }
            self.split_vma(mm, first, end)?;
        }
        if self.unmap_edge(mm, first, start..end) {
            return Ok(());
        }
        if vma.vm_start() < start {
            match self.split_vma(mm, first, start) {
                Ok(upper) => first = upper,
                Err(error) => {
                    self.merge_around(mm, first);
                    return Err(error);
                }
            }
        }
        if self.vma(first).vm_end() != end
            && let Some(last) = find_vma(self, mm, VirtAddr(end.0 - 1))
            && self.vma(last).vm_start() < end
            && self.vma(last).vm_end() > end
            && let Err(error) = self.split_vma(mm, last, end)
        {
            self.merge_around(mm, first);
            return Err(error);
        }
        self.unmap_region(mm, first, end);
        Ok(())
    }

    /// Unmaps `range` where it is the first or the last part of one VMA and of nothing else: the VMA shrinks, and none comes or goes. `false`
    /// where more is to be done: segments count the VMAs that a cut makes, and locked pages their VMA's length.
    fn unmap_edge(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>) -> bool {
        let vma = self.vma(id);
        let (start, end) = (vma.vm_start(), vma.vm_end());
        let neighbour = if range.start <= start {
            vma.vm_prev()
        } else {
            vma.vm_next()
        };
        let (part, rest, bounds) = if range.start <= start && range.end < end {
            let floor = neighbour.map_or(VirtAddr(0), |prev| self.vma(prev).vm_end());
            (start..range.end, range.end..end, floor..range.end)
        } else if range.start > start && range.end >= end {
            let ceiling = neighbour.map_or(TABLES_END, |next| self.vma(next).vm_start());
            if ceiling < range.end {
                return false;
            }
            (range.start..end, start..range.start, range.start..ceiling)
        } else {
            return false;
        };
        if vma.shm().is_some() || vma.vm_flags() & (vm::LOCKED | vm::HUGETLB) != 0 {
            return false;
        }
        self.zap_page_range(mm, id, part.clone());
        let pages = (part.end.0 - part.start.0) >> PAGE_SHIFT;
        self.vma_adjust(mm, id, rest.start, rest.end, vma.linear_page_index(rest.start));
        self.free_pgtables(mm, part, bounds);
        mm.set_total_vm(mm.total_vm() - pages);
        if vma.has(vm::ACCOUNT) {
            self.vm_unacct_memory(pages);
        }
        true
    }

    /// Removes one whole VMA with its pages and page tables, which cannot fail.
    pub(crate) fn unmap_vma(&self, mm: MmStruct<'_>, id: VmaId) {
        self.unmap_region(mm, id, self.vma(id).vm_end());
    }

    /// Removes VMAs from `first` on, as long as they begin before `end`, with their pages and page tables.
    pub(super) fn unmap_region(&self, mm: MmStruct<'_>, first: VmaId, end: VirtAddr) {
        let floor = self
            .vma(first)
            .vm_prev()
            .map_or(VirtAddr(0), |prev| self.vma(prev).vm_end());
        let mut after = Some(first);
        while let Some(id) = after
            && self.vma(id).vm_start() < end
        {
            self.munlock_vma(mm, self.vma(id));
            self.zap_vma(mm, id);
            after = self.vma(id).vm_next();
        }
        let ceiling = after.map_or(TABLES_END, |next| self.vma(next).vm_start());
        let mut next = Some(first);
        while let Some(id) = next
            && next != after
        {
            let vma = self.vma(id);
            next = vma.vm_next();
            // A table that the next VMA reaches into is left for it to free.
            let bound = next
                .filter(|_| next != after)
                .map_or(ceiling, |next| self.vma(next).vm_start());
            self.free_pgtables(mm, vma.vm_start()..vma.vm_end(), floor..bound);
            let pages = vma.pages();
            mm.set_total_vm(mm.total_vm() - pages);
            if vma.has(vm::ACCOUNT) {
                self.vm_unacct_memory(pages);
            }
            self.remove_vma(mm, id);
        }
    }

    /// Removes all pages of a VMA.
    fn zap_vma(&self, mm: MmStruct<'_>, id: VmaId) {
        let vma = self.vma(id);
        self.zap_page_range(mm, id, vma.vm_start()..vma.vm_end());
    }

    /// Removes the pages that a VMA maps in `range`. The TLB has forgotten them when this returns.
    pub(super) fn zap_page_range(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>) {
        let vma = self.vma(id);
        if vma.vm_flags() & (vm::PFNMAP | vm::HUGETLB) != 0 {
            return self.zap_special_range(mm, vma, range);
        }
        // A shared mapping maps pages of the cache only: where there are none, no table has to be searched.
        let no_pages = |file| self.inode(file).nrpages() == 0;
        if vma.has(vm::SHARED) && vma.vm_file().is_some_and(no_pages) {
            return;
        }
        if self.has_leaves() {
            self.zap_leaves(mm, range.clone());
        }
        let pgd = mm.pgd();
        // Two loops, since most entries hold nothing: looking at those is to be cheap.
        if (range.end.0 - range.start.0) >> PAGE_SHIFT <= TLB_SINGLE_PAGE_FLUSH_CEILING {
            self.for_each_pte(pgd, range, |addr, pte| {
                if P::Pte::is_present(pte.get()) {
                    self.platform.flush_tlb_page(pgd, addr);
                }
                self.zap_pte(mm, pte);
                true
            });
        } else {
            let mut present = 0;
            self.for_each_pte(pgd, range, |_, pte| {
                present += u64::from(P::Pte::is_present(pte.get()));
                self.zap_pte(mm, pte);
                true
            });
            if present != 0 {
                self.platform.flush_tlb_mm(pgd);
            }
        }
        if self.has_partly_mapped() {
            self.split_partly_mapped();
        }
    }

    /// [`Memory::zap_page_range`] for device memory, whose pages are nobody's, and for a whole VMA of huge pages that is about to go.
    #[cold]
    #[inline(never)]
    fn zap_special_range(&self, mm: MmStruct<'_>, vma: VmArea<'_>, range: Range<VirtAddr>) {
        if vma.has(vm::HUGETLB) {
            return self.hugetlb_unmap_vma(mm, vma);
        }
        self.for_each_pte(mm.pgd(), range, |_, pte| {
            pte.set(0);
            true
        });
        self.platform.flush_tlb_mm(mm.pgd());
    }

    /// Empties an entry and drops what it held. Not inlined: most entries of a range hold nothing, and looking at those is to be cheap.
    #[inline(never)]
    pub(crate) fn zap_pte(&self, mm: MmStruct<'_>, pte: &Word) {
        let entry = pte.get();
        pte.set(0);
        if !P::Pte::is_present(entry) {
            return self.zap_swap_pte(mm, entry);
        }
        let pfn = P::Pte::pfn(entry);
        if pfn.0 == self.zero_pfn.get() {
            return;
        }
        self.add_rss(mm, pfn, -1);
        self.page_remove_rmap(pfn);
        if self.page(pfn).has(crate::page::flag::UNEVICTABLE) {
            self.munlock_page(pfn);
        }
        self.put_anon_or_file(pfn);
    }

    /// Drops what an entry that is gone named: a slot, or a page that is lost.
    #[cold]
    #[inline(never)]
    fn zap_swap_pte(&self, mm: MmStruct<'_>, entry: u64) {
        if let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(entry)) {
            mm.set_swapents(mm.swapents() - 1);
            self.swap_free(slot);
        }
    }

    /// Drops a mapping's reference; the last mapping of an anonymous page takes its slot in swap along.
    fn put_anon_or_file(&self, pfn: crate::addr::Pfn) {
        let page = self.page(pfn);
        if page.has(crate::page::flag::SWAPCACHE) && page.mapcount.get() == 0 && page.refcount.get() == 2 {
            self.try_to_free_swap(pfn);
        }
        self.put_page(pfn);
    }
}
