//! What calls on mappings refuse, charge and leave as it was, as tests/c/mappings.c sees it on Linux 6.18; here also where that would take
//! more memory than a host has to give.

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::mmap::{Rlimits, TASK_SIZE, advice, map_flag, prot, remap_flag};
use crate::overcommit::OvercommitMode;
use crate::shmem::{falloc, seal};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const BASE: u64 = 0x4000_0000;
const MOVES: u64 = remap_flag::MAYMOVE | remap_flag::FIXED;
const STAYS: u64 = remap_flag::MAYMOVE | remap_flag::DONTUNMAP;

fn page(number: u64) -> u64 {
    BASE + number * PAGE_SIZE
}

fn map(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64, prot: u64) -> Result<u64, Error> {
    memory.do_mmap(mm, at, pages * PAGE_SIZE, prot, PRIVATE | map_flag::FIXED, None, 0)
}

/// B27: `mremap` to a smaller size with an old length that leaves the addresses of programs: what is mapped above stays.
#[test]
fn no_shrinking_past_the_end_of_addresses() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, BASE, 4, RW).unwrap();
    map(&memory, mm, page(100), 1, RW).unwrap();
    for old_len in [
        1 << 47,
        TASK_SIZE - BASE + PAGE_SIZE,
        (2 * PAGE_SIZE).wrapping_neg(),
        BASE.wrapping_neg(),
    ] {
        assert_eq!(
            memory.do_mremap(mm, BASE, old_len, PAGE_SIZE, 0, 0),
            Err(Error::Einval),
            "{old_len:#x}"
        );
        let moved = memory.do_mremap(mm, BASE, old_len, PAGE_SIZE, MOVES, BASE - 4 * PAGE_SIZE);
        assert_eq!(moved, Err(Error::Einval), "{old_len:#x}");
    }
    assert_eq!(memory.mm_size(mm), (2, 5));
    assert_eq!(
        memory.do_mremap(mm, BASE, TASK_SIZE - BASE, PAGE_SIZE, 0, 0),
        Ok(BASE),
        "up to it, all goes"
    );
    assert_eq!(memory.mm_size(mm), (1, 1));
    memory.mmput(mm, 1);
}

/// B28: `mremap` away from a mapping that stays is as careful about where it goes as one to a fixed place, and counts for `RLIMIT_AS`.
#[test]
fn a_move_from_what_stays_is_checked() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, BASE, 4, RW).unwrap();
    let remap = |pages, to| memory.do_mremap(mm, BASE, pages * PAGE_SIZE, pages * PAGE_SIZE, STAYS, to);
    for to in [BASE + 1234, BASE, page(1), TASK_SIZE] {
        assert_eq!(remap(2, to), Err(Error::Einval), "{to:#x}");
    }
    let limits = Rlimits {
        address_space: 7 * PAGE_SIZE,
        ..Rlimits::INIT
    };
    memory.set_rlimits(mm, limits);
    assert_eq!(remap(4, 0), Err(Error::Enomem));
    assert_eq!(remap(3, page(64)), Ok(page(64)), "three more");
    assert_eq!(memory.mm_size(mm).1, 7);
    memory.check_mm(mm);
    memory.mmput(mm, 1);
}

/// B18: a mapping that moves is charged for what it grows, one that replaces another for what it has more; what stays behind is charged, too.
#[test]
fn charges_of_what_moves_and_replaces() {
    let memory = machine(1024, 0);
    memory.set_overcommit(OvercommitMode::Never, 100);
    let mm = memory.mm_alloc().unwrap();
    let size = memory.vm_commit_limit() / 10 * 6;
    map(&memory, mm, BASE, size, RW).unwrap();
    memory.store(mm, BASE, 5).unwrap();
    let (to, bytes) = (BASE + (1 << 40), size * PAGE_SIZE);
    assert_eq!(memory.do_mremap(mm, BASE, bytes, bytes, MOVES, to), Ok(to));
    assert_eq!(memory.committed_as(), size);
    assert_eq!(
        memory.do_mremap(mm, to, bytes, bytes, STAYS, 0),
        Err(Error::Enomem),
        "twice the size"
    );
    let grown = memory.do_mremap(mm, to, bytes, bytes + PAGE_SIZE, MOVES, BASE);
    assert_eq!((grown, memory.load(mm, BASE)), (Ok(BASE), Ok(5)));
    assert_eq!(memory.committed_as(), size + 1);
    assert_eq!(memory.do_mremap(mm, BASE, bytes, bytes, STAYS, to), Err(Error::Enomem));
    assert_eq!(map(&memory, mm, BASE, 2 * size, RW), Err(Error::Enomem), "B19");
    assert_eq!(
        memory.load(mm, BASE),
        Ok(5),
        "what a refused mapping would have replaced"
    );
    assert_eq!(map(&memory, mm, BASE, size + 2, RW), Ok(BASE));
    assert_eq!((memory.committed_as(), memory.load(mm, BASE)), (size + 2, Ok(0)));
    assert_eq!(map(&memory, mm, BASE, size + 2, prot::READ), Ok(BASE));
    assert_eq!(memory.committed_as(), 0);
    memory.check_mm(mm);
    memory.mmput(mm, 1);
    assert_eq!(memory.committed_as(), 0);
}

/// B34, C49: a hole through a mapping is one that `fallocate` makes: seals forbid it, it changes the times, and it ends where sizes do.
#[test]
fn holes_through_mappings() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let file = memory.memfd_create(0o600, (0, 0), 0).unwrap();
    memory.shmem_truncate(file, 4 * PAGE_SIZE).unwrap();
    let flags = map_flag::SHARED | map_flag::FIXED;
    memory
        .do_mmap(mm, BASE, 4 * PAGE_SIZE, RW, flags, Some(file.into()), 0)
        .unwrap();
    memory.store(mm, page(1), 7).unwrap();
    let mtime = memory.getattr(file).mtime_ns;
    memory.platform.clock_s.set(5_000);
    memory.do_madvise(mm, BASE, PAGE_SIZE, advice::REMOVE).unwrap();
    assert_ne!(memory.getattr(file).mtime_ns, mtime);
    memory.add_seals(file, seal::FUTURE_WRITE).unwrap();
    let removed = memory.do_madvise(mm, page(1), PAGE_SIZE, advice::REMOVE);
    assert_eq!((removed, memory.load(mm, page(1))), (Err(Error::Eperm), Ok(7)));
    let large = memory.memfd_create(0o600, (0, 0), 0).unwrap();
    memory.shmem_truncate(large, i64::MAX as u64).unwrap();
    let last = i64::MAX as u64 / PAGE_SIZE;
    memory
        .do_mmap(mm, BASE, PAGE_SIZE, RW, flags, Some(large.into()), last - 1)
        .unwrap();
    memory.do_munmap(mm, page(1), 3 * PAGE_SIZE).unwrap();
    memory.do_mremap(mm, BASE, PAGE_SIZE, 3 * PAGE_SIZE, 0, 0).unwrap();
    assert_eq!(
        memory.do_madvise(mm, BASE, 3 * PAGE_SIZE, advice::REMOVE),
        Err(Error::Efbig)
    );
    assert_eq!(memory.do_madvise(mm, BASE, PAGE_SIZE, advice::REMOVE), Ok(()));
    memory.mmput(mm, 1);
    memory.iput(file);
    memory.iput(large);
}

/// B31, B33: `MADV_FREE` of what is locked.
#[test]
fn what_is_locked_is_not_freed() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, BASE, 2, RW).unwrap();
    memory.store(mm, BASE, 7).unwrap();
    memory.do_mlock(mm, BASE, PAGE_SIZE, 0).unwrap();
    assert_eq!(
        memory.do_madvise(mm, BASE, 2 * PAGE_SIZE, advice::FREE),
        Err(Error::Einval)
    );
    assert_eq!(memory.load(mm, BASE), Ok(7));
    memory.mmput(mm, 1);
}

/// B25: `mprotect` past the end of addresses changes what is mapped; B18: nothing can be copied any more, and the charge goes; B31: what is
/// locked and becomes writable gets its pages.
#[test]
fn other_rights() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, BASE, 4, RW).unwrap();
    assert_eq!(memory.do_mprotect(mm, BASE, TASK_SIZE, 0x100), Err(Error::Einval));
    assert_eq!(memory.committed_as(), 4);
    assert_eq!(memory.do_mprotect(mm, BASE, TASK_SIZE, prot::READ), Err(Error::Enomem));
    assert_eq!(memory.store(mm, BASE, 1), Err(Fault::SegvAccerr));
    assert_eq!(memory.committed_as(), 0);
    memory.do_mprotect(mm, BASE, 4 * PAGE_SIZE, RW).unwrap();
    memory.store(mm, BASE, 1).unwrap();
    memory.do_mprotect(mm, BASE, 4 * PAGE_SIZE, 0).unwrap();
    assert_eq!(memory.committed_as(), 4, "there is a page");
    map(&memory, mm, page(10), 8, prot::READ).unwrap();
    memory.do_mlock(mm, page(10), 8 * PAGE_SIZE, 0).unwrap();
    let (anonymous, ..) = memory.mm_counters(mm);
    memory.do_mprotect(mm, page(10), 8 * PAGE_SIZE, RW).unwrap();
    assert_eq!(memory.mm_counters(mm).0, anonymous + 8);
    memory.mmput(mm, 1);
    assert_eq!(memory.committed_as(), 0);
}

/// B35: populating wants the right itself, not one that lets the processor read.
#[test]
fn populating_needs_the_right() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    for rights in [prot::WRITE, prot::EXEC] {
        map(&memory, mm, BASE, 2, rights).unwrap();
        let populated = memory.do_madvise(mm, BASE, PAGE_SIZE, advice::POPULATE_READ);
        assert_eq!(populated, Err(Error::Einval), "{rights}");
    }
    memory.mmput(mm, 1);
}

/// B46, B11: another process needs the very right, and makes no stack grow.
#[test]
fn access_by_others() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let may = |at, write| memory.may_access_remote(mm, VirtAddr(at), write);
    map(&memory, mm, BASE, 2, prot::WRITE).unwrap();
    assert_eq!((may(BASE, false), may(BASE, true)), (Err(Error::Efault), Ok(())));
    map(&memory, mm, BASE, 2, prot::READ).unwrap();
    assert_eq!((may(BASE + 8, false), may(BASE, true)), (Ok(()), Err(Error::Efault)));
    let flags = PRIVATE | map_flag::FIXED | map_flag::GROWSDOWN;
    memory.do_mmap(mm, page(64), PAGE_SIZE, RW, flags, None, 0).unwrap();
    assert_eq!(
        (may(page(63), false), may(page(64), true)),
        (Err(Error::Efault), Ok(()))
    );
    assert_eq!(may(page(65), false), Err(Error::Efault));
    memory.mmput(mm, 1);
}

/// B11: what could be elsewhere keeps away from a stack, and from the heap.
#[test]
fn room_below_stacks_and_above_the_heap() {
    let memory = machine(1024, 0);
    let mm = memory.mm_alloc().unwrap();
    let flags = PRIVATE | map_flag::FIXED | map_flag::GROWSDOWN;
    memory.do_mmap(mm, page(400), PAGE_SIZE, RW, flags, None, 0).unwrap();
    let hint = |at| memory.do_mmap(mm, at, PAGE_SIZE, RW, PRIVATE, None, 0).unwrap() == at;
    assert!(!hint(page(400 - 256)));
    assert!(hint(page(400 - 257)));
    memory.do_munmap(mm, page(400 - 257), PAGE_SIZE).unwrap();
    memory.set_brk_start(mm, BASE);
    assert_eq!(memory.do_brk(mm, page(144)), BASE);
    assert_eq!(memory.do_brk(mm, page(143)), page(143));
    map(&memory, mm, page(146), 1, RW).unwrap();
    assert_eq!(memory.do_brk(mm, page(146)), page(143));
    memory.mmput(mm, 1);
}

/// B13: `RLIMIT_DATA` counts what is replaced as room, whatever it was.
#[test]
fn replaced_pages_make_room() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    map(&memory, mm, BASE, 8, 0).unwrap();
    map(&memory, mm, page(16), 4, RW).unwrap();
    let limits = Rlimits {
        data: 4 * PAGE_SIZE,
        ..Rlimits::INIT
    };
    memory.set_rlimits(mm, limits);
    assert_eq!(map(&memory, mm, page(32), 1, RW), Err(Error::Enomem));
    assert_eq!(
        map(&memory, mm, BASE, 4, RW),
        Ok(BASE),
        "beyond the limit, as Linux has it"
    );
    assert_eq!(map(&memory, mm, page(16), 4, RW), Err(Error::Enomem));
    memory.mmput(mm, 1);
}

/// B8: past the end comes before alignment.
#[test]
fn fixed_addresses_that_cannot_be() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    assert_eq!(map(&memory, mm, TASK_SIZE + 1, 1, RW), Err(Error::Enomem));
    assert_eq!(map(&memory, mm, BASE + 1, 1, RW), Err(Error::Einval));
    memory.mmput(mm, 1);
}

/// B30: pages without content are not resident.
#[test]
fn allocated_pages_are_not_resident() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let file = memory.memfd_create(0o600, (0, 0), 0).unwrap();
    memory.shmem_fallocate(file, 0, 0, 3 * PAGE_SIZE).unwrap();
    let flags = map_flag::SHARED | map_flag::FIXED;
    memory
        .do_mmap(mm, BASE, 3 * PAGE_SIZE, RW, flags, Some(file.into()), 0)
        .unwrap();
    memory.load(mm, BASE).unwrap();
    let mut resident = [9; 3];
    memory.do_mincore(mm, BASE, &mut resident).unwrap();
    assert_eq!(resident, [1, 0, 0]);
    let punch = falloc::PUNCH_HOLE | falloc::KEEP_SIZE;
    memory.shmem_fallocate(file, punch, 0, PAGE_SIZE).unwrap();
    memory.mmput(mm, 1);
    memory.iput(file);
}
