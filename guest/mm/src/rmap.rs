//! Reverse mapping: from a frame to the page-table entries that map it.
//!
//! A page of an object is mapped by VMAs on the object's `i_mmap` list. An anonymous page is mapped by VMAs on the list of its
//! anon_vma: the VMA that first touched it, and those that `fork` and splitting made of that one. Either way the entry can
//! only be at the address where the VMA maps the page's index; [`Memory::rmap_walk`] looks there.
//!
//! `mapcount` says how many entries there are, so a walk stops when it has seen them all.
//!
//! Source: Linux, mm/rmap.c. Differs from Linux: one anon_vma for a whole family of forked VMAs (as in 2.6.7 to 2.6.33), lists
//! instead of interval trees.

use crate::addr::{Pfn, VirtAddr};
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, PteFormat, Vmstat};
use crate::record::{ObjId, id_type, record};
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea, VmaId};

id_type!(
    /// Number of an [`AnonVma`].
    AnonVmaId
);

record! {
    /// The VMAs in which a family of anonymous pages may be mapped. Freed with the last of them.
    pub struct AnonVma[2] {
        /// First VMA.
        head, set_head: Option<VmaId> = 0;
        /// Number of VMAs.
        count, set_count: u64 = 1;
    }
}

/// What a visitor of [`Memory::rmap_walk`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// Look at the next mapping.
    Continue,
    /// Enough.
    Stop,
}

impl<P: Platform> Memory<P> {
    /// Gives the VMA an anon_vma, if it has none. `None` when no memory can be had.
    #[inline]
    pub(crate) fn anon_vma_prepare(&self, id: VmaId) -> Option<AnonVmaId> {
        match self.vma(id).anon_vma() {
            Some(anon) => Some(anon),
            None => {
                let anon = self.anon_vma_alloc()?;
                self.anon_vma_link(id, anon);
                Some(anon)
            }
        }
    }

    /// Puts the VMA on the list of an anon_vma.
    pub(crate) fn anon_vma_link(&self, id: VmaId, anon_id: AnonVmaId) {
        let _guard = self.locks.i_mmap.lock();
        let (vma, anon) = (self.vma(id), self.anon_vma(anon_id));
        vma.set_anon_vma(Some(anon_id));
        vma.set_anon_prev(None);
        vma.set_anon_next(anon.head());
        if let Some(next) = anon.head() {
            self.vma(next).set_anon_prev(Some(id));
        }
        anon.set_head(Some(id));
        anon.set_count(anon.count() + 1);
    }

    /// Takes the VMA off the list of its anon_vma, if it has one.
    pub(crate) fn anon_vma_unlink(&self, id: VmaId) {
        let vma = self.vma(id);
        let Some(anon_id) = vma.anon_vma() else { return };
        let _guard = self.locks.i_mmap.lock();
        let anon = self.anon_vma(anon_id);
        match vma.anon_prev() {
            Some(prev) => self.vma(prev).set_anon_next(vma.anon_next()),
            None => anon.set_head(vma.anon_next()),
        }
        if let Some(next) = vma.anon_next() {
            self.vma(next).set_anon_prev(vma.anon_prev());
        }
        vma.set_anon_vma(None);
        anon.set_count(anon.count() - 1);
        if anon.count() == 0 {
            self.anon_vma_free(anon_id);
        }
    }

    /// Puts the VMA on the list of its object.
    pub(crate) fn i_mmap_link(&self, id: VmaId) {
        let vma = self.vma(id);
        let Some(file) = vma.vm_file() else { return };
        let _guard = self.locks.i_mmap.lock();
        let inode = self.inode(file);
        vma.set_i_mmap_prev(None);
        vma.set_i_mmap_next(inode.i_mmap());
        if let Some(next) = inode.i_mmap() {
            self.vma(next).set_i_mmap_prev(Some(id));
        }
        inode.set_i_mmap(Some(id));
    }

    /// Takes the VMA off the list of its object.
    pub(crate) fn i_mmap_unlink(&self, id: VmaId) {
        let vma = self.vma(id);
        let Some(file) = vma.vm_file() else { return };
        let _guard = self.locks.i_mmap.lock();
        match vma.i_mmap_prev() {
            Some(prev) => self.vma(prev).set_i_mmap_next(vma.i_mmap_next()),
            None => self.inode(file).set_i_mmap(vma.i_mmap_next()),
        }
        if let Some(next) = vma.i_mmap_next() {
            self.vma(next).set_i_mmap_prev(vma.i_mmap_prev());
        }
    }

    /// A new anonymous page gets its first mapping, which takes over the caller's reference.
    #[inline]
    pub(crate) fn page_add_new_anon_rmap(&self, pfn: Pfn, anon: AnonVmaId, index: u64) {
        let page = self.page(pfn);
        page.begin(
            [Event::Lock, Event::Uptodate, Event::Dirty, Event::Unlock],
            flag::ANON | flag::SWAPBACKED,
        );
        page.mapping.set(anon.0.get());
        page.index.set(index);
        page.mapcount.set(1);
        self.count(Vmstat::NrAnonMapped);
        self.lru_add(pfn);
    }

    /// An anonymous page gets one more mapping, which takes over the caller's reference.
    pub(crate) fn page_add_anon_rmap(&self, pfn: Pfn, anon: AnonVmaId, index: u64) {
        let page = self.page(pfn);
        if page.mapcount.get() == 0 {
            page.set_flags(flag::ANON);
            page.mapping.set(anon.0.get());
            page.index.set(index);
            self.count(Vmstat::NrAnonMapped);
        }
        page.mapcount.add(1);
    }

    /// A page of an object gets one more mapping, which takes over the caller's reference.
    #[inline(always)]
    pub(crate) fn page_add_file_rmap(&self, pfn: Pfn) {
        let page = self.page(pfn);
        if page.mapcount.get() == 0 {
            self.count(Vmstat::NrFileMapped);
        }
        page.mapcount.add(1);
    }

    /// A mapping of the page is gone; its reference is still to be dropped.
    #[inline]
    pub(crate) fn page_remove_rmap(&self, pfn: Pfn) {
        let page = self.page(pfn);
        page.mapcount.sub(1);
        if page.mapcount.get() == 0 {
            self.uncount(if page.has(flag::ANON) {
                Vmstat::NrAnonMapped
            } else {
                Vmstat::NrFileMapped
            });
        }
    }

    /// Counts a page of `vma` as resident (`by` = 1) or no longer (`by` = -1).
    #[inline(always)]
    pub(crate) fn add_rss(&self, mm: MmStruct<'_>, pfn: Pfn, by: i64) {
        if self.page(pfn).has(flag::ANON) {
            mm.set_rss_anon(mm.rss_anon().wrapping_add_signed(by));
        } else {
            mm.set_rss_shmem(mm.rss_shmem().wrapping_add_signed(by));
        }
    }

    /// Visits every present entry that maps the page.
    pub(crate) fn rmap_walk(&self, pfn: Pfn, mut visit: impl FnMut(VmArea<'_>, VirtAddr, &Word) -> Walk) {
        let page = self.page(pfn);
        let mut left = page.mapcount.get();
        if left == 0 {
            return;
        }
        let _guard = self.locks.i_mmap.lock();
        let anon = page.has(flag::ANON);
        let Some(owner) = ObjId::from_u32(page.mapping.get()) else {
            return;
        };
        let mut next = if anon {
            self.anon_vma(AnonVmaId(owner)).head()
        } else {
            self.inode(crate::shmem::InodeId(owner)).i_mmap()
        };
        while let Some(id) = next {
            let vma = self.vma(id);
            next = if anon { vma.anon_next() } else { vma.i_mmap_next() };
            let Some(addr) = vma.address_of(page.index.get()) else {
                continue;
            };
            let Some(mm_id) = vma.vm_mm() else { continue };
            let Some(pte) = self.pte(self.mm(mm_id).pgd(), addr) else {
                continue;
            };
            let entry = pte.get();
            if !P::Pte::is_present(entry) || P::Pte::pfn(entry) != pfn {
                continue;
            }
            if visit(vma, addr, pte) == Walk::Stop {
                return;
            }
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }
}
