//! Rules D21 to D27: look-ups, with others coming in between at chosen points, and what a page of the cache is counted as.

use super::find::{Race, fgp};
use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn};
use crate::mmap::{map_flag, prot};
use crate::page::{Event, flag};
use crate::platform::Vmstat;
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, machine};
use crate::xarray::Entry;

const PAGEOUT: i32 = 21;

/// An object of 8 pages, the first 4 of which are in the cache.
struct World {
    memory: Memory<FakeMachine>,
    object: InodeId,
}

impl World {
    fn new() -> Self {
        let memory = machine(256, 64);
        let object = memory.shmem_file_setup(8 * PAGE_SIZE, false).unwrap();
        memory.shmem_fallocate(object, 0, 0, 4 * PAGE_SIZE).unwrap();
        Self { memory, object }
    }

    /// The frame at an index.
    fn at(&self, index: u64) -> Option<Pfn> {
        let inode = self.memory.inode(self.object);
        self.memory.filemap_get_entry(inode, index).as_page()
    }

    fn find(&self, index: u64, fgp: u32) -> Option<Pfn> {
        self.memory
            .pagecache_get_page(self.object, index, fgp)
            .and_then(Entry::as_page)
    }

    /// A look-up in which `others` comes in at `point`, the first time it is passed.
    fn find_racing(&self, index: u64, fgp: u32, point: Race, others: impl FnOnce(&Self)) -> Option<Pfn> {
        let mut others = Some(others);
        let mut race = |now| {
            if now == point
                && let Some(others) = others.take()
            {
                others(self);
            }
        };
        let found = self
            .memory
            .pagecache_get_page_racing(self.object, index, fgp, &mut race);
        assert!(others.is_none(), "{point:?} was not passed");
        found.and_then(Entry::as_page)
    }

    fn truncate(&self, pages: u64) {
        self.memory.shmem_truncate(self.object, pages * PAGE_SIZE).unwrap();
    }

    fn allocate(&self, index: u64) {
        self.memory
            .shmem_fallocate(self.object, 0, index * PAGE_SIZE, PAGE_SIZE)
            .unwrap();
    }

    fn refcount(&self, pfn: Pfn) -> u32 {
        self.memory.page(pfn).refcount.get()
    }

    fn is_locked(&self, pfn: Pfn) -> bool {
        self.memory.page(pfn).has(flag::LOCKED)
    }

    /// Everything goes, and nothing is left of it.
    fn end(self) {
        self.memory.iput(self.object);
        self.memory.check_invariants();
        let counter = |item| self.memory.platform.counter(item);
        assert_eq!((counter(Vmstat::NrFilePages), self.memory.live_records()[0].1), (0, 0));
        // The frame of zeroes, and the swap table's two.
        let left = counter(Vmstat::Pgalloc) - counter(Vmstat::Pgfree) - counter(Vmstat::NrSlab);
        assert_eq!(left, 3, "frames are left");
    }
}

/// D21, D25: at an index is a page, a value or nothing; a look-up without flags finds pages only, with a reference, unlocked.
#[test]
fn what_an_index_holds() {
    let world = World::new();
    let memory = &world.memory;
    let mm = memory.mm_alloc().unwrap();
    let at = memory
        .do_mmap(
            mm,
            0,
            8 * PAGE_SIZE,
            prot::READ | prot::WRITE,
            map_flag::SHARED,
            Some(world.object.into()),
            0,
        )
        .unwrap();
    memory.store(mm, at + PAGE_SIZE, 5).unwrap();
    memory.do_madvise(mm, at + PAGE_SIZE, PAGE_SIZE, PAGEOUT).unwrap();
    assert_eq!(
        memory.shmem_pages(world.object),
        (3, 1),
        "values are not counted as pages"
    );
    let page = world.at(0).unwrap();
    assert_eq!(world.refcount(page), 1);
    assert_eq!(world.find(0, 0), Some(page));
    assert_eq!((world.refcount(page), world.is_locked(page)), (2, false));
    memory.put_page(page);
    assert_eq!(world.find(1, 0), None, "in swap");
    assert_eq!(world.find(1, fgp::CREAT), None, "the object's business");
    let value = memory
        .pagecache_get_page(world.object, 1, fgp::ENTRY | fgp::LOCK)
        .unwrap();
    assert!(value.as_value().is_some());
    assert_eq!(world.find(5, fgp::LOCK | fgp::ENTRY), None, "a hole");
    assert_eq!(memory.shmem_pages(world.object), (3, 1), "nothing came of looking");
    memory.do_munmap(mm, at, 8 * PAGE_SIZE).unwrap();
    memory.mmput(mm, 1);
    world.end();
}

/// D22: a page that goes, or that another takes the place of, before a reference is taken is not returned.
#[test]
fn found_and_gone_before_the_reference() {
    let world = World::new();
    assert_eq!(world.find_racing(2, 0, Race::Found, |world| world.truncate(0)), None);
    world.allocate(2);
    let old = world.at(2).unwrap();
    // Freed frames are handed out again, the last one first: index 5 gets the frame, index 2 another.
    let found = world.find_racing(2, 0, Race::Found, |world| {
        world.truncate(0);
        world.allocate(5);
        assert_eq!(world.at(5), Some(old));
        world.allocate(2);
    });
    assert_eq!(found, world.at(2));
    assert_eq!(world.refcount(old), 1, "what was taken in vain is given back");
    world.memory.put_page(found.unwrap());
    world.end();
}

/// D22: a frame that is free when the reference is to be taken stays free.
#[test]
fn found_and_freed() {
    let world = World::new();
    let free = world.memory.nr_free_pages();
    let found = world.find_racing(3, fgp::LOCK, Race::Found, |world| world.truncate(3));
    assert_eq!(found, None);
    assert_eq!(world.memory.nr_free_pages(), free + 1);
    world.end();
}

/// D23: truncation between the look-up and the lock: the reference keeps the frame, but the page is no longer the object's.
#[test]
fn truncated_before_the_lock() {
    let world = World::new();
    let free = world.memory.nr_free_pages();
    let found = world.find_racing(2, fgp::LOCK, Race::Referenced, |world| world.truncate(2));
    assert_eq!(found, None);
    assert_eq!(world.memory.nr_free_pages(), free + 2, "the reference is given back");
    // Where another page is at the index by then, that one is locked.
    let mut old = None;
    let found = world.find_racing(1, fgp::LOCK, Race::Referenced, |world| {
        old = world.at(1);
        world.truncate(0);
        world.allocate(1);
    });
    assert_eq!(found, world.at(1));
    assert_ne!(found, old);
    let found = found.unwrap();
    assert!(world.is_locked(found));
    world.memory.unlock_page(found);
    world.memory.put_page(found);
    world.end();
}

/// D23: a page that left for another object, or for another place of the same, is not the one that was asked for.
#[test]
fn moved_before_the_lock() {
    let world = World::new();
    let memory = &world.memory;
    for to_other in [false, true] {
        let other = memory.shmem_file_setup(8 * PAGE_SIZE, false).unwrap();
        let before = world.at(0);
        let found = world.find_racing(0, fgp::LOCK, Race::Referenced, |world| {
            let pfn = world.at(0).unwrap();
            // As migration would: the page itself moves.
            let page = memory.page(pfn);
            if to_other {
                page.mapping.set(other.0.get());
            } else {
                page.index.set(7);
            }
            let empty = memory.inode(world.object).i_pages().erase(memory, 0);
            assert_eq!(empty.as_page(), Some(pfn));
        });
        assert_eq!(found, None);
        // Back to where it was.
        let pfn = before.unwrap();
        assert!(!world.is_locked(pfn));
        memory.page(pfn).mapping.set(world.object.0.get());
        memory.page(pfn).index.set(0);
        memory
            .inode(world.object)
            .i_pages()
            .insert(memory, 0, Entry::page(pfn))
            .unwrap();
        memory.iput(other);
    }
    world.end();
}

/// D24: a lock that somebody has is waited for, or not.
#[test]
fn a_lock_that_somebody_has() {
    let world = World::new();
    let pfn = world.at(0).unwrap();
    world.memory.lock_page(pfn);
    assert_eq!(world.find(0, fgp::LOCK | fgp::NOWAIT), None);
    assert_eq!(world.refcount(pfn), 1);
    assert_eq!(
        world.find(0, fgp::NOWAIT),
        Some(pfn),
        "without the lock there is nothing to wait for"
    );
    world.memory.put_page(pfn);
    let found = world.find_racing(0, fgp::LOCK, Race::Contended, |world| world.memory.unlock_page(pfn));
    assert_eq!(found, Some(pfn));
    assert!(world.is_locked(pfn));
    world.memory.put_page(pfn);
    // Truncated by who had it.
    let found = world.find_racing(0, fgp::LOCK, Race::Contended, |world| {
        world.memory.unlock_page(pfn);
        world.truncate(0);
    });
    assert_eq!(found, None);
    world.end();
}

/// D24: the use is noted, and writeback waited for, if asked for.
#[test]
fn accessed_and_stable() {
    let world = World::new();
    let pfn = world.at(0).unwrap();
    let page = world.memory.page(pfn);
    for expected in [flag::REFERENCED, flag::ACTIVE, flag::ACTIVE | flag::REFERENCED] {
        assert_eq!(world.find(0, fgp::ACCESSED), Some(pfn));
        assert_eq!(page.flags.get() & (flag::ACTIVE | flag::REFERENCED), expected);
        world.memory.put_page(pfn);
    }
    page.steps([Event::Lock, Event::Uptodate, Event::StartWriteback, Event::Unlock]);
    assert_eq!(world.find(0, 0), Some(pfn));
    world.memory.put_page(pfn);
    let found = world.find_racing(0, fgp::STABLE, Race::Contended, |_| page.step(Event::EndWriteback));
    assert_eq!(found, Some(pfn));
    world.memory.put_page(pfn);
    world.memory.check_lru();
    world.end();
}

/// D24, D26: what is not there is made, locked and empty, or for a mapping unlocked; what is there is returned as it is.
#[test]
fn find_or_create() {
    let world = World::new();
    let memory = &world.memory;
    let new = world.find(6, fgp::CREAT).unwrap();
    assert_eq!(world.at(6), Some(new));
    assert!(world.is_locked(new));
    assert!(!memory.page(new).has(flag::UPTODATE) && memory.page(new).has(flag::LRU));
    assert_eq!(world.refcount(new), 2, "the cache's and the caller's");
    memory.unlock_page(new);
    memory.put_page(new);
    assert_eq!(world.find(6, fgp::CREAT | fgp::FOR_MMAP), Some(new));
    assert!(!world.is_locked(new));
    memory.put_page(new);
    let mapped = world.find(7, fgp::CREAT | fgp::FOR_MMAP | fgp::ACCESSED).unwrap();
    assert!(!world.is_locked(mapped) && memory.page(mapped).has(flag::REFERENCED));
    memory.put_page(mapped);
    assert_eq!(memory.shmem_pages(world.object), (6, 0));
    world.end();
}

/// D26: who is late finds what the other made, and its own frame is free again.
#[test]
fn two_create_one_page() {
    let world = World::new();
    let free = world.memory.nr_free_pages();
    let found = world.find_racing(5, fgp::CREAT, Race::Allocated, |world| world.allocate(5));
    assert_eq!(found, world.at(5));
    assert_eq!(world.memory.nr_free_pages(), free - 1);
    assert!(
        !world.is_locked(found.unwrap()),
        "made by the other: as a look-up without LOCK finds it"
    );
    world.memory.put_page(found.unwrap());
    world.end();
}

/// D26: without memory, for the page or for a node of the tree, there is none, and nothing is changed.
#[test]
fn no_memory_to_create() {
    for failing in 0..2 {
        let world = World::new();
        world.truncate(0);
        let free = world.memory.nr_free_pages();
        let attempts = &world.memory.platform.failing;
        let next = attempts.attempts() + failing;
        // This one and all after it: the slow path tries again.
        attempts.set(next..u64::MAX);
        // Below the node that the pages had: index 5 needs a frame, and a node.
        let found = world.find(5, fgp::CREAT | fgp::NOWAIT);
        attempts.set(0..0);
        assert_eq!(found, None, "attempt {failing}");
        assert_eq!((world.memory.nr_free_pages(), world.at(5)), (free, None));
        world.memory.check_invariants();
        world.end();
    }
}

/// D27: a page that enters is locked, referenced by the cache, knows its place and is counted; one that leaves is none of it.
#[test]
fn entering_and_leaving() {
    let world = World::new();
    let memory = &world.memory;
    let counted = || {
        let counter = |item| memory.platform.counter(item);
        (
            counter(Vmstat::NrFilePages),
            counter(Vmstat::NrShmem),
            memory.shmem_pages(world.object).0,
        )
    };
    assert_eq!(counted(), (4, 4, 4));
    let pfn = world.find(6, fgp::CREAT).unwrap();
    let page = memory.page(pfn);
    assert_eq!((page.mapping.get(), page.index.get()), (world.object.0.get(), 6));
    assert!(page.has(flag::LOCKED | flag::SWAPBACKED | flag::DIRTY));
    assert_eq!(counted(), (5, 5, 5));
    memory.unlock_page(pfn);
    world.truncate(6);
    assert_eq!(counted(), (4, 4, 4));
    assert_eq!(
        (page.mapping.get(), page.refcount.get()),
        (0, 1),
        "the caller's reference"
    );
    memory.put_page(pfn);
    world.end();
}
