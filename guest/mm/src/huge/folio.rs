//! Making, counting and freeing huge pages. Source: Linux, mm/huge_memory.c, mm/rmap.c (`__folio_add_rmap`, `__folio_remove_rmap`).
//!
//! `private` of the head:
//!
//! ```text
//! 63      | 62..32                    | 31..0
//! TAILS   | frames mapped by small    | leaves
//! made    | entries                   |
//! ```

use super::{Count, HPAGE_ORDER, HPAGE_PAGES};
use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::Event;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::rmap::AnonVmaId;
use crate::vma::MmStruct;

/// The entries of all tails are made.
const TAILS: u64 = 1 << 63;
/// One leaf.
const LEAF: u64 = 1;
/// One frame mapped by small entries.
const SMALL: u64 = 1 << 32;
/// What a tail has of its head's flags.
const SHARED_FLAGS: u32 = flag::UPTODATE | flag::SWAPBACKED | flag::ANON;

impl<P: Platform> Memory<P> {
    /// Whether a frame is one of a huge page whose entry says so.
    #[inline(always)]
    pub(crate) fn is_compound(&self, pfn: Pfn) -> bool {
        self.page(pfn).flags.get() & (flag::HEAD | flag::TAIL) != 0
    }

    /// The first frame of the huge page that a frame is of, or the frame of a small page itself.
    #[inline(always)]
    pub(crate) fn compound_head(&self, pfn: Pfn) -> Pfn {
        if self.page(pfn).has(flag::TAIL) {
            Pfn(pfn.0 & !(HPAGE_PAGES - 1))
        } else {
            pfn
        }
    }

    /// Frames for a huge page, cleared, with one reference and no owner; `None` when they cannot be had with no more ado than
    /// [`Memory::defrag`] allows, in a mapping that was advised to have huge pages or not. May reclaim.
    pub(crate) fn alloc_huge(&self, advised: bool) -> Option<Pfn> {
        let head = self.alloc_pages(self.defrag().gfp(advised), HPAGE_ORDER)?;
        self.platform.clear_huge_page(head);
        Some(head)
    }

    /// Frees a huge page that nobody refers to but the caller, with one reference.
    pub(crate) fn free_huge(&self, head: Pfn) {
        let page = self.page(head);
        debug_assert_eq!(page.refcount.get(), 1, "huge page {} freed while referenced", head.0);
        debug_assert_eq!(
            page.private.get() & !TAILS,
            0,
            "huge page {} freed while mapped",
            head.0
        );
        if page.private.get() & TAILS != 0 {
            for tail in self.tails(head) {
                self.page(tail).flags.set(0);
            }
        }
        if page.has(flag::HUGETLB) {
            return self.free_hugetlb_folio(head);
        }
        page.flags.set(0);
        page.refcount.set(0);
        self.platform.count(Vmstat::Pgfree, u64::from(HPAGE_PAGES));
        self.zone.free_compound(self.platform.memmap(), head, HPAGE_ORDER);
    }

    /// The frames of a huge page but the first.
    pub(crate) fn tails(&self, head: Pfn) -> impl Iterator<Item = Pfn> + use<P> {
        (1..HPAGE_PAGES).map(move |i| head.offset(i))
    }

    /// Whether the tails' entries are made.
    pub(crate) fn has_tails(&self, head: Pfn) -> bool {
        self.page(head).private.get() & TAILS != 0
    }

    /// Makes the tails' entries, so that each can be mapped and referred to alone.
    pub(crate) fn make_tails(&self, head: Pfn) {
        if self.has_tails(head) {
            return;
        }
        let first = self.page(head);
        let flags = first.flags.get() & SHARED_FLAGS | flag::TAIL;
        for (i, tail) in (1..).zip(self.tails(head)) {
            let page = self.page(tail);
            page.flags.set(flags);
            page.refcount.set(0);
            page.mapcount.set(0);
            page.mapping.set(first.mapping.get());
            page.index.set(first.index.get() + i);
            page.private.set(0);
        }
        first.private.set(first.private.get() | TAILS);
    }

    /// Leaves that map a huge page.
    #[inline]
    pub(crate) fn leaf_mapcount(&self, head: Pfn) -> u32 {
        self.page(head).private.get() as u32
    }

    /// Entries that map a frame, or its huge page.
    pub(crate) fn page_mapcount(&self, pfn: Pfn) -> u64 {
        let leaves = if self.is_compound(pfn) {
            self.leaf_mapcount(self.compound_head(pfn))
        } else {
            0
        };
        u64::from(self.page(pfn).mapcount.get()) + u64::from(leaves)
    }

    /// Frames of a huge page that small entries map.
    pub(crate) fn nr_small_mapped(&self, head: Pfn) -> u64 {
        (self.page(head).private.get() & !TAILS) >> 32
    }

    /// Whether nothing maps a huge page.
    pub(crate) fn is_unmapped(&self, head: Pfn) -> bool {
        self.page(head).private.get() & !TAILS == 0
    }

    /// References to a huge page, of all its frames.
    pub(crate) fn huge_refcount(&self, head: Pfn) -> u64 {
        let tails: u64 = if self.has_tails(head) {
            self.tails(head)
                .map(|tail| u64::from(self.page(tail).refcount.get()))
                .sum()
        } else {
            0
        };
        u64::from(self.page(head).refcount.get()) + tails
    }

    /// Entries that map a huge page: leaves, and small ones of all its frames.
    pub(crate) fn huge_mapcount(&self, head: Pfn) -> u64 {
        let tails: u64 = if self.has_tails(head) {
            self.tails(head)
                .map(|tail| u64::from(self.page(tail).mapcount.get()))
                .sum()
        } else {
            0
        };
        u64::from(self.leaf_mapcount(head)) + u64::from(self.page(head).mapcount.get()) + tails
    }

    /// Drops a reference to a huge page, through any of its frames. The last one frees it.
    #[cold]
    #[inline(never)]
    pub(crate) fn put_huge(&self, pfn: Pfn) {
        let (page, head) = (self.page(pfn), self.compound_head(pfn));
        if pfn != head && page.refcount.get() != 0 {
            return page.refcount.sub(1);
        }
        let first = self.page(head);
        if first.refcount.get() > 1 {
            return first.refcount.sub(1);
        }
        let left = self.huge_refcount(head) - 1;
        if left != 0 {
            self.tails(head).for_each(|tail| self.page(tail).refcount.set(0));
            return first.refcount.set(left as u32);
        }
        if first.has(flag::LRU) {
            self.lru_del(head);
        }
        self.free_huge(head);
    }

    /// Which counter has the mapped pages of a huge page.
    fn mapped_counter(&self, head: Pfn) -> Vmstat {
        if self.page(head).has(flag::ANON) {
            Vmstat::NrAnonMapped
        } else {
            Vmstat::NrFileMapped
        }
    }

    fn leaf_counter(&self, head: Pfn) -> Count {
        if self.page(head).has(flag::ANON) {
            Count::AnonThps
        } else {
            Count::ShmemPmdMapped
        }
    }

    /// Counts `pages` of a huge page as resident, or (negative) no longer.
    pub(super) fn add_rss_huge(&self, mm: MmStruct<'_>, head: Pfn, pages: i64) {
        self.add_rss(mm, head, pages);
    }

    /// A leaf maps a huge page, with a reference that the caller gives it.
    pub(super) fn add_leaf_rmap(&self, head: Pfn) {
        let page = self.page(head);
        if self.leaf_mapcount(head) == 0 {
            let new = u64::from(HPAGE_PAGES) - self.nr_small_mapped(head);
            self.platform.count(self.mapped_counter(head), new);
            self.thp.count(self.leaf_counter(head));
        }
        page.private.set(page.private.get() + LEAF);
        self.thp.leaves.add(1);
    }

    /// A leaf is gone; its reference is still to be dropped.
    pub(super) fn remove_leaf_rmap(&self, head: Pfn) {
        let page = self.page(head);
        self.thp.leaves.sub(1);
        page.private.set(page.private.get() - LEAF);
        if self.leaf_mapcount(head) == 0 {
            let gone = u64::from(HPAGE_PAGES) - self.nr_small_mapped(head);
            self.platform.count(self.mapped_counter(head), gone.wrapping_neg());
            self.thp.uncount(self.leaf_counter(head));
        }
    }

    /// A small entry maps a frame of a huge page whose tails are made, with a reference that the caller gives it.
    pub(crate) fn add_small_rmap(&self, pfn: Pfn) {
        let (page, head) = (self.page(pfn), self.compound_head(pfn));
        if page.mapcount.get() == 0 {
            let first = self.page(head);
            first.private.set(first.private.get() + SMALL);
            if self.leaf_mapcount(head) == 0 {
                self.count(self.mapped_counter(head));
            }
        }
        page.mapcount.add(1);
    }

    /// A small entry maps a page of an object, or a frame of a huge one whose tails are made.
    pub(crate) fn add_object_rmap(&self, pfn: Pfn) {
        if self.is_compound(pfn) {
            self.add_small_rmap(pfn);
        } else {
            self.page_add_file_rmap(pfn);
        }
    }

    /// A huge page belongs to an object no longer.
    pub(crate) fn forget_owner(&self, head: Pfn) {
        self.page(head).mapping.set(0);
        if self.has_tails(head) {
            self.tails(head).for_each(|tail| self.page(tail).mapping.set(0));
        }
        self.thp.uncount(Count::ShmemThps);
    }

    /// An object wanted a huge page, and has it or not.
    pub(crate) fn count_file_huge(&self, has: bool) {
        if has {
            self.thp.count(Count::FileAlloc);
            self.thp.count(Count::ShmemThps);
        } else {
            self.thp.count(Count::FileFallback);
        }
    }

    /// The last small entry of a frame of a huge page is gone.
    #[cold]
    #[inline(never)]
    pub(crate) fn last_small_rmap_is_gone(&self, pfn: Pfn) {
        let head = self.compound_head(pfn);
        let first = self.page(head);
        first.private.set(first.private.get() - SMALL);
        if self.leaf_mapcount(head) == 0 {
            self.uncount(self.mapped_counter(head));
        }
        if first.has(flag::ANON) {
            self.note_partly_mapped(head);
        }
    }

    /// A new huge page of private memory gets its first mapping, a leaf, which takes over the caller's reference.
    pub(super) fn add_new_anon_leaf_rmap(&self, head: Pfn, anon: AnonVmaId, index: u64) {
        let page = self.page(head);
        page.begin(
            [Event::Lock, Event::Uptodate, Event::Dirty, Event::Unlock],
            flag::ANON | flag::SWAPBACKED | flag::HEAD,
        );
        page.mapping.set(anon.0.get());
        page.index.set(index);
        self.add_leaf_rmap(head);
        self.lru_add(head);
    }
}
