//! What memory is used for, in numbers: what `/proc/meminfo` and its neighbours show. Source: Linux, mm/show_mem.c (`si_meminfo`,
//! `si_mem_available`), fs/proc/meminfo.c; proc_meminfo(5). Rules I4, I7, I9.

use crate::addr::Pfn;
use crate::lru::LruList;
use crate::memory::Memory;
use crate::platform::{Platform, Vmstat};
use crate::zone::{MAX_ORDER, Watermark};

/// The one zone that has frames, as `/proc/zoneinfo` and `/proc/buddyinfo` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneInfo {
    /// Free frames.
    pub free: u64,
    /// Watermarks: min, low, high, in pages.
    pub watermarks: [u64; 3],
    /// First frame, and pages up to the end of the last.
    pub span: (u64, u64),
    /// Frames that the manager was given.
    pub managed: u64,
    /// Free blocks of each order. Frames that were freed lately, or never used, count as blocks of their own or as the largest there are.
    pub blocks: [u64; MAX_ORDER as usize + 1],
    /// Frames on the per-CPU lists.
    pub per_cpu: u64,
}

impl<P: Platform> Memory<P> {
    /// A counter or level of `/proc/vmstat`.
    pub fn vmstat(&self, item: Vmstat) -> u64 {
        self.platform.counter(item)
    }

    /// Pages that can be had without swapping: what is free beyond the high watermark. Every page that reclaim could take needs a slot in
    /// swap, so none counts. Source: Linux `si_mem_available`.
    pub fn si_mem_available(&self) -> u64 {
        self.nr_free_pages()
            .saturating_sub(self.zone.watermark(Watermark::High))
    }

    /// Pages kept in memory by `mlock`: those on the unevictable list that their object does not keep there.
    pub fn nr_mlock(&self) -> u64 {
        let mut pages = 0;
        let mut next = self.lru_tail(LruList::Unevictable);
        while let Some(pfn) = next {
            pages += u64::from(!self.page_is_locked_in(pfn));
            let prev = self.page(pfn).prev.get();
            next = (prev != 0).then_some(Pfn(prev));
        }
        pages
    }

    /// The zone in numbers.
    pub fn zone_info(&self) -> ZoneInfo {
        let zone = &self.zone;
        let (start, end) = zone.span();
        let mut blocks: [u64; MAX_ORDER as usize + 1] =
            core::array::from_fn(|order| u64::from(zone.free_blocks(order as u32)));
        let listed: u64 = blocks.iter().enumerate().map(|(order, blocks)| blocks << order).sum();
        let per_cpu = zone.pcp_count();
        // Frames that were never handed out lie in a row.
        let mut rest = zone.free_pages_count().saturating_sub(listed + per_cpu);
        for (order, blocks) in blocks.iter_mut().enumerate().rev() {
            *blocks += rest >> order;
            rest &= (1 << order) - 1;
        }
        ZoneInfo {
            free: zone.free_pages_count(),
            watermarks: [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark)),
            span: (u64::from(start), u64::from(end - start)),
            managed: zone.managed(),
            blocks,
            per_cpu,
        }
    }
}
