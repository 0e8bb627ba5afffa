//! Pages that stay in memory, and pages that come before they are used. Source: Linux, mm/mlock.c, mm/gup.c (`__mm_populate`).
//! Rules B14, B15, B31, F30.
//!
//! A page is unevictable while a VMA with [`vm::LOCKED`] maps it: `mlock` moves what is resident to that list, a fault does not (it
//! would pay for it on every fault); reclaim finds those pages, and moves them there then. The last locked VMA that lets a page go
//! moves it back.

use core::ops::Range;

use super::TASK_SIZE;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, page_align_wrapping};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::rmap::Walk;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

/// Flags of `mlock2` and `mlockall`. Source: mlock(2).
pub mod lock_flag {
    /// `mlock2`: pages are locked as they are used.
    pub const ONFAULT: u64 = 1;
    /// `mlockall`: what is mapped now.
    pub const MCL_CURRENT: u64 = 1;
    /// `mlockall`: what will be mapped.
    pub const MCL_FUTURE: u64 = 2;
    /// `mlockall`: as they are used.
    pub const MCL_ONFAULT: u64 = 4;
}

/// The bits of `mlock` in a VMA.
const LOCK_BITS: u64 = vm::LOCKED | vm::LOCKONFAULT;

impl<P: Platform> Memory<P> {
    /// `mlock2`: keeps the pages of a range in memory, from now or (`LOCK_ONFAULT`) from their first use on.
    ///
    /// # Errors
    /// As mlock(2); a page that cannot be had is [`Error::Enomem`], or [`Error::Eagain`] for want of memory, and the range is locked all the
    /// same. Rule B31.
    pub fn do_mlock(&self, mm_id: MmId, addr: u64, len: u64, flags: u64) -> Result<(), Error> {
        if flags & !lock_flag::ONFAULT != 0 {
            return Err(Error::Einval);
        }
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        self.can_do_mlock(mm)?;
        let onfault = flags & lock_flag::ONFAULT != 0;
        let range = lock_range(addr, len)?;
        self.may_lock(mm, &range)?;
        let bits = vm::LOCKED | if onfault { vm::LOCKONFAULT } else { 0 };
        self.apply_lock(mm, range.clone(), bits)?;
        if onfault {
            return Ok(());
        }
        // Source: Linux `__mlock_posix_error_return`.
        self.populate(mm, range).map_err(|fault| match fault {
            Fault::Oom => Error::Eagain,
            _ => Error::Enomem,
        })
    }

    /// `munlock`.
    ///
    /// # Errors
    /// As munlock(2). Rule B31.
    pub fn do_munlock(&self, mm_id: MmId, addr: u64, len: u64) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        self.apply_lock(self.mm(mm_id), lock_range(addr, len)?, 0)
    }

    /// `mlockall`.
    ///
    /// # Errors
    /// [`Error::Einval`] for flags that are 0, unknown, or say only `MCL_ONFAULT`. Rule B31.
    pub fn do_mlockall(&self, mm_id: MmId, flags: u64) -> Result<(), Error> {
        const KNOWN: u64 = lock_flag::MCL_CURRENT | lock_flag::MCL_FUTURE | lock_flag::MCL_ONFAULT;
        if flags & !KNOWN != 0 || flags & (lock_flag::MCL_CURRENT | lock_flag::MCL_FUTURE) == 0 {
            return Err(Error::Einval);
        }
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        self.can_do_mlock(mm)?;
        if flags & lock_flag::MCL_CURRENT != 0 && mm.total_vm() > mm.rlimit_memlock() >> PAGE_SHIFT {
            return Err(Error::Enomem);
        }
        let onfault = flags & lock_flag::MCL_ONFAULT != 0;
        let bits = vm::LOCKED | if onfault { vm::LOCKONFAULT } else { 0 };
        mm.set_def_flags(if flags & lock_flag::MCL_FUTURE != 0 { bits } else { 0 });
        if flags & lock_flag::MCL_CURRENT != 0 {
            self.apply_lock_all(mm, bits)?;
            if !onfault {
                self.populate_ignoring_errors(mm, VirtAddr(0)..VirtAddr(TASK_SIZE));
            }
        }
        Ok(())
    }

    /// `munlockall`.
    ///
    /// # Errors
    /// [`Error::Enomem`] when VMAs cannot be merged for want of memory; in practice never.
    pub fn do_munlockall(&self, mm_id: MmId) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        mm.set_def_flags(0);
        self.apply_lock_all(mm, 0)
    }

    /// Pages of an address space's locked mappings, in pages. Source: Linux `VmLck`.
    pub fn mm_locked(&self, mm_id: MmId) -> u64 {
        self.mm(mm_id).locked_vm()
    }

    fn apply_lock_all(&self, mm: MmStruct<'_>, bits: u64) -> Result<(), Error> {
        let mut next = mm.mmap();
        while let Some(id) = next {
            let end = self.vma(id).vm_end();
            self.mlock_fixup(mm, id, self.vma(id).vm_start()..end, bits)?;
            next = find_vma(self, mm, end);
        }
        Ok(())
    }

    /// Sets the lock bits of a range, up to a gap. Source: Linux `apply_vma_lock_flags`.
    fn apply_lock(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, bits: u64) -> Result<(), Error> {
        let mut start = range.start;
        while start < range.end {
            let id = find_vma(self, mm, start)
                .filter(|&id| self.vma(id).vm_start() <= start)
                .ok_or(Error::Enomem)?;
            let end = self.vma(id).vm_end().min(range.end);
            self.mlock_fixup(mm, id, start..end, bits)?;
            start = end;
        }
        Ok(())
    }

    fn mlock_fixup(&self, mm: MmStruct<'_>, id: VmaId, part: Range<VirtAddr>, bits: u64) -> Result<(), Error> {
        let vma = self.vma(id);
        // Device pages are in memory anyway.
        if vma.vm_flags() & LOCK_BITS == bits || vma.vm_flags() & (vm::PFNMAP | vm::HUGETLB) != 0 {
            return Ok(());
        }
        let (was, is) = (vma.has(vm::LOCKED), bits != 0);
        let id = self.vma_with_flags(mm, id, part.clone(), vma.vm_flags() & !LOCK_BITS | bits)?;
        let pages = (part.end.0 - part.start.0) >> PAGE_SHIFT;
        match (was, is) {
            (false, true) => mm.set_locked_vm(mm.locked_vm() + pages),
            (true, false) => mm.set_locked_vm(mm.locked_vm() - pages),
            _ => {}
        }
        if is {
            self.mlock_resident(mm, part);
        } else {
            self.munlock_resident(mm, part);
        }
        self.merge_around(mm, id);
        Ok(())
    }

    /// A VMA that goes keeps no page in memory. To be called before its pages are unmapped, each of which then looks for others
    /// that keep it.
    pub(super) fn munlock_vma(&self, mm: MmStruct<'_>, vma: VmArea<'_>) {
        if vma.has(vm::LOCKED) {
            mm.set_locked_vm(mm.locked_vm() - vma.pages());
            vma.set_vm_flags(vma.vm_flags() & !LOCK_BITS);
        }
    }

    /// What a locked VMA maps already is not to be reclaimed.
    fn mlock_resident(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_resident(mm, range, |pfn| {
            let page = self.page(pfn);
            if page.has(flag::LRU) && !page.has(flag::UNEVICTABLE) {
                self.lru_del(pfn);
                page.clear_flags(flag::ACTIVE);
                page.set_flags(flag::UNEVICTABLE);
                self.lru_add(pfn);
            }
        });
    }

    /// What was mapped by a locked VMA can be reclaimed again, unless something else keeps it.
    fn munlock_resident(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_resident(mm, range, |pfn| self.munlock_page(pfn));
    }

    /// Moves an unevictable page back, if nothing keeps it in memory any more.
    pub(crate) fn munlock_page(&self, pfn: Pfn) {
        let page = self.page(pfn);
        if page.has(flag::LRU | flag::UNEVICTABLE) && self.page_evictable(pfn) {
            self.lru_del(pfn);
            page.clear_flags(flag::UNEVICTABLE);
            self.lru_add(pfn);
        }
    }

    /// Whether neither its object nor a VMA keeps the page in memory. Source: Linux `folio_evictable`.
    pub(crate) fn page_evictable(&self, pfn: Pfn) -> bool {
        let mut locked = self.page_is_locked_in(pfn);
        self.rmap_walk(pfn, |vma, _, _| {
            locked |= vma.has(vm::LOCKED);
            if locked { Walk::Stop } else { Walk::Continue }
        });
        !locked
    }

    fn for_each_resident(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, mut f: impl FnMut(Pfn)) {
        if self.has_leaves() {
            self.for_each_leaf(mm.pgd(), range.clone(), |_, pmd| {
                f(P::Pte::pfn(pmd.slot.get()));
                true
            });
        }
        self.for_each_pte(mm.pgd(), range, |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) && P::Pte::pfn(entry).0 != self.zero_pfn.get() {
                f(self.compound_head(P::Pte::pfn(entry)));
            }
            true
        });
    }

    /// Faults the pages of a range in, VMA by VMA, up to a gap or a page that cannot be had. Locked ones become unevictable.
    fn populate(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) -> Result<(), Fault> {
        let mut start = range.start;
        while start < range.end {
            let id = find_vma(self, mm, start).ok_or(Fault::SegvMaperr)?;
            let vma = self.vma(id);
            if vma.vm_start() > start {
                return Err(Fault::SegvMaperr);
            }
            let end = vma.vm_end().min(range.end);
            let done = self.populate_vma(mm, id, start..end);
            if self.vma(id).has(vm::LOCKED) {
                self.mlock_resident(mm, start..end);
            }
            done?;
            start = end;
        }
        Ok(())
    }

    /// As Linux for `mmap` and `mlockall`: what cannot be had is left out. Rule B14.
    pub(crate) fn populate_ignoring_errors(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        let mut start = range.start;
        while start < range.end
            && let Some(id) = find_vma(self, mm, start).filter(|&id| self.vma(id).vm_start() < range.end)
        {
            let part = start.max(self.vma(id).vm_start())..self.vma(id).vm_end().min(range.end);
            start = part.end;
            // The next VMA is tried whatever became of this one.
            let _ = self.populate(mm, part);
        }
    }

    /// New addresses of a locked mapping get their pages at once.
    #[inline(always)]
    pub(crate) fn populate_if_locked(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        // Most address spaces have nothing locked.
        let locked = mm.locked_vm() != 0
            && find_vma(self, mm, range.start).is_some_and(|id| self.vma(id).vm_flags() & LOCK_BITS == vm::LOCKED);
        if range.start < range.end && locked {
            self.populate_ignoring_errors(mm, range);
        }
    }

    /// Source: Linux `populate_vma_page_range`: private writable memory is written to, so that the copy is made now.
    fn populate_vma(&self, mm: MmStruct<'_>, id: VmaId, range: Range<VirtAddr>) -> Result<(), Fault> {
        let vma = self.vma(id);
        if vma.has(vm::PFNMAP) || (vma.has(vm::LOCKED) && vma.has(vm::LOCKONFAULT)) {
            return Ok(());
        }
        let access = if vma.vm_flags() & (vm::WRITE | vm::SHARED) == vm::WRITE {
            Access::Write
        } else {
            Access::Read
        };
        let mut addr = range.start;
        while addr < range.end {
            self.fault_in(mm, id, addr, access)?;
            addr = addr.offset(vma.page_size());
        }
        Ok(())
    }

    /// Faults a page of a VMA in, unless its entry allows the access already.
    pub(super) fn fault_in(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        // Entries of a mapping without rights stay present. Source: Linux `vma_is_accessible`.
        if self.vma(id).vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) == 0 {
            return Err(Fault::SegvAccerr);
        }
        let entry = self.entry_at(mm.pgd(), addr);
        if P::Pte::is_present(entry) && (access != Access::Write || P::Pte::is_writable(entry)) {
            Ok(())
        } else {
            self.handle_fault_locked(mm, addr, access)
        }
    }
}

/// The whole pages that a range touches. Rule B31.
fn lock_range(addr: u64, len: u64) -> Result<Range<VirtAddr>, Error> {
    let start = VirtAddr(addr).page();
    let len = page_align_wrapping(len.wrapping_add(addr - start.0));
    let end = start.0.checked_add(len).ok_or(Error::Einval)?;
    Ok(start..VirtAddr(end))
}
