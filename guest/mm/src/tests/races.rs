//! What another processor could do in between, done in between: at a stage of a call, the test makes another on the same memory.

use std::boxed::Box;

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::platform::{Platform, Stage};
use crate::shmem::{InodeId, Sgp, falloc};
use crate::testing::{FakeMachine, machine};

/// A memory that calls in between can name.
fn lasting() -> &'static Memory<FakeMachine> {
    Box::leak(Box::new(machine(256, 64)))
}

fn file(memory: &Memory<FakeMachine>) -> InodeId {
    let file = memory.memfd_create(0o100_600, (0, 0), 0).unwrap();
    memory.shmem_truncate(file, 8 * PAGE_SIZE).unwrap();
    file
}

/// The first word of a page, or what came instead.
fn word(memory: &Memory<FakeMachine>, file: InodeId, sgp: Sgp) -> Result<u64, Error> {
    let got = memory.shmem_getpage(file, 3, sgp)?;
    memory.put_page(got.pfn);
    Ok(memory.platform.frame(got.pfn)[0].get())
}

/// Frames in use, pages of the object in memory and in swap, blocks, and what is promised.
fn state(memory: &Memory<FakeMachine>, file: InodeId) -> [u64; 5] {
    let (resident, swapped) = memory.shmem_pages(file);
    let blocks = memory.getattr(file).blocks;
    [memory.nr_free_pages(), resident, swapped, blocks, memory.committed_as()]
}

/// C3: whoever finds that another was faster with a page drops its own, uncharged, and starts over: it gets the other's page, content and all.
#[test]
fn a_lost_race_starts_over() {
    for (first, second) in [
        (Sgp::Cache, Sgp::Cache),
        (Sgp::Write, Sgp::Cache),
        (Sgp::Falloc, Sgp::Write),
    ] {
        let (alone, memory) = (lasting(), lasting());
        let (reference, object) = (file(alone), file(memory));
        alone
            .kernel_write(reference, 3 * PAGE_SIZE, &77u64.to_le_bytes())
            .unwrap();
        memory.platform.interleave.at(Stage::AllocPages, move || {
            word(memory, object, second).unwrap();
            memory
                .kernel_write(object, 3 * PAGE_SIZE, &77u64.to_le_bytes())
                .unwrap();
        });
        assert_eq!(word(memory, object, first), Ok(77), "{first:?}, beaten by {second:?}");
        assert!(memory.platform.interleave.is_done());
        memory.check_invariants();
        assert_eq!(
            state(memory, object),
            state(alone, reference),
            "as if nobody else had tried"
        );
        memory.iput(object);
    }
}

/// C3: twenty want the same page at once: the last to ask is the first to have it, all others drop theirs, and all have the same.
#[test]
fn a_race_can_have_many_losers() {
    let memory = lasting();
    let object = file(memory);
    let alone = lasting();
    let reference = file(alone);
    word(alone, reference, Sgp::Cache).unwrap();
    for _ in 0..20 {
        memory.platform.interleave.at(Stage::AllocPages, move || {
            word(memory, object, Sgp::Cache).unwrap();
        });
    }
    assert_eq!(word(memory, object, Sgp::Cache), Ok(0));
    assert!(memory.platform.interleave.is_done());
    memory.check_invariants();
    assert_eq!(state(memory, object), state(alone, reference));
    memory.iput(object);
}

/// C10: on Linux, faults wait while a hole is punched, so that its end comes however many there are. Here punching is one step, and a fault
/// comes before it or after: of the pages that faults had filled none is left behind it, and one after it gets zeroes.
#[test]
fn faults_come_before_or_after_a_punch() {
    let memory = lasting();
    let mm = memory.mm_alloc().unwrap();
    let object = file(memory);
    let view = memory
        .do_mmap(mm, 0, 8 * PAGE_SIZE, 3, 1, Some(object.into()), 0)
        .unwrap();
    let hole = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
    for round in 1..50 {
        (0..8).for_each(|page| memory.store(mm, view + page * PAGE_SIZE, round).unwrap());
        memory
            .shmem_fallocate(object, hole, 2 * PAGE_SIZE, 4 * PAGE_SIZE)
            .unwrap();
        assert_eq!(memory.shmem_pages(object), (4, 0));
        for page in 0..8 {
            let punched = (2..6).contains(&page);
            assert_eq!(
                memory.load(mm, view + page * PAGE_SIZE),
                Ok(if punched { 0 } else { round })
            );
        }
        memory.check_invariants();
    }
    memory.mmput(mm, 1);
    memory.iput(object);
}

/// C26, C27: a signal that comes in the middle ends the call with EINTR, and what it added is gone; what had been there stays.
#[test]
fn a_signal_ends_fallocate() {
    let memory = lasting();
    let object = file(memory);
    memory.kernel_write(object, 2 * PAGE_SIZE, b"there before").unwrap();
    let before = state(memory, object);
    for pages in 0..8 {
        memory.platform.signal_in.set(pages);
        let result = memory.shmem_fallocate(object, 0, 0, 8 * PAGE_SIZE);
        memory.platform.signal_in.set(u64::MAX);
        assert_eq!(result, Err(Error::Eintr));
        let after = state(memory, object);
        assert_eq!(after[1..], before[1..]);
        memory.check_invariants();
    }
    memory.shmem_fallocate(object, 0, 0, 8 * PAGE_SIZE).unwrap();
    assert_eq!(memory.shmem_pages(object), (8, 0));
    memory.iput(object);
}

/// C27, C29: pages that are being allocated are not written to swap: when they fill memory the call ends with ENOMEM, and they are gone. What
/// programs had stored went to swap instead, and comes back.
#[test]
fn fallocate_of_more_than_memory_is_refused() {
    let memory = machine(256, 1024);
    let mm = memory.mm_alloc().unwrap();
    let kept = memory.do_mmap(mm, 0, 40 * PAGE_SIZE, 3, 0x22, None, 0).unwrap();
    (0..40).for_each(|page| memory.store(mm, kept + page * PAGE_SIZE, page + 1).unwrap());
    let object = file(&memory);
    assert_eq!(
        memory.shmem_fallocate(object, 0, 0, 600 * PAGE_SIZE),
        Err(Error::Enomem)
    );
    assert_eq!(memory.shmem_pages(object), (0, 0), "not even in swap");
    memory.check_invariants();
    (0..40).for_each(|page| assert_eq!(memory.load(mm, kept + page * PAGE_SIZE), Ok(page + 1)));
    // What an earlier call left is reclaimed as ever.
    memory.shmem_fallocate(object, 0, 0, 100 * PAGE_SIZE).unwrap();
    memory
        .shmem_fallocate(object, 0, 100 * PAGE_SIZE, 100 * PAGE_SIZE)
        .unwrap();
    let big = memory.do_mmap(mm, 0, 200 * PAGE_SIZE, 3, 0x22, None, 0).unwrap();
    (0..200).for_each(|page| memory.store(mm, big + page * PAGE_SIZE, page).unwrap());
    let (resident, swapped) = memory.shmem_pages(object);
    assert!(resident + swapped == 200 && swapped > 50, "{resident} {swapped}");
    memory.check_invariants();
}
