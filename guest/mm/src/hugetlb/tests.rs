//! Rules A21 to A27, B12, G9, one by one, and drawn: programs that map, store, copy, cut and truncate in turn, while allocations fail. What
//! Linux says is in `tests/c/hugetlb.c`; here, that nothing is lost.

use std::vec::Vec;

use proptest::prelude::*;

use super::HugetlbCounters;
use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::huge::HPAGE_SIZE;
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{advice, map_flag, prot, remap_flag};
use crate::shmem::{InodeId, falloc};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::HUGETLB;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS | map_flag::HUGETLB;
const AT: u64 = 0x4000_0000;
const ROOT: Caller = Caller {
    pid: 1,
    euid: 0,
    egid: 0,
};

struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
}

impl World {
    /// A machine with room for `huge` pages besides what records need, and a pool of `pool`.
    fn new(huge: u32, pool: u64) -> Self {
        let memory = machine((huge + 2) * 512, 0);
        let mm = memory.mm_alloc().expect("an address space");
        memory.set_nr_hugepages(pool);
        Self { memory, mm }
    }

    fn map(&self, pages: u64, flags: u64) -> Result<u64, Error> {
        self.memory.do_mmap(self.mm, 0, pages * HPAGE_SIZE, RW, flags, None, 0)
    }

    fn map_file(&self, file: InodeId, first: u64, pages: u64, flags: u64) -> u64 {
        let (len, pgoff) = (pages * HPAGE_SIZE, first * 512);
        self.memory
            .do_mmap(self.mm, 0, len, RW, flags | map_flag::HUGETLB, Some(file.into()), pgoff)
            .expect("mmap")
    }

    fn unmap(&self, at: u64, pages: u64) {
        self.memory.do_munmap(self.mm, at, pages * HPAGE_SIZE).expect("munmap");
    }

    fn file(&self, pages: u64) -> InodeId {
        let file = self
            .memory
            .memfd_create_hugetlb(0, 0o100_777, (0, 0), 0)
            .expect("a memory file");
        self.memory.shmem_truncate(file, pages * HPAGE_SIZE).expect("a size");
        file
    }

    /// (total, free, reserved, surplus)
    fn pool(&self) -> (u64, u64, u64, u64) {
        let HugetlbCounters {
            total,
            free,
            resv,
            surplus,
            ..
        } = self.memory.hugetlb_counters();
        (total, free, resv, surplus)
    }

    fn store(&self, at: u64, value: u64) -> Result<(), Fault> {
        self.memory.store(self.mm, at, value)
    }

    fn load(&self, at: u64) -> Result<u64, Fault> {
        self.memory.load(self.mm, at)
    }

    /// All of the pool is free, and goes back to the allocator.
    fn end(self) {
        self.memory.mmput(self.mm, 1);
        let counters = self.memory.hugetlb_counters();
        assert_eq!(
            (counters.free, counters.resv, counters.surplus),
            (counters.total, 0, 0),
            "the pool in the end"
        );
        self.memory.set_nr_hugepages(0);
        self.memory.check_hugetlb();
        self.memory.check_no_huge();
        self.memory.check_invariants();
        assert_eq!(self.pool(), (0, 0, 0, 0));
        assert_eq!(self.memory.committed_as(), 0);
        for (name, left) in self.memory.live_records() {
            assert_eq!(left, 0, "{name}");
        }
    }
}

/// G9: a pool takes what there is, and gives it back.
#[test]
fn a_pool_is_as_large_as_memory_allows() {
    let world = World::new(6, 0);
    let free = world.memory.nr_free_pages();
    world.memory.set_nr_hugepages(1000);
    let (total, ..) = world.pool();
    assert!((4..=7).contains(&total), "{total} huge pages");
    assert_eq!(world.pool(), (total, total, 0, 0));
    assert_eq!(world.memory.nr_hugepages(), total);
    assert_eq!(world.memory.nr_free_pages(), free - total * 512);
    world.memory.set_nr_hugepages(1);
    assert_eq!(world.pool(), (1, 1, 0, 0));
    assert_eq!(world.memory.nr_free_pages(), free - 512);
    world.end();
}

/// B12, A26: whole pages, and what there is of them is reserved.
#[test]
fn mappings_reserve() {
    let world = World::new(6, 3);
    let at = world.map(2, PRIVATE).expect("mmap");
    assert_eq!(at % HPAGE_SIZE, 0);
    assert_eq!(world.pool(), (3, 3, 2, 0));
    assert_eq!(world.map(2, PRIVATE), Err(Error::Enomem));
    assert_eq!(world.map(2, SHARED), Err(Error::Enomem));
    world.store(at + HPAGE_SIZE + 8, 7).expect("a store");
    assert_eq!(world.pool(), (3, 2, 1, 0));
    assert_eq!(world.memory.mm_sizes(world.mm).hugetlb, 512);
    let unreserved = world.map(2, PRIVATE | map_flag::NORESERVE).expect("mmap");
    world.store(unreserved, 1).expect("a store");
    assert_eq!(world.store(unreserved + HPAGE_SIZE, 1), Err(Fault::BusAdrerr));
    for (start, len) in [(at + PAGE_SIZE, HPAGE_SIZE), (at, PAGE_SIZE)] {
        assert_eq!(world.memory.do_munmap(world.mm, start, len), Err(Error::Einval));
        assert_eq!(
            world.memory.do_mprotect(world.mm, start, len, prot::READ),
            Err(Error::Einval)
        );
    }
    assert_eq!(world.load(at + HPAGE_SIZE + 8), Ok(7));
    world.unmap(at, 1);
    assert_eq!(
        world.pool(),
        (3, 1, 0, 0),
        "the rest of the reservation went with its page"
    );
    world.memory.check_mm(world.mm);
    world.end();
}

/// B27: what was reserved, and what was used of it, moves.
#[test]
fn a_moved_mapping_keeps_its_reservation() {
    let world = World::new(6, 3);
    let at = world.map(3, PRIVATE).expect("mmap");
    world.store(at, 5).expect("a store");
    let flags = remap_flag::MAYMOVE | remap_flag::FIXED;
    let (two, to) = (2 * HPAGE_SIZE, AT);
    assert_eq!(world.memory.do_mremap(world.mm, at, two, two, flags, to), Ok(to));
    assert_eq!(world.load(to), Ok(5));
    world.store(to + HPAGE_SIZE, 6).expect("a store");
    assert_eq!(world.pool(), (3, 1, 1, 0));
    world.unmap(at + two, 1);
    assert_eq!(world.pool(), (3, 1, 0, 0));
    world.end();
}

/// A22, A23, A27, A38: a segment of huge pages.
#[test]
fn segments_reserve() {
    let world = World::new(6, 3);
    let get = |size, more| world.memory.shmget(ROOT, 0, size, 0o600 | shm_flag::SHM_HUGETLB | more);
    let id = get(HPAGE_SIZE + 1, 0).expect("a segment");
    assert_eq!(world.memory.shm_tot(), 513);
    assert_eq!(world.pool(), (3, 3, 2, 0));
    assert_eq!(get(2 * HPAGE_SIZE, 0), Err(Error::Enomem));
    assert_eq!(get(HPAGE_SIZE, 13 << shm_flag::SHM_HUGE_SHIFT), Err(Error::Einval));
    assert_eq!(get(HPAGE_SIZE, 30 << shm_flag::SHM_HUGE_SHIFT), Err(Error::Enomem));
    let user = Caller {
        euid: 7,
        egid: 7,
        ..ROOT
    };
    let flags = 0o600 | shm_flag::SHM_HUGETLB;
    assert_eq!(world.memory.shmget(user, 0, HPAGE_SIZE, flags), Err(Error::Eperm));
    assert_eq!(
        world.memory.shmat(ROOT, world.mm, id, AT + PAGE_SIZE, 0),
        Err(Error::Einval)
    );
    let at = world.memory.shmat(ROOT, world.mm, id, 0, 0).expect("shmat");
    world.store(at + 2 * HPAGE_SIZE - 8, 3).expect("a store");
    assert_eq!(world.memory.shm_info().rss, 512);
    world
        .memory
        .do_mprotect(world.mm, at, HPAGE_SIZE, prot::READ)
        .expect("mprotect");
    world
        .memory
        .do_mprotect(world.mm, at, HPAGE_SIZE, RW)
        .expect("mprotect");
    assert_eq!(world.memory.shm_stat(ROOT, id).expect("a segment").nattch, 2);
    world.memory.shm_lock(ROOT, id, 0).expect("SHM_LOCK");
    assert_eq!(world.memory.shm_stat(ROOT, id).expect("a segment").mode, 0o600);
    world.memory.shmdt(ROOT, world.mm, at).expect("shmdt");
    assert_eq!(world.pool(), (3, 2, 1, 0));
    world.memory.shm_rmid(ROOT, id).expect("IPC_RMID");
    assert_eq!(world.pool(), (3, 3, 0, 0));
    world.end();
}

/// A24, B41: who reserved keeps its content when the pool is empty; the child that had the page, too, gets a signal.
#[test]
fn the_owner_takes_a_page_from_its_child() {
    let world = World::new(6, 2);
    let at = world.map(2, PRIVATE).expect("mmap");
    world.store(at, 1).expect("a store");
    world.store(at + HPAGE_SIZE, 2).expect("a store");
    let child = world.memory.dup_mmap(world.mm, 2).expect("fork");
    assert_eq!(world.memory.load(child, at), Ok(1));
    assert_eq!(world.memory.store(child, at, 9), Err(Fault::BusAdrerr));
    world.store(at, 3).expect("the owner's store");
    assert_eq!(world.memory.load(child, at), Err(Fault::BusAdrerr));
    assert_eq!(world.memory.load(child, at + HPAGE_SIZE), Ok(2));
    assert_eq!(world.pool(), (2, 0, 0, 0));
    world.memory.mmput(child, 2);
    assert_eq!((world.load(at), world.load(at + HPAGE_SIZE)), (Ok(3), Ok(2)));
    world.end();
}

/// B40, C28: a hole takes private copies along; what they were made of is promised again.
#[test]
fn a_hole_takes_copies_along() {
    let world = World::new(8, 4);
    let file = world.file(2);
    let shared = world.map_file(file, 0, 2, map_flag::SHARED);
    let private = world.map_file(file, 0, 2, map_flag::PRIVATE);
    assert_eq!(world.pool(), (4, 4, 4, 0));
    world.store(shared, 1).expect("a store");
    world.store(private, 2).expect("a store");
    assert_eq!((world.load(shared), world.load(private)), (Ok(1), Ok(2)));
    assert_eq!(world.pool(), (4, 2, 2, 0));
    let hole = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
    world.memory.shmem_fallocate(file, hole, 0, HPAGE_SIZE).expect("a hole");
    assert_eq!(world.pool(), (4, 4, 3, 0));
    assert_eq!((world.load(private), world.load(shared)), (Ok(0), Ok(0)));
    world.memory.shmem_truncate(file, HPAGE_SIZE).expect("truncate");
    assert_eq!(world.load(shared + HPAGE_SIZE), Err(Fault::BusAdrerr));
    world.memory.iput(file);
    world.end();
}

/// B33: a page that goes is promised again, unless it is one too many.
#[test]
fn advice_gives_pages_back() {
    let world = World::new(8, 2);
    world.memory.set_nr_overcommit_hugepages(1);
    let at = world.map(2, PRIVATE).expect("mmap");
    world.store(at, 1).expect("a store");
    let dontneed = |len| world.memory.do_madvise(world.mm, at, len, advice::DONTNEED);
    assert_eq!(dontneed(PAGE_SIZE), Ok(()));
    assert_eq!(world.load(at), Ok(1), "a part of a page stays");
    assert_eq!(dontneed(HPAGE_SIZE), Ok(()));
    assert_eq!(world.pool(), (2, 2, 2, 0));
    assert_eq!(world.load(at), Ok(0));
    let more = world.map(1, SHARED).expect("mmap");
    assert_eq!(world.pool(), (3, 2, 2, 1), "a surplus page was made");
    assert_eq!(dontneed(HPAGE_SIZE), Ok(()));
    assert_eq!(world.pool(), (2, 2, 2, 0), "and one goes, with its promise");
    world.unmap(more, 1);
    assert_eq!(world.store(at, 3), Ok(()));
    assert_eq!(
        world.memory.do_madvise(world.mm, at, HPAGE_SIZE, advice::FREE),
        Err(Error::Einval)
    );
    world.end();
}

/// What a program does.
#[derive(Clone, Copy, Debug)]
enum Op {
    Pool(u64),
    Overcommit(u64),
    Map(u64, bool, bool),
    MapFile(u64, u64, bool),
    Unmap(usize, u64, u64),
    Store(usize, u64, bool),
    DontNeed(usize, u64),
    Punch(u64, u64),
    Truncate(u64),
    Allocate(u64, u64),
    Fork,
    ChildEnds,
    Move(usize),
    Fail(u64, u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0..7u64).prop_map(Op::Pool),
        (0..3u64).prop_map(Op::Overcommit),
        (1..4u64, any::<bool>(), any::<bool>()).prop_map(|(pages, shared, reserve)| Op::Map(pages, shared, reserve)),
        (0..3u64, 1..4u64, any::<bool>()).prop_map(|(first, pages, shared)| Op::MapFile(first, pages, shared)),
        (0..4usize, 0..3u64, 1..3u64).prop_map(|(which, from, pages)| Op::Unmap(which, from, pages)),
        (0..4usize, 0..4u64, any::<bool>()).prop_map(|(which, page, child)| Op::Store(which, page, child)),
        (0..4usize, 0..4u64, any::<bool>()).prop_map(|(which, page, child)| Op::Store(which, page, child)),
        (0..4usize, 0..4u64).prop_map(|(which, page)| Op::DontNeed(which, page)),
        (0..4u64, 1..3u64).prop_map(|(first, pages)| Op::Punch(first, pages)),
        (0..5u64).prop_map(Op::Truncate),
        (0..4u64, 1..3u64).prop_map(|(first, pages)| Op::Allocate(first, pages)),
        Just(Op::Fork),
        Just(Op::ChildEnds),
        (0..4usize).prop_map(Op::Move),
        (0..12u64, 1..40u64).prop_map(|(after, count)| Op::Fail(after, count)),
    ];
    proptest::collection::vec(op, 1..60)
}

/// Does what is drawn; refusals are as good as successes. After each step, the pool's counts agree with its list and with each other.
fn play(ops: &[Op]) {
    let world = World::new(8, 4);
    let (memory, mm) = (&world.memory, world.mm);
    let file = world.file(3);
    let mut maps: Vec<(u64, u64)> = Vec::new();
    let mut child = None;
    for op in ops {
        let chosen = |which: usize| (!maps.is_empty()).then(|| maps[which % maps.len()]);
        match *op {
            Op::Pool(pages) => memory.set_nr_hugepages(pages),
            Op::Overcommit(pages) => memory.set_nr_overcommit_hugepages(pages),
            Op::Map(pages, shared, reserve) => {
                let flags = if shared { SHARED } else { PRIVATE };
                let flags = flags | if reserve { 0 } else { map_flag::NORESERVE };
                maps.extend(world.map(pages, flags).ok().map(|at| (at, pages)));
            }
            Op::MapFile(first, pages, shared) => {
                let flags = if shared { map_flag::SHARED } else { map_flag::PRIVATE };
                let (len, file) = (pages * HPAGE_SIZE, Some(file.into()));
                let at = memory.do_mmap(mm, 0, len, RW, flags | map_flag::HUGETLB, file, first * 512);
                maps.extend(at.ok().map(|at| (at, pages)));
            }
            Op::Unmap(which, from, pages) => {
                if let Some((at, all)) = chosen(which) {
                    let from = from % all;
                    let len = pages.min(all - from) * HPAGE_SIZE;
                    let _ = memory.do_munmap(mm, at + from * HPAGE_SIZE, len);
                }
            }
            Op::Store(which, page, by_child) => {
                let space = if by_child { child } else { Some(mm) };
                if let (Some((at, pages)), Some(space)) = (chosen(which), space) {
                    let _ = memory.store(space, at + (page % pages) * HPAGE_SIZE, page + 1);
                }
            }
            Op::DontNeed(which, page) => {
                if let Some((at, pages)) = chosen(which) {
                    let start = at + (page % pages) * HPAGE_SIZE;
                    let _ = memory.do_madvise(mm, start, HPAGE_SIZE, advice::DONTNEED);
                }
            }
            Op::Punch(first, pages) => {
                let hole = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
                let _ = memory.shmem_fallocate(file, hole, first * HPAGE_SIZE, pages * HPAGE_SIZE);
            }
            Op::Truncate(pages) => {
                let _ = memory.shmem_truncate(file, pages * HPAGE_SIZE);
            }
            Op::Allocate(first, pages) => {
                let _ = memory.shmem_fallocate(file, 0, first * HPAGE_SIZE, pages * HPAGE_SIZE);
            }
            Op::Fork if child.is_none() => child = memory.dup_mmap(mm, 2).ok(),
            Op::Fork => {}
            Op::ChildEnds => {
                if let Some(child) = child.take() {
                    memory.mmput(child, 2);
                }
            }
            Op::Move(which) => {
                if let Some((at, pages)) = chosen(which) {
                    let (len, flags) = (pages * HPAGE_SIZE, remap_flag::MAYMOVE | remap_flag::FIXED);
                    let to = AT + (maps.len() as u64) * 8 * HPAGE_SIZE;
                    if memory.do_mremap(mm, at, len, len, flags, to).is_ok() {
                        maps.push((to, pages));
                    }
                }
            }
            Op::Fail(after, count) => {
                let first = memory.platform.failing.attempts() + after;
                memory.platform.failing.set(first..first + count);
            }
        }
        memory.check_hugetlb();
        memory.check_mm(mm);
    }
    memory.platform.failing.set(0..0);
    if let Some(child) = child {
        memory.mmput(child, 2);
    }
    memory.iput(file);
    memory.set_nr_overcommit_hugepages(0);
    world.end();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// G9, A23, A27: whatever is done, and whatever allocation fails, every page and every promise is accounted for.
    #[test]
    fn no_page_and_no_promise_is_lost(ops in ops()) {
        play(&ops);
    }
}
