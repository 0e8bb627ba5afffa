//! Rules B25, B27, B30, B31, B41, F10, F15, F18, F30: huge pages through fork, `mprotect`, `mremap`, `munmap`, swap, locks and compaction.

use super::*;

/// B41, F18: after fork a store copies one small page, on whichever side; who is alone with a huge page keeps it.
#[test]
fn fork_shares_huge_pages() {
    let world = World::new(6144, 0);
    let at = world.map(AT, 2 * HPAGE_SIZE, PRIVATE);
    world.fill(at, 2 * PAGES);
    let tables = world.memory.mm_counters(world.mm).3;
    let child = world.memory.dup_mmap(world.mm, 1).expect("fork");
    assert_eq!(world.memory.mm_counters(child), (2 * PAGES, 0, 0, tables));
    let free = world.memory.nr_free_pages();
    world.memory.store(child, at + 5 * PAGE_SIZE, 1000).expect("a copy");
    assert!(
        free - world.memory.nr_free_pages() <= 1,
        "the child copied more than a page"
    );
    assert_eq!(
        (world.load(at, 5), world.memory.load(child, at + 5 * PAGE_SIZE)),
        (6, Ok(1000))
    );
    world.store(at, 700, 2000);
    assert_eq!(world.memory.load(child, at + 700 * PAGE_SIZE), Ok(701));
    world.intact(at, 0..700);
    world.memory.mmput(child, 2);
    let splits = world.counters().thp_split_pmd;
    world.store(at, 6, 3000);
    assert_eq!(world.counters().thp_split_pmd, splits, "it was alone with the page");
    assert_eq!(world.load(at, 5), 6);
    world.end(&[]);
}

/// B25, B27: rights of parts, and moves: a leaf moves as one where both places allow it.
#[test]
fn rights_and_places_of_leaves() {
    let world = World::new(6144, 0);
    let at = world.map(AT, 2 * HPAGE_SIZE, PRIVATE);
    world.fill(at, 2 * PAGES);
    world
        .memory
        .do_mprotect(world.mm, at, HPAGE_SIZE, prot::READ)
        .expect("mprotect");
    assert_eq!(world.counters().anon_thps, 2, "rights of all of it");
    assert!(world.memory.store(world.mm, at, 1).is_err());
    world.memory.do_mprotect(world.mm, at, 4096, 0).expect("mprotect");
    assert_eq!(world.counters().anon_thps, 1, "rights of a part");
    assert!(world.memory.load(world.mm, at).is_err());
    world
        .memory
        .do_mprotect(world.mm, at, HPAGE_SIZE, RW)
        .expect("mprotect");
    world.intact(at, 0..2 * PAGES);
    let to = AT + 16 * HPAGE_SIZE;
    let move_to = |from, to| {
        let flags = crate::mmap::remap_flag::MAYMOVE | crate::mmap::remap_flag::FIXED;
        world
            .memory
            .do_mremap(world.mm, from, HPAGE_SIZE, HPAGE_SIZE, flags, to)
            .expect("mremap")
    };
    let second = move_to(at + HPAGE_SIZE, to);
    assert_eq!(world.counters().anon_thps, 1, "from one aligned place to another");
    assert_eq!(world.load(second, 3), PAGES + 4);
    let third = move_to(second, to + 4 * HPAGE_SIZE + PAGE_SIZE);
    assert_eq!(world.counters().anon_thps, 0, "not to one that is not");
    assert_eq!(world.load(third, 3), PAGES + 4);
    world.intact(at, 0..PAGES);
    world.end(&[]);
}

/// What is unmapped of a huge page is free at once; the rest stays.
#[test]
fn a_part_of_private_memory_goes() {
    let world = World::new(4096, 0);
    for whole in [false, true] {
        let free = world.memory.nr_free_pages();
        let at = world.map(AT, HPAGE_SIZE, PRIVATE);
        world.fill(at, PAGES);
        let used = world.memory.nr_free_pages();
        if whole {
            world.memory.do_munmap(world.mm, at, 100 * PAGE_SIZE).expect("munmap");
        } else {
            world
                .memory
                .do_madvise(world.mm, at, 100 * PAGE_SIZE, advice::DONTNEED)
                .expect("advice");
            assert_eq!(world.load(at, 50), 0);
        }
        assert_eq!(world.memory.nr_free_pages() - used, 100);
        assert_eq!(world.rss().0, PAGES - 100);
        world.intact(at, 100..PAGES);
        world.memory.do_munmap(world.mm, at, HPAGE_SIZE).expect("munmap");
        assert!(free - world.memory.nr_free_pages() <= 2, "the tables above it");
    }
    world.end(&[]);
}

/// F15, C9: a huge page goes to swap as small ones and comes back as such; `i_blocks` stays.
#[test]
fn huge_pages_go_to_swap() {
    let world = World::new(4096, 4096);
    let (_, file) = world.mount(0, ShmemPolicy::Always);
    world.memory.shmem_truncate(file, HPAGE_SIZE).expect("a size");
    let at = world.map_file(AT, HPAGE_SIZE, file, 0);
    let private = world.map(AT + 2 * HPAGE_SIZE, HPAGE_SIZE, PRIVATE);
    for at in [at, private] {
        world.fill(at, PAGES);
        let blocks = world.blocks(file);
        world
            .memory
            .do_madvise(world.mm, at, HPAGE_SIZE, advice::PAGEOUT)
            .expect("advice");
        assert_eq!(world.blocks(file), blocks);
    }
    assert_eq!(world.memory.platform.counter(Vmstat::Pswpout), 2 * PAGES);
    assert_eq!(
        (
            world.counters().shmem_thps,
            world.counters().anon_thps,
            world.counters().thp_split_page
        ),
        (0, 0, 2)
    );
    world.memory.check_invariants();
    world.intact(at, 0..PAGES);
    world.intact(private, 0..PAGES);
    world.end(&[file]);
}

/// F15, F10: memory runs out, and huge pages make room; nothing is lost.
#[test]
fn reclaim_splits_huge_pages() {
    let world = World::new(2200, 4096);
    let pages = 6 * PAGES;
    let at = world.map(AT, pages * PAGE_SIZE, PRIVATE);
    world.fill(at, pages);
    assert!(world.counters().thp_fault_alloc >= 2 && world.counters().thp_split_page >= 1);
    world.memory.check_invariants();
    world.intact(at, 0..pages);
    world.end(&[]);
}

/// B31, F30: what is locked stays.
#[test]
fn locked_huge_pages_stay() {
    let world = World::new(4096, 4096);
    let at = world.map(AT, HPAGE_SIZE, PRIVATE);
    world.fill(at, PAGES);
    world.memory.do_mlock(world.mm, at, HPAGE_SIZE, 0).expect("mlock");
    assert_eq!(world.memory.lru_count(crate::lru::LruList::Unevictable), HPAGE_PAGES);
    let other = world.map(AT + 4 * HPAGE_SIZE, 7 * HPAGE_SIZE, PRIVATE);
    world.fill(other, 7 * PAGES);
    assert_eq!((world.counters().anon_thps >= 1, world.rss().0 >= PAGES), (true, true));
    let entry = world.memory.entry_at(world.memory.pgd(world.mm), VirtAddr(at));
    assert_ne!(entry, 0);
    world.memory.do_munlock(world.mm, at, HPAGE_SIZE).expect("munlock");
    assert_eq!(world.memory.lru_count(crate::lru::LruList::Unevictable), 0);
    world.intact(at, 0..PAGES);
    world.end(&[]);
}

/// B30: a leaf's pages are in memory.
#[test]
fn mincore_sees_leaves() {
    let world = World::new(4096, 0);
    let at = world.map(AT, HPAGE_SIZE + 4096, PRIVATE);
    world.store(at, 9, 1);
    let mut resident: Vec<u8> = vec![9; 513];
    world.memory.do_mincore(world.mm, at, &mut resident).expect("mincore");
    assert!(resident[..512].iter().all(|&byte| byte == 1) && resident[512] == 0);
    world.end(&[]);
}

/// Compaction leaves huge pages where they are, and does not look at entries that were never made.
#[test]
fn compaction_steps_over_huge_pages() {
    let world = World::new(4096, 0);
    let at = world.map(AT, 3 * HPAGE_SIZE, PRIVATE);
    let beside = world.map(AT + 8 * HPAGE_SIZE, 200 * PAGE_SIZE, PRIVATE);
    world.fill(beside, 200);
    world.fill(at, 3 * PAGES);
    world.memory.compact_memory();
    world.memory.check_invariants();
    assert_eq!(world.counters().anon_thps, 3);
    world.intact(at, 0..3 * PAGES);
    world.intact(beside, 0..200);
    world.end(&[]);
}
