//! Objects: page cache, blocks, file systems, promises; and that no record is lost.

use super::ledger::balance;
use super::spaces::{Spaces, number};
use super::{Ledger, Others, Violation, equal};
use crate::huge::HPAGE_ORDER;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;
use crate::shmem::{Inode, InodeId, inode_flag};
use crate::swap::SwapSlot;
use crate::xarray::{self, Filter};

/// What all objects have together.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) objects: u64,
    /// Pages in memory, those of the pool left out.
    pub(super) pages: u64,
    /// Nodes of their trees.
    pub(super) nodes: u64,
    /// Pages that they are charged for.
    pub(super) charged: u64,
    /// Pages of the pool that they were promised, and do not have.
    pub(super) reserved: u64,
}

impl<P: Platform> Memory<P> {
    /// Verifies every object and every file system.
    pub(super) fn verify_objects(&self) -> Result<Objects, Violation> {
        let mut all = Objects::default();
        for id in self.live_inodes() {
            all.objects += 1;
            self.verify_object(id, &mut all)?;
        }
        for tree in [self.ipc.table(), self.xattrs.table(), self.swap.continued()] {
            all.nodes += tree.check(self).map_err(violation)?;
        }
        self.verify_supers()?;
        Ok(all)
    }

    fn verify_object(&self, id: InodeId, all: &mut Objects) -> Result<(), Violation> {
        let (inode, at) = (self.inode(id), id.0.get());
        let pooled = inode.i_flags() & inode_flag::HUGETLB != 0;
        all.nodes += inode.i_pages().check(self).map_err(violation)?;
        let (mut pages, mut swapped, mut next) = (0, 0, Some(0));
        while let Some(from) = next
            && let Some((index, entry)) = inode.i_pages().find(self, from, u64::MAX, Filter::Any)
        {
            let mut covered = 1;
            if let Some(pfn) = entry.as_page() {
                let page = self.page(pfn);
                let misused = page.flags.get() & (flag::BUDDY | flag::SLAB | flag::TABLE | flag::ANON);
                equal("cached, and something else: frame", pfn.0, misused, 0_u32)?;
                equal("object of cached frame", pfn.0, page.mapping.get(), at)?;
                equal("index of cached frame", pfn.0, page.index.get(), index)?;
                covered = if page.has(flag::HEAD) { 1 << HPAGE_ORDER } else { 1 };
                pages += covered;
            } else if let Some(slot) = entry.as_value().and_then(SwapSlot::of_entry) {
                self.verify_meant(slot)?;
                swapped += 1;
            }
            next = index.checked_add(covered);
        }
        equal("pages of object", at, inode.nrpages(), pages)?;
        equal("swapped pages of object", at, inode.swapped(), swapped)?;
        if pooled {
            self.verify_reservations(id, inode, all)?;
        } else {
            equal("blocks of object", at, inode.alloced(), pages + swapped)?;
            all.pages += pages;
            all.charged += if inode.commit() != 0 {
                inode.commit()
            } else {
                inode.alloced()
            };
        }
        Ok(())
    }

    fn verify_reservations(&self, id: InodeId, inode: Inode<'_>, all: &mut Objects) -> Result<(), Violation> {
        all.nodes += self.regions_of(id).check(self).map_err(violation)?;
        if inode.i_flags() & inode_flag::RESV_MAP == 0 {
            let (known, used) = (
                self.region_count(id, 0..u64::MAX >> HPAGE_ORDER),
                inode.nrpages() >> HPAGE_ORDER,
            );
            super::at_most("huge pages not in the map of object", id.0.get(), used, known)?;
            all.reserved += known - used;
        }
        Ok(())
    }

    /// File systems' counts are those of their objects.
    fn verify_supers(&self) -> Result<(), Violation> {
        balance("used blocks of file system", &|ledger| {
            self.each_in_super(&mut |sb, inode| ledger.put(sb, inode.alloced()));
            self.live_supers()
                .for_each(|id| ledger.take(u64::from(id.0.get()), self.sb(id).used_blocks()));
        })?;
        balance("objects of file system", &|ledger| {
            self.each_in_super(&mut |sb, _| ledger.put(sb, 1));
            self.live_supers()
                .for_each(|id| ledger.take(u64::from(id.0.get()), self.sb(id).inodes()));
        })?;
        balance("objects without a name of file system", &|ledger| {
            self.each_in_super(&mut |sb, inode| ledger.put(sb, u64::from(inode.i_nlink() == 0)));
            self.live_supers()
                .for_each(|id| ledger.take(u64::from(id.0.get()), self.sb(id).orphans()));
        })
    }

    fn each_in_super(&self, each: &mut dyn FnMut(u64, Inode<'_>)) {
        for inode in self.live_inodes().map(|id| self.inode(id)) {
            if inode.i_sb().is_some() {
                each(u64::from(number(inode.i_sb())), inode);
            }
        }
    }

    /// Puts into `ledger` the slots that objects mean.
    pub(super) fn post_values(&self, ledger: &mut Ledger) {
        for inode in self.live_inodes().map(|id| self.inode(id)) {
            let mut next = Some(0);
            while let Some(from) = next
                && let Some((index, entry)) = inode.i_pages().find(self, from, u64::MAX, Filter::Any)
            {
                if let Some(slot) = entry.as_value().and_then(SwapSlot::of_entry) {
                    ledger.put(slot.entry(), 1);
                }
                next = index.checked_add(1);
            }
        }
    }

    /// As many records as were met; promises are those of what has one.
    pub(super) fn verify_records(&self, spaces: &Spaces, objects: &Objects, others: Others) -> Result<(), Violation> {
        self.verify_caches()?;
        let live = |name| self.live_records_of(name);
        equal("records of address spaces", 0_u32, live("mm_struct"), spaces.mms)?;
        equal("records of VMAs", 0_u32, live("vm_area_struct"), spaces.vmas)?;
        equal("records of anon_vmas", 0_u32, live("anon_vma"), spaces.anon_vmas)?;
        equal("records of objects", 0_u32, live("inode"), objects.objects)?;
        equal("nodes of trees", 0_u32, live("radix_tree_node"), objects.nodes)?;
        let promised = spaces.charged + objects.charged;
        equal("promised pages", 0_u32, self.committed_as(), promised)?;
        if others == Others::None {
            equal("address spaces left", 0_u32, spaces.mms, 0_u64)?;
            equal("page tables left", 0_u32, spaces.tables, 0_u64)?;
            equal("userfaultfd contexts left", 0_u32, live("userfaultfd_ctx"), 0_u64)?;
            equal("userfaultfd waiters left", 0_u32, live("userfaultfd_wait"), 0_u64)?;
            equal(
                "promised huge pages",
                0_u32,
                self.hugetlb_counters().resv,
                objects.reserved,
            )?;
        }
        Ok(())
    }
}

fn violation(error: xarray::Violation) -> Violation {
    Violation {
        what: error.rule,
        at: u64::from(number(error.node)),
        found: error.offset.map_or(64, |offset| offset as u64),
        expected: 0,
    }
}
