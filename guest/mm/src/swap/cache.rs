//! The swap cache: which frame holds a slot's content.
//!
//! Source: Linux, mm/swap_state.c, mm/page_io.c. Rules F13, F19, F22.

use super::SwapSlot;
use super::slot::{RETIRED, SWAP_HAS_CACHE, SlotEntry};
use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage, Vmstat};
use crate::shmem::Sgp;

impl<P: Platform> Memory<P> {
    /// Takes a free slot, and lets the swap cache hold `pfn` for it, which takes a reference. `count` is who means it: 0 for nobody yet,
    /// or [`super::SWAP_MAP_SHMEM`]. Consecutive calls give consecutive slots while they are free, so that they can be written together.
    /// Rules F13, F17.
    pub(crate) fn add_to_swap(&self, pfn: Pfn, count: u8) -> Option<SwapSlot> {
        let _guard = self.locks.swap.lock();
        if !self.swap_has_room() {
            return None;
        }
        let slot = self.take_slot(SlotEntry(u32::from(count)).in_cache(pfn))?;
        self.page_enters_swap_cache(pfn, slot);
        Some(slot)
    }

    /// Lets the swap cache hold a frame for a slot, whose entry was `entry`. Takes a reference.
    #[inline]
    pub(super) fn enter_swap_cache(&self, pfn: Pfn, slot: SwapSlot, entry: SlotEntry) {
        self.slot_words(slot).set(entry.in_cache(pfn));
        self.page_enters_swap_cache(pfn, slot);
    }

    #[inline(always)]
    fn page_enters_swap_cache(&self, pfn: Pfn, slot: SwapSlot) {
        let page = self.page(pfn);
        page.private.set(slot.entry());
        page.set_flags(flag::SWAPCACHE | flag::SWAPBACKED);
        page.refcount.add(1);
        self.count(Vmstat::NrSwapCached);
    }

    /// Drops the frame of a slot that only the swap cache means, unless somebody still uses the frame.
    pub(super) fn free_cached_slot(&self, slot: SwapSlot) {
        if let Some(pfn) = self.lookup_swap_cache(slot)
            && self.page(pfn).refcount.get() == 1
        {
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
        }
    }

    /// The frame that holds a slot's content, without a reference.
    #[inline]
    pub(crate) fn lookup_swap_cache(&self, slot: SwapSlot) -> Option<Pfn> {
        self.slot_entry(slot).cached()
    }

    /// Takes a frame out of the swap cache; the slot becomes free if nobody else means it. The cache's reference becomes the
    /// caller's.
    #[inline]
    pub(crate) fn delete_from_swap_cache(&self, pfn: Pfn) {
        self.leave_swap_cache(pfn, 0);
    }

    /// As [`Memory::delete_from_swap_cache`]; `gone` is the count of those who meant the slot and go, too: all, or 0 for none.
    pub(crate) fn leave_swap_cache(&self, pfn: Pfn, gone: u8) {
        self.leave_swap_cache_behind(pfn, gone, 0);
    }

    /// As [`Memory::leave_swap_cache`]; if somebody still means the slot, it remembers `shadow`.
    #[inline(always)]
    fn leave_swap_cache_behind(&self, pfn: Pfn, gone: u8, shadow: u32) {
        let _guard = self.locks.swap.lock();
        let page = self.page(pfn);
        let slot = SwapSlot::of_page(page);
        let words = self.slot_words(slot);
        let old = words.get();
        let left = old.count() - gone;
        let entry = SlotEntry(old.0 & RETIRED | u32::from(left));
        words.set(if left != 0 { entry.with_shadow(shadow) } else { entry });
        page.clear_flags(flag::SWAPCACHE);
        page.private.set(0);
        self.uncount(Vmstat::NrSwapCached);
        if old.0 & (RETIRED | 0xff) == u32::from(SWAP_HAS_CACHE | gone) {
            self.slot_freed(slot, words);
        }
    }

    /// Frees an isolated page whose slot has its content. The slot remembers when. Source: Linux `__remove_mapping`.
    pub(crate) fn free_swap_cached(&self, pfn: Pfn) {
        let shadow = self.workingset_eviction(pfn);
        self.leave_swap_cache_behind(pfn, 0, shadow);
        self.put_page(pfn);
        self.put_page(pfn);
    }

    /// The swap cache holds a slot's content in another frame from now on. The page's state and references are the caller's affair.
    pub(crate) fn swap_cache_moves(&self, slot: SwapSlot, to: Pfn) {
        let _guard = self.locks.swap.lock();
        self.update_slot(slot, |entry| entry.in_cache(to));
    }

    /// Gives up the slot of a page that nobody else means: the page is in memory, and will need another one if it goes. `false` if somebody
    /// does, or if the disk still works on it. Source: Linux `folio_free_swap`. Rule F18.
    pub(crate) fn try_to_free_swap(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        if page.flags.get() & (flag::SWAPCACHE | flag::WRITEBACK) != flag::SWAPCACHE
            || self.swap_is_meant(SwapSlot::of_page(page))
        {
            return false;
        }
        page.step(Event::Dirty);
        self.delete_from_swap_cache(pfn);
        self.put_page(pfn);
        true
    }

    /// Never gives a slot in use out again: a write to it failed. Rule F29.
    pub(crate) fn retire_slot(&self, slot: SwapSlot) {
        let _guard = self.locks.swap.lock();
        let old = self.update_slot(slot, |entry| SlotEntry(entry.0 | RETIRED));
        debug_assert!(!old.is_retired(), "slot {} is retired already", slot.0);
        debug_assert!(old.byte() != 0, "slot {} is retired and free", slot.0);
        let area = self.swap.area_of(slot);
        area.inuse.sub(1);
        area.pages.sub(1);
        area.retired.add(1);
        if area.writeok.get() != 0 {
            self.swap.total.sub(1);
        }
    }

    /// The frame with a slot's content, with a reference for the caller: from the swap cache, or read into it. The second
    /// value says whether it had to be read. Rule F19.
    ///
    /// # Errors
    /// [`Error::Enomem`] without a frame, [`Error::Eio`] when the disk fails; [`Error::Eagain`] for [`Sgp::Fault`]: then the page is noted
    /// for [`Memory::take_page_wait`].
    pub(crate) fn swapin(&self, slot: SwapSlot, sgp: Sgp) -> Result<(Pfn, bool), Error> {
        if let Some(pfn) = self.lookup_swap_cache(slot) {
            self.get_page(pfn);
            if self.page(pfn).flags.get() & (flag::READAHEAD | flag::UPTODATE) != flag::UPTODATE {
                return self.swapin_begun(pfn, slot, sgp);
            }
            return Ok((pfn, false));
        }
        let window = self.swapin_nr_pages(slot);
        if window > 1 {
            return self.swapin_readahead(slot, window, sgp);
        }
        self.swapin_alone(slot, sgp)
    }

    /// [`Memory::swapin`] of a page that somebody began to read, ahead or for a fault, and to which the caller has a reference.
    #[cold]
    #[inline(never)]
    fn swapin_begun(&self, pfn: Pfn, slot: SwapSlot, sgp: Sgp) -> Result<(Pfn, bool), Error> {
        if let Err(error) = self.wait_on_swap_page(pfn, sgp) {
            self.put_page(pfn);
            return Err(error);
        }
        let page = self.page(pfn);
        if self.lookup_swap_cache(slot) != Some(pfn) {
            // It could not be read with others; who wants it reads it alone.
            self.put_page(pfn);
            return self.swapin_alone(slot, sgp);
        }
        if !page.has(flag::UPTODATE) {
            // It could not be read for the fault that is made again now, or for another's.
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
            self.put_page(pfn);
            return Err(Error::Eio);
        }
        if page.has(flag::READAHEAD) {
            self.readahead_hit(page);
        }
        Ok((pfn, false))
    }

    /// Reads one slot.
    #[inline]
    pub(super) fn swapin_alone(&self, slot: SwapSlot, sgp: Sgp) -> Result<(Pfn, bool), Error> {
        let pfn = self.alloc_page().ok_or(Error::Enomem)?;
        self.platform.stage(Stage::AllocPages, u64::from(pfn.0));
        // Locked until it is read, so that who finds it waits. Rule F22.
        self.page(pfn).step(Event::Lock);
        let entry = self.slot_entry(slot);
        self.workingset_refault(pfn, entry.shadow());
        self.enter_swap_cache(pfn, slot, entry);
        self.platform.stage(Stage::SwapReadStart, u64::from(slot.0));
        let read = self.finish_read(self.begin_read(slot, pfn, sgp));
        self.platform.stage(Stage::SwapReadEnd, u64::from(slot.0));
        let read = read?;
        if read.is_err() {
            self.page(pfn).step(Event::Unlock);
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
            self.put_page(pfn);
            return Err(Error::Eio);
        }
        self.count(Vmstat::Pswpin);
        self.page(pfn).steps([Event::Uptodate, Event::Unlock]);
        self.lru_add(pfn);
        Ok((pfn, true))
    }
}
