//! New mappings. Source: Linux, mm/mmap.c (`do_mmap`, `mmap_region`, `get_unmapped_area`). Rules B1 to B18.

use core::ops::Range;

use super::{Backing, TASK_SIZE, calc_vm_prot_bits, map_flag};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, page_align};
use crate::error::Error;
use crate::ipc::ShmId;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::shmem::{InodeId, inode_flag, seal};
use crate::vma::{MmId, MmStruct, vm};
use crate::vma_tree::{UnmappedAreaInfo, find_vma_intersection, unmapped_area_topdown, vma_link};

/// A mapping to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) start: VirtAddr,
    pub(crate) end: VirtAddr,
    pub(crate) vm_flags: u64,
    /// The object; the mapping takes over a reference to it.
    pub(crate) file: Option<InodeId>,
    pub(crate) pgoff: u64,
    pub(crate) shm: Option<ShmId>,
    /// [`crate::vma::VmArea::opened`].
    pub(crate) opened: u64,
}

/// An object, and what the descriptor that it is to be mapped through allows.
#[derive(Clone, Copy, Debug)]
pub struct MapFile {
    /// The object; the caller's reference stays the caller's.
    pub inode: InodeId,
    /// Opened for reading.
    pub readable: bool,
    /// Opened for writing.
    pub writable: bool,
    /// Number of the open file description, never used again; mappings of different ones are never one. Rule B23.
    pub opened: u64,
}

impl From<InodeId> for MapFile {
    /// With every right, through no descriptor.
    fn from(inode: InodeId) -> Self {
        Self {
            inode,
            readable: true,
            writable: true,
            opened: 0,
        }
    }
}

impl MapFile {
    /// The flags of a mapping through this descriptor. Rules B5, B6; Linux `do_mmap`.
    fn restrict(&self, vm_flags: u64) -> Result<u64, Error> {
        let shared = vm_flags & vm::SHARED != 0;
        if !self.readable || (shared && vm_flags & vm::WRITE != 0 && !self.writable) {
            return Err(Error::Eacces);
        }
        let fixed = if shared && !self.writable { vm::MAYWRITE } else { 0 };
        Ok(vm_flags & !fixed)
    }
}

/// What a shared mapping of a sealed object may be. Rule C49; Linux `memfd_check_seals_mmap`.
fn check_seals(seals: u64, vm_flags: u64) -> Result<u64, Error> {
    if seals & (seal::WRITE | seal::FUTURE_WRITE) == 0 || vm_flags & vm::SHARED == 0 {
        return Ok(vm_flags);
    }
    if vm_flags & vm::WRITE != 0 {
        return Err(Error::Eperm);
    }
    Ok(vm_flags & !vm::MAYWRITE)
}

/// Whether a mapping is to be charged, and is not yet. Source: Linux `accountable_mapping`.
const fn is_accountable(vm_flags: u64) -> bool {
    vm_flags & (vm::NORESERVE | vm::SHARED | vm::WRITE | vm::ACCOUNT) == vm::WRITE
}

impl<P: Platform> Memory<P> {
    /// `mmap`: maps `len` bytes of `file` from page `pgoff` on, or of zeroes, and returns where. For an object of huge pages
    /// ([`Memory::is_hugetlb`]), `flags` have [`map_flag::HUGETLB`], whether the program said so or not.
    ///
    /// # Errors
    /// As mmap(2); the order of the checks is Linux's. Rules B1 to B18.
    #[expect(clippy::too_many_arguments, reason = "those of mmap(2)")]
    pub fn do_mmap(
        &self,
        mm_id: MmId,
        addr: u64,
        len: u64,
        prot: u64,
        flags: u64,
        file: Option<MapFile>,
        pgoff: u64,
    ) -> Result<u64, Error> {
        let _guard = self.locks.mmap.lock();
        if flags & map_flag::HUGETLB != 0 {
            return self.mmap_hugetlb(mm_id, addr, len, prot, flags, file, pgoff);
        }
        self.do_mmap_locked::<false>(mm_id, addr, len, prot, flags, file, pgoff)
    }

    /// [`Memory::do_mmap`] with the `mmap_lock`. Only if `HUGETLB`, `file` may be an object of huge pages, and `len` a multiple of these: two
    /// copies of the code, so that others do not pay for looking.
    #[expect(clippy::too_many_arguments, reason = "those of mmap(2)")]
    #[inline(always)]
    pub(crate) fn do_mmap_locked<const HUGETLB: bool>(
        &self,
        mm_id: MmId,
        addr: u64,
        len: u64,
        prot: u64,
        flags: u64,
        file: Option<MapFile>,
        pgoff: u64,
    ) -> Result<u64, Error> {
        let mm = self.mm(mm_id);
        if len == 0 {
            return Err(Error::Einval);
        }
        let len = page_align(len).filter(|&len| len <= TASK_SIZE).ok_or(Error::Enomem)?;
        if mm.map_count() > self.max_map_count() {
            return Err(Error::Enomem);
        }
        // Rule B17: a place is looked for before the kind of mapping is.
        let backing = || match file {
            Some(file) => Backing::Object(file.inode, pgoff),
            None if flags & map_flag::TYPE == map_flag::PRIVATE => Backing::Anonymous,
            None => Backing::NewObject,
        };
        let start = self.get_unmapped_area_for(mm, addr, len, flags, backing)?;
        // An object ends where its size, a signed number of bytes, does. Rule B2.
        let last_page = pgoff.checked_add(len >> PAGE_SHIFT);
        if file.is_some() && last_page.is_none_or(|end| end > i64::MAX as u64 >> PAGE_SHIFT) {
            return Err(Error::Eoverflow);
        }
        if flags & map_flag::LOCKED != 0 {
            self.can_do_mlock(mm)?;
            self.mlock_future_ok(mm, vm::LOCKED, len >> PAGE_SHIFT)?;
        }
        self.mlock_future_ok(mm, mm.def_flags(), len >> PAGE_SHIFT)?;
        let shared = match flags & map_flag::TYPE {
            map_flag::PRIVATE => false,
            map_flag::SHARED => true,
            map_flag::SHARED_VALIDATE if file.is_some() && flags & !map_flag::KNOWN != 0 => {
                return Err(Error::Eopnotsupp);
            }
            map_flag::SHARED_VALIDATE if file.is_some() => true,
            _ => return Err(Error::Einval),
        };
        let end = start.offset(len);
        let mut vm_flags = calc_vm_prot_bits(prot) | vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC;
        if shared {
            vm_flags |= vm::SHARED | vm::MAYSHARE;
        }
        if let Some(file) = file {
            vm_flags = check_seals(self.seals(file.inode), file.restrict(vm_flags)?)?;
            if shared && file.opened != 0 {
                vm_flags |= vm::TIMES;
            }
        }
        // One look for all of them, so that who has none pays for one.
        if flags & (map_flag::GROWSDOWN | map_flag::NORESERVE | map_flag::LOCKED | map_flag::STACK) != 0 {
            if flags & map_flag::GROWSDOWN != 0 && (shared || file.is_some()) {
                return Err(Error::Einval);
            }
            vm_flags |= self.calc_vm_flag_bits::<HUGETLB>(flags);
        }
        self.may_expand_vm(mm, vm_flags, len >> PAGE_SHIFT, Some(start..end))?;
        // Any other place was found free.
        if flags & map_flag::FIXED != 0 {
            vm_flags |= self.replace::<HUGETLB>(mm, start..end, vm_flags)?;
        }
        let mapping = match file {
            // Shared memory without a name is an object like any other. Rule B4.
            None if shared => {
                let object = self.shmem_file_setup(len, vm_flags & vm::NORESERVE != 0)?;
                Mapping {
                    start,
                    end,
                    vm_flags,
                    file: Some(object),
                    pgoff: 0,
                    shm: None,
                    opened: 0,
                }
            }
            None => Mapping {
                start,
                end,
                vm_flags,
                file: None,
                pgoff: start.0 >> PAGE_SHIFT,
                shm: None,
                opened: 0,
            },
            Some(file) => {
                self.ihold(file.inode);
                Mapping {
                    start,
                    end,
                    vm_flags,
                    file: Some(file.inode),
                    pgoff,
                    shm: None,
                    opened: file.opened,
                }
            }
        };
        if HUGETLB {
            let mapping = self.hugetlb_mapping(mapping)?;
            self.mmap_region::<true>(mm_id, mapping)
                .inspect_err(|_| self.hugetlb_mapping_failed(&mapping))?;
        } else {
            self.mmap_region::<false>(mm_id, mapping)?;
        }
        if flags & (map_flag::POPULATE | map_flag::NONBLOCK) == map_flag::POPULATE {
            self.populate_ignoring_errors(mm, start..end);
        } else {
            self.populate_if_locked(mm, start..end);
        }
        Ok(start.0)
    }

    /// What flags make of a mapping, but for those that say of what it is.
    #[cold]
    fn calc_vm_flag_bits<const HUGETLB: bool>(&self, flags: u64) -> u64 {
        let bit = |flag, bit| if flags & flag != 0 { bit } else { 0 };
        // What huge pages are promised has nothing to do with the commit counter.
        let noreserve = HUGETLB || !self.overcommits_never();
        bit(map_flag::GROWSDOWN, vm::GROWSDOWN)
            | bit(map_flag::LOCKED, vm::LOCKED)
            | bit(map_flag::STACK, vm::NOHUGEPAGE)
            | bit(map_flag::NORESERVE, if noreserve { vm::NORESERVE } else { 0 })
    }

    /// Unmaps what a new mapping replaces, once that is charged, less what the old ones were: a refused one leaves everything as it was.
    /// Returns [`vm::ACCOUNT`] if it is charged now, else 0. Source: Linux `__mmap_setup`. Rule B18.
    #[inline(never)]
    fn replace<const HUGETLB: bool>(
        &self,
        mm: MmStruct<'_>,
        range: Range<VirtAddr>,
        vm_flags: u64,
    ) -> Result<u64, Error> {
        if HUGETLB || !is_accountable(vm_flags) {
            return self.do_munmap_locked(mm, range.start, range.end).map(|()| 0);
        }
        let replaced = self.mapped_pages(mm, &range, vm::ACCOUNT);
        let charge = ((range.end.0 - range.start.0) >> PAGE_SHIFT) - replaced;
        self.vm_enough_memory(charge)?;
        self.do_munmap_locked(mm, range.start, range.end)
            .inspect_err(|_| self.vm_unacct_memory(charge))?;
        self.vm_acct_memory(replaced);
        Ok(vm::ACCOUNT)
    }

    /// Where a mapping of `len` bytes goes. Rules B8, B9, B10.
    pub(crate) fn get_unmapped_area(
        &self,
        mm: MmStruct<'_>,
        addr: u64,
        len: u64,
        flags: u64,
    ) -> Result<VirtAddr, Error> {
        let fits = addr.checked_add(len).is_some_and(|end| end <= TASK_SIZE);
        if flags & (map_flag::FIXED | map_flag::FIXED_NOREPLACE) != 0 {
            let start = VirtAddr(addr);
            if !fits {
                return Err(Error::Enomem);
            }
            if !start.is_page_aligned() {
                return Err(Error::Einval);
            }
            if addr < self.mmap_min_addr() {
                return Err(Error::Eperm);
            }
            let taken = find_vma_intersection(self, mm, start, start.offset(len)).is_some();
            if taken && flags & map_flag::FIXED_NOREPLACE != 0 {
                return Err(Error::Eexist);
            }
            return Ok(start);
        }
        // A hint that is too low is raised. Rule B10.
        let least = self.mmap_min_addr();
        let page = VirtAddr(addr).page().0;
        if page != 0 && fits {
            let hint = VirtAddr(page.max(least));
            let fits = hint.0.checked_add(len).is_some_and(|end| end <= TASK_SIZE);
            if fits && self.is_free(mm, hint..hint.offset(len)) {
                return Ok(hint);
            }
        }
        let info = UnmappedAreaInfo {
            length: len,
            low_limit: least.max(PAGE_SIZE),
            high_limit: mm.mmap_base().0,
            align_mask: 0,
            align_offset: 0,
        };
        unmapped_area_topdown(self, mm, &info).ok_or(Error::Enomem)
    }

    /// Enters a mapping where nothing is mapped, and whose size was found allowed ([`Memory::may_expand_vm`]): charges it, merges it with its
    /// neighbours or makes a VMA. One with [`vm::ACCOUNT`] is charged already. On failure the reference to the object is dropped. Mappings of huge pages (`HUGETLB`), which are never charged
    /// and never merged (Linux gives them `VM_DONTEXPAND`), have a copy of their own.
    pub(crate) fn mmap_region<const HUGETLB: bool>(&self, mm_id: MmId, mapping: Mapping) -> Result<(), Error> {
        let mm = self.mm(mm_id);
        let pages = (mapping.end.0 - mapping.start.0) >> PAGE_SHIFT;
        let mut mapping = mapping;
        if !HUGETLB && mapping.vm_flags & vm::PFNMAP == 0 {
            mapping.vm_flags |= mm.def_flags();
        }
        if let Some(file) = mapping.file
            && self.inode(file).i_flags() & inode_flag::HUGE != 0
        {
            mapping.vm_flags |= vm::HUGE_OBJECT;
        }
        let accountable = !HUGETLB && is_accountable(mapping.vm_flags);
        let entered = (|| {
            if accountable {
                self.vm_enough_memory(pages)?;
                mapping.vm_flags |= vm::ACCOUNT;
            }
            if !HUGETLB && self.vma_merge(mm, &mapping) {
                return Ok(());
            }
            let Some(id) = self.vm_area_alloc() else {
                if mapping.vm_flags & vm::ACCOUNT != 0 {
                    self.vm_unacct_memory(pages);
                }
                return Err(Error::Enomem);
            };
            let vma = self.vma(id);
            vma.set_vm_start(mapping.start);
            vma.set_vm_end(mapping.end);
            vma.set_vm_flags(mapping.vm_flags);
            vma.set_vm_pgoff(mapping.pgoff);
            vma.set_vm_file(mapping.file);
            vma.set_vm_mm(Some(mm_id));
            vma.set_shm(mapping.shm);
            vma.set_opened(mapping.opened);
            self.i_mmap_link(id);
            vma_link(self, mm, id);
            Ok(())
        })();
        match entered {
            Ok(()) => {
                mm.set_total_vm(mm.total_vm() + pages);
                if mapping.vm_flags & vm::LOCKED != 0 {
                    mm.set_locked_vm(mm.locked_vm() + pages);
                }
            }
            Err(_) => {
                if let Some(file) = mapping.file {
                    self.iput(file);
                }
            }
        }
        entered
    }

    /// Maps device memory at `phys` (page-aligned) for a program. Its pages have no [`crate::page::Page`].
    ///
    /// # Errors
    /// [`Error::Einval`] for unaligned values, [`Error::Enomem`] without room.
    pub fn map_device(&self, mm_id: MmId, phys: u64, len: u64) -> Result<u64, Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        if len == 0 || !VirtAddr(len).is_page_aligned() || !VirtAddr(phys).is_page_aligned() {
            return Err(Error::Einval);
        }
        let start = self.get_unmapped_area(mm, 0, len, 0)?;
        let end = start.offset(len);
        let vm_flags = vm::READ | vm::WRITE | vm::SHARED | vm::PFNMAP;
        self.may_expand_vm(mm, vm_flags, len >> PAGE_SHIFT, None)?;
        let mapping = Mapping {
            start,
            end,
            vm_flags,
            file: None,
            pgoff: phys >> PAGE_SHIFT,
            shm: None,
            opened: 0,
        };
        self.mmap_region::<false>(mm_id, mapping)?;
        let mut mapped = 0;
        while mapped < len {
            let Some(ptes) = self.ptes_alloc(mm, start.offset(mapped)..end) else {
                self.do_munmap_locked(mm, start, end)?;
                return Err(Error::Enomem);
            };
            for pte in ptes {
                pte.set(P::Pte::page(Pfn::of_phys(phys + mapped), true, false, true));
                mapped += 1 << PAGE_SHIFT;
            }
        }
        Ok(start.0)
    }
}
