//! Per-CPU lists: the last that came goes first, and when the list is full the first that came leaves.
//!
//! Used for frames ([`crate::zone`]) and for objects ([`crate::slab`]). A ring of numbers rather than a linked list: neither end
//! needs the memory map, and the oldest can leave without a walk.
//!
//! Source: Linux, mm/page_alloc.c (`struct per_cpu_pages`), mm/slub.c (`struct kmem_cache_cpu`). Rules E7, E18.

use crate::sync::Word32;

/// At most `N` numbers, `N` being a power of two.
///
/// # Invariants
/// `top - oldest` (wrapping) is the number of entries, at most `N`; entry `i` of `[oldest, top)` is in slot `i % N`.
#[derive(Debug)]
pub(crate) struct HotRing<const N: usize> {
    top: Word32,
    oldest: Word32,
    slots: [Word32; N],
}

impl<const N: usize> HotRing<N> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        const { assert!(N.is_power_of_two() && N <= 1 << 31, "slots are found by masking") };
        Self {
            top: Word32::new(0),
            oldest: Word32::new(0),
            slots: [const { Word32::new(0) }; N],
        }
    }

    #[inline(always)]
    fn slot(&self, at: u32) -> &Word32 {
        &self.slots[at as usize & (N - 1)]
    }

    /// Entries.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.top.get().wrapping_sub(self.oldest.get())
    }

    /// Adds an entry, unless the list is full; says whether it did.
    #[inline(always)]
    pub(crate) fn push(&self, value: u32) -> bool {
        let top = self.top.get();
        if top.wrapping_sub(self.oldest.get()) == N as u32 {
            return false;
        }
        self.slot(top).set(value);
        self.top.set(top.wrapping_add(1));
        true
    }

    /// Takes the newest entry.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<u32> {
        let top = self.top.get();
        if top == self.oldest.get() {
            return None;
        }
        let top = top.wrapping_sub(1);
        self.top.set(top);
        Some(self.slot(top).get())
    }

    /// Takes the oldest entry.
    pub(crate) fn pop_oldest(&self) -> Option<u32> {
        let oldest = self.oldest.get();
        if oldest == self.top.get() {
            return None;
        }
        self.oldest.set(oldest.wrapping_add(1));
        Some(self.slot(oldest).get())
    }

    /// The entries in the order in which [`HotRing::pop`] would take them.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = u32> {
        let top = self.top.get();
        (1..=self.len()).map(move |back| self.slot(top.wrapping_sub(back)).get())
    }
}
