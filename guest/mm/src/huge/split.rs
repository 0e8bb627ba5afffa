//! Small pages of a huge one. Source: Linux, mm/huge_memory.c (`split_huge_page_to_list_to_order`, `__split_huge_page`). Rules F15, G4.

use super::{Count, HPAGE_PAGES};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, pages_for};
use crate::interval_tree::{IntervalTree, Mapped};
use crate::memory::Memory;
use crate::page::flag;
use crate::pagetable::PmdEntry;
use crate::platform::{Platform, PteFormat};
use crate::record::ObjId;
use crate::rmap::{AnonVmaId, Walk};
use crate::shmem::InodeId;
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea};
use crate::xarray::Entry;

/// What the small pages have of the huge one's flags.
const PAGE_FLAGS: u32 = flag::UPTODATE
    | flag::DIRTY
    | flag::ACTIVE
    | flag::REFERENCED
    | flag::SWAPBACKED
    | flag::UNEVICTABLE
    | flag::ANON
    | flag::WORKINGSET;

/// What maps a huge page, or a frame of it.
pub(crate) enum HugeEntry<'a> {
    /// All of it.
    Leaf(PmdEntry<'a>),
    /// A frame.
    Small(&'a Word),
}

impl<P: Platform> Memory<P> {
    /// Makes 512 small pages of a huge one, of which the caller has `extra` references, all to the head. Nobody's content changes. What nobody
    /// maps any more is freed, and so is what lies behind the end of the object. `false`, and nothing changed, when somebody works with the
    /// page, or the object has no memory for the entries.
    pub(crate) fn split_huge_page(&self, head: Pfn, extra: u32) -> bool {
        let inode = self.inode_of(head);
        let cached = u32::from(inode.is_some());
        let expected = self.huge_mapcount(head) + u64::from(cached + extra);
        let ready = self.huge_refcount(head) == expected && inode.is_none_or(|id| self.split_entry(id, head));
        if !ready {
            self.thp.count(Count::SplitPageFailed);
            return false;
        }
        self.make_tails(head);
        self.split_leaves_of(head);
        let page = self.page(head);
        let listed = page.has(flag::LRU);
        if listed {
            self.lru_del(head);
        }
        page.clear_flags(flag::HEAD);
        page.private.set(0);
        let references = page.mapcount.get() + cached + extra;
        page.refcount.set(references);
        self.thp.count(Count::SplitPage);
        if inode.is_some() {
            self.thp.uncount(Count::ShmemThps);
        }
        let flags = page.flags.get() & PAGE_FLAGS;
        // The first comes last, so that reclaim meets them in their order.
        for i in (1..HPAGE_PAGES).rev() {
            self.tail_becomes_page(head.offset(i), flags, cached);
        }
        if references == 0 {
            page.refcount.set(1);
            self.free_page(head);
        } else if listed {
            self.lru_add(head);
        }
        if let Some(id) = inode {
            self.drop_behind_end(id, head);
        }
        true
    }

    /// Notes that a frame of a huge page of private memory has lost its last small entry.
    pub(super) fn note_partly_mapped(&self, head: Pfn) {
        let [last, before] = &self.thp.partly_mapped;
        if last.get() != head.0 {
            before.set(last.get());
            last.set(head.0);
        }
    }

    /// Makes small pages of huge ones that were noted, if they are still there and no leaf maps them: what nobody maps any more is free.
    #[cold]
    #[inline(never)]
    pub(crate) fn split_partly_mapped(&self) {
        for noted in &self.thp.partly_mapped {
            let head = Pfn(noted.get());
            noted.set(0);
            if head.0 != 0 && self.page(head).has(flag::HEAD | flag::ANON) && self.leaf_mapcount(head) == 0 {
                self.split_huge_page(head, 0);
            }
        }
    }

    fn tail_becomes_page(&self, pfn: Pfn, flags: u32, cached: u32) {
        let page = self.page(pfn);
        page.flags.set(flags);
        let references = page.mapcount.get() + cached;
        if references == 0 {
            page.refcount.set(1);
            return self.free_page(pfn);
        }
        page.refcount.set(references);
        self.lru_add_tail(pfn);
    }

    /// Has the object an entry for each frame. `false` without memory for that.
    fn split_entry(&self, id: InodeId, head: Pfn) -> bool {
        let first = self.page(head).index.get();
        let _guard = self.locks.i_pages.lock();
        let pages = self.inode(id).i_pages();
        if pages.split(self, first, 0).is_err() {
            return false;
        }
        for i in 1..HPAGE_PAGES {
            let stored = pages.store(self, first + u64::from(i), Entry::page(head.offset(i)));
            debug_assert_eq!(
                stored,
                Ok(Entry::page(head)),
                "an entry of a split huge page is another's"
            );
        }
        true
    }

    /// What lies behind the end of an object, where nobody maps it, is not kept any longer than the huge page that it came with.
    fn drop_behind_end(&self, id: InodeId, head: Pfn) {
        let inode = self.inode(id);
        let (first, end) = (self.page(head).index.get(), pages_for(inode.i_size()));
        let mut gone = 0;
        for i in 1..HPAGE_PAGES {
            let (index, pfn) = (first + u64::from(i), head.offset(i));
            if index >= end && self.page(pfn).mapcount.get() == 0 {
                inode.i_pages().erase(self, index);
                self.page_leaves_cache(inode, pfn);
                self.put_page(pfn);
                gone += 1;
            }
        }
        inode.set_alloced(inode.alloced() - gone);
        self.shmem_unacct_blocks(id, gone);
        self.uncharge_blocks(inode, gone);
    }

    /// Lets no leaf map a huge page.
    fn split_leaves_of(&self, head: Pfn) {
        if self.leaf_mapcount(head) == 0 {
            return;
        }
        self.walk_huge(head, |mm, _, addr, entry| {
            if let HugeEntry::Leaf(pmd) = entry {
                self.split_leaf(mm, addr, pmd);
            }
            Walk::Continue
        });
        debug_assert_eq!(
            self.leaf_mapcount(head),
            0,
            "leaves of huge page {} that nobody knows",
            head.0
        );
    }

    /// Visits every entry that maps a huge page or a frame of it. Who visits may remove it.
    pub(crate) fn walk_huge(
        &self,
        head: Pfn,
        visit: impl FnMut(MmStruct<'_>, VmArea<'_>, VirtAddr, HugeEntry<'_>) -> Walk,
    ) {
        let page = self.page(head);
        let Some(owner) = ObjId::from_u32(page.mapping.get()) else {
            return;
        };
        if page.has(flag::ANON) {
            self.walk_huge_tree(self.anon_tree(AnonVmaId(owner)), head, visit);
        } else {
            self.walk_huge_tree(self.i_mmap(InodeId(owner)), head, visit);
        }
    }

    fn walk_huge_tree<M: Mapped>(
        &self,
        tree: IntervalTree<'_, Self, M>,
        head: Pfn,
        mut visit: impl FnMut(MmStruct<'_>, VmArea<'_>, VirtAddr, HugeEntry<'_>) -> Walk,
    ) {
        if self.is_unmapped(head) {
            return;
        }
        let first = self.page(head).index.get();
        let last = first + u64::from(HPAGE_PAGES) - 1;
        for id in tree.overlapping(first..=last) {
            let vma = self.vma(id);
            let Some(mm) = vma.vm_mm().map(|id| self.mm(id)) else {
                continue;
            };
            if let Some(addr) = vma.address_of(first)
                && let Some(pmd) = self.pmd(mm.pgd(), addr).0
                && pmd.slot.get() != 0
                && !P::Pte::is_table(pmd.slot.get())
            {
                if P::Pte::pfn(pmd.slot.get()) == head && visit(mm, vma, addr, HugeEntry::Leaf(pmd)) == Walk::Stop {
                    return;
                }
                continue;
            }
            let low = first.max(vma.vm_pgoff());
            let high = last.min(vma.last_page_index());
            for index in low..=high {
                let addr = vma.vm_start().offset((index - vma.vm_pgoff()) << PAGE_SHIFT);
                let Some(pte) = self.pte(mm.pgd(), addr) else { continue };
                let maps =
                    P::Pte::is_present(pte.get()) && P::Pte::pfn(pte.get()) == head.offset((index - first) as u32);
                if maps && visit(mm, vma, addr, HugeEntry::Small(pte)) == Walk::Stop {
                    return;
                }
            }
        }
    }
}
