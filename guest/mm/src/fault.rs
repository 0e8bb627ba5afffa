//! `handle_mm_fault`: what happens when a program touches an address.
//!
//! ```text
//! no VMA, or not allowed ---------------------------------> SIGSEGV
//! entry empty,  anonymous: read ---> the frame of zeroes     do_anonymous_page
//!                          write --> a frame of zeroes
//! entry empty,  object:    read ---> the object's page, and  do_read_fault
//!                                    those cached around it
//!               private,   write --> a copy of it            do_cow_fault
//!               shared,    write --> the object's page       do_shared_fault
//! entry names a swap slot ---------> the page, read back     do_swap_page
//! entry present, write,    shared -> stores allowed          do_wp_page
//!                          private-> a copy, or, if nobody else has the page, the page
//! entry allows the access ---------> nothing: spurious
//! ```
//!
//! Any allocation may reclaim, and reclaim may change any entry: each path looks at its entry again afterwards, and returns
//! success when it changed, since the program will fault again if need be. Rule B43.
//!
//! Source: Linux, mm/memory.c. Rules B36, B38, B41, B42, B43, B45.

use crate::addr::{Pfn, VirtAddr, pages_for};
use crate::error::{Error, Fault};
use crate::huge::is_suitable;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat, Stage, Vmstat};
use crate::shmem::{InodeId, Sgp};
use crate::swap;
use crate::sync::Word;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma_area;

/// What a program tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
}

/// One fault on its way.
#[derive(Clone, Copy)]
struct Vmf<'a> {
    mm: MmStruct<'a>,
    vma_id: VmaId,
    vma: VmArea<'a>,
    addr: VirtAddr,
    write: bool,
    pte: &'a Word,
    /// The entry as the fault found it.
    orig: u64,
}

impl From<Error> for Fault {
    /// Rule C7: a fault that ran out of memory is a matter for the killer; anything else is SIGBUS.
    fn from(error: Error) -> Self {
        match error {
            Error::Enomem => Self::Oom,
            Error::Eagain => Self::Retry,
            _ => Self::BusAdrerr,
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Resolves a fault of a program at `addr`.
    ///
    /// # Errors
    /// Why it cannot be resolved; see [`Fault`].
    #[inline]
    pub fn handle_mm_fault(&self, mm_id: MmId, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        self.count(Vmstat::Pgfault);
        let _guard = self.locks.mmap.lock();
        self.handle_fault(self.mm(mm_id), addr, access, Sgp::Fault)
    }

    /// Resolves the fault that an access of the kernel's on a program's behalf would be, and waits for disks.
    ///
    /// # Errors
    /// As [`Memory::handle_mm_fault`], but never [`Fault::Retry`].
    #[inline(never)]
    pub(crate) fn handle_fault_locked(&self, mm: MmStruct<'_>, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        self.handle_fault(mm, addr, access, Sgp::Cache)
    }

    #[inline(always)]
    fn handle_fault(&self, mm: MmStruct<'_>, addr: VirtAddr, access: Access, sgp: Sgp) -> Result<(), Fault> {
        let (vma_id, vma) = find_vma_area(self, mm, addr).ok_or(Fault::SegvMaperr)?;
        if addr < vma.vm_start() {
            self.expand_stack(mm, vma_id, addr)?;
        }
        let needed = match access {
            Access::Write => vm::WRITE,
            Access::Exec => vm::EXEC,
            // Any right makes an x86-64 page readable. Rule B26.
            Access::Read => vm::READ | vm::WRITE | vm::EXEC,
        };
        if vma.vm_flags() & needed == 0 {
            return Err(Fault::SegvAccerr);
        }
        self.platform.stage(Stage::FindVma, 0);
        let write = access == Access::Write;
        let pte = match self.pte_or_pmd(mm.pgd(), addr) {
            Ok(pte) => pte,
            Err(pmd) => match self.pte_without_table(mm, vma, addr, write, pmd) {
                Some(pte) => pte,
                None => return self.fault_without_table(mm, vma_id, addr, write),
            },
        };
        let vmf = Vmf {
            mm,
            vma_id,
            vma,
            addr,
            write,
            pte,
            orig: pte.get(),
        };
        self.platform.stage(Stage::WalkPageTables, 0);
        self.handle_pte_fault(vmf, sgp)
    }

    #[inline(always)]
    fn handle_pte_fault(&self, vmf: Vmf<'_>, sgp: Sgp) -> Result<(), Fault> {
        if vmf.orig == 0 {
            return match vmf.vma.vm_file() {
                Some(file) => self.do_fault(vmf, file, sgp),
                None => self.do_anonymous_page(vmf),
            };
        }
        if !P::Pte::is_present(vmf.orig) {
            return self.do_swap_page(vmf, sgp);
        }
        if vmf.write && !P::Pte::is_writable(vmf.orig) {
            return self.do_wp_page(vmf);
        }
        // Spurious: the entry allows it (by now); the TLB did not know.
        vmf.pte.set(P::Pte::mkyoung(vmf.orig));
        self.platform.flush_tlb_page(vmf.mm.pgd(), vmf.addr);
        Ok(())
    }

    /// The entry that maps `pfn` with the VMA's rights; stores only if `writable`.
    #[inline(always)]
    pub(crate) fn mk_pte(vma: VmArea<'_>, pfn: Pfn, writable: bool, dirty: bool) -> u64 {
        P::Pte::page(pfn, writable, vma.has(vm::EXEC), dirty)
    }

    #[inline(always)]
    fn do_fault(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        // One look for both, so that who has neither pays for one.
        if vmf.vma.vm_flags() & (vm::PFNMAP | vm::TIMES | vm::UFFD_MISSING | vm::UFFD_MINOR | vm::HUGE_OBJECT) != 0 {
            return self.do_special_fault(vmf, file, sgp);
        }
        self.do_object_fault(vmf, file, sgp)
    }

    /// Opened files, whose times a store changes, and what [`Memory::do_rare_fault`] is for. Rule B44; Linux `fault_dirty_shared_page`.
    #[inline(never)]
    fn do_special_fault(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        if vmf.vma.vm_flags() & (vm::PFNMAP | vm::UFFD_MISSING | vm::UFFD_MINOR | vm::HUGE_OBJECT) != 0 {
            return self.do_rare_fault(vmf, file, sgp);
        }
        let write = vmf.write;
        self.do_object_fault(vmf, file, sgp)?;
        if write {
            self.content_changed(file);
        }
        Ok(())
    }

    /// Device memory, which has no pages to give, mappings whose faults a program answers, and objects that may have huge pages. Rule H7.
    #[cold]
    #[inline(never)]
    fn do_rare_fault(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        if vmf.vma.has(vm::PFNMAP) {
            return Err(Fault::BusAdrerr);
        }
        let write = vmf.write;
        if vmf.vma.vm_flags() & (vm::UFFD_MISSING | vm::UFFD_MINOR) != 0 {
            self.userfault_of_object(vmf.vma, vmf.addr, file, write)?;
        }
        if vmf.vma.has(vm::HUGE_OBJECT) {
            self.do_huge_object_fault(vmf, file, sgp)?;
        } else if !write && vmf.vma.has(vm::UFFD_MINOR) {
            // Pages around that are cached are the program's to map. Source: Linux `uffd_disable_fault_around`.
            return self.map_object_page(vmf, file, sgp);
        } else {
            self.do_object_fault(vmf, file, sgp)?;
        }
        if write && vmf.vma.has(vm::TIMES) {
            self.content_changed(file);
        }
        Ok(())
    }

    /// [`Memory::do_object_fault`], where the page may be one frame of a huge page.
    #[cold]
    #[inline(never)]
    fn do_huge_object_fault(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        if vmf.write && !vmf.vma.has(vm::SHARED) {
            return self.do_cow_fault::<true>(vmf, file, sgp);
        }
        let index = vmf.vma.linear_page_index(vmf.addr);
        let inode = self.inode(file);
        let entry = inode.i_pages().load(self, index);
        // A small page is mapped like those of other objects.
        if let Some(pfn) = entry.as_page()
            && self.page(pfn).flags.get() & (flag::UPTODATE | flag::HEAD | flag::TAIL) == flag::UPTODATE
            && index < pages_for(inode.i_size())
        {
            self.platform.stage(Stage::FilemapGetEntry, index);
            self.get_page(pfn);
            self.finish_fault(vmf, pfn);
            return Ok(());
        }
        let mut flags = vmf.vma.vm_flags() & (vm::HUGEPAGE | vm::NOHUGEPAGE);
        if vmf.mm.thp_disabled() || !is_suitable(vmf.vma, vmf.addr) {
            flags |= vm::NOHUGEPAGE;
        }
        let got = self.shmem_getpage_huge_from(entry, file, index, sgp, flags)?;
        if got.major {
            self.count(Vmstat::Pgmajfault);
        }
        if vmf.pte.get() != vmf.orig {
            self.put_page(got.pfn);
            return Ok(());
        }
        self.add_object_rmap(got.pfn);
        vmf.mm.set_rss_shmem(vmf.mm.rss_shmem() + 1);
        let writable = vmf.vma.has(vm::SHARED | vm::WRITE);
        vmf.pte.set(Self::mk_pte(vmf.vma, got.pfn, writable, vmf.write));
        self.platform.stage(Stage::SetPte, 0);
        Ok(())
    }

    // In both places, so that the usual one does not pay for a call.
    #[inline(always)]
    fn do_object_fault(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        if vmf.write && !vmf.vma.has(vm::SHARED) {
            return self.do_cow_fault::<false>(vmf, file, sgp);
        }
        if !vmf.write && self.fault_around.applies(vmf.vma) && self.do_fault_around(vmf.mm, vmf.vma, file, vmf.addr) {
            self.platform.stage(Stage::SetPte, 0);
            return Ok(());
        }
        self.map_object_page(vmf, file, sgp)
    }

    #[inline(always)]
    fn map_object_page(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        let got = self.shmem_getpage(file, vmf.vma.linear_page_index(vmf.addr), sgp)?;
        if got.major {
            self.count(Vmstat::Pgmajfault);
        }
        self.finish_fault(vmf, got.pfn);
        Ok(())
    }

    /// Maps the object's page; the caller's reference becomes the mapping's. Stores to a shared mapping are allowed at once,
    /// as in Linux for objects without a write hook.
    #[inline(always)]
    fn finish_fault(&self, vmf: Vmf<'_>, pfn: Pfn) {
        if vmf.pte.get() != vmf.orig {
            return self.put_page(pfn);
        }
        let writable = vmf.vma.has(vm::SHARED | vm::WRITE);
        self.page_add_file_rmap(pfn);
        vmf.mm.set_rss_shmem(vmf.mm.rss_shmem() + 1);
        vmf.pte.set(Self::mk_pte(vmf.vma, pfn, writable, vmf.write));
        self.platform.stage(Stage::SetPte, 0);
    }

    #[inline(never)]
    fn do_anonymous_page(&self, vmf: Vmf<'_>) -> Result<(), Fault> {
        if vmf.vma.has(vm::UFFD_MISSING) {
            return Err(self.note_userfault(vmf.vma, vmf.addr, vmf.write, false));
        }
        if !vmf.write {
            vmf.pte
                .set(Self::mk_pte(vmf.vma, Pfn(self.zero_pfn.get()), false, false));
            self.platform.stage(Stage::SetPte, 0);
            return Ok(());
        }
        let anon = self.anon_vma_prepare(vmf.vma_id).ok_or(Fault::Oom)?;
        let pfn = self.alloc_page().ok_or(Fault::Oom)?;
        self.platform.stage(Stage::AllocPages, u64::from(pfn.0));
        self.platform.clear_page(pfn);
        self.platform.stage(Stage::ClearPage, 0);
        self.set_anon_pte(vmf, pfn, anon);
        Ok(())
    }

    /// Maps a new anonymous page, unless the entry changed.
    #[inline]
    fn set_anon_pte(&self, vmf: Vmf<'_>, pfn: Pfn, anon: crate::rmap::AnonVmaId) {
        if vmf.pte.get() != vmf.orig {
            return self.free_page(pfn);
        }
        self.page_add_new_anon_rmap(pfn, anon, vmf.vma.linear_page_index(vmf.addr));
        vmf.mm.set_rss_anon(vmf.mm.rss_anon() + 1);
        vmf.pte
            .set(Self::mk_pte(vmf.vma, pfn, vmf.vma.has(vm::WRITE), vmf.write));
        self.platform.stage(Stage::SetPte, 0);
    }

    /// A store to a private mapping of an object: the frame for the copy first, then the object's page. Compiled once more for objects that may
    /// have huge pages (`HUGE`), so that others do not ask. Rules B39, B42.
    #[inline(never)]
    fn do_cow_fault<const HUGE: bool>(&self, vmf: Vmf<'_>, file: InodeId, sgp: Sgp) -> Result<(), Fault> {
        let anon = self.anon_vma_prepare(vmf.vma_id).ok_or(Fault::Oom)?;
        let copy = self.alloc_page().ok_or(Fault::Oom)?;
        let index = vmf.vma.linear_page_index(vmf.addr);
        let got = if HUGE {
            self.shmem_getpage_huge(file, index, sgp, vmf.vma.vm_flags())
        } else {
            self.shmem_getpage(file, index, sgp)
        };
        let got = match got {
            Ok(got) => got,
            Err(error) => {
                self.free_page(copy);
                return Err(error.into());
            }
        };
        if got.major {
            self.count(Vmstat::Pgmajfault);
        }
        self.platform.copy_page(copy, got.pfn);
        self.platform.stage(Stage::ClearPage, 0);
        self.put_page(got.pfn);
        self.set_anon_pte(vmf, copy, anon);
        Ok(())
    }

    /// A store where the entry forbids stores.
    #[inline(never)]
    fn do_wp_page(&self, vmf: Vmf<'_>) -> Result<(), Fault> {
        let old = P::Pte::pfn(vmf.orig);
        if vmf.vma.has(vm::SHARED) || self.can_reuse_page(old) {
            vmf.pte.set(P::Pte::mkwrite_dirty(vmf.orig));
            self.platform.flush_tlb_page(vmf.mm.pgd(), vmf.addr);
            return Ok(());
        }
        let anon = self.anon_vma_prepare(vmf.vma_id).ok_or(Fault::Oom)?;
        let zero = old.0 == self.zero_pfn.get();
        if !zero {
            self.get_page(old);
        }
        let copy = self.alloc_page();
        if let Some(copy) = copy {
            self.platform.stage(Stage::AllocPages, u64::from(copy.0));
            if zero {
                self.platform.clear_page(copy);
            } else {
                self.platform.copy_page(copy, old);
            }
            self.platform.stage(Stage::ClearPage, 0);
            if vmf.pte.get() == vmf.orig && !zero {
                self.add_rss(vmf.mm, old, -1);
                self.page_remove_rmap(old);
                self.put_page(old);
            }
            self.set_anon_pte(vmf, copy, anon);
            self.platform.flush_tlb_page(vmf.mm.pgd(), vmf.addr);
        }
        if !zero {
            if self.page(old).flags.get() & (flag::UNEVICTABLE | flag::SWAPCACHE) != 0 {
                self.leave_copied_page(old);
            }
            self.put_page(old);
        }
        copy.map(|_| ()).ok_or(Fault::Oom)
    }

    /// A page was copied and stays with others, who need not keep it in memory; or with nobody but the swap cache, because somebody else had a
    /// reference when it was looked at, and then it goes. The caller has a reference. Source: Linux `free_swap_cache`. Rule F18.
    #[cold]
    #[inline(never)]
    fn leave_copied_page(&self, pfn: Pfn) {
        let page = self.page(pfn);
        if page.has(flag::UNEVICTABLE) {
            self.munlock_page(pfn);
        }
        if page.mapcount.get() == 0 && page.refcount.get() == 2 {
            self.try_to_free_swap(pfn);
        }
    }

    /// Whether an anonymous page is this mapping's alone, so that it need not be copied. Its slot in swap, if any, is given up: the
    /// content is about to differ. Rule B41.
    fn can_reuse_page(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if !page.has(flag::ANON) || page.mapcount.get() != 1 {
            return false;
        }
        if page.has(flag::SWAPCACHE) {
            return page.refcount.get() == 2 && self.try_to_free_swap(pfn);
        }
        page.refcount.get() == 1
    }

    /// Brings a private page back from swap. Rule F19.
    #[inline(never)]
    fn do_swap_page(&self, vmf: Vmf<'_>, sgp: Sgp) -> Result<(), Fault> {
        let slot = swap::readable(P::Pte::swap_entry(vmf.orig))?;
        let anon = self.anon_vma_prepare(vmf.vma_id).ok_or(Fault::Oom)?;
        let (pfn, major) = self.swapin(slot, sgp)?;
        if major {
            self.count(Vmstat::Pgmajfault);
        }
        if vmf.pte.get() != vmf.orig {
            self.put_page(pfn);
            return Ok(());
        }
        self.page_add_anon_rmap(pfn, anon, vmf.vma.linear_page_index(vmf.addr));
        vmf.mm.set_rss_anon(vmf.mm.rss_anon() + 1);
        vmf.mm.set_swapents(vmf.mm.swapents() - 1);
        // Read-only: the slot stays good while the page is clean. A store comes back to do_wp_page, which gives the slot up.
        vmf.pte.set(Self::mk_pte(vmf.vma, pfn, false, false));
        self.swap_free_keeping_page(slot);
        if self.vm_swap_full() || vmf.vma.has(vm::LOCKED) {
            self.try_to_free_swap(pfn);
        }
        self.platform.stage(Stage::SetPte, 0);
        if vmf.write {
            return self.do_wp_page(Vmf {
                orig: vmf.pte.get(),
                ..vmf
            });
        }
        Ok(())
    }
}
