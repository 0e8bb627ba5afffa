//! Files in address spaces: what a descriptor allows, and what stores through a mapping do to times.

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::mmap::{MapFile, map_flag, prot};
use crate::shmem::{InodeId, falloc};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const RIGHTS: [u64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A file of four pages, and a process.
fn world() -> (Memory<FakeMachine>, MmId, InodeId) {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let file = memory.memfd_create(0o100_600, (0, 0), 0).unwrap();
    memory.shmem_truncate(file, 4 * PAGE_SIZE).unwrap();
    (memory, mm, file)
}

fn opened(inode: InodeId, readable: bool, writable: bool, opened: u64) -> Option<MapFile> {
    Some(MapFile {
        inode,
        readable,
        writable,
        opened,
    })
}

/// B5: a descriptor that cannot be read cannot be mapped at all, one that cannot be written not shared and writable.
#[test]
fn what_a_descriptor_allows() {
    let (memory, mm, file) = world();
    for (readable, writable) in [(false, false), (false, true), (true, false), (true, true)] {
        for shared in [false, true] {
            let flags = if shared { map_flag::SHARED } else { map_flag::PRIVATE };
            for rights in RIGHTS {
                let through = opened(file, readable, writable, 1);
                let result = memory.do_mmap(mm, 0, PAGE_SIZE, rights, flags, through, 0);
                let allowed = readable && (writable || !shared || rights & prot::WRITE == 0);
                assert_eq!(
                    result.map(|_| ()),
                    if allowed { Ok(()) } else { Err(Error::Eacces) },
                    "rights {rights} of a descriptor {readable} {writable}, shared {shared}"
                );
            }
        }
    }
}

/// B6: a shared mapping through a descriptor that cannot be written stays read-only; a private one does not.
#[test]
fn rights_that_can_be_added() {
    let (memory, mm, file) = world();
    for (flags, writable, allowed) in [
        (map_flag::SHARED, false, Err(Error::Eacces)),
        (map_flag::SHARED, true, Ok(())),
        (map_flag::PRIVATE, false, Ok(())),
    ] {
        let through = opened(file, true, writable, 1);
        let at = memory.do_mmap(mm, 0, PAGE_SIZE, prot::READ, flags, through, 0).unwrap();
        assert_eq!(memory.store(mm, at, 1), Err(Fault::SegvAccerr));
        assert_eq!(memory.do_mprotect(mm, at, PAGE_SIZE, RW), allowed);
        let stored = memory.store(mm, at, 1);
        assert_eq!(stored, allowed.map_err(|_| Fault::SegvAccerr));
    }
}

/// B23: pages that follow each other, through two descriptors, are two mappings, also after `mprotect` made them alike.
#[test]
fn two_descriptors_are_two_mappings() {
    const AT: u64 = 0x1000_0000;
    for second in [1, 2] {
        let (memory, mm, file) = world();
        let flags = map_flag::SHARED | map_flag::FIXED;
        memory
            .do_mmap(mm, AT, PAGE_SIZE, prot::READ, flags, opened(file, true, true, 1), 0)
            .unwrap();
        let through = opened(file, true, true, second);
        memory
            .do_mmap(mm, AT + PAGE_SIZE, PAGE_SIZE, RW, flags, through, 1)
            .unwrap();
        assert_eq!(memory.mm_size(mm).0, 2);
        memory.do_mprotect(mm, AT, PAGE_SIZE, RW).unwrap();
        assert_eq!(memory.mm_size(mm).0, second, "descriptors 1 and {second}");
        memory.check_mm(mm);
    }
}

/// B44: a store that faults on a shared mapping of an opened file changes its times; others do not, and loads and private stores do not.
#[test]
fn times_of_stores() {
    for (flags, through, changes) in [
        (map_flag::SHARED, 1, true),
        (map_flag::PRIVATE, 1, false),
        (map_flag::SHARED, 0, false),
    ] {
        let (memory, mm, file) = world();
        memory.set_fault_around_bytes(PAGE_SIZE).unwrap();
        let opened = opened(file, true, true, through);
        let at = memory.do_mmap(mm, 0, 4 * PAGE_SIZE, RW, flags, opened, 0).unwrap();
        let changed = |second: i64, access: &dyn Fn()| {
            memory.platform.clock_s.set(second);
            access();
            let stat = memory.getattr(file);
            assert_eq!(
                stat.mtime_ns == second * 1_000_000_000,
                stat.ctime_ns == second * 1_000_000_000
            );
            stat.mtime_ns == second * 1_000_000_000
        };
        assert_eq!(changed(2_000, &|| memory.store(mm, at, 1).unwrap()), changes, "a hole");
        assert!(
            !changed(2_001, &|| memory.store(mm, at, 2).unwrap()),
            "it can be stored to already"
        );
        assert!(
            !changed(2_002, &|| assert_eq!(memory.load(mm, at + PAGE_SIZE), Ok(0))),
            "a load"
        );
        memory.do_mprotect(mm, at, PAGE_SIZE, prot::READ).unwrap();
        memory.do_mprotect(mm, at, PAGE_SIZE, RW).unwrap();
        // `mprotect` gives the entry its rights back, so that nothing faults, as on Linux.
        let again = changed(2_003, &|| memory.store(mm, at, 3).unwrap());
        assert!(!again, "rights that were away");
    }
}

/// C23: `fallocate`, holes and `ftruncate`, to the same size too, change both times. Reading through a mapping changes none.
#[test]
fn times_of_changes() {
    let (memory, mm, file) = world();
    let at = memory
        .do_mmap(mm, 0, 4 * PAGE_SIZE, RW, map_flag::SHARED, Some(file.into()), 0)
        .unwrap();
    let times = || {
        let stat = memory.getattr(file);
        (stat.mtime_ns / 1_000_000_000, stat.ctime_ns / 1_000_000_000)
    };
    let hole = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
    let changes: [&dyn Fn() -> Result<(), Error>; 7] = [
        &|| memory.shmem_fallocate(file, 0, 0, PAGE_SIZE),
        &|| memory.shmem_fallocate(file, falloc::KEEP_SIZE, 9 * PAGE_SIZE, PAGE_SIZE),
        &|| memory.shmem_fallocate(file, hole, 0, PAGE_SIZE),
        &|| memory.shmem_fallocate(file, hole, 90 * PAGE_SIZE, PAGE_SIZE),
        &|| memory.shmem_truncate(file, PAGE_SIZE),
        &|| memory.shmem_truncate(file, 4 * PAGE_SIZE),
        &|| memory.shmem_truncate(file, 4 * PAGE_SIZE),
    ];
    for (nth, change) in (1..).zip(changes) {
        memory.platform.clock_s.set(2_000 + nth);
        memory.load(mm, at).unwrap();
        assert_ne!(times(), (2_000 + nth, 2_000 + nth));
        change().unwrap();
        assert_eq!(times(), (2_000 + nth, 2_000 + nth), "change {nth}");
    }
}
