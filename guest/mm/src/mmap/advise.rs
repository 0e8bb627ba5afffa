//! What a program knows about its use of memory. Source: Linux, mm/madvise.c. Rules B32, B33, F30. Differs from Linux: of the advice
//! that changes something, `MADV_DONTNEED` and `MADV_PAGEOUT` so far.

use core::ops::Range;

use super::TASK_SIZE;
use crate::addr::{VirtAddr, page_align};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::find_vma;

/// Advice. Source: madvise(2).
mod advice {
    pub(super) const NORMAL: i32 = 0;
    pub(super) const RANDOM: i32 = 1;
    pub(super) const SEQUENTIAL: i32 = 2;
    pub(super) const DONTNEED: i32 = 4;
    pub(super) const PAGEOUT: i32 = 21;
}

impl<P: Platform> Memory<P> {
    /// `madvise`. Mapped parts of a range with gaps are advised before the error is returned.
    ///
    /// # Errors
    /// As madvise(2). Rule B32.
    pub fn do_madvise(&self, mm_id: MmId, addr: u64, len: u64, advice: i32) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        if !matches!(
            advice,
            advice::NORMAL | advice::RANDOM | advice::SEQUENTIAL | advice::DONTNEED | advice::PAGEOUT
        ) {
            return Err(Error::Einval);
        }
        let mut start = VirtAddr(addr);
        let len = page_align(len).ok_or(Error::Einval)?;
        let end = VirtAddr(addr.checked_add(len).ok_or(Error::Einval)?);
        if !start.is_page_aligned() {
            return Err(Error::Einval);
        }
        let mut gap = end.0 > TASK_SIZE;
        while start < end {
            let Some(id) = find_vma(self, mm, start) else {
                gap = true;
                break;
            };
            let vma = self.vma(id);
            gap |= vma.vm_start() > start;
            let part = start.max(vma.vm_start())..end.min(vma.vm_end());
            if part.start < part.end {
                self.madvise_vma(mm, id, part.clone(), advice)?;
            }
            start = vma.vm_end();
        }
        if gap { Err(Error::Enomem) } else { Ok(()) }
    }

    fn madvise_vma(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>, advice: i32) -> Result<(), Error> {
        let vma = self.vma(id);
        match advice {
            advice::DONTNEED | advice::PAGEOUT if vma.vm_flags() & (vm::LOCKED | vm::PFNMAP) != 0 => Err(Error::Einval),
            advice::DONTNEED => {
                self.zap_page_range(mm, id, range);
                Ok(())
            }
            advice::PAGEOUT => {
                self.madvise_pageout(mm, range);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Moves pages that only this address space maps out to swap. Source: Linux `madvise_cold_or_pageout_pte_range`.
    fn madvise_pageout(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_pte(mm.pgd(), range, |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) {
                let pfn = P::Pte::pfn(entry);
                if pfn.0 != self.zero_pfn.get() && self.page(pfn).mapcount.get() == 1 {
                    self.reclaim_page(pfn);
                }
            }
            true
        });
    }
}
