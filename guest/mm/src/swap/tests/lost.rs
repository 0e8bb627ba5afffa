//! Pages that cannot be read back.

use super::{PAGEOUT, RW, page_out, remove, swapped_out};
use crate::addr::PAGE_SIZE;
use crate::error::Fault;
use crate::mmap::map_flag::{ANONYMOUS, PRIVATE, SHARED};
use crate::swap::SwapSlot;
use crate::testing::machine;

/// F28: a page of an object that cannot be read is lost for good, for all who share it, and no other page is; its slot is free, and the disk
/// is not asked again. A hole is a hole again.
#[test]
fn a_lost_page_of_an_object() {
    let memory = machine(512, 256);
    let mm = memory.mm_alloc().unwrap();
    let at = swapped_out(&memory, mm, 8, SHARED);
    let child = memory.dup_mmap(mm, 1).unwrap();
    memory.platform.disk.borrow_mut().bad_slot = Some(SwapSlot::new(0, 4));
    let lost = at + 3 * PAGE_SIZE;
    assert_eq!(memory.load(mm, lost), Err(Fault::BusAdrerr));
    assert_eq!(memory.swap_inuse_pages(), 7, "its slot is free");
    memory.platform.disk.borrow_mut().bad_slot = None;
    let reads = memory.platform.disk.borrow().reads;
    assert_eq!(memory.load(child, lost), Err(Fault::BusAdrerr));
    assert_eq!(memory.store(mm, lost, 9), Err(Fault::BusAdrerr));
    assert_eq!(memory.platform.disk.borrow().reads, reads);
    for page in (0..8).filter(|&page| page != 3) {
        assert_eq!(memory.load(child, at + page * PAGE_SIZE), Ok(page + 1));
    }
    assert_eq!(memory.swap_inuse_pages(), 0);
    assert_eq!(memory.swapoff(0), Ok(()), "it is not in the way");
    assert_eq!(memory.load(mm, lost), Err(Fault::BusAdrerr));
    remove(&memory, mm, lost, 1);
    assert_eq!(memory.load(mm, lost), Ok(0));
    memory.store(child, lost, 5).unwrap();
    assert_eq!(memory.load(mm, lost), Ok(5));
    memory.mmput(mm, 1);
    memory.mmput(child, 2);
    memory.check_invariants();
}

/// F28: an object counts a lost page no longer, and ends with it.
#[test]
fn lost_pages_do_not_count() {
    let memory = machine(512, 256);
    let mm = memory.mm_alloc().unwrap();
    let id = memory.shmem_file_setup(4 * PAGE_SIZE, false).unwrap();
    let at = memory
        .do_mmap(mm, 0, 4 * PAGE_SIZE, RW, SHARED, Some(id.into()), 0)
        .unwrap();
    for page in 0..4 {
        memory.store(mm, at + page * PAGE_SIZE, 1).unwrap();
    }
    page_out(&memory, mm, at, 4);
    assert_eq!((memory.shmem_pages(id), memory.inode(id).alloced()), ((0, 4), 4));
    memory.platform.disk.borrow_mut().reads_until_error = Some(0);
    for page in 0..2 {
        assert_eq!(memory.load(mm, at + page * PAGE_SIZE), Err(Fault::BusAdrerr));
    }
    assert_eq!((memory.shmem_pages(id), memory.inode(id).alloced()), ((0, 2), 2));
    remove(&memory, mm, at, 1);
    assert_eq!((memory.shmem_pages(id), memory.inode(id).alloced()), ((0, 2), 2));
    memory.mmput(mm, 1);
    memory.iput(id);
    assert_eq!(memory.swap_inuse_pages(), 0);
    memory.check_invariants();
}

/// F28: a private page that cannot be read is refused to who touches it; the slot is kept, and who touches it later may be luckier.
#[test]
fn a_private_page_that_cannot_be_read() {
    let memory = machine(512, 256);
    let mm = memory.mm_alloc().unwrap();
    let flags = PRIVATE | ANONYMOUS;
    let at = memory.do_mmap(mm, 0, 2 * PAGE_SIZE, RW, flags, None, 0).unwrap();
    memory.store(mm, at, 1).unwrap();
    memory.store(mm, at + PAGE_SIZE, 2).unwrap();
    memory.do_madvise(mm, at, 2 * PAGE_SIZE, PAGEOUT).unwrap();
    let child = memory.dup_mmap(mm, 1).unwrap();
    memory.platform.disk.borrow_mut().bad_slot = Some(SwapSlot::new(0, 1));
    assert_eq!(memory.load(mm, at), Err(Fault::BusAdrerr));
    assert_eq!(memory.store(mm, at, 3), Err(Fault::BusAdrerr));
    assert_eq!(memory.load(mm, at + PAGE_SIZE), Ok(2));
    memory.platform.disk.borrow_mut().bad_slot = None;
    assert_eq!(memory.load(child, at), Ok(1));
    assert_eq!(memory.load(mm, at), Ok(1));
    memory.check_invariants();
}
