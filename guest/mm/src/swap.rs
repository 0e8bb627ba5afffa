//! Swap: the slots of the swap area, who uses them, and the swap cache.
//!
//! Each slot has a byte in the slot map: how many page-table entries or objects mean it, and whether a frame with its content
//! is in the swap cache. A slot is free when the byte is 0. Slot 0 is the area's header and never used.
//!
//! The swap cache (an XArray by slot) holds the frame of a slot while it is written, and after it was read until its slot is given
//! up, so that a page stays reachable at every instant and is read once however many want it.
//!
//! Source: Linux, mm/swapfile.c, mm/swap_state.c, include/linux/swap.h. Rules F13, F16, F17, F19, F22, F28. Differs from Linux: one
//! area; slots are accounted exactly, not in batches per CPU; no read-ahead yet.

use crate::addr::{PAGE_SHIFT, Pfn};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, Stage, Vmstat};
use crate::sync::{Word, Word32};
use crate::xarray::{Entry, XArray};

/// Slots written by one request at most. Source: Linux `SWAP_CLUSTER_MAX`.
pub const CLUSTER_MAX: usize = 32;
/// Slots of an area at most: a table of 512 frames of 4,096 bytes each maps 8 GiB of swap.
pub const SLOTS_MAX: u32 = 1 << 21;

/// Bit of a slot's byte: the swap cache holds its content. Rule F16.
const SWAP_HAS_CACHE: u8 = 0x40;
/// Largest count in a slot's byte. Rule F16.
const SWAP_MAP_MAX: u8 = 0x3e;
/// A slot that must not be used: the header, or one whose write failed. Rules F16, F29.
const SWAP_MAP_BAD: u8 = 0x3f;
/// Mask of the count in a slot's byte.
const COUNT_MASK: u8 = 0x3f;

/// Number of a slot. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwapSlot(pub u32);

impl SwapSlot {
    /// As what a page cache or a page table keeps for the page.
    #[inline(always)]
    #[must_use]
    pub fn entry(self) -> u64 {
        u64::from(self.0)
    }

    /// From what [`SwapSlot::entry`] made.
    #[inline(always)]
    #[must_use]
    pub fn of_entry(entry: u64) -> Self {
        Self(entry as u32)
    }
}

/// The swap area.
#[derive(Debug)]
pub(crate) struct SwapArea {
    /// Slots, the header included; 0 without an area.
    max: Word32,
    /// Slots in use.
    inuse: Word32,
    /// Where the search for a free slot goes on.
    cluster_next: Word32,
    /// Frame with the numbers of the slot map's frames.
    map: Word32,
    cache_head: Word,
    cache_flags: Word,
}

impl SwapArea {
    pub(crate) const fn new() -> Self {
        Self {
            max: Word32::new(0),
            inuse: Word32::new(0),
            cluster_next: Word32::new(1),
            map: Word32::new(0),
            cache_head: Word::new(0),
            cache_flags: Word::new(0),
        }
    }

    fn cache(&self) -> XArray<'_> {
        XArray::new(&self.cache_head, &self.cache_flags)
    }
}

impl<P: Platform> Memory<P> {
    /// Starts swapping to an area of `slots` slots, the header's included.
    ///
    /// # Errors
    /// [`Error::Einval`] for fewer than 2 slots, [`Error::Efbig`] for more than [`SLOTS_MAX`], [`Error::Ebusy`] when there is an area
    /// already, [`Error::Enomem`] when the slot map finds no room. Rule F24.
    pub fn swapon(&self, slots: u32) -> Result<(), Error> {
        match slots {
            0..2 => return Err(Error::Einval),
            _ if slots > SLOTS_MAX => return Err(Error::Efbig),
            _ if self.swap.max.get() != 0 => return Err(Error::Ebusy),
            _ => {}
        }
        let root = self.alloc_zeroed_page().ok_or(Error::Enomem)?;
        for i in 0..slots.div_ceil(1 << PAGE_SHIFT) as usize {
            let Some(leaf) = self.alloc_zeroed_page() else {
                for word in &self.platform.frame(root)[..i] {
                    self.free_page(Pfn(word.get() as u32));
                }
                self.free_page(root);
                return Err(Error::Enomem);
            };
            self.platform.frame(root)[i].set(u64::from(leaf.0));
        }
        self.swap.map.set(root.0);
        self.swap.max.set(slots);
        self.swap_map_set(SwapSlot(0), SWAP_MAP_BAD);
        Ok(())
    }

    /// Slots that can be used, in pages: those of the area without its header.
    pub fn total_swap_pages(&self) -> u64 {
        u64::from(self.swap.max.get().saturating_sub(1))
    }

    /// Slots in use, in pages.
    pub fn swap_inuse_pages(&self) -> u64 {
        u64::from(self.swap.inuse.get())
    }

    /// Whether a slot is free.
    #[inline]
    pub(crate) fn swap_has_room(&self) -> bool {
        self.swap_inuse_pages() < self.total_swap_pages()
    }

    /// The word of the slot map with a slot's byte, and the byte's place in it.
    #[inline(always)]
    fn swap_map_word(&self, slot: SwapSlot) -> (&Word, u32) {
        let root = self.platform.frame(Pfn(self.swap.map.get()));
        let leaf = Pfn(root[(slot.0 >> PAGE_SHIFT) as usize & 511].get() as u32);
        (
            &self.platform.frame(leaf)[(slot.0 >> 3) as usize & 511],
            (slot.0 & 7) * 8,
        )
    }

    #[inline(always)]
    fn swap_map_get(&self, slot: SwapSlot) -> u8 {
        let (word, shift) = self.swap_map_word(slot);
        (word.get() >> shift) as u8
    }

    #[inline(always)]
    fn swap_map_set(&self, slot: SwapSlot, byte: u8) {
        let (word, shift) = self.swap_map_word(slot);
        word.set(word.get() & !(0xff << shift) | u64::from(byte) << shift);
    }

    /// How many page-table entries and objects mean a slot.
    #[inline]
    pub(crate) fn swap_count(&self, slot: SwapSlot) -> u8 {
        self.swap_map_get(slot) & COUNT_MASK
    }

    /// Takes a free slot for the swap cache: nobody else means it yet. Consecutive calls give consecutive slots while they are
    /// free, so that they can be written together. Rule F17.
    pub(crate) fn get_swap_page(&self) -> Option<SwapSlot> {
        let _guard = self.locks.swap.lock();
        if !self.swap_has_room() {
            return None;
        }
        let max = self.swap.max.get();
        let mut slot = self.swap.cluster_next.get();
        loop {
            if slot >= max {
                slot = 1;
            }
            let (word, shift) = self.swap_map_word(SwapSlot(slot));
            if (word.get() >> shift) as u8 == 0 {
                break;
            }
            slot += 1;
        }
        self.swap_map_set(SwapSlot(slot), SWAP_HAS_CACHE);
        self.swap.cluster_next.set(slot + 1);
        self.swap.inuse.add(1);
        Some(SwapSlot(slot))
    }

    /// One more page-table entry or object means the slot.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the count is at its largest.
    pub(crate) fn swap_duplicate(&self, slot: SwapSlot) -> Result<(), Error> {
        let _guard = self.locks.swap.lock();
        let byte = self.swap_map_get(slot);
        if byte & COUNT_MASK >= SWAP_MAP_MAX {
            return Err(Error::Enomem);
        }
        self.swap_map_set(slot, byte + 1);
        Ok(())
    }

    /// One page-table entry or object less means the slot. The last gives up its frame in the swap cache, too.
    pub(crate) fn swap_free(&self, slot: SwapSlot) {
        if self.swap_free_keeping_page(slot) == SWAP_HAS_CACHE {
            self.free_cached_slot(slot);
        }
    }

    /// As [`Memory::swap_free`], but a frame in the swap cache stays there. Returns the slot's byte.
    pub(crate) fn swap_free_keeping_page(&self, slot: SwapSlot) -> u8 {
        let _guard = self.locks.swap.lock();
        let byte = self.swap_map_get(slot).wrapping_sub(1);
        debug_assert!(byte & COUNT_MASK < SWAP_MAP_MAX, "slot {} freed too often", slot.0);
        self.swap_map_set(slot, byte);
        if byte == 0 {
            self.swap.inuse.sub(1);
        }
        byte
    }

    /// Drops the frame of a slot that only the swap cache means, unless somebody still uses the frame.
    fn free_cached_slot(&self, slot: SwapSlot) {
        if let Some(pfn) = self.lookup_swap_cache(slot) {
            let page = self.page(pfn);
            if page.refcount.get() == 1 {
                self.delete_from_swap_cache(pfn);
                self.put_page(pfn);
            }
        }
    }

    /// The frame that holds a slot's content, without a reference.
    #[inline]
    pub(crate) fn lookup_swap_cache(&self, slot: SwapSlot) -> Option<Pfn> {
        self.swap.cache().load(self, u64::from(slot.0)).as_page()
    }

    /// Lets the swap cache hold a frame for a slot whose `SWAP_HAS_CACHE` bit the caller has set. Takes a reference.
    ///
    /// # Errors
    /// [`Error::Enomem`] when no node can be had; the bit is still the caller's.
    pub(crate) fn add_to_swap_cache(&self, pfn: Pfn, slot: SwapSlot) -> Result<(), Error> {
        let _guard = self.locks.swap.lock();
        self.swap.cache().store(self, u64::from(slot.0), Entry::page(pfn))?;
        let page = self.page(pfn);
        page.private.set(slot.entry());
        page.set_flags(flag::SWAPCACHE | flag::SWAPBACKED);
        page.refcount.add(1);
        self.count(Vmstat::NrSwapCached);
        Ok(())
    }

    /// Takes a frame out of the swap cache; the slot becomes free if nobody else means it. The cache's reference becomes the
    /// caller's.
    pub(crate) fn delete_from_swap_cache(&self, pfn: Pfn) {
        let _guard = self.locks.swap.lock();
        let page = self.page(pfn);
        let slot = SwapSlot::of_entry(page.private.get());
        self.swap.cache().erase(self, u64::from(slot.0));
        page.clear_flags(flag::SWAPCACHE);
        page.private.set(0);
        self.uncount(Vmstat::NrSwapCached);
        self.put_slot_cache(slot);
    }

    /// Clears the cache bit of a slot that the swap cache does not hold (any more).
    pub(crate) fn put_slot_cache(&self, slot: SwapSlot) {
        let byte = self.swap_map_get(slot) & !SWAP_HAS_CACHE;
        self.swap_map_set(slot, byte);
        if byte == 0 {
            self.swap.inuse.sub(1);
        }
    }

    /// Never uses a slot again: a write to it failed. Rule F29.
    pub(crate) fn retire_slot(&self, slot: SwapSlot) {
        let _guard = self.locks.swap.lock();
        self.swap_map_set(slot, SWAP_MAP_BAD);
    }

    /// The frame with a slot's content, with a reference for the caller: from the swap cache, or read into it. The second
    /// value says whether it had to be read. Rule F19.
    ///
    /// # Errors
    /// [`Error::Enomem`] without a frame, [`Error::Eio`] when the disk fails.
    pub(crate) fn swapin(&self, slot: SwapSlot) -> Result<(Pfn, bool), Error> {
        if let Some(pfn) = self.lookup_swap_cache(slot) {
            self.get_page(pfn);
            return Ok((pfn, false));
        }
        let pfn = self.alloc_page().ok_or(Error::Enomem)?;
        self.platform.stage(Stage::AllocPages, u64::from(pfn.0));
        let byte = self.swap_map_get(slot);
        self.swap_map_set(slot, byte | SWAP_HAS_CACHE);
        if let Err(error) = self.add_to_swap_cache(pfn, slot) {
            self.put_slot_cache(slot);
            self.free_page(pfn);
            return Err(error);
        }
        self.platform.stage(Stage::SwapIoStart, u64::from(slot.0));
        let read = self.platform.swap_read(slot.0, pfn);
        self.platform.stage(Stage::SwapIoEnd, u64::from(slot.0));
        if read.is_err() {
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
            self.put_page(pfn);
            return Err(Error::Eio);
        }
        self.count(Vmstat::Pswpin);
        self.page(pfn).set_flags(flag::UPTODATE);
        self.lru_add(pfn);
        Ok((pfn, true))
    }
}

#[cfg(any(test, feature = "testing"))]
impl<P: Platform> Memory<P> {
    /// Panics unless the slot map, the swap cache and the counters agree. For tests; takes as long as the area is large.
    pub fn check_swap(&self) {
        let mut used = 0;
        for slot in (1..self.swap.max.get()).map(SwapSlot) {
            let byte = self.swap_map_get(slot);
            let cached = self.lookup_swap_cache(slot);
            if byte != SWAP_MAP_BAD {
                used += u32::from(byte != 0);
                assert_eq!(
                    byte & SWAP_HAS_CACHE != 0,
                    cached.is_some(),
                    "slot {}: byte {byte:#x}",
                    slot.0
                );
            }
            if let Some(pfn) = cached {
                let page = self.page(pfn);
                assert!(
                    page.has(flag::SWAPCACHE),
                    "frame {} does not know that it is in the swap cache",
                    pfn.0
                );
                assert_eq!(page.private.get(), slot.entry(), "frame {} names another slot", pfn.0);
            }
        }
        assert_eq!(self.swap.inuse.get(), used, "slots in use");
    }
}
