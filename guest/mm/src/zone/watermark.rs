//! Watermarks: how much must stay free for whom.
//!
//! Free memory may fall to the low watermark before anybody does anything; then kswapd is woken, and reclaims up to the high one.
//! Allocations go on down to the min watermark. Below it is the reserve of those who cannot wait, and, in the end, of reclaim itself.
//!
//! A request that could use a higher zone must leave more in a lower one, its `lowmem_reserve`: else programs' pages would fill the low
//! zones first that devices depend on.
//!
//! Source: Linux, mm/page_alloc.c (`calculate_min_free_kbytes`, `__setup_per_zone_wmarks`, `setup_per_zone_lowmem_reserve`,
//! `__zone_watermark_ok`). Rules E2, E3, E4.

use super::{MAX_ORDER, MigrateType, Zone};

/// `vm.min_free_kbytes` at least and at most, in KiB. Rule E2.
const MIN_FREE_KBYTES: (u64, u64) = (128, 262_144);
/// Distance between watermarks at least, in ten-thousandths of the zone. Source: Linux `vm.watermark_scale_factor`.
pub(crate) const WATERMARK_SCALE_FACTOR: u64 = 10;

/// Kinds of zones, from the lowest addresses up. Rule E1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum ZoneType {
    /// Below 16 MiB: ISA devices reach it.
    Dma = 0,
    /// Below 4 GiB: devices with 32 address bits reach it.
    Dma32 = 1,
    /// All the rest.
    Normal = 2,
    /// Only what can be moved, so that the memory can be taken away.
    Movable = 3,
}

/// Number of kinds of zones.
pub const MAX_NR_ZONES: usize = 4;

impl ZoneType {
    /// All kinds, from the lowest up.
    pub const ALL: [Self; MAX_NR_ZONES] = [Self::Dma, Self::Dma32, Self::Normal, Self::Movable];

    /// One frame is kept for so many of the zones above, 0: none. Source: Linux `sysctl_lowmem_reserve_ratio`.
    const fn lowmem_reserve_ratio(self) -> u64 {
        match self {
            Self::Dma | Self::Dma32 => 256,
            Self::Normal => 32,
            Self::Movable => 0,
        }
    }
}

/// How much free memory an allocation must leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watermark {
    /// Below it only reserves are left.
    Min,
    /// Below it kswapd is woken.
    Low,
    /// Above it kswapd sleeps.
    High,
}

/// Who may go below a watermark, and how far. Bits of `alloc_flags`; Linux's `ALLOC_*`. Rule E3.
pub mod alloc {
    /// Half of the mark will do (`__GFP_HIGH`).
    pub const HIGH: u32 = 1 << 0;
    /// Three quarters of the mark will do (real-time tasks, atomic allocations).
    pub const HARDER: u32 = 1 << 1;
    /// Half of the mark will do (a task that the out-of-memory killer has chosen); goes beyond `HARDER`.
    pub const OOM: u32 = 1 << 2;
    /// No mark.
    pub const NO_WATERMARKS: u32 = 1 << 3;
    /// Other types' pageblocks are not broken up. Rule E8.
    pub const NOFRAGMENT: u32 = 1 << 4;
    /// Zones of nodes outside the task's cpuset are left alone. Rule E10 (1).
    pub const CPUSET: u32 = 1 << 5;
    /// kswapd may be woken.
    pub const KSWAPD: u32 = 1 << 6;
    /// One thing of many frames: only the entry of the first is made what it should be ([`crate::huge`]).
    pub const COMPOUND: u32 = 1 << 7;
}

/// `vm.min_free_kbytes` of a machine of so many pages: the square root of 16 x KiB, rounded down, within bounds. Rule E2.
pub(crate) fn min_free_kbytes_of(managed: u64) -> u64 {
    let (least, most) = MIN_FREE_KBYTES;
    (managed * 4 * 16).isqrt().clamp(least, most)
}

/// The three watermarks, in pages, of a zone of `managed` pages that is all of memory.
///
/// Every division and the square root round down, as Linux's do:
/// - min = `min_free_kbytes` / 4;
/// - low = min + step, high = low + step, step = max(min / 4, managed x 10 / 10000).
pub(super) fn watermarks_of(managed: u64) -> [u64; 3] {
    watermarks_above(min_free_kbytes_of(managed) / 4, managed)
}

/// Sets the watermarks and reserves of zones that together are all of memory: each has its share of `min_free_kbytes` by its size, and keeps a frame for
/// every so many of the same node's zones above it. `zones` are nodes of zones, from the lowest up. Rules E2, E4.
pub fn watermarks_of_zones(nodes: &[&[(ZoneType, Zone)]]) {
    let managed: u64 = nodes
        .iter()
        .flat_map(|zones| zones.iter())
        .map(|(_, zone)| zone.managed())
        .sum();
    let pages_min = min_free_kbytes_of(managed) / 4;
    for zones in nodes {
        for (at, (kind, zone)) in zones.iter().enumerate() {
            let share = pages_min * zone.managed() / managed.max(1);
            zone.set_watermarks(watermarks_above(share, zone.managed()));
            let mut above = 0;
            for (higher, other) in &zones[at + 1..] {
                above += other.managed();
                let ratio = kind.lowmem_reserve_ratio();
                let empty = zone.managed() == 0 || ratio == 0;
                zone.lowmem_reserve[*higher as usize].set(if empty { 0 } else { above / ratio });
            }
        }
    }
}

/// The watermarks above a given lowest one.
pub(super) fn watermarks_above(min: u64, managed: u64) -> [u64; 3] {
    watermarks_apart(min, managed, WATERMARK_SCALE_FACTOR)
}

fn watermarks_apart(min: u64, managed: u64, scale_factor: u64) -> [u64; 3] {
    let step = (min / 4).max(managed * scale_factor / 10_000);
    [min, min + step, min + 2 * step]
}

impl Zone {
    /// A watermark, in pages.
    #[inline(always)]
    pub fn watermark(&self, mark: Watermark) -> u64 {
        self.watermarks[mark as usize].get()
    }

    /// Sets the watermarks by `vm.min_free_kbytes` and `vm.watermark_scale_factor`. Source: Linux `setup_per_zone_wmarks`.
    pub(crate) fn setup_watermarks(&self, min_free_kib: u64, scale_factor: u64) {
        self.set_watermarks(watermarks_apart(min_free_kib / 4, self.managed(), scale_factor));
    }

    /// Sets the watermarks, in pages: min, low, high.
    pub(super) fn set_watermarks(&self, marks: [u64; 3]) {
        for (mark, value) in self.watermarks.iter().zip(marks) {
            mark.set(value);
        }
    }

    /// What a request that could use zones up to `highest` must leave here beside the watermark, in pages. Rule E4.
    #[inline(always)]
    pub fn lowmem_reserve(&self, highest: ZoneType) -> u64 {
        self.lowmem_reserve[highest as usize].get()
    }

    /// Whether free memory would stay above `mark` if a block of `2^order` frames were taken, and there is one. Rule E3.
    #[inline(always)]
    pub fn watermark_ok(&self, order: u32, mark: Watermark) -> bool {
        if order == 0 {
            return self.free_pages_count() > self.watermark(mark);
        }
        self.watermark_ok_flags(order, mark, 0)
    }

    /// As [`Zone::watermark_ok`], for an allocation with [`alloc`] flags. Rule E3.
    pub fn watermark_ok_flags(&self, order: u32, mark: Watermark, flags: u32) -> bool {
        self.watermark_ok_with(self.free_pages_count(), order, mark, ZoneType::Dma, flags)
    }

    /// As [`Zone::watermark_ok_flags`], for a request that could use zones up to `highest`, if `free` frames were free. Rules E3, E4.
    pub fn watermark_ok_with(&self, free: u64, order: u32, mark: Watermark, highest: ZoneType, flags: u32) -> bool {
        if flags & alloc::NO_WATERMARKS != 0 {
            return true;
        }
        if order > MAX_ORDER {
            return false;
        }
        let mut least = self.watermark(mark);
        if flags & alloc::HIGH != 0 {
            least -= least / 2;
        }
        let hurry = flags & (alloc::HARDER | alloc::OOM) != 0;
        if flags & alloc::OOM != 0 {
            least -= least / 2;
        } else if hurry {
            least -= least / 4;
        }
        let unusable = ((1 << order) - 1) + if hurry { 0 } else { self.reserved_highatomic() };
        free > least + unusable + self.lowmem_reserve(highest) && (order == 0 || self.has_block(order, hurry))
    }

    /// Whether a block of `2^order` frames is free outside the per-CPU lists, and not reserved for allocations in a `hurry`.
    fn has_block(&self, order: u32, hurry: bool) -> bool {
        let holds = |(start, end): (u32, u32)| start.next_multiple_of(1 << order).saturating_add(1 << order) <= end;
        let usable = |kind: &MigrateType| hurry || *kind != MigrateType::HighAtomic;
        self.free_area[order as usize..].iter().any(|area| {
            let mut kinds = MigrateType::ALL.into_iter().filter(usable);
            kinds.any(|kind| area.first(kind).is_some())
        }) || holds(self.batch())
            || self.ranges.iter().any(|range| holds(range.deferred()))
    }
}
