//! One situation a test, with the numbers of the rules it shows.

use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{map_flag, prot};
use crate::platform::Vmstat;
use crate::testing::{area, machine};

const ROOT: Caller = Caller {
    pid: 1,
    euid: 0,
    egid: 0,
};
const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;

/// B36: no mapping is SIGSEGV MAPERR, a mapping without the right is SIGSEGV ACCERR.
#[test]
fn faults_without_a_mapping_or_the_right() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    assert_eq!(memory.touch(mm, 0x5000_0000, Access::Read), Err(Fault::SegvMaperr));
    let ro = memory.do_mmap(mm, 0, PAGE_SIZE, prot::READ, PRIVATE, None, 0).unwrap();
    assert_eq!(memory.load(mm, ro), Ok(0));
    assert_eq!(memory.store(mm, ro, 1), Err(Fault::SegvAccerr));
    assert_eq!(memory.touch(mm, ro, Access::Exec), Err(Fault::SegvAccerr));
}

/// B36: a page past the end of an object is SIGBUS.
#[test]
fn past_the_end_of_an_object() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let object = memory.shmem_file_setup(PAGE_SIZE + 1, false).unwrap();
    let at = memory
        .do_mmap(mm, 0, 3 * PAGE_SIZE, RW, map_flag::SHARED, Some(object.into()), 0)
        .unwrap();
    assert_eq!(memory.store(mm, at + PAGE_SIZE, 7), Ok(()));
    assert_eq!(memory.store(mm, at + 2 * PAGE_SIZE, 7), Err(Fault::BusAdrerr));
}

/// A14, A33, A36, A42, A52, A53: the life of a segment.
#[test]
fn life_of_a_segment() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0x1234, 5000, shm_flag::IPC_CREAT | 0o640).unwrap();
    assert_eq!(id, 0);
    let stat = memory.shm_stat(ROOT, id).unwrap();
    assert_eq!(
        (stat.segsz, stat.mode, stat.nattch, stat.cpid, stat.lpid, stat.atime),
        (5000, 0o640, 0, 1, 0, 0)
    );
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    assert_eq!(
        memory.store(mm, at + 8184, 3),
        Ok(()),
        "bytes up to the page's end are usable"
    );
    assert_eq!(memory.touch(mm, at + 8192, Access::Write), Err(Fault::SegvMaperr));
    memory.shm_rmid(ROOT, id).unwrap();
    let stat = memory.shm_stat(ROOT, id).unwrap();
    assert_eq!((stat.mode, stat.key, stat.nattch), (0o1640, 0, 1));
    assert_eq!(
        memory.shmget(ROOT, 0x1234, 0, 0),
        Err(Error::Enoent),
        "the key is free at once"
    );
    memory.shmdt(ROOT, mm, at).unwrap();
    assert_eq!(memory.shm_stat(ROOT, id), Err(Error::Einval));
    assert_eq!(memory.touch(mm, at, Access::Read), Err(Fault::SegvMaperr));
    assert_eq!(memory.shm_tot(), 0);
}

/// A1 to A8: what `shmget` looks at, in its order.
#[test]
fn order_of_checks_in_shmget() {
    let memory = machine(256, 0);
    let get = |key, size, flags| memory.shmget(ROOT, key, size, flags);
    assert_eq!(get(1, 0, 0), Err(Error::Enoent));
    assert_eq!(get(1, 0, shm_flag::IPC_CREAT), Err(Error::Einval));
    assert_eq!(get(0, 0, 0), Err(Error::Einval));
    assert_eq!(get(1, u64::MAX, shm_flag::IPC_CREAT), Err(Error::Einval));
    let id = get(1, 5000, shm_flag::IPC_CREAT | 0o600).unwrap();
    assert_eq!(
        get(1, 5001, shm_flag::IPC_CREAT | shm_flag::IPC_EXCL),
        Err(Error::Eexist)
    );
    assert_eq!(get(1, 5001, 0), Err(Error::Einval));
    assert_eq!(get(1, 5000, shm_flag::IPC_CREAT | 0o777), Ok(id));
    let stranger = Caller {
        pid: 9,
        euid: 1000,
        egid: 1000,
    };
    assert_eq!(memory.shmget(stranger, 1, 0, 0o400), Err(Error::Eacces));
    assert_eq!(memory.shmget(stranger, 1, 0, 0), Ok(id));
    assert_ne!(get(0, 1, 0), get(0, 1, 0), "private segments have no key");
}

/// A16: ids count up to 63 when made and removed in turn, then the sequence number grows.
#[test]
fn ids_are_cyclic() {
    let memory = machine(256, 0);
    let ids: std::vec::Vec<i32> = (0..66)
        .map(|_| {
            let id = memory.shmget(ROOT, 0, 1, 0).unwrap();
            memory.shm_rmid(ROOT, id).unwrap();
            id
        })
        .collect();
    assert_eq!(ids[..3], [0, 1, 2]);
    assert_eq!(ids[62..], [62, 63, 32768, 32769]);
}

/// F13, F19, F20: a segment larger than memory reads back what was stored, whoever reads.
#[test]
fn a_segment_larger_than_memory() {
    let (frames, pages) = (256, 600);
    let memory = machine(frames, 1024);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmget(ROOT, 0, pages * PAGE_SIZE, 0o600).unwrap();
    let at = memory.shmat(ROOT, mm, id, 0, 0).unwrap();
    for page in 0..pages {
        memory.store(mm, at + page * PAGE_SIZE + 8, page * 3 + 1).unwrap();
    }
    let child = memory.dup_mmap(mm, 1).unwrap();
    for page in (0..pages).rev() {
        assert_eq!(memory.load(child, at + page * PAGE_SIZE + 8), Ok(page * 3 + 1));
    }
    memory.check_invariants();
    let disk = memory.platform.disk.borrow();
    assert_eq!(memory.platform.counter(Vmstat::Pswpin), disk.reads);
    assert_eq!(memory.platform.counter(Vmstat::Pswpout), disk.writes);
    assert!(disk.reads >= pages - u64::from(frames));
}

/// B41: after `fork` each side keeps its own content, from swap, too.
#[test]
fn private_pages_part_after_fork() {
    let memory = machine(256, 256);
    let mm = memory.mm_alloc().unwrap();
    let at = memory.do_mmap(mm, 0, 4 * PAGE_SIZE, RW, PRIVATE, None, 0).unwrap();
    for page in 0..4 {
        memory.store(mm, at + page * PAGE_SIZE, 10 + page).unwrap();
    }
    memory.do_madvise(mm, at, 2 * PAGE_SIZE, 21).unwrap();
    let child = memory.dup_mmap(mm, 1).unwrap();
    for page in 0..4 {
        memory.store(child, at + page * PAGE_SIZE, 20 + page).unwrap();
    }
    for page in 0..4 {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(10 + page));
        assert_eq!(memory.load(child, at + page * PAGE_SIZE), Ok(20 + page));
    }
    memory.mmput(child, 2);
    memory.mmput(mm, 1);
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// F28: a read error is SIGBUS for who touches the page, and nobody else.
#[test]
fn a_page_that_cannot_be_read_back() {
    let memory = machine(256, 256);
    let mm = memory.mm_alloc().unwrap();
    let at = memory
        .do_mmap(
            mm,
            0,
            2 * PAGE_SIZE,
            RW,
            map_flag::SHARED | map_flag::ANONYMOUS,
            None,
            0,
        )
        .unwrap();
    memory.store(mm, at, 1).unwrap();
    memory.store(mm, at + PAGE_SIZE, 2).unwrap();
    memory.do_madvise(mm, at, PAGE_SIZE, 21).unwrap();
    memory.platform.disk.borrow_mut().reads_until_error = Some(0);
    assert_eq!(memory.load(mm, at), Err(Fault::BusAdrerr));
    assert_eq!(memory.load(mm, at + PAGE_SIZE), Ok(2));
    memory.check_invariants();
    memory.mmput(mm, 1);
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// F29: a page that cannot be written stays in memory with its content, and its slot is not used again.
#[test]
fn a_page_that_cannot_be_written() {
    let memory = machine(256, 256);
    let mm = memory.mm_alloc().unwrap();
    for shared in [map_flag::SHARED, map_flag::PRIVATE] {
        let at = memory
            .do_mmap(mm, 0, PAGE_SIZE, RW, shared | map_flag::ANONYMOUS, None, 0)
            .unwrap();
        memory.store(mm, at, 77).unwrap();
        memory.platform.disk.borrow_mut().writes_until_error = Some(0);
        memory.do_madvise(mm, at, PAGE_SIZE, 21).unwrap();
        memory.platform.disk.borrow_mut().writes_until_error = None;
        assert_eq!(memory.load(mm, at), Ok(77));
        memory.check_invariants();
    }
    assert_eq!(memory.platform.disk.borrow().writes, 0);
    memory.mmput(mm, 1);
}

/// C7, B45: without memory and swap, a fault says so, and memory comes back when a process ends.
#[test]
fn out_of_memory() {
    let memory = machine(128, 0);
    let mm = memory.mm_alloc().unwrap();
    let at = memory.do_mmap(mm, 0, 120 * PAGE_SIZE, RW, PRIVATE, None, 0).unwrap();
    let fault = (0..120).find_map(|page| memory.store(mm, at + page * PAGE_SIZE, 1).err());
    assert_eq!(fault, Some(Fault::Oom));
    assert_eq!(
        memory.do_mmap(mm, 0, 200 * PAGE_SIZE, RW, PRIVATE, None, 0),
        Err(Error::Enomem),
        "B19"
    );
    memory.mmput(mm, 1);
    let again = memory.mm_alloc().unwrap();
    let at = memory.do_mmap(again, 0, 60 * PAGE_SIZE, RW, PRIVATE, None, 0).unwrap();
    assert!((0..60).all(|page| memory.store(again, at + page * PAGE_SIZE, 1).is_ok()));
}

/// F24: an area too large for memory is refused, and nothing of its table is left.
#[test]
fn a_swap_area_that_memory_cannot_describe() {
    let memory = machine(128, 0);
    let free = memory.nr_free_pages();
    assert_eq!(memory.swapon(0, area(1)), Err(Error::Einval));
    assert_eq!(memory.swapon(0, area(1 << 20)), Err(Error::Enomem));
    assert_eq!(memory.nr_free_pages(), free);
    assert_eq!(memory.swapon(0, area(1024)), Ok(()));
    assert_eq!(memory.swapon(0, area(1024)), Err(Error::Ebusy));
}
