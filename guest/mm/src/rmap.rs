//! Reverse mapping: from a frame to the page-table entries that map it.
//!
//! A page of an object is mapped by VMAs of the object's `i_mmap`, an anonymous page by VMAs of its anon_vma: the VMA that first
//! touched it, and those that `fork` and splitting made of that one. Both are [interval trees](crate::interval_tree), which are asked for
//! the VMAs that map the page's index; the entry can only be at the address where such a VMA has the index.
//! [`Memory::rmap_walk`] looks there.
//!
//! `mapcount` says how many entries there are, so a walk stops when it has seen them all.
//!
//! Source: Linux, mm/rmap.c. Differs from Linux: one anon_vma for a whole family of forked VMAs (as in 2.6.7 to 2.6.33).

use crate::addr::{Pfn, VirtAddr};
use crate::huge::HugeEntry;
use crate::interval_tree::{Interval, IntervalTree, Mapped, Members};
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, PteFormat, Vmstat};
use crate::record::{ObjId, id_type, record};
use crate::shmem::{Inode, InodeId};
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea, VmaId};
use crate::vma_tree;

id_type!(
    /// Number of an [`AnonVma`].
    AnonVmaId
);

record! {
    /// The VMAs in which a family of anonymous pages may be mapped. Freed with the last of them.
    pub struct AnonVma[1] {
        /// The VMAs.
        vmas, set_vmas: Members = 0;
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

impl Mapped for Inode<'_> {
    const LINKS: usize = 16;

    #[inline(always)]
    fn members(self) -> Members {
        self.i_mmap()
    }

    #[inline(always)]
    fn set_members(self, members: Members) {
        self.set_i_mmap(members);
    }
}

impl Mapped for AnonVma<'_> {
    const LINKS: usize = 19;

    #[inline(always)]
    fn members(self) -> Members {
        self.vmas()
    }

    #[inline(always)]
    fn set_members(self, members: Members) {
        self.set_vmas(members);
    }
}

impl<P: Platform> Memory<P> {
    /// The VMAs that map an object.
    #[inline(always)]
    pub(crate) fn i_mmap(&self, file: InodeId) -> IntervalTree<'_, Self, Inode<'_>> {
        IntervalTree {
            store: self,
            mapped: self.inode(file),
        }
    }

    /// The VMAs in which pages of an anon_vma may be mapped.
    #[inline(always)]
    pub(crate) fn anon_tree(&self, anon: AnonVmaId) -> IntervalTree<'_, Self, AnonVma<'_>> {
        IntervalTree {
            store: self,
            mapped: self.anon_vma(anon),
        }
    }

    /// Gives the VMA an anon_vma, if it has none. `None` when no memory can be had.
    #[inline(never)]
    pub(crate) fn anon_vma_prepare(&self, id: VmaId) -> Option<AnonVmaId> {
        match self.vma(id).anon_vma() {
            Some(anon) => Some(anon),
            None => self.anon_vma_make(id),
        }
    }

    #[inline(never)]
    fn anon_vma_make(&self, id: VmaId) -> Option<AnonVmaId> {
        let anon = self.anon_vma_alloc()?;
        self.anon_vma_link(id, anon);
        Some(anon)
    }

    /// Puts the VMA into the tree of an anon_vma.
    pub(crate) fn anon_vma_link(&self, id: VmaId, anon: AnonVmaId) {
        let _guard = self.locks.i_mmap.lock();
        self.vma(id).set_anon_vma(Some(anon));
        self.anon_tree(anon).insert(id);
    }

    /// Takes the VMA out of the tree of its anon_vma, if it has one.
    pub(crate) fn anon_vma_unlink(&self, id: VmaId) {
        let Some(anon) = self.vma(id).anon_vma() else { return };
        let _guard = self.locks.i_mmap.lock();
        self.anon_tree(anon).remove(id);
        self.vma(id).set_anon_vma(None);
        if self.anon_vma(anon).vmas().count() == 0 {
            self.anon_vma_free(anon);
        }
    }

    /// Puts the VMA into the tree of its object, if it has one.
    pub(crate) fn i_mmap_link(&self, id: VmaId) {
        let Some(file) = self.vma(id).vm_file() else { return };
        let _guard = self.locks.i_mmap.lock();
        self.i_mmap(file).insert(id);
    }

    /// Takes the VMA out of the tree of its object, if it has one.
    #[inline(always)]
    pub(crate) fn i_mmap_unlink(&self, id: VmaId) {
        let Some(file) = self.vma(id).vm_file() else { return };
        let _guard = self.locks.i_mmap.lock();
        self.i_mmap(file).remove(id);
    }

    /// Changes the bounds of a VMA in its place between its neighbours, and the page index that its start maps. Source: Linux
    /// `vma_adjust`.
    #[inline(always)]
    pub(crate) fn vma_adjust(&self, mm: MmStruct<'_>, id: VmaId, start: VirtAddr, end: VirtAddr, pgoff: u64) {
        if self.has_leaves() {
            self.split_leaves_at(mm, [start, end]);
        }
        if self.is_in_trees(id) {
            return self.change_in_trees(id, || vma_tree::vma_adjust(self, mm, id, start, end, pgoff));
        }
        vma_tree::vma_adjust(self, mm, id, start, end, pgoff);
    }

    /// [`vma_tree::vma_split`], for trees too.
    #[inline(always)]
    pub(crate) fn vma_split(&self, mm: MmStruct<'_>, lower: VmaId, upper: VmaId) {
        if self.has_leaves() {
            self.split_leaves_at(mm, [self.vma(upper).vm_start(); 2]);
        }
        if self.is_in_trees(lower) {
            return self.change_in_trees(lower, || vma_tree::vma_split(self, mm, lower, upper));
        }
        vma_tree::vma_split(self, mm, lower, upper);
    }

    /// [`vma_tree::vma_join`], for trees too. `upper` has left its own.
    #[inline(always)]
    pub(crate) fn vma_join(&self, mm: MmStruct<'_>, lower: VmaId, upper: VmaId) {
        if self.is_in_trees(lower) {
            return self.change_in_trees(lower, || vma_tree::vma_join(self, mm, lower, upper));
        }
        vma_tree::vma_join(self, mm, lower, upper);
    }

    /// Whether a tree depends on the bounds of a VMA. Lists do not.
    #[inline(always)]
    fn is_in_trees(&self, id: VmaId) -> bool {
        let vma = self.vma(id);
        Interval::<Inode<'_>>::of(vma).is_in_tree() | Interval::<AnonVma<'_>>::of(vma).is_in_tree()
    }

    /// Lets `change` change the bounds of a VMA, while the trees do not have it.
    #[cold]
    #[inline(never)]
    fn change_in_trees(&self, id: VmaId, change: impl FnOnce()) {
        self.leave_trees(id);
        change();
        self.enter_trees(id);
    }

    fn leave_trees(&self, id: VmaId) {
        let _guard = self.locks.i_mmap.lock();
        let vma = self.vma(id);
        if let Some(file) = vma.vm_file() {
            self.i_mmap(file).remove(id);
        }
        if let Some(anon) = vma.anon_vma() {
            self.anon_tree(anon).remove(id);
        }
    }

    fn enter_trees(&self, id: VmaId) {
        let _guard = self.locks.i_mmap.lock();
        let vma = self.vma(id);
        if let Some(file) = vma.vm_file() {
            self.i_mmap(file).insert(id);
        }
        if let Some(anon) = vma.anon_vma() {
            self.anon_tree(anon).insert(id);
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
            match page.flags.get() & (flag::ANON | flag::HEAD | flag::TAIL) {
                flag::ANON => self.uncount(Vmstat::NrAnonMapped),
                0 => self.uncount(Vmstat::NrFileMapped),
                _ => self.last_small_rmap_is_gone(pfn),
            }
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

    /// Visits every present entry that maps the page; of a huge one, leaves and entries that map one of its frames.
    pub(crate) fn rmap_walk(&self, pfn: Pfn, mut visit: impl FnMut(VmArea<'_>, VirtAddr, &Word) -> Walk) {
        let page = self.page(pfn);
        if self.is_compound(pfn) {
            let _guard = self.locks.i_mmap.lock();
            return self.walk_huge(self.compound_head(pfn), |_, vma, addr, entry| match entry {
                HugeEntry::Leaf(pmd) => visit(vma, addr, pmd.slot),
                HugeEntry::Small(pte) => visit(vma, addr, pte),
            });
        }
        let Some(owner) = ObjId::from_u32(page.mapping.get()) else {
            return;
        };
        let _guard = self.locks.i_mmap.lock();
        if page.has(flag::ANON) {
            self.walk_tree(self.anon_tree(AnonVmaId(owner)), pfn, visit);
        } else {
            self.walk_tree(self.i_mmap(InodeId(owner)), pfn, visit);
        }
    }

    fn walk_tree<M: Mapped>(
        &self,
        tree: IntervalTree<'_, Self, M>,
        pfn: Pfn,
        mut visit: impl FnMut(VmArea<'_>, VirtAddr, &Word) -> Walk,
    ) {
        let page = self.page(pfn);
        let index = page.index.get();
        let mut left = page.mapcount.get();
        if left == 0 {
            return;
        }
        for id in tree.overlapping(index..=index) {
            let vma = self.vma(id);
            let (Some(addr), Some(mm_id)) = (vma.address_of(index), vma.vm_mm()) else {
                continue;
            };
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
