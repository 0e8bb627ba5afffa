//! Huge pages of objects. Source: Linux, mm/shmem.c (`shmem_alloc_and_add_folio`, `shmem_unused_huge_shrink`, `shmem_get_partial_folio`).
//! Rules C4, C5, G2 to G5.

use super::{GotPage, Inode, InodeId, MAX_INDEX, Sgp, inode_flag};
use crate::addr::{Pfn, pages_for};
use crate::error::Error;
use crate::huge::{HPAGE_ORDER, HPAGE_PAGES};
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage};
use crate::shmem::space::SuperId;
use crate::vma::vm;
use crate::xarray::{Entry, Filter};

/// Pages of a huge page.
const PAGES: u64 = HPAGE_PAGES as u64;

impl<P: Platform> Memory<P> {
    /// The huge page that covers an index of an object, if one does.
    pub(crate) fn huge_cached_at(&self, id: InodeId, index: u64) -> Option<Pfn> {
        let entry = self.inode(id).i_pages().load(self, index);
        entry.as_page().filter(|&pfn| self.page(pfn).has(flag::HEAD))
    }

    /// The entry of the frame that a huge page's stands for at `index`. Rule G3.
    #[cold]
    #[inline(never)]
    pub(crate) fn subpage_entry(&self, entry: Entry, index: u64) -> Entry {
        match entry.as_page() {
            Some(head) if self.page(head).has(flag::HEAD) => {
                self.make_tails(head);
                Entry::page(head.offset((index - self.page(head).index.get()) as u32))
            }
            _ => entry,
        }
    }

    /// As [`Memory::shmem_getpage`], for an object that may have huge pages: of one, the frame at `index`. `vm_flags` are those of the mapping
    /// that it is for, 0 for none.
    pub(crate) fn shmem_getpage_huge(
        &self,
        id: InodeId,
        index: u64,
        sgp: Sgp,
        vm_flags: u64,
    ) -> Result<GotPage, Error> {
        let entry = self.inode(id).i_pages().load(self, index);
        self.shmem_getpage_huge_from(entry, id, index, sgp, vm_flags)
    }

    /// [`Memory::shmem_getpage_huge`], which found `entry` at the index.
    pub(crate) fn shmem_getpage_huge_from(
        &self,
        entry: Entry,
        id: InodeId,
        index: u64,
        sgp: Sgp,
        vm_flags: u64,
    ) -> Result<GotPage, Error> {
        let inode = self.inode(id);
        if sgp <= Sgp::Cache && index >= pages_for(inode.i_size()) {
            return Err(if index > MAX_INDEX { Error::Efbig } else { Error::Einval });
        }
        if inode.i_flags() & inode_flag::HUGETLB != 0 {
            return self.hugetlb_getpage(id, index);
        }
        self.platform.stage(Stage::FilemapGetEntry, index);
        let wanted = entry.is_null() && sgp != Sgp::Falloc && self.shmem_wants_huge(inode, index, vm_flags);
        let made = wanted
            && self
                .shmem_alloc_huge(id, index, sgp, vm_flags & vm::HUGEPAGE != 0)
                .is_ok();
        let entry = if made || entry.as_page().is_some() {
            self.filemap_get_entry(inode, index)
        } else {
            entry
        };
        self.shmem_getpage_slow(id, index, sgp, entry)
    }

    /// Fills the hole around `index` with a huge page of zeroes, which is the object's alone when this returns.
    ///
    /// # Errors
    /// [`Error::Eexist`] when something is there, [`Error::Enospc`], [`Error::Enomem`]: a small page may be had all the same. Rule C5.
    pub(crate) fn shmem_alloc_huge(&self, id: InodeId, index: u64, _: Sgp, advised: bool) -> Result<Pfn, Error> {
        let (first, last) = (index & !(PAGES - 1), index | (PAGES - 1));
        let inode = self.inode(id);
        if last > MAX_INDEX {
            return Err(Error::Efbig);
        }
        if inode.i_pages().find(self, first, last, Filter::Any).is_some() {
            return Err(Error::Eexist);
        }
        self.charge_blocks(inode, PAGES)?;
        let entered = self.shmem_acct_blocks(id, PAGES).and_then(|()| {
            self.add_huge_to_page_cache(id, first, advised)
                .inspect_err(|_| self.shmem_unacct_blocks(id, PAGES))
        });
        if entered.is_err() {
            self.uncharge_blocks(inode, PAGES);
        }
        self.count_file_huge(entered.is_ok());
        let head = entered?;
        inode.set_alloced(inode.alloced() + PAGES);
        if last >= pages_for(inode.i_size()) {
            self.shrinklist_add(id);
        }
        Ok(head)
    }

    fn add_huge_to_page_cache(&self, id: InodeId, first: u64, advised: bool) -> Result<Pfn, Error> {
        let head = self.alloc_huge(advised).ok_or(Error::Enomem)?;
        self.platform.stage(Stage::AllocPages, u64::from(head.0));
        self.note_huge(id);
        let inode = self.inode(id);
        {
            let _guard = self.locks.i_pages.lock();
            if let Err(error) = inode.i_pages().store_order(self, first, HPAGE_ORDER, Entry::page(head)) {
                self.free_huge(head);
                return Err(error);
            }
        }
        let page = self.page(head);
        page.begin(
            [Event::Lock, Event::Uptodate, Event::Dirty, Event::Unlock],
            flag::SWAPBACKED | flag::HEAD,
        );
        page.mapping.set(id.0.get());
        page.index.set(first);
        self.count_cached(inode, PAGES);
        self.lru_add(head);
        self.platform.stage(Stage::AddToPageCache, first);
        Ok(head)
    }

    /// From now on an object may have huge pages: calls and faults look for them.
    pub(crate) fn note_huge(&self, id: InodeId) {
        let inode = self.inode(id);
        if inode.i_flags() & inode_flag::HUGE != 0 {
            return;
        }
        inode.set_i_flags(inode.i_flags() | inode_flag::HUGE);
        for vma_id in self.i_mmap(id).overlapping(0..=u64::MAX) {
            let vma = self.vma(vma_id);
            vma.set_vm_flags(vma.vm_flags() | vm::HUGE_OBJECT);
        }
    }

    /// Lets no huge page of an object reach across the ends of `first..=last`, which is to become a hole; nothing maps the range. Where one
    /// cannot be split, its part of the range is zeroed and left out of the range that is returned. Rule G4.
    pub(crate) fn split_for_hole(&self, id: InodeId, first: u64, last: u64) -> (u64, u64) {
        let (mut first, mut last) = (first, last);
        if !first.is_multiple_of(PAGES)
            && let Some(head) = self.huge_cached_at(id, first)
            && !self.split_huge_page(head, 0)
        {
            let end = (first | (PAGES - 1)).min(last);
            self.zero_frames(head, first, end);
            first = end + 1;
        }
        if first <= last
            && !(last + 1).is_multiple_of(PAGES)
            && let Some(head) = self.huge_cached_at(id, last)
            && !self.split_huge_page(head, 0)
        {
            let start = (last & !(PAGES - 1)).max(first);
            self.zero_frames(head, start, last);
            last = start.wrapping_sub(1);
        }
        (first, last)
    }

    fn zero_frames(&self, head: Pfn, first: u64, last: u64) {
        let base = self.page(head).index.get();
        for index in first..=last {
            self.platform.clear_page(head.offset((index - base) as u32));
        }
    }

    /// An object has a huge page that reaches behind its end: room for others of its file system.
    fn shrinklist_add(&self, id: InodeId) {
        let inode = self.inode(id);
        let Some(sb) = inode.i_sb().map(|sb| self.sb(sb)) else {
            return;
        };
        if inode.i_flags() & inode_flag::SHRINKLIST == 0 {
            inode.set_i_flags(inode.i_flags() | inode_flag::SHRINKLIST);
            inode.set_shrink_next(sb.shrinklist());
            sb.set_shrinklist(Some(id));
        }
    }

    /// An object that has to do with huge pages goes.
    #[cold]
    #[inline(never)]
    pub(super) fn evict_huge(&self, id: InodeId) {
        if self.is_hugetlb(id) {
            return self.hugetlb_evict_inode(id);
        }
        self.shrinklist_del(id);
    }

    /// An object goes.
    fn shrinklist_del(&self, id: InodeId) {
        let inode = self.inode(id);
        let Some(sb) = inode.i_sb().map(|sb| self.sb(sb)) else {
            return;
        };
        inode.set_i_flags(inode.i_flags() & !inode_flag::SHRINKLIST);
        if sb.shrinklist() == Some(id) {
            return sb.set_shrinklist(inode.shrink_next());
        }
        let mut at = sb.shrinklist();
        while let Some(before) = at.map(|id| self.inode(id)) {
            at = before.shrink_next();
            if at == Some(id) {
                return before.set_shrink_next(inode.shrink_next());
            }
        }
    }

    /// Splits the huge page at the end of an object, which frees what lies behind. Whether that gave any block back. Rule G5.
    #[cold]
    #[inline(never)]
    pub(super) fn shmem_unused_huge_shrink(&self, sb: SuperId) -> bool {
        let used = self.sb(sb).used_blocks();
        while let Some(id) = self.sb(sb).shrinklist() {
            self.shrinklist_del(id);
            let end = pages_for(self.inode(id).i_size());
            let reaching = (!end.is_multiple_of(PAGES))
                .then(|| self.huge_cached_at(id, end))
                .flatten();
            if let Some(head) = reaching
                && !self.split_huge_page(head, 0)
            {
                // Later, perhaps.
                self.shrinklist_add(id);
                return self.sb(sb).used_blocks() < used;
            }
            if self.sb(sb).used_blocks() < used {
                return true;
            }
        }
        false
    }

    /// Counts pages that an object has in its cache.
    pub(crate) fn count_cached(&self, inode: Inode<'_>, pages: u64) {
        use crate::platform::Vmstat;
        inode.set_nrpages(inode.nrpages().wrapping_add(pages));
        self.platform.count(Vmstat::NrFilePages, pages);
        self.platform.count(Vmstat::NrShmem, pages);
    }

    /// What a huge page of the cache knew about its owner is no longer so.
    #[cold]
    #[inline(never)]
    pub(crate) fn huge_page_leaves_cache(&self, inode: Inode<'_>, head: Pfn) {
        self.forget_owner(head);
        self.count_cached(inode, PAGES.wrapping_neg());
    }
}
