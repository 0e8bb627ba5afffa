//! Address spaces come and go. Source: Linux, kernel/fork.c (`mm_init`, `dup_mmap`, `mmput`), mm/memory.c (`copy_page_range`).
//! Rules A60, A61, B21, B41.

use core::ops::Range;

use super::{MMAP_MIN_ADDR, Rlimits, TASK_SIZE};
use crate::addr::{Pfn, VirtAddr};
use crate::error::Error;
use crate::huge::{HPAGE_SIZE, huge_start};
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::swap::SwapSlot;
use crate::sync::Word;
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::vma_link;

/// Distance from the top of a program's addresses to the first mapping: room for the stack. Source: Linux `mmap_base` (the least gap).
const MMAP_BASE_GAP: u64 = 128 << 20;

impl<P: Platform> Memory<P> {
    /// An empty address space, with one user.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub fn mm_alloc(&self) -> Result<MmId, Error> {
        let id = self.mm_struct_alloc().ok_or(Error::Enomem)?;
        let Some(pgd) = self.alloc_table() else {
            self.mm_struct_free(id);
            return Err(Error::Enomem);
        };
        self.platform.init_root(pgd);
        let mm = self.mm(id);
        mm.set_pgd(pgd);
        mm.set_nr_ptes(1);
        mm.set_mm_users(1);
        mm.set_mmap_base(VirtAddr(TASK_SIZE - MMAP_BASE_GAP));
        mm.set_start_brk(VirtAddr(MMAP_MIN_ADDR));
        mm.set_brk(VirtAddr(MMAP_MIN_ADDR));
        self.mmlist_add(id);
        self.set_rlimits(id, Rlimits::INIT);
        Ok(id)
    }

    /// Root of an address space's page tables.
    #[inline(always)]
    pub fn pgd(&self, mm_id: MmId) -> Pfn {
        self.mm(mm_id).pgd()
    }

    /// One more uses an address space: `CLONE_VM`.
    pub fn mmget(&self, mm_id: MmId) -> MmId {
        let mm = self.mm(mm_id);
        mm.set_mm_users(mm.mm_users() + 1);
        mm_id
    }

    /// How many use it.
    #[must_use]
    pub fn mm_users(&self, mm_id: MmId) -> u64 {
        self.mm(mm_id).mm_users()
    }

    /// Drops a use of an address space by process `pid`; the last one frees it and everything in it. It must not be the one in use by
    /// the machine.
    pub fn mmput(&self, mm_id: MmId, pid: u32) {
        let _guard = self.locks.mmap.lock();
        self.set_current_pid(pid);
        let mm = self.mm(mm_id);
        mm.set_mm_users(mm.mm_users() - 1);
        if mm.mm_users() != 0 {
            return;
        }
        if let Some(first) = mm.mmap() {
            self.unmap_region(mm, first, VirtAddr(TASK_SIZE));
        }
        debug_assert_eq!(
            (mm.nr_ptes(), mm.total_vm(), mm.map_count()),
            (1, 0, 0),
            "an address space ends with something in it"
        );
        debug_assert_eq!(
            (mm.rss_anon(), mm.rss_shmem(), mm.swapents(), mm.hugetlb_usage()),
            (0, 0, 0, 0),
            "pages of an ended address space are left"
        );
        self.free_table(mm.pgd());
        self.mmlist_del(mm_id);
        self.userfaultfd_mm_gone(mm_id);
        self.mm_struct_free(mm_id);
    }

    /// `fork` by process `pid`: a copy of an address space, its private pages shared until one side stores to them.
    ///
    /// # Errors
    /// [`Error::Enomem`]; nothing is left of the copy.
    pub fn dup_mmap(&self, old_id: MmId, pid: u32) -> Result<MmId, Error> {
        let new_id = self.mm_alloc()?;
        let copied = {
            let _guard = self.locks.mmap.lock();
            self.set_current_pid(pid);
            self.dup_vmas(old_id, new_id)
        };
        // The parent's private pages have become read-only, also when the copy failed half-way.
        self.platform.flush_tlb_mm(self.mm(old_id).pgd());
        if let Err(error) = copied {
            self.mmput(new_id, pid);
            return Err(error);
        }
        Ok(new_id)
    }

    fn dup_vmas(&self, old_id: MmId, new_id: MmId) -> Result<(), Error> {
        let (old, new) = (self.mm(old_id), self.mm(new_id));
        self.copy_rlimits(old, new);
        new.set_mmap_base(old.mmap_base());
        new.set_start_brk(old.start_brk());
        new.set_brk(old.brk());
        new.set_start_stack(old.start_stack());
        new.set_arg_start(old.arg_start());
        new.set_env_start(old.env_start());
        new.set_env_end(old.env_end());
        new.set_thp_disabled(old.thp_disabled());
        let mut next = old.mmap();
        while let Some(id) = next {
            next = self.vma(id).vm_next();
            self.dup_vma(old, new_id, id)?;
        }
        Ok(())
    }

    fn dup_vma(&self, old: MmStruct<'_>, new_id: MmId, id: VmaId) -> Result<(), Error> {
        let new = self.mm(new_id);
        let vma = self.vma(id);
        let pages = vma.pages();
        // A device's pages stay with the process that mapped them.
        if vma.vm_flags() & (vm::PFNMAP | vm::DONTCOPY) != 0 {
            return Ok(());
        }
        if vma.has(vm::ACCOUNT) {
            self.vm_enough_memory(pages)?;
        }
        let Some(copy_id) = self.vm_area_alloc() else {
            if vma.has(vm::ACCOUNT) {
                self.vm_unacct_memory(pages);
            }
            return Err(Error::Enomem);
        };
        let copy = self.vma(copy_id);
        copy.set_vm_start(vma.vm_start());
        copy.set_vm_end(vma.vm_end());
        // Locks are not inherited, nor who answers faults. Source: fork(2); Linux `dup_userfaultfd`.
        copy.set_vm_flags(vma.vm_flags() & !(vm::LOCKED | vm::LOCKONFAULT | vm::UFFD));
        copy.set_vm_pgoff(vma.vm_pgoff());
        copy.set_vm_file(vma.vm_file());
        copy.set_vm_mm(Some(new_id));
        copy.set_shm(vma.shm());
        // What huge pages are promised is the parent's.
        copy.set_opened(if vma.has(vm::HUGETLB) { 0 } else { vma.opened() });
        let wiped = vma.has(vm::WIPEONFORK);
        self.vma_opened(copy_id, vma.anon_vma().filter(|_| !wiped));
        vma_link(self, new, copy_id);
        new.set_total_vm(new.total_vm() + pages);
        // Pages of objects can be faulted in again; only a VMA that has private pages must be copied. Source: `vma_needs_copy`.
        if vma.anon_vma().is_some() && !wiped {
            self.copy_page_range(old, new, vma.is_cow(), vma.vm_start()..vma.vm_end())?;
        } else if vma.has(vm::HUGETLB) && !vma.has(vm::MAYSHARE) {
            self.copy_hugetlb_page_range(old, new, vma.vm_start()..vma.vm_end())?;
        }
        Ok(())
    }

    fn copy_page_range(
        &self,
        old: MmStruct<'_>,
        new: MmStruct<'_>,
        cow: bool,
        range: Range<VirtAddr>,
    ) -> Result<(), Error> {
        if self.has_leaves() {
            return self.copy_with_leaves(old, new, cow, range);
        }
        self.copy_ptes(old, new, cow, range)
    }

    /// As [`Memory::copy_page_range`], a page table's worth at a time: reclaim for the child's tables may split a leaf, and what it becomes is
    /// to be copied once.
    #[cold]
    #[inline(never)]
    fn copy_with_leaves(
        &self,
        old: MmStruct<'_>,
        new: MmStruct<'_>,
        cow: bool,
        range: Range<VirtAddr>,
    ) -> Result<(), Error> {
        let mut start = range.start;
        while start < range.end {
            let end = huge_start(start).offset(HPAGE_SIZE).min(range.end);
            self.copy_leaf(old, new, huge_start(start))?;
            if self.leaf(new.pgd(), start).is_none() {
                self.copy_ptes(old, new, cow, start..end)?;
            }
            start = end;
        }
        Ok(())
    }

    #[inline(always)]
    fn copy_ptes(&self, old: MmStruct<'_>, new: MmStruct<'_>, cow: bool, range: Range<VirtAddr>) -> Result<(), Error> {
        let done = self.for_each_pte(old.pgd(), range, |addr, pte| match self.pte_alloc(new, addr) {
            Some(slot) => self.copy_one_pte(new, cow, pte, slot),
            None => false,
        });
        if done { Ok(()) } else { Err(Error::Enomem) }
    }

    /// Copies an entry that is not 0. `false` when there is no memory to count one more user of its slot in swap.
    fn copy_one_pte(&self, new: MmStruct<'_>, cow: bool, from: &Word, to: &Word) -> bool {
        let mut entry = from.get();
        if !P::Pte::is_present(entry) {
            return self.copy_swap_pte(new, entry, to);
        }
        if cow && P::Pte::is_writable(entry) {
            entry = P::Pte::wrprotect(entry);
            from.set(entry);
        }
        let pfn = P::Pte::pfn(entry);
        if pfn.0 != self.zero_pfn.get() {
            let page = self.page(pfn);
            page.refcount.add(1);
            page.mapcount.add(1);
            self.add_rss(new, pfn, 1);
        }
        to.set(P::Pte::mkold(entry));
        true
    }

    /// As [`Memory::copy_one_pte`], for an entry that names a slot. A page that is lost is lost to the child, too.
    #[cold]
    #[inline(never)]
    fn copy_swap_pte(&self, new: MmStruct<'_>, entry: u64, to: &Word) -> bool {
        if let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(entry)) {
            if self.swap_duplicate(slot).is_err() {
                return false;
            }
            new.set_swapents(new.swapents() + 1);
        }
        to.set(entry);
        true
    }

    /// Process on whose behalf the manager works: it is what `shmctl` reports as the last to attach or detach.
    pub fn set_current_pid(&self, pid: u32) {
        self.ipc.current_pid.set(pid);
    }

    /// Pages of an address space, in pages: (anonymous, of objects, swapped, page tables).
    pub fn mm_counters(&self, mm_id: MmId) -> (u64, u64, u64, u64) {
        let mm = self.mm(mm_id);
        (mm.rss_anon(), mm.rss_shmem(), mm.swapents(), mm.nr_ptes())
    }

    /// Number of VMAs, and mapped pages.
    pub fn mm_size(&self, mm_id: MmId) -> (u64, u64) {
        (self.mm(mm_id).map_count(), self.mm(mm_id).total_vm())
    }
}
