//! An object's pages on their way to swap and back. Source: Linux, mm/shmem.c (`shmem_swapin_folio`, `shmem_writepage`).

use super::{GotPage, InodeId, Sgp, inode_flag};
use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::Platform;
use crate::swap::{SWAP_MAP_SHMEM, SwapSlot};
use crate::xarray::Entry;

impl<P: Platform> Memory<P> {
    /// Brings a page back from swap. Rule F19.
    ///
    /// # Errors
    /// [`Error::Eexist`] when it is not there any more, [`Error::Enomem`], [`Error::Eio`] when it cannot be read: then it is lost;
    /// [`Error::Eagain`] for [`Sgp::Fault`].
    pub(crate) fn shmem_swapin_page(
        &self,
        id: InodeId,
        index: u64,
        slot: SwapSlot,
        sgp: Sgp,
    ) -> Result<GotPage, Error> {
        let read = self.swapin(slot, sgp);
        if read == Err(Error::Eio) {
            return self.shmem_set_swapin_error(id, index, slot);
        }
        let (pfn, major) = read?;
        if self.page(pfn).has(flag::WRITEBACK)
            && let Err(error) = self.wait_on_swap_page(pfn, sgp)
        {
            self.put_page(pfn);
            return Err(error);
        }
        // Reading may have reclaimed, and waiting may have let others in: is the slot still what the object means?
        if !self.shmem_replace(id, index, Entry::value(slot.entry()), Entry::page(pfn)) {
            self.put_page(pfn);
            return Err(Error::Eexist);
        }
        self.shmem_page_is_back(id, index, pfn);
        Ok(GotPage { pfn, major })
    }

    /// The page cannot be read back: from now on the object says so, without asking the disk, until there is a hole. Source: Linux
    /// `shmem_set_folio_swapin_error`. Rule F28.
    #[cold]
    #[inline(never)]
    fn shmem_set_swapin_error(&self, id: InodeId, index: u64, slot: SwapSlot) -> Result<GotPage, Error> {
        let lost = Entry::value(SwapSlot::POISON.entry());
        if !self.shmem_replace(id, index, Entry::value(slot.entry()), lost) {
            return Err(Error::Eexist);
        }
        let inode = self.inode(id);
        inode.set_swapped(inode.swapped() - 1);
        inode.set_alloced(inode.alloced() - 1);
        self.shmem_unacct_blocks(id, 1);
        self.uncharge_blocks(inode, 1);
        self.swap_free(slot);
        Err(Error::Eio)
    }

    /// Replaces what is at `index`, if it is `old`.
    #[inline]
    fn shmem_replace(&self, id: InodeId, index: u64, old: Entry, new: Entry) -> bool {
        let _guard = self.locks.i_pages.lock();
        // Replacing an entry needs no node, so it cannot fail.
        self.inode(id).i_pages().cmpxchg(self, index, old, new) == Ok(old)
    }

    /// A page of the object is in another frame from now on. The page's state and references are the caller's affair.
    pub(crate) fn shmem_page_moves(&self, id: InodeId, from: Pfn, to: Pfn) {
        let index = self.page(from).index.get();
        let replaced = self.shmem_replace(id, index, Entry::page(from), Entry::page(to));
        assert!(replaced, "frame {} is not where it says in its object", from.0);
    }

    /// A page that has just replaced its slot's number belongs to the object and no longer to the swap cache; the slot is free.
    fn shmem_page_is_back(&self, id: InodeId, index: u64, pfn: Pfn) {
        // The reference of the swap cache becomes that of the page cache.
        self.leave_swap_cache(pfn, SWAP_MAP_SHMEM);
        self.page(pfn).refcount.sub(1);
        self.page(pfn).step(Event::Dirty);
        self.page_enters_cache(id, index, pfn);
        let inode = self.inode(id);
        inode.set_swapped(inode.swapped() - 1);
    }

    /// Moves an unmapped, locked page from its object to the swap cache, ready to be written to the slot that is returned. The object names the
    /// slot from now on. `None` when the page must stay. Rules F12, F13.
    pub(crate) fn shmem_writepage(&self, pfn: Pfn) -> Option<SwapSlot> {
        let id = self.inode_of(pfn)?;
        let inode = self.inode(id);
        if inode.i_flags() != inode_flag::SWAPLIST {
            if inode.i_flags() & inode_flag::STAYS != 0 {
                return None;
            }
            if inode.i_flags() & inode_flag::SWAPLIST == 0 {
                self.swaplist_add(id);
            }
        }
        let page = self.page(pfn);
        if !page.has(flag::UPTODATE) && self.falloc_keeps(id, page.index.get()) {
            return None;
        }
        let slot = self.add_to_swap(pfn, SWAP_MAP_SHMEM)?;
        self.fill_locked(pfn);
        let replaced = self.shmem_replace(
            id,
            self.page(pfn).index.get(),
            Entry::page(pfn),
            Entry::value(slot.entry()),
        );
        debug_assert!(replaced, "frame {} is not where it says in its object", pfn.0);
        self.page_leaves_cache(inode, pfn);
        inode.set_swapped(inode.swapped() + 1);
        self.page(pfn).refcount.sub(1);
        Some(slot)
    }

    /// Takes [`Memory::shmem_writepage`] back: the write failed. Rule F29.
    pub(crate) fn shmem_unwritepage(&self, id: InodeId, pfn: Pfn, slot: SwapSlot) {
        let index = self.page(pfn).index.get();
        let replaced = self.shmem_replace(id, index, Entry::value(slot.entry()), Entry::page(pfn));
        debug_assert!(replaced, "slot {} is not where its page says", slot.0);
        self.shmem_page_is_back(id, index, pfn);
    }
}
