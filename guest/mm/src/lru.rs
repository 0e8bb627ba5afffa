//! The lists that reclaim works on: which frames were used lately.
//!
//! Frames are linked through [`crate::page::Page::next`] and [`crate::page::Page::prev`], newest first. A frame is on exactly one list while it
//! has [`flag::LRU`]; [`flag::ACTIVE`] and [`flag::UNEVICTABLE`] say which.
//!
//! Source: Linux, include/linux/mm_inline.h, mm/swap.c. Rules F1, F2, F3. Differs from Linux: all pages here
//! are swap-backed (anonymous or shmem), so the two file lists do not exist; additions are not batched.

use crate::addr::Pfn;
use crate::check::{Violation, equal};
use crate::huge::HPAGE_PAGES;
use crate::memory::Memory;
use crate::page::{Page, flag};
use crate::platform::{Platform, Vmstat};
use crate::sync::Word32;

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LruList {
    /// Candidates for reclaim.
    InactiveAnon = 0,
    /// Used more than once.
    ActiveAnon = 1,
    /// Not to be reclaimed.
    Unevictable = 2,
}

/// First and last frame of a list, and how many are on it.
#[derive(Debug)]
struct List {
    head: Word32,
    tail: Word32,
    count: Word32,
    /// How many of them are the first of a huge page.
    huge: Word32,
}

impl List {
    const fn new() -> Self {
        Self {
            head: Word32::new(0),
            tail: Word32::new(0),
            count: Word32::new(0),
            huge: Word32::new(0),
        }
    }
}

/// The lists.
#[derive(Debug)]
pub(crate) struct Lruvec {
    lists: [List; 3],
}

impl Lruvec {
    pub(crate) const fn new() -> Self {
        Self {
            lists: [const { List::new() }; 3],
        }
    }
}

/// The list that a page's flags put it on.
#[inline(always)]
fn list_of(page: &Page) -> LruList {
    let flags = page.flags.get();
    if flags & flag::UNEVICTABLE != 0 {
        LruList::Unevictable
    } else if flags & flag::ACTIVE != 0 {
        LruList::ActiveAnon
    } else {
        LruList::InactiveAnon
    }
}

impl<P: Platform> Memory<P> {
    /// Pages on a list.
    #[inline(always)]
    pub fn lru_count(&self, list: LruList) -> u32 {
        let list = &self.lru.lists[list as usize];
        list.count.get() + list.huge.get() * (HPAGE_PAGES - 1)
    }

    /// The frame that was put on a list longest ago.
    #[inline(always)]
    pub(crate) fn lru_tail(&self, list: LruList) -> Option<Pfn> {
        match self.lru.lists[list as usize].tail.get() {
            0 => None,
            pfn => Some(Pfn(pfn)),
        }
    }

    /// The frame that was put on a list last.
    #[cfg(test)]
    pub(crate) fn lru_head(&self, list: LruList) -> Option<Pfn> {
        match self.lru.lists[list as usize].head.get() {
            0 => None,
            pfn => Some(Pfn(pfn)),
        }
    }

    /// The list that a page's flags put it on, which gets `by` entries more; huge pages are counted.
    #[inline(always)]
    fn list_of(&self, page: &Page, by: u32) -> &List {
        if page.flags.get() & (flag::UNEVICTABLE | flag::ACTIVE | flag::HEAD) == 0 {
            return &self.lru.lists[LruList::InactiveAnon as usize];
        }
        let list = &self.lru.lists[list_of(page) as usize];
        if page.has(flag::HEAD) {
            list.huge.set(list.huge.get().wrapping_add(by));
        }
        list
    }

    /// Puts a frame at the head of the list that its flags say.
    #[inline]
    pub(crate) fn lru_add(&self, pfn: Pfn) {
        let _guard = self.locks.lru.lock();
        let page = self.page(pfn);
        debug_assert!(!page.has(flag::LRU), "frame {} is on a list already", pfn.0);
        let list = self.list_of(page, 1);
        let head = list.head.get();
        page.next.set(head);
        page.prev.set(0);
        match head {
            0 => list.tail.set(pfn.0),
            _ => self.page(Pfn(head)).prev.set(pfn.0),
        }
        list.head.set(pfn.0);
        list.count.add(1);
        page.set_flags(flag::LRU);
    }

    /// Puts a small page at the end of the list that its flags say: it is looked at next.
    pub(crate) fn lru_add_tail(&self, pfn: Pfn) {
        let _guard = self.locks.lru.lock();
        let page = self.page(pfn);
        let list = self.list_of(page, 1);
        let tail = list.tail.get();
        page.prev.set(tail);
        page.next.set(0);
        match tail {
            0 => list.head.set(pfn.0),
            _ => self.page(Pfn(tail)).next.set(pfn.0),
        }
        list.tail.set(pfn.0);
        list.count.add(1);
        page.set_flags(flag::LRU);
    }

    /// The page was used by a call, not through a mapping. Rule F3.
    ///
    /// ```text
    /// inactive --> inactive, referenced --> active --> active, referenced
    /// ```
    ///
    /// Source: Linux `folio_mark_accessed`.
    pub(crate) fn mark_page_accessed(&self, pfn: Pfn) {
        let page = self.page(pfn);
        let flags = page.flags.get();
        if flags & flag::REFERENCED == 0 {
            page.set_flags(flag::REFERENCED);
        } else if flags & (flag::UNEVICTABLE | flag::ACTIVE) == 0 {
            self.activate_page(pfn);
            page.clear_flags(flag::REFERENCED);
            self.workingset_activation();
        }
    }

    /// Moves a page to the active list, or will have it put there once it is on a list.
    #[cold]
    fn activate_page(&self, pfn: Pfn) {
        let pfn = self.compound_head(pfn);
        let listed = self.page(pfn).has(flag::LRU);
        if listed {
            self.lru_del(pfn);
        }
        self.page(pfn).set_flags(flag::ACTIVE);
        if listed {
            self.lru_add(pfn);
            self.count(Vmstat::Pgactivate);
        }
    }

    /// Takes a frame off its list.
    #[inline]
    pub(crate) fn lru_del(&self, pfn: Pfn) {
        let _guard = self.locks.lru.lock();
        let page = self.page(pfn);
        debug_assert!(page.has(flag::LRU), "frame {} is on no list", pfn.0);
        let list = self.list_of(page, 1u32.wrapping_neg());
        let (next, prev) = (page.next.get(), page.prev.get());
        match next {
            0 => list.tail.set(prev),
            _ => self.page(Pfn(next)).prev.set(prev),
        }
        match prev {
            0 => list.head.set(next),
            _ => self.page(Pfn(prev)).next.set(next),
        }
        list.count.sub(1);
        page.clear_flags(flag::LRU);
    }

    /// Whether every list is what its counters and its frames' flags say; takes as long as the lists are.
    ///
    /// # Errors
    /// The first frame, or list, of which it is not so.
    #[cold]
    pub(crate) fn verify_lru(&self) -> Result<(), Violation> {
        for (which, list) in [LruList::InactiveAnon, LruList::ActiveAnon, LruList::Unevictable]
            .into_iter()
            .zip(&self.lru.lists)
        {
            let (mut prev, mut at, mut seen, mut huge) = (0, list.head.get(), 0_u32, 0_u32);
            while at != 0 {
                let page = self.page(Pfn(at));
                equal("on an LRU list: frame", at, page.has(flag::LRU), true)?;
                equal("LRU list of frame", at, list_of(page) as u64, which as u64)?;
                equal("free on an LRU list: frame", at, page.refcount.get() == 0, false)?;
                equal("previous on the LRU list, of frame", at, page.prev.get(), prev)?;
                equal("tail on an LRU list: frame", at, page.has(flag::TAIL), false)?;
                huge += u32::from(page.has(flag::HEAD));
                (prev, at, seen) = (at, page.next.get(), seen + 1);
                equal("goes round: LRU list", which as u64, seen > list.count.get(), false)?;
            }
            equal("last of LRU list", which as u64, list.tail.get(), prev)?;
            equal("frames on LRU list", which as u64, list.count.get(), seen)?;
            equal("huge pages on LRU list", which as u64, list.huge.get(), huge)?;
        }
        Ok(())
    }

    /// Panics unless [`Memory::verify_lru`] finds nothing. For tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn check_lru(&self) {
        crate::check::expect(self.verify_lru());
    }
}
