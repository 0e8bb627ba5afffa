//! Rules F1 to F12: the lists, what moves pages between them, and what reclaim decides about one page.

use super::page::Outcome;
use super::{KSWAPD_FAILURES_MAX, RUNS_IN_VAIN_MAX, Reclaimer, Scan};
use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::lru::LruList;
use crate::mmap::{map_flag, prot};
use crate::page::{Event, flag};
use crate::platform::{PteFormat, Vmstat};
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::MmId;
use crate::zone::Watermark;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;

/// A program with pages.
struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
}

impl World {
    fn new(frames: u32, slots: u32) -> Self {
        let memory = machine(frames, slots);
        let mm = memory.mm_alloc().unwrap();
        Self { memory, mm }
    }

    /// Pages of private memory, stored to in order; each has its number in it.
    fn private(&self, pages: u64) -> u64 {
        self.map(pages, PRIVATE, None)
    }

    fn map(&self, pages: u64, kind: u64, object: Option<InodeId>) -> u64 {
        let at = self
            .memory
            .do_mmap(self.mm, 0, pages * PAGE_SIZE, RW, kind, object.map(Into::into), 0)
            .unwrap();
        for page in 0..pages {
            self.memory.store(self.mm, at + page * PAGE_SIZE, page + 1).unwrap();
        }
        at
    }

    fn object(&self, pages: u64) -> InodeId {
        self.memory.shmem_file_setup(pages * PAGE_SIZE, false).unwrap()
    }

    fn pfn(&self, addr: u64) -> Pfn {
        let pte = self.memory.pte(self.memory.pgd(self.mm), VirtAddr(addr)).unwrap();
        assert!(FakePte::is_present(pte.get()));
        FakePte::pfn(pte.get())
    }

    /// Nobody has used the page lately.
    fn forget_use(&self, addr: u64) {
        let pte = self.memory.pte(self.memory.pgd(self.mm), VirtAddr(addr)).unwrap();
        pte.set(FakePte::mkold(pte.get()));
    }

    /// What reclaim decides about a page, which is then put back; what is to be written or freed is written or freed.
    fn look(&self, pfn: Pfn) -> Outcome {
        let page = self.memory.page(pfn);
        self.memory.lru_del(pfn);
        self.memory.get_page(pfn);
        page.step(Event::Lock);
        let outcome = self.memory.shrink_page(pfn, false);
        match outcome {
            Outcome::Write(slot, inode) => {
                let mut batch = super::batch::Batch::new();
                self.memory.add_to_batch(&mut batch, pfn, slot, inode);
                assert_eq!(self.memory.write_batch(&mut batch), 1);
            }
            Outcome::Free => {
                page.step(Event::Unlock);
                self.memory.free_swap_cached(pfn);
            }
            _ => {
                page.step(Event::Unlock);
                self.memory.putback_lru_page(pfn);
            }
        }
        outcome
    }

    /// Pages on the inactive, the active and the unevictable list.
    fn lists(&self) -> [u32; 3] {
        [LruList::InactiveAnon, LruList::ActiveAnon, LruList::Unevictable].map(|list| self.memory.lru_count(list))
    }

    fn counter(&self, item: Vmstat) -> u64 {
        self.memory.platform.counter(item)
    }
}

/// A round that looks at a `1 << priority`th.
fn round(priority: u32) -> Scan {
    Scan {
        who: Reclaimer::Direct,
        priority,
        target: u32::MAX,
        force_deactivate: false,
    }
}

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
