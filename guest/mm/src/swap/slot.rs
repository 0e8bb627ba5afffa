//! What a slot is called, and what the swap table knows about it.
//!
//! The table has two levels: root frames of 512 leaves, leaves of 1,024 entries of 32 bits.
//!
//! ```text
//! entry   31 ......... 9 | 8       | 7 ..... 0      root word   63 .. 54 .. 44 .. 34 .. 24 | 23 ... 0
//!         cached frame,  | retired | slot's byte                slots taken of 4 clusters  | leaf frame
//!         or shadow
//! ```
//!
//! Source: Linux, include/linux/swap.h, mm/swap_table.h. Rule F16.

use super::Swap;
use crate::addr::Pfn;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::Word;

/// Slots of an area at most: 8 GiB. Of a larger one the rest is not used.
pub const SLOTS_MAX: u32 = 1 << AREA_SHIFT;
/// Areas at most. Differs from Linux, which has about 27.
pub const MAX_SWAPFILES: usize = 8;
/// Where the area begins in a slot's number.
const AREA_SHIFT: u32 = 21;

/// Bit of a slot's byte: the swap cache holds its content. Rule F16.
pub(super) const SWAP_HAS_CACHE: u8 = 0x40;
/// Bit of a slot's byte: the count goes on elsewhere. Rule F16.
pub(super) const COUNT_CONTINUED: u8 = 0x80;
/// Largest count in a slot's byte. Rule F16.
pub(super) const SWAP_MAP_MAX: u8 = 0x3e;
/// A slot's byte: never given out, the header says. Rule F16.
pub(super) const SWAP_MAP_BAD: u8 = 0x3f;
/// A slot's byte, as a count: an object has the page; it counts as one. Rule F16.
pub(crate) const SWAP_MAP_SHMEM: u8 = 0xbf;

/// Number of a slot: of the area, and in it, where 0 is the header and never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwapSlot(pub u32);

impl SwapSlot {
    /// In the place of a slot: the page could not be read back, and is lost. Source: Linux `make_poisoned_swp_entry`. Rule F28.
    pub const POISON: Self = Self(u32::MAX);

    /// Slot `offset` of an area.
    #[must_use]
    pub const fn new(area: usize, offset: u32) -> Self {
        Self((area as u32) << AREA_SHIFT | offset)
    }

    /// Its area.
    #[inline(always)]
    #[must_use]
    pub const fn area(self) -> usize {
        (self.0 >> AREA_SHIFT) as usize
    }

    /// Its place in the area, in pages.
    #[inline(always)]
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.0 & (SLOTS_MAX - 1)
    }

    /// As what a page cache or a page table keeps for the page.
    #[inline(always)]
    #[must_use]
    pub fn entry(self) -> u64 {
        u64::from(self.0)
    }

    /// From what [`SwapSlot::entry`] made; `None` if the page is lost.
    #[inline(always)]
    #[must_use]
    pub fn of_entry(entry: u64) -> Option<Self> {
        let slot = Self(entry as u32);
        (slot != Self::POISON).then_some(slot)
    }

    /// The slot that a page in the swap cache names.
    #[inline(always)]
    pub(crate) fn of_page(page: &crate::page::Page) -> Self {
        Self(page.private.get() as u32)
    }
}

/// Slots that a leaf describes.
const SLOTS_PER_LEAF: u32 = 1024;
/// Slots that a root frame reaches.
const SLOTS_PER_ROOT: u32 = SLOTS_PER_LEAF * 512;
/// Root frames of all areas at most.
pub(super) const ROOTS: usize = (SLOTS_MAX / SLOTS_PER_ROOT) as usize * MAX_SWAPFILES;
/// Slots of a cluster. Source: Linux `SWAPFILE_CLUSTER` without huge pages.
pub(super) const SLOTS_PER_CLUSTER: u32 = 256;

/// Bits of a root word with the leaf's frame.
const LEAF_BITS: u32 = 24;
/// Bits of a root word with the slots taken of one cluster.
const TAKEN_BITS: u32 = 10;
const _: () = assert!(LEAF_BITS + TAKEN_BITS * (SLOTS_PER_LEAF / SLOTS_PER_CLUSTER) == 64);

/// Frames that the swap cache can hold are below this number.
pub(super) const CACHED_FRAMES_MAX: usize = 1 << (32 - CACHED_SHIFT);
pub(super) const CACHED_SHIFT: u32 = 9;
/// Bit of an entry: a write to the slot failed. It keeps its users and its page, but is not in use for the accounts, and never becomes
/// free. Differs from Linux, which keeps using such slots. Rule F29.
pub(super) const RETIRED: u32 = 1 << 8;

/// What the swap table knows about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotEntry(pub(super) u32);

impl SlotEntry {
    /// Of a slot whose content is in a frame, too.
    #[inline(always)]
    pub(super) const fn in_cache(self, pfn: Pfn) -> Self {
        Self(pfn.0 << CACHED_SHIFT | self.0 & RETIRED | (self.byte() | SWAP_HAS_CACHE) as u32)
    }

    /// With another byte; free, or retired, if that is 0.
    #[inline(always)]
    pub(super) const fn with_byte(self, byte: u8) -> Self {
        let keep = if byte != 0 { !0xff } else { RETIRED };
        Self(self.0 & keep | byte as u32)
    }

    /// The slot's byte: count, and [`SWAP_HAS_CACHE`]. Rule F16.
    #[inline(always)]
    pub(super) const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// The slot's byte without [`SWAP_HAS_CACHE`]: 0 if nobody means it.
    #[inline(always)]
    pub(super) const fn count(self) -> u8 {
        self.byte() & !SWAP_HAS_CACHE
    }

    /// The frame with the slot's content in the swap cache.
    #[inline(always)]
    pub(super) const fn cached(self) -> Option<Pfn> {
        if self.byte() & SWAP_HAS_CACHE != 0 {
            Some(Pfn(self.0 >> CACHED_SHIFT))
        } else {
            None
        }
    }

    /// Whether a write to it failed.
    #[inline(always)]
    pub(super) const fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    /// Whether the content is on the disk and nowhere else.
    pub(super) const fn only_on_disk(self) -> bool {
        self.0 & (RETIRED | SWAP_HAS_CACHE as u32) == 0 && self.count() != 0 && self.byte() != SWAP_MAP_BAD
    }
}

/// Where the swap table knows about a slot: found once, used several times.
#[derive(Clone, Copy)]
pub(super) struct SlotWords<'a> {
    root: &'a Word,
    taken_shift: u32,
    word: &'a Word,
    shift: u32,
}

impl SlotWords<'_> {
    #[inline(always)]
    pub(super) fn get(self) -> SlotEntry {
        SlotEntry((self.word.get() >> self.shift) as u32)
    }

    #[inline(always)]
    pub(super) fn set(self, entry: SlotEntry) {
        let others = self.word.get() & !(0xffff_ffff << self.shift);
        self.word.set(others | u64::from(entry.0) << self.shift);
    }

    /// As [`SlotWords::set`], of a slot whose entry is 0.
    #[inline(always)]
    pub(super) fn set_free(self, entry: SlotEntry) {
        self.word.set(self.word.get() | u64::from(entry.0) << self.shift);
    }

    /// One more slot of the cluster is taken.
    #[inline(always)]
    pub(super) fn take(self) {
        self.root.add(1 << self.taken_shift);
    }

    /// One slot less of the cluster is taken.
    #[inline(always)]
    pub(super) fn give(self) {
        self.root.sub(1 << self.taken_shift);
    }
}

impl Swap {
    #[inline(always)]
    fn root(&self, slot: SwapSlot) -> &crate::sync::Word32 {
        &self.roots[(slot.0 / SLOTS_PER_ROOT) as usize % ROOTS]
    }
}

impl<P: Platform> Memory<P> {
    /// The root word for a slot.
    #[inline(always)]
    fn root_word(&self, slot: SwapSlot) -> &Word {
        let root = self.platform.frame(Pfn(self.swap.root(slot).get()));
        &root[(slot.0 / SLOTS_PER_LEAF) as usize % 512]
    }

    /// Where the swap table knows about a slot.
    #[inline(always)]
    pub(super) fn slot_words(&self, slot: SwapSlot) -> SlotWords<'_> {
        let root = self.root_word(slot);
        let leaf = root.get() & ((1 << LEAF_BITS) - 1);
        SlotWords {
            root,
            taken_shift: taken_shift(slot),
            word: &self.platform.frame(Pfn(leaf as u32))[(slot.0 >> 1) as usize % 512],
            shift: (slot.0 & 1) * 32,
        }
    }

    #[inline(always)]
    pub(super) fn slot_entry(&self, slot: SwapSlot) -> SlotEntry {
        self.slot_words(slot).get()
    }

    /// Changes a slot's entry, and returns it as it was.
    #[inline(always)]
    pub(super) fn update_slot(&self, slot: SwapSlot, change: impl FnOnce(SlotEntry) -> SlotEntry) -> SlotEntry {
        let words = self.slot_words(slot);
        let old = words.get();
        words.set(change(old));
        old
    }

    /// Whether the entries of a slot's cluster are all 0: looked at in words, since most clusters of most areas are.
    pub(super) fn is_cluster_clear(&self, slot: SwapSlot) -> bool {
        let leaf = self.root_word(slot).get() & ((1 << LEAF_BITS) - 1);
        let first = (slot.0 / SLOTS_PER_CLUSTER * (SLOTS_PER_CLUSTER / 2)) as usize % 512;
        let words = &self.platform.frame(Pfn(leaf as u32))[first..first + SLOTS_PER_CLUSTER as usize / 2];
        words.iter().fold(0, |all, word| all | word.get()) == 0
    }

    /// Slots of a slot's cluster that cannot be given out: 0 to [`SLOTS_PER_CLUSTER`].
    pub(super) fn cluster_taken(&self, slot: SwapSlot) -> u32 {
        (self.root_word(slot).get() >> taken_shift(slot)) as u32 & ((1 << TAKEN_BITS) - 1)
    }

    /// Allocates the swap table of an area of `slots` slots; `None` leaves what there is of it for [`Memory::free_swap_table`].
    pub(super) fn alloc_swap_table(&self, area: usize, slots: u32) -> Option<()> {
        for at in (0..slots).step_by(SLOTS_PER_ROOT as usize) {
            let root_pfn = self.alloc_zeroed_page()?;
            self.swap.root(SwapSlot::new(area, at)).set(root_pfn.0);
            for leaf in (at..slots.min(at + SLOTS_PER_ROOT)).step_by(SLOTS_PER_LEAF as usize) {
                let pfn = self.alloc_zeroed_page()?;
                self.root_word(SwapSlot::new(area, leaf)).set(u64::from(pfn.0));
            }
        }
        Some(())
    }

    /// Frames of the swap tables of all areas.
    pub(crate) fn swap_table_frames(&self) -> u64 {
        let roots = self.swap.roots.iter().filter(|root| root.get() != 0);
        let leaves = |root: &crate::sync::Word32| {
            let words = self.platform.frame(Pfn(root.get())).iter();
            words.filter(|word| word.get() & ((1 << LEAF_BITS) - 1) != 0).count() as u64
        };
        roots.map(|root| 1 + leaves(root)).sum()
    }

    /// Gives the swap table of an area back.
    pub(super) fn free_swap_table(&self, area: usize) {
        for at in (0..SLOTS_MAX).step_by(SLOTS_PER_ROOT as usize) {
            let root = self.swap.root(SwapSlot::new(area, at));
            if root.get() == 0 {
                continue;
            }
            for word in self.platform.frame(Pfn(root.get())) {
                match word.get() & ((1 << LEAF_BITS) - 1) {
                    0 => {}
                    leaf => self.free_kernel_page(Pfn(leaf as u32)),
                }
            }
            self.free_kernel_page(Pfn(root.get()));
            root.set(0);
        }
    }
}

/// Where a root word says how many slots of a slot's cluster are taken.
#[inline(always)]
const fn taken_shift(slot: SwapSlot) -> u32 {
    LEAF_BITS + TAKEN_BITS * (slot.0 / SLOTS_PER_CLUSTER % (SLOTS_PER_LEAF / SLOTS_PER_CLUSTER))
}
