//! Rules F4, F10, F11, F12: what reclaim decides about one page.

use super::World;
use crate::addr::PAGE_SIZE;
use crate::mmap::map_flag;
use crate::page::{Event, flag};
use crate::platform::Vmstat;
use crate::vmscan::Reclaimer;
use crate::vmscan::page::Outcome;

/// F4: used through two entries, or for the second time: activated; once: kept, and remembered; not at all: it goes, though a call used it.
#[test]
fn was_it_used() {
    for (young, referenced, expected, after) in [
        (0, false, None, 0),
        (0, true, None, 0),
        (1, false, Some(Outcome::Keep), flag::REFERENCED),
        (1, true, Some(Outcome::Activate), flag::REFERENCED),
        (2, false, Some(Outcome::Activate), flag::REFERENCED),
        (2, true, Some(Outcome::Activate), flag::REFERENCED),
    ] {
        let world = World::new(256, 64);
        let object = world.object(1);
        let views = [0, 1].map(|_| world.map(1, map_flag::SHARED, Some(object)));
        let pfn = world.pfn(views[0]);
        views.iter().skip(young).for_each(|&view| world.forget_use(view));
        if referenced {
            world.memory.page(pfn).set_flags(flag::REFERENCED);
        }
        let outcome = world.look(pfn);
        match expected {
            Some(expected) => {
                assert_eq!(outcome, expected, "{young} entries, {referenced}");
                assert_eq!(world.memory.page(pfn).flags.get() & flag::REFERENCED, after);
                // The next look finds the entries old.
                assert!(matches!(world.look(pfn), Outcome::Write(..)));
            }
            None => assert!(matches!(outcome, Outcome::Write(..)), "{outcome:?}"),
        }
        world.memory.check_invariants();
    }
}

/// F4: a page of a locked mapping is unevictable, used or not; also when another mapping of it is not locked.
#[test]
fn a_locked_mapping_keeps_its_pages() {
    for used in [false, true] {
        let world = World::new(256, 64);
        let object = world.object(1);
        let views = [0, 1].map(|_| world.map(1, map_flag::SHARED, Some(object)));
        let pfn = world.pfn(views[0]);
        world.memory.do_mlock(world.mm, views[0], PAGE_SIZE, 1).unwrap();
        // As a fault after `mlock` would leave it.
        world.memory.lru_del(pfn);
        world.memory.page(pfn).clear_flags(flag::UNEVICTABLE);
        world.memory.lru_add(pfn);
        if !used {
            views.iter().for_each(|&view| world.forget_use(view));
        }
        assert_eq!(world.look(pfn), Outcome::Unevictable);
    }
}

/// F10: a page whose lock somebody has, that is under writeback, or that somebody works with, is kept.
#[test]
fn what_others_have_is_kept() {
    let world = World::new(256, 64);
    let at = world.private(4);
    (0..4).for_each(|page| world.forget_use(at + page * PAGE_SIZE));
    let pfns = [0, 1, 2, 3].map(|page| world.pfn(at + page * PAGE_SIZE));
    world.memory.lock_page(pfns[0]);
    world
        .memory
        .page(pfns[1])
        .steps([Event::Lock, Event::StartWriteback, Event::Unlock]);
    world.memory.get_page(pfns[2]);
    let progress = world.memory.shrink_inactive_list(4, Reclaimer::Direct);
    assert_eq!((progress.scanned, progress.reclaimed), (4, 1));
    assert_eq!(world.lists(), [3, 0, 0]);
    assert_eq!(
        world.memory.page(pfns[0]).mapcount.get(),
        1,
        "locked: not even unmapped"
    );
    assert_eq!(
        world.memory.page(pfns[1]).mapcount.get(),
        1,
        "written: not even unmapped"
    );
    assert!(
        world.memory.page(pfns[2]).has(flag::SWAPCACHE),
        "used: unmapped, and found again"
    );
    world.memory.unlock_page(pfns[0]);
    world.memory.page(pfns[1]).step(Event::EndWriteback);
    world.memory.page(pfns[1]).step(Event::Dirty);
    world.memory.put_page(pfns[2]);
    let progress = world.memory.shrink_inactive_list(3, Reclaimer::Direct);
    assert_eq!(progress.reclaimed, 3);
    for page in 0..4 {
        assert_eq!(world.memory.load(world.mm, at + page * PAGE_SIZE), Ok(page + 1));
    }
    world.memory.check_invariants();
}

/// F10: the lock comes before everything else: a locked page of a locked object is not moved.
#[test]
fn the_lock_is_looked_at_first() {
    let world = World::new(256, 64);
    let object = world.object(1);
    let at = world.map(1, map_flag::SHARED, Some(object));
    let pfn = world.pfn(at);
    world.memory.shmem_lock(object);
    world.memory.lock_page(pfn);
    world.memory.shrink_inactive_list(1, Reclaimer::Direct);
    assert_eq!(world.lists(), [1, 0, 0]);
    world.memory.unlock_page(pfn);
    world.memory.page(pfn).set_flags(flag::REFERENCED);
    assert_eq!(world.look(pfn), Outcome::Unevictable, "before its use");
    assert!(world.memory.page(pfn).has(flag::REFERENCED));
}

/// F10, F11: what a page-out comes to: written when it differs from the disk; freed when the disk has it or nobody wants it; activated when
/// there is no slot.
#[test]
fn what_a_page_out_comes_to() {
    let world = World::new(256, 3);
    let at = world.private(4);
    (0..4).for_each(|page| world.forget_use(at + page * PAGE_SIZE));
    let first = world.pfn(at);
    assert!(matches!(world.look(first), Outcome::Write(_, None)));
    // Back by a load: clean, its slot still good.
    assert_eq!(world.memory.load(world.mm, at), Ok(1));
    world.forget_use(at);
    let writes = world.memory.platform.disk.borrow().writes;
    assert_eq!(world.look(world.pfn(at)), Outcome::Free);
    assert_eq!(world.memory.platform.disk.borrow().writes, writes, "not written again");
    // Back by a store: the slot is given up, and the page is written anew.
    world.memory.store(world.mm, at, 9).unwrap();
    world.forget_use(at);
    assert!(matches!(world.look(world.pfn(at)), Outcome::Write(_, None)));
    assert!(matches!(world.look(world.pfn(at + PAGE_SIZE)), Outcome::Write(_, None)));
    // Both slots are taken.
    assert_eq!(world.look(world.pfn(at + 2 * PAGE_SIZE)), Outcome::Activate);
    assert_eq!(world.memory.load(world.mm, at), Ok(9));
    assert_eq!(world.memory.load(world.mm, at + PAGE_SIZE), Ok(2));
    assert_eq!(world.memory.load(world.mm, at + 2 * PAGE_SIZE), Ok(3));
    world.memory.check_invariants();
}

/// F12: a page of an object stays, dirty and active, when the object is locked, when there is no area, and when no slot is free;
/// otherwise the object names its slot.
#[test]
fn a_page_of_an_object_goes_or_stays() {
    for (slots, refused) in [(0, true), (2, true), (64, false)] {
        let world = World::new(256, slots);
        let object = world.object(2);
        let at = world.map(2, map_flag::SHARED, Some(object));
        if slots == 2 {
            // The only slot is taken by the other page.
            world.forget_use(at + PAGE_SIZE);
            assert!(matches!(
                world.look(world.pfn(at + PAGE_SIZE)),
                Outcome::Write(_, Some(_))
            ));
        }
        let before = world.memory.shmem_pages(object);
        world.forget_use(at);
        let pfn = world.pfn(at);
        let outcome = world.look(pfn);
        if refused {
            assert_eq!(outcome, Outcome::Activate, "{slots} slots");
            assert_eq!(world.memory.shmem_pages(object), before);
            assert!(world.memory.page(pfn).has(flag::DIRTY));
        } else {
            assert_eq!(world.memory.shmem_pages(object), (before.0 - 1, before.1 + 1));
            assert!(
                world
                    .memory
                    .filemap_get_entry(world.memory.inode(object), 0)
                    .as_value()
                    .is_some()
            );
            let (shmem, cached) = (world.counter(Vmstat::NrShmem), world.counter(Vmstat::NrSwapCached));
            assert_eq!((shmem, cached), (1, 0));
        }
        assert_eq!(world.memory.load(world.mm, at), Ok(1));
        world.memory.check_invariants();
    }
    let world = World::new(256, 64);
    let object = world.object(1);
    let at = world.map(1, map_flag::SHARED, Some(object));
    let pfn = world.pfn(at);
    world.memory.shmem_lock(object);
    assert_eq!(world.memory.shmem_writepage(pfn), None);
    assert!(!world.memory.page(pfn).has(flag::SWAPCACHE));
}
