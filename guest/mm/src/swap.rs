//! Swap: the slots of the swap areas, who uses them, and the swap cache.
//!
//! The swap table has a 32-bit entry for each slot: a byte that says how many page-table entries or objects mean it and whether
//! the swap cache holds its content, and above it the frame that does. A slot is free when its entry is 0.
//!
//! The swap cache holds the frame of a slot while it is written, and after it was read until its slot is given up, so that a page
//! stays reachable at every instant and is read once however many want it.
//!
//! | file | what it is |
//! |---|---|
//! | `area.rs` | areas come and go, and what is known about them |
//! | `slot.rs` | numbers of slots, the swap table |
//! | `alloc.rs` | which slot is taken |
//! | `count.rs` | who means a slot |
//! | `cache.rs` | the frames that hold slots' contents |
//! | `writeout.rs` | pages go to the disk |
//! | `io.rs` | requests that the disk has yet to answer |
//! | `off.rs` | `swapoff` |
//! | `readahead.rs` | reading more than is asked for |
//! | `shadow.rs` | what is remembered of pages whose frames are gone |
//!
//! Source: Linux, mm/swapfile.c, mm/swap_state.c, include/linux/swap.h. Rules F13, F16, F17, F18, F19, F22, F25, F28. Differs from Linux:
//! slots are accounted exactly, not in batches per CPU. The swap cache is part of the table, as in Linux since 6.18, not an XArray beside it.

mod alloc;
mod area;
mod cache;
mod check;
mod count;
mod io;
mod off;
mod readahead;
mod shadow;
mod slot;
#[cfg(test)]
mod tests;
mod writeout;

pub use area::{AreaConfig, AreaStat};
pub use io::{IN_FLIGHT_MAX, PAGE_QUEUES};
pub(crate) use slot::SWAP_MAP_SHMEM;
pub use slot::{MAX_SWAPFILES, SLOTS_MAX, SwapSlot};
pub(crate) use writeout::Batch;

use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::{Word, Word32};
use crate::xarray::XArray;

/// Slots written by one request at most. Source: Linux `SWAP_CLUSTER_MAX`.
pub const CLUSTER_MAX: usize = 32;

/// All that is known about swap.
#[derive(Debug)]
pub(crate) struct Swap {
    areas: [area::SwapInfo; MAX_SWAPFILES],
    /// Areas that slots are taken from, the first to be taken from first: number + 1, then zeroes. Source: Linux `swap_avail_head`.
    avail: [Word32; MAX_SWAPFILES],
    /// Priority of the next area that has none of its own, as a positive number. Source: Linux `least_priority`.
    least_priority: Word32,
    /// Slots that may be given out, in use or not, in pages.
    total: Word,
    /// Of them, those that are free.
    free: Word,
    /// The slots to take next: while they are free, those from here ..
    next: Word32,
    /// .. to here, which are of one cluster.
    end: Word32,
    in_flight: io::InFlight,
    readahead: readahead::State,
    /// Frames with the numbers of the swap table's leaves.
    roots: [Word32; slot::ROOTS],
    /// How often the count of a slot has overflowed its byte: an XArray of values by slot.
    continued: [Word; 2],
    /// First of the objects that may have pages in swap.
    inodes: Word,
    /// First of all address spaces.
    mms: Word,
}

impl Swap {
    pub(crate) const fn new() -> Self {
        Self {
            areas: [const { area::SwapInfo::new() }; MAX_SWAPFILES],
            avail: [const { Word32::new(0) }; MAX_SWAPFILES],
            least_priority: Word32::new(1),
            total: Word::new(0),
            free: Word::new(0),
            next: Word32::new(0),
            end: Word32::new(0),
            in_flight: io::InFlight::new(),
            readahead: readahead::State::new(),
            roots: [const { Word32::new(0) }; slot::ROOTS],
            continued: [const { Word::new(0) }; 2],
            inodes: Word::new(0),
            mms: Word::new(0),
        }
    }

    pub(crate) fn continued(&self) -> XArray<'_> {
        XArray::new(&self.continued[0], &self.continued[1])
    }

    /// What is known about a slot's area.
    #[inline(always)]
    fn area_of(&self, slot: SwapSlot) -> &area::SwapInfo {
        &self.areas[slot.area() % MAX_SWAPFILES]
    }
}

impl<P: Platform> Memory<P> {
    /// Slots that can be used, in pages: those of all areas without their headers, bad slots, and those whose write failed.
    pub fn total_swap_pages(&self) -> u64 {
        self.swap.total.get()
    }

    /// Free slots, in pages.
    pub fn nr_swap_pages(&self) -> u64 {
        self.swap.free.get()
    }

    /// Slots in use, in pages, those of areas that are being left, too.
    pub fn swap_inuse_pages(&self) -> u64 {
        self.swap.areas.iter().map(|area| u64::from(area.inuse.get())).sum()
    }

    /// Whether a slot is free.
    #[inline(always)]
    pub(crate) fn swap_has_room(&self) -> bool {
        self.swap.free.get() != 0
    }

    /// Whether so much is in use that slots are only kept for pages that need one. Source: Linux `vm_swap_full`. Rule F18.
    #[inline]
    pub(crate) fn vm_swap_full(&self) -> bool {
        self.swap.free.get() * 2 < self.swap.total.get()
    }
}

/// As `Result`s of the manager go: a page that is lost is an error of the disk.
#[inline]
pub(crate) fn readable(entry: u64) -> Result<SwapSlot, Error> {
    SwapSlot::of_entry(entry).ok_or(Error::Eio)
}
