//! Address spaces: VMAs, page tables, and what both say about pages and slots.

use super::ledger::balance;
use super::{Ledger, Violation, at_most, equal};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::huge::HPAGE_PAGES;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::rbtree::Tree;
use crate::swap::SwapSlot;
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::{self, TreeError, vmas};

/// What all address spaces have together.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    pub(super) mms: u64,
    pub(super) vmas: u64,
    pub(super) anon_vmas: u64,
    /// Pages that VMAs are charged for.
    pub(super) charged: u64,
    /// Frames that are page tables.
    pub(super) tables: u64,
}

/// An entry of a page table that is not 0.
enum Found {
    /// A table.
    Table(Pfn),
    /// What maps one page, or says where it is.
    Small(VirtAddr, u64),
    /// What maps a huge page.
    Leaf(VirtAddr, u64),
}

/// Given each entry.
type Visit<'v> = &'v mut dyn FnMut(Found) -> Result<(), Violation>;

/// log2 of the bytes that an entry covers, by level from the root down.
const SHIFTS: [u32; 4] = [39, 30, 21, PAGE_SHIFT];
/// Entries of the root for programs; the others are the kernel's.
const PROGRAM_ENTRIES: usize = 256;

/// What page tables hold, counted as the address space counts it.
#[derive(Default)]
struct Resident {
    tables: u64,
    anon: u64,
    shmem: u64,
    pooled: u64,
    swapped: u64,
}

impl<P: Platform> Memory<P> {
    /// Calls `visit` for every address space, until it fails.
    fn each_space(&self, visit: &mut dyn FnMut(MmId) -> Result<(), Violation>) -> Result<(), Violation> {
        let (mut next, mut seen) = (self.first_space(), 0_u64);
        while let Some(id) = next {
            visit(id)?;
            seen += 1;
            at_most("address spaces on the list", id.0.get(), seen, self.live_mms())?;
            next = self.mm(id).mm_next();
        }
        Ok(())
    }

    /// Verifies every address space.
    pub(super) fn verify_spaces(&self) -> Result<Spaces, Violation> {
        let mut all = Spaces::default();
        self.each_space(&mut |id| {
            all.mms += 1;
            all.tables += self.mm(id).nr_ptes();
            self.verify_space(id, &mut all)
        })?;
        Ok(all)
    }

    fn verify_space(&self, id: MmId, all: &mut Spaces) -> Result<(), Violation> {
        let mm = self.mm(id);
        vma_tree::check(self, mm).map_err(violation)?;
        let (mut pages, mut locked) = (0, 0);
        for (vma_id, vma) in vmas(self, mm) {
            pages += vma.pages();
            locked += if vma.has(vm::LOCKED) { vma.pages() } else { 0 };
            all.vmas += 1;
            all.charged += if vma.has(vm::ACCOUNT) { vma.pages() } else { 0 };
            equal("address space of VMA", vma_id.0.get(), number(vma.vm_mm()), id.0.get())?;
            self.verify_in_trees(vma_id, vma, all)?;
        }
        equal("mapped pages of address space", id.0.get(), mm.total_vm(), pages)?;
        equal("locked pages of address space", id.0.get(), mm.locked_vm(), locked)?;
        self.verify_tables(id, mm)
    }

    /// Panics unless one address space is what it should be. For tests.
    #[cfg(any(test, feature = "testing"))]
    #[track_caller]
    pub fn check_mm(&self, id: MmId) {
        super::expect(self.verify_space(id, &mut Spaces::default()));
    }

    /// The trees of what it maps are looked at where their roots are met, so that each is looked at once.
    fn verify_in_trees(&self, id: VmaId, vma: VmArea<'_>, all: &mut Spaces) -> Result<(), Violation> {
        let pages = vma.vm_pgoff()..=vma.last_page_index();
        if let Some(file) = vma.vm_file() {
            let tree = self.i_mmap(file);
            if tree.root() == Some(id) {
                tree.verify(&mut |id| {
                    equal(
                        "object of VMA in its tree",
                        id.0.get(),
                        number(self.vma(id).vm_file()),
                        file.0.get(),
                    )
                })?;
            }
            let found = tree.overlapping(pages.clone()).any(|other| other == id);
            equal("in the tree of its object: VMA", id.0.get(), found, true)?;
        }
        if let Some(anon) = vma.anon_vma() {
            let tree = self.anon_tree(anon);
            if tree.root() == Some(id) {
                all.anon_vmas += 1;
                tree.verify(&mut |id| {
                    equal(
                        "anon_vma of VMA in its tree",
                        id.0.get(),
                        number(self.vma(id).anon_vma()),
                        anon.0.get(),
                    )
                })?;
            }
            let found = tree.overlapping(pages).any(|other| other == id);
            equal("in the tree of its anon_vma: VMA", id.0.get(), found, true)?;
        }
        Ok(())
    }

    fn verify_tables(&self, id: MmId, mm: MmStruct<'_>) -> Result<(), Violation> {
        let at = id.0.get();
        let mut resident = Resident::default();
        let mut vma = mm.mmap().map(|first| self.vma(first));
        self.each_entry(mm.pgd(), &mut |found| {
            if let Found::Table(table) = found {
                resident.tables += 1;
                return equal("page table: frame", table.0, self.page(table).has(flag::TABLE), true);
            }
            let (Found::Small(addr, _) | Found::Leaf(addr, _)) = found else {
                return Ok(());
            };
            while let Some(before) = vma.filter(|vma| vma.vm_end() <= addr) {
                vma = before.vm_next().map(|next| self.vma(next));
            }
            match vma.filter(|vma| vma.vm_start() <= addr) {
                Some(vma) => self.verify_entry(vma, &found, &mut resident),
                None => equal("mapped where no VMA is: address", addr.0, true, false),
            }
        })?;
        equal("page tables of address space", at, mm.nr_ptes(), resident.tables)?;
        equal(
            "resident anonymous pages of address space",
            at,
            mm.rss_anon(),
            resident.anon,
        )?;
        equal(
            "resident shared pages of address space",
            at,
            mm.rss_shmem(),
            resident.shmem,
        )?;
        equal(
            "resident pooled pages of address space",
            at,
            mm.hugetlb_usage(),
            resident.pooled,
        )?;
        equal("swapped pages of address space", at, mm.swapents(), resident.swapped)
    }

    /// An entry is what its VMA and its page say.
    fn verify_entry(&self, vma: VmArea<'_>, found: &Found, resident: &mut Resident) -> Result<(), Violation> {
        let (addr, entry, pages) = match *found {
            Found::Small(addr, entry) => (addr, entry, 1),
            Found::Leaf(addr, entry) => (addr, entry, u64::from(HPAGE_PAGES)),
            Found::Table(_) => return Ok(()),
        };
        if !P::Pte::is_present(entry) {
            // A page that is lost counts no longer.
            let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(entry)) else {
                return Ok(());
            };
            resident.swapped += pages;
            return self.verify_meant(slot);
        }
        let pfn = P::Pte::pfn(entry);
        if vma.has(vm::PFNMAP) || pfn.0 == self.zero_pfn.get() {
            return Ok(());
        }
        equal(
            "mapped, and not the manager's: frame",
            pfn.0,
            self.zone.was_handed_out(pfn.0),
            true,
        )?;
        let page = self.page(pfn);
        let misused = page.flags.get() & (flag::BUDDY | flag::SLAB | flag::TABLE);
        equal("mapped, and something else: frame", pfn.0, misused, 0_u32)?;
        if page.has(flag::HUGETLB) {
            resident.pooled += pages;
            // Pages of the pool that are private have no owner.
            if page.has(flag::ANON) {
                return Ok(());
            }
        } else if page.has(flag::ANON) {
            resident.anon += pages;
        } else {
            resident.shmem += pages;
        }
        let owner = if page.has(flag::ANON) {
            number(vma.anon_vma())
        } else {
            number(vma.vm_file())
        };
        equal("owner of mapped frame", pfn.0, page.mapping.get(), owner)?;
        equal(
            "index of mapped frame",
            pfn.0,
            page.index.get(),
            vma.linear_page_index(addr),
        )
    }

    /// Calls `visit` for every entry of a program's page tables, in the order of addresses, a table before what is in it. Ends when it fails.
    fn each_entry(&self, pgd: Pfn, visit: Visit<'_>) -> Result<(), Violation> {
        visit(Found::Table(pgd))?;
        self.each_entry_below(pgd, 0, 0, visit)
    }

    fn each_entry_below(&self, table: Pfn, level: usize, base: u64, visit: Visit<'_>) -> Result<(), Violation> {
        let entries = if level == 0 { PROGRAM_ENTRIES } else { usize::MAX };
        let mut leaves_with_tables = 0;
        for (i, slot) in (0..).zip(self.platform.frame(table).iter().take(entries)) {
            let (entry, addr) = (slot.get(), base + (i << SHIFTS[level]));
            if entry == 0 {
                continue;
            }
            match level {
                3 => visit(Found::Small(VirtAddr(addr), entry))?,
                _ if P::Pte::is_table(entry) => {
                    visit(Found::Table(P::Pte::pfn(entry)))?;
                    self.each_entry_below(P::Pte::pfn(entry), level + 1, addr, visit)?;
                }
                2 => {
                    let head = self.page(P::Pte::pfn(entry));
                    leaves_with_tables += u32::from(head.has(flag::ANON) && !head.has(flag::HUGETLB));
                    visit(Found::Leaf(VirtAddr(addr), entry))?;
                }
                _ => equal("neither table nor leaf: entry for address", addr, true, false)?,
            }
        }
        if level == 2 {
            self.each_deposit(table, leaves_with_tables, visit)?;
        }
        Ok(())
    }

    /// The page tables that leaves of private memory keep.
    fn each_deposit(&self, table: Pfn, leaves: u32, visit: Visit<'_>) -> Result<(), Violation> {
        let (mut kept, mut next) = (0, self.page(table).next.get());
        // A table without leaves never looks at the word, which may hold anything.
        while kept < leaves && next != 0 {
            visit(Found::Table(Pfn(next)))?;
            kept += 1;
            next = self.page(Pfn(next)).next.get();
        }
        equal("page tables kept by leaves in frame", table.0, kept, leaves)
    }

    /// Each entry that maps a page is counted there, and nothing else is.
    pub(super) fn verify_mappings(&self) -> Result<(), Violation> {
        balance("mappings of frame (twice its number; 1 more for leaves)", &|ledger| {
            self.post_entries(&mut |found| match *found {
                Found::Small(_, entry) => ledger.put(u64::from(P::Pte::pfn(entry).0) * 2, 1),
                Found::Leaf(_, entry) => ledger.put(u64::from(P::Pte::pfn(entry).0) * 2 + 1, 1),
                Found::Table(_) => {}
            });
            self.post_mapcounts(ledger);
        })
    }

    /// The present entries for frames of the manager.
    fn post_entries(&self, post: &mut dyn FnMut(&Found)) {
        // Whatever can be wrong was found when each was verified.
        _ = self.each_space(&mut |id| {
            self.each_entry(self.mm(id).pgd(), &mut |found| {
                if let Found::Small(_, entry) | Found::Leaf(_, entry) = found
                    && P::Pte::is_present(entry)
                    && P::Pte::pfn(entry).0 != self.zero_pfn.get()
                    && self.zone.was_handed_out(P::Pte::pfn(entry).0)
                {
                    post(&found);
                }
                Ok(())
            })
        });
    }

    /// Each entry and each value that means a slot is counted there, and nothing else is.
    pub(super) fn verify_slots(&self) -> Result<(), Violation> {
        balance("users of slot", &|ledger| {
            _ = self.each_space(&mut |id| {
                self.each_entry(self.mm(id).pgd(), &mut |found| {
                    if let Found::Small(_, entry) = found
                        && !P::Pte::is_present(entry)
                        && let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(entry))
                    {
                        ledger.put(slot.entry(), 1);
                    }
                    Ok(())
                })
            });
            self.post_values(ledger);
            self.post_slots(ledger);
        })
    }
}

/// Any record's number; 0 for none.
pub(super) fn number<T: crate::record::Id>(id: Option<T>) -> u32 {
    id.map_or(0, |id| id.object().get())
}

fn violation(error: TreeError) -> Violation {
    let (what, at) = match error {
        TreeError::Order(id) => ("order of VMA", id.0.get()),
        TreeError::Prev(id) => ("previous of VMA", id.0.get()),
        TreeError::Count { listed } => ("VMAs on the list", listed as u32),
        TreeError::ListIsNotTree(id) => ("place in tree and list of VMA", id.0.get()),
        TreeError::NotInTree(id) => ("in no tree: VMA", id.0.get()),
        TreeError::Parent(id) => ("parent of VMA", id.0.get()),
        TreeError::Color(id) => ("colour of VMA", id.0.get()),
        TreeError::BlackHeight(id) => ("black VMAs below VMA", id.0.get()),
        TreeError::Depth(id) => ("depth of VMA", id.0.get()),
        TreeError::Gap(id) => ("gap before the subtree of VMA", id.0.get()),
        TreeError::Cache(id) => ("found last, and on no list: VMA", id.0.get()),
    };
    Violation {
        what,
        at: u64::from(at),
        found: 1,
        expected: 0,
    }
}

impl Ledger {
    /// How often a frame's entry says that it is mapped.
    pub(super) fn take_mappings(&mut self, pfn: Pfn, small: u32, leaves: u32) {
        self.take(u64::from(pfn.0) * 2, u64::from(small));
        self.take(u64::from(pfn.0) * 2 + 1, u64::from(leaves));
    }
}
