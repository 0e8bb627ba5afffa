//! Leaves: entries of the PMD that map a huge page.
//!
//! Those of private memory have a page table deposited with the table that they are in, on a list through the memory map's entries: it becomes
//! the leaf's when the leaf is split. Source: Linux, mm/huge_memory.c, mm/pgtable-generic.c (`pgtable_trans_huge_deposit`).

use core::ops::Range;

use super::{Count, HPAGE_PAGES, HPAGE_SIZE, huge_start, subpage};
use crate::addr::{PAGE_WORDS, Pfn, VirtAddr};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::pagetable::PmdEntry;
use crate::platform::{Platform, PteFormat};
use crate::sync::Word;
use crate::vma::{MmStruct, VmArea, vm};

/// Pages of a huge page, for counters that fall, too.
const PAGES: i64 = HPAGE_PAGES as i64;

impl<P: Platform> Memory<P> {
    /// What a program's access to `addr` finds, as an entry of the lowest level: 0 for nothing.
    #[inline]
    pub(crate) fn entry_at(&self, pgd: Pfn, addr: VirtAddr) -> u64 {
        match self.pte(pgd, addr) {
            Some(pte) => pte.get(),
            None => self.entry_of_leaf(pgd, addr),
        }
    }

    fn entry_of_leaf(&self, pgd: Pfn, addr: VirtAddr) -> u64 {
        self.leaf(pgd, addr).map_or(0, |leaf| {
            let leaf = P::Pte::small(leaf.get());
            P::Pte::with_pfn(leaf, P::Pte::pfn(leaf).offset(subpage(addr)))
        })
    }

    /// A page table for a leaf of private memory to keep. Its content is anything.
    pub(super) fn alloc_deposit(&self, mm: MmStruct<'_>) -> Option<Pfn> {
        let table = self.alloc_table()?;
        mm.set_nr_ptes(mm.nr_ptes() + 1);
        Some(table)
    }

    /// Takes [`Memory::alloc_deposit`] back.
    pub(super) fn free_deposit(&self, mm: MmStruct<'_>, table: Pfn) {
        self.free_table(table);
        mm.set_nr_ptes(mm.nr_ptes() - 1);
    }

    fn deposit(&self, pmd: Pfn, table: Pfn) {
        let list = &self.page(pmd).next;
        self.page(table).next.set(list.get());
        list.set(table.0);
    }

    fn withdraw(&self, pmd: Pfn) -> Pfn {
        let list = &self.page(pmd).next;
        let table = Pfn(list.get());
        debug_assert_ne!(table.0, 0, "a leaf has no table deposited");
        list.set(self.page(table).next.get());
        table
    }

    /// Enters a leaf where nothing is, for a huge page of private memory, with the page table that it keeps.
    pub(super) fn enter_anon_leaf(&self, mm: MmStruct<'_>, pmd: PmdEntry<'_>, leaf: u64, table: Pfn) {
        self.add_rss_huge(mm, P::Pte::pfn(leaf), PAGES);
        self.deposit(pmd.table, table);
        pmd.slot.set(leaf);
    }

    /// Enters a leaf where nothing is, for a huge page of an object.
    pub(super) fn enter_file_leaf(&self, mm: MmStruct<'_>, pmd: PmdEntry<'_>, leaf: u64) {
        self.add_rss_huge(mm, P::Pte::pfn(leaf), PAGES);
        self.add_leaf_rmap(P::Pte::pfn(leaf));
        pmd.slot.set(leaf);
    }

    /// Removes a leaf and drops what it held.
    pub(crate) fn zap_leaf(&self, mm: MmStruct<'_>, addr: VirtAddr, pmd: PmdEntry<'_>) {
        let head = P::Pte::pfn(pmd.slot.get());
        pmd.slot.set(0);
        self.platform.flush_tlb_huge(mm.pgd(), addr);
        self.add_rss_huge(mm, head, -PAGES);
        if self.page(head).has(flag::ANON) {
            let table = self.withdraw(pmd.table);
            self.free_deposit(mm, table);
        }
        self.remove_leaf_rmap(head);
        if self.page(head).has(flag::UNEVICTABLE) {
            self.munlock_page(head);
        }
        self.put_page(head);
    }

    /// Has small entries map what a leaf maps: those of private memory are made, an object's are left to faults. Needs no memory. Source:
    /// Linux `__split_huge_pmd`.
    pub(crate) fn split_leaf(&self, mm: MmStruct<'_>, addr: VirtAddr, pmd: PmdEntry<'_>) {
        self.thp.count(Count::SplitPmd);
        let leaf = pmd.slot.get();
        let head = P::Pte::pfn(leaf);
        if !self.page(head).has(flag::ANON) {
            return self.zap_leaf(mm, addr, pmd);
        }
        let table = self.withdraw(pmd.table);
        self.make_tails(head);
        let entry = P::Pte::small(leaf);
        for (i, pte) in (0..HPAGE_PAGES).zip(self.platform.frame(table)) {
            pte.set(P::Pte::with_pfn(entry, head.offset(i)));
            self.add_small_rmap(head.offset(i));
        }
        // The leaf's reference is that of one of the entries.
        self.page(head).refcount.add(HPAGE_PAGES - 1);
        self.remove_leaf_rmap(head);
        pmd.slot.set(P::Pte::table(table));
        self.platform.flush_tlb_huge(mm.pgd(), addr);
    }

    /// Lets no leaf reach across these addresses: a VMA is about to begin or end there.
    #[cold]
    #[inline(never)]
    pub(crate) fn split_leaves_at(&self, mm: MmStruct<'_>, at: [VirtAddr; 2]) {
        for addr in at.into_iter().filter(|&addr| huge_start(addr) != addr) {
            self.split_leaves(mm, addr..addr.offset(1));
        }
    }

    /// Splits the leaves that reach into a range.
    #[cold]
    #[inline(never)]
    pub(crate) fn split_leaves(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_leaf(mm.pgd(), range, |at, pmd| {
            self.split_leaf(mm, at, pmd);
            true
        });
    }

    /// Removes the leaves in a range; those that reach beyond it are split.
    #[cold]
    #[inline(never)]
    pub(crate) fn zap_leaves(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_leaf(mm.pgd(), range.clone(), |at, pmd| {
            if range.start <= at && at.offset(HPAGE_SIZE) <= range.end {
                self.zap_leaf(mm, at, pmd);
            } else {
                self.split_leaf(mm, at, pmd);
            }
            true
        });
    }

    /// Brings the leaves of a VMA in line with its rights; whether any changed. As for small entries, stores to private pages stay
    /// forbidden where they were.
    #[cold]
    #[inline(never)]
    pub(crate) fn change_leaves(&self, mm: MmStruct<'_>, vma: VmArea<'_>) -> bool {
        let readable = vma.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        let shared_write = vma.has(vm::SHARED | vm::WRITE);
        let mut changed = false;
        self.for_each_leaf(mm.pgd(), vma.vm_start()..vma.vm_end(), |_, pmd| {
            let leaf = pmd.slot.get();
            let writable = shared_write || (vma.has(vm::WRITE) && P::Pte::is_writable(leaf));
            let new = P::Pte::modify(leaf, readable, writable, vma.has(vm::EXEC));
            changed |= new != leaf;
            pmd.slot.set(new);
            true
        });
        changed
    }

    /// Copies a leaf of private memory for a child; stores are forbidden on both sides. Nothing, where there is none when the child's tables are
    /// there. Source: Linux `copy_huge_pmd`.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub(crate) fn copy_leaf(&self, old: MmStruct<'_>, new: MmStruct<'_>, addr: VirtAddr) -> Result<(), Error> {
        let anonymous = |leaf: &Word| self.page(P::Pte::pfn(leaf.get())).has(flag::ANON);
        // The child's faults find an object's page.
        if !self.leaf(old.pgd(), addr).is_some_and(anonymous) {
            return Ok(());
        }
        let to = self.pmd_alloc(new, addr).ok_or(Error::Enomem)?;
        let table = self.alloc_deposit(new).ok_or(Error::Enomem)?;
        // That may have reclaimed, and reclaim may have split the page.
        let Some(from) = self.leaf(old.pgd(), addr) else {
            self.free_deposit(new, table);
            return Ok(());
        };
        let leaf = P::Pte::wrprotect(from.get());
        from.set(leaf);
        let head = P::Pte::pfn(leaf);
        self.get_page(head);
        self.add_leaf_rmap(head);
        self.enter_anon_leaf(new, to, P::Pte::mkold(leaf), table);
        Ok(())
    }

    /// What `MADV_PAGEOUT` does first with leaves: the pages that only this address space maps are to be paged out one by one.
    #[cold]
    #[inline(never)]
    pub(crate) fn pageout_leaves(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) {
        self.for_each_leaf(mm.pgd(), range, |at, pmd| {
            let head = P::Pte::pfn(pmd.slot.get());
            if self.huge_mapcount(head) == 1 && !self.page(head).has(flag::UNEVICTABLE) {
                self.pageout_huge(mm, at, pmd, head);
            }
            true
        });
    }

    fn pageout_huge(&self, mm: MmStruct<'_>, at: VirtAddr, pmd: PmdEntry<'_>, head: Pfn) {
        if self.page(head).has(flag::ANON) {
            // The entries that it leaves are met next.
            return self.split_leaf(mm, at, pmd);
        }
        // An object's page keeps no entry that could be met: its pages go here.
        if self.split_huge_page(head, 0) {
            for i in 0..HPAGE_PAGES {
                self.reclaim_page(head.offset(i));
            }
        }
    }

    /// Moves the leaves of a range to the range at `to`, if both have the same place in a huge page, and a table for them can be had; splits
    /// the others.
    #[cold]
    #[inline(never)]
    pub(crate) fn move_leaves(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, to: VirtAddr) {
        let aligned = (to.0 ^ range.start.0) & (HPAGE_SIZE - 1) == 0;
        self.for_each_leaf(mm.pgd(), range.clone(), |at, pmd| {
            let whole = range.start <= at && at.offset(HPAGE_SIZE) <= range.end;
            let target = to.offset(at.0.wrapping_sub(range.start.0));
            let place = if aligned && whole {
                self.pmd_alloc(mm, target)
            } else {
                None
            };
            let leaf = pmd.slot.get();
            if leaf == 0 || P::Pte::is_table(leaf) {
                return true;
            }
            match place.filter(|place| place.slot.get() == 0) {
                Some(place) => {
                    pmd.slot.set(0);
                    if self.page(P::Pte::pfn(leaf)).has(flag::ANON) {
                        let table = self.withdraw(pmd.table);
                        self.deposit(place.table, table);
                    }
                    place.slot.set(leaf);
                    self.platform.flush_tlb_huge(mm.pgd(), at);
                }
                None => self.split_leaf(mm, at, pmd),
            }
            true
        });
    }

    /// After leaves moved from the range at `back` to `range`: they, or the tables that they became since, go back. Needs no memory.
    #[cold]
    #[inline(never)]
    pub(crate) fn move_tables_back(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, back: VirtAddr) {
        if (back.0 ^ range.start.0) & (HPAGE_SIZE - 1) != 0 {
            return;
        }
        let mut at = VirtAddr(range.start.0.next_multiple_of(HPAGE_SIZE));
        while at.offset(HPAGE_SIZE) <= range.end {
            let target = back.offset(at.0 - range.start.0);
            if let (Some(from), Some(to)) = (self.pmd(mm.pgd(), at).0, self.pmd(mm.pgd(), target).0)
                && to.slot.get() == 0
                && from.slot.get() != 0
            {
                let entry = from.slot.get();
                if !P::Pte::is_table(entry) && self.page(P::Pte::pfn(entry)).has(flag::ANON) {
                    let table = self.withdraw(from.table);
                    self.deposit(to.table, table);
                }
                from.slot.set(0);
                to.slot.set(entry);
            }
            at = at.offset(HPAGE_SIZE);
        }
        self.platform.flush_tlb_mm(mm.pgd());
    }
}

const _: () = assert!(HPAGE_PAGES as usize == PAGE_WORDS, "a deposited table maps a huge page");
