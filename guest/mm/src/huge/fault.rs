//! Faults where no small entry can be: nothing is there, or a leaf. Source: Linux, mm/memory.c (`__handle_mm_fault`, `do_set_pmd`),
//! mm/huge_memory.c (`do_huge_pmd_anonymous_page`, `do_huge_pmd_wp_page`). Rules C5, G1, G7.

use super::policy::is_suitable;
use super::{Count, huge_start};
use crate::addr::{Pfn, VirtAddr, pages_for};
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
    /// A fault where there is no table of the lowest level. The small entry to go on with; `None` when the fault is resolved.
    #[cold]
    #[inline(never)]
    pub(crate) fn fault_without_table(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        addr: VirtAddr,
        access: Access,
    ) -> Result<Option<&Word>, Fault> {
        let (vma, write) = (self.vma(id), access == Access::Write);
        if vma.has(vm::HUGETLB) {
            return self.hugetlb_fault(mm, id, addr, access).map(|()| None);
        }
        let resolved = match self.leaf(mm.pgd(), addr) {
            Some(_) => self.leaf_fault(mm, vma, addr, write),
            None => self.huge_fault(mm, id, addr, write)?,
        };
        if resolved {
            return Ok(None);
        }
        self.pte_alloc_slow(mm, addr).map(Some).ok_or(Fault::Oom)
    }

    /// A fault on a leaf; whether it is resolved. If not, there is none any more.
    fn leaf_fault(&self, mm: MmStruct<'_>, vma: VmArea<'_>, addr: VirtAddr, write: bool) -> bool {
        let Some(pmd) = self.pmd(mm.pgd(), addr).0 else {
            return false;
        };
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

    /// Maps a huge page where nothing is, if there is to be one; whether it did.
    fn huge_fault(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr, write: bool) -> Result<bool, Fault> {
        let vma = self.vma(id);
        // A program that answers faults is asked for each page.
        if vma.vm_flags() & vm::UFFD != 0 {
            return Ok(false);
        }
        match vma.vm_file() {
            Some(file) => self.huge_object_fault(mm, vma, file, addr, write),
            None if write && self.anon_wants_huge(mm, vma) && is_suitable(vma, addr) => {
                self.huge_anonymous_fault(mm, id, addr)
            }
            None => Ok(false),
        }
    }

    /// Source: Linux `do_huge_pmd_anonymous_page`.
    fn huge_anonymous_fault(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr) -> Result<bool, Fault> {
        let vma = self.vma(id);
        let anon = self.anon_vma_prepare(id).ok_or(Fault::Oom)?;
        let pmd = self.pmd_alloc(mm, addr).ok_or(Fault::Oom)?;
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
        write: bool,
    ) -> Result<bool, Fault> {
        let index = vma.linear_page_index(addr);
        let copies = write && !vma.has(vm::SHARED);
        if vma.has(vm::PFNMAP) || copies || index >= pages_for(self.inode(file).i_size()) {
            return Ok(false);
        }
        let Some(head) = self.huge_page_at(mm, vma, file, index) else {
            return Ok(false);
        };
        if !is_suitable(vma, addr) {
            return Ok(false);
        }
        let pmd = self.pmd_alloc(mm, addr).ok_or(Fault::Oom)?;
        // The table may have cost reclaim, and reclaim may have split the page.
        if pmd.slot.get() != 0 || self.huge_cached_at(file, index) != Some(head) {
            return Ok(false);
        }
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
