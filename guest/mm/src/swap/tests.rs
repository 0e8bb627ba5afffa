//! Areas, slots, and requests under way.

mod areas;
mod beside;
mod lost;
mod slots;

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::mmap::{map_flag, prot};
use crate::swap::SwapSlot;
use crate::testing::FakeMachine;
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PAGEOUT: i32 = 21;

/// A mapping of `pages` pages with their numbers in them.
fn mapping(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, kind: u64) -> u64 {
    let flags = kind | map_flag::ANONYMOUS;
    let at = memory.do_mmap(mm, 0, pages * PAGE_SIZE, RW, flags, None, 0).unwrap();
    for page in 0..pages {
        memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap();
    }
    at
}

fn page_out(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64) {
    memory.do_madvise(mm, at, pages * PAGE_SIZE, PAGEOUT).unwrap();
}

/// Makes holes of pages of objects. `MADV_REMOVE`.
fn remove(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64) {
    memory.do_madvise(mm, at, pages * PAGE_SIZE, 9).unwrap();
}

/// The same, swapped out.
fn swapped_out(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, kind: u64) -> u64 {
    let at = mapping(memory, mm, pages, kind);
    page_out(memory, mm, at, pages);
    at
}

/// Every page holds its number.
fn intact(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64) {
    for page in 0..pages {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1), "page {page}");
    }
}

/// Slots of an area that somebody means, by their places.
fn used(memory: &Memory<FakeMachine>, area: usize) -> std::vec::Vec<u32> {
    let max = memory.swap.areas[area].max.get();
    let meant = |offset: &u32| {
        let count = memory.slot_entry(SwapSlot::new(area, *offset)).count();
        count != 0 && count != super::slot::SWAP_MAP_BAD
    };
    (1..max).filter(meant).collect()
}
