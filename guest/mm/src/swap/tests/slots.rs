//! Who means a slot, and which one is taken.

use super::{RW, intact, mapping, page_out, remove, swapped_out, used};
use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::mmap::map_flag::{ANONYMOUS, PRIVATE, SHARED};
use crate::platform::Vmstat;
use crate::swap::slot::{COUNT_CONTINUED, SWAP_HAS_CACHE, SWAP_MAP_BAD, SWAP_MAP_MAX, SWAP_MAP_SHMEM};
use crate::swap::{AreaConfig, SwapSlot};
use crate::testing::machine;

/// F16: what a slot's byte is in each state.
#[test]
fn bytes_of_slots() {
    let memory = machine(256, 0);
    let config = AreaConfig {
        slots: 100,
        bad: &[7],
        ..AreaConfig::default()
    };
    memory.platform.disk.borrow_mut().add(0, 100);
    memory.swapon(0, config).unwrap();
    let byte = |offset| memory.slot_entry(SwapSlot::new(0, offset)).byte();
    let mm = memory.mm_alloc().unwrap();
    assert_eq!((byte(1), byte(7)), (0, SWAP_MAP_BAD));
    assert_eq!((SWAP_MAP_BAD, SWAP_MAP_MAX, SWAP_MAP_SHMEM), (0x3f, 0x3e, 0xbf));
    let shared = swapped_out(&memory, mm, 1, SHARED);
    assert_eq!(byte(1), SWAP_MAP_SHMEM);
    let private = swapped_out(&memory, mm, 1, PRIVATE);
    assert_eq!(byte(2), 1);
    let child = memory.dup_mmap(mm, 1).unwrap();
    assert_eq!((byte(1), byte(2)), (SWAP_MAP_SHMEM, 2), "an object counts as one");
    intact(&memory, mm, private, 1);
    assert_eq!(byte(2), SWAP_HAS_CACHE | 1);
    intact(&memory, child, private, 1);
    assert_eq!(byte(2), SWAP_HAS_CACHE);
    intact(&memory, mm, shared, 1);
    assert_eq!(byte(1), 0);
    memory.mmput(mm, 1);
    memory.mmput(child, 2);
    assert_eq!((byte(2), byte(7)), (0, SWAP_MAP_BAD));
    memory.check_invariants();
}

/// F16: more than 62 page-table entries mean a slot: the count goes on elsewhere, and comes back.
#[test]
fn counts_that_overflow_their_byte() {
    let memory = machine(4096, 64);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 2, PRIVATE);
    let slots = [SwapSlot::new(0, 1), SwapSlot::new(0, 2)];
    let mut family = std::vec![mm];
    for children in 1..=200 {
        family.push(memory.dup_mmap(mm, 1).unwrap());
        for slot in slots {
            assert_eq!(memory.swap_users(slot), children + 1);
        }
    }
    assert_ne!(memory.slot_entry(slots[0]).byte() & COUNT_CONTINUED, 0);
    memory.check_invariants();
    // Half of them read it, the others never do.
    for (n, &mm) in family.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        assert_eq!(memory.load(mm, at), Ok(1));
        assert_eq!(memory.swap_users(slots[0]), 200 - n as u64 / 2);
    }
    memory.check_invariants();
    for (n, mm) in family.into_iter().enumerate() {
        memory.mmput(mm, 1);
        assert_eq!(memory.swap_users(slots[1]), 200 - n as u64);
    }
    assert_eq!(memory.swap_inuse_pages(), 0);
    assert_eq!(memory.live_records()[0], ("radix_tree_node", 0));
    memory.check_invariants();
}

/// F16: a count that cannot go on for want of memory is refused, and stays what it was.
#[test]
fn a_count_without_memory_to_go_on() {
    let memory = machine(256, 64);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 1, PRIVATE);
    let slot = SwapSlot::new(0, 1);
    for _ in 1..SWAP_MAP_MAX {
        memory.swap_duplicate(slot).unwrap();
    }
    let attempts = memory.platform.failing.attempts();
    memory.platform.failing.set(attempts..u64::MAX);
    assert_eq!(memory.swap_duplicate(slot), Err(Error::Enomem));
    assert_eq!(memory.swap_users(slot), u64::from(SWAP_MAP_MAX));
    memory.platform.failing.set(0..0);
    assert_eq!(memory.swap_duplicate(slot), Ok(()));
    for users in (1..=u64::from(SWAP_MAP_MAX)).rev() {
        memory.swap_free(slot);
        assert_eq!(memory.swap_users(slot), users);
    }
    intact(&memory, mm, at, 1);
    memory.check_invariants();
}

/// F17: pages that go out one after the other get slots one after the other, and a cluster of which nothing is taken before one with holes.
#[test]
fn slots_are_taken_in_clusters() {
    let memory = machine(4096, 1024);
    let mm = memory.mm_alloc().unwrap();
    let first = swapped_out(&memory, mm, 256, SHARED);
    // The first cluster has the header in it: it is not free.
    assert_eq!(used(&memory, 0), (256..512).collect::<std::vec::Vec<u32>>());
    // A hole in the cluster is left, as long as others are free.
    remove(&memory, mm, first, 256);
    let again = swapped_out(&memory, mm, 100, SHARED);
    assert_eq!(used(&memory, 0), (512..612).collect::<std::vec::Vec<u32>>());
    remove(&memory, mm, again, 50);
    let more = swapped_out(&memory, mm, 156 + 256 + 256, SHARED);
    let expected: std::vec::Vec<u32> = (256..512).chain(562..1024).collect();
    assert_eq!(used(&memory, 0), expected, "562 to 768, 768 to 1024, 256 to 512");
    // Then what is left: the first cluster, without the header, and the hole.
    let last = swapped_out(&memory, mm, 255 + 50, SHARED);
    assert_eq!(used(&memory, 0), (1..1024).collect::<std::vec::Vec<u32>>());
    assert_eq!((memory.nr_swap_pages(), memory.swap_inuse_pages()), (0, 1023));
    memory.check_invariants();
    for (at, pages) in [(more, 668), (last, 305)] {
        intact(&memory, mm, at, pages);
    }
}

/// F18: without a free slot pages stay in memory, and what does not fit is the killer's business.
#[test]
fn swap_is_full() {
    let memory = machine(256, 64);
    let mm = memory.mm_alloc().unwrap();
    let at = mapping(&memory, mm, 100, SHARED);
    page_out(&memory, mm, at, 100);
    assert_eq!((memory.swap_inuse_pages(), memory.nr_swap_pages()), (63, 0));
    assert_eq!(memory.platform.counter(Vmstat::Pswpout), 63);
    page_out(&memory, mm, at, 100);
    assert_eq!(memory.platform.counter(Vmstat::Pswpout), 63);
    let more = memory
        .do_mmap(mm, 0, 250 * PAGE_SIZE, RW, PRIVATE | ANONYMOUS | 0x4000, None, 0)
        .unwrap();
    let refused = (0..250).find_map(|page| memory.store(mm, more + page * PAGE_SIZE, 7).err());
    assert_eq!(refused, Some(crate::error::Fault::Oom));
    memory.check_invariants();
    memory.do_munmap(mm, more, 250 * PAGE_SIZE).unwrap();
    intact(&memory, mm, at, 100);
}

/// F18: a page that was only read keeps its slot, so that it need not be written again; unless more than half of swap is in use.
#[test]
fn slots_of_clean_pages() {
    for (others, kept) in [(8, 4), (40, 0)] {
        let memory = machine(256, 64);
        let mm = memory.mm_alloc().unwrap();
        let at = swapped_out(&memory, mm, 4, PRIVATE);
        let _other = swapped_out(&memory, mm, others, SHARED);
        intact(&memory, mm, at, 4);
        assert_eq!(memory.swap_inuse_pages(), others + kept);
        assert_eq!(memory.platform.counter(Vmstat::NrSwapCached), kept);
        let before = memory.platform.counter(Vmstat::Pswpout);
        page_out(&memory, mm, at, 4);
        assert_eq!(
            memory.platform.counter(Vmstat::Pswpout) - before,
            4 - kept,
            "a clean page is not written"
        );
        intact(&memory, mm, at, 4);
        // Copy-on-write gives the slot up, too: the page differs now.
        for page in 0..4 {
            memory.store(mm, at + page * PAGE_SIZE, 9).unwrap();
        }
        assert_eq!(memory.swap_inuse_pages(), others);
        memory.check_invariants();
    }
}
