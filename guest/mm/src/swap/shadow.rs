//! Shadows in the swap table: what is remembered of a page whose frame is gone. Source: Linux, mm/swap_table.h. Rule D28.
//!
//! The bits of a slot's entry that name a frame hold the shadow while no frame is in the swap cache. What the shadow says is
//! [`crate::workingset`]'s.

use super::slot::{CACHED_SHIFT, SlotEntry};
use crate::workingset::SHADOW_BITS;
#[cfg(test)]
use crate::{Memory, platform::Platform};

/// Where the shadow begins in an entry.
const SHADOW_SHIFT: u32 = CACHED_SHIFT;
const _: () = assert!(SHADOW_SHIFT + SHADOW_BITS == u32::BITS);

impl SlotEntry {
    /// With what is remembered, 0 for nothing, of a slot that is in use and not in the swap cache.
    #[inline(always)]
    pub(super) const fn with_shadow(self, shadow: u32) -> Self {
        Self(self.0 & ((1 << SHADOW_SHIFT) - 1) | shadow << SHADOW_SHIFT)
    }

    /// What is remembered; 0 for nothing.
    #[inline(always)]
    pub(super) const fn shadow(self) -> u32 {
        match self.cached() {
            None => self.0 >> SHADOW_SHIFT,
            Some(_) => 0,
        }
    }
}

#[cfg(test)]
impl<P: Platform> Memory<P> {
    /// What is remembered for a slot; 0 for nothing.
    pub(crate) fn swap_shadow(&self, slot: super::SwapSlot) -> u32 {
        self.slot_entry(slot).shadow()
    }
}
