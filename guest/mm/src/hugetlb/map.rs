//! Mappings of huge pages come, are copied, move, and go. Source: Linux, fs/hugetlbfs/inode.c (`hugetlbfs_file_mmap`,
//! `hugetlb_get_unmapped_area`), mm/mmap.c (`ksys_mmap_pgoff`), mm/hugetlb.c (`__unmap_hugepage_range`, `copy_hugetlb_page_range`,
//! `move_hugetlb_page_tables`, `hugetlb_vm_op_close`). Rules A26, B12.

use core::ops::Range;

use super::{check_size, hpage_align, is_hpage_aligned};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE, huge_start};
use crate::memory::Memory;
use crate::mmap::{MapFile, Mapping, TASK_SIZE, advice, map_flag};
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::record::Field;
use crate::shmem::InodeId;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma_intersection;

/// What is shown of an object without a name.
const ANON_NAME: &[u8] = b"/anon_hugepage";

impl<P: Platform> Memory<P> {
    /// `mmap` with `MAP_HUGETLB`, or of an object of huge pages: a length in whole huge pages, an object in any case.
    ///
    /// # Errors
    /// As [`Memory::do_mmap`]; [`Error::Enomem`] when the pool has too few pages to reserve. Rule B12.
    #[expect(clippy::too_many_arguments, reason = "those of mmap(2)")]
    #[cold]
    #[inline(never)]
    pub(crate) fn mmap_hugetlb(
        &self,
        mm_id: MmId,
        addr: u64,
        len: u64,
        prot: u64,
        flags: u64,
        file: Option<MapFile>,
        pgoff: u64,
    ) -> Result<u64, Error> {
        let len = hpage_align(len);
        let fixed = flags & (map_flag::FIXED | map_flag::FIXED_NOREPLACE) != 0;
        let aligned = !fixed || is_hpage_aligned(addr);
        let object = match file {
            Some(file) if !self.is_hugetlb(file.inode) => return Err(Error::Einval),
            Some(_) => None,
            None => {
                check_size(flags >> map_flag::HUGE_SHIFT & 0x3f)?;
                // The mapping reserves, not the object.
                let object = self.hugetlb_file_setup(len, true)?;
                let named = self.set_i_name(object, ANON_NAME);
                named.inspect_err(|_| self.iput(object))?;
                Some(object)
            }
        };
        let rest = flags & !map_flag::HUGETLB;
        let mapped = if aligned {
            self.do_mmap_locked::<true>(mm_id, addr, len, prot, rest, file.or(object.map(MapFile::from)), pgoff)
        } else {
            Err(Error::Einval)
        };
        if let Some(object) = object {
            self.iput(object);
        }
        let at = mapped?;
        self.populate_as_if_locked(mm_id, at, len, flags);
        Ok(at)
    }

    /// A mapping that is to be locked is not, but gets its pages at once.
    fn populate_as_if_locked(&self, mm_id: MmId, at: u64, len: u64, flags: u64) {
        let mm = self.mm(mm_id);
        let locked = flags & map_flag::LOCKED != 0 || mm.def_flags() & vm::LOCKED != 0;
        if locked && mm.def_flags() & vm::LOCKONFAULT == 0 {
            self.populate_ignoring_errors(mm, VirtAddr(at)..VirtAddr(at + len));
        }
    }

    /// A mapping of an object of huge pages as it is to be entered: with its flags, and in place of what it was opened through its reservation
    /// map. A writable one makes the object as long as it is. A segment's pages were reserved with it, if at all. Source: Linux `hugetlbfs_file_mmap`.
    ///
    /// # Errors
    /// [`Error::Einval`] for places in the object that are no multiple of 2 MiB, [`Error::Enomem`] when the pool has too few pages; the
    /// mapping's reference to the object is dropped.
    #[cold]
    #[inline(never)]
    pub(crate) fn hugetlb_mapping(&self, mapping: Mapping) -> Result<Mapping, Error> {
        let Some(file) = mapping.file else {
            return Err(Error::Einval);
        };
        let vm_flags = Self::hugetlb_vm_flags(mapping.vm_flags);
        let first = mapping.pgoff >> HPAGE_ORDER;
        let pages = first..first + ((mapping.end.0 - mapping.start.0) >> HPAGE_SHIFT);
        let aligned = first << HPAGE_ORDER == mapping.pgoff && is_hpage_aligned(mapping.start.0 | mapping.end.0);
        let reserved = if !aligned {
            Err(Error::Einval)
        } else if vm_flags & vm::NORESERVE != 0 || mapping.shm.is_some() {
            Ok(None)
        } else if vm_flags & vm::MAYSHARE != 0 {
            self.hugetlb_reserve_pages(file, pages.clone()).map(|()| None)
        } else {
            self.resv_map_alloc(pages.end - pages.start).map(Some)
        };
        let map = reserved.inspect_err(|_| self.iput(file))?;
        let (inode, end) = (self.inode(file), pages.end << HPAGE_SHIFT);
        if vm_flags & vm::WRITE != 0 && inode.i_size() < end {
            inode.set_i_size(end);
        }
        Ok(Mapping {
            vm_flags,
            opened: Self::hugetlb_word(mapping.start, map),
            ..mapping
        })
    }

    /// Takes [`Memory::hugetlb_mapping`] back. What an object was promised stays with it.
    #[cold]
    #[inline(never)]
    pub(crate) fn hugetlb_mapping_failed(&self, mapping: &Mapping) {
        if let Some(map) = Option::<InodeId>::from_word(mapping.opened) {
            self.iput(map);
            self.hugetlb_unacct_memory((mapping.end.0 - mapping.start.0) >> HPAGE_SHIFT);
        }
    }

    /// Where a mapping of huge pages goes that may go anywhere. A hint is rounded up. Source: Linux `hugetlb_get_unmapped_area`. Rule A26.
    pub(crate) fn hugetlb_area(&self, mm: MmStruct<'_>, addr: u64, len: u64) -> Result<VirtAddr, Error> {
        let least = self.mmap_min_addr();
        let hint = VirtAddr(hpage_align(addr));
        let fits = hint.0 >= least && hint.0.checked_add(len).is_some_and(|end| end <= TASK_SIZE);
        if hint.0 != 0 && fits && find_vma_intersection(self, mm, hint, hint.offset(len)).is_none() {
            return Ok(hint);
        }
        // Of as many pages more as this has small ones but one, one begins a huge page.
        let padded = len.checked_add(HPAGE_SIZE - PAGE_SIZE).ok_or(Error::Enomem)?;
        let found = self.get_unmapped_area(mm, 0, padded, 0)?;
        Ok(VirtAddr(hpage_align(found.0)))
    }

    /// A VMA was cut, and this is the upper part, which has its reservation map, too; or it was copied, without one. Source: Linux
    /// `hugetlb_vm_op_open`.
    #[cold]
    #[inline(never)]
    pub(crate) fn hugetlb_vm_op_open(&self, vma: VmArea<'_>) {
        let map = vma.resv_map();
        if let Some(map) = map {
            self.ihold(map);
        }
        Self::tie_hugetlb_vma(vma, map);
    }

    /// Gives a VMA its reservation map. Besides, the word is one that no other VMA has beside it, as if each had been mapped through a
    /// description of its own: so none are merged. Source: Linux `VM_SPECIAL`.
    pub(crate) fn tie_hugetlb_vma(vma: VmArea<'_>, map: Option<InodeId>) {
        vma.set_opened(Self::hugetlb_word(vma.vm_start(), map));
    }

    fn hugetlb_word(start: VirtAddr, map: Option<InodeId>) -> u64 {
        (start.0 >> HPAGE_SHIFT) << u32::BITS | map.to_word()
    }

    /// Removes all pages of a VMA that is about to go, and takes back what it was promised and did not use.
    #[cold]
    #[inline(never)]
    pub(crate) fn hugetlb_unmap_vma(&self, mm: MmStruct<'_>, vma: VmArea<'_>) {
        self.hugetlb_zap_range(mm, vma, vma.vm_start()..vma.vm_end());
        if let Some(map) = vma.resv_map() {
            let first = vma.vm_pgoff() >> HPAGE_ORDER;
            let pages = vma.pages() >> HPAGE_ORDER;
            let used = self.region_count(map, first..first + pages);
            Self::tie_hugetlb_vma(vma, None);
            self.iput(map);
            self.hugetlb_unacct_memory(pages - used);
        }
    }

    /// Removes the pages that a VMA maps in a range of whole huge pages. Who reserved and lets a page go is promised it again. Source: Linux
    /// `__unmap_hugepage_range`.
    pub(super) fn hugetlb_zap_range(&self, mm: MmStruct<'_>, vma: VmArea<'_>, range: Range<VirtAddr>) {
        self.for_each_leaf(mm.pgd(), range, |at, pmd| {
            let head = P::Pte::pfn(pmd.slot.get());
            pmd.slot.set(0);
            self.platform.flush_tlb_huge(mm.pgd(), at);
            mm.set_hugetlb_usage(mm.hugetlb_usage() - u64::from(HPAGE_PAGES));
            self.hugetlb_remove_rmap(head);
            let restored = vma
                .resv_map()
                .filter(|_| self.page(head).has(flag::ANON) && self.huge_refcount(head) == 1)
                .filter(|_| self.hstate.has_no_surplus());
            self.put_page(head);
            if let Some(map) = restored {
                let index = vma.linear_page_index(at) >> HPAGE_ORDER;
                self.region_del(map, index..index + 1);
                self.restore_reserve();
            }
            true
        });
    }

    /// Copies the leaves of a private mapping for a child, which is promised nothing; stores are forbidden on both sides. Source: Linux
    /// `copy_hugetlb_page_range`.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    #[cold]
    #[inline(never)]
    pub(crate) fn copy_hugetlb_page_range(
        &self,
        old: MmStruct<'_>,
        new: MmStruct<'_>,
        range: Range<VirtAddr>,
    ) -> Result<(), Error> {
        let done = self.for_each_leaf(old.pgd(), range, |at, pmd| {
            let Some(to) = self.pmd_alloc(new, at) else {
                return false;
            };
            let leaf = P::Pte::wrprotect(pmd.slot.get());
            let head = P::Pte::pfn(leaf);
            pmd.slot.set(leaf);
            self.get_page(head);
            self.hugetlb_add_rmap(head);
            to.slot.set(P::Pte::mkold(leaf));
            new.set_hugetlb_usage(new.hugetlb_usage() + u64::from(HPAGE_PAGES));
            true
        });
        if done { Ok(()) } else { Err(Error::Enomem) }
    }

    /// Moves the leaves of a VMA to its copy at `to`, and what it was promised.
    ///
    /// # Errors
    /// [`Error::Enomem`]; nothing moved.
    #[cold]
    #[inline(never)]
    pub(crate) fn move_hugetlb_page_tables(
        &self,
        mm: MmStruct<'_>,
        range: Range<VirtAddr>,
        to: VirtAddr,
    ) -> Result<(), Error> {
        let target = |at: VirtAddr| to.offset(at.0 - range.start.0);
        let room = self.for_each_leaf(mm.pgd(), range.clone(), |at, _| {
            self.pmd_alloc(mm, target(at)).is_some()
        });
        if !room {
            return Err(Error::Enomem);
        }
        self.for_each_leaf(mm.pgd(), range.clone(), |at, pmd| {
            if let Some(place) = self.pmd(mm.pgd(), target(at)).0 {
                place.slot.set(pmd.slot.get());
                pmd.slot.set(0);
                self.platform.flush_tlb_huge(mm.pgd(), at);
            }
            true
        });
        Ok(())
    }

    /// Advice about huge pages that is not remembered; `None` for what is. Rules B32 to B34.
    #[cold]
    #[inline(never)]
    pub(crate) fn hugetlb_madvise(
        &self,
        mm: MmStruct<'_>,
        id: VmaId,
        range: &Range<VirtAddr>,
        advice: i32,
    ) -> Option<Result<(), Error>> {
        let vma = self.vma(id);
        match advice {
            advice::DONTNEED | advice::DONTNEED_LOCKED if !is_hpage_aligned(range.start.0) => Some(Err(Error::Einval)),
            advice::DONTNEED | advice::DONTNEED_LOCKED => {
                // A part of a page at the end stays.
                self.hugetlb_zap_range(mm, vma, range.start..huge_start(range.end));
                Some(Ok(()))
            }
            advice::FREE | advice::COLD | advice::PAGEOUT => Some(Err(Error::Einval)),
            advice::REMOVE => {
                let file = Self::hugetlb_file(vma)?;
                if !vma.has(vm::SHARED | vm::MAYWRITE) {
                    return Some(Err(Error::Eacces));
                }
                let start = vma.linear_page_index(range.start) << PAGE_SHIFT;
                self.hugetlb_punch_locked(file, start, start + (range.end.0 - range.start.0));
                Some(Ok(()))
            }
            _ => None,
        }
    }
}
