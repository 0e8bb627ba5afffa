//! Pages of an object go while it stays. Source: Linux, mm/truncate.c, mm/shmem.c (`shmem_undo_range`), mm/memory.c
//! (`unmap_mapping_range`). Rules B34, B40.

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::shmem::{InodeId, inode_flag};

/// Which entries of private mappings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cows {
    /// Private copies stay with their owners.
    Stay,
    /// Private copies go, too: the object ends before them.
    Go,
}

impl<P: Platform> Memory<P> {
    /// Makes a hole of pages `first..=last` of an object: they are unmapped everywhere and freed, in memory and in swap. The caller holds
    /// the `mmap_lock`. Rule B40.
    pub(crate) fn shmem_remove_pages(&self, id: InodeId, first: u64, last: u64, cows: Cows) {
        self.unmap_mapping_range(id, first, last, cows);
        let inode = self.inode(id);
        let (mut first, mut last) = (first, last);
        if inode.i_flags() & inode_flag::HUGE != 0 {
            (first, last) = self.split_for_hole(id, first, last);
            if first > last || last == u64::MAX {
                return;
            }
        }
        let before = inode.alloced();
        inode
            .i_pages()
            .erase_range(self, first, last, |_, entry| match entry.as_page() {
                Some(pfn) => {
                    self.page_leaves_cache(inode, pfn);
                    self.put_page(pfn);
                }
                None => self.shmem_drop_value(inode, entry),
            });
        // Pages that were lost are not among them any more.
        inode.set_alloced(inode.nrpages() + inode.swapped());
        let gone = before - inode.alloced();
        self.shmem_unacct_blocks(id, gone);
        self.uncharge_blocks(inode, gone);
    }

    /// Removes every entry that maps pages `first..=last` of an object.
    fn unmap_mapping_range(&self, id: InodeId, first: u64, last: u64, cows: Cows) {
        for vma_id in self.i_mmap(id).overlapping(first..=last) {
            let vma = self.vma(vma_id);
            let (low, high) = (vma.vm_pgoff(), vma.vm_pgoff() + vma.pages());
            let Some(mm_id) = vma.vm_mm() else { continue };
            let start = vma.vm_start().offset((first.max(low) - low) << PAGE_SHIFT);
            let end = vma
                .vm_start()
                .offset((last.saturating_add(1).min(high) - low) << PAGE_SHIFT);
            self.zap_entries(mm_id, start, end, cows);
        }
    }

    /// Removes the entries of a range that map an object's pages, and those of private copies if they are to go.
    fn zap_entries(&self, mm_id: crate::vma::MmId, start: VirtAddr, end: VirtAddr, cows: Cows) {
        let mm = self.mm(mm_id);
        if self.has_leaves() {
            // An object's leaf maps no private copy; what lies beside the range is faulted in again.
            self.split_leaves(mm, start..end);
        }
        self.for_each_pte(mm.pgd(), start..end, |addr, pte| {
            let entry = pte.get();
            let present = P::Pte::is_present(entry);
            // What is not present is a private copy in swap.
            let copy = !present || self.page(P::Pte::pfn(entry)).has(flag::ANON);
            if !copy || cows == Cows::Go {
                self.zap_pte(mm, pte);
                if present {
                    self.platform.flush_tlb_page(mm.pgd(), addr);
                }
            }
            true
        });
    }
}
