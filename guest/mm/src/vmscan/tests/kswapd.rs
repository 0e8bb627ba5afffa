//! Rules F7, F9: who reclaims, and when.

use super::{PRIVATE, RW, World};
use crate::addr::PAGE_SIZE;
use crate::mmap::map_flag;
use crate::platform::Vmstat;
use crate::vmscan::{KSWAPD_FAILURES_MAX, RUNS_IN_VAIN_MAX};
use crate::zone::Watermark;

/// F7: an allocation below the low watermark wakes kswapd; it frees up to the high one, and no further, and sleeps.
#[test]
fn kswapd_runs_from_low_to_high() {
    let world = World::new(512, 512);
    assert!(!world.memory.kswapd_wanted(), "asleep at first");
    let zone = &world.memory.zone;
    let low = zone.watermark(Watermark::Low);
    let at = world
        .memory
        .do_mmap(world.mm, 0, 900 * PAGE_SIZE, RW, PRIVATE, None, 0)
        .unwrap();
    let mut page = 0;
    while !world.memory.kswapd_wanted() {
        assert!(world.memory.nr_free_pages() >= low, "it was not woken");
        world.memory.store(world.mm, at + page * PAGE_SIZE, page).unwrap();
        page += 1;
    }
    assert!(world.memory.nr_free_pages() <= low);
    assert_eq!(world.counter(Vmstat::Pswpout), 0);
    world.memory.kswapd();
    assert!(!world.memory.kswapd_wanted());
    let (free, high) = (world.memory.nr_free_pages(), zone.watermark(Watermark::High));
    assert!(free > high && free <= high + 64, "{free} of {high}");
    assert_eq!(world.counter(Vmstat::PgstealKswapd), world.counter(Vmstat::Pswpout));
    assert_eq!(world.counter(Vmstat::Allocstall), 0);
    for page in 0..page {
        assert_eq!(world.memory.load(world.mm, at + page * PAGE_SIZE), Ok(page));
    }
    world.memory.check_invariants();
}

/// F7: sixteen runs that free nothing are enough, until direct reclaim frees something.
#[test]
fn kswapd_gives_up_until_something_can_be_freed() {
    let world = World::new(256, 256);
    let memory = &world.memory;
    let total = world.memory.nr_free_pages();
    let pages = total - 10 - memory.zone.watermark(Watermark::Min);
    let at = world.private(pages);
    memory.do_mlock(world.mm, at, pages * PAGE_SIZE, 1).unwrap();
    for _ in 0..KSWAPD_FAILURES_MAX / RUNS_IN_VAIN_MAX {
        memory.kswapd_wake.set(1);
        assert!(memory.kswapd_wanted());
        memory.kswapd();
    }
    memory.kswapd_wake.set(1);
    assert!(!memory.kswapd_wanted());
    assert_eq!(memory.try_to_free_pages(), 0);
    assert!(!memory.kswapd_wanted());
    memory.do_munlock(world.mm, at, pages * PAGE_SIZE).unwrap();
    assert!(memory.try_to_free_pages() >= 32);
    assert!(memory.kswapd_wanted());
}

/// F9: three times as much as memory, stored by two and read back; kswapd does most of the work.
#[test]
fn a_load_larger_than_memory() {
    let world = World::new(256, 1024);
    let object = world.object(400);
    let view = |mm| {
        let file = Some(object.into());
        world
            .memory
            .do_mmap(mm, 0, 400 * PAGE_SIZE, RW, map_flag::SHARED, file, 0)
            .unwrap()
    };
    let child = world.memory.mm_alloc().unwrap();
    let (shared, theirs) = (view(world.mm), view(child));
    let private = world
        .memory
        .do_mmap(world.mm, 0, 400 * PAGE_SIZE, RW, PRIVATE, None, 0)
        .unwrap();
    let kswapd = || {
        if world.memory.kswapd_wanted() {
            world.memory.kswapd();
        }
    };
    for page in 0..400 {
        world
            .memory
            .store(world.mm, shared + page * PAGE_SIZE, page + 1)
            .unwrap();
        kswapd();
        world.memory.store(world.mm, private + page * PAGE_SIZE, !page).unwrap();
        kswapd();
    }
    let blocks = world.memory.inode(object).alloced();
    for page in 0..400 {
        assert_eq!(world.memory.load(child, theirs + page * PAGE_SIZE), Ok(page + 1));
        kswapd();
        assert_eq!(world.memory.load(world.mm, private + page * PAGE_SIZE), Ok(!page));
        kswapd();
    }
    assert_eq!(
        world.memory.inode(object).alloced(),
        blocks,
        "what it holds is the same"
    );
    let (by_kswapd, direct) = (
        world.counter(Vmstat::PgstealKswapd),
        world.counter(Vmstat::PgstealDirect),
    );
    assert!(by_kswapd > 10 * direct, "{by_kswapd} by kswapd, {direct} directly");
    world.memory.check_invariants();
}
