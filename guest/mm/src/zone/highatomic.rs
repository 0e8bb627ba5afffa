//! Pageblocks kept for blocks of several frames that somebody needs at once.
//!
//! Whoever cannot wait cannot compact either. So once such an allocation of more than one frame succeeded, the pageblock it came from is
//! reserved for others like it, until that is a hundredth of the zone and a pageblock; when others are about to fail for want of memory, it is given up again.
//!
//! Source: Linux, mm/page_alloc.c (`reserve_highatomic_pageblock`, `unreserve_highatomic_pageblock`). Rules E3, E10 (6), E14.

use super::{MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Zone};
use crate::addr::Pfn;
use crate::page::Page;

impl Zone {
    /// Reserves the pageblock of a block that was allocated in a hurry, unless a hundredth of the zone and a pageblock are reserved
    /// already. A block of two pageblocks is not reserved: freed as a whole, it would go to the list of its lower half's type, and the
    /// upper half be out of reach without being counted.
    pub fn reserve_highatomic(&self, memmap: &[Page], pfn: Pfn, order: u32) {
        if order > PAGEBLOCK_ORDER {
            return;
        }
        let _guard = self.lock.lock();
        let most = self.managed.get() / 100 + u64::from(PAGEBLOCK_NR_PAGES);
        let kind = self.pageblock_type(pfn.0);
        if !self.groups_by_mobility() || self.reserved_highatomic.get() >= most || kind == MigrateType::HighAtomic {
            return;
        }
        self.retype_pageblock(memmap, pfn.0, MigrateType::HighAtomic);
        self.reserved_highatomic.add(u64::from(PAGEBLOCK_NR_PAGES));
    }

    /// Gives a reserved pageblock that has a free block to a type. `false` when there is none.
    pub fn unreserve_highatomic(&self, memmap: &[Page], to: MigrateType) -> bool {
        let _guard = self.lock.lock();
        let first = |(area, order): (&super::buddy::FreeArea, u32)| Some((area.first(MigrateType::HighAtomic)?, order));
        let Some((pfn, order)) = self.free_area.iter().zip(0..).find_map(first) else {
            return false;
        };
        // A block of two pageblocks may be reserved in half.
        let pageblocks = (pfn..pfn + (1 << order)).step_by(PAGEBLOCK_NR_PAGES as usize);
        let reserved = pageblocks.filter(|at| self.pageblock_type(*at) == MigrateType::HighAtomic);
        self.reserved_highatomic
            .sub(u64::from(PAGEBLOCK_NR_PAGES) * reserved.count() as u64);
        if order > PAGEBLOCK_ORDER {
            self.retype_block(memmap, pfn, order, self.grouped(to));
        } else {
            self.retype_pageblock(memmap, pfn, self.grouped(to));
        }
        true
    }

    /// Frames of the reserved pageblocks, free or not, in pages.
    #[inline(always)]
    pub fn reserved_highatomic(&self) -> u64 {
        self.reserved_highatomic.get()
    }
}
