//! Which slot is taken, and what it means that one is free again.
//!
//! From the area with the highest priority that has room; areas of equal priority take turns of [`SWAP_BATCH`] slots. In an area, from one
//! cluster in order until its end; then from a cluster of which nothing is taken; without such, from any that has room. So pages that go
//! out together have slots beside each other, and are written and read together.
//!
//! Source: Linux, mm/swapfile.c (`get_swap_pages`, `scan_swap_map_slots`, `scan_swap_map_try_ssd_cluster`), include/linux/swap_slots.h. Rule F17.
//! Differs from Linux: one CPU, so one cluster at a time; clusters are found by their counts, not on lists.

use super::slot::{SLOTS_PER_CLUSTER, SlotEntry, SlotWords};
use super::{MAX_SWAPFILES, SwapSlot};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::Word32;

/// Slots taken from an area before another of the same priority has its turn. Source: Linux `SWAP_BATCH`.
const SWAP_BATCH: u32 = 64;

impl<P: Platform> Memory<P> {
    /// A free slot, which from now on is in use, by `entry`.
    #[inline]
    pub(super) fn take_slot(&self, entry: SlotEntry) -> Option<SwapSlot> {
        let swap = &self.swap;
        let mut slot = SwapSlot(swap.next.get());
        if slot.0 == swap.end.get() {
            slot = self.next_run()?;
        }
        let mut words = self.slot_words(slot);
        if words.get().0 != 0 {
            slot = self.next_run()?;
            words = self.slot_words(slot);
        }
        swap.next.set(slot.0 + 1);
        swap.free.sub(1);
        swap.area_of(slot).inuse.add(1);
        words.take();
        words.set_free(entry);
        Some(slot)
    }

    /// A slot that was in use is free, and its entry 0.
    #[inline]
    pub(super) fn slot_freed(&self, slot: SwapSlot, words: SlotWords<'_>) {
        words.give();
        let area = self.swap.area_of(slot);
        if area.inuse.get() == area.pages.get() {
            // The next slot may have to come from here.
            self.forget_run();
        }
        area.inuse.sub(1);
        if area.writeok.get() != 0 {
            self.swap.free.add(1);
        }
    }

    /// The next slot is looked for anew: another area may have to give it.
    #[cold]
    #[inline(never)]
    pub(super) fn forget_run(&self) {
        self.end_of_run();
        self.swap.end.set(0);
        self.swap.next.set(0);
    }

    /// The area of the run goes on there the next time.
    fn end_of_run(&self) {
        let end = self.swap.end.get();
        if end != 0 {
            let last = SwapSlot(end - 1);
            let area = self.swap.area_of(last);
            area.cluster_next
                .set(self.swap.next.get() - SwapSlot::new(last.area(), 0).0);
        }
    }

    /// The rest of the run, or another one. Returns its first slot.
    #[inline(never)]
    fn next_run(&self) -> Option<SwapSlot> {
        let rest = SwapSlot(self.swap.next.get())..SwapSlot(self.swap.end.get());
        if let Some(slot) = self.first_free(rest.start, rest.end.0) {
            return Some(slot);
        }
        self.swap.next.set(rest.end.0);
        self.end_of_run();
        let avail = &self.swap.avail;
        let numbers = avail
            .iter()
            .map(|place| place.get() as usize)
            .take_while(|&number| number != 0);
        let at = numbers
            .map(|number| number - 1)
            .position(|area| self.swap.areas[area].has_room())?;
        let area = avail[at].get() as usize - 1;
        self.requeue(at);
        let slot = self.slot_in(area)?;
        let cluster_end = (slot.offset() / SLOTS_PER_CLUSTER + 1) * SLOTS_PER_CLUSTER;
        let end = cluster_end
            .min(slot.offset() + SWAP_BATCH)
            .min(self.swap.areas[area].max.get());
        self.swap.end.set(SwapSlot::new(area, 0).0 + end);
        Some(slot)
    }

    /// Lets the others of its priority go before the area at `at`. Source: Linux `plist_requeue`.
    fn requeue(&self, mut at: usize) {
        let avail = &self.swap.avail;
        let prio = |place: &Word32| self.swap.areas[(place.get() as usize).wrapping_sub(1) % MAX_SWAPFILES].prio();
        while let Some(next) = avail.get(at + 1).filter(|next| next.get() != 0)
            && prio(next) == prio(&avail[at])
        {
            let moved = avail[at].get();
            avail[at].set(next.get());
            next.set(moved);
            at += 1;
        }
    }

    /// A free slot of an area: in the cluster that was taken from last, in one that nothing is taken of, in any.
    fn slot_in(&self, area: usize) -> Option<SwapSlot> {
        let info = &self.swap.areas[area];
        let (max, next) = (info.max.get(), info.cluster_next.get());
        let in_area = |offset| SwapSlot::new(area, offset);
        let end_of = |offset: u32| (offset / SLOTS_PER_CLUSTER + 1) * SLOTS_PER_CLUSTER;
        if next % SLOTS_PER_CLUSTER != 0
            && next < max
            && let Some(slot) = self.first_free(in_area(next), in_area(0).0 + end_of(next).min(max))
        {
            return Some(slot);
        }
        let clusters = max.div_ceil(SLOTS_PER_CLUSTER);
        let first = next.div_ceil(SLOTS_PER_CLUSTER);
        let mut in_turn = (first..first + clusters).map(|cluster| cluster % clusters * SLOTS_PER_CLUSTER);
        let found = in_turn
            .clone()
            .find(|&offset| self.cluster_taken(in_area(offset)) == 0)
            .or_else(|| in_turn.find(|&offset| self.cluster_taken(in_area(offset)) < SLOTS_PER_CLUSTER))?;
        self.first_free(in_area(found), in_area(0).0 + end_of(found).min(max))
    }

    /// The first free slot from `from` on, before `end`. Slot 0 of an area is not free.
    fn first_free(&self, from: SwapSlot, end: u32) -> Option<SwapSlot> {
        let mut slots = (from.0..end).map(SwapSlot);
        slots.find(|&slot| slot.offset() != 0 && self.slot_entry(slot).0 == 0)
    }
}
