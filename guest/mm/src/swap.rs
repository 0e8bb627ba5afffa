//! Swap: the slots of the swap area, who uses them, and the swap cache.
//!
//! The swap table has a 32-bit entry for each slot: a byte that says how many page-table entries or objects mean it and whether
//! the swap cache holds its content, and above it the frame that does. A slot is free when its entry is 0. Slot 0 is the area's
//! header and never used.
//!
//! The swap cache holds the frame of a slot while it is written, and after it was read until its slot is given up, so that a page
//! stays reachable at every instant and is read once however many want it.
//!
//! Source: Linux, mm/swapfile.c, mm/swap_state.c, include/linux/swap.h. Rules F13, F16, F17, F19, F22, F28. Differs from Linux: one
//! area; slots are accounted exactly, not in batches per CPU. The swap cache is part of the table, as in Linux
//! since 6.18, not an XArray beside it.

mod off;
mod readahead;
mod shadow;

use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage, Vmstat};
use crate::sync::{Word, Word32};

/// Slots written by one request at most. Source: Linux `SWAP_CLUSTER_MAX`.
pub const CLUSTER_MAX: usize = 32;
/// Slots of an area at most: a table of 512 frames of 4,096 bytes each maps 8 GiB of swap.
pub const SLOTS_MAX: u32 = 1 << 21;

/// Bit of a slot's byte: the swap cache holds its content. Rule F16.
const SWAP_HAS_CACHE: u8 = 0x40;
/// Largest count in a slot's byte. Rule F16.
const SWAP_MAP_MAX: u8 = 0x3e;
/// Bit of a slot's byte: a write to it failed. It keeps its users and its page, but is not in use for the accounts, and never becomes
/// free. Differs from Linux, which keeps using such slots. Rule F29.
const SWAP_RETIRED: u8 = 0x80;
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

/// Slots that a frame of the swap table describes: a 32-bit entry each.
const SLOTS_PER_LEAF: u32 = 1024;
/// Slots that a root frame of the swap table reaches.
const SLOTS_PER_ROOT: u32 = SLOTS_PER_LEAF * 512;
/// Root frames of the swap table at most.
const ROOTS: usize = (SLOTS_MAX / SLOTS_PER_ROOT) as usize;

/// The swap area.
#[derive(Debug)]
pub(crate) struct SwapArea {
    /// Slots, the header included; 0 without an area.
    max: Word32,
    /// Slots in use.
    inuse: Word32,
    /// Slots whose write failed.
    bad: Word32,
    /// Slots that may be given out, in use or not: 0 while the area is being left.
    usable: Word32,
    /// Where the search for a free slot goes on.
    cluster_next: Word32,
    readahead: readahead::State,
    /// Frames with the numbers of the swap table's leaves.
    roots: [Word32; ROOTS],
    /// First of the objects that may have pages in swap.
    inodes: Word,
    /// First of all address spaces.
    mms: Word,
}

impl SwapArea {
    pub(crate) const fn new() -> Self {
        Self {
            max: Word32::new(0),
            inuse: Word32::new(0),
            bad: Word32::new(0),
            usable: Word32::new(0),
            cluster_next: Word32::new(1),
            readahead: readahead::State::new(),
            roots: [const { Word32::new(0) }; ROOTS],
            inodes: Word::new(0),
            mms: Word::new(0),
        }
    }
}

/// What the swap table knows about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlotEntry(u32);

impl SlotEntry {
    /// The slot's byte: count, and [`SWAP_HAS_CACHE`]. Rule F16.
    #[inline(always)]
    const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// The frame with the slot's content in the swap cache.
    #[inline(always)]
    const fn cached(self) -> Option<Pfn> {
        // Without one there may be a shadow.
        if self.byte() & SWAP_HAS_CACHE == 0 {
            return None;
        }
        Some(Pfn(self.0 >> 8))
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
        // Frame numbers in the swap table have 24 bits.
        if self.platform.memmap().len() > 1 << 24 {
            return Err(Error::Efbig);
        }
        if self.alloc_swap_table(slots).is_none() {
            self.free_swap_table();
            return Err(Error::Enomem);
        }
        self.swap.max.set(slots);
        self.swap.usable.set(slots - 1);
        Ok(())
    }

    /// Slots that can be used, in pages: those of the area without its header and without those whose write failed.
    pub fn total_swap_pages(&self) -> u64 {
        u64::from(self.swap.usable.get())
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

    /// The word of the swap table with a slot's entry, and the entry's place in it.
    #[inline(always)]
    fn swap_table_word(&self, slot: SwapSlot) -> (&Word, u32) {
        let root = self.swap.roots[(slot.0 / SLOTS_PER_ROOT) as usize % ROOTS].get();
        let leaf = self.platform.frame(Pfn(root))[(slot.0 / SLOTS_PER_LEAF) as usize % 512].get();
        (
            &self.platform.frame(Pfn(leaf as u32))[(slot.0 >> 1) as usize % 512],
            (slot.0 & 1) * 32,
        )
    }

    #[inline(always)]
    fn slot_entry(&self, slot: SwapSlot) -> SlotEntry {
        let (word, shift) = self.swap_table_word(slot);
        SlotEntry((word.get() >> shift) as u32)
    }

    /// Changes a slot's entry, and returns it as it was.
    #[inline(always)]
    fn update_slot(&self, slot: SwapSlot, change: impl FnOnce(SlotEntry) -> u32) -> SlotEntry {
        let (word, shift) = self.swap_table_word(slot);
        let old = SlotEntry((word.get() >> shift) as u32);
        word.set(word.get() & !(0xffff_ffff << shift) | u64::from(change(old)) << shift);
        old
    }

    /// Allocates the swap table for `slots` slots; `None` leaves what there is of it for [`Memory::free_swap_table`].
    fn alloc_swap_table(&self, slots: u32) -> Option<()> {
        for (at, root) in (0..slots).step_by(SLOTS_PER_ROOT as usize).zip(&self.swap.roots) {
            let root_pfn = self.alloc_zeroed_page()?;
            root.set(root_pfn.0);
            for leaf in (at..slots.min(at + SLOTS_PER_ROOT)).step_by(SLOTS_PER_LEAF as usize) {
                let pfn = self.alloc_zeroed_page()?;
                self.platform.frame(root_pfn)[(leaf / SLOTS_PER_LEAF) as usize % 512].set(u64::from(pfn.0));
            }
        }
        Some(())
    }

    /// Gives the swap table back.
    fn free_swap_table(&self) {
        for root in self.swap.roots.iter().filter(|root| root.get() != 0) {
            for leaf in self
                .platform
                .frame(Pfn(root.get()))
                .iter()
                .filter(|leaf| leaf.get() != 0)
            {
                self.free_kernel_page(Pfn(leaf.get() as u32));
            }
            self.free_kernel_page(Pfn(root.get()));
            root.set(0);
        }
    }

    /// How many page-table entries and objects mean a slot.
    #[inline]
    pub(crate) fn swap_count(&self, slot: SwapSlot) -> u8 {
        self.slot_entry(slot).byte() & COUNT_MASK
    }

    /// Takes a free slot, which `users` entries or objects mean from now on, and lets the swap cache hold `pfn` for it, which takes a
    /// reference. Consecutive calls give consecutive slots while they are free, so that they can be written together. Rules F13, F17.
    pub(crate) fn add_to_swap(&self, pfn: Pfn, users: u8) -> Option<SwapSlot> {
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
            if self.slot_entry(SwapSlot(slot)).0 == 0 {
                break;
            }
            slot += 1;
        }
        self.swap.cluster_next.set(slot + 1);
        self.swap.inuse.add(1);
        self.enter_swap_cache(pfn, SwapSlot(slot), SWAP_HAS_CACHE | users);
        Some(SwapSlot(slot))
    }

    /// Lets the swap cache hold a frame for a slot, and sets the slot's byte. Takes a reference.
    #[inline]
    fn enter_swap_cache(&self, pfn: Pfn, slot: SwapSlot, byte: u8) {
        self.update_slot(slot, |_| pfn.0 << 8 | u32::from(byte));
        let page = self.page(pfn);
        page.private.set(slot.entry());
        page.set_flags(flag::SWAPCACHE | flag::SWAPBACKED);
        page.refcount.add(1);
        self.count(Vmstat::NrSwapCached);
    }

    /// The swap cache holds a slot's content in another frame from now on. The page's state and references are the caller's affair.
    pub(crate) fn swap_cache_moves(&self, slot: SwapSlot, to: Pfn) {
        let _guard = self.locks.swap.lock();
        self.update_slot(slot, |entry| to.0 << 8 | u32::from(entry.byte()));
    }

    /// One more page-table entry means the slot.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the count is at its largest.
    pub(crate) fn swap_duplicate(&self, slot: SwapSlot) -> Result<(), Error> {
        let _guard = self.locks.swap.lock();
        if self.swap_count(slot) >= SWAP_MAP_MAX {
            return Err(Error::Enomem);
        }
        self.update_slot(slot, |entry| entry.0 + 1);
        Ok(())
    }

    /// One page-table entry or object less means the slot. The last gives up its frame in the swap cache, too.
    pub(crate) fn swap_free(&self, slot: SwapSlot) {
        if self.swap_free_keeping_page(slot) & !SWAP_RETIRED == SWAP_HAS_CACHE {
            self.free_cached_slot(slot);
        }
    }

    /// As [`Memory::swap_free`], but a frame in the swap cache stays there. Returns the slot's byte.
    pub(crate) fn swap_free_keeping_page(&self, slot: SwapSlot) -> u8 {
        let _guard = self.locks.swap.lock();
        let byte = self
            .update_slot(slot, |entry| match entry.byte() {
                // Free, and so without a shadow.
                1 => 0,
                _ => entry.0.wrapping_sub(1),
            })
            .byte()
            .wrapping_sub(1);
        debug_assert!(byte & COUNT_MASK < SWAP_MAP_MAX, "slot {} freed too often", slot.0);
        if byte == 0 {
            self.swap.inuse.sub(1);
        }
        byte
    }

    /// Drops the frame of a slot that only the swap cache means, unless somebody still uses the frame.
    fn free_cached_slot(&self, slot: SwapSlot) {
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
    pub(crate) fn delete_from_swap_cache(&self, pfn: Pfn) {
        self.leave_swap_cache(pfn, 0);
    }

    /// As [`Memory::delete_from_swap_cache`], but of the users of the slot `users` are gone, too.
    pub(crate) fn leave_swap_cache(&self, pfn: Pfn, users: u8) {
        let _guard = self.locks.swap.lock();
        let page = self.page(pfn);
        let slot = SwapSlot::of_entry(page.private.get());
        let keep = !(u32::from(SWAP_HAS_CACHE));
        let old = self.update_slot(slot, |entry| (u32::from(entry.byte()) & keep) - u32::from(users));
        page.clear_flags(flag::SWAPCACHE);
        page.private.set(0);
        self.uncount(Vmstat::NrSwapCached);
        if old.byte() == SWAP_HAS_CACHE | users {
            self.swap.inuse.sub(1);
        }
    }

    /// Never gives a slot out again: a write to it failed. Rule F29.
    pub(crate) fn retire_slot(&self, slot: SwapSlot) {
        let _guard = self.locks.swap.lock();
        let byte = self.update_slot(slot, |entry| entry.0 | u32::from(SWAP_RETIRED)).byte();
        debug_assert!(byte & SWAP_RETIRED == 0, "slot {} is retired already", slot.0);
        if byte != 0 {
            self.swap.inuse.sub(1);
        }
        self.swap.bad.add(1);
        self.swap.usable.sub(1);
    }

    /// The frame with a slot's content, with a reference for the caller: from the swap cache, or read into it. The second
    /// value says whether it had to be read. Rule F19.
    ///
    /// # Errors
    /// [`Error::Enomem`] without a frame, [`Error::Eio`] when the disk fails.
    pub(crate) fn swapin(&self, slot: SwapSlot) -> Result<(Pfn, bool), Error> {
        if let Some(pfn) = self.lookup_swap_cache(slot) {
            self.get_page(pfn);
            if self.page(pfn).has(flag::READAHEAD) {
                self.readahead_hit(pfn);
            }
            return Ok((pfn, false));
        }
        let window = self.swapin_nr_pages(slot);
        if window > 1 {
            return self.swapin_readahead(slot, window);
        }
        self.swapin_alone(slot)
    }

    /// Reads one slot.
    #[inline]
    fn swapin_alone(&self, slot: SwapSlot) -> Result<(Pfn, bool), Error> {
        let pfn = self.alloc_page().ok_or(Error::Enomem)?;
        self.platform.stage(Stage::AllocPages, u64::from(pfn.0));
        // Locked until it is read, so that who finds it waits. Rule F22.
        self.page(pfn).step(Event::Lock);
        self.workingset_refault(pfn, self.swap_shadow(slot));
        self.enter_swap_cache(pfn, slot, self.slot_entry(slot).byte() | SWAP_HAS_CACHE);
        self.platform.stage(Stage::SwapReadStart, u64::from(slot.0));
        let read = self.platform.swap_read(slot.0, &[pfn]);
        self.platform.stage(Stage::SwapReadEnd, u64::from(slot.0));
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

#[cfg(any(test, feature = "testing"))]
impl<P: Platform> Memory<P> {
    /// Panics unless the slot map, the swap cache and the counters agree. For tests; takes as long as the area is large.
    pub fn check_swap(&self) {
        let (mut used, mut bad) = (0, 0);
        for slot in (1..self.swap.max.get()).map(SwapSlot) {
            let (byte, cached) = (self.slot_entry(slot).byte(), self.slot_entry(slot).cached());
            let retired = byte & SWAP_RETIRED != 0;
            used += u32::from(byte != 0 && !retired);
            bad += u32::from(retired);
            assert_eq!(
                byte & SWAP_HAS_CACHE != 0,
                cached.is_some(),
                "slot {}: byte {byte:#x}",
                slot.0
            );
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
        assert_eq!(self.swap.bad.get(), bad, "retired slots");
    }
}
