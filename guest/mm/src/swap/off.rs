//! `swapoff`: everything comes back, or the area stays as it is.
//!
//! What names slots is found from two lists: objects that ever had a page in swap, and all address spaces. While pages come back no slot
//! is given out, so one pass over both brings everything back; then the swap cache lets go of what it still holds.
//!
//! Source: Linux, mm/swapfile.c (`try_to_unuse`, `unuse_mm`), mm/shmem.c (`shmem_unuse`). Rules F24, F26, F27. Differs from Linux: it is
//! refused at once when what is only in swap does not fit into free memory, instead of killing the caller half-way; an area with a page
//! that cannot be read stays.

use super::{SWAP_HAS_CACHE, SwapSlot};
use crate::addr::VirtAddr;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::Event;
use crate::platform::{Platform, PteFormat};
use crate::record::Field;
use crate::shmem::{InodeId, inode_flag};
use crate::sync::Word;
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::vmas;
use crate::xarray::Filter;
use crate::zone::Watermark;

impl<P: Platform> Memory<P> {
    /// Stops swapping.
    ///
    /// # Errors
    /// [`Error::Einval`] without an area, [`Error::Enomem`] when what is in it does not fit into memory, [`Error::Eio`] when a page cannot be
    /// read. Then the area is in use as before, and nothing is lost.
    pub fn swapoff(&self) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        if self.swap.max.get() == 0 {
            return Err(Error::Einval);
        }
        let room = self.nr_free_pages().saturating_sub(self.zone.watermark(Watermark::Low));
        if self.pages_only_in_swap() > room {
            return Err(Error::Enomem);
        }
        let usable = self.swap.usable.get();
        self.swap.usable.set(0);
        if let Err(error) = self.try_to_unuse() {
            self.swap.usable.set(usable);
            return Err(error);
        }
        debug_assert_eq!(self.swap.inuse.get(), 0, "a slot is used by nobody that is known");
        self.free_swap_table();
        self.swap.max.set(0);
        self.swap.bad.set(0);
        self.swap.cluster_next.set(1);
        Ok(())
    }

    /// Slots whose content has to be read.
    fn pages_only_in_swap(&self) -> u64 {
        let bytes = (1..self.swap.max.get()).map(|slot| self.slot_entry(SwapSlot(slot)).byte());
        bytes
            .filter(|byte| byte & SWAP_HAS_CACHE == 0 && byte & super::COUNT_MASK != 0)
            .count() as u64
    }

    fn try_to_unuse(&self) -> Result<(), Error> {
        let mut next = Option::<InodeId>::from_word(self.swap.inodes.get());
        while let Some(id) = next {
            self.shmem_unuse(id)?;
            next = self.inode(id).swap_next();
        }
        let mut next = Option::<MmId>::from_word(self.swap.mms.get());
        while let Some(id) = next {
            self.unuse_mm(id)?;
            next = self.mm(id).mm_next();
        }
        for slot in (1..self.swap.max.get()).map(SwapSlot) {
            if let Some(pfn) = self.lookup_swap_cache(slot)
                && self.swap_count(slot) == 0
            {
                self.page(pfn).step(Event::Dirty);
                self.delete_from_swap_cache(pfn);
                self.put_page(pfn);
            }
        }
        Ok(())
    }

    /// Brings an object's pages back.
    fn shmem_unuse(&self, id: InodeId) -> Result<(), Error> {
        let inode = self.inode(id);
        let mut at = 0;
        while inode.swapped() != 0 {
            let Some((index, entry)) = inode.i_pages().find(self, at, u64::MAX, Filter::Any) else {
                break;
            };
            let Some(value) = entry.as_value() else {
                at = index + 1;
                continue;
            };
            // If it changed meanwhile, it is looked at again.
            match self.shmem_swapin_page(id, index, SwapSlot::of_entry(value)) {
                Ok(got) => self.put_page(got.pfn),
                Err(Error::Eexist) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Brings the private pages of an address space back.
    fn unuse_mm(&self, mm_id: MmId) -> Result<(), Error> {
        let mm = self.mm(mm_id);
        let mut result = Ok(());
        for (vma_id, vma) in vmas(self, mm) {
            if mm.swapents() == 0 {
                break;
            }
            self.for_each_pte(mm.pgd(), vma.vm_start()..vma.vm_end(), |addr, pte| {
                if !P::Pte::is_present(pte.get()) {
                    result = self.unuse_pte(mm, vma_id, addr, pte);
                }
                result.is_ok()
            });
            result?;
        }
        Ok(())
    }

    /// Maps the page of an entry that names a slot, as a read would: a store comes back later.
    fn unuse_pte(&self, mm: MmStruct<'_>, vma_id: VmaId, addr: VirtAddr, pte: &Word) -> Result<(), Error> {
        let vma = self.vma(vma_id);
        let slot = SwapSlot::of_entry(P::Pte::swap_entry(pte.get()));
        let anon = self.anon_vma_prepare(vma_id).ok_or(Error::Enomem)?;
        let (pfn, _) = self.swapin(slot)?;
        self.page_add_anon_rmap(pfn, anon, vma.linear_page_index(addr));
        mm.set_rss_anon(mm.rss_anon() + 1);
        mm.set_swapents(mm.swapents() - 1);
        // Any right makes an x86-64 page readable. Rule B26.
        let readable = vma.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        let entry = P::Pte::page(pfn, false, vma.has(vm::EXEC), false);
        pte.set(P::Pte::modify(entry, readable, false, vma.has(vm::EXEC)));
        self.swap_free_keeping_page(slot);
        Ok(())
    }

    /// An object gets its first page in swap.
    #[cold]
    pub(crate) fn swaplist_add(&self, id: InodeId) {
        let inode = self.inode(id);
        let head = Option::<InodeId>::from_word(self.swap.inodes.get());
        inode.set_i_flags(inode.i_flags() | inode_flag::SWAPLIST);
        inode.set_swap_prev(None);
        inode.set_swap_next(head);
        if let Some(next) = head {
            self.inode(next).set_swap_prev(Some(id));
        }
        self.swap.inodes.set(Some(id).to_word());
    }

    /// An object that is on the swap list ends.
    pub(crate) fn swaplist_del(&self, id: InodeId) {
        let inode = self.inode(id);
        match inode.swap_prev() {
            Some(prev) => self.inode(prev).set_swap_next(inode.swap_next()),
            None => self.swap.inodes.set(inode.swap_next().to_word()),
        }
        if let Some(next) = inode.swap_next() {
            self.inode(next).set_swap_prev(inode.swap_prev());
        }
    }

    /// An address space begins.
    pub(crate) fn mmlist_add(&self, id: MmId) {
        let mm = self.mm(id);
        let head = Option::<MmId>::from_word(self.swap.mms.get());
        mm.set_mm_prev(None);
        mm.set_mm_next(head);
        if let Some(next) = head {
            self.mm(next).set_mm_prev(Some(id));
        }
        self.swap.mms.set(Some(id).to_word());
    }

    /// An address space ends.
    pub(crate) fn mmlist_del(&self, id: MmId) {
        let mm = self.mm(id);
        match mm.mm_prev() {
            Some(prev) => self.mm(prev).set_mm_next(mm.mm_next()),
            None => self.swap.mms.set(mm.mm_next().to_word()),
        }
        if let Some(next) = mm.mm_next() {
            self.mm(next).set_mm_prev(mm.mm_prev());
        }
    }
}
