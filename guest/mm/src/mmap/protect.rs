//! Other rights. Source: Linux, mm/mprotect.c. Rules B18, B25, A35.

use core::ops::Range;

use super::{calc_vm_prot_bits, prot};
use crate::addr::{PAGE_SHIFT, VirtAddr, page_align};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

impl<P: Platform> Memory<P> {
    /// `mprotect`: gives mappings other rights. Up to a gap, or a VMA that may not have them, the change is made.
    ///
    /// # Errors
    /// As mprotect(2). Rule B25.
    pub fn do_mprotect(&self, mm_id: MmId, addr: u64, len: u64, prot: u64) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        const GROWS: u64 = prot::GROWSDOWN | prot::GROWSUP;
        let mut start = VirtAddr(addr);
        let grows = prot & GROWS;
        if grows == GROWS || !start.is_page_aligned() {
            return Err(Error::Einval);
        }
        if len == 0 {
            return Ok(());
        }
        let len = page_align(len).ok_or(Error::Enomem)?;
        let end = VirtAddr(addr.checked_add(len).ok_or(Error::Enomem)?);
        if prot & !(prot::READ | prot::WRITE | prot::EXEC | prot::SEM | GROWS) != 0 {
            return Err(Error::Einval);
        }
        if grows != 0 {
            start = self.stack_start(mm, start, end, grows)?;
        }
        let new = calc_vm_prot_bits(prot);
        while start < end {
            let id = find_vma(self, mm, start).ok_or(Error::Enomem)?;
            if self.vma(id).vm_start() > start {
                return Err(Error::Enomem);
            }
            // MAYREAD and its neighbours are READ and its neighbours, four bits up.
            if new & !(self.vma(id).vm_flags() >> 4) != 0 {
                return Err(Error::Eacces);
            }
            let part_end = self.vma(id).vm_end().min(end);
            self.mprotect_fixup(mm, id, start, part_end, new)?;
            start = part_end;
        }
        Ok(())
    }

    /// Where a change of the whole stack begins. There are no stacks that grow up on x86-64.
    fn stack_start(&self, mm: MmStruct<'_>, start: VirtAddr, end: VirtAddr, grows: u64) -> Result<VirtAddr, Error> {
        let id = find_vma(self, mm, start).ok_or(Error::Enomem)?;
        let vma = self.vma(id);
        if grows == prot::GROWSDOWN && vma.vm_start() >= end {
            return Err(Error::Enomem);
        }
        if grows == prot::GROWSUP && vma.vm_start() > start {
            return Err(Error::Enomem);
        }
        if grows == prot::GROWSDOWN && vma.has(vm::GROWSDOWN) {
            Ok(vma.vm_start())
        } else {
            Err(Error::Einval)
        }
    }

    /// Gives the part `[start, end)` of a VMA the rights `new`.
    fn mprotect_fixup(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        start: VirtAddr,
        end: VirtAddr,
        new: u64,
    ) -> Result<(), Error> {
        const RIGHTS: u64 = vm::READ | vm::WRITE | vm::EXEC;
        let old_flags = self.vma(id).vm_flags();
        let mut flags = old_flags & !RIGHTS | new;
        if flags == old_flags {
            return Ok(());
        }
        if let Some(grown) = self.shift_boundary(id, start, end, flags) {
            self.move_boundary(mm, id, grown, start..end);
            self.change_protection(mm, grown);
            return Ok(());
        }
        self.may_become_data(mm, old_flags, flags, (end.0 - start.0) >> PAGE_SHIFT)?;
        let id = self.cut_out(mm, id, start..end)?;
        let vma = self.vma(id);
        // A private mapping that becomes writable will need frames of its own. Rule B18.
        if new & vm::WRITE != 0
            && flags & (vm::ACCOUNT | vm::WRITE | vm::SHARED | vm::NORESERVE | vm::HUGETLB) == vm::WRITE
        {
            if let Err(error) = self.vm_enough_memory(vma.pages()) {
                self.merge_around(mm, id);
                return Err(error);
            }
            flags |= vm::ACCOUNT;
        } else if flags & (vm::ACCOUNT | vm::WRITE) == vm::ACCOUNT
            && vma.vm_file().is_none()
            && vma.anon_vma().is_none()
        {
            // And one that has none, and can have none, needs no promise.
            self.vm_unacct_memory(vma.pages());
            flags &= !vm::ACCOUNT;
        }
        vma.set_vm_flags(flags);
        self.change_protection(mm, id);
        self.merge_around(mm, id);
        // What is locked gets its copies now, not at its first stores.
        if old_flags & (vm::LOCKED | vm::WRITE | vm::SHARED) == vm::LOCKED && flags & vm::WRITE != 0 {
            self.populate_if_locked(mm, start..end);
        }
        Ok(())
    }

    /// The neighbour that takes over the part `[start, end)` of a segment's VMA because it has the `flags` that the part is to get.
    /// No VMA comes or goes, so the segment counts what it did. Whole VMAs of segments are never merged. Rule A38; Linux 6.18, mm/vma.c
    /// (`vma_merge_existing_range`).
    pub(super) fn shift_boundary(&self, id: VmaId, start: VirtAddr, end: VirtAddr, flags: u64) -> Option<VmaId> {
        let vma = self.vma(id);
        vma.shm()?;
        if vma.has(vm::HUGETLB) {
            return None;
        }
        let (neighbour, distance) = match (vma.vm_start() == start, vma.vm_end() == end) {
            (true, false) => (vma.vm_prev()?, self.vma(vma.vm_prev()?).vm_end().0 ^ start.0),
            (false, true) => (vma.vm_next()?, self.vma(vma.vm_next()?).vm_start().0 ^ end.0),
            _ => return None,
        };
        let other = self.vma(neighbour);
        let base = |vma: VmArea<'_>| vma.vm_start().0.wrapping_sub(vma.vm_pgoff() << PAGE_SHIFT);
        let same = distance == 0 && other.shm() == vma.shm() && other.vm_flags() == flags && base(other) == base(vma);
        same.then_some(neighbour)
    }

    /// Moves `part`, the first or the last of `from`, to its neighbour `to` on that side.
    pub(super) fn move_boundary(&self, mm: MmStruct<'_>, from: VmaId, to: VmaId, part: Range<VirtAddr>) {
        let (vma, other) = (self.vma(from), self.vma(to));
        if vma.vm_start() == part.start {
            self.vma_adjust(mm, from, part.end, vma.vm_end(), vma.linear_page_index(part.end));
            self.vma_adjust(mm, to, other.vm_start(), part.end, other.vm_pgoff());
        } else {
            let pgoff = vma.linear_page_index(part.start);
            self.vma_adjust(mm, from, vma.vm_start(), part.start, vma.vm_pgoff());
            self.vma_adjust(mm, to, part.start, other.vm_end(), pgoff);
        }
    }

    /// Brings the entries of a VMA in line with its rights. Stores to private pages stay forbidden where they were: the fault that they
    /// cause decides whether the page must be copied.
    fn change_protection(&self, mm: MmStruct<'_>, id: VmaId) {
        let vma = self.vma(id);
        // Any right makes an x86-64 page readable. Rule B26.
        let readable = vma.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        let (exec, shared_write) = (vma.has(vm::EXEC), vma.has(vm::SHARED | vm::WRITE));
        let mut changed = self.has_leaves() && self.change_leaves(mm, vma);
        self.for_each_pte(mm.pgd(), vma.vm_start()..vma.vm_end(), |_, pte| {
            let entry = pte.get();
            if P::Pte::is_present(entry) {
                let writable = shared_write || (vma.has(vm::WRITE) && P::Pte::is_writable(entry));
                let new = P::Pte::modify(entry, readable, writable, exec);
                if new != entry {
                    pte.set(new);
                    changed = true;
                }
            }
            true
        });
        if changed {
            self.platform.flush_tlb_mm(mm.pgd());
        }
    }
}
