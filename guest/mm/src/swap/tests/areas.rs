//! Several areas, and what is visible of them.

use std::vec::Vec;

use super::{intact, mapping, page_out, remove, swapped_out, used};
use crate::Memory;
use crate::error::Error;
use crate::mmap::map_flag::{PRIVATE, SHARED};
use crate::platform::Vmstat;
use crate::swap::{AreaConfig, AreaStat, MAX_SWAPFILES, SLOTS_MAX};
use crate::testing::{FakeMachine, machine};

/// A machine with areas of so many slots and such priorities.
fn areas(frames: u32, of: &[(u32, Option<u16>)]) -> Memory<FakeMachine> {
    let memory = machine(frames, 0);
    for (area, &(slots, prio)) in of.iter().enumerate() {
        memory.platform.disk.borrow_mut().add(area, slots);
        on(&memory, area, slots, prio).unwrap();
    }
    memory
}

fn on(memory: &Memory<FakeMachine>, area: usize, slots: u32, prio: Option<u16>) -> Result<(), Error> {
    let config = AreaConfig {
        slots,
        prio,
        ..AreaConfig::default()
    };
    memory.swapon(area, config)
}

fn in_use(memory: &Memory<FakeMachine>, areas: usize) -> Vec<u64> {
    let stats = (0..areas).map(|area| memory.swap_area(area).map_or(0, |area| area.inuse));
    stats.collect()
}

fn prios(memory: &Memory<FakeMachine>) -> Vec<i32> {
    (0..MAX_SWAPFILES)
        .filter_map(|area| memory.swap_area(area).map(|area| area.prio))
        .collect()
}

/// F17: areas are filled from the highest priority down, and as soon as one has a slot again it comes first.
#[test]
fn the_highest_priority_first() {
    let memory = areas(2048, &[(41, None), (31, Some(5)), (21, Some(32767))]);
    let mm = memory.mm_alloc().unwrap();
    let first = swapped_out(&memory, mm, 10, SHARED);
    assert_eq!(in_use(&memory, 3), [0, 0, 10]);
    let second = swapped_out(&memory, mm, 30, PRIVATE);
    assert_eq!(in_use(&memory, 3), [0, 20, 20]);
    let third = swapped_out(&memory, mm, 20, SHARED);
    assert_eq!(in_use(&memory, 3), [10, 30, 20]);
    remove(&memory, mm, first, 5);
    let fourth = swapped_out(&memory, mm, 6, SHARED);
    assert_eq!(in_use(&memory, 3), [11, 30, 20]);
    memory.check_invariants();
    for (at, pages) in [(second, 30), (third, 20), (fourth, 6)] {
        intact(&memory, mm, at, pages);
    }
    memory.check_invariants();
}

/// F17: areas of equal priority take turns.
#[test]
fn equal_priorities_rotate() {
    let memory = areas(2048, &[(600, Some(3)), (600, Some(3)), (600, Some(3)), (600, Some(2))]);
    let mm = memory.mm_alloc().unwrap();
    let at = mapping(&memory, mm, 640, SHARED);
    for (out, expected) in [(64, [64, 0, 0, 0]), (192, [64, 64, 64, 0]), (640, [256, 192, 192, 0])] {
        page_out(&memory, mm, at, out);
        assert_eq!(in_use(&memory, 4), expected, "after {out}");
    }
    for area in 0..3 {
        let slots = used(&memory, area);
        assert!(
            slots.is_sorted() && slots[0] == 256,
            "each goes on where it was: {slots:?}"
        );
    }
    memory.check_invariants();
    intact(&memory, mm, at, 640);
}

/// F17, F24: neither the header nor a slot that it lists is ever given out.
#[test]
fn header_and_bad_slots() {
    let memory = machine(2048, 0);
    let bad = [1, 2, 255, 256, 299, 2];
    memory.platform.disk.borrow_mut().add(0, 300);
    let config = |slots, bad| AreaConfig {
        slots,
        bad,
        ..AreaConfig::default()
    };
    let free = memory.nr_free_pages();
    for wrong in [&[0][..], &[300], &[4, 1_000_000]] {
        assert_eq!(memory.swapon(0, config(300, wrong)), Err(Error::Einval));
    }
    assert_eq!(
        memory.swapon(0, config(3, &[1, 2])),
        Err(Error::Einval),
        "nothing is left"
    );
    assert_eq!(memory.nr_free_pages(), free);
    memory.swapon(0, config(300, &bad)).unwrap();
    assert_eq!(memory.total_swap_pages(), 294, "one is listed twice");
    memory.check_invariants();
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 294, SHARED);
    assert_eq!(memory.nr_swap_pages(), 0);
    assert_eq!(used(&memory, 0).len(), 294);
    assert!(used(&memory, 0).iter().all(|slot| !bad.contains(slot)));
    intact(&memory, mm, at, 294);
    memory.check_invariants();
}

/// F24: what is refused, and changes nothing. A larger area than can be described is used as far as it can.
#[test]
fn areas_that_are_refused() {
    let memory = areas(4096, &[(100, None)]);
    let free = memory.nr_free_pages();
    assert_eq!(on(&memory, 0, 100, None), Err(Error::Ebusy));
    assert_eq!(on(&memory, 1, 1, None), Err(Error::Einval));
    assert_eq!(on(&memory, MAX_SWAPFILES, 100, None), Err(Error::Eperm));
    assert_eq!(memory.swapoff(1), Err(Error::Einval));
    assert_eq!(memory.swapoff(MAX_SWAPFILES), Err(Error::Einval));
    let attempts = memory.platform.failing.attempts();
    memory.platform.failing.set(attempts + 1..u64::MAX);
    assert_eq!(on(&memory, 1, 100, None), Err(Error::Enomem));
    memory.platform.failing.set(0..0);
    assert_eq!(memory.nr_free_pages(), free);
    assert_eq!((memory.total_swap_pages(), prios(&memory)), (99, [-2].into()));
    on(&memory, 1, u32::MAX, None).unwrap();
    assert_eq!(memory.swap_area(1).unwrap().pages, u64::from(SLOTS_MAX) - 1);
    assert_eq!(memory.swapoff(1), Ok(()));
    assert_eq!(memory.nr_free_pages(), free);
}

/// F25: who has no priority gets one below all others, and moves up when one of those before goes.
#[test]
fn default_priorities() {
    let memory = areas(2048, &[(100, None), (100, None), (100, Some(0)), (100, None)]);
    assert_eq!(prios(&memory), [-2, -3, 0, -4]);
    memory.swapoff(0).unwrap();
    assert_eq!(prios(&memory), [-2, 0, -3]);
    memory.swapoff(2).unwrap();
    on(&memory, 0, 100, None).unwrap();
    assert_eq!(prios(&memory), [-4, -2, -3]);
    let mm = memory.mm_alloc().unwrap();
    swapped_out(&memory, mm, 100, SHARED);
    assert_eq!(in_use(&memory, 4), [0, 99, 0, 1], "the order that the numbers say");
    memory.check_invariants();
    let stat = AreaStat {
        pages: 99,
        inuse: 99,
        prio: -2,
    };
    assert_eq!((memory.swap_area(1), memory.swap_area(2)), (Some(stat), None));
}

/// F26, F27: an area is left while the others stay in use, and take what does not fit into memory.
#[test]
fn one_of_several_areas_goes() {
    let memory = areas(256, &[(400, Some(1)), (400, None)]);
    let mm = memory.mm_alloc().unwrap();
    let shared = mapping(&memory, mm, 200, SHARED);
    let private = mapping(&memory, mm, 150, PRIVATE);
    page_out(&memory, mm, shared, 200);
    page_out(&memory, mm, private, 150);
    assert_eq!(in_use(&memory, 2), [350, 0]);
    assert_eq!(memory.swapoff(0), Ok(()));
    memory.check_invariants();
    assert_eq!(memory.total_swap_pages(), 399);
    assert!(in_use(&memory, 2)[1] >= 350 - 256, "{:?}", in_use(&memory, 2));
    intact(&memory, mm, shared, 200);
    intact(&memory, mm, private, 150);
    // Now it is full, and memory is too small for all of it.
    let more = mapping(&memory, mm, 200, SHARED);
    assert_eq!(memory.swapoff(1), Err(Error::Enomem));
    assert_eq!(memory.total_swap_pages(), 399);
    for (at, pages) in [(shared, 200), (private, 150), (more, 200)] {
        intact(&memory, mm, at, pages);
    }
    memory.mmput(mm, 1);
    memory.check_invariants();
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// F26, B20: an area that promises lean on stays, whether anything is in it or not; then it goes.
#[test]
fn an_area_that_was_promised_stays() {
    let memory = areas(512, &[(400, None)]);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 20, PRIVATE);
    let promised = memory.committed_as();
    assert!(promised >= 20);
    memory.set_overcommit_memory(2).unwrap();
    // Without the area there would be as much as is promised, and not one page more.
    memory.set_overcommit_kbytes(4 * promised);
    assert_eq!(memory.swapoff(0), Err(Error::Enomem));
    assert_eq!((memory.total_swap_pages(), memory.committed_as()), (399, promised));
    memory.check_invariants();
    memory.set_overcommit_kbytes(4 * (promised + 1));
    assert_eq!(memory.swapoff(0), Ok(()));
    assert_eq!((memory.total_swap_pages(), memory.committed_as()), (0, promised));
    intact(&memory, mm, at, 20);
    memory.check_invariants();
}

/// F14: what is visible of pages that go out: fewer of objects and mapped, slots taken, pages counted.
#[test]
fn what_is_visible_of_swapping() {
    let memory = areas(512, &[(256, None)]);
    let mm = memory.mm_alloc().unwrap();
    let shared = mapping(&memory, mm, 20, SHARED);
    let private = mapping(&memory, mm, 30, PRIVATE);
    let see = || {
        let of = |item| memory.platform.counter(item);
        let (anon, shmem, swapped, _) = memory.mm_counters(mm);
        let levels = [Vmstat::NrShmem, Vmstat::NrAnonMapped, Vmstat::NrSwapCached].map(of);
        let flows = [Vmstat::Pswpout, Vmstat::Pswpin].map(of);
        (levels, flows, memory.nr_swap_pages(), [anon, shmem, swapped])
    };
    assert_eq!(see(), ([20, 30, 0], [0, 0], 255, [30, 20, 0]));
    page_out(&memory, mm, shared, 20);
    assert_eq!(see(), ([0, 30, 0], [20, 0], 235, [30, 0, 0]));
    page_out(&memory, mm, private, 30);
    assert_eq!(see(), ([0, 0, 0], [50, 0], 205, [0, 0, 30]));
    intact(&memory, mm, private, 30);
    assert_eq!(
        see(),
        ([0, 30, 30], [50, 30], 205, [30, 0, 0]),
        "clean pages keep their slots"
    );
    intact(&memory, mm, shared, 20);
    assert_eq!(see(), ([20, 30, 30], [50, 50], 225, [30, 20, 0]));
}
