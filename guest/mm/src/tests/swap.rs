//! Section F: swap areas come and go, and fail.

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::mmap::{map_flag, prot};
use crate::platform::Vmstat;
use crate::swap::SwapSlot;
use crate::testing::{FakeMachine, area, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PAGEOUT: i32 = 21;

/// `pages` private or shared pages with their numbers in them, all of them swapped out.
fn swapped_out(memory: &Memory<FakeMachine>, mm: MmId, pages: u64, kind: u64) -> u64 {
    let at = memory
        .do_mmap(mm, 0, pages * PAGE_SIZE, RW, kind | map_flag::ANONYMOUS, None, 0)
        .unwrap();
    for page in 0..pages {
        memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap();
    }
    memory.do_madvise(mm, at, pages * PAGE_SIZE, PAGEOUT).unwrap();
    at
}

fn intact(memory: &Memory<FakeMachine>, mm: MmId, at: u64, pages: u64) {
    for page in 0..pages {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
    }
}

/// F24, F26: everything comes back, for all who share it and with its rights, without a fault; then the area can be used anew.
#[test]
fn swapoff_brings_everything_back() {
    let memory = machine(512, 256);
    let mm = memory.mm_alloc().unwrap();
    let private = swapped_out(&memory, mm, 40, map_flag::PRIVATE);
    let child = memory.dup_mmap(mm, 1).unwrap();
    let shared = swapped_out(&memory, mm, 40, map_flag::SHARED);
    memory.do_mprotect(mm, private, PAGE_SIZE, 0).unwrap();
    assert_eq!(memory.swap_inuse_pages(), 80);
    assert_eq!(memory.swapoff(0), Ok(()));
    memory.check_invariants();
    assert_eq!((memory.swap_inuse_pages(), memory.total_swap_pages()), (0, 0));
    assert_eq!(memory.platform.counter(Vmstat::Pswpin), 80);
    assert_eq!(memory.platform.counter(Vmstat::NrSwapCached), 0);
    assert_eq!(
        memory.load(mm, private),
        Err(Fault::SegvAccerr),
        "a right came from nowhere"
    );
    memory.do_mprotect(mm, private, PAGE_SIZE, RW).unwrap();
    intact(&memory, mm, private, 40);
    intact(&memory, child, private, 40);
    intact(&memory, mm, shared, 40);
    assert_eq!(memory.platform.counter(Vmstat::Pswpin), 80);
    // Copy-on-write still parts what fork shared.
    memory.store(child, private, 99).unwrap();
    assert_eq!((memory.load(mm, private), memory.load(child, private)), (Ok(1), Ok(99)));
    assert_eq!(memory.swapoff(0), Err(Error::Einval));
    assert_eq!(memory.swapon(0, area(256)), Ok(()));
    memory.do_madvise(mm, shared, 40 * PAGE_SIZE, PAGEOUT).unwrap();
    assert_eq!(memory.swap_inuse_pages(), 40);
    intact(&memory, mm, shared, 40);
    memory.mmput(child, 2);
    memory.mmput(mm, 1);
    memory.check_invariants();
    assert_eq!(memory.swap_inuse_pages(), 0);
}

/// F26: what does not fit is refused, and stays where it is.
#[test]
fn swapoff_without_memory_changes_nothing() {
    let memory = machine(256, 1024);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 400, map_flag::SHARED);
    let (used, reads) = (memory.swap_inuse_pages(), memory.platform.disk.borrow().reads);
    assert_eq!(memory.swapoff(0), Err(Error::Enomem));
    assert_eq!(
        (memory.swap_inuse_pages(), memory.platform.disk.borrow().reads),
        (used, reads)
    );
    assert_eq!(memory.total_swap_pages(), 1023);
    memory.check_invariants();
    intact(&memory, mm, at, 400);
}

/// F27, F28: the area goes; of its pages those that cannot be read are lost, for the child, too, and no others.
#[test]
fn swapoff_on_a_disk_that_cannot_be_read() {
    for lost in [0, 10, 40] {
        let memory = machine(512, 256);
        let mm = memory.mm_alloc().unwrap();
        let private = swapped_out(&memory, mm, 30, map_flag::PRIVATE);
        let shared = swapped_out(&memory, mm, 30, map_flag::SHARED);
        memory.platform.disk.borrow_mut().reads_until_error = Some(60 - lost);
        assert_eq!(memory.swapoff(0), Ok(()));
        memory.check_invariants();
        memory.platform.disk.borrow_mut().reads_until_error = None;
        assert_eq!((memory.total_swap_pages(), memory.swap_inuse_pages()), (0, 0));
        let child = memory.dup_mmap(mm, 1).unwrap();
        for mm in [mm, child] {
            let mut refused = 0;
            for (at, page) in (0..60).map(|n| ([private, shared][n as usize / 30], n % 30)) {
                match memory.load(mm, at + page * PAGE_SIZE) {
                    Ok(value) => assert_eq!(value, page + 1),
                    fault => {
                        assert_eq!(fault, Err(Fault::BusAdrerr));
                        refused += 1;
                    }
                }
            }
            assert_eq!(refused, lost);
            memory.mmput(mm, 1);
        }
        memory.check_invariants();
    }
}

/// F29: a slot whose write failed is not given out again, whoever used it; its page goes to another one later.
#[test]
fn slots_that_cannot_be_written_are_retired() {
    let memory = machine(256, 256);
    let mm = memory.mm_alloc().unwrap();
    for kind in [map_flag::SHARED, map_flag::PRIVATE] {
        let total = memory.total_swap_pages();
        memory.platform.disk.borrow_mut().writes_until_error = Some(0);
        let at = swapped_out(&memory, mm, 4, kind);
        memory.platform.disk.borrow_mut().writes_until_error = None;
        assert_eq!(memory.total_swap_pages(), total - 4, "slots are retired");
        assert_eq!(memory.swap_inuse_pages(), 0);
        intact(&memory, mm, at, 4);
        // The second time brings it to other slots.
        memory.do_madvise(mm, at, 4 * PAGE_SIZE, PAGEOUT).unwrap();
        assert_eq!(memory.swap_inuse_pages(), 4);
        memory.check_invariants();
        intact(&memory, mm, at, 4);
        memory.do_munmap(mm, at, 4 * PAGE_SIZE).unwrap();
        assert_eq!((memory.total_swap_pages(), memory.swap_inuse_pages()), (total - 4, 0));
        memory.check_invariants();
    }
}

/// F20, F21: in sequence nearly every page is read ahead, and each exactly once; in disorder none is; both read what was stored.
#[test]
fn readahead_pays_in_sequence_and_ends_in_disorder() {
    let memory = machine(1024, 1024);
    memory.set_page_cluster(3);
    let mm = memory.mm_alloc().unwrap();
    for kind in [map_flag::SHARED, map_flag::PRIVATE] {
        let before = |item| memory.platform.counter(item);
        let (ins, ahead, hits) = (
            before(Vmstat::Pswpin),
            before(Vmstat::SwapRa),
            before(Vmstat::SwapRaHit),
        );
        let at = swapped_out(&memory, mm, 256, kind);
        intact(&memory, mm, at, 256);
        memory.check_invariants();
        assert_eq!(memory.platform.counter(Vmstat::Pswpin) - ins, 256);
        let ahead = memory.platform.counter(Vmstat::SwapRa) - ahead;
        assert!(ahead > 256 * 8 / 10, "{ahead} of 256 read ahead");
        assert_eq!(memory.platform.counter(Vmstat::SwapRaHit) - hits, ahead);
        memory.do_madvise(mm, at, 256 * PAGE_SIZE, PAGEOUT).unwrap();
        let ahead = memory.platform.counter(Vmstat::SwapRa);
        for page in (0..256).map(|n| n * 101 % 256) {
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
        }
        let ahead = memory.platform.counter(Vmstat::SwapRa) - ahead;
        assert!(ahead < 32, "{ahead} read ahead in disorder");
        memory.do_munmap(mm, at, 256 * PAGE_SIZE).unwrap();
        memory.check_invariants();
        assert_eq!(
            memory.swap_inuse_pages(),
            0,
            "what was read ahead is gone with its slot"
        );
    }
}

/// F21: only the wanted page must be readable.
#[test]
fn a_neighbour_that_cannot_be_read_is_nobodys_business() {
    let memory = machine(512, 256);
    memory.set_page_cluster(3);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 64, map_flag::SHARED);
    intact(&memory, mm, at, 32);
    memory.platform.disk.borrow_mut().bad_slot = Some(SwapSlot::new(0, 52));
    let refused: std::vec::Vec<u64> = (32..64)
        .filter(|page| memory.load(mm, at + page * PAGE_SIZE) == Err(Fault::BusAdrerr))
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    memory.check_invariants();
    memory.platform.disk.borrow_mut().bad_slot = None;
    for page in (0..64).filter(|page| *page != refused[0]) {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
    }
}
