//! Who means a slot: how many page-table entries, or an object.
//!
//! The count is in the slot's byte, up to 62; beyond, the byte begins again at 0, and an XArray says how often it did.
//!
//! Source: Linux, mm/swapfile.c (`__swap_duplicate`, `swap_entry_free`, `swap_count_continued`). Rule F16. Differs from Linux: what does not
//! fit the byte is in an XArray, not in pages of bytes.

use super::SwapSlot;
use super::slot::{COUNT_CONTINUED, SWAP_HAS_CACHE, SWAP_MAP_MAX, SWAP_MAP_SHMEM, SlotEntry};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::xarray::Entry;

/// Bits of a slot's byte that count.
const LOW: u8 = !(SWAP_HAS_CACHE | COUNT_CONTINUED);

impl<P: Platform> Memory<P> {
    /// Whether a page-table entry or an object means a slot.
    #[inline]
    pub(crate) fn swap_is_meant(&self, slot: SwapSlot) -> bool {
        self.slot_entry(slot).count() != 0
    }

    /// One more page-table entry means the slot.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the count does not fit its byte any more, and there is no memory to go on.
    pub(crate) fn swap_duplicate(&self, slot: SwapSlot) -> Result<(), Error> {
        let _guard = self.locks.swap.lock();
        let entry = self.slot_entry(slot);
        debug_assert!(
            entry.byte() & LOW <= SWAP_MAP_MAX,
            "slot {} is no private page's",
            slot.0
        );
        if entry.byte() & LOW == SWAP_MAP_MAX {
            return self.continue_count(slot, entry);
        }
        self.update_slot(slot, |entry| SlotEntry(entry.0 + 1));
        Ok(())
    }

    /// The count overflows its byte.
    #[cold]
    fn continue_count(&self, slot: SwapSlot, entry: SlotEntry) -> Result<(), Error> {
        let (continued, index) = (self.swap.continued(), slot.entry());
        let times = continued.load(self, index).as_value().unwrap_or(0);
        continued.store(self, index, Entry::value(times + 1))?;
        let byte = entry.byte() & SWAP_HAS_CACHE | COUNT_CONTINUED;
        self.update_slot(slot, |entry| entry.with_byte(byte));
        Ok(())
    }

    /// The count goes back to what fits its byte.
    #[cold]
    fn uncontinue_count(&self, slot: SwapSlot, entry: SlotEntry) -> u8 {
        let (continued, index) = (self.swap.continued(), slot.entry());
        let times = continued.load(self, index).as_value().unwrap_or(1);
        let cache = entry.byte() & SWAP_HAS_CACHE;
        if times == 1 {
            continued.erase(self, index);
            return cache | SWAP_MAP_MAX;
        }
        let stored = continued.store(self, index, Entry::value(times - 1));
        debug_assert!(stored.is_ok(), "a value is replaced without memory");
        cache | COUNT_CONTINUED | SWAP_MAP_MAX
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
        let words = self.slot_words(slot);
        let entry = words.get();
        debug_assert!(entry.count() != 0, "slot {} freed too often", slot.0);
        let byte = match entry.byte() & LOW {
            0 => self.uncontinue_count(slot, entry),
            _ if entry.count() == SWAP_MAP_SHMEM => entry.byte() & SWAP_HAS_CACHE,
            _ => entry.byte() - 1,
        };
        words.set(entry.with_byte(byte));
        if byte == 0 && !entry.is_retired() {
            self.slot_freed(slot, words);
        }
        byte
    }

    /// How many mean a slot.
    pub fn swap_users(&self, slot: SwapSlot) -> u64 {
        let byte = self.slot_entry(slot).byte();
        if byte & !SWAP_HAS_CACHE == SWAP_MAP_SHMEM {
            return 1;
        }
        let times = self.swap.continued().load(self, slot.entry()).as_value().unwrap_or(0);
        u64::from(byte & LOW) + times * (u64::from(SWAP_MAP_MAX) + 1)
    }
}
