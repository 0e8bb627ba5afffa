//! The pool: pages come, are promised, and go. Source: Linux, mm/hugetlb.c (`set_max_huge_pages`, `hugetlb_acct_memory`,
//! `gather_surplus_pages`, `return_unused_surplus_pages`, `free_huge_folio`). Rule G9.

use crate::addr::Pfn;
use crate::check::{Violation, at_most, equal};
use crate::error::Error;
use crate::gfp::Gfp;
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::sync::{Word, Word32};

/// What a page of the pool is allocated with. Source: Linux `htlb_alloc_mask`, `alloc_buddy_hugetlb_folio`.
const HUGETLB: Gfp = Gfp::HIGHUSER_MOVABLE
    .with(Gfp::COMP)
    .with(Gfp::RETRY_MAYFAIL)
    .with(Gfp::NOWARN);

/// The pool of pages of one size. Source: Linux `struct hstate`.
#[derive(Debug)]
pub(crate) struct Hstate {
    /// The free pages: a list through the memory map's entries; 0 is the end.
    free_list: Word32,
    nr_huge_pages: Word,
    free_huge_pages: Word,
    resv_huge_pages: Word,
    surplus_huge_pages: Word,
    nr_overcommit_huge_pages: Word,
    /// Group whose members may make segments of huge pages.
    shm_group: Word32,
}

/// The pool in numbers of pages. Source: `HugePages_*` of proc_meminfo(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbCounters {
    /// Pages of the pool, surplus ones among them.
    pub total: u64,
    /// Those that nobody uses.
    pub free: u64,
    /// Those of them that are promised.
    pub resv: u64,
    /// Pages beyond the size that was asked for.
    pub surplus: u64,
    /// How many of these there may be.
    pub overcommit: u64,
}

impl Hstate {
    pub(crate) const fn new() -> Self {
        Self {
            free_list: Word32::new(0),
            nr_huge_pages: Word::new(0),
            free_huge_pages: Word::new(0),
            resv_huge_pages: Word::new(0),
            surplus_huge_pages: Word::new(0),
            nr_overcommit_huge_pages: Word::new(0),
            shm_group: Word32::new(0),
        }
    }

    /// Pages that nobody uses, and nobody was promised.
    fn available(&self) -> u64 {
        self.free_huge_pages.get() - self.resv_huge_pages.get()
    }

    /// Pages that stay when they come free.
    fn persistent(&self) -> u64 {
        self.nr_huge_pages.get() - self.surplus_huge_pages.get()
    }

    /// Whether no page of the pool is a surplus one.
    pub(super) fn has_no_surplus(&self) -> bool {
        self.surplus_huge_pages.get() == 0
    }
}

impl<P: Platform> Memory<P> {
    /// The pool in numbers.
    pub fn hugetlb_counters(&self) -> HugetlbCounters {
        HugetlbCounters {
            total: self.hstate.nr_huge_pages.get(),
            free: self.hstate.free_huge_pages.get(),
            resv: self.hstate.resv_huge_pages.get(),
            surplus: self.hstate.surplus_huge_pages.get(),
            overcommit: self.hstate.nr_overcommit_huge_pages.get(),
        }
    }

    /// `vm.nr_hugepages`: pages of the pool that are no surplus.
    pub fn nr_hugepages(&self) -> u64 {
        self.hstate.persistent()
    }

    /// Sets `vm.nr_hugepages`, as far as memory goes. Pages in use, and promised ones, stay: beyond the new size as surplus. Source: Linux
    /// `set_max_huge_pages`.
    pub fn set_nr_hugepages(&self, count: u64) {
        let _guard = self.locks.mmap.lock();
        let pool = &self.hstate;
        let surplus = pool.surplus_huge_pages.get();
        pool.surplus_huge_pages
            .set(surplus - surplus.min(count.saturating_sub(pool.persistent())));
        while pool.persistent() < count
            && let Some(head) = self.alloc_fresh_hugetlb_folio()
        {
            self.enqueue_hugetlb_folio(head);
        }
        let needed = pool.resv_huge_pages.get() + pool.nr_huge_pages.get() - pool.free_huge_pages.get();
        while pool.persistent() > needed.max(count) && self.give_back_free_one() {}
        let more = pool.persistent().saturating_sub(count);
        pool.surplus_huge_pages.add(more);
    }

    /// Sets `vm.nr_overcommit_hugepages`. Surplus pages beyond it stay until they come free.
    pub fn set_nr_overcommit_hugepages(&self, pages: u64) {
        self.hstate.nr_overcommit_huge_pages.set(pages);
    }

    /// `vm.hugetlb_shm_group`: whose members may make segments of huge pages without being root. Rule A25.
    pub fn hugetlb_shm_group(&self) -> u32 {
        self.hstate.shm_group.get()
    }

    /// Sets it.
    pub fn set_hugetlb_shm_group(&self, group: u32) {
        self.hstate.shm_group.set(group);
    }

    /// A new page of the pool that is on no list yet.
    fn alloc_fresh_hugetlb_folio(&self) -> Option<Pfn> {
        let head = self.alloc_pages(HUGETLB, HPAGE_ORDER)?;
        let page = self.page(head);
        page.private.set(0);
        page.mapping.set(0);
        page.refcount.set(0);
        self.hstate.nr_huge_pages.add(1);
        Some(head)
    }

    fn enqueue_hugetlb_folio(&self, head: Pfn) {
        let page = self.page(head);
        page.flags.set(flag::HEAD | flag::HUGETLB);
        page.next.set(self.hstate.free_list.get());
        self.hstate.free_list.set(head.0);
        self.hstate.free_huge_pages.add(1);
    }

    fn dequeue_hugetlb_folio(&self) -> Option<Pfn> {
        let head = self.hstate.free_list.get();
        if head == 0 {
            return None;
        }
        let page = self.page(Pfn(head));
        self.hstate.free_list.set(page.next.get());
        page.next.set(0);
        self.hstate.free_huge_pages.sub(1);
        Some(Pfn(head))
    }

    /// Gives a free page of the pool back to the allocator. `false` when there is none.
    fn give_back_free_one(&self) -> bool {
        let Some(head) = self.dequeue_hugetlb_folio() else {
            return false;
        };
        self.give_back(head);
        true
    }

    fn give_back(&self, head: Pfn) {
        self.hstate.nr_huge_pages.sub(1);
        self.page(head).flags.set(0);
        self.platform.count(Vmstat::Pgfree, u64::from(HPAGE_PAGES));
        self.zone.free_compound(self.platform.memmap(), head, HPAGE_ORDER);
    }

    /// Promises `pages` more. Surplus pages are made where too few are free.
    ///
    /// # Errors
    /// [`Error::Enomem`]; nothing is promised, and no surplus page is left.
    pub(super) fn hugetlb_acct_memory(&self, pages: u64) -> Result<(), Error> {
        let pool = &self.hstate;
        let missing = pages.saturating_sub(pool.available());
        let room = pool
            .nr_overcommit_huge_pages
            .get()
            .saturating_sub(pool.surplus_huge_pages.get());
        if missing > room {
            return Err(Error::Enomem);
        }
        for made in 0..missing {
            let Some(head) = self.alloc_fresh_hugetlb_folio() else {
                (0..made).for_each(|_| self.give_back_surplus());
                return Err(Error::Enomem);
            };
            pool.surplus_huge_pages.add(1);
            self.enqueue_hugetlb_folio(head);
        }
        pool.resv_huge_pages.add(pages);
        Ok(())
    }

    fn give_back_surplus(&self) {
        self.hstate.surplus_huge_pages.sub(1);
        self.give_back_free_one();
    }

    /// Takes back a promise of `pages` that were not used. As many surplus pages go.
    pub(super) fn hugetlb_unacct_memory(&self, pages: u64) {
        let pool = &self.hstate;
        pool.resv_huge_pages.sub(pages);
        let surplus = pages.min(pool.surplus_huge_pages.get()).min(pool.free_huge_pages.get());
        (0..surplus).for_each(|_| self.give_back_surplus());
    }

    /// A page for somebody, with one reference; its content is anything. Of the promised ones, if it was `reserved`; else a free one that is
    /// not, or a new surplus one. `None` when there is none.
    pub(super) fn take_hugetlb_folio(&self, reserved: bool) -> Option<Pfn> {
        let pool = &self.hstate;
        let head = if reserved || pool.available() > 0 {
            let head = self.dequeue_hugetlb_folio()?;
            pool.resv_huge_pages.sub(u64::from(reserved));
            head
        } else {
            if pool.surplus_huge_pages.get() >= pool.nr_overcommit_huge_pages.get() {
                return None;
            }
            let head = self.alloc_fresh_hugetlb_folio()?;
            pool.surplus_huge_pages.add(1);
            head
        };
        let page = self.page(head);
        page.flags.set(flag::HEAD | flag::HUGETLB | flag::UPTODATE);
        page.refcount.set(1);
        Some(head)
    }

    /// Takes [`Memory::take_hugetlb_folio`] back.
    pub(super) fn untake_hugetlb_folio(&self, head: Pfn, reserved: bool) {
        self.page(head).refcount.set(0);
        self.hstate.resv_huge_pages.add(u64::from(reserved));
        if !reserved && !self.hstate.has_no_surplus() {
            self.hstate.surplus_huge_pages.sub(1);
            return self.give_back(head);
        }
        self.enqueue_hugetlb_folio(head);
    }

    /// A page of the pool that nobody refers to any more, and whose tails' entries are reset. Source: Linux `free_huge_folio`.
    pub(crate) fn free_hugetlb_folio(&self, head: Pfn) {
        let page = self.page(head);
        page.private.set(0);
        page.mapping.set(0);
        page.refcount.set(0);
        if self.hstate.has_no_surplus() {
            return self.enqueue_hugetlb_folio(head);
        }
        self.hstate.surplus_huge_pages.sub(1);
        self.give_back(head);
    }

    /// Promises a page that has just come free to who had it.
    pub(super) fn restore_reserve(&self) {
        self.hstate.resv_huge_pages.add(1);
    }

    /// Whether the pool's counts agree with its list.
    ///
    /// # Errors
    /// What does not.
    #[cold]
    pub(crate) fn verify_hugetlb(&self) -> Result<(), Violation> {
        let counters = self.hugetlb_counters();
        let (mut listed, mut next) = (0, self.hstate.free_list.get());
        while next != 0 {
            let page = self.page(Pfn(next));
            equal(
                "flags of free huge page",
                next,
                page.flags.get(),
                flag::HEAD | flag::HUGETLB,
            )?;
            equal("references to free huge page", next, page.refcount.get(), 0_u32)?;
            equal("mappings of free huge page", next, page.private.get(), 0_u64)?;
            equal("owner of free huge page", next, page.mapping.get(), 0_u32)?;
            listed += 1;
            equal(
                "goes round: list of free huge pages",
                0_u32,
                listed > counters.free,
                false,
            )?;
            next = page.next.get();
        }
        equal("free huge pages", 0_u32, counters.free, listed)?;
        at_most("promised huge pages", 0_u32, counters.resv, counters.free)?;
        at_most("free huge pages of all", 0_u32, counters.free, counters.total)?;
        at_most("surplus huge pages", 0_u32, counters.surplus, counters.total)
    }

    /// Panics unless [`Memory::verify_hugetlb`] finds nothing. For tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn check_hugetlb(&self) {
        crate::check::expect(self.verify_hugetlb());
    }
}
