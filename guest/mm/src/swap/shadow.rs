//! Shadows in the swap table: what is remembered of a page whose frame is gone. Source: Linux, mm/swap_table.h. Rule D28.
//!
//! The bits of a slot's entry that name a frame hold the shadow while no frame is in the swap cache. What the shadow says is
//! [`crate::workingset`]'s.

use super::{SWAP_HAS_CACHE, SwapSlot};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::workingset::SHADOW_BITS;

/// Where the shadow begins in an entry.
const SHADOW_SHIFT: u32 = u32::BITS - SHADOW_BITS;

impl<P: Platform> Memory<P> {
    /// Remembers a shadow for a slot that is in use and not in the swap cache. It is gone once the slot is either no more.
    #[inline]
    pub(crate) fn set_swap_shadow(&self, slot: SwapSlot, shadow: u32) {
        let below = (1 << SHADOW_SHIFT) - 1;
        let old = self.update_slot(slot, |entry| entry.0 & below | shadow << SHADOW_SHIFT);
        debug_assert!(
            old.byte() != 0 && old.byte() & SWAP_HAS_CACHE == 0,
            "slot {} has byte {:#x}",
            slot.0,
            old.byte()
        );
    }

    /// What is remembered for a slot; 0 for nothing.
    #[inline]
    pub(crate) fn swap_shadow(&self, slot: SwapSlot) -> u32 {
        let entry = self.slot_entry(slot);
        if entry.byte() & SWAP_HAS_CACHE == 0 {
            entry.0 >> SHADOW_SHIFT
        } else {
            0
        }
    }
}
