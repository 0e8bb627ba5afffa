//! System V shared memory where no program can look, or where looking from a program takes too long.

use std::vec::Vec;

use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::ipc::{Caller, SHMMNI, mode, shm_flag};
use crate::lru::LruList;
use crate::mmap::prot;
use crate::platform::Vmstat;
use crate::testing::machine;

const ROOT: Caller = user(0);
const RW: u64 = prot::READ | prot::WRITE;
const MADV_PAGEOUT: i32 = 21;

const fn user(uid: u32) -> Caller {
    Caller {
        pid: 7,
        euid: uid,
        egid: uid,
    }
}

/// A55, A59: pages of a locked segment stay in memory, out of reclaim's way from when it found them, and are back on its lists with
/// the unlock.
#[test]
fn locked_segments_stay_in_memory() {
    const PAGES: u64 = 32;
    let memory = machine(256, 512);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0, PAGES * PAGE_SIZE, 0o600).unwrap();
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    (0..PAGES).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap());
    memory.do_madvise(mm, at, 4 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    memory.shm_lock(ROOT, id, 0).unwrap();
    assert_eq!(
        (memory.shm_info().rss, memory.shm_info().swp),
        (28, 4),
        "locking reads nothing"
    );
    assert_eq!(memory.lru_count(LruList::Unevictable), 0, "and moves nothing");
    memory.do_madvise(mm, at, 8 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    assert_eq!((memory.shm_info().rss, memory.shm_info().swp), (28, 4));
    assert_eq!(memory.lru_count(LruList::Unevictable), 4);
    let big = memory.do_mmap(mm, 0, 400 * PAGE_SIZE, RW, 0x22, None, 0).unwrap();
    (0..400).for_each(|page| memory.store(mm, big + page * PAGE_SIZE, 1).unwrap());
    assert_eq!((memory.shm_info().rss, memory.shm_info().swp), (28, 4));
    assert_eq!(memory.lru_count(LruList::Unevictable), 28);
    memory.check_invariants();
    memory.shm_unlock(ROOT, id).unwrap();
    assert_eq!(memory.lru_count(LruList::Unevictable), 0);
    memory.do_madvise(mm, at, PAGES * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    assert_eq!((memory.shm_info().rss, memory.shm_info().swp), (0, 32));
    (0..PAGES).for_each(|page| assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1)));
    memory.check_invariants();
}

/// A55: a segment that is destroyed with unevictable pages gives all of them back.
#[test]
fn a_locked_segment_leaves_nothing() {
    let memory = machine(256, 64);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0, 8 * PAGE_SIZE, 0).unwrap();
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    (0..8).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, 1).unwrap());
    memory.shm_lock(ROOT, id, 0).unwrap();
    memory.do_madvise(mm, at, 8 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    assert_eq!(memory.lru_count(LruList::Unevictable), 8);
    memory.shm_rmid(ROOT, id).unwrap();
    memory.mmput(mm, 7);
    assert_eq!(memory.lru_count(LruList::Unevictable), 0);
    assert_eq!(memory.platform.counter(Vmstat::NrShmem), 0);
    memory.check_invariants();
}

/// A54: what a user may lock is a sum over all of the user's locked segments; root has no limit.
#[test]
fn a_user_locks_so_much() {
    let memory = machine(256, 0);
    let limit = 4 * PAGE_SIZE;
    let [first, second] = [3, 2].map(|pages| memory.shmget(user(5), 0, pages * PAGE_SIZE, 0o600).unwrap());
    assert_eq!(
        memory.shm_lock(user(5), first, 0),
        Err(Error::Eperm),
        "may lock nothing"
    );
    assert_eq!(memory.shm_lock(user(5), first, limit), Ok(()));
    assert_eq!(memory.shm_lock(user(5), second, limit), Err(Error::Enomem));
    assert_eq!(memory.shm_lock(user(6), second, limit), Err(Error::Eperm));
    assert_eq!(memory.shm_lock(ROOT, second, 0), Ok(()), "root's, who has no limit");
    assert_eq!(memory.shm_unlock(ROOT, second), Ok(()));
    assert_eq!(memory.shm_unlock(user(5), first), Ok(()));
    assert_eq!(memory.shm_lock(user(5), second, limit), Ok(()));
    assert_eq!(memory.shm_rmid(user(5), second), Ok(()));
    assert_eq!(
        memory.shm_lock(user(5), first, limit),
        Ok(()),
        "a removed one counts no more"
    );
    assert_eq!(memory.shm_stat(ROOT, first).unwrap().mode, 0o600 | mode::LOCKED);
}

/// A10, A52: as many keys as there can be segments, each found, and each gone when removed, in any order.
#[test]
fn every_key_is_found() {
    let memory = machine(4096, 0);
    let key = |n: u32| (n.wrapping_mul(0x0100_0193) | 1).cast_signed();
    let ids: Vec<i32> = (0..SHMMNI)
        .map(|n| memory.shmget(ROOT, key(n), 1, shm_flag::IPC_CREAT | shm_flag::IPC_EXCL))
        .filter_map(Result::ok)
        .collect();
    let free = (0..1 << 20)
        .find(|&key| memory.shmget(ROOT, key, 0, 0) == Err(Error::Enoent) && key != 0)
        .unwrap();
    if ids.len() == SHMMNI as usize {
        assert_eq!(memory.shmget(ROOT, free, 1, shm_flag::IPC_CREAT), Err(Error::Enospc));
    }
    let keys: Vec<i32> = ids
        .iter()
        .map(|&id| memory.shm_stat(ROOT, id).unwrap().key.cast_signed())
        .collect();
    for (&id, &key) in ids.iter().zip(&keys) {
        assert_eq!(memory.shmget(ROOT, key, 1, 0), Ok(id));
    }
    for step in [3, 2, 1] {
        for at in (0..ids.len()).step_by(step) {
            let removed = memory.shm_rmid(ROOT, ids[at]);
            assert_eq!(memory.shmget(ROOT, keys[at], 1, 0), Err(Error::Enoent), "{removed:?}");
        }
    }
    assert_eq!(memory.shm_info().used_ids, 0);
}

/// A52: a key is free as soon as its segment is removed, and the segment that has it then is not touched by the end of the first.
#[test]
fn a_key_passes_on() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let create = shm_flag::IPC_CREAT | 0o600;
    let first = memory.shmget(ROOT, 5, 1, create).unwrap();
    let at = memory.shmat(ROOT, mm, first, 0, 0).unwrap();
    memory.shm_rmid(ROOT, first).unwrap();
    let second = memory.shmget(ROOT, 5, 1, create).unwrap();
    memory.shmdt(ROOT, mm, at).unwrap();
    assert_eq!(memory.shmget(ROOT, 5, 0, 0), Ok(second));
    assert_eq!(memory.shm_stat(ROOT, first), Err(Error::Einval));
}

/// A38, A43: parts that `mprotect` made stay parts, and one `shmdt` takes them all.
#[test]
fn parts_of_a_segment_stay_apart() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0, 6 * PAGE_SIZE, 0o600).unwrap();
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    let nattch = || memory.shm_stat(ROOT, id).unwrap().nattch;
    memory
        .do_mprotect(mm, at + 2 * PAGE_SIZE, PAGE_SIZE, prot::READ)
        .unwrap();
    assert_eq!(nattch(), 3);
    memory.do_mprotect(mm, at + 2 * PAGE_SIZE, PAGE_SIZE, RW).unwrap();
    assert_eq!(nattch(), 3);
    memory.check_mm(mm);
    memory.shmdt(ROOT, mm, at).unwrap();
    assert_eq!(nattch(), 0);
}

/// A38: a part at the end of one that is to be what the next one is already goes over to it, for advice and locks as for rights.
#[test]
fn an_end_goes_over_to_its_neighbour() {
    type Change =
        dyn Fn(&crate::Memory<crate::testing::FakeMachine>, crate::vma::MmId, u64, u64, bool) -> Result<(), Error>;
    let advise: &Change = &|memory, mm, at, len, set| memory.do_madvise(mm, at, len, i32::from(set));
    let lock: &Change = &|memory, mm, at, len, set| {
        if set {
            memory.do_mlock(mm, at, len, 0)
        } else {
            memory.do_munlock(mm, at, len)
        }
    };
    for change in [advise, lock] {
        let memory = machine(256, 0);
        let mm = memory.mm_alloc().unwrap();
        let id = memory.shmget(ROOT, 0, 8 * PAGE_SIZE, 0o600).unwrap();
        let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
        let nattch = || memory.shm_stat(ROOT, id).unwrap().nattch;
        change(&memory, mm, at, 5 * PAGE_SIZE, true).unwrap();
        assert_eq!(nattch(), 2);
        change(&memory, mm, at + 4 * PAGE_SIZE, 4 * PAGE_SIZE, false).unwrap();
        assert_eq!(nattch(), 2, "no third part");
        change(&memory, mm, at + 4 * PAGE_SIZE, PAGE_SIZE, true).unwrap();
        assert_eq!(nattch(), 2, "and back");
        memory.check_mm(mm);
        memory.mmput(mm, 1);
    }
}

/// A55, B31: `SHM_UNLOCK` does not move pages that an `mlock` still keeps in memory; `munlock` then does.
#[test]
fn a_page_locked_twice_is_unlocked_twice() {
    let memory = machine(256, 256);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0, PAGE_SIZE, 0o600).unwrap();
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    memory.shm_lock(ROOT, id, 0).unwrap();
    memory.do_mlock(mm, at, PAGE_SIZE, 0).unwrap();
    assert_eq!(memory.lru_count(LruList::Unevictable), 1);
    memory.shm_unlock(ROOT, id).unwrap();
    assert_eq!(memory.lru_count(LruList::Unevictable), 1, "mlock still holds it");
    memory.do_munlock(mm, at, PAGE_SIZE).unwrap();
    assert_eq!(memory.lru_count(LruList::Unevictable), 0);
    memory.check_invariants();
}
