//! Whether slot map, swap cache and counters agree. For tests.

use super::slot::{COUNT_CONTINUED, SLOTS_PER_CLUSTER, SWAP_HAS_CACHE, SWAP_MAP_BAD, SWAP_MAP_SHMEM};
use super::{MAX_SWAPFILES, SwapSlot};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;

impl<P: Platform> Memory<P> {
    /// Panics unless the slot map, the swap cache and the counters agree. For tests; takes as long as the areas are large.
    pub fn check_swap(&self) {
        let (mut total, mut free) = (0, 0);
        for (area, info) in self.swap.areas.iter().enumerate() {
            self.check_area(area);
            if info.writeok.get() != 0 {
                total += u64::from(info.pages.get());
                free += u64::from(info.pages.get() - info.inuse.get());
            }
        }
        assert_eq!(self.swap.total.get(), total, "slots");
        assert_eq!(self.swap.free.get(), free, "free slots");
        let order = self.swap.avail.iter().map(|place| place.get() as usize);
        let areas: std::vec::Vec<usize> = order
            .take_while(|&number| number != 0)
            .map(|number| number - 1)
            .collect();
        let in_use = (0..MAX_SWAPFILES).filter(|&area| self.swap.areas[area].writeok.get() != 0);
        assert_eq!(areas.len(), in_use.count(), "areas that give slots");
        let prios = areas.iter().map(|&area| self.swap.areas[area].prio());
        assert!(prios.is_sorted_by(|a, b| a >= b), "the highest priority is first");
    }

    fn check_area(&self, area: usize) {
        let info = &self.swap.areas[area];
        let (mut used, mut retired) = (0, 0);
        for slot in (1..info.max.get()).map(|offset| SwapSlot::new(area, offset)) {
            let entry = self.slot_entry(slot);
            let bad = entry.byte() == SWAP_MAP_BAD;
            used += u32::from(entry.byte() != 0 && !entry.is_retired() && !bad);
            retired += u32::from(entry.is_retired());
            self.check_entry(slot);
        }
        for first in (0..info.max.get()).step_by(SLOTS_PER_CLUSTER as usize) {
            let slots = (first..first + SLOTS_PER_CLUSTER).map(|offset| SwapSlot::new(area, offset));
            let is_taken = |slot: &SwapSlot| {
                let beyond = slot.offset() == 0 || slot.offset() >= info.max.get();
                beyond || self.slot_entry(*slot).0 != 0
            };
            let taken = slots.filter(is_taken).count() as u32;
            let cluster = SwapSlot::new(area, first);
            assert_eq!(
                self.cluster_taken(cluster),
                taken,
                "slots taken of the cluster of {cluster:?}"
            );
        }
        assert_eq!(info.inuse.get(), used, "slots in use of area {area}");
        assert_eq!(info.retired.get(), retired, "retired slots of area {area}");
    }

    fn check_entry(&self, slot: SwapSlot) {
        let entry = self.slot_entry(slot);
        let byte = entry.byte();
        let cached = entry.cached();
        assert_eq!(byte & SWAP_HAS_CACHE != 0, cached.is_some(), "{slot:?}: byte {byte:#x}");
        let continued = self.swap.continued().load(self, slot.entry()).is_value();
        let says = byte & COUNT_CONTINUED != 0 && entry.count() != SWAP_MAP_SHMEM;
        assert_eq!(continued, says, "{slot:?}: byte {byte:#x} and the continuation");
        let Some(pfn) = cached else { return };
        let page = self.page(pfn);
        assert!(
            page.has(flag::SWAPCACHE),
            "frame {} does not know that it is in the swap cache",
            pfn.0
        );
        assert_eq!(page.private.get(), slot.entry(), "frame {} names another slot", pfn.0);
    }
}
