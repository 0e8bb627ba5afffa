//! Frames: each is free or of somebody, and has as many references as there are who hold one.

use super::objects::Objects;
use super::spaces::Spaces;
use super::{Ledger, Others, Violation, at_most, equal};
use crate::addr::Pfn;
use crate::huge::HPAGE_PAGES;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::page::{Page, flag};
use crate::platform::{Platform, Vmstat};

/// Frames by what they are used for.
#[derive(Debug, Default)]
struct Uses {
    free: u64,
    slabs: u64,
    tables: u64,
    lru: u64,
    cached: u64,
    swap_cached: u64,
    anon_mapped: u64,
    file_mapped: u64,
    /// Huge pages of the pool, free or not.
    pooled: u64,
    /// Of nobody that the memory map knows.
    other: u64,
}

impl<P: Platform> Memory<P> {
    /// Frames that are something: see [`crate::zone::Zone::entries`].
    pub(super) fn entries(&self) -> impl Iterator<Item = (Pfn, u32)> + '_ {
        self.zone.entries(self.platform.memmap())
    }

    pub(super) fn verify_frames(&self, spaces: &Spaces, objects: &Objects, others: Others) -> Result<(), Violation> {
        let mut uses = Uses::default();
        for (pfn, frames) in self.entries() {
            let page = self.page(pfn);
            if page.has(flag::BUDDY) {
                uses.free += u64::from(frames);
            } else if page.has(flag::HEAD) {
                self.verify_huge(pfn, &mut uses, others)?;
            } else {
                self.verify_small(pfn, page, &mut uses, others)?;
            }
        }
        let counter = |item| self.platform.counter(item);
        let listed = [LruList::InactiveAnon, LruList::ActiveAnon, LruList::Unevictable];
        let listed: u64 = listed.into_iter().map(|list| u64::from(self.lru_count(list))).sum();
        let free = self.zone.free_pages_count() - self.zone.not_in_memmap();
        equal("free frames in the memory map", 0_u32, uses.free, free)?;
        equal("frames on LRU lists", 0_u32, listed, uses.lru)?;
        equal(
            "nr_page_table_pages",
            0_u32,
            counter(Vmstat::NrPageTablePages),
            uses.tables,
        )?;
        equal("page tables of all address spaces", 0_u32, spaces.tables, uses.tables)?;
        equal("nr_file_pages", 0_u32, counter(Vmstat::NrFilePages), objects.pages)?;
        equal("pages of all objects", 0_u32, objects.pages, uses.cached)?;
        equal("nr_swapcached", 0_u32, counter(Vmstat::NrSwapCached), uses.swap_cached)?;
        equal("nr_anon_pages", 0_u32, counter(Vmstat::NrAnonMapped), uses.anon_mapped)?;
        equal("nr_mapped", 0_u32, counter(Vmstat::NrFileMapped), uses.file_mapped)?;
        equal(
            "huge pages of the pool",
            0_u32,
            self.hugetlb_counters().total,
            uses.pooled,
        )?;
        let own = 1 + self.swap_table_frames();
        match others {
            // Who builds on the manager has frames that count as slabs, and no cache has.
            Others::Unknown => {
                at_most("frames of caches", 0_u32, uses.slabs, counter(Vmstat::NrSlab))?;
                at_most("frames of the manager's own", 0_u32, own, uses.other)
            }
            Others::None => {
                equal("nr_slab", 0_u32, counter(Vmstat::NrSlab), uses.slabs)?;
                equal("frames of nobody", 0_u32, uses.other, own)
            }
        }
    }

    fn verify_small(&self, pfn: Pfn, page: &Page, uses: &mut Uses, others: Others) -> Result<(), Violation> {
        uses.lru += u64::from(page.has(flag::LRU));
        if page.flags.get() & (flag::SLAB | flag::TABLE) != 0 {
            uses.slabs += u64::from(page.has(flag::SLAB));
            uses.tables += u64::from(page.has(flag::TABLE));
            return equal(
                "references to slab or page table: frame",
                pfn.0,
                page.refcount.get(),
                1_u32,
            );
        }
        let anon = page.has(flag::ANON);
        let cached = !anon && page.mapping.get() != 0;
        let mapped = u64::from(page.mapcount.get() != 0);
        uses.cached += u64::from(cached);
        uses.swap_cached += u64::from(page.has(flag::SWAPCACHE));
        if anon {
            uses.anon_mapped += mapped;
        } else {
            uses.file_mapped += mapped;
        }
        let known = page.mapcount.get() + u32::from(cached) + u32::from(page.has(flag::SWAPCACHE));
        let found = page.refcount.get();
        if known == 0 && page.flags.get() == 0 {
            uses.other += 1;
            return at_most("lost: frame", pfn.0, 1_u32, found);
        }
        match others {
            Others::Unknown => at_most("references known of, to frame", pfn.0, known.max(1), found),
            Others::None => equal("references to frame", pfn.0, found, known),
        }
    }

    fn verify_huge(&self, head: Pfn, uses: &mut Uses, others: Others) -> Result<(), Violation> {
        let page = self.page(head);
        let (found, pages) = (self.huge_refcount(head), u64::from(HPAGE_PAGES));
        let pooled = page.has(flag::HUGETLB);
        uses.pooled += u64::from(pooled);
        if pooled && found == 0 {
            return Ok(());
        }
        let anon = page.has(flag::ANON);
        let cached = !anon && page.mapping.get() != 0;
        uses.lru += if page.has(flag::LRU) { pages } else { 0 };
        if !pooled {
            uses.cached += if cached { pages } else { 0 };
            let mapped = match self.leaf_mapcount(head) {
                0 => self.nr_small_mapped(head),
                _ => pages,
            };
            if anon {
                uses.anon_mapped += mapped;
            } else {
                uses.file_mapped += mapped;
            }
        }
        let known = self.huge_mapcount(head) + u64::from(cached);
        match others {
            Others::Unknown => at_most("references known of, to huge page", head.0, known.max(1), found),
            Others::None => equal("references to huge page", head.0, found, known),
        }
    }

    /// Takes from `ledger` how often each frame says that it is mapped.
    pub(super) fn post_mapcounts(&self, ledger: &mut Ledger) {
        for (pfn, _) in self.entries() {
            let page = self.page(pfn);
            let flags = page.flags.get();
            if flags & (flag::BUDDY | flag::SLAB | flag::TABLE) != 0 {
                continue;
            }
            if flags & flag::HEAD == 0 {
                ledger.take_mappings(pfn, page.mapcount.get(), 0);
                continue;
            }
            ledger.take_mappings(pfn, page.mapcount.get(), self.leaf_mapcount(pfn));
            if self.has_tails(pfn) {
                for tail in self.tails(pfn) {
                    ledger.take_mappings(tail, self.page(tail).mapcount.get(), 0);
                }
            }
        }
    }
}
