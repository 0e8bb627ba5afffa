//! Mappings change size and place. Source: Linux, mm/mremap.c. Rules B27, B28, A46.
//!
//! ```text
//! smaller           the tail is unmapped
//! larger, room      the VMA grows where it is
//! larger, no room   MAYMOVE: a copy of the VMA elsewhere, the page-table entries move there, the old range is unmapped
//! old size 0        shared only: a second view of the object
//! DONTUNMAP         the entries move, the old VMA stays, empty
//! FIXED, same size  several VMAs may move, each as it is, with the gaps between them (since Linux 6.17)
//! ```
//!
//! Pages themselves never move: the copy has the same `vm_pgoff` and the same anon_vma, so the reverse mapping finds them at their
//! new addresses.
//!
//! Differs from Linux: page-table entries move one by one, never whole tables.

use core::ops::Range;

use super::{Backing, TASK_SIZE, map_flag};
use crate::addr::{PAGE_SHIFT, VirtAddr, page_align_wrapping};
use crate::error::Error;
use crate::hugetlb::{hpage_align, is_hpage_aligned};
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::{find_vma, find_vma_intersection, vma_link};

/// `MREMAP_*`. Source: mremap(2).
pub mod remap_flag {
    /// May be moved.
    pub const MAYMOVE: u64 = 1;
    /// Exactly to this address, whatever is there.
    pub const FIXED: u64 = 2;
    /// The old mapping stays, without its pages.
    pub const DONTUNMAP: u64 = 4;
}

/// VMAs that a move may add for a moment, besides the copy. Source: Linux `move_vma`.
const MOVE_MAP_COUNT: u64 = 3;

/// What `mremap` is asked for, lengths in whole pages.
#[derive(Clone, Copy)]
struct Request {
    addr: VirtAddr,
    old_len: u64,
    new_len: u64,
    flags: u64,
    new_addr: u64,
}

impl Request {
    fn has(self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Only the place changes. Source: Linux `vrm_move_only`.
    fn only_moves(self) -> bool {
        self.has(remap_flag::FIXED) && self.old_len == self.new_len
    }

    fn old_end(self) -> VirtAddr {
        self.addr.offset(self.old_len)
    }

    /// The same for a mapping of huge pages, which grows never. Source: Linux `align_hugetlb`. Rule A26.
    fn of_huge_pages(self) -> Result<Self, Error> {
        let (old_len, new_len) = (hpage_align(self.old_len), hpage_align(self.new_len));
        let target = if self.has(remap_flag::FIXED) { self.new_addr } else { 0 };
        if !is_hpage_aligned(self.addr.0 | target) || new_len > old_len {
            return Err(Error::Einval);
        }
        Ok(Self {
            old_len,
            new_len,
            ..self
        })
    }

    /// What can be refused without looking at the address space. Source: Linux `check_mremap_params`.
    fn check(self) -> Result<(), Error> {
        const KNOWN: u64 = remap_flag::MAYMOVE | remap_flag::FIXED | remap_flag::DONTUNMAP;
        let moves = self.has(remap_flag::FIXED | remap_flag::DONTUNMAP);
        if self.flags & !KNOWN != 0
            || !self.addr.is_page_aligned()
            || self.new_len == 0
            || self.new_len > TASK_SIZE
            || (moves && !self.has(remap_flag::MAYMOVE))
            || (self.has(remap_flag::DONTUNMAP) && self.old_len != self.new_len)
        {
            return Err(Error::Einval);
        }
        if moves {
            let target = VirtAddr(self.new_addr);
            // An old range that wraps ends low, as in Linux (`vrm_overlaps`).
            let overlaps = target < self.old_end() && self.addr < target.offset(self.new_len);
            if !target.is_page_aligned() || self.new_addr > TASK_SIZE - self.new_len || overlaps {
                return Err(Error::Einval);
            }
        }
        Ok(())
    }
}

impl<P: Platform> Memory<P> {
    /// `mremap`: gives a mapping another size, another place, or both. Returns where it is.
    ///
    /// # Errors
    /// As mremap(2). Rules B27, B28.
    pub fn do_mremap(
        &self,
        mm_id: MmId,
        addr: u64,
        old_len: u64,
        new_len: u64,
        flags: u64,
        new_addr: u64,
    ) -> Result<u64, Error> {
        let _guard = self.locks.mmap.lock();
        let request = Request {
            addr: VirtAddr(addr),
            old_len: page_align_wrapping(old_len),
            // Rounded past the end of the range it is 0, as in Linux, and refused.
            new_len: page_align_wrapping(new_len),
            flags,
            new_addr,
        };
        request.check()?;
        if request.only_moves() {
            return self.remap_move(mm_id, request);
        }
        let mm = self.mm(mm_id);
        let id = find_vma(self, mm, request.addr)
            .filter(|&id| self.vma(id).vm_start() <= request.addr)
            .ok_or(Error::Efault)?;
        let request = self.check_resize(mm_id, id, request)?;
        if request.has(remap_flag::FIXED | remap_flag::DONTUNMAP) {
            return self.mremap_to(mm_id, request);
        }
        if request.new_len <= request.old_len {
            self.unmap_tail(mm, request)?;
            return Ok(addr);
        }
        if request.old_end() == self.vma(id).vm_end() && self.expand_in_place(mm, id, request)? {
            return Ok(addr);
        }
        if !request.has(remap_flag::MAYMOVE) {
            return Err(Error::Enomem);
        }
        let backing = self.backing_of(id, request.addr);
        let to = self.get_unmapped_area_for(mm, 0, request.new_len, 0, || backing)?;
        self.move_vma(mm_id, id, request, to)
    }

    /// Moves everything in a range that begins with a mapping. Those before one that cannot move have moved when the error is returned.
    /// Source: Linux `remap_move`.
    fn remap_move(&self, mm_id: MmId, request: Request) -> Result<u64, Error> {
        let mut at = request.addr;
        while at < request.old_end() {
            let Some(id) = find_vma(self, self.mm(mm_id), at) else {
                break;
            };
            let vma = self.vma(id);
            let (start, next) = (at.max(vma.vm_start()), vma.vm_end());
            if start >= request.old_end() {
                break;
            }
            // Segments move alone: the file behind them chooses addresses itself. Source: Linux `vma_multi_allowed`.
            // And so does what a program answers the faults of.
            let alone = start == request.addr && next >= request.old_end();
            let gap_first = at == request.addr && start > at;
            if gap_first || (!alone && (vma.shm().is_some() || vma.vm_flags() & vm::UFFD != 0)) {
                return Err(Error::Efault);
            }
            let bytes = request.old_end().min(next).0 - start.0;
            let part = Request {
                addr: start,
                old_len: bytes,
                new_len: bytes,
                new_addr: request.new_addr + (start.0 - request.addr.0),
                ..request
            };
            let part = self.check_resize(mm_id, id, part)?;
            self.mremap_to(mm_id, part)?;
            at = next;
        }
        if at == request.addr {
            Err(Error::Efault)
        } else {
            Ok(request.new_addr)
        }
    }

    /// Whether the VMA can become what is asked for, in whole pages of its size. Source: Linux `check_prep_vma`.
    fn check_resize(&self, mm_id: MmId, id: VmaId, request: Request) -> Result<Request, Error> {
        let vma = self.vma(id);
        let request = if vma.has(vm::HUGETLB) {
            request.of_huge_pages()?
        } else {
            request
        };
        // Without pages of its own a copy has nothing to show. Rule B28.
        if request.old_len == 0 && !vma.has(vm::SHARED) {
            return Err(Error::Einval);
        }
        if request.has(remap_flag::DONTUNMAP) && vma.vm_flags() & (vm::PFNMAP | vm::DONTEXPAND) != 0 {
            return Err(Error::Einval);
        }
        if request.new_len > request.old_len {
            if request.old_len > vma.vm_end().0 - request.addr.0 || vma.has(vm::PFNMAP) {
                return Err(Error::Efault);
            }
            let end = vma
                .linear_page_index(request.addr)
                .checked_add(request.new_len >> PAGE_SHIFT);
            if end.is_none_or(|end| end > u64::MAX >> PAGE_SHIFT) {
                return Err(Error::Einval);
            }
            let (mm, pages) = (self.mm(mm_id), (request.new_len - request.old_len) >> PAGE_SHIFT);
            self.mlock_future_ok(mm, vma.vm_flags(), pages)?;
            self.may_expand_vm(mm, vma.vm_flags(), pages, None)?;
        }
        let moves = request.has(remap_flag::FIXED | remap_flag::DONTUNMAP);
        if moves && request.old_len.min(request.new_len) > vma.vm_end().0 - request.addr.0 {
            return Err(Error::Efault);
        }
        Ok(request)
    }

    /// Lets the VMA grow upwards over free addresses; `false` when something is in the way.
    fn expand_in_place(&self, mm: MmStruct<'_>, id: VmaId, request: Request) -> Result<bool, Error> {
        let vma = self.vma(id);
        let (old_end, end) = (vma.vm_end(), request.addr.offset(request.new_len));
        if end < old_end || end.0 > TASK_SIZE || find_vma_intersection(self, mm, old_end, end).is_some() {
            return Ok(false);
        }
        let pages = (end.0 - old_end.0) >> PAGE_SHIFT;
        if vma.has(vm::ACCOUNT) {
            self.vm_enough_memory(pages)?;
        }
        self.vma_adjust(mm, id, vma.vm_start(), end, vma.vm_pgoff());
        mm.set_total_vm(mm.total_vm() + pages);
        if vma.has(vm::LOCKED) {
            mm.set_locked_vm(mm.locked_vm() + pages);
        }
        self.merge_around(mm, id);
        self.populate_if_locked(mm, old_end..end);
        Ok(true)
    }

    fn backing_of(&self, id: VmaId, addr: VirtAddr) -> Backing {
        let vma = self.vma(id);
        vma.vm_file().map_or(Backing::Anonymous, |file| {
            Backing::Object(file, vma.linear_page_index(addr))
        })
    }

    /// A move to a given place, or away from a mapping that stays. Source: Linux `mremap_to`.
    fn mremap_to(&self, mm_id: MmId, request: Request) -> Result<u64, Error> {
        let mm = self.mm(mm_id);
        if mm.map_count() + 2 + MOVE_MAP_COUNT >= self.max_map_count() {
            return Err(Error::Enomem);
        }
        let fixed = request.has(remap_flag::FIXED);
        let flags = if fixed { map_flag::FIXED } else { 0 };
        let to = self.get_unmapped_area(mm, request.new_addr, request.new_len, flags)?;
        if fixed {
            self.do_munmap_locked(mm, to, to.offset(request.new_len))?;
        }
        self.unmap_tail(mm, request)?;
        let request = Request {
            old_len: request.old_len.min(request.new_len),
            ..request
        };
        // What was unmapped may have been next to it, and cut it.
        let id = find_vma(self, mm, request.addr).ok_or(Error::Efault)?;
        if request.has(remap_flag::DONTUNMAP) {
            self.may_expand_vm(mm, self.vma(id).vm_flags(), request.new_len >> PAGE_SHIFT, None)?;
        }
        self.move_vma(mm_id, id, request, to)
    }

    /// Unmaps what a smaller mapping loses, whatever is there: the old length may reach past the mapping, but not past the addresses of
    /// programs. Source: Linux `shrink_vma`, `do_vmi_munmap`.
    fn unmap_tail(&self, mm: MmStruct<'_>, request: Request) -> Result<(), Error> {
        if request.old_len <= request.new_len {
            return Ok(());
        }
        let end = request.addr.0.checked_add(request.old_len);
        let end = end.filter(|&end| end <= TASK_SIZE).ok_or(Error::Einval)?;
        self.do_munmap_locked(mm, request.addr.offset(request.new_len), VirtAddr(end))
    }

    /// Moves `[addr, addr + old_len)` of a VMA to the free range at `to`. Source: Linux `move_vma`.
    fn move_vma(&self, mm_id: MmId, id: VmaId, request: Request, to: VirtAddr) -> Result<u64, Error> {
        let mm = self.mm(mm_id);
        if mm.map_count() + MOVE_MAP_COUNT >= self.max_map_count() {
            return Err(Error::Enomem);
        }
        // Cut out first: it is what can fail, and the old mapping can then go without failing.
        let id = if request.old_len == 0 {
            id
        } else {
            self.cut_out(mm, id, request.addr..request.old_end())?
        };
        // What the old mapping was charged goes to the new one, unless it stays. Source: Linux `vrm_calc_charge`.
        let kept = if request.has(remap_flag::DONTUNMAP) {
            0
        } else {
            request.old_len
        };
        let charge = if self.vma(id).has(vm::ACCOUNT) {
            (request.new_len - kept) >> PAGE_SHIFT
        } else {
            0
        };
        let copied = self.vm_enough_memory(charge).and_then(|()| {
            self.copy_vma(mm_id, id, request, to)
                .inspect_err(|_| self.vm_unacct_memory(charge))
        });
        let copy = match copied {
            Ok(copy) => copy,
            Err(error) => {
                self.merge_around(mm, id);
                return Err(error);
            }
        };
        let old = request.addr..request.old_end();
        if self.move_page_tables(mm, old.clone(), to).is_err() {
            // All tables of the old range are still there.
            let moved = to..to.offset(request.old_len);
            self.hand_over_resv_map(copy, id);
            self.move_tables_back(mm, moved.clone(), request.addr);
            let back = self.move_page_tables(mm, moved, request.addr);
            debug_assert!(back.is_ok(), "entries have no place to go back to");
            self.uncharge_vma(copy);
            self.vm_unacct_memory(charge);
            self.do_munmap_locked(mm, to, to.offset(request.new_len))?;
            self.merge_around(mm, id);
            return Err(Error::Enomem);
        }
        if request.has(remap_flag::DONTUNMAP) {
            self.unlock_emptied(mm, id);
            self.merge_around(mm, id);
        } else if request.old_len != 0 {
            self.uncharge_vma(id);
            self.do_munmap_locked(mm, old.start, old.end)?;
        }
        self.merge_around(mm, copy);
        self.populate_if_locked(mm, to.offset(request.old_len)..to.offset(request.new_len));
        Ok(to.0)
    }

    /// A VMA that goes was not charged, or what it was charged is another's now.
    fn uncharge_vma(&self, id: VmaId) {
        let vma = self.vma(id);
        vma.set_vm_flags(vma.vm_flags() & !vm::ACCOUNT);
    }

    /// A VMA at `to` like `id`, without its pages. What it is charged was charged by the caller. Source: Linux `copy_vma`.
    fn copy_vma(&self, mm_id: MmId, id: VmaId, request: Request, to: VirtAddr) -> Result<VmaId, Error> {
        let mm = self.mm(mm_id);
        let pages = request.new_len >> PAGE_SHIFT;
        let copy_id = self.vm_area_alloc().ok_or(Error::Enomem)?;
        let (vma, copy) = (self.vma(id), self.vma(copy_id));
        copy.set_vm_start(to);
        copy.set_vm_end(to.offset(request.new_len));
        // Who answers faults does not come along. Source: Linux `mremap_userfaultfd_prep`.
        copy.set_vm_flags(vma.vm_flags() & !vm::UFFD);
        // Anonymous memory without pages is numbered afresh, so that it merges at its new place.
        copy.set_vm_pgoff(
            if vma.vm_file().is_none() && vma.anon_vma().is_none() && !vma.has(vm::PFNMAP) {
                to.0 >> PAGE_SHIFT
            } else {
                vma.linear_page_index(request.addr)
            },
        );
        copy.set_vm_file(vma.vm_file());
        copy.set_vm_mm(Some(mm_id));
        copy.set_shm(vma.shm());
        copy.set_opened(if vma.has(vm::HUGETLB) { 0 } else { vma.opened() });
        self.vma_opened(copy_id, vma.anon_vma());
        self.hand_over_resv_map(id, copy_id);
        vma_link(self, mm, copy_id);
        mm.set_total_vm(mm.total_vm() + pages);
        if copy.has(vm::LOCKED) {
            mm.set_locked_vm(mm.locked_vm() + pages);
        }
        Ok(copy_id)
    }

    /// What a mapping of huge pages was promised goes with its pages.
    fn hand_over_resv_map(&self, from: VmaId, to: VmaId) {
        let (from, to) = (self.vma(from), self.vma(to));
        if from.has(vm::HUGETLB) {
            Self::tie_hugetlb_vma(to, from.resv_map());
            Self::tie_hugetlb_vma(from, None);
        }
    }

    /// Moves the entries of `from` to the range at `to`. On failure some are here, some there.
    fn move_page_tables(&self, mm: MmStruct<'_>, from: Range<VirtAddr>, to: VirtAddr) -> Result<(), Error> {
        let start = from.start.0;
        if self.has_leaves() {
            if find_vma(self, mm, from.start).is_some_and(|id| self.vma(id).has(vm::HUGETLB)) {
                return self.move_hugetlb_page_tables(mm, from, to);
            }
            self.move_leaves(mm, from.clone(), to);
        }
        let moved = self.for_each_pte(mm.pgd(), from, |addr, pte| {
            let Some(slot) = self.pte_alloc(mm, to.offset(addr.0 - start)) else {
                return false;
            };
            // The table may have cost reclaim, and reclaim may have changed the entry.
            let entry = pte.get();
            pte.set(0);
            slot.set(entry);
            if P::Pte::is_present(entry) {
                self.platform.flush_tlb_page(mm.pgd(), addr);
            }
            true
        });
        if moved { Ok(()) } else { Err(Error::Enomem) }
    }

    /// An old mapping that stays has no pages that could be locked. Source: Linux `dontunmap_complete`.
    fn unlock_emptied(&self, mm: MmStruct<'_>, id: VmaId) {
        let vma = self.vma(id);
        if vma.has(vm::LOCKED) {
            mm.set_locked_vm(mm.locked_vm() - vma.pages());
            vma.set_vm_flags(vma.vm_flags() & !(vm::LOCKED | vm::LOCKONFAULT));
        }
        // The pages that its anon_vma knows are elsewhere now. Rule B22: so it can merge again.
        self.anon_vma_unlink(id);
    }
}
