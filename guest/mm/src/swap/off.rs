//! `swapoff`: everything comes back, or the area stays as it is.
//!
//! What names slots is found from two lists: objects that ever had a page in swap, and all address spaces. While pages come back no slot
//! of the area is given out, so a pass over both brings everything back, unless memory runs short meanwhile; then the swap cache lets go of
//! what it still holds. A page that cannot be read is lost; who touches it is told.
//!
//! Source: Linux, mm/swapfile.c (`try_to_unuse`, `unuse_mm`), mm/shmem.c (`shmem_unuse`). Rules F24, F26, F27, F28. Differs from Linux: it
//! is refused at once when what is only in swap does not fit into free memory and other areas, instead of killing the caller half-way.

use super::SwapSlot;
use super::slot::SlotEntry;
use crate::addr::VirtAddr;
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::record::Field;
use crate::shmem::{InodeId, Sgp, inode_flag};
use crate::sync::Word;
use crate::vma::{MmId, MmStruct, VmaId, vm};
use crate::vma_tree::vmas;
use crate::xarray::Filter;
use crate::zone::Watermark;

/// Passes over all pages before memory is found too small: while some come back, others that share a slot with those may have to go again.
const PASSES_MAX: u32 = 16;

impl<P: Platform> Memory<P> {
    /// Stops swapping to area `area`.
    ///
    /// # Errors
    /// [`Error::Einval`] without such an area, [`Error::Enomem`] when what is in it does not fit into memory, or what was promised does not without
    /// it. Then the area is in use as before, and nothing is lost.
    pub fn swapoff(&self, area: usize) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let info = self.swap.areas.get(area).filter(|info| info.max.get() != 0);
        let info = info.ok_or(Error::Einval)?;
        // As if all that the area has room for were to be promised, while the area still counts. Rule B20.
        let promised = u64::from(info.pages.get());
        self.vm_enough_memory(promised)?;
        self.vm_unacct_memory(promised);
        self.disable_swap_info(area);
        self.swap_drain();
        let low = self.zone.watermark(Watermark::Low);
        let room = self.nr_free_pages().saturating_sub(low) + self.nr_swap_pages();
        let fits = self.pages_only_in_swap(area) <= room;
        let unused = if fits {
            self.try_to_unuse(area)
        } else {
            Err(Error::Enomem)
        };
        if let Err(error) = unused {
            self.enable_swap_info(area);
            return Err(error);
        }
        debug_assert_eq!(info.inuse.get(), 0, "a slot is used by nobody that is known");
        self.free_swap_table(area);
        self.forget_area(area);
        Ok(())
    }

    /// The slots of an area, without the header.
    fn slots_of(&self, area: usize) -> impl Iterator<Item = SwapSlot> {
        (1..self.swap.areas[area].max.get()).map(move |offset| SwapSlot::new(area, offset))
    }

    /// Slots whose content has to be read.
    fn pages_only_in_swap(&self, area: usize) -> u64 {
        let entries = self.slots_of(area).map(|slot| self.slot_entry(slot));
        entries.filter(|entry: &SlotEntry| entry.only_on_disk()).count() as u64
    }

    fn try_to_unuse(&self, area: usize) -> Result<(), Error> {
        for _ in 0..PASSES_MAX {
            self.unuse_all(area)?;
            if self.swap.areas[area].inuse.get() == 0 {
                return Ok(());
            }
        }
        Err(Error::Enomem)
    }

    /// One pass over all that may name a slot.
    fn unuse_all(&self, area: usize) -> Result<(), Error> {
        let mut next = Option::<InodeId>::from_word(self.swap.inodes.get());
        while let Some(id) = next {
            self.shmem_unuse(id, area)?;
            next = self.inode(id).swap_next();
        }
        let mut next = Option::<MmId>::from_word(self.swap.mms.get());
        while let Some(id) = next {
            self.unuse_mm(id, area)?;
            next = self.mm(id).mm_next();
        }
        // Memory may have been wanted meanwhile: of pages that had a slot here already and differed from it, some are on their way there.
        self.swap_drain();
        for slot in self.slots_of(area) {
            if let Some(pfn) = self.lookup_swap_cache(slot) {
                self.try_to_free_swap(pfn);
            }
        }
        Ok(())
    }

    /// Brings an object's pages back.
    fn shmem_unuse(&self, id: InodeId, area: usize) -> Result<(), Error> {
        let inode = self.inode(id);
        let mut at = 0;
        while inode.swapped() != 0 {
            let Some((index, entry)) = inode.i_pages().find(self, at, u64::MAX, Filter::Any) else {
                break;
            };
            let slot = entry.as_value().and_then(SwapSlot::of_entry);
            let Some(slot) = slot.filter(|slot| slot.area() == area) else {
                at = index + 1;
                continue;
            };
            // If it changed meanwhile, it is looked at again; and if it cannot be read, the object knows that it is lost.
            match self.shmem_swapin_page(id, index, slot, Sgp::Cache) {
                Ok(got) => self.put_page(got.pfn),
                Err(Error::Eexist | Error::Eio) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Brings the private pages of an address space back.
    fn unuse_mm(&self, mm_id: MmId, area: usize) -> Result<(), Error> {
        let mm = self.mm(mm_id);
        let mut result = Ok(());
        for (vma_id, vma) in vmas(self, mm) {
            if mm.swapents() == 0 {
                break;
            }
            self.for_each_pte(mm.pgd(), vma.vm_start()..vma.vm_end(), |addr, pte| {
                if !P::Pte::is_present(pte.get())
                    && let Some(slot) = SwapSlot::of_entry(P::Pte::swap_entry(pte.get()))
                    && slot.area() == area
                {
                    result = self.unuse_pte(mm, vma_id, addr, (pte, slot));
                }
                result.is_ok()
            });
            result?;
        }
        Ok(())
    }

    /// Maps the page of an entry that names a slot, as a read would: a store comes back later.
    fn unuse_pte(
        &self,
        mm: MmStruct<'_>,
        vma_id: VmaId,
        addr: VirtAddr,
        (pte, slot): (&Word, SwapSlot),
    ) -> Result<(), Error> {
        let vma = self.vma(vma_id);
        let anon = self.anon_vma_prepare(vma_id).ok_or(Error::Enomem)?;
        let read = self.swapin(slot, Sgp::Cache);
        if read == Err(Error::Eio) {
            mm.set_swapents(mm.swapents() - 1);
            pte.set(P::Pte::swap(SwapSlot::POISON.entry()));
            self.swap_free(slot);
            return Ok(());
        }
        let (pfn, _) = read?;
        self.page_add_anon_rmap(pfn, anon, vma.linear_page_index(addr));
        mm.set_rss_anon(mm.rss_anon() + 1);
        mm.set_swapents(mm.swapents() - 1);
        // Any right makes an x86-64 page readable. Rule B26.
        let readable = vma.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        let entry = P::Pte::page(pfn, false, vma.has(vm::EXEC), false);
        pte.set(P::Pte::modify(entry, readable, false, vma.has(vm::EXEC)));
        self.swap_free_keeping_page(slot);
        // With its slot, reclaim could move it out again.
        self.try_to_free_swap(pfn);
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

    /// The first of all address spaces.
    pub(crate) fn first_space(&self) -> Option<MmId> {
        Field::from_word(self.swap.mms.get())
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
