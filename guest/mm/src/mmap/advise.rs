//! What a program knows about its use of memory. Source: Linux, mm/madvise.c. Rules B32 to B35, F30. Differs from Linux:
//! `MADV_FREE` frees at once, as Linux may at any time; `MADV_WILLNEED` reads nothing ahead.

use core::ops::Range;

use crate::addr::{PAGE_SHIFT, VirtAddr, page_align};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::shmem::{MAX_INDEX, seal};
use crate::truncate::Cows;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

/// Advice. Source: madvise(2).
pub mod advice {
    /// No special treatment.
    pub const NORMAL: i32 = 0;
    /// Page references in random order.
    pub const RANDOM: i32 = 1;
    /// In sequential order.
    pub const SEQUENTIAL: i32 = 2;
    /// Soon.
    pub const WILLNEED: i32 = 3;
    /// Not soon: private content is lost.
    pub const DONTNEED: i32 = 4;
    /// Private content is no longer needed.
    pub const FREE: i32 = 8;
    /// The object's content is no longer needed.
    pub const REMOVE: i32 = 9;
    /// Not for children.
    pub const DONTFORK: i32 = 10;
    /// Undoes `DONTFORK`.
    pub const DOFORK: i32 = 11;
    /// Huge pages would be good.
    pub const HUGEPAGE: i32 = 14;
    /// They would not.
    pub const NOHUGEPAGE: i32 = 15;
    /// Not in core dumps.
    pub const DONTDUMP: i32 = 16;
    /// Undoes `DONTDUMP`.
    pub const DODUMP: i32 = 17;
    /// Children see zeroes.
    pub const WIPEONFORK: i32 = 18;
    /// Undoes `WIPEONFORK`.
    pub const KEEPONFORK: i32 = 19;
    /// Candidates for reclaim.
    pub const COLD: i32 = 20;
    /// Reclaim now.
    pub const PAGEOUT: i32 = 21;
    /// Fault in for reading.
    pub const POPULATE_READ: i32 = 22;
    /// Fault in for writing.
    pub const POPULATE_WRITE: i32 = 23;
    /// As `DONTNEED`, locked or not.
    pub const DONTNEED_LOCKED: i32 = 24;

    /// Whether it means anything.
    pub(super) const fn is_known(advice: i32) -> bool {
        matches!(advice, NORMAL..=DONTNEED | FREE..=DOFORK | HUGEPAGE..=DONTNEED_LOCKED)
    }
}

impl<P: Platform> Memory<P> {
    /// `madvise`. Mapped parts of a range with gaps are advised before the error is returned.
    ///
    /// # Errors
    /// As madvise(2). Rules B32 to B35.
    pub fn do_madvise(&self, mm_id: MmId, addr: u64, len: u64, advice: i32) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        if !advice::is_known(advice) {
            return Err(Error::Einval);
        }
        let start = VirtAddr(addr);
        let len = page_align(len).ok_or(Error::Einval)?;
        let end = VirtAddr(addr.checked_add(len).ok_or(Error::Einval)?);
        if !start.is_page_aligned() {
            return Err(Error::Einval);
        }
        match advice {
            advice::POPULATE_READ => return self.madvise_populate(mm, start..end, Access::Read),
            advice::POPULATE_WRITE => return self.madvise_populate(mm, start..end, Access::Write),
            _ => {}
        }
        self.for_each_mapped_part(mm, start..end, |id, part| self.madvise_vma(mm, id, part, advice))
    }

    fn madvise_vma(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>, advice: i32) -> Result<(), Error> {
        let vma = self.vma(id);
        if vma.has(vm::HUGETLB)
            && let Some(done) = self.hugetlb_madvise(mm, id, &range, advice)
        {
            return done;
        }
        let held = vma.vm_flags() & (vm::LOCKED | vm::PFNMAP) != 0;
        match advice {
            advice::DONTNEED | advice::FREE | advice::PAGEOUT | advice::COLD if held => Err(Error::Einval),
            advice::DONTNEED_LOCKED if vma.has(vm::PFNMAP) => Err(Error::Einval),
            advice::FREE if vma.vm_file().is_some() => Err(Error::Einval),
            advice::DONTNEED | advice::DONTNEED_LOCKED | advice::FREE => {
                self.zap_page_range(mm, id, range);
                Ok(())
            }
            advice::PAGEOUT => {
                self.madvise_pageout(mm, range);
                Ok(())
            }
            advice::COLD => {
                self.madvise_cold(mm, range);
                Ok(())
            }
            advice::REMOVE => self.madvise_remove(vma, &range),
            _ => self.madvise_flags(mm, id, range, advice),
        }
    }

    /// Advice that is remembered. Source: Linux `madvise_vma_behavior`.
    fn madvise_flags(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>, advice: i32) -> Result<(), Error> {
        let vma = self.vma(id);
        let old = vma.vm_flags();
        let new = match advice {
            advice::NORMAL => old & !(vm::RAND_READ | vm::SEQ_READ),
            advice::RANDOM => old & !vm::SEQ_READ | vm::RAND_READ,
            advice::SEQUENTIAL => old & !vm::RAND_READ | vm::SEQ_READ,
            advice::DONTFORK => old | vm::DONTCOPY,
            advice::DOFORK if vma.has(vm::PFNMAP) => return Err(Error::Einval),
            advice::DOFORK => old & !vm::DONTCOPY,
            advice::DONTDUMP => old | vm::DONTDUMP,
            advice::DODUMP => old & !vm::DONTDUMP,
            advice::WIPEONFORK if vma.vm_file().is_some() || old & (vm::SHARED | vm::PFNMAP) != 0 => {
                return Err(Error::Einval);
            }
            advice::WIPEONFORK => old | vm::WIPEONFORK,
            advice::KEEPONFORK => old & !vm::WIPEONFORK,
            // Rule G1.
            advice::HUGEPAGE | advice::NOHUGEPAGE if vma.has(vm::PFNMAP) => return Err(Error::Einval),
            advice::HUGEPAGE => old & !vm::NOHUGEPAGE | vm::HUGEPAGE,
            advice::NOHUGEPAGE => old & !vm::HUGEPAGE | vm::NOHUGEPAGE,
            _ => old,
        };
        if new != old {
            // Source: Linux `madvise_vma_behavior`.
            let refused = |error| if error == Error::Enomem { Error::Eagain } else { error };
            let id = self.vma_with_flags(mm, id, range, new).map_err(refused)?;
            self.merge_around(mm, id);
        }
        Ok(())
    }

    /// Gives the part of a VMA other flags; returns the VMA of that part, which may now have to be merged.
    pub(super) fn vma_with_flags(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        part: Range<VirtAddr>,
        flags: u64,
    ) -> Result<VmaId, Error> {
        if let Some(grown) = self.shift_boundary(id, part.start, part.end, flags) {
            self.move_boundary(mm, id, grown, part);
            return Ok(grown);
        }
        let id = self.cut_out(mm, id, part)?;
        self.vma(id).set_vm_flags(flags);
        Ok(id)
    }

    /// Makes a hole in the object behind a shared mapping that could be written. Rule B34.
    fn madvise_remove(&self, vma: VmArea<'_>, range: &Range<VirtAddr>) -> Result<(), Error> {
        if vma.has(vm::LOCKED) {
            return Err(Error::Einval);
        }
        let file = vma.vm_file().ok_or(Error::Einval)?;
        if !vma.has(vm::SHARED | vm::MAYWRITE) {
            return Err(Error::Eacces);
        }
        let first = vma.linear_page_index(range.start);
        let pages = (range.end.0 - range.start.0) >> PAGE_SHIFT;
        // From here on as `fallocate`; the mapping is reason enough to be allowed to write. Source: Linux `vfs_fallocate`, `shmem_fallocate`.
        if first > MAX_INDEX {
            return Err(Error::Einval);
        }
        if first + pages > MAX_INDEX {
            return Err(Error::Efbig);
        }
        if self.seals(file) & (seal::WRITE | seal::FUTURE_WRITE) != 0 {
            return Err(Error::Eperm);
        }
        self.shmem_remove_pages(file, first, first + pages - 1, Cows::Stay);
        self.content_changed(file);
        Ok(())
    }

    /// Faults a range in, or says why it cannot be. Source: Linux `madvise_populate`. Rule B35.
    fn madvise_populate(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, access: Access) -> Result<(), Error> {
        let mut addr = range.start;
        while addr < range.end {
            let id = find_vma(self, mm, addr)
                .filter(|&id| self.vma(id).vm_start() <= addr)
                .ok_or(Error::Enomem)?;
            // What the processor would let pass is not enough. Source: Linux `check_vma_flags`.
            let needed = if access == Access::Write { vm::WRITE } else { vm::READ };
            if self.vma(id).has(vm::PFNMAP) || !self.vma(id).has(needed) {
                return Err(Error::Einval);
            }
            match self.fault_in(mm, id, addr, access) {
                Ok(()) => {}
                Err(Fault::SegvMaperr) => return Err(Error::Enomem),
                Err(Fault::SegvAccerr) => return Err(Error::Einval),
                Err(Fault::BusAdrerr | Fault::Userfault | Fault::Retry) => return Err(Error::Efault),
                Err(Fault::Oom) => return Err(Error::Enomem),
            }
            addr = addr.offset(self.vma(id).page_size());
        }
        Ok(())
    }

    /// Moves pages that only this address space maps out to swap. Source: Linux `madvise_cold_or_pageout_pte_range`.
    fn madvise_pageout(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        if self.has_leaves() {
            self.pageout_leaves(mm, range.clone());
        }
        self.for_each_pte(mm.pgd(), range, |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) {
                let pfn = P::Pte::pfn(entry);
                if self.is_compound(pfn) && !self.split_huge_page(self.compound_head(pfn), 0) {
                    return true;
                }
                if pfn.0 != self.zero_pfn.get() && self.page(pfn).mapcount.get() == 1 {
                    self.reclaim_page(pfn);
                }
            }
            true
        });
    }

    /// Makes pages that only this address space maps the next to be reclaimed. Source: as for `madvise_pageout`.
    fn madvise_cold(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_pte(mm.pgd(), range, |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) && P::Pte::pfn(entry).0 != self.zero_pfn.get() {
                let pfn = P::Pte::pfn(entry);
                let page = self.page(pfn);
                if page.mapcount.get() == 1 && page.has(flag::LRU) && !page.has(flag::UNEVICTABLE) {
                    pte.set(P::Pte::mkold(entry));
                    self.lru_del(pfn);
                    page.clear_flags(flag::ACTIVE | flag::REFERENCED);
                    self.lru_add(pfn);
                }
            }
            true
        });
    }
}
