//! Refault distance: was a page that comes back evicted too early?
//!
//! A clock counts evictions and activations. When a page's frame is freed while its content goes on in swap, the time is left in the slot's
//! entry of the swap table (a *shadow*), where the frame's number was. When the page comes back, the difference of the two times is how
//! many more inactive pages there should have been for it to stay. If that is no more than there are active ones, it belongs to what is
//! used as much as those, and comes back active: it competes with them instead of being the next to go.
//!
//! ```text
//! evicted at 7 ...... back at 12: distance 5     5 <= active pages: comes back active
//! ```
//!
//! Source: Linux, mm/workingset.c. Rule D28. Differs from Linux: the clock in a shadow has 21 bits, two million pages; no node of a page cache
//! ever holds shadows, since every object's disk is swap, so there is no shrinker of such nodes (rule D29).

use crate::addr::Pfn;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, Vmstat};
use crate::sync::Word32;

/// Bit of a shadow: there is one.
const SHADOW: u32 = 1;
/// Bit of a shadow: the page had been active.
const WORKINGSET: u32 = 2;
/// Where the clock begins in a shadow.
const CLOCK_SHIFT: u32 = 2;
/// Bits of a shadow.
pub(crate) const SHADOW_BITS: u32 = 23;
/// Mask of the clock's bits that a shadow keeps.
const CLOCK_MASK: u32 = (1 << (SHADOW_BITS - CLOCK_SHIFT)) - 1;

/// The clock, and what was found with it.
#[derive(Debug)]
pub(crate) struct Workingset {
    /// Evictions and activations so far; wraps. Source: Linux `lruvec->nonresident_age`.
    nonresident_age: Word32,
    /// Pages that came back active; wraps.
    activations: Word32,
    /// As many as there were when reclaim last looked. Source: Linux `lruvec->refaults`.
    activations_seen: Word32,
}

impl Workingset {
    pub(crate) const fn new() -> Self {
        Self {
            nonresident_age: Word32::new(0),
            activations: Word32::new(0),
            activations_seen: Word32::new(0),
        }
    }

    /// Whether pages came back active since [`Workingset::snapshot_refaults`]: then active pages are to make room.
    pub(crate) fn refaulted(&self) -> bool {
        self.activations.get() != self.activations_seen.get()
    }

    /// What reclaim has seen.
    pub(crate) fn snapshot_refaults(&self) {
        self.activations_seen.set(self.activations.get());
    }
}

impl<P: Platform> Memory<P> {
    /// A page's frame is about to be freed while its content stays in swap: what is to be remembered, not 0, of [`SHADOW_BITS`] bits.
    #[inline]
    pub(crate) fn workingset_eviction(&self, pfn: Pfn) -> u32 {
        let age = self.workingset.nonresident_age.get();
        self.workingset.nonresident_age.set(age.wrapping_add(1));
        let active = if self.page(pfn).has(flag::WORKINGSET) {
            WORKINGSET
        } else {
            0
        };
        (age & CLOCK_MASK) << CLOCK_SHIFT | active | SHADOW
    }

    /// A page that is not on a list yet comes back to a slot with this shadow; 0 for none.
    #[inline]
    pub(crate) fn workingset_refault(&self, pfn: Pfn, shadow: u32) {
        if shadow & SHADOW == 0 {
            return;
        }
        self.count(Vmstat::WorkingsetRefaultAnon);
        let age = self.workingset.nonresident_age.get();
        let distance = age.wrapping_sub(shadow >> CLOCK_SHIFT) & CLOCK_MASK;
        if distance > self.lru_count(LruList::ActiveAnon) {
            return;
        }
        let page = self.page(pfn);
        page.set_flags(flag::ACTIVE);
        self.workingset_activation();
        self.workingset.activations.add(1);
        self.count(Vmstat::WorkingsetActivateAnon);
        if shadow & WORKINGSET != 0 {
            page.set_flags(flag::WORKINGSET);
            self.count(Vmstat::WorkingsetRestoreAnon);
        }
    }

    /// A page becomes active by its use: whatever was evicted before is further away now.
    pub(crate) fn workingset_activation(&self) {
        self.workingset.nonresident_age.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PAGE_SIZE;
    use crate::mmap::{map_flag, prot};
    use crate::testing::{FakeMachine, machine};
    use crate::vma::MmId;

    const PAGEOUT: i32 = 21;

    /// A program with 64 pages, of which the first `active` are active.
    fn program(kind: u64, active: u64) -> (Memory<FakeMachine>, MmId, u64) {
        let memory = machine(512, 256);
        let mm = memory.mm_alloc().unwrap();
        let (rights, flags) = (prot::READ | prot::WRITE, kind | map_flag::ANONYMOUS);
        let at = memory.do_mmap(mm, 0, 64 * PAGE_SIZE, rights, flags, None, 0).unwrap();
        for page in 0..64 {
            memory.store(mm, at + page * PAGE_SIZE, page).unwrap();
            if page < active {
                let pfn = memory.lru_head(LruList::InactiveAnon).unwrap();
                memory.mark_page_accessed(pfn);
                memory.mark_page_accessed(pfn);
            }
        }
        assert_eq!(u64::from(memory.lru_count(LruList::ActiveAnon)), active);
        (memory, mm, at)
    }

    fn out(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: core::ops::Range<u64>) {
        let bytes = (pages.end - pages.start) * PAGE_SIZE;
        memory
            .do_madvise(mm, at + pages.start * PAGE_SIZE, bytes, PAGEOUT)
            .unwrap();
    }

    fn counted(memory: &Memory<FakeMachine>) -> [u64; 3] {
        [
            Vmstat::WorkingsetRefaultAnon,
            Vmstat::WorkingsetActivateAnon,
            Vmstat::WorkingsetRestoreAnon,
        ]
        .map(|item| memory.platform.counter(item))
    }

    /// D28: a page is back active when no more pages went after it than there are active ones; private pages and those of objects alike.
    #[test]
    fn the_distance_decides() {
        for kind in [map_flag::PRIVATE, map_flag::SHARED] {
            let (memory, mm, at) = program(kind, 10);
            out(&memory, mm, at, 20..32);
            // Twelve went: of the first, 12 evictions ago; of the third, 10.
            assert_eq!(memory.load(mm, at + 20 * PAGE_SIZE), Ok(20));
            assert_eq!(
                (counted(&memory), memory.lru_count(LruList::ActiveAnon)),
                ([1, 0, 0], 10)
            );
            assert_eq!(memory.load(mm, at + 22 * PAGE_SIZE), Ok(22));
            assert_eq!(
                (counted(&memory), memory.lru_count(LruList::ActiveAnon)),
                ([2, 1, 0], 11)
            );
            // That activation is one more step of the clock, and one more active page.
            assert_eq!(memory.load(mm, at + 23 * PAGE_SIZE), Ok(23));
            assert_eq!(counted(&memory), [3, 2, 0]);
            memory.check_invariants();
            memory.mmput(mm, 1);
            assert_eq!(memory.swap_inuse_pages(), 0);
        }
    }

    /// D28: a page that had been active before it was deactivated and evicted is so again, and counted.
    #[test]
    fn what_was_active_is_restored() {
        let (memory, mm, at) = program(map_flag::PRIVATE, 10);
        memory.shrink_active_list(2);
        out(&memory, mm, at, 0..2);
        assert_eq!(memory.load(mm, at), Ok(0));
        assert_eq!(counted(&memory), [1, 1, 1]);
        assert!(memory.workingset.refaulted());
        memory.workingset.snapshot_refaults();
        assert!(!memory.workingset.refaulted());
    }

    /// D28: slots that were read ahead know their shadows, too; a slot that was free in between does not.
    #[test]
    fn shadows_go_with_their_slots() {
        let (memory, mm, at) = program(map_flag::PRIVATE, 20);
        memory.set_page_cluster(3);
        out(&memory, mm, at, 32..48);
        for page in 32..48 {
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page));
        }
        assert!(memory.platform.counter(Vmstat::SwapRa) > 0);
        assert_eq!(counted(&memory)[0], 16);
        out(&memory, mm, at, 50..54);
        memory.do_munmap(mm, at, 64 * PAGE_SIZE).unwrap();
        memory.check_invariants();
        assert_eq!(memory.swap_inuse_pages(), 0);
        for slot in 1..256 {
            assert_eq!(memory.swap_shadow(crate::swap::SwapSlot(slot)), 0);
        }
    }

    /// D28: a fork shares slots with their shadows; each of both that comes back first is the refault.
    #[test]
    fn one_refault_for_all_who_share() {
        let (memory, mm, at) = program(map_flag::PRIVATE, 30);
        out(&memory, mm, at, 40..44);
        let child = memory.dup_mmap(mm, 2).unwrap();
        for page in 40..44 {
            assert_eq!(memory.load(child, at + page * PAGE_SIZE), Ok(page));
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page));
        }
        assert_eq!(counted(&memory)[0], 4);
        memory.mmput(child, 2);
        memory.check_invariants();
    }

    /// D28: the clock wraps in a shadow.
    #[test]
    fn the_clock_wraps() {
        let (memory, mm, at) = program(map_flag::PRIVATE, 10);
        memory.workingset.nonresident_age.set(CLOCK_MASK);
        out(&memory, mm, at, 20..24);
        assert_eq!(memory.load(mm, at + 20 * PAGE_SIZE), Ok(20));
        assert_eq!(counted(&memory), [1, 1, 0]);
    }
}
