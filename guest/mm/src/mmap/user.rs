//! The kernel on a program's behalf: frames behind a program's addresses. Source: Linux, mm/gup.c. Rule B46.

use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::error::Error;
use crate::fault::Access;
use crate::huge::subpage;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::find_vma;

impl<P: Platform> Memory<P> {
    /// The frame behind `addr`, faulted in as the program itself would, for the kernel to copy from or (with `write`) to. It stays the
    /// program's until the manager is called again.
    ///
    /// # Errors
    /// [`Error::Efault`] when the program could not access it so. Rule B46.
    pub fn get_user_page(&self, mm_id: MmId, addr: VirtAddr, write: bool) -> Result<Pfn, Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        if addr.0 >= super::TASK_SIZE {
            return Err(Error::Efault);
        }
        let id = find_vma(self, mm, addr).ok_or(Error::Efault)?;
        if addr < self.vma(id).vm_start() {
            self.expand_stack(mm, id, addr).map_err(|_| Error::Efault)?;
        }
        // Device pages are not memory.
        if self.vma(id).has(vm::PFNMAP) {
            return Err(Error::Efault);
        }
        let access = if write { Access::Write } else { Access::Read };
        // The entry may be taken away again by the reclaim that its own fault starts, but not twice in a row without progress.
        for _ in 0..3 {
            if let Some(pte) = self.pte(mm.pgd(), addr) {
                let entry = pte.get();
                if P::Pte::is_present(entry) && self.user_may(id, write) && (!write || P::Pte::is_writable(entry)) {
                    if write {
                        pte.set(P::Pte::mkwrite_dirty(entry));
                    }
                    return Ok(P::Pte::pfn(entry));
                }
            }
            if let Some(pfn) = self.user_page_of_leaf(mm, id, addr, write) {
                return Ok(pfn);
            }
            self.handle_fault_locked(mm, addr, access).map_err(|_| Error::Efault)?;
        }
        Err(Error::Efault)
    }

    /// Whether another process may read, or write, at `addr` (`process_vm_readv`): it needs that very right, whatever the processor would let
    /// pass, and no stack grows for it. Source: Linux `check_vma_flags`, `gup_vma_lookup`.
    ///
    /// # Errors
    /// [`Error::Efault`].
    pub fn may_access_remote(&self, mm_id: MmId, addr: VirtAddr, write: bool) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let needed = if write { vm::WRITE } else { vm::READ };
        find_vma(self, self.mm(mm_id), addr)
            .map(|id| self.vma(id))
            .filter(|vma| vma.vm_start() <= addr && vma.has(needed))
            .map_or(Err(Error::Efault), |_| Ok(()))
    }

    /// Copies bytes to a program, as the program itself would store them.
    ///
    /// # Errors
    /// [`Error::Efault`] where it could not; what comes before is there. Rule B46.
    pub fn copy_to_user(&self, mm: MmId, addr: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.checked_add(done as u64).ok_or(Error::Efault)?;
            let offset = (at & PAGE_MASK) as usize;
            let len = (PAGE_SIZE as usize - offset).min(bytes.len() - done);
            let pfn = self.get_user_page(mm, VirtAddr(at).page(), true)?;
            self.set_bytes(pfn, offset, &bytes[done..done + len]);
            done += len;
        }
        Ok(())
    }

    /// Copies a program's bytes.
    ///
    /// # Errors
    /// [`Error::Efault`] where it could not read them itself. Rule B46.
    pub fn copy_from_user(&self, mm: MmId, bytes: &mut [u8], addr: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.checked_add(done as u64).ok_or(Error::Efault)?;
            let offset = (at & PAGE_MASK) as usize;
            let len = (PAGE_SIZE as usize - offset).min(bytes.len() - done);
            let pfn = self.get_user_page(mm, VirtAddr(at).page(), false)?;
            for (at, byte) in (offset..).zip(&mut bytes[done..done + len]) {
                *byte = self.platform.frame(pfn)[at / 8].get().to_le_bytes()[at % 8];
            }
            done += len;
        }
        Ok(())
    }

    /// [`Memory::get_user_page`] where a leaf allows it.
    fn user_page_of_leaf(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr, write: bool) -> Option<Pfn> {
        let leaf = self.leaf(mm.pgd(), addr)?;
        if !self.user_may(id, write) || (write && !P::Pte::is_writable(leaf.get())) {
            return None;
        }
        if write {
            leaf.set(P::Pte::mkwrite_dirty(leaf.get()));
        }
        Some(P::Pte::pfn(leaf.get()).offset(subpage(addr)))
    }

    /// Whether a program may change what lies in the frame behind `addr`, as it is now: not that of a file which it may only read, nor of a page
    /// that it has in common with others until it writes.
    pub fn may_change_page(&self, mm_id: MmId, addr: VirtAddr) -> bool {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        let Some(id) = find_vma(self, mm, addr) else {
            return false;
        };
        let vma = self.vma(id);
        if addr < vma.vm_start() || !vma.has(vm::WRITE) {
            return false;
        }
        let small = || self.pte(mm.pgd(), addr).map(|pte| pte.get());
        let entry = self.leaf(mm.pgd(), addr).map(|leaf| leaf.get()).or_else(small);
        vma.has(vm::SHARED) || entry.is_some_and(|entry| P::Pte::is_present(entry) && P::Pte::is_writable(entry))
    }

    /// The device memory that is mapped at `addr` and after it without a gap: its first frame, and how many pages.
    pub fn device_pages(&self, mm_id: MmId, addr: VirtAddr) -> Option<(Pfn, u64)> {
        let _guard = self.locks.mmap.lock();
        let vma = self.vma(find_vma(self, self.mm(mm_id), addr)?);
        if addr < vma.vm_start() || !vma.has(vm::PFNMAP) {
            return None;
        }
        let frame = u32::try_from(vma.linear_page_index(addr)).ok()?;
        Some((Pfn(frame), (vma.vm_end().0 - addr.page().0) >> PAGE_SHIFT))
    }

    fn user_may(&self, id: VmaId, write: bool) -> bool {
        let needed = if write {
            vm::WRITE
        } else {
            vm::READ | vm::WRITE | vm::EXEC
        };
        self.vma(id).vm_flags() & needed != 0
    }
}
