//! Faults of mappings whose pages are of the pool. Source: Linux, mm/hugetlb.c (`hugetlb_fault`, `hugetlb_no_page`, `hugetlb_wp`,
//! `unmap_ref_private`). Rules A23, A24.

use crate::addr::{Pfn, VirtAddr};
use crate::error::Fault;
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE, huge_start};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat, Stage};
use crate::shmem::InodeId;
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea, VmaId, vm};

/// One leaf, in `private` of a page's head.
const LEAF: u64 = 1;

impl<P: Platform> Memory<P> {
    /// Resolves a fault in a mapping of huge pages.
    ///
    /// # Errors
    /// [`Fault::BusAdrerr`] behind the end of the object, and when the pool is empty; [`Fault::Oom`] without memory for tables;
    /// [`Fault::Userfault`] where a program answers.
    pub(crate) fn hugetlb_fault(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr, write: bool) -> Result<(), Fault> {
        let vma = self.vma(id);
        let (addr, touched) = (huge_start(addr), addr);
        let slot = self.pmd_alloc(mm, addr).ok_or(Fault::Oom)?.slot;
        debug_assert!(
            slot.get() == 0 || !P::Pte::is_table(slot.get()),
            "small entries in a mapping of huge pages"
        );
        if slot.get() == 0 {
            self.hugetlb_no_page(mm, vma, touched, slot, write)?;
        }
        if write && !P::Pte::is_writable(slot.get()) {
            self.hugetlb_wp(vma, addr, slot)?;
        }
        slot.set(P::Pte::mkyoung(slot.get()));
        self.platform.flush_tlb_huge(mm.pgd(), addr);
        self.platform.stage(Stage::SetPte, 0);
        Ok(())
    }

    /// Maps the page at `addr`, of the object, or new: into the object for a shared mapping, for a private one its own.
    fn hugetlb_no_page(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        addr: VirtAddr,
        slot: &Word,
        write: bool,
    ) -> Result<(), Fault> {
        let file = vma.vm_file().ok_or(Fault::BusAdrerr)?;
        let index = vma.linear_page_index(addr) >> HPAGE_ORDER;
        // A child that lost a page to its parent fails rather than see zeroes.
        if vma.has(vm::RESV_UNMAPPED) || index >= self.inode(file).i_size() >> HPAGE_SHIFT {
            return Err(Fault::BusAdrerr);
        }
        let cached = self.huge_cached_at(file, index << HPAGE_ORDER);
        let answered = if cached.is_some() {
            vm::UFFD_MINOR
        } else {
            vm::UFFD_MISSING
        };
        if vma.has(answered) {
            return Err(self.note_userfault(vma, addr, write, cached.is_some()));
        }
        let head = match cached {
            Some(head) => head,
            None if vma.has(vm::MAYSHARE) => self.hugetlb_fill_hole(file, index)?,
            None => {
                let head = self.alloc_hugetlb_folio(vma, index, false)?;
                self.platform.stage(Stage::AllocPages, u64::from(head.0));
                self.platform.clear_huge_page(head);
                self.platform.stage(Stage::ClearPage, 0);
                return self.hugetlb_map_new(mm, vma, slot, head, write);
            }
        };
        self.get_page(head);
        let writable = vma.has(vm::SHARED | vm::WRITE);
        self.hugetlb_enter(mm, vma, slot, head, writable, write && writable);
        Ok(())
    }

    fn hugetlb_map_new(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        slot: &Word,
        head: Pfn,
        write: bool,
    ) -> Result<(), Fault> {
        self.page(head).set_flags(flag::ANON);
        self.hugetlb_enter(mm, vma, slot, head, write, write);
        Ok(())
    }

    /// Enters a leaf where nothing is, with a reference that the caller gives it.
    pub(crate) fn hugetlb_enter(
        &self,
        mm: MmStruct<'_>,
        vma: VmArea<'_>,
        slot: &Word,
        head: Pfn,
        writable: bool,
        dirty: bool,
    ) {
        slot.set(P::Pte::huge(P::Pte::page(head, writable, vma.has(vm::EXEC), dirty)));
        self.hugetlb_add_rmap(head);
        mm.set_hugetlb_usage(mm.hugetlb_usage() + u64::from(HPAGE_PAGES));
    }

    /// One leaf more maps a page.
    pub(super) fn hugetlb_add_rmap(&self, head: Pfn) {
        let page = self.page(head);
        page.private.set(page.private.get() + LEAF);
        self.count_leaves(1);
    }

    /// One leaf less; its reference is still to be dropped.
    pub(super) fn hugetlb_remove_rmap(&self, head: Pfn) {
        let page = self.page(head);
        page.private.set(page.private.get() - LEAF);
        self.count_leaves(-1);
    }

    /// A store where the leaf forbids stores: to a page of the mapping's own, or that has to be copied.
    fn hugetlb_wp(&self, vma: VmArea<'_>, addr: VirtAddr, slot: &Word) -> Result<(), Fault> {
        let old = P::Pte::pfn(slot.get());
        let index = vma.linear_page_index(addr) >> HPAGE_ORDER;
        let own = || self.page(old).has(flag::ANON) && self.leaf_mapcount(old) == 1;
        if vma.has(vm::SHARED) || own() {
            slot.set(P::Pte::mkwrite_dirty(slot.get()));
            return Ok(());
        }
        // Who reserved keeps what it was promised: the original's is used up.
        let owner = vma.resv_map().is_some() && self.page(old).has(flag::ANON);
        let new = match self.alloc_hugetlb_folio(vma, index, owner) {
            Ok(new) => new,
            Err(Fault::BusAdrerr) if owner => {
                self.unmap_ref_private(vma, index, old);
                if !own() {
                    return Err(Fault::BusAdrerr);
                }
                slot.set(P::Pte::mkwrite_dirty(slot.get()));
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        self.platform.stage(Stage::AllocPages, u64::from(new.0));
        for i in 0..HPAGE_PAGES {
            self.platform.copy_page(new.offset(i), old.offset(i));
        }
        self.platform.stage(Stage::ClearPage, 0);
        self.page(new).set_flags(flag::ANON);
        slot.set(P::Pte::huge(P::Pte::page(new, true, vma.has(vm::EXEC), true)));
        self.hugetlb_add_rmap(new);
        self.hugetlb_remove_rmap(old);
        self.put_page(old);
        Ok(())
    }

    /// Takes a page away from all address spaces that did not reserve it, so that who did can go on. Their mappings are marked. Source: Linux
    /// `unmap_ref_private`.
    fn unmap_ref_private(&self, owner: VmArea<'_>, index: u64, head: Pfn) {
        let Some(file) = owner.vm_file() else { return };
        let first = index << HPAGE_ORDER;
        for id in self.i_mmap(file).overlapping(first..=first) {
            let vma = self.vma(id);
            let Some(mm) = vma.vm_mm().map(|mm| self.mm(mm)) else {
                continue;
            };
            if vma.has(vm::MAYSHARE) || vma.resv_map().is_some() {
                continue;
            }
            if let Some(addr) = vma.address_of(first)
                && self
                    .leaf(mm.pgd(), addr)
                    .is_some_and(|leaf| P::Pte::pfn(leaf.get()) == head)
            {
                self.hugetlb_zap_range(mm, vma, addr..addr.offset(HPAGE_SIZE));
                vma.set_vm_flags(vma.vm_flags() | vm::RESV_UNMAPPED);
            }
        }
    }

    /// An object behind a mapping of huge pages, if it is one.
    pub(super) fn hugetlb_file(vma: VmArea<'_>) -> Option<InodeId> {
        vma.vm_file().filter(|_| vma.has(vm::HUGETLB))
    }
}
