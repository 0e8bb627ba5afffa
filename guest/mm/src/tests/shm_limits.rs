//! How large segments may be and how many, which ids they get, and what of an address space they need.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::ipc::{Caller, SHMMAX, ShmLimits, shm_flag};
use crate::mmap::{Rlimits, lock_flag};
use crate::testing::{FakeMachine, machine};

const ROOT: Caller = Caller {
    pid: 1,
    euid: 0,
    egid: 0,
};

fn get(memory: &Memory<FakeMachine>, bytes: u64) -> Result<i32, Error> {
    memory.shmget(ROOT, 0, bytes, 0o600)
}

/// A8, A9, A10: each limit with its error, in this order; what is there stays when they sink.
#[test]
fn limits_are_looked_at_in_order() {
    let memory = machine(256, 0);
    let first = get(&memory, 3 * PAGE_SIZE + 1).unwrap();
    let limits = ShmLimits {
        max_bytes: 4 * PAGE_SIZE,
        all_pages: 8,
        mni: 3,
    };
    memory.set_shm_limits(limits).unwrap();
    assert_eq!(memory.shm_limits(), limits);
    assert_eq!(get(&memory, 4 * PAGE_SIZE + 1), Err(Error::Einval), "shmmax");
    // The first counts as four pages, so four are left.
    let second = get(&memory, 3 * PAGE_SIZE).unwrap();
    assert_eq!(get(&memory, PAGE_SIZE + 1), Err(Error::Enospc), "shmall");
    let third = get(&memory, 1).unwrap();
    assert_eq!(memory.shm_tot(), 8, "which may be reached");
    assert_eq!(get(&memory, 1), Err(Error::Enospc));
    memory.shm_rmid(ROOT, second).unwrap();
    memory.set_shm_limits(ShmLimits { mni: 2, ..limits }).unwrap();
    assert_eq!(get(&memory, 1), Err(Error::Enospc), "shmmni");
    assert_eq!(
        get(&memory, 4 * PAGE_SIZE + 1),
        Err(Error::Einval),
        "shmmax comes first"
    );
    let none = ShmLimits {
        max_bytes: 0,
        all_pages: 0,
        mni: 0,
    };
    memory.set_shm_limits(none).unwrap();
    assert_eq!(memory.shm_stat(ROOT, first).unwrap().segsz, 3 * PAGE_SIZE + 1);
    assert_eq!(memory.shmget(ROOT, 0, 0, 0), Err(Error::Einval));
    for id in [first, third] {
        memory.shm_rmid(ROOT, id).unwrap();
    }
    assert_eq!(memory.shm_tot(), 0);
    assert_eq!(
        memory.set_shm_limits(ShmLimits { mni: 32769, ..none }),
        Err(Error::Einval)
    );
}

/// A9: a sum that no number of pages can hold is beyond any limit.
#[test]
fn a_sum_of_pages_does_not_wrap() {
    let memory = machine(256, 0);
    let most = ShmLimits {
        max_bytes: SHMMAX,
        all_pages: u64::MAX,
        mni: 4096,
    };
    memory.set_shm_limits(most).unwrap();
    // As if there were so many already.
    memory.ipc.shm_tot.set(u64::MAX - 2);
    assert_eq!(get(&memory, 3 * PAGE_SIZE), Err(Error::Enospc));
    let id = get(&memory, 2 * PAGE_SIZE).unwrap();
    assert_eq!(memory.shm_tot(), u64::MAX);
    memory.shm_rmid(ROOT, id).unwrap();
    memory.ipc.shm_tot.set(0);
}

/// A13: sizes that no file can have; the largest that one can is refused by what may be promised.
#[test]
fn sizes_are_signed() {
    let memory = machine(256, 0);
    for size in [1 << 63, (1 << 63) + 1, SHMMAX] {
        assert_eq!(get(&memory, size), Err(Error::Einval), "{size:#x}");
    }
    assert_eq!(get(&memory, (1 << 63) - 1), Err(Error::Enomem));
    assert_eq!((memory.shm_tot(), memory.committed_as()), (0, 0));
}

/// A15: a segment is an object without a name, of zeroes, without a page until one is touched.
#[test]
fn a_new_segment_is_an_empty_object() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let id = memory
        .shmget(ROOT, 7, 5 * PAGE_SIZE, shm_flag::IPC_CREAT | 0o600)
        .unwrap();
    assert_eq!((memory.shm_info().rss, memory.shm_info().swp), (0, 0));
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    assert_eq!(memory.shm_info().rss, 0, "nor does attaching it fault any in");
    for page in 0..5 {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE + 8 * page), Ok(0));
        assert_eq!(memory.shm_info().rss, page + 1);
    }
    let file = crate::vma_tree::find_vma(&memory, memory.mm(mm), crate::addr::VirtAddr(at))
        .and_then(|vma| memory.vma(vma).vm_file())
        .unwrap();
    let stat = memory.getattr(file);
    assert_eq!((stat.nlink, stat.size, stat.blocks), (0, 5 * PAGE_SIZE, 5 * 8));
}

/// A18: an id can be asked for, once.
#[test]
fn the_next_id_can_be_chosen() {
    let memory = machine(256, 0);
    assert_eq!(memory.shm_next_id(), -1);
    assert_eq!(get(&memory, 1), Ok(0));
    memory.set_shm_next_id(7 * 32768 + 100).unwrap();
    assert_eq!(memory.shm_next_id(), 7 * 32768 + 100);
    assert_eq!(get(&memory, 1), Ok(7 * 32768 + 100));
    assert_eq!(memory.shm_next_id(), -1);
    assert_eq!(get(&memory, 1), Ok(1), "the cycle goes on where it was");
    memory.set_shm_next_id(100).unwrap();
    assert_eq!(get(&memory, 1), Ok(101), "100 is in use");
    memory.set_shm_next_id(32767).unwrap();
    assert_eq!(get(&memory, 1), Ok(32767));
    memory.set_shm_next_id(2 * 32768 - 1).unwrap();
    assert_eq!(get(&memory, 1), Err(Error::Enospc), "nothing is above the last index");
    assert_eq!(memory.set_shm_next_id(-2), Err(Error::Einval));
    memory.set_shm_next_id(-1).unwrap();
    assert_eq!(get(&memory, 1), Ok(2));
    assert!(memory.shm_stat(ROOT, 100).is_err(), "its sequence number is 7");
    memory.shm_rmid(ROOT, 7 * 32768 + 100).unwrap();
}

/// A40: no room among addresses, or in the limit of the address space: nothing is attached. With `mlockall(MCL_FUTURE)` pages are there
/// at once.
#[test]
fn attaching_needs_room() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let huge = memory
        .shmget(ROOT, 0, 1 << 47, shm_flag::SHM_NORESERVE | 0o600)
        .unwrap();
    assert_eq!(memory.shmat(ROOT, mm, huge, 0, 0), Err(Error::Enomem), "no such range");
    let id = get(&memory, 4 * PAGE_SIZE).unwrap();
    let limits = Rlimits {
        address_space: 3 * PAGE_SIZE,
        ..Rlimits::INIT
    };
    memory.set_rlimits(mm, limits);
    assert_eq!(memory.shmat(ROOT, mm, id, 0, 0), Err(Error::Enomem), "RLIMIT_AS");
    for id in [huge, id] {
        assert_eq!(memory.shm_stat(ROOT, id).unwrap().nattch, 0);
    }
    memory.set_rlimits(mm, Rlimits::INIT);
    memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    assert_eq!(memory.shm_info().rss, 0);
    memory.do_mlockall(mm, lock_flag::MCL_FUTURE).unwrap();
    memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    assert_eq!(memory.shm_info().rss, 4);
}

proptest! {
    /// A65, A66: whatever comes and goes, a key has one segment, an id has one, and the pages of all of them are what is counted.
    #[test]
    fn keys_and_ids_are_unique(ops in prop::collection::vec((0..4u8, 0..5i32, 1..5u64, any::<usize>()), 1..120)) {
        let memory = machine(256, 0);
        let mm = memory.mm_alloc().unwrap();
        // By id: key (0 once removed) and pages.
        let mut live: BTreeMap<i32, (i32, u64)> = BTreeMap::new();
        let mut attached: Vec<(u64, i32)> = Vec::new();
        for (kind, key, pages, nth) in ops {
            let some = live.keys().nth(nth % live.len().max(1)).copied();
            match (kind, some) {
                (0 | 1, _) => {
                    let flags = if kind == 0 { shm_flag::IPC_CREAT | 0o600 } else { 0 };
                    let known = live.iter().find(|(_, of)| key != 0 && of.0 == key).map(|(&id, of)| (id, of.1));
                    match (memory.shmget(ROOT, key, pages * PAGE_SIZE, flags), known) {
                        (Ok(id), Some((known, _))) => prop_assert_eq!(id, known),
                        (Ok(id), None) => prop_assert_eq!(live.insert(id, (key, pages)), None, "an id in use"),
                        (Err(Error::Einval), Some((_, size))) => prop_assert!(pages > size),
                        (Err(error), None) => prop_assert_eq!((error, kind, key != 0), (Error::Enoent, 1, true)),
                        (Err(error), Some(_)) => prop_assert!(false, "{:?}", error),
                    }
                }
                (2, Some(id)) => attached.push((memory.shmat(ROOT, mm, id, 0, 0).unwrap(), id)),
                (_, Some(id)) => {
                    memory.shm_rmid(ROOT, id).unwrap();
                    live.get_mut(&id).unwrap().0 = -1;
                    if nth % 3 == 0 && !attached.is_empty() {
                        let (at, _) = attached.swap_remove(nth % attached.len());
                        memory.shmdt(ROOT, mm, at).unwrap();
                    }
                    live.retain(|id, of| of.0 != -1 || attached.iter().any(|(_, attached)| attached == id));
                }
                (_, None) => {}
            }
            prop_assert_eq!(memory.shm_tot(), live.values().map(|of| of.1).sum::<u64>());
            for id in 0..4 {
                prop_assert_eq!(memory.shm_stat(ROOT, id).is_ok(), live.contains_key(&id), "id {}", id);
            }
        }
    }
}
