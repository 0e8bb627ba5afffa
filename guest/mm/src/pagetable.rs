//! Page tables: the four-level walk, in terms of [`PteFormat`].
//!
//! A table is a frame of 512 entries. Entries of VMAs' pages are found by [`Memory::pte`], made reachable by
//! [`Memory::pte_alloc`], visited by [`Memory::for_each_pte`]; [`Memory::free_pgtables`] gives tables back when no VMA needs them.
//!
//! Source: Linux, mm/memory.c (`__pte_alloc`, `free_pgd_range`), Documentation/mm/page_tables.rst. Rule B43.
//!
//! An entry of the PMD can be a *leaf*, which maps a huge page ([`crate::huge`]). Where one is, there is no table: who looks for entries
//! of the lowest level finds none. [`Memory::for_each_leaf`] finds the leaves.

use core::ops::Range;

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat, Vmstat};
use crate::sync::Word;
use crate::vma::MmStruct;

/// log2 of the bytes that an entry covers, by level from the root down: PGD, PUD, PMD.
const TABLE_SHIFTS: [u32; 3] = [39, 30, 21];
/// log2 of the bytes that a lowest-level table covers.
const PMD_SHIFT: u32 = 21;

/// An entry of the PMD, and the table that it is in.
#[derive(Clone, Copy)]
pub(crate) struct PmdEntry<'a> {
    pub(crate) table: Pfn,
    pub(crate) slot: &'a Word,
}

/// Index of the entry for `addr` in a table whose entries cover `1 << shift` bytes.
#[inline(always)]
const fn entry_index(addr: u64, shift: u32) -> usize {
    (addr >> shift) as usize & 511
}

/// Entries that are looked at together: a cache line of them.
const TOGETHER: usize = 8;

/// How many entries at the beginning are 0, by whole lines. Most entries of a large range are 0, and this is the cheapest way past them.
#[inline(never)]
fn empty_lines(entries: &[Word]) -> usize {
    let (lines, _) = entries.as_chunks::<TOGETHER>();
    let empty = |line: &&[Word; TOGETHER]| line.iter().fold(0, |all, pte| all | pte.get()) == 0;
    lines.iter().take_while(empty).count() * TOGETHER
}

/// Calls `f` for the entries that are not 0, in order, until it says `false`. Returns whether it never did.
#[inline(always)]
fn visit_entries(entries: &[Word], mut f: impl FnMut(usize, &Word) -> bool) -> bool {
    let mut i = 0;
    while i < entries.len() {
        if entries[i].get() != 0 {
            if !f(i, &entries[i]) {
                return false;
            }
            i += 1;
        } else {
            i += 1;
            if entries.len() - i >= TOGETHER {
                i += empty_lines(&entries[i..]);
            }
        }
    }
    true
}

impl<P: Platform> Memory<P> {
    /// The entry for `addr` if its table exists, else what is in its place: an entry of the PMD, if there is such a table.
    #[inline(always)]
    pub(crate) fn pte_or_pmd(&self, pgd: Pfn, addr: VirtAddr) -> Result<&Word, Option<&Word>> {
        let mut table = pgd;
        for shift in [TABLE_SHIFTS[0], TABLE_SHIFTS[1]] {
            let entry = self.platform.frame(table)[entry_index(addr.0, shift)].get();
            if !P::Pte::is_table(entry) {
                return Err(None);
            }
            table = P::Pte::pfn(entry);
        }
        let slot = &self.platform.frame(table)[entry_index(addr.0, PMD_SHIFT)];
        let entry = slot.get();
        if !P::Pte::is_table(entry) {
            return Err(Some(slot));
        }
        Ok(&self.platform.frame(P::Pte::pfn(entry))[entry_index(addr.0, PAGE_SHIFT)])
    }

    /// The entry for `addr`, if its table exists.
    #[inline(always)]
    pub(crate) fn pte(&self, pgd: Pfn, addr: VirtAddr) -> Option<&Word> {
        let table = self.pte_table(pgd, addr).0?;
        Some(&self.platform.frame(table)[entry_index(addr.0, PAGE_SHIFT)])
    }

    /// The entry for `addr`, its tables allocated as needed; a leaf there is split. `None` when no frame can be had.
    #[inline(always)]
    pub(crate) fn pte_alloc(&self, mm: MmStruct<'_>, addr: VirtAddr) -> Option<&Word> {
        match self.pte(mm.pgd(), addr) {
            Some(pte) => Some(pte),
            None => self.pte_alloc_slow(mm, addr),
        }
    }

    /// The entries of `range` that are in one table with the first, which exists then. `None` when no frame can be had.
    pub(crate) fn ptes_alloc(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) -> Option<&[Word]> {
        self.pte_alloc(mm, range.start)?;
        self.ptes(mm, range)
    }

    /// The entries of `range` that are in one table with the first, if that table exists.
    #[inline]
    pub(crate) fn ptes(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) -> Option<&[Word]> {
        let table = self.pte_table(mm.pgd(), range.start).0?;
        let first = entry_index(range.start.0, PAGE_SHIFT);
        let count = ((range.end.0 - range.start.0) >> PAGE_SHIFT) as usize;
        let entries = self.platform.frame(table);
        Some(&entries[first..entries.len().min(first + count)])
    }

    #[cold]
    pub(crate) fn pte_alloc_slow(&self, mm: MmStruct<'_>, addr: VirtAddr) -> Option<&Word> {
        // Where a leaf is, small entries are wanted for parts of it.
        if self.has_leaves() {
            self.split_leaves(mm, addr..addr.offset(1));
        }
        self.pte_alloc_unless_leaf(mm, addr)
    }

    /// The entry for `addr`, its tables allocated as needed. `None` when a leaf is there, or no frame can be had.
    #[cold]
    #[inline(never)]
    pub(crate) fn pte_alloc_unless_leaf(&self, mm: MmStruct<'_>, addr: VirtAddr) -> Option<&Word> {
        let mut table = mm.pgd();
        for shift in TABLE_SHIFTS {
            table = self.table_below(mm, table, entry_index(addr.0, shift))?;
        }
        Some(&self.platform.frame(table)[entry_index(addr.0, PAGE_SHIFT)])
    }

    /// The entry for `addr` in a new table, which is put in `slot`, an entry of the PMD. `None` when a leaf is there, or no frame can be had.
    #[cold]
    #[inline(never)]
    pub(crate) fn pte_of_new_table(&self, mm: MmStruct<'_>, slot: &Word, addr: VirtAddr) -> Option<&Word> {
        if slot.get() != 0 {
            return None;
        }
        let table = self.new_table(mm, slot)?;
        Some(&self.platform.frame(table)[entry_index(addr.0, PAGE_SHIFT)])
    }

    /// An empty table, or `None` when no frame can be had.
    pub(crate) fn alloc_table(&self) -> Option<Pfn> {
        let pfn = self.alloc_zeroed_page()?;
        self.page(pfn).set_flags(flag::TABLE);
        self.count(Vmstat::NrPageTablePages);
        Some(pfn)
    }

    /// Gives a table back.
    pub(crate) fn free_table(&self, pfn: Pfn) {
        self.page(pfn).clear_flags(flag::TABLE);
        self.uncount(Vmstat::NrPageTablePages);
        self.free_kernel_page(pfn);
    }

    /// Visits the entries of `range` that are not 0, in order, until `f` says `false`. Returns whether it never did.
    pub(crate) fn for_each_pte(
        &self,
        pgd: Pfn,
        range: Range<VirtAddr>,
        mut f: impl FnMut(VirtAddr, &Word) -> bool,
    ) -> bool {
        let mut addr = range.start.0;
        while addr < range.end.0 {
            let (table, shift) = self.pte_table(pgd, VirtAddr(addr));
            let end = (((addr >> shift) + 1) << shift).min(range.end.0);
            if let Some(table) = table {
                let first = entry_index(addr, PAGE_SHIFT);
                let count = ((end - addr) >> PAGE_SHIFT) as usize;
                let entries = &self.platform.frame(table)[first..first + count];
                if !visit_entries(entries, |i, pte| f(VirtAddr(addr + ((i as u64) << PAGE_SHIFT)), pte)) {
                    return false;
                }
            }
            addr = end;
        }
        true
    }

    /// The lowest-level table for `addr`, if it exists, and log2 of the bytes that it covers, or else of those that have none either.
    #[inline(always)]
    fn pte_table(&self, pgd: Pfn, addr: VirtAddr) -> (Option<Pfn>, u32) {
        let mut table = pgd;
        for shift in TABLE_SHIFTS {
            let entry = self.platform.frame(table)[entry_index(addr.0, shift)].get();
            // Nothing there, or a leaf.
            if !P::Pte::is_table(entry) {
                return (None, shift);
            }
            table = P::Pte::pfn(entry);
        }
        (Some(table), PMD_SHIFT)
    }

    /// The entry of the PMD for `addr`, if its table exists, and log2 of the bytes that the entry covers, or else of those that have no table
    /// either.
    pub(crate) fn pmd(&self, pgd: Pfn, addr: VirtAddr) -> (Option<PmdEntry<'_>>, u32) {
        let mut table = pgd;
        for shift in [TABLE_SHIFTS[0], TABLE_SHIFTS[1]] {
            let entry = self.platform.frame(table)[entry_index(addr.0, shift)].get();
            if !P::Pte::is_table(entry) {
                return (None, shift);
            }
            table = P::Pte::pfn(entry);
        }
        let slot = &self.platform.frame(table)[entry_index(addr.0, PMD_SHIFT)];
        (Some(PmdEntry { table, slot }), PMD_SHIFT)
    }

    /// The entry of the PMD for `addr`, the tables above it allocated as needed. `None` when no frame can be had.
    pub(crate) fn pmd_alloc(&self, mm: MmStruct<'_>, addr: VirtAddr) -> Option<PmdEntry<'_>> {
        let mut table = mm.pgd();
        for shift in [TABLE_SHIFTS[0], TABLE_SHIFTS[1]] {
            table = self.table_below(mm, table, entry_index(addr.0, shift))?;
        }
        let slot = &self.platform.frame(table)[entry_index(addr.0, PMD_SHIFT)];
        Some(PmdEntry { table, slot })
    }

    /// The table that an entry refers to, allocated if there is nothing; `None` for a leaf, and when no frame can be had.
    fn table_below(&self, mm: MmStruct<'_>, table: Pfn, index: usize) -> Option<Pfn> {
        let slot = &self.platform.frame(table)[index];
        let entry = slot.get();
        if P::Pte::is_table(entry) {
            return Some(P::Pte::pfn(entry));
        }
        if entry != 0 {
            return None;
        }
        self.new_table(mm, slot)
    }

    /// Puts an empty table in an entry. `None` when no frame can be had.
    #[inline(always)]
    fn new_table(&self, mm: MmStruct<'_>, slot: &Word) -> Option<Pfn> {
        let table = self.alloc_table()?;
        mm.set_nr_ptes(mm.nr_ptes() + 1);
        slot.set(P::Pte::table(table));
        Some(table)
    }

    /// The leaf that covers `addr`, if there is one.
    pub(crate) fn leaf(&self, pgd: Pfn, addr: VirtAddr) -> Option<&Word> {
        let slot = self.pmd(pgd, addr).0?.slot;
        (slot.get() != 0 && !P::Pte::is_table(slot.get())).then_some(slot)
    }

    /// Visits the leaves that reach into `range`, in order, each with the first address that it maps.
    pub(crate) fn for_each_leaf(
        &self,
        pgd: Pfn,
        range: Range<VirtAddr>,
        mut f: impl FnMut(VirtAddr, PmdEntry<'_>) -> bool,
    ) -> bool {
        let mut addr = range.start.0;
        while addr < range.end.0 {
            let (entry, shift) = self.pmd(pgd, VirtAddr(addr));
            let start = addr >> shift << shift;
            if let Some(entry) = entry
                && entry.slot.get() != 0
                && !P::Pte::is_table(entry.slot.get())
                && !f(VirtAddr(start), entry)
            {
                return false;
            }
            addr = start + (1 << shift);
        }
        true
    }

    /// Gives back the tables of `range` that nothing in `bounds` needs: `bounds` reaches from the end of the VMA before to the
    /// start of the VMA after, and all entries in it are 0.
    pub(crate) fn free_pgtables(&self, mm: MmStruct<'_>, range: Range<VirtAddr>, bounds: Range<VirtAddr>) {
        // Tables of higher levels cover what those of the lowest do: where none of these can go, none can.
        let table_bytes = 1u64 << PMD_SHIFT;
        let lowest = range.start.0 & !(table_bytes - 1);
        let highest = range.end.0.next_multiple_of(table_bytes);
        let first = lowest + if lowest < bounds.start.0 { table_bytes } else { 0 };
        let end = highest - if highest > bounds.end.0 { table_bytes } else { 0 };
        if range.start < range.end && first < end {
            self.free_tables_below(mm, mm.pgd(), 0, &range, &bounds);
        }
    }

    fn free_tables_below(
        &self,
        mm: MmStruct<'_>,
        table: Pfn,
        level: usize,
        range: &Range<VirtAddr>,
        bounds: &Range<VirtAddr>,
    ) {
        let shift = TABLE_SHIFTS[level];
        let entries = self.platform.frame(table);
        // Only the part of the range that this table covers: the address bits above it are those of its entries.
        let covered = 1u64 << (shift + 9);
        let base = range.start.0 & !(covered - 1);
        let (first, last) = (entry_index(range.start.0, shift), entry_index(range.end.0 - 1, shift));
        for (i, slot) in entries.iter().enumerate().take(last + 1).skip(first) {
            let entry = slot.get();
            if entry == 0 {
                continue;
            }
            debug_assert!(P::Pte::is_table(entry), "a leaf is left where no VMA is");
            let start = base + ((i as u64) << shift);
            let end = start + (1 << shift);
            let child = P::Pte::pfn(entry);
            if level + 1 < TABLE_SHIFTS.len() {
                let part = VirtAddr(range.start.0.max(start))..VirtAddr(range.end.0.min(end));
                self.free_tables_below(mm, child, level + 1, &part, bounds);
            }
            if bounds.start.0 <= start && end <= bounds.end.0 {
                slot.set(0);
                self.free_table(child);
                mm.set_nr_ptes(mm.nr_ptes() - 1);
            }
        }
    }
}
