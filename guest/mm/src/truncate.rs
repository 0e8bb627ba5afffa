//! Pages of an object go while it stays. Source: Linux, mm/truncate.c, mm/shmem.c (`shmem_undo_range`), mm/memory.c
//! (`unmap_mapping_range`). Rules B34, B40.

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::shmem::InodeId;
use crate::swap::SwapSlot;

impl<P: Platform> Memory<P> {
    /// Makes a hole of pages `first..=last` of an object: they are unmapped everywhere and freed, in memory and in swap. Private
    /// copies of them stay with their owners. The caller holds the `mmap_lock`.
    pub(crate) fn shmem_punch_hole(&self, id: InodeId, first: u64, last: u64) {
        self.unmap_mapping_range(id, first, last);
        let inode = self.inode(id);
        inode.i_pages().erase_range(self, first, last, |_, entry| {
            inode.set_alloced(inode.alloced() - 1);
            match entry.as_page() {
                Some(pfn) => {
                    self.page_leaves_cache(inode, pfn);
                    self.put_page(pfn);
                }
                None => {
                    inode.set_swapped(inode.swapped() - 1);
                    self.swap_free(SwapSlot::of_entry(entry.as_value().unwrap_or(0)));
                }
            }
        });
    }

    /// Removes every entry that maps pages `first..=last` of an object.
    fn unmap_mapping_range(&self, id: InodeId, first: u64, last: u64) {
        let mut next = self.inode(id).i_mmap();
        while let Some(vma_id) = next {
            let vma = self.vma(vma_id);
            next = vma.i_mmap_next();
            let (low, high) = (vma.vm_pgoff(), vma.vm_pgoff() + vma.pages());
            let Some(mm_id) = vma.vm_mm() else { continue };
            if last < low || first >= high {
                continue;
            }
            let start = vma.vm_start().offset((first.max(low) - low) << PAGE_SHIFT);
            let end = vma
                .vm_start()
                .offset((last.saturating_add(1).min(high) - low) << PAGE_SHIFT);
            self.zap_shared(mm_id, start, end);
        }
    }

    /// Removes the entries of a range that map an object's pages; private copies stay.
    fn zap_shared(&self, mm_id: crate::vma::MmId, start: VirtAddr, end: VirtAddr) {
        let mm = self.mm(mm_id);
        self.for_each_pte(mm.pgd(), start..end, |addr, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) && !self.page(P::Pte::pfn(entry)).has(flag::ANON) {
                let pfn = P::Pte::pfn(entry);
                pte.set(0);
                self.platform.flush_tlb_page(mm.pgd(), addr);
                self.add_rss(mm, pfn, -1);
                self.page_remove_rmap(pfn);
                self.put_page(pfn);
            }
            true
        });
    }
}
