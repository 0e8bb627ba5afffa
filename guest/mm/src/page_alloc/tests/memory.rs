//! Allocations on a fake machine: marks, reserves, reclaim and its counters.

use std::vec::Vec;

use proptest::prelude::*;

use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn};
use crate::gfp::Gfp;
use crate::mmap::{map_flag, prot};
use crate::platform::{Platform, Vmstat};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;
use crate::zone::{MAX_ORDER, Watermark};

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;

/// A program with so many pages, each stored to.
fn program(memory: &Memory<FakeMachine>, pages: u64) -> (MmId, u64) {
    let mm = memory.mm_alloc().expect("an address space");
    let at = memory
        .do_mmap(mm, 0, pages * PAGE_SIZE, RW, PRIVATE, None, 0)
        .expect("addresses");
    for page in 0..pages {
        memory.store(mm, at + page * PAGE_SIZE, page).expect("a page");
    }
    (mm, at)
}

/// Frames that requests like this get, until one fails.
fn all(memory: &Memory<FakeMachine>, gfp: Gfp) -> Vec<Pfn> {
    std::iter::from_fn(|| memory.alloc_pages(gfp, 0)).collect()
}

/// E6, E9: blocks of any order up to the largest, of zeroes if asked; none above.
#[test]
fn blocks_of_every_order() {
    let memory = machine(4096, 0);
    let free = memory.nr_free_pages();
    for order in 0..=MAX_ORDER {
        let pfn = memory.alloc_pages(Gfp::KERNEL.with(Gfp::ZERO), order).expect("a block");
        assert_eq!(pfn.0 % (1 << order), 0);
        assert_eq!(memory.page(pfn).refcount.get(), 1);
        let zeroed = |i| memory.platform.frame(pfn.offset(i)).iter().all(|word| word.get() == 0);
        assert!((0..1 << order).all(zeroed));
        assert_eq!(memory.nr_free_pages(), free - (1 << order));
        memory.free_pages(pfn, order);
        assert_eq!(memory.nr_free_pages(), free);
    }
    assert_eq!(memory.alloc_pages(Gfp::KERNEL, MAX_ORDER + 1), None);
    assert_eq!(
        memory.platform.counter(Vmstat::Pgalloc) - memory.platform.counter(Vmstat::Pgfree),
        1,
        "the frame of zeroes"
    );
}

/// E3, E13: how far down each kind of request goes, to the frame.
#[test]
fn requests_stop_at_their_marks() {
    let left = |gfp| {
        let memory = machine(1024, 0);
        all(&memory, gfp);
        memory.nr_free_pages()
    };
    // sqrt(16 x 4096 KiB) = 256 KiB = 64 pages.
    assert_eq!(machine(1024, 0).zone.watermark(Watermark::Min), 64);
    assert_eq!(left(Gfp::NOWAIT), 64);
    assert_eq!(left(Gfp::HIGHUSER_MOVABLE), 64);
    assert_eq!(left(Gfp::NOWAIT.with(Gfp::HIGH)), 32);
    assert_eq!(left(Gfp::ATOMIC), 24, "a half, and of that a quarter less");
    assert_eq!(left(Gfp::ATOMIC.with(Gfp::MEMALLOC)), 0);
    assert_eq!(left(Gfp::ATOMIC.with(Gfp::MEMALLOC).with(Gfp::NOMEMALLOC)), 32);
}

/// E13: what fails or has to look twice wakes kswapd, if it may.
#[test]
fn low_memory_wakes_kswapd() {
    let memory = machine(1024, 0);
    while memory.zone.watermark_ok(0, Watermark::Low) {
        memory.alloc_page().expect("above the low watermark");
    }
    assert!(!memory.kswapd_wanted());
    let quiet = Gfp::NOWAIT.without(Gfp::KSWAPD_RECLAIM);
    memory.alloc_pages(quiet, 0).expect("above the min watermark");
    assert!(!memory.kswapd_wanted());
    memory.alloc_page().expect("above the min watermark");
    assert!(memory.kswapd_wanted());
}

/// E17: every entry into direct reclaim is counted, by the zone that was wanted.
#[test]
fn direct_reclaim_is_counted() {
    let memory = machine(512, 1024);
    let (mm, at) = program(&memory, 600);
    let count = |item| memory.platform.counter(item);
    let (stalls, stolen) = (count(Vmstat::AllocstallMovable), count(Vmstat::PgstealDirect));
    assert!(
        stalls > 0 && stolen >= 32 * stalls,
        "{stalls} entries freed {stolen} pages"
    );
    assert_eq!(count(Vmstat::Allocstall), 0);
    assert_eq!(count(Vmstat::PgstealKswapd), 0, "nobody ran it");
    let tables = std::iter::from_fn(|| memory.alloc_pages(Gfp::KERNEL, 0));
    assert_eq!(tables.take(100).count(), 100);
    assert!(count(Vmstat::Allocstall) > 0);
    for page in 0..600 {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page));
    }
}

/// E17: with less than half of the min watermark free, a direct reclaimer waits until kswapd has done its work.
#[test]
fn direct_reclaimers_wait_for_kswapd() {
    let memory = machine(1024, 1024);
    program(&memory, 700);
    let throttled = || memory.platform.counter(Vmstat::PgscanDirectThrottle);
    let half = memory.zone.watermark(Watermark::Min) / 2;
    while memory.nr_free_pages() > half + 1 {
        memory.alloc_pages(Gfp::ATOMIC, 0).expect("some of the reserve");
    }
    memory.alloc_page().expect("after reclaim");
    assert_eq!(throttled(), 0, "one frame more than half is enough");
    while memory.nr_free_pages() > half {
        memory.alloc_pages(Gfp::ATOMIC, 0).expect("some of the reserve");
    }
    memory.alloc_page().expect("after reclaim");
    assert_eq!(throttled(), 1);
    assert!(memory.platform.counter(Vmstat::PgstealKswapd) > 0);
    assert!(memory.zone.watermark_ok(0, Watermark::Low));
}

/// E14: without swap there is nothing to reclaim, and an allocation says so after one round.
#[test]
fn futile_reclaim_is_not_repeated() {
    let memory = machine(512, 0);
    all(&memory, Gfp::HIGHUSER_MOVABLE);
    let stalls = memory.platform.counter(Vmstat::AllocstallMovable);
    assert_eq!(memory.alloc_page(), None);
    assert_eq!(memory.platform.counter(Vmstat::AllocstallMovable) - stalls, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// E10: the fast path is what a look at all zones comes to: the same frames, in the same order, to the last.
    #[test]
    fn the_fast_path_is_a_look_at_the_free_list(frees in prop::collection::vec((any::<usize>(), 1..200usize), 1..20)) {
        let run = |alloc: &dyn Fn(&Memory<FakeMachine>) -> Option<Pfn>| {
            let memory = machine(384, 0);
            let (mut held, mut seen) = (Vec::new(), Vec::new());
            for &(which, count) in &frees {
                for _ in 0..count {
                    let pfn = alloc(&memory);
                    seen.push(pfn);
                    held.extend(pfn);
                }
                for i in 0..count / 3 {
                    if !held.is_empty() {
                        memory.free_page(held.swap_remove((which ^ i) % held.len()));
                    }
                }
            }
            seen
        };
        prop_assert_eq!(run(&|memory| memory.alloc_page()), run(&|memory| memory.alloc_pages(Gfp::HIGHUSER_MOVABLE, 0)));
    }
}
