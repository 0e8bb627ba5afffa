//! What may be promised: the modes of overcommit, and that every charge comes back.

use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{map_flag, prot};
use crate::overcommit::OvercommitMode;
use crate::testing::machine;

const ROOT: Caller = Caller {
    pid: 1,
    euid: 0,
    egid: 0,
};
const FRAMES: u64 = 400;
const SLOTS: u64 = 100;
const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS;

/// B19, A11: the guess refuses one request beyond RAM and swap, and not many that are together.
#[test]
fn the_guess_looks_at_one_request() {
    let memory = machine(FRAMES as u32, SLOTS as u32);
    let mm = memory.mm_alloc().unwrap();
    let most = memory.totalram_pages() + memory.total_swap_pages();
    let map = |pages, flags| memory.do_mmap(mm, 0, pages * PAGE_SIZE, RW, flags, None, 0);
    assert_eq!(map(most + 1, PRIVATE), Err(Error::Enomem));
    assert_eq!(map(most + 1, SHARED), Err(Error::Enomem));
    for _ in 0..3 {
        map(most, PRIVATE).unwrap();
        map(most, SHARED).unwrap();
    }
    map(most + 1, PRIVATE | map_flag::NORESERVE).unwrap();
    assert_eq!(memory.committed_as(), 6 * most);
    assert_eq!(memory.shmget(ROOT, 0, (most + 1) * PAGE_SIZE, 0), Err(Error::Enomem));
    memory
        .shmget(ROOT, 0, (most + 1) * PAGE_SIZE, shm_flag::SHM_NORESERVE)
        .unwrap();
    memory.mmput(mm, 1);
    assert_eq!(memory.committed_as(), 0, "B21");
}

/// B20, A12: mode 1 refuses nothing.
#[test]
fn always_refuses_nothing() {
    let memory = machine(FRAMES as u32, 0);
    memory.set_overcommit(OvercommitMode::Always, 50);
    let mm = memory.mm_alloc().unwrap();
    let len = 1 << 45;
    assert!(memory.do_mmap(mm, 0, len, RW, PRIVATE, None, 0).is_ok());
    assert!(memory.shmget(ROOT, 0, len, 0).is_ok());
}

/// B20, B21, A12: mode 2 promises swap and half of RAM, whatever NORESERVE says; fork and mprotect charge, unmapping gives back.
#[test]
fn never_promises_more_than_the_limit() {
    let memory = machine(FRAMES as u32, SLOTS as u32);
    memory.set_overcommit(OvercommitMode::Never, 50);
    let limit = memory.vm_commit_limit();
    assert_eq!(limit, FRAMES / 2 + SLOTS - 1);
    let mm = memory.mm_alloc().unwrap();
    let map = |pages, rights, flags| memory.do_mmap(mm, 0, pages * PAGE_SIZE, rights, flags, None, 0);
    for flags in [
        PRIVATE,
        SHARED,
        PRIVATE | map_flag::NORESERVE,
        SHARED | map_flag::NORESERVE,
    ] {
        assert_eq!(
            map(limit, RW, flags),
            Err(Error::Enomem),
            "the limit itself is too much"
        );
        assert_eq!(memory.committed_as(), 0);
    }
    let half = limit / 2;
    let private = map(half, RW, PRIVATE).unwrap();
    let read_only = map(limit, prot::READ, PRIVATE).unwrap();
    assert_eq!(memory.committed_as(), half, "what cannot be written is not charged");
    assert_eq!(
        memory.do_mprotect(mm, read_only, limit * PAGE_SIZE, RW),
        Err(Error::Enomem),
        "B18"
    );
    let child = memory.dup_mmap(mm, 1).unwrap();
    assert_eq!(memory.committed_as(), 2 * half, "the child is charged, too");
    assert_eq!(memory.dup_mmap(mm, 1), Err(Error::Enomem));
    memory.mmput(child, 2);
    let big = limit - memory.committed_as();
    let segment = memory.shmget(ROOT, 0, big * PAGE_SIZE, shm_flag::SHM_NORESERVE);
    assert_eq!(segment, Err(Error::Enomem));
    let before = memory.committed_as();
    memory.do_munmap(mm, private, PAGE_SIZE).unwrap();
    assert_eq!(memory.committed_as(), before - 1);
}
