//! Address spaces, a situation a test, with the numbers of the rules it shows. What programs can see of them is shown by
//! `rules-mmap`; here is the rest.

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::lru::LruList;
use crate::mmap::{MAX_MAP_COUNT, advice, lock_flag, map_flag, prot, remap_flag};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS;
const BASE: u64 = 0x4000_0000;

fn map(memory: &Memory<FakeMachine>, mm: MmId, page: u64, pages: u64, prot: u64, flags: u64) -> Result<u64, Error> {
    let at = BASE + page * PAGE_SIZE;
    memory.do_mmap(mm, at, pages * PAGE_SIZE, prot, flags | map_flag::FIXED, None, 0)
}

/// B13: one mapping beyond the limit can exist; splits at the limit are refused; whole mappings can still be unmapped.
#[test]
fn the_limit_of_mappings() {
    let memory = machine(8192, 0);
    let mm = memory.mm_alloc().unwrap();
    for page in 0..=MAX_MAP_COUNT {
        let rights = if page % 2 == 0 { prot::READ } else { 0 };
        map(&memory, mm, 4 * page, 3, rights, PRIVATE).unwrap();
    }
    assert_eq!(memory.mm_size(mm).0, MAX_MAP_COUNT + 1);
    assert_eq!(
        map(&memory, mm, 4 * (MAX_MAP_COUNT + 1), 3, 0, PRIVATE),
        Err(Error::Enomem)
    );
    let middle = BASE + PAGE_SIZE;
    assert_eq!(memory.do_munmap(mm, middle, PAGE_SIZE), Err(Error::Enomem));
    assert_eq!(memory.do_mprotect(mm, middle, PAGE_SIZE, RW), Err(Error::Enomem));
    assert_eq!(
        memory.do_madvise(mm, middle, PAGE_SIZE, advice::DONTFORK),
        Err(Error::Eagain)
    );
    assert_eq!(
        memory.do_mlock(mm, middle, PAGE_SIZE, lock_flag::ONFAULT),
        Err(Error::Enomem)
    );
    let moved = memory.do_mremap(mm, BASE, 3 * PAGE_SIZE, 4 * PAGE_SIZE + 1, remap_flag::MAYMOVE, 0);
    assert_eq!(moved, Err(Error::Enomem));
    memory.check_mm(mm);
    assert_eq!(
        memory.mm_size(mm).0,
        MAX_MAP_COUNT + 1,
        "a refused call changed something"
    );
    memory.do_munmap(mm, BASE, 3 * PAGE_SIZE).unwrap();
    memory.mmput(mm, 1);
}

/// B18, B21: what is charged is given back, whatever was cut, moved and grown meanwhile.
#[test]
fn charges_come_and_go() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 8, RW, PRIVATE).unwrap();
    assert_eq!(memory.committed_as(), 8);
    memory.do_mremap(mm, at, 8 * PAGE_SIZE, 12 * PAGE_SIZE, 0, 0).unwrap();
    assert_eq!(memory.committed_as(), 12);
    let to = BASE + 64 * PAGE_SIZE;
    let flags = remap_flag::MAYMOVE | remap_flag::FIXED;
    memory
        .do_mremap(mm, at + PAGE_SIZE, 2 * PAGE_SIZE, 5 * PAGE_SIZE, flags, to)
        .unwrap();
    assert_eq!(memory.committed_as(), 15);
    memory.do_munmap(mm, at, 6 * PAGE_SIZE).unwrap();
    assert_eq!(memory.committed_as(), 11);
    let too_much = memory.do_mremap(mm, to, 5 * PAGE_SIZE, 300 * PAGE_SIZE, remap_flag::MAYMOVE, 0);
    assert_eq!(too_much, Err(Error::Enomem), "B19");
    memory.mmput(mm, 1);
    assert_eq!(memory.committed_as(), 0);
}

/// B31, F30: locked pages stay while everything else goes to swap, and go when they are unlocked.
#[test]
fn locked_pages_are_unevictable() {
    let memory = machine(256, 512);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 16, RW, PRIVATE).unwrap();
    (0..16).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap());
    memory.do_mlock(mm, at, 8 * PAGE_SIZE, 0).unwrap();
    assert_eq!((memory.mm_locked(mm), memory.lru_count(LruList::Unevictable)), (8, 8));
    let press = map(&memory, mm, 100, 400, RW, SHARED).unwrap();
    (0..400).for_each(|page| memory.store(mm, press + page * PAGE_SIZE, 1).unwrap());
    let mut resident = [0; 16];
    memory.do_mincore(mm, at, &mut resident).unwrap();
    assert_eq!(resident, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    memory.do_munlock(mm, at, 16 * PAGE_SIZE).unwrap();
    assert_eq!((memory.mm_locked(mm), memory.lru_count(LruList::Unevictable)), (0, 0));
    memory.do_madvise(mm, at, 16 * PAGE_SIZE, advice::PAGEOUT).unwrap();
    memory.do_mincore(mm, at, &mut resident).unwrap();
    assert_eq!(resident, [0; 16]);
    (0..16).for_each(|page| assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1)));
    memory.check_invariants();
    memory.mmput(mm, 1);
}

/// B31: pages that a locked mapping got by faults are found by reclaim; a child does not inherit the lock.
#[test]
fn locked_on_fault_and_in_children() {
    let memory = machine(256, 512);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 4, RW, PRIVATE).unwrap();
    memory.do_mlock(mm, at, 4 * PAGE_SIZE, lock_flag::ONFAULT).unwrap();
    (0..4).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap());
    let child = memory.dup_mmap(mm, 1).unwrap();
    assert_eq!(memory.mm_locked(child), 0);
    let press = map(&memory, mm, 100, 400, RW, SHARED).unwrap();
    (0..400).for_each(|page| memory.store(mm, press + page * PAGE_SIZE, 1).unwrap());
    assert_eq!(memory.lru_count(LruList::Unevictable), 4);
    memory.mmput(mm, 1);
    assert_eq!(memory.lru_count(LruList::Unevictable), 0, "the child has no lock");
    (0..4).for_each(|page| assert_eq!(memory.load(child, at + page * PAGE_SIZE), Ok(page + 1)));
    memory.mmput(child, 2);
    memory.check_invariants();
}

/// B34: a hole takes pages in memory, pages in swap and everybody's view of them; the objects' counters follow.
#[test]
fn holes_reach_into_swap() {
    let memory = machine(256, 512);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 6, RW, SHARED).unwrap();
    (0..6).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap());
    memory.do_madvise(mm, at, 3 * PAGE_SIZE, advice::PAGEOUT).unwrap();
    let child = memory.dup_mmap(mm, 1).unwrap();
    assert_eq!(memory.load(child, at + 4 * PAGE_SIZE), Ok(5));
    memory
        .do_madvise(mm, at + PAGE_SIZE, 4 * PAGE_SIZE, advice::REMOVE)
        .unwrap();
    for (page, word) in [1, 0, 0, 0, 0, 6].into_iter().enumerate() {
        assert_eq!(memory.load(child, at + page as u64 * PAGE_SIZE), Ok(word));
    }
    memory.mmput(mm, 1);
    memory.mmput(child, 2);
    assert_eq!(memory.swap_inuse_pages(), 0);
    memory.check_invariants();
}

/// B27: pages in swap move as well, and page tables in the way of a move are paid for or nothing happens.
#[test]
fn swapped_pages_move() {
    let memory = machine(256, 512);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 4, RW, PRIVATE).unwrap();
    (0..4).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap());
    memory.do_madvise(mm, at, 2 * PAGE_SIZE, advice::PAGEOUT).unwrap();
    let flags = remap_flag::MAYMOVE | remap_flag::FIXED;
    let to = BASE + (1 << 40);
    memory
        .do_mremap(mm, at, 4 * PAGE_SIZE, 4 * PAGE_SIZE, flags, to)
        .unwrap();
    (0..4).for_each(|page| assert_eq!(memory.load(mm, to + page * PAGE_SIZE), Ok(page + 1)));
    assert_eq!(memory.load(mm, at), Err(Fault::SegvMaperr));
    // Moved pages are still found from their frames.
    memory.do_madvise(mm, to, 4 * PAGE_SIZE, advice::PAGEOUT).unwrap();
    assert_eq!(memory.mm_counters(mm).2, 4);
    memory.mmput(mm, 1);
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// B27, as Linux has it since 6.17: without a change of size, several mappings move with the gap between them.
#[test]
fn several_mappings_move() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let at = map(&memory, mm, 0, 2, RW, PRIVATE).unwrap();
    map(&memory, mm, 3, 2, RW, SHARED).unwrap();
    memory.store(mm, at, 1).unwrap();
    memory.store(mm, at + 3 * PAGE_SIZE, 4).unwrap();
    let to = BASE + 100 * PAGE_SIZE;
    map(&memory, mm, 102, 1, RW, PRIVATE).unwrap();
    let flags = remap_flag::MAYMOVE | remap_flag::FIXED;
    let remap =
        |from, pages, new_pages| memory.do_mremap(mm, from, pages * PAGE_SIZE, new_pages * PAGE_SIZE, flags, to);
    assert_eq!(remap(at, 5, 4), Err(Error::Efault), "another size");
    assert_eq!(remap(at + 2 * PAGE_SIZE, 3, 3), Err(Error::Efault), "a gap first");
    assert_eq!(remap(at, 5, 5), Ok(to));
    let found = [0, 2, 3].map(|page| memory.load(mm, to + page * PAGE_SIZE));
    assert_eq!(found, [Ok(1), Ok(0), Ok(4)], "what lay in the gap's way stays");
    assert_eq!(memory.load(mm, at), Err(Fault::SegvMaperr));
    assert_eq!(memory.mm_size(mm), (3, 5));
    memory.check_mm(mm);
    memory.mmput(mm, 1);
}

/// B11: a stack grows as far as its limit, charged and counted.
#[test]
fn stacks_grow_to_their_limit() {
    let memory = machine(4096, 0);
    let mm = memory.mm_alloc().unwrap();
    let top = 0x5000_0000;
    let flags = PRIVATE | map_flag::FIXED | map_flag::GROWSDOWN;
    let at = memory
        .do_mmap(mm, top - PAGE_SIZE, PAGE_SIZE, RW, flags, None, 0)
        .unwrap();
    assert_eq!(memory.store(mm, at - 16 * PAGE_SIZE, 9), Ok(()));
    assert_eq!((memory.mm_size(mm), memory.committed_as()), ((1, 17), 17));
    assert_eq!(memory.store(mm, top - (8 << 20), 1), Ok(()));
    assert_eq!(memory.store(mm, top - (8 << 20) - 8, 1), Err(Fault::SegvMaperr));
    assert_eq!(
        memory.get_user_page(mm, VirtAddr(top - (8 << 20) - PAGE_SIZE), true),
        Err(Error::Efault)
    );
    assert_eq!(memory.load(mm, at - 16 * PAGE_SIZE), Ok(9));
    memory.check_mm(mm);
    memory.mmput(mm, 1);
    assert_eq!(memory.committed_as(), 0);
}

/// B27, B31: a locked mapping that grows until it meets the next one, and is merged with it, gets the new pages and comes to an end.
#[test]
fn a_locked_mapping_that_closes_a_gap_is_populated() {
    let memory = machine(512, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, 0, 10, RW, PRIVATE).unwrap();
    memory.do_mlock(mm, BASE, 10 * PAGE_SIZE, 0).unwrap();
    memory.do_munmap(mm, BASE + 2 * PAGE_SIZE, 3 * PAGE_SIZE).unwrap();
    let grown = memory.do_mremap(mm, BASE, 2 * PAGE_SIZE, 5 * PAGE_SIZE, 0, 0);
    assert_eq!(grown, Ok(BASE));
    assert_eq!(memory.mm_size(mm), (1, 10), "one mapping again");
    assert_eq!((memory.mm_locked(mm), memory.mm_counters(mm).0), (10, 10));
    memory.mmput(mm, 1);
}
