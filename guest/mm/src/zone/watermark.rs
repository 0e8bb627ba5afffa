//! Watermarks: how much must stay free for whom.
//!
//! Source: Linux, mm/page_alloc.c (`calculate_min_free_kbytes`, `__setup_per_zone_wmarks`, `__zone_watermark_ok`). Rules E2, E3.
//! Differs from Linux: one zone, so it has all of `min_free_kbytes` and there is no `lowmem_reserve`.

use super::{MAX_ORDER, Zone};

/// `vm.min_free_kbytes` at least and at most, in KiB. Rule E2.
const MIN_FREE_KBYTES: (u64, u64) = (128, 262_144);
/// Distance between watermarks at least, in ten-thousandths of the zone. Source: Linux `vm.watermark_scale_factor`.
const WATERMARK_SCALE_FACTOR: u64 = 10;

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
}

/// The three watermarks, in pages, of a zone of `managed` pages that is all of memory.
///
/// Every division and the square root round down, as Linux's do:
/// - `min_free_kbytes` = sqrt(16 x KiB of memory), clamped;
/// - min = `min_free_kbytes` / 4;
/// - low = min + step, high = low + step, step = max(min / 4, managed x 10 / 10000).
pub(super) fn watermarks_of(managed: u64) -> [u64; 3] {
    let (least, most) = MIN_FREE_KBYTES;
    let min_free_kbytes = (managed * 4 * 16).isqrt().clamp(least, most);
    watermarks_above(min_free_kbytes / 4, managed)
}

/// The watermarks above a given lowest one.
pub(super) fn watermarks_above(min: u64, managed: u64) -> [u64; 3] {
    let step = (min / 4).max(managed * WATERMARK_SCALE_FACTOR / 10_000);
    [min, min + step, min + 2 * step]
}

impl Zone {
    /// A watermark, in pages.
    #[inline(always)]
    pub fn watermark(&self, mark: Watermark) -> u64 {
        self.watermarks[mark as usize].get()
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
    pub fn watermark_ok_flags(&self, order: u32, mark: Watermark, alloc_flags: u32) -> bool {
        if alloc_flags & alloc::NO_WATERMARKS != 0 {
            return true;
        }
        if order > MAX_ORDER {
            return false;
        }
        let mut least = self.watermark(mark);
        if alloc_flags & alloc::HIGH != 0 {
            least -= least / 2;
        }
        if alloc_flags & alloc::OOM != 0 {
            least -= least / 2;
        } else if alloc_flags & alloc::HARDER != 0 {
            least -= least / 4;
        }
        self.free_pages_count() > least + ((1 << order) - 1) && (order == 0 || self.has_block(order))
    }

    /// Whether a block of `2^order` frames is free outside the per-CPU list.
    fn has_block(&self, order: u32) -> bool {
        let holds = |(start, end): (u32, u32)| start.next_multiple_of(1 << order).saturating_add(1 << order) <= end;
        self.free_area[order as usize..]
            .iter()
            .any(|area| area.first().is_some())
            || holds(self.batch())
            || self.ranges.iter().any(|range| holds(range.deferred()))
    }
}
