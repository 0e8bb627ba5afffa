//! Scattered memory, and what compaction makes of it.

use std::vec::Vec;

use super::{CompactPriority, CompactResult, fragmentation_index};
use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::fault::Access;
use crate::gfp::Gfp;
use crate::mmap::{map_flag, prot};
use crate::page::flag;
use crate::page_alloc::freelist::AllocContext;
use crate::platform::{PteFormat, Vmstat};
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::MmId;
use crate::zone::Watermark;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS;
const PAGEOUT: i32 = 21;

/// A program's block, without reclaim or compaction.
const MOVABLE: Gfp = Gfp::HIGHUSER_MOVABLE.without(Gfp::RECLAIM).with(Gfp::NOWARN);

fn map(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, kind: u64) -> u64 {
    memory
        .do_mmap(mm, 0, pages * PAGE_SIZE, RW, kind, None, 0)
        .expect("addresses")
}

fn store(memory: &Memory<FakeMachine>, mm: MmId, at: u64, page: u64) {
    memory.store(mm, at + page * PAGE_SIZE, page + 1).expect("a page");
}

fn intact(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64) {
    for page in 0..pages {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1), "page {page}");
    }
}

/// Pages of one mapping in every second frame, the others free. Returns the mapping.
fn scatter(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, kind: u64) -> u64 {
    let (kept, given_up) = (map(memory, mm, pages, kind), map(memory, mm, pages, kind));
    for page in 0..pages {
        store(memory, mm, kept, page);
        store(memory, mm, given_up, page);
    }
    memory.do_munmap(mm, given_up, pages * PAGE_SIZE).expect("munmap");
    kept
}

fn context(order: u32) -> AllocContext {
    AllocContext {
        gfp: Gfp::HIGHUSER_MOVABLE,
        order,
        mark: Watermark::Min,
        flags: 0,
        preferred: 0,
    }
}

fn count(memory: &Memory<FakeMachine>, item: Vmstat) -> u64 {
    memory.platform.counter(item)
}

/// E13: (5), (6) a block that cannot be had because memory is scattered can be had by moving pages, of every kind; nobody notices.
#[test]
fn a_block_is_made_of_scattered_frames() {
    for kind in [PRIVATE, SHARED] {
        let memory = machine(1024, 0);
        let mm = memory.mm_alloc().expect("an address space");
        let at = scatter(&memory, mm, 460, kind);
        assert_eq!(memory.alloc_pages(MOVABLE, 7), None, "it is scattered");
        assert!(memory.nr_free_pages() > 460, "though there is enough");
        let free = memory.nr_free_pages();
        let block = memory.alloc_pages(Gfp::HIGHUSER_MOVABLE, 7).expect("after compaction");
        assert_eq!(memory.nr_free_pages(), free - 128);
        memory.check_lists();
        intact(&memory, mm, at, 460);
        assert!(count(&memory, Vmstat::PgmigrateSuccess) > 0);
        assert_eq!(count(&memory, Vmstat::CompactStall), 1);
        assert_eq!(count(&memory, Vmstat::CompactSuccess), 1);
        assert_eq!(count(&memory, Vmstat::CompactFail), 0);
        assert!(count(&memory, Vmstat::CompactMigrateScanned) >= count(&memory, Vmstat::PgmigrateSuccess));
        assert!(count(&memory, Vmstat::CompactFreeScanned) >= count(&memory, Vmstat::PgmigrateSuccess));
        assert!(count(&memory, Vmstat::CompactIsolated) >= 2 * count(&memory, Vmstat::PgmigrateSuccess));
        memory.free_pages(block, 7);
        memory.mmput(mm, 1);
        memory.check_lists();
        assert_eq!(
            count(&memory, Vmstat::AllocstallMovable),
            0,
            "nothing had to be reclaimed"
        );
    }
}

/// E13: as long as a page can be moved, it is: mapped by many, read-only, locked, without any right, in the swap cache or in an object alone.
#[test]
fn pages_of_every_state_move() {
    let memory = machine(2048, 1024);
    let mm = memory.mm_alloc().expect("an address space");
    let scattered = scatter(&memory, mm, 200, PRIVATE);
    let (private, shared, swapped, locked) = (
        map(&memory, mm, 40, PRIVATE),
        map(&memory, mm, 40, SHARED),
        map(&memory, mm, 40, PRIVATE),
        map(&memory, mm, 40, PRIVATE),
    );
    for page in 0..40 {
        for at in [private, shared, swapped, locked] {
            store(&memory, mm, at, page);
        }
    }
    memory.do_mlock(mm, locked, 40 * PAGE_SIZE, 0).expect("mlock");
    memory.do_mprotect(mm, private, 20 * PAGE_SIZE, 0).expect("mprotect");
    memory
        .do_madvise(mm, swapped, 40 * PAGE_SIZE, PAGEOUT)
        .expect("madvise");
    // Read back: mapped, and in the swap cache.
    intact(&memory, mm, swapped, 20);
    let child = memory.dup_mmap(mm, 1).expect("fork");
    // One of the mappings goes: the object's pages stay.
    memory.do_munmap(mm, shared, 20 * PAGE_SIZE).expect("munmap");
    let frame_of = |at: u64| {
        let pte = memory.pte(memory.pgd(mm), VirtAddr(at)).expect("it has a table");
        FakePte::pfn(pte.get())
    };
    let before: Vec<Pfn> = [private, swapped, locked].map(frame_of).into();
    let mut moved = 0;
    for _ in 0..4 {
        memory.compact_memory();
        memory.check_lists();
        let now: Vec<Pfn> = [private, swapped, locked].map(frame_of).into();
        moved |= (0..3).fold(0, |moved, at| moved | u32::from(before[at] != now[at]) << at);
    }
    assert_eq!(moved, 0b111, "one kind stays where it is");
    for mm in [mm, child] {
        assert!(memory.load(mm, private).is_err(), "a right came from nowhere");
        memory.do_mprotect(mm, private, 20 * PAGE_SIZE, RW).expect("mprotect");
        intact(&memory, mm, private, 40);
        intact(&memory, mm, swapped, 40);
        intact(&memory, mm, locked, 40);
        intact(&memory, mm, scattered, 200);
    }
    intact(&memory, child, shared, 40);
    // Copy-on-write still parts what fork shared.
    memory.store(child, locked, 77).expect("a copy");
    assert_eq!((memory.load(mm, locked), memory.load(child, locked)), (Ok(1), Ok(77)));
    memory.mmput(child, 2);
    memory.mmput(mm, 1);
    memory.check_lists();
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// A page that somebody works with stays where it is, and the others move around it.
#[test]
fn a_page_in_use_stays() {
    let memory = machine(1024, 0);
    let mm = memory.mm_alloc().expect("an address space");
    let at = scatter(&memory, mm, 460, PRIVATE);
    let pinned: Vec<Pfn> = (0..460)
        .step_by(23)
        .map(|page| memory.touch(mm, at + page * PAGE_SIZE, Access::Read).expect("a page"))
        .collect();
    pinned.iter().for_each(|&pfn| memory.get_page(pfn));
    memory.compact_memory();
    memory.check_lists();
    assert!(count(&memory, Vmstat::PgmigrateFail) > 0 && count(&memory, Vmstat::PgmigrateSuccess) > 0);
    for (page, &pfn) in (0..460).step_by(23).zip(&pinned) {
        let now = memory.touch(mm, at + page * PAGE_SIZE, Access::Read);
        assert_eq!(now, Ok(pfn));
        memory.put_page(pfn);
    }
    intact(&memory, mm, at, 460);
}

/// E8, E13: pages that cannot be moved keep to their pageblocks, so that huge blocks can be made of the others.
#[test]
fn huge_blocks_can_be_made_among_page_tables() {
    let memory = machine(6144, 0);
    let mm = memory.mm_alloc().expect("an address space");
    // A page table for every few pages: mappings 2 MiB apart.
    let kept: Vec<u64> = (0..150)
        .map(|region| {
            let at = 0x1000_0000 + region * (4 << 20);
            let flags = PRIVATE | map_flag::FIXED;
            memory
                .do_mmap(mm, at, 32 * PAGE_SIZE, RW, flags, None, 0)
                .expect("addresses");
            (0..32).for_each(|page| store(&memory, mm, at, page));
            at
        })
        .collect();
    for &at in &kept {
        for page in (1..32).step_by(2) {
            memory
                .do_madvise(mm, at + page * PAGE_SIZE, PAGE_SIZE, 4)
                .expect("madvise");
        }
    }
    // What was never used is used up, so that only scattered frames are left.
    let whole: Vec<Pfn> = std::iter::from_fn(|| memory.alloc_pages(MOVABLE, 4)).collect();
    assert!(whole.len() > 10);
    assert_eq!(memory.alloc_pages(MOVABLE, 9), None);
    let huge: Vec<Pfn> = std::iter::from_fn(|| memory.alloc_pages(Gfp::TRANSHUGE, 9)).collect();
    assert!(
        huge.len() >= 3,
        "{} of the 2 MiB blocks that 2,400 free frames could be",
        huge.len()
    );
    memory.check_lists();
    for &at in &kept {
        for page in 0..32 {
            let expected = if page % 2 == 0 { page + 1 } else { 0 };
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(expected));
        }
    }
}

/// E13: after a failure compaction is left out, longer each time; more effort ignores that, and a success ends it.
#[test]
fn failures_defer_compaction() {
    let memory = machine(1024, 0);
    // Every second frame is taken by what cannot be moved.
    let frames: Vec<Pfn> = std::iter::from_fn(|| memory.alloc_pages(Gfp::NOWAIT, 0)).collect();
    for &pfn in frames.iter().step_by(2) {
        memory.free_page(pfn);
    }
    let compact = |priority| memory.try_to_compact_pages(&context(7), priority);
    let light = || compact(CompactPriority::SyncLight);
    assert_eq!(light(), CompactResult::Complete);
    for deferred in [1, 3, 7, 15, 31, 63, 63] {
        for _ in 0..deferred {
            assert_eq!(light(), CompactResult::Deferred, "of {deferred}");
        }
        assert_eq!(light(), CompactResult::Complete);
    }
    assert_eq!(compact(CompactPriority::SyncFull), CompactResult::Complete);
    assert_eq!(
        memory.try_to_compact_pages(&context(6), CompactPriority::SyncLight),
        CompactResult::Complete,
        "smaller blocks have not failed yet"
    );
    memory.compaction_defer_reset(7);
    assert_eq!(light(), CompactResult::Complete);
}

/// E13: want of memory is none of compaction's business.
#[test]
fn without_free_memory_nothing_is_compacted() {
    let memory = machine(1024, 0);
    let all: Vec<Pfn> = std::iter::from_fn(|| memory.alloc_pages(Gfp::NOWAIT, 0)).collect();
    assert_eq!(
        memory.try_to_compact_pages(&context(3), CompactPriority::SyncFull),
        CompactResult::Skipped
    );
    for &pfn in &all {
        memory.free_page(pfn);
    }
    assert_eq!(
        memory.try_to_compact_pages(&context(3), CompactPriority::SyncFull),
        CompactResult::Success
    );
    assert_eq!(count(&memory, Vmstat::PgmigrateSuccess), 0, "there was a block");
}

/// E13: who cannot wait for a block has it compacted in the background.
#[test]
fn kswapd_compacts_for_those_who_cannot_wait() {
    let memory = machine(1024, 0);
    let mm = memory.mm_alloc().expect("an address space");
    let at = scatter(&memory, mm, 460, PRIVATE);
    let nowait = MOVABLE.with(Gfp::KSWAPD_RECLAIM);
    assert_eq!(memory.alloc_pages(nowait, 7), None);
    assert!(memory.kswapd_wanted());
    memory.kswapd();
    assert_eq!(count(&memory, Vmstat::CompactDaemonWake), 1);
    assert!(memory.alloc_pages(nowait, 7).is_some());
    intact(&memory, mm, at, 460);
    memory.check_lists();
}

/// Moving keeps a page's state, but for where it is.
#[test]
fn a_moved_page_keeps_its_state() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().expect("an address space");
    let at = map(&memory, mm, 1, PRIVATE);
    store(&memory, mm, at, 0);
    let from = memory.touch(mm, at, Access::Read).expect("a page");
    memory.lru_del(from);
    memory.page(from).set_flags(flag::ACTIVE | flag::REFERENCED);
    memory.get_page(from);
    let to = memory.alloc_page().expect("a frame");
    let state = |pfn: Pfn| {
        let page = memory.page(pfn);
        (
            page.flags.get() & !flag::LRU,
            page.mapping.get(),
            page.index.get(),
            page.mapcount.get(),
        )
    };
    let before = state(from);
    assert!(memory.migrate_page(from, to));
    assert_eq!(state(to), before);
    assert_eq!(memory.page(to).refcount.get(), 1);
    assert_eq!(memory.page(from).refcount.get(), 0);
    assert!(memory.page(to).has(flag::LRU));
    memory.check_lists();
    intact(&memory, mm, at, 1);
}

/// 0 for want of memory, 1000 for scattered memory, -1000 when there is a block.
#[test]
fn the_fragmentation_index_tells_why() {
    let memory = machine(1024, 0);
    memory.zone.list_all_free(crate::Platform::memmap(&memory.platform));
    assert_eq!(fragmentation_index(&memory.zone, 3), -1000);
    let frames: Vec<Pfn> = std::iter::from_fn(|| memory.alloc_pages(Gfp::ATOMIC.with(Gfp::MEMALLOC), 0)).collect();
    memory.zone.drain_all_pages(crate::Platform::memmap(&memory.platform));
    assert_eq!(fragmentation_index(&memory.zone, 3), 0, "there is nothing");
    for &pfn in frames.iter().step_by(2) {
        memory.free_page(pfn);
    }
    memory.zone.drain_all_pages(crate::Platform::memmap(&memory.platform));
    assert!(fragmentation_index(&memory.zone, 3) > 850);
    assert_eq!(memory.zone.free_blocks(0), 512);
}
