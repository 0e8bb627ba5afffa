//! Answers that are huge pages of the pool. Source: Linux, mm/userfaultfd.c (`mfill_atomic_hugetlb`), mm/hugetlb.c (`hugetlb_mfill_atomic_pte`).
//! Rules H4, H5, A24.

use super::fill::Content;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::error::{Error, Fault};
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::shmem::InodeId;
use crate::sync::Word;
use crate::vma::{MmId, VmArea, vm};

/// Where a huge page is to go: an empty leaf.
#[derive(Clone, Copy)]
struct Place<'a> {
    vma: VmArea<'a>,
    file: InodeId,
    /// In the object, in huge pages.
    index: u64,
    slot: &'a Word,
}

impl Place<'_> {
    fn is_shared(self) -> bool {
        self.vma.has(vm::SHARED)
    }
}

impl<P: Platform> Memory<P> {
    /// One huge page, `done` bytes behind the first.
    pub(super) fn mfill_huge_page(&self, mm: MmId, addr: VirtAddr, content: Content, done: u64) -> Result<(), Error> {
        match content {
            Content::Copy(src_mm, src) => self.copy_huge_page(mm, addr, src_mm, src + done),
            Content::Cached => self.map_cached_huge_page(mm, addr),
            // Nobody offers these.
            Content::Zeroes => Err(Error::Einval),
        }
    }

    /// The place at an address; whoever asks has the `mmap_lock`.
    fn huge_place(&self, mm: MmId, addr: VirtAddr) -> Result<Place<'_>, Error> {
        let mm = self.mm(mm);
        let vma = self.vma(self.find_dst_vma(mm, &(addr..addr.offset(HPAGE_SIZE)))?);
        let file = vma.vm_file().filter(|_| vma.has(vm::HUGETLB)).ok_or(Error::Enoent)?;
        let slot = self.pmd_alloc(mm, addr).ok_or(Error::Enomem)?.slot;
        let index = vma.linear_page_index(addr) >> HPAGE_ORDER;
        Ok(Place { vma, file, index, slot })
    }

    fn map_cached_huge_page(&self, mm: MmId, addr: VirtAddr) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let place = self.huge_place(mm, addr)?;
        let cached = self.huge_cached_at(place.file, place.index << HPAGE_ORDER);
        let head = cached.ok_or(Error::Efault)?;
        if place.slot.get() != 0 {
            return Err(Error::Eexist);
        }
        self.get_page(head);
        let writable = place.vma.has(vm::SHARED | vm::WRITE);
        self.hugetlb_enter(self.mm(mm), place.vma, place.slot, head, writable, writable);
        Ok(())
    }

    /// The page comes first, then what is in it: fetching that may fault, which takes the lock, and anything may have changed afterwards.
    fn copy_huge_page(&self, mm: MmId, addr: VirtAddr, src_mm: MmId, src: u64) -> Result<(), Error> {
        let (head, taken) = {
            let _guard = self.locks.mmap.lock();
            let place = self.huge_place(mm, addr)?;
            let cached = || self.huge_cached_at(place.file, place.index << HPAGE_ORDER).is_some();
            if place.slot.get() != 0 || (place.is_shared() && cached()) {
                return Err(Error::Eexist);
            }
            self.take_for_vma(place.vma, place.index).map_err(|fault| match fault {
                Fault::Oom => Error::Enomem,
                // So says Linux of an empty pool: it looks whether somebody else filled the place, and takes its entry for a page.
                _ => Error::Eexist,
            })?
        };
        let copied = (0..HPAGE_PAGES)
            .try_for_each(|i| self.copy_to_frame(head.offset(i), src_mm, src + (u64::from(i) << PAGE_SHIFT)));
        let _guard = self.locks.mmap.lock();
        copied
            .and_then(|()| self.enter_huge_page(mm, addr, head))
            .inspect_err(|_| self.untake_for_vma(taken, head))
    }

    fn enter_huge_page(&self, mm: MmId, addr: VirtAddr, head: Pfn) -> Result<(), Error> {
        let place = self.huge_place(mm, addr)?;
        if place.slot.get() != 0 {
            return Err(Error::Eexist);
        }
        if place.is_shared() {
            if place.index >= self.i_size(place.file) >> HPAGE_SHIFT {
                return Err(Error::Efault);
            }
            self.hugetlb_add_to_page_cache(place.file, place.index, head)?;
            self.get_page(head);
        } else {
            self.page(head).set_flags(crate::page::flag::ANON);
        }
        let writable = place.vma.has(vm::WRITE);
        self.hugetlb_enter(self.mm(mm), place.vma, place.slot, head, writable, true);
        Ok(())
    }
}
