//! Rules F1, F2, F3, F5, F6, F8: the lists, and what moves pages between them.

use super::{World, round};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::mmap::map_flag;
use crate::page::flag;
use crate::platform::PteFormat;
use crate::testing::FakePte;
use crate::vmscan::page::Outcome;
use crate::vmscan::{Reclaimer, Scan};

/// F1, F2: a new page of an object and a new private page are inactive; pages of objects are with the private ones; locked ones apart.
#[test]
fn where_pages_begin() {
    let world = World::new(256, 64);
    let object = world.object(4);
    world.map(4, map_flag::SHARED, Some(object));
    assert_eq!(world.lists(), [4, 0, 0]);
    let private = world.private(3);
    assert_eq!(world.lists(), [7, 0, 0]);
    world.memory.do_mlock(world.mm, private, 2 * PAGE_SIZE, 0).unwrap();
    assert_eq!(world.lists(), [5, 0, 2]);
    // SHM_LOCK moves nothing by itself; what reclaim finds, it moves.
    world.memory.shmem_lock(object);
    assert_eq!(world.lists(), [5, 0, 2]);
    world.memory.shrink_inactive_list(4, Reclaimer::Direct);
    assert_eq!(world.lists(), [1, 0, 6]);
    world.memory.shmem_unlock(object);
    world.memory.do_munlock(world.mm, private, 2 * PAGE_SIZE).unwrap();
    assert_eq!(world.lists(), [7, 0, 0]);
    world.memory.check_invariants();
}

/// F3: what a use by a call makes of each state, and that an unevictable page is not activated.
#[test]
fn marking_a_page_accessed() {
    let world = World::new(256, 64);
    let pfn = world.pfn(world.private(1));
    let page = world.memory.page(pfn);
    let state = || page.flags.get() & (flag::ACTIVE | flag::REFERENCED);
    for (expected, lists) in [
        (flag::REFERENCED, [1, 0, 0]),
        (flag::ACTIVE, [0, 1, 0]),
        (flag::ACTIVE | flag::REFERENCED, [0, 1, 0]),
        (flag::ACTIVE | flag::REFERENCED, [0, 1, 0]),
    ] {
        world.memory.mark_page_accessed(pfn);
        assert_eq!((state(), world.lists()), (expected, lists));
    }
    world.memory.shrink_active_list(1);
    assert_eq!((state(), world.lists()), (0, [1, 0, 0]));
    world.memory.lru_del(pfn);
    page.set_flags(flag::UNEVICTABLE | flag::REFERENCED);
    world.memory.lru_add(pfn);
    world.memory.mark_page_accessed(pfn);
    assert_eq!((state(), world.lists()), (flag::REFERENCED, [0, 0, 1]));
    // Off the lists, the flag says where it will be put.
    world.memory.lru_del(pfn);
    page.clear_flags(flag::UNEVICTABLE);
    world.memory.mark_page_accessed(pfn);
    assert_eq!(state(), flag::ACTIVE);
    world.memory.lru_add(pfn);
    assert_eq!(world.lists(), [0, 1, 0]);
}

/// F3: reading and writing a memory file are such uses; a read counts where it begins with the page's first byte.
#[test]
fn reads_and_writes_are_uses() {
    let world = World::new(256, 64);
    let file = world.memory.memfd_create(0o100_600, (0, 0), 0).unwrap();
    let buffer = world.private(1);
    let memory = &world.memory;
    let write = || memory.shmem_file_write(file, 0, world.mm, buffer, 8).unwrap();
    let read = |pos| memory.shmem_file_read(file, pos, world.mm, buffer, 8).unwrap();
    write();
    let pfn = memory.filemap_get_entry(memory.inode(file), 0).as_page().unwrap();
    let state = || memory.page(pfn).flags.get() & (flag::ACTIVE | flag::REFERENCED);
    assert_eq!(state(), flag::REFERENCED);
    read(4);
    assert_eq!(state(), flag::REFERENCED);
    read(0);
    assert_eq!(state(), flag::ACTIVE);
    write();
    assert_eq!(state(), flag::ACTIVE | flag::REFERENCED);
}

/// F5: active pages are deactivated, oldest first, where there are more of them than inactive ones, and lose what was known of their use.
#[test]
fn when_the_active_list_shrinks() {
    let world = World::new(512, 128);
    let at = world.private(40);
    let pfns: std::vec::Vec<Pfn> = (0..40).map(|page| world.pfn(at + page * PAGE_SIZE)).collect();
    for &pfn in &pfns[..20] {
        world.memory.mark_page_accessed(pfn);
        world.memory.mark_page_accessed(pfn);
        world.memory.mark_page_accessed(pfn);
    }
    assert_eq!(world.lists(), [20, 20, 0]);
    assert!(!world.memory.inactive_is_low());
    world.memory.age_active_anon();
    assert_eq!(world.lists(), [20, 20, 0], "as many are enough");
    world.memory.mark_page_accessed(pfns[30]);
    world.memory.mark_page_accessed(pfns[30]);
    assert!(world.memory.inactive_is_low());
    world.memory.shrink_active_list(3);
    assert_eq!(world.lists(), [22, 18, 0]);
    for (page, &pfn) in pfns.iter().enumerate() {
        let active = world.memory.page(pfn).has(flag::ACTIVE);
        assert_eq!(active, (3..20).contains(&page) || page == 30, "page {page}");
    }
    assert!(!world.memory.page(pfns[0]).has(flag::REFERENCED));
    // Their entries are old now: the next look takes them.
    assert!(matches!(world.look(pfns[0]), Outcome::Write(..)));
    assert_eq!(world.look(pfns[25]), Outcome::Keep, "used since");
}

/// F6: without a swap area, or without room in it, the lists are not looked at.
#[test]
fn without_room_in_swap_nothing_is_looked_at() {
    let world = World::new(256, 0);
    let at = world.private(64);
    (0..64).for_each(|page| world.forget_use(at + page * PAGE_SIZE));
    let progress = world.memory.shrink_lruvec(&round(0));
    assert_eq!((progress.scanned, progress.reclaimed), (0, 0));
    let world = World::new(256, 17);
    let at = world.private(64);
    (0..64).for_each(|page| world.forget_use(at + page * PAGE_SIZE));
    let progress = world.memory.shrink_lruvec(&round(0));
    assert_eq!(progress.reclaimed, 16, "until it is full");
    assert_eq!(world.memory.shrink_lruvec(&round(0)).scanned, 0);
    world.memory.check_invariants();
}

/// F8: a round looks at its share of the list, from the oldest page on, and ends when enough is freed.
#[test]
fn a_round_looks_at_its_share() {
    let world = World::new(1024, 512);
    let at = world.private(512);
    (0..512).for_each(|page| world.forget_use(at + page * PAGE_SIZE));
    assert_eq!(world.memory.shrink_lruvec(&round(12)).scanned, 0, "a 4,096th of 512");
    for (priority, share) in [(9, 1), (6, 7), (4, 31)] {
        let progress = world.memory.shrink_lruvec(&round(priority));
        assert_eq!((progress.scanned, progress.reclaimed), (share, share));
    }
    // The first 39 went, in order: the others are mapped.
    for page in 0..512 {
        let pte = world
            .memory
            .pte(world.memory.pgd(world.mm), VirtAddr(at + page * PAGE_SIZE))
            .unwrap();
        assert_eq!(FakePte::is_present(pte.get()), page >= 39, "page {page}");
    }
    let progress = world.memory.shrink_lruvec(&Scan { target: 40, ..round(1) });
    assert_eq!(progress.reclaimed, 64, "two clusters of 32");
    assert_eq!(world.memory.platform.disk.borrow().writes, 103);
    world.memory.check_invariants();
}
