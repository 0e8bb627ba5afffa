//! What is told about memory and segments: the numbers behind `/proc`.

use std::vec::Vec;

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::ipc::{Caller, mode, shm_flag};
use crate::mmap::prot;
use crate::platform::Vmstat;
use crate::task_mmu::{PSS_SHIFT, PageInfo, Role};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;
use crate::{Error, Memory};

const RW: u64 = prot::READ | prot::WRITE;
const SHARED_ANONYMOUS: u64 = 0x21;
const PRIVATE_ANONYMOUS: u64 = 0x22;
const MADV_PAGEOUT: i32 = 21;

const fn process(pid: u32) -> Caller {
    Caller { pid, euid: 0, egid: 0 }
}

fn segments(memory: &Memory<FakeMachine>) -> Vec<(i32, u32, (u64, u64))> {
    let mut all = Vec::new();
    memory.shm_each(|id, ds, pages| all.push((id, ds.mode, pages)));
    all
}

fn map(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, flags: u64) -> u64 {
    memory.do_mmap(mm, 0, pages * PAGE_SIZE, RW, flags, None, 0).unwrap()
}

/// I1: each segment with its rights, removed or not, and its pages in memory and in swap.
#[test]
fn every_segment_is_listed() {
    let memory = machine(256, 64);
    let mm = memory.mm_alloc().unwrap();
    let ids: Vec<i32> = (0..3)
        .map(|_| memory.shmget(process(2), 0, 4 * PAGE_SIZE, 0o640).unwrap())
        .collect();
    let at = memory.shmat(process(2), mm, ids[1], 0, 0).unwrap();
    (0..4).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, 1).unwrap());
    memory.do_madvise(mm, at, PAGE_SIZE, MADV_PAGEOUT).unwrap();
    memory.shm_rmid(process(2), ids[1]).unwrap();
    memory.shm_rmid(process(2), ids[0]).unwrap();
    assert_eq!(
        segments(&memory),
        [(ids[1], 0o640 | mode::DEST, (3, 1)), (ids[2], 0o640, (0, 0))]
    );
    memory.mmput(mm, 2);
    assert_eq!(segments(&memory).len(), 1);
}

/// A62, A63: an orphan stays until `shm_rmid_forced` is set; from then on a segment goes with its last detach, or with its creator if
/// nobody ever attached it.
#[test]
fn orphans_go_when_that_is_forced() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    let new = |pid| {
        memory
            .shmget(process(pid), 0, PAGE_SIZE, shm_flag::IPC_CREAT | 0o600)
            .unwrap()
    };
    let there = |id| segments(&memory).iter().any(|&(other, ..)| other == id);
    let (orphan, attached, own) = (new(5), new(5), new(2));
    let at = memory.shmat(process(2), mm, attached, 0, 0).unwrap();
    memory.exit_shm(5);
    assert!(there(orphan) && there(attached) && there(own));
    memory.set_shm_rmid_forced(true);
    assert_eq!((there(orphan), there(attached), there(own)), (false, true, true));
    memory.shmdt(process(2), mm, at).unwrap();
    assert!(!there(attached));
    let late = new(6);
    memory.exit_shm(7);
    assert!(there(late), "another process ended");
    memory.exit_shm(6);
    assert!(!there(late) && there(own));
    memory.set_shm_rmid_forced(false);
    assert!(there(own));
    memory.mmput(mm, 2);
    memory.check_invariants();
}

/// I3: resident pages by who else maps them and by their content; of an object's pages in swap, those behind the mapping.
#[test]
fn a_mapping_is_what_is_behind_its_pages() {
    let memory = machine(512, 64);
    let mm = memory.mm_alloc().unwrap();
    let (shared, private) = (
        map(&memory, mm, 8, SHARED_ANONYMOUS),
        map(&memory, mm, 8, PRIVATE_ANONYMOUS),
    );
    for page in 0..4 {
        memory.store(mm, shared + page * PAGE_SIZE, 1).unwrap();
        memory.store(mm, private + page * PAGE_SIZE, 1).unwrap();
    }
    let usage = |at| memory.map_usage(mm, &memory.map_info(mm, at).unwrap());
    let kib = |bytes: u64| bytes >> 10;
    assert_eq!(kib(usage(shared).private_dirty), 16);
    assert_eq!(kib(usage(private).anonymous), 16);
    memory.do_madvise(mm, shared, PAGE_SIZE, MADV_PAGEOUT).unwrap();
    memory.do_madvise(mm, private, 2 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    let (of_shared, of_private) = (usage(shared), usage(private));
    assert_eq!(
        (kib(of_shared.rss), kib(of_shared.swap), of_shared.swap_pss),
        (12, 4, 0)
    );
    assert_eq!((kib(of_private.rss), kib(of_private.swap)), (8, 8));
    assert_eq!(kib(of_private.swap_pss >> PSS_SHIFT), 8);
    let child = memory.dup_mmap(mm, 2).unwrap();
    memory.store(child, shared + PAGE_SIZE, 2).unwrap();
    let (of_shared, of_private) = (usage(shared), usage(private));
    assert_eq!((kib(of_shared.shared_dirty), kib(of_shared.private_dirty)), (4, 8));
    assert_eq!(kib(of_shared.pss >> PSS_SHIFT), 10);
    assert_eq!(
        (kib(of_private.shared_dirty), kib(of_private.swap_pss >> PSS_SHIFT)),
        (8, 4)
    );
    memory.mmput(child, 3);
    memory.do_mlock(mm, shared, 8 * PAGE_SIZE, 0).unwrap();
    assert_eq!(kib(usage(shared).locked >> PSS_SHIFT), 32);
    assert_eq!(memory.nr_mlock(), 8);
    let mut kinds = Vec::new();
    memory.pages_info(mm, private..private + 5 * PAGE_SIZE, &mut |info| {
        kinds.push(match info {
            PageInfo::Empty => "empty",
            PageInfo::Present(_, false, true) => "own",
            PageInfo::Present(..) => "other",
            PageInfo::Swapped(0, _) => "swapped",
            PageInfo::Swapped(..) => "elsewhere",
        });
    });
    assert_eq!(kinds, ["swapped", "swapped", "own", "own", "empty"]);
    memory.mmput(mm, 2);
    memory.check_invariants();
}

/// I10: resident pages by kind, and swapped ones: shmem's are the object's, not the process's.
#[test]
fn pages_count_for_their_kind() {
    let memory = machine(256, 64);
    let mm = memory.mm_alloc().unwrap();
    let (shared, private) = (
        map(&memory, mm, 8, SHARED_ANONYMOUS),
        map(&memory, mm, 8, PRIVATE_ANONYMOUS),
    );
    for page in 0..5 {
        memory.store(mm, shared + page * PAGE_SIZE, 1).unwrap();
        memory.store(mm, private + page * PAGE_SIZE, 1).unwrap();
    }
    memory.do_madvise(mm, shared, 2 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    memory.do_madvise(mm, private, PAGE_SIZE, MADV_PAGEOUT).unwrap();
    let sizes = memory.mm_sizes(mm);
    assert_eq!((sizes.shmem, sizes.anon, sizes.swap, sizes.file), (3, 4, 1, 0));
    assert_eq!((sizes.total, sizes.data), (16, 8));
    memory.mmput(mm, 2);
}

/// I2: the heap is what `brk` moved, the stack where the program began.
#[test]
fn anonymous_memory_has_its_role() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    memory.set_brk_start(mm, 0x50_0000);
    assert_eq!(memory.do_brk(mm, 0x50_3000), 0x50_3000);
    let (stack, other) = (
        map(&memory, mm, 4, PRIVATE_ANONYMOUS),
        map(&memory, mm, 1, SHARED_ANONYMOUS),
    );
    memory.set_mm_layout(mm, stack + 2 * PAGE_SIZE, 0, 0..0);
    let role = |at| memory.map_info(mm, at).map(|map| map.role);
    assert_eq!(role(0x50_1000), Some(Role::Heap));
    assert_eq!(role(stack), Some(Role::Stack));
    assert_eq!(role(other), Some(Role::Other));
    assert!(memory.map_info(mm, other).unwrap().file.is_some());
    memory.mmput(mm, 2);
}

/// I9: the zone's blocks are all that is free; I6, E2: `min_free_kbytes` and `watermark_scale_factor` move the watermarks.
#[test]
fn a_zone_adds_up() {
    let memory = machine(5000, 0);
    let mm = memory.mm_alloc().unwrap();
    let check = || {
        let info = memory.zone_info();
        let blocks: u64 = info
            .blocks
            .iter()
            .enumerate()
            .map(|(order, blocks)| blocks << order)
            .sum();
        assert_eq!(info.free, blocks + info.per_cpu);
        assert_eq!(info.free, memory.nr_free_pages());
    };
    check();
    let at = map(&memory, mm, 300, PRIVATE_ANONYMOUS);
    (0..300).for_each(|page| memory.store(mm, at + page * PAGE_SIZE, 1).unwrap());
    check();
    (0..300)
        .step_by(3)
        .for_each(|page| memory.do_munmap(mm, at + page * PAGE_SIZE, PAGE_SIZE).unwrap());
    check();
    memory.set_min_free_kbytes(400);
    assert_eq!(memory.zone_info().watermarks, [100, 125, 150]);
    memory.set_watermark_scale_factor(200).unwrap();
    assert_eq!(memory.zone_info().watermarks, [100, 200, 300]);
    assert_eq!(memory.si_mem_available(), memory.nr_free_pages() - 300);
    assert_eq!(memory.set_watermark_scale_factor(0), Err(Error::Einval));
    memory.mmput(mm, 2);
}

/// I4, I7: what `/proc/meminfo` and `/proc/vmstat` are made of moves with what happens.
#[test]
fn numbers_move() {
    let memory = machine(512, 64);
    let mm = memory.mm_alloc().unwrap();
    let before = [
        Vmstat::NrShmem,
        Vmstat::NrFilePages,
        Vmstat::NrAnonMapped,
        Vmstat::Pgfault,
    ]
    .map(|item| memory.vmstat(item));
    let committed = memory.committed_as();
    let (shared, private) = (
        map(&memory, mm, 8, SHARED_ANONYMOUS),
        map(&memory, mm, 8, PRIVATE_ANONYMOUS),
    );
    (0..8).for_each(|page| memory.store(mm, shared + page * PAGE_SIZE, 1).unwrap());
    (0..5).for_each(|page| memory.store(mm, private + page * PAGE_SIZE, 1).unwrap());
    let after = [
        Vmstat::NrShmem,
        Vmstat::NrFilePages,
        Vmstat::NrAnonMapped,
        Vmstat::Pgfault,
    ]
    .map(|item| memory.vmstat(item));
    let moved: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(moved, [8, 8, 5, 13]);
    assert_eq!(memory.committed_as() - committed, 16);
    memory.do_madvise(mm, shared, 8 * PAGE_SIZE, MADV_PAGEOUT).unwrap();
    assert_eq!(memory.vmstat(Vmstat::NrShmem), before[0]);
    assert_eq!(memory.vmstat(Vmstat::Pswpout), 8);
    memory.load(mm, shared).unwrap();
    assert_eq!(
        (memory.vmstat(Vmstat::Pgmajfault), memory.vmstat(Vmstat::Pswpin)),
        (1, 1)
    );
    memory.mmput(mm, 2);
}

/// B13, I6: `max_map_count` is a limit from when it is set. B8: so is `mmap_min_addr`.
#[test]
fn limits_of_mappings_are_set() {
    let memory = machine(256, 0);
    let mm = memory.mm_alloc().unwrap();
    memory.set_max_map_count(2);
    for _ in 0..3 {
        map(&memory, mm, 1, SHARED_ANONYMOUS);
    }
    let more = memory.do_mmap(mm, 0, PAGE_SIZE, RW, SHARED_ANONYMOUS, None, 0);
    assert_eq!(more, Err(Error::Enomem));
    memory.set_max_map_count(100);
    let fixed = |at| memory.do_mmap(mm, at, PAGE_SIZE, RW, PRIVATE_ANONYMOUS | 0x10, None, 0);
    assert_eq!(fixed(0x8000), Err(Error::Eperm));
    memory.set_mmap_min_addr(0x7fff);
    assert_eq!(fixed(0x8000), Ok(0x8000));
    assert_eq!(fixed(0x7000), Err(Error::Eperm));
    assert!(VirtAddr(memory.mmap_min_addr()).is_page_aligned());
    memory.mmput(mm, 2);
}
