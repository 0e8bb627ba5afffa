//! Faults where no small entry can be: nothing is there, or a leaf. Source: Linux, mm/memory.c (`__handle_mm_fault`, `do_set_pmd`),
//! mm/huge_memory.c (`do_huge_pmd_anonymous_page`, `do_huge_pmd_wp_page`). Rules C5, G1, G7.

use super::policy::{has_room, is_suitable};
use super::{Count, HPAGE_SIZE, ShmemPolicy, huge_start};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, pages_for};
use crate::error::Fault;
use crate::fault::Access;
use crate::memory::Memory;
use crate::page::flag;
use crate::pagetable::PmdEntry;
use crate::platform::{Platform, PteFormat, Stage};
use crate::shmem::{InodeId, Sgp};
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea, VmaId, vm};

impl<P: Platform> Memory<P> {
    /// The small entry for a fault where there is no table of the lowest level: one of a new table, which goes to `pmd`. `None` where a leaf is, or
    /// may be wanted, and without memory; [`Memory::fault_without_table`] goes on then. The first fault of 512 comes here, so it is short.
    #[cold]
    #[inline(never)]
    pub(crate) fn pte_without_table(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        addr: VirtAddr,
        write: bool,
        pmd: Option<&Word>,
    ) -> Option<&Word> {
        if vma.vm_flags() & self.thp.wanted_by.get() != 0 {
            return self.pte_unless_huge(mm, vma, addr, write, pmd);
        }
        self.pte_of_new_tables(mm, addr, pmd)
    }

    // A function of its own, so that the registers that it needs are not saved where no huge page is possible.
    #[cold]
    #[inline(never)]
    fn pte_unless_huge(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        addr: VirtAddr,
        write: bool,
        pmd: Option<&Word>,
    ) -> Option<&Word> {
        let flags = vma.vm_flags();
        if flags & (vm::HUGETLB | vm::HUGE_OBJECT) != 0 {
            return self.pte_unless_huge_there(mm, vma, addr, pmd);
        }
        if flags & vm::NOHUGEPAGE == 0 && has_room(vma, addr) {
            match vma.vm_file() {
                Some(file) if flags & self.thp.wanted_of_objects.get() != 0 => {
                    return self.pte_unless_huge_object(mm, vma, file, addr, pmd);
                }
                None if write && self.anon_wants_huge(mm, vma) => return None,
                _ => {}
            }
        }
        self.pte_of_new_tables(mm, addr, pmd)
    }

    /// [`Memory::pte_without_table`] for an object that has no huge pages so far; the mapping has room for one.
    #[cold]
    #[inline(never)]
    fn pte_unless_huge_object(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        file: InodeId,
        addr: VirtAddr,
        pmd: Option<&Word>,
    ) -> Option<&Word> {
        let inode = self.inode(file);
        let policy = match inode.i_sb() {
            None => self.shmem_policy(),
            Some(_) => self.policy_of(inode),
        };
        // From an address to the place in the object.
        let behind = (vma.vm_pgoff() << PAGE_SHIFT).wrapping_sub(vma.vm_start().0);
        let last_page = addr.0.wrapping_add(behind) | (HPAGE_SIZE - PAGE_SIZE);
        let wanted = match policy {
            ShmemPolicy::Never | ShmemPolicy::Deny => false,
            ShmemPolicy::Advise => vma.has(vm::HUGEPAGE),
            ShmemPolicy::WithinSize => last_page < inode.i_size() || vma.has(vm::HUGEPAGE),
            ShmemPolicy::Always | ShmemPolicy::Force => true,
        };
        if wanted && behind.is_multiple_of(HPAGE_SIZE) {
            return None;
        }
        self.pte_of_new_tables(mm, addr, pmd)
    }

    /// [`Memory::pte_without_table`] for objects that have huge pages, or no others.
    #[cold]
    #[inline(never)]
    fn pte_unless_huge_there(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        addr: VirtAddr,
        pmd: Option<&Word>,
    ) -> Option<&Word> {
        let (flags, index) = (vma.vm_flags(), vma.linear_page_index(addr));
        let huge = |file| {
            is_suitable(vma, addr)
                && (self.shmem_wants_huge(self.inode(file), index, flags) || self.huge_cached_at(file, index).is_some())
        };
        if flags & vm::HUGETLB != 0 || vma.vm_file().is_some_and(huge) {
            return None;
        }
        self.pte_of_new_tables(mm, addr, pmd)
    }

    #[inline(always)]
    fn pte_of_new_tables(&self, mm: MmStruct<'_>, addr: VirtAddr, pmd: Option<&Word>) -> Option<&Word> {
        match pmd {
            Some(pmd) => self.pte_of_new_table(mm, pmd, addr),
            None => self.pte_alloc_unless_leaf(mm, addr),
        }
    }

    /// A fault where there is no table of the lowest level, and [`Memory::pte_without_table`] made none.
    #[cold]
    #[inline(never)]
    pub(crate) fn fault_without_table(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        addr: VirtAddr,
        write: bool,
    ) -> Result<(), Fault> {
        let vma = self.vma(id);
        if vma.has(vm::HUGETLB) {
            return self.hugetlb_fault(mm, id, addr, write);
        }
        let resolved = match self.pmd(mm.pgd(), addr).0 {
            Some(pmd) if pmd.slot.get() != 0 => self.leaf_fault(mm, vma, addr, pmd, write),
            pmd => self.huge_fault(mm, id, addr, pmd, write)?,
        };
        if resolved {
            return Ok(());
        }
        self.pte_alloc_slow(mm, addr).ok_or(Fault::Oom)?;
        // With a table it is one of the others; should the page be in swap, this one is waited for.
        let access = if write { Access::Write } else { Access::Read };
        self.handle_fault_locked(mm, addr, access)
    }

    /// A fault on a leaf; whether it is resolved. If not, there is none any more.
    fn leaf_fault(&self, mm: MmStruct<'_>, vma: VmArea<'_>, addr: VirtAddr, pmd: PmdEntry<'_>, write: bool) -> bool {
        let leaf = pmd.slot.get();
        let head = P::Pte::pfn(leaf);
        if write && !P::Pte::is_writable(leaf) {
            let alone = self.page(head).has(flag::ANON) && self.huge_refcount(head) == 1;
            if !vma.has(vm::SHARED) && !alone {
                self.split_leaf(mm, huge_start(addr), pmd);
                return false;
            }
            pmd.slot.set(P::Pte::mkwrite_dirty(leaf));
            if let Some(file) = vma.vm_file()
                && vma.has(vm::TIMES)
            {
                self.content_changed(file);
            }
        } else {
            pmd.slot.set(P::Pte::mkyoung(leaf));
        }
        self.platform.flush_tlb_huge(mm.pgd(), addr);
        true
    }

    /// Maps a huge page where nothing is, if there is to be one; whether it did. `pmd` is where its leaf would be, if there is such a table.
    fn huge_fault(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        addr: VirtAddr,
        pmd: Option<PmdEntry<'_>>,
        write: bool,
    ) -> Result<bool, Fault> {
        let vma = self.vma(id);
        // A program that answers faults is asked for each page.
        if vma.vm_flags() & vm::UFFD != 0 {
            return Ok(false);
        }
        match vma.vm_file() {
            Some(file) => self.huge_object_fault(mm, vma, file, addr, pmd, write),
            None if write && self.anon_wants_huge(mm, vma) && is_suitable(vma, addr) => {
                self.huge_anonymous_fault(mm, id, addr, pmd)
            }
            None => Ok(false),
        }
    }

    /// Source: Linux `do_huge_pmd_anonymous_page`.
    fn huge_anonymous_fault(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        addr: VirtAddr,
        pmd: Option<PmdEntry<'_>>,
    ) -> Result<bool, Fault> {
        let vma = self.vma(id);
        let anon = self.anon_vma_prepare(id).ok_or(Fault::Oom)?;
        let pmd = pmd.or_else(|| self.pmd_alloc(mm, addr)).ok_or(Fault::Oom)?;
        let table = self.alloc_deposit(mm).ok_or(Fault::Oom)?;
        let Some(head) = self.alloc_huge(vma.has(vm::HUGEPAGE)) else {
            self.free_deposit(mm, table);
            self.thp.count(Count::FaultFallback);
            return Ok(false);
        };
        self.platform.stage(Stage::ClearPage, 0);
        self.thp.count(Count::FaultAlloc);
        self.add_new_anon_leaf_rmap(head, anon, vma.linear_page_index(huge_start(addr)));
        let leaf = P::Pte::huge(P::Pte::page(head, vma.has(vm::WRITE), vma.has(vm::EXEC), true));
        self.enter_anon_leaf(mm, pmd, leaf, table);
        self.platform.stage(Stage::SetPte, 0);
        Ok(true)
    }

    /// Source: Linux `shmem_fault`, `do_set_pmd`.
    fn huge_object_fault(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        file: InodeId,
        addr: VirtAddr,
        pmd: Option<PmdEntry<'_>>,
        write: bool,
    ) -> Result<bool, Fault> {
        let index = vma.linear_page_index(addr);
        let copies = write && !vma.has(vm::SHARED);
        if vma.has(vm::PFNMAP) || copies || index >= pages_for(self.inode(file).i_size()) {
            return Ok(false);
        }
        // Where a leaf would not fit, no huge page is made either. Source: Linux `shmem_suitable_orders`.
        if !is_suitable(vma, addr) {
            return Ok(false);
        }
        let Some(head) = self.huge_page_at(mm, vma, file, index) else {
            return Ok(false);
        };
        let pmd = match pmd {
            Some(pmd) => pmd,
            None => {
                let pmd = self.pmd_alloc(mm, addr).ok_or(Fault::Oom)?;
                // That may have cost reclaim, and reclaim may have split the page.
                if self.huge_cached_at(file, index) != Some(head) {
                    return Ok(false);
                }
                pmd
            }
        };
        self.get_page(head);
        self.map_file_leaf(mm, vma, pmd, head, write);
        if write && vma.has(vm::TIMES) {
            self.content_changed(file);
        }
        Ok(true)
    }

    /// The huge page that covers `index` of an object: one that is there, or a new one where there is to be one.
    fn huge_page_at(&self, mm: MmStruct<'_>, vma: VmArea<'_>, file: InodeId, index: u64) -> Option<Pfn> {
        if let Some(head) = self.huge_cached_at(file, index) {
            return Some(head);
        }
        if mm.thp_disabled() || !self.shmem_wants_huge(self.inode(file), index, vma.vm_flags()) {
            return None;
        }
        self.shmem_alloc_huge(file, index, Sgp::Cache, vma.has(vm::HUGEPAGE))
            .ok()
    }

    fn map_file_leaf(&self, mm: MmStruct<'_>, vma: VmArea<'_>, pmd: PmdEntry<'_>, head: Pfn, write: bool) {
        let page = P::Pte::page(head, vma.has(vm::SHARED | vm::WRITE), vma.has(vm::EXEC), write);
        self.enter_file_leaf(mm, pmd, P::Pte::huge(page));
        self.thp.count(Count::FileMapped);
        self.platform.stage(Stage::SetPte, 0);
    }
}
