//! Ranges of frames that a zone was given, and how far each has been used.
//!
//! Source: Linux, mm/mm_init.c (`deferred_grow_zone`, `first_deferred_pfn`).

use super::{MAX_ORDER_NR_PAGES, Zone};
use crate::sync::Word32;

/// Ranges that a zone can be given. A PC's memory has two holes below 4 GiB, and the kernel sits in one of the parts.
pub const RANGES_MAX: usize = 8;

/// Frames `[start, end)`, of which `[next, end)` were never handed out. An unused one is empty.
///
/// # Invariants
/// `start <= next <= end`; `next` is `start`, `end` or a multiple of [`MAX_ORDER_NR_PAGES`].
#[derive(Debug)]
pub(super) struct Range {
    pub(super) start: Word32,
    next: Word32,
    pub(super) end: Word32,
}

impl Range {
    pub(super) const fn new() -> Self {
        Self {
            start: Word32::new(0),
            next: Word32::new(0),
            end: Word32::new(0),
        }
    }

    /// The frames never handed out, `[start, end)`.
    pub(super) fn deferred(&self) -> (u32, u32) {
        (self.next.get(), self.end.get())
    }

    /// Notes that all its frames are in use.
    pub(super) fn hand_out(&self) {
        self.next.set(self.end.get());
    }

    /// Whether the `pages` frames from `pfn` on are in the range.
    #[inline]
    pub(super) fn contains(&self, pfn: u32, pages: u32) -> bool {
        self.start.get() <= pfn && pfn + pages <= self.end.get()
    }
}

impl Zone {
    /// Notes a range, all of it deferred.
    pub(super) fn defer_range(&self, start: u32, end: u32) {
        for range in &self.ranges {
            let (other_start, other_end) = (range.start.get(), range.end.get());
            if other_end == 0 {
                range.start.set(start);
                range.next.set(start);
                range.end.set(end);
                return;
            }
            let apart = end <= other_start || other_end <= start;
            assert!(
                apart,
                "frames [{start}, {end}) overlap [{other_start}, {other_end}), given before"
            );
        }
        panic!("frames [{start}, {end}) are one range too many: join ranges, {RANGES_MAX} can be kept");
    }

    /// Takes the next deferred frames, at most a block of the largest order and not across the border of one.
    pub(super) fn next_deferred(&self) -> Option<(u32, u32)> {
        let range = self.ranges.iter().find(|range| range.next.get() != range.end.get())?;
        let (start, end) = range.deferred();
        // No overflow: frame numbers are indices of the memory map, of 40 bytes an entry.
        let end = end.min((start | (MAX_ORDER_NR_PAGES - 1)) + 1);
        range.next.set(end);
        Some((start, end))
    }

    /// The range that a frame is in.
    #[inline]
    pub(super) fn range_of(&self, pfn: u32) -> &Range {
        match self.ranges.iter().find(|range| range.contains(pfn, 1)) {
            Some(range) => range,
            None => panic!("frame {pfn} was never given to the zone"),
        }
    }

    /// The lowest frame of the zone, and the one past its highest; equal without frames.
    pub(crate) fn span(&self) -> (u32, u32) {
        let given = || self.ranges.iter().filter(|range| range.end.get() != 0);
        let start = given().map(|range| range.start.get()).min().unwrap_or(0);
        (start, given().map(|range| range.end.get()).max().unwrap_or(start))
    }

    /// Whether a frame can be in use, as far as the zone knows without its memory map entry.
    pub(crate) fn was_handed_out(&self, pfn: u32) -> bool {
        let (batch_start, batch_end) = self.batch();
        let handed_out = |range: &Range| range.start.get() <= pfn && pfn < range.next.get();
        self.ranges.iter().any(handed_out) && !(batch_start <= pfn && pfn < batch_end)
    }
}
