//! A disk that works beside the processor and answers in any order.

use super::{intact, mapping, page_out, swapped_out};
use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Fault;
use crate::fault::Access;
use crate::mmap::map_flag::{PRIVATE, SHARED};
use crate::platform::Vmstat;
use crate::swap::{IN_FLIGHT_MAX, SwapSlot};
use crate::testing::{FakeMachine, machine};

fn beside(frames: u32, slots: u32, seed: u64) -> Memory<FakeMachine> {
    let memory = machine(frames, slots);
    memory.platform.disk.borrow_mut().beside = Some(seed);
    memory
}

/// F13, F14: while a page is on its way to the disk it is in the swap cache: who touches it gets it without a read, and what is stored then
/// is not what the disk gets.
#[test]
fn pages_on_their_way_out() {
    for kind in [SHARED, PRIVATE] {
        let memory = beside(512, 256, 1);
        let mm = memory.mm_alloc().unwrap();
        let at = swapped_out(&memory, mm, 8, kind);
        assert!(memory.swap_in_flight());
        assert_eq!(memory.platform.counter(Vmstat::NrSwapCached), 8);
        assert_eq!(memory.platform.disk.borrow().writes, 0, "nobody waited");
        assert_eq!((memory.swap_inuse_pages(), memory.nr_swap_pages()), (8, 247));
        memory.check_invariants();
        // Of an object the page is waited for, which may take others in, too.
        memory.store(mm, at, 100).unwrap();
        memory.swap_drain();
        memory.check_invariants();
        assert_eq!(memory.platform.disk.borrow().reads, 0);
        assert_eq!(memory.load(mm, at), Ok(100));
        for page in 1..8 {
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
        }
        assert_eq!(memory.platform.disk.borrow().reads, 7, "those that nobody touched");
        memory.mmput(mm, 1);
        memory.check_invariants();
        assert_eq!(
            (memory.swap_inuse_pages(), memory.platform.counter(Vmstat::NrSwapCached)),
            (0, 0)
        );
    }
}

/// F22: a page whose read is under way is waited for; it is read once, however many want it.
#[test]
fn two_readers_one_read() {
    let memory = beside(512, 256, 2);
    memory.set_page_cluster(3);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 16, SHARED);
    memory.swap_drain();
    let child = memory.dup_mmap(mm, 1).unwrap();
    let grandchild = memory.dup_mmap(mm, 1).unwrap();
    // Two neighbours make a window: then pages ahead are under way when the wanted one is there.
    let mut under_way = 0;
    for page in 0..16 {
        for mm in [mm, child, grandchild] {
            assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
            under_way += u32::from(memory.swap_in_flight());
        }
    }
    memory.swap_drain();
    let ahead = memory.platform.counter(Vmstat::SwapRa);
    assert_ne!((ahead, under_way), (0, 0), "nothing was ever under way beside a reader");
    assert_eq!(memory.platform.disk.borrow().reads, 16);
    assert_eq!(memory.platform.counter(Vmstat::Pswpin), 16);
    memory.check_invariants();
}

/// F21, F22: pages ahead that cannot be read are read alone by who wants them; those that nobody wants any more go.
#[test]
fn reads_ahead_that_fail_or_are_not_wanted() {
    let memory = beside(512, 256, 3);
    memory.set_page_cluster(3);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 32, PRIVATE);
    memory.swap_drain();
    memory.platform.disk.borrow_mut().bad_slot = Some(SwapSlot::new(0, 11));
    let refused = (0..16).filter(|page| memory.load(mm, at + page * PAGE_SIZE) == Err(Fault::BusAdrerr));
    assert_eq!(refused.collect::<std::vec::Vec<u64>>(), [10]);
    assert_eq!(memory.load(mm, at + 20 * PAGE_SIZE), Ok(21));
    memory.do_munmap(mm, at, 32 * PAGE_SIZE).unwrap();
    memory.swap_drain();
    assert_eq!(
        (memory.swap_inuse_pages(), memory.platform.counter(Vmstat::NrSwapCached)),
        (0, 0)
    );
    memory.check_invariants();
}

/// F10, F11: reclaim has many requests under way, never more than there may be, and waits only when it needs a frame.
#[test]
fn many_writes_under_way() {
    let memory = beside(256, 2048, 4);
    let mm = memory.mm_alloc().unwrap();
    let at = mapping(&memory, mm, 1000, SHARED);
    memory.check_invariants();
    assert!(memory.platform.disk.borrow().most_pending > 1);
    assert!(memory.platform.disk.borrow().most_pending <= IN_FLIGHT_MAX);
    intact(&memory, mm, at, 1000);
    memory.mmput(mm, 1);
    memory.swap_drain();
    assert_eq!(memory.swap_inuse_pages(), 0);
    memory.check_invariants();
}

/// F29: writes that fail later lose nothing: a page that is refused alone stays, and its slot is not used again.
#[test]
fn writes_that_fail_later() {
    for kind in [SHARED, PRIVATE] {
        let memory = beside(256, 512, 5);
        let mm = memory.mm_alloc().unwrap();
        memory.platform.disk.borrow_mut().fails_one_in = Some((0, 10, 5));
        let at = mapping(&memory, mm, 400, kind);
        memory.swap_drain();
        memory.check_invariants();
        assert!(memory.total_swap_pages() < 511, "no slot was retired");
        intact(&memory, mm, at, 400);
        memory.platform.disk.borrow_mut().fails_one_in = None;
        memory.mmput(mm, 1);
        memory.swap_drain();
        assert_eq!(memory.swap_inuse_pages(), 0);
        memory.check_invariants();
    }
}

/// F29: a page that is used again while it is on its way to the disk, and does not get there, is not taken for one that did.
#[test]
fn a_page_in_use_that_was_not_written() {
    let memory = beside(256, 64, 7);
    let mm = memory.mm_alloc().unwrap();
    memory.platform.disk.borrow_mut().writes_until_error = Some(0);
    let at = swapped_out(&memory, mm, 4, PRIVATE);
    assert!(memory.swap_in_flight());
    intact(&memory, mm, at, 4);
    memory.swap_drain();
    memory.platform.disk.borrow_mut().writes_until_error = None;
    page_out(&memory, mm, at, 4);
    memory.swap_drain();
    assert_eq!(memory.platform.disk.borrow().writes, 4);
    intact(&memory, mm, at, 4);
    memory.check_invariants();
}

/// F26, F27: an area goes while pages are on their way to it.
#[test]
fn swapoff_with_writes_under_way() {
    let memory = beside(512, 256, 6);
    let mm = memory.mm_alloc().unwrap();
    let shared = mapping(&memory, mm, 40, SHARED);
    let private = mapping(&memory, mm, 40, PRIVATE);
    page_out(&memory, mm, shared, 40);
    page_out(&memory, mm, private, 40);
    memory.do_munmap(mm, shared, 10 * PAGE_SIZE).unwrap();
    assert!(memory.swap_in_flight());
    assert_eq!(memory.swapoff(0), Ok(()));
    assert!(!memory.swap_in_flight());
    memory.check_invariants();
    for page in 10..40 {
        assert_eq!(memory.load(mm, shared + page * PAGE_SIZE), Ok(page + 1));
    }
    intact(&memory, mm, private, 40);
}

/// F22: while others can run, a fault does not wait for the disk: it is made again when that has answered, and finds the page in the swap
/// cache. Two that fault at a time are on their way at a time; two that want one page have it read once. It is one fault, and major.
#[test]
fn faults_do_not_wait_while_others_run() {
    for (kind, cluster) in [(SHARED, 0), (PRIVATE, 0), (SHARED, 3), (PRIVATE, 3)] {
        let memory = beside(512, 256, 8);
        let mm = memory.mm_alloc().unwrap();
        let at = swapped_out(&memory, mm, 32, kind);
        memory.swap_drain();
        memory.set_page_cluster(cluster);
        let child = memory.dup_mmap(mm, 1).unwrap();
        memory.platform.others.set(true);
        let counts = || [Vmstat::Pgfault, Vmstat::Pgmajfault].map(|item| memory.platform.counter(item));
        let before = counts();
        let far = at + 20 * PAGE_SIZE;
        let mut waiting = [(mm, at), (mm, far), (child, at), (child, far + PAGE_SIZE)].map(|(mm, addr)| {
            let fault = memory.handle_mm_fault(mm, VirtAddr(addr), Access::Read);
            assert_eq!(fault, Err(Fault::Retry));
            (mm, addr, memory.take_page_wait())
        });
        assert!(memory.platform.disk.borrow().most_pending >= 3 && memory.pages_are_awaited());
        memory.check_invariants();
        for _ in 0..100 {
            let done = memory.take_pages_done();
            for (mm, addr, queue) in &mut waiting {
                if queue.is_some_and(|queue| done & 1 << queue != 0) {
                    *queue = match memory.handle_mm_fault(*mm, VirtAddr(*addr), Access::Read) {
                        Err(Fault::Retry) => memory.take_page_wait(),
                        fault => fault.map(|()| None).unwrap(),
                    };
                }
            }
            memory.swap_look();
        }
        assert_eq!(waiting.map(|(_, _, queue)| queue), [None; 4], "somebody is not woken");
        assert!(!memory.pages_are_awaited());
        let after = counts();
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [4, if cluster == 0 { 3 } else { after[1] - before[1] }]
        );
        memory.platform.others.set(false);
        for page in 0..32 {
            for mm in [mm, child] {
                assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Ok(page + 1));
            }
        }
        assert_eq!(memory.platform.disk.borrow().reads, 32, "none was read twice");
        memory.mmput(mm, 1);
        memory.mmput(child, 1);
        memory.swap_drain();
        assert_eq!(memory.swap_inuse_pages(), 0);
        memory.check_invariants();
    }
}

/// F22, F28: a page that cannot be read is refused to those who waited for it, once they look, and to nobody else; if none of them does, because
/// they ended, its frame and its slot go with who means it.
#[test]
fn a_page_that_was_left_and_cannot_be_read() {
    for (kind, looks) in [(SHARED, true), (PRIVATE, true), (SHARED, false), (PRIVATE, false)] {
        let memory = beside(512, 256, 9);
        let mm = memory.mm_alloc().unwrap();
        let at = swapped_out(&memory, mm, 4, kind);
        memory.swap_drain();
        memory.platform.others.set(true);
        memory.platform.disk.borrow_mut().reads_until_error = Some(0);
        let touch = || memory.handle_mm_fault(mm, VirtAddr(at), Access::Write);
        assert_eq!(touch(), Err(Fault::Retry));
        assert!(memory.take_page_wait().is_some());
        memory.swap_drain();
        assert_ne!(memory.take_pages_done(), 0);
        memory.check_invariants();
        memory.platform.disk.borrow_mut().reads_until_error = None;
        if looks {
            assert_eq!(touch(), Err(Fault::BusAdrerr));
            assert_eq!(memory.platform.counter(Vmstat::NrSwapCached), 0);
            assert_eq!(memory.load(mm, at + PAGE_SIZE), Ok(2));
        }
        memory.mmput(mm, 1);
        memory.swap_drain();
        let left = [memory.swap_inuse_pages(), memory.platform.counter(Vmstat::NrSwapCached)];
        assert_eq!(left, [0, 0]);
        memory.check_invariants();
    }
}

/// F27: swapoff while faults wait for pages of the area; who waited finds them in memory.
#[test]
fn swapoff_while_faults_wait() {
    let memory = beside(512, 256, 10);
    let mm = memory.mm_alloc().unwrap();
    let shared = swapped_out(&memory, mm, 8, SHARED);
    let private = swapped_out(&memory, mm, 8, PRIVATE);
    memory.swap_drain();
    memory.platform.others.set(true);
    for addr in [shared, private] {
        assert_eq!(
            memory.handle_mm_fault(mm, VirtAddr(addr), Access::Write),
            Err(Fault::Retry)
        );
        assert!(memory.take_page_wait().is_some());
    }
    assert_eq!(memory.swapoff(0), Ok(()));
    assert_ne!(memory.take_pages_done(), 0);
    for addr in [shared, private] {
        intact(&memory, mm, addr, 8);
    }
    memory.check_invariants();
}

/// F13: of an object, a page on its way to the disk is waited for in the same way; the kernel's own accesses wait, as they cannot be made again.
#[test]
fn who_waits_for_a_write_and_who_cannot_leave() {
    let memory = beside(512, 256, 11);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 2, SHARED);
    assert!(memory.swap_in_flight());
    memory.platform.others.set(true);
    let first = memory.handle_mm_fault(mm, VirtAddr(at), Access::Write);
    assert_eq!(
        memory.take_page_wait().is_some(),
        first == Err(Fault::Retry),
        "{first:?}"
    );
    memory.store(mm, at, 9).unwrap();
    page_out(&memory, mm, at, 2);
    memory.swap_drain();
    let reads = memory.platform.disk.borrow().reads;
    assert!(memory.get_user_page(mm, VirtAddr(at), false).is_ok());
    assert_eq!(memory.platform.disk.borrow().reads, reads + 1);
    memory.mmput(mm, 1);
    memory.swap_drain();
    memory.check_invariants();
}
