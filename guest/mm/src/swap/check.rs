//! Whether slot map, swap cache and counters agree.

use super::slot::{COUNT_CONTINUED, SLOTS_PER_CLUSTER, SWAP_HAS_CACHE, SWAP_MAP_BAD, SWAP_MAP_SHMEM};
use super::{MAX_SWAPFILES, SwapSlot};
use crate::check::{Ledger, Violation, at_most, equal};
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;

impl<P: Platform> Memory<P> {
    /// Whether the slot map, the swap cache and the counters agree; takes as long as the areas are large.
    ///
    /// # Errors
    /// The first slot, area or counter that does not.
    #[cold]
    pub(crate) fn verify_swap(&self) -> Result<(), Violation> {
        let (mut total, mut free, mut giving) = (0, 0, 0_usize);
        for (area, info) in self.swap.areas.iter().enumerate() {
            self.verify_area(area)?;
            if info.writeok.get() != 0 {
                giving += 1;
                total += u64::from(info.pages.get());
                free += u64::from(info.pages.get() - info.inuse.get());
            }
        }
        equal("slots", 0_u32, self.swap.total.get(), total)?;
        equal("free slots", 0_u32, self.swap.free.get(), free)?;
        let (mut listed, mut last) = (0_usize, None);
        let order = self.swap.avail.iter().map(|place| place.get() as usize);
        for area in order.take_while(|&number| number != 0).map(|number| number - 1) {
            listed += 1;
            let prio = self.swap.areas[area % MAX_SWAPFILES].prio();
            let behind = last.is_some_and(|last| prio > last);
            equal("behind one of lower priority: area", area as u64, behind, false)?;
            last = Some(prio);
        }
        equal("areas that give slots", 0_u32, listed as u64, giving as u64)
    }

    fn verify_area(&self, area: usize) -> Result<(), Violation> {
        let info = &self.swap.areas[area];
        let (mut used, mut retired) = (0_u32, 0_u32);
        for cluster in self.clusters(area) {
            let beyond = info.max.get().saturating_sub(cluster.offset()).min(SLOTS_PER_CLUSTER);
            // The header, and what lies behind the last slot, cannot be given out.
            let mut taken = SLOTS_PER_CLUSTER - beyond + u32::from(cluster.offset() == 0);
            for slot in self.taken_in(cluster) {
                let entry = self.slot_entry(slot);
                if entry.0 != 0 {
                    taken += 1;
                    used += u32::from(entry.byte() != 0 && !entry.is_retired() && entry.byte() != SWAP_MAP_BAD);
                    retired += u32::from(entry.is_retired());
                    self.verify_slot(slot)?;
                }
            }
            equal(
                "slots taken of the cluster of slot",
                cluster.0,
                self.cluster_taken(cluster),
                taken,
            )?;
        }
        equal("slots in use of area", area as u64, info.inuse.get(), used)?;
        equal("retired slots of area", area as u64, info.retired.get(), retired)
    }

    fn verify_slot(&self, slot: SwapSlot) -> Result<(), Violation> {
        let entry = self.slot_entry(slot);
        let byte = entry.byte();
        let cached = entry.cached();
        equal(
            "in the swap cache: slot",
            slot.0,
            byte & SWAP_HAS_CACHE != 0,
            cached.is_some(),
        )?;
        let continued = self.swap.continued().load(self, slot.entry()).is_value();
        let says = byte & COUNT_CONTINUED != 0 && entry.count() != SWAP_MAP_SHMEM;
        equal("count that goes on elsewhere, of slot", slot.0, continued, says)?;
        let Some(pfn) = cached else { return Ok(()) };
        let page = self.page(pfn);
        equal("in the swap cache: frame", pfn.0, page.has(flag::SWAPCACHE), true)?;
        equal("slot of frame", pfn.0, page.private.get(), slot.entry())
    }

    /// The first slot of each cluster.
    fn clusters(&self, area: usize) -> impl Iterator<Item = SwapSlot> + use<P> {
        let offsets = (0..self.swap.areas[area].max.get()).step_by(SLOTS_PER_CLUSTER as usize);
        offsets.map(move |offset| SwapSlot::new(area, offset))
    }

    /// The slots of a cluster, if any has an entry.
    fn taken_in(&self, cluster: SwapSlot) -> impl Iterator<Item = SwapSlot> + use<P> {
        let (first, area) = (cluster.offset(), cluster.area());
        let end = match self.is_cluster_clear(cluster) {
            true => 0,
            false => self.swap.areas[area].max.get().min(first + SLOTS_PER_CLUSTER),
        };
        (first.max(1)..end).map(move |offset| SwapSlot::new(area, offset))
    }

    /// Takes from `ledger` how many mean each slot.
    pub(crate) fn post_slots(&self, ledger: &mut Ledger) {
        let clusters = (0..MAX_SWAPFILES).flat_map(|area| self.clusters(area));
        for slot in clusters.flat_map(|cluster| self.taken_in(cluster)) {
            if self.slot_entry(slot).byte() != SWAP_MAP_BAD {
                ledger.take(slot.entry(), self.swap_users(slot));
            }
        }
    }

    /// Whether an entry of a page table or an object can mean a slot.
    ///
    /// # Errors
    /// When it is of no area, or nobody means it.
    pub(crate) fn verify_meant(&self, slot: SwapSlot) -> Result<(), Violation> {
        let area = slot.area() % MAX_SWAPFILES;
        at_most(
            "last slot of the area of slot",
            slot.0,
            slot.offset() + 1,
            self.swap.areas[area].max.get(),
        )?;
        equal("free, and meant: slot", slot.0, self.swap_is_meant(slot), true)
    }

    /// Panics unless [`Memory::verify_swap`] finds nothing. For tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn check_swap(&self) {
        crate::check::expect(self.verify_swap());
    }
}
