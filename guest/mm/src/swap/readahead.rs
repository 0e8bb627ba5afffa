//! Read-ahead: with a slot, its neighbours that are in use are read in the same request.
//!
//! The window is an aligned block of slots around the one that is wanted. It grows while what was read ahead is used, and shrinks to
//! nothing while faults jump about. Neighbours only get frames that are free anyway, and only those in one run with the wanted slot
//! are read: one request, no holes.
//!
//! Source: Linux, mm/swap_state.c (`swapin_nr_pages`, `swap_cluster_readahead`). Rule F21.

use super::{CLUSTER_MAX, SwapSlot};
use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, Page, flag};
use crate::platform::{Direction, Io, Platform, Stage, Vmstat};
use crate::shmem::Sgp;
use crate::sync::Word32;
use crate::zone::Watermark;

/// Largest `page_cluster`: a window of [`CLUSTER_MAX`] slots.
const PAGE_CLUSTER_MAX: u32 = CLUSTER_MAX.trailing_zeros();

/// What decides about the next window.
#[derive(Debug)]
pub(super) struct State {
    /// log2 of the largest window, in slots; 0: no read-ahead. Source: Linux `page_cluster`.
    page_cluster: Word32,
    /// Pages read ahead that were used since the last window.
    hits: Word32,
    /// The slot that the last window was for, and its size.
    prev_slot: Word32,
    prev_window: Word32,
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            page_cluster: Word32::new(0),
            hits: Word32::new(0),
            prev_slot: Word32::new(0),
            prev_window: Word32::new(0),
        }
    }
}

/// Slots to read, given how the last window did. Source: Linux `__swapin_nr_pages`.
fn next_window(prev_slot: u32, slot: u32, hits: u32, max: u32, prev_window: u32) -> u32 {
    let wanted = match hits {
        // The first of a sequence, in either direction, is worth a second page.
        0 if slot.abs_diff(prev_slot) == 1 => 2,
        0 => 1,
        _ => (hits + 2).next_power_of_two().max(4),
    };
    // Not too fast down.
    wanted.min(max).max(prev_window / 2)
}

impl<P: Platform> Memory<P> {
    /// Sets log2 of the most slots that are read together, 0 to [`PAGE_CLUSTER_MAX`]; larger values mean that. Source: Linux
    /// `vm.page-cluster`.
    pub fn set_page_cluster(&self, page_cluster: u32) {
        self.swap.readahead.page_cluster.set(page_cluster.min(PAGE_CLUSTER_MAX));
    }

    /// `vm.page-cluster`.
    pub fn page_cluster(&self) -> u32 {
        self.swap.readahead.page_cluster.get()
    }

    /// Slots of the window around `slot`, a power of two.
    #[inline]
    pub(super) fn swapin_nr_pages(&self, slot: SwapSlot) -> u32 {
        match self.swap.readahead.page_cluster.get() {
            0 => 1,
            page_cluster => self.new_window(slot, 1 << page_cluster),
        }
    }

    #[inline(never)]
    fn new_window(&self, slot: SwapSlot, max: u32) -> u32 {
        let state = &self.swap.readahead;
        let window = next_window(
            state.prev_slot.get(),
            slot.0,
            state.hits.get(),
            max,
            state.prev_window.get(),
        );
        state.hits.set(0);
        state.prev_slot.set(slot.0);
        state.prev_window.set(window);
        window
    }

    /// A page that was read ahead is used.
    pub(super) fn readahead_hit(&self, page: &Page) {
        page.clear_flags(flag::READAHEAD);
        self.swap.readahead.hits.add(1);
        self.count(Vmstat::SwapRaHit);
    }

    /// A frame in the swap cache for a slot that is read ahead, if one is free.
    fn readahead_frame(&self, slot: SwapSlot) -> Option<Pfn> {
        let entry = self.slot_entry(slot);
        if !entry.only_on_disk() || !self.zone.watermark_ok(0, Watermark::Low) {
            return None;
        }
        let pfn = self.alloc_page_nowait()?;
        let page = self.page(pfn);
        page.begin([Event::Lock], flag::READAHEAD);
        page.mapping.set(0);
        self.workingset_refault(pfn, entry.shadow());
        self.enter_swap_cache(pfn, slot, entry);
        Some(pfn)
    }

    /// As [`Memory::swapin`] for a slot that is not in the swap cache, with those around it.
    #[inline(never)]
    pub(super) fn swapin_readahead(&self, slot: SwapSlot, window: u32, sgp: Sgp) -> Result<(Pfn, bool), Error> {
        let target = self.alloc_page().ok_or(Error::Enomem)?;
        self.platform.stage(Stage::AllocPages, u64::from(target.0));
        let entry = self.slot_entry(slot);
        self.page(target).step(Event::Lock);
        self.workingset_refault(target, entry.shadow());
        self.enter_swap_cache(target, slot, entry);
        // Windows are aligned in their areas: areas begin at a multiple of the largest one.
        let start = slot.0 & !(window - 1);
        let area_end = SwapSlot::new(slot.area(), 0).0 + self.swap.area_of(slot).max.get();
        let end = (start + window).min(area_end);
        let mut frames = [target; CLUSTER_MAX];
        let (mut first, mut last) = (slot.0, slot.0 + 1);
        while last < end
            && let Some(pfn) = self.readahead_frame(SwapSlot(last))
        {
            frames[(last - start) as usize] = pfn;
            last += 1;
        }
        while first > start
            && let Some(pfn) = self.readahead_frame(SwapSlot(first - 1))
        {
            first -= 1;
            frames[(first - start) as usize] = pfn;
        }
        let run = &frames[(first - start) as usize..(last - start) as usize];
        let target_at = (slot.0 - first) as usize;
        if self.swap.in_flight.is_beside() {
            return self.read_beside(SwapSlot(first), run, target_at, sgp);
        }
        self.platform.stage(Stage::SwapReadStart, u64::from(first));
        let read = self.swap_read(SwapSlot(first), run);
        self.platform.stage(Stage::SwapReadEnd, u64::from(first));
        if read.is_err() {
            for &pfn in run {
                self.page(pfn).step(Event::Unlock);
                self.delete_from_swap_cache(pfn);
                self.put_page(pfn);
                self.put_page(pfn);
            }
            // Only the wanted page must be readable.
            return self.swapin_alone(slot, sgp);
        }
        self.platform.count(Vmstat::Pswpin, run.len() as u64);
        self.platform.count(Vmstat::SwapRa, run.len() as u64 - 1);
        for &pfn in run {
            self.page(pfn).steps([Event::Uptodate, Event::Unlock]);
            self.lru_add(pfn);
            if pfn != target {
                self.put_page(pfn);
            }
        }
        Ok((target, true))
    }

    /// Reads the wanted page, `run[target_at]`, and the others of its run, waiting for none but it.
    fn read_beside(&self, first: SwapSlot, run: &[Pfn], target_at: usize, sgp: Sgp) -> Result<(Pfn, bool), Error> {
        let (slot, target) = (SwapSlot(first.0 + target_at as u32), run[target_at]);
        self.platform.stage(Stage::SwapReadStart, u64::from(slot.0));
        let begun = self.begin_read(slot, target, sgp);
        self.read_ahead(SwapSlot(slot.0 + 1), &run[target_at + 1..]);
        self.read_ahead(first, &run[..target_at]);
        let read = self.finish_read(begun);
        self.platform.stage(Stage::SwapReadEnd, u64::from(slot.0));
        let read = read?;
        if read.is_err() {
            self.page(target).step(Event::Unlock);
            self.delete_from_swap_cache(target);
            self.put_page(target);
            self.put_page(target);
            return Err(Error::Eio);
        }
        self.count(Vmstat::Pswpin);
        self.page(target).steps([Event::Uptodate, Event::Unlock]);
        self.lru_add(target);
        Ok((target, true))
    }

    /// Begins to read pages for which there are frames in the swap cache already.
    fn read_ahead(&self, first: SwapSlot, run: &[Pfn]) {
        if run.is_empty() {
            return;
        }
        self.swap_make_room();
        match self.platform.swap_begin(Direction::Read, first, run) {
            Io::Pending(number) => self.read_is_pending(number, first, run),
            Io::Done(result) => {
                for slot in (first.0..).map(SwapSlot).take(run.len()) {
                    self.read_done(slot, result, true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::next_window;

    /// F21: what Linux's function answers.
    #[test]
    fn windows_grow_with_hits_and_shrink_by_halves() {
        assert_eq!(next_window(10, 50, 0, 8, 0), 1, "a jump");
        assert_eq!(next_window(10, 11, 0, 8, 0), 2, "the next one");
        assert_eq!(next_window(10, 9, 0, 8, 0), 2, "the one before");
        assert_eq!(next_window(10, 12, 1, 8, 2), 4);
        assert_eq!(next_window(10, 16, 3, 8, 4), 8);
        assert_eq!(next_window(10, 24, 7, 8, 8), 8, "no more than the most");
        assert_eq!(next_window(10, 50, 0, 8, 8), 4, "half");
        assert_eq!(next_window(10, 90, 0, 8, 2), 1);
    }
}
