//! Getting a page of an object: what it is wanted for, what is there, and what that comes to.

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::mmap::{map_flag, prot};
use crate::page::flag;
use crate::platform::Platform;
use crate::shmem::{InodeId, Sgp, falloc};
use crate::testing::{FakeMachine, POISON, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const MADV_PAGEOUT: i32 = 21;
const PURPOSES: [Sgp; 3] = [Sgp::Cache, Sgp::Write, Sgp::Falloc];
/// The highest index that a file of 2^63-1 bytes has.
const LAST: u64 = i64::MAX as u64 / PAGE_SIZE;

/// A file of 8 pages, all of it mapped.
struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
    file: InodeId,
    view: u64,
}

impl World {
    fn new() -> Self {
        let memory = machine(256, 64);
        let mm = memory.mm_alloc().unwrap();
        let file = memory.memfd_create(0o100_600, (0, 0), 0).unwrap();
        memory.shmem_truncate(file, 8 * PAGE_SIZE).unwrap();
        let view = memory
            .do_mmap(mm, 0, 8 * PAGE_SIZE, RW, map_flag::SHARED, Some(file.into()), 0)
            .unwrap();
        Self { memory, mm, file, view }
    }

    /// The flags of the page that is got, and the page given back.
    fn got(&self, index: u64, sgp: Sgp) -> Result<u32, Error> {
        let got = self.memory.shmem_getpage(self.file, index, sgp)?;
        let flags = self.memory.page(got.pfn).flags.get();
        assert!(
            self.memory.page(got.pfn).refcount.get() >= 2,
            "the cache's reference, and one for the caller"
        );
        self.memory.put_page(got.pfn);
        Ok(flags)
    }

    /// First word of a page of the cache, whatever it holds.
    fn word(&self, index: u64) -> u64 {
        let inode = self.memory.inode(self.file);
        let pfn = self.memory.filemap_get_entry(inode, index).as_page().unwrap();
        self.memory.platform.frame(pfn)[0].get()
    }

    fn counts(&self) -> (u64, u64, u64) {
        let (resident, swapped) = self.memory.shmem_pages(self.file);
        (resident, swapped, self.memory.getattr(self.file).blocks)
    }

    fn end(self) {
        self.memory.check_invariants();
        self.memory.mmput(self.mm, 1);
        self.memory.iput(self.file);
        assert_eq!(self.memory.swap_inuse_pages(), 0);
        assert_eq!(self.memory.committed_as(), 0);
    }
}

/// C1, C2 (1), (2): an index that no file has is EFBIG for all; behind the end, faults get EINVAL, writers and `fallocate` a page.
#[test]
fn the_end_is_looked_at_first() {
    let world = World::new();
    for sgp in PURPOSES {
        for index in [LAST + 1, u64::MAX] {
            assert_eq!(world.got(index, sgp), Err(Error::Efbig), "{sgp:?} of {index:#x}");
        }
    }
    for index in [8, LAST] {
        assert_eq!(world.got(index, Sgp::Cache), Err(Error::Einval));
    }
    assert_eq!(world.counts(), (0, 0, 0), "nothing was allocated for them");
    assert!(world.got(8, Sgp::Write).is_ok());
    assert!(world.got(LAST, Sgp::Falloc).is_ok());
    assert_eq!(
        world.got(8, Sgp::Cache),
        Err(Error::Einval),
        "also where a page is by now"
    );
    assert_eq!(world.counts(), (2, 0, 16));
    world.end();
}

/// C1, C2 (11) to (13), C11: a hole gets a page of zeroes for a fault, and one without content for a writer and for `fallocate`. It is
/// unlocked when it is handed out, backed by swap, on a list of reclaim's, and counted.
#[test]
fn a_hole_is_filled_as_its_purpose_needs() {
    const ALWAYS: u32 = flag::SWAPBACKED | flag::LRU | flag::DIRTY;
    for (index, sgp) in (0..).zip(PURPOSES) {
        let world = World::new();
        let flags = world.got(index, sgp).unwrap();
        assert_eq!(flags & ALWAYS, ALWAYS, "{sgp:?}");
        assert_eq!(flags & (flag::LOCKED | flag::ACTIVE | flag::ANON), 0, "{sgp:?}");
        assert_eq!(flags & flag::UPTODATE != 0, sgp == Sgp::Cache, "{sgp:?}");
        assert_eq!(world.word(index), if sgp == Sgp::Cache { 0 } else { POISON }, "{sgp:?}");
        assert_eq!(world.counts(), (1, 0, 8));
        world.end();
    }
}

/// C1, C2 (7): what `fallocate` left without content reads as a hole, and has its zeroes as soon as anybody else gets it.
#[test]
fn allocated_pages_get_their_zeroes_when_they_are_got() {
    for sgp in PURPOSES {
        let world = World::new();
        world.memory.shmem_fallocate(world.file, 0, 0, PAGE_SIZE).unwrap();
        assert_eq!(world.word(0), POISON);
        assert_ne!(world.got(0, sgp).unwrap() & flag::UPTODATE, 0, "{sgp:?}");
        assert_eq!(world.word(0), 0);
        assert_eq!(world.counts(), (1, 0, 8), "it is the same page");
        world.end();
    }
}

/// C2 (5), (8), C8: what is there is got, from the cache or from swap, and blocks are what is in either.
#[test]
fn what_is_there_is_got() {
    for sgp in PURPOSES {
        let world = World::new();
        for page in 0..4 {
            world
                .memory
                .store(world.mm, world.view + page * PAGE_SIZE, 7 + page)
                .unwrap();
        }
        assert_eq!(world.counts(), (4, 0, 32));
        let out = world
            .memory
            .do_madvise(world.mm, world.view, 2 * PAGE_SIZE, MADV_PAGEOUT);
        assert_eq!(out, Ok(()));
        assert_eq!(world.counts(), (2, 2, 32));
        for page in 0..4 {
            world.got(page, sgp).unwrap();
            assert_eq!(world.word(page), 7 + page, "{sgp:?}");
        }
        assert_eq!(world.counts(), (4, 0, 32));
        let hole = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
        world
            .memory
            .shmem_fallocate(world.file, hole, PAGE_SIZE, PAGE_SIZE)
            .unwrap();
        assert_eq!(world.counts(), (3, 0, 24));
        world.end();
    }
}

/// C6: a file's pages are charged as they come and uncharged as they go; those of an object that was charged at its creation are not
/// charged again.
#[test]
fn each_page_is_charged_once() {
    let world = World::new();
    let charged = world.memory.committed_as();
    for page in 0..4 {
        world.memory.store(world.mm, world.view + page * PAGE_SIZE, 1).unwrap();
        assert_eq!(world.memory.committed_as(), charged + page + 1);
    }
    world
        .memory
        .do_madvise(world.mm, world.view, PAGE_SIZE, MADV_PAGEOUT)
        .unwrap();
    assert_eq!(world.memory.committed_as(), charged + 4, "in swap, too");
    world.memory.shmem_truncate(world.file, PAGE_SIZE).unwrap();
    assert_eq!(world.memory.committed_as(), charged + 1);
    let shared = map_flag::SHARED | map_flag::ANONYMOUS;
    let at = world
        .memory
        .do_mmap(world.mm, 0, 3 * PAGE_SIZE, RW, shared, None, 0)
        .unwrap();
    assert_eq!(world.memory.committed_as(), charged + 4);
    world.memory.store(world.mm, at, 1).unwrap();
    assert_eq!(world.memory.committed_as(), charged + 4);
    world.memory.shmem_truncate(world.file, 0).unwrap();
    assert_eq!(world.memory.committed_as(), charged + 3);
    world.end();
}

/// C6, B20: a page beyond the limit of commitments is no space to a writer, and SIGBUS to a fault.
#[test]
fn a_page_that_may_not_be_promised_is_refused() {
    let world = World::new();
    world.memory.set_overcommit(crate::overcommit::OvercommitMode::Never, 0);
    let limit = world.memory.vm_commit_limit();
    assert_eq!(limit, 63, "swap alone, less its header");
    world.memory.shmem_truncate(world.file, 100 * PAGE_SIZE).unwrap();
    let error = world.memory.shmem_fallocate(world.file, 0, 0, 100 * PAGE_SIZE);
    assert_eq!(error, Err(Error::Enospc));
    assert_eq!(world.counts(), (0, 0, 0), "undone");
    assert_eq!(world.memory.committed_as(), 0);
    world
        .memory
        .shmem_fallocate(world.file, 0, 10 * PAGE_SIZE, (limit - 1) * PAGE_SIZE)
        .unwrap();
    let fault = world.memory.store(world.mm, world.view, 1);
    assert_eq!(fault, Err(crate::error::Fault::BusAdrerr));
    world.end();
}
