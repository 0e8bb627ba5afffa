//! VMAs become one and two, a case of the drawing in `mmap::merge` a test. Letters are VMAs, one page each: P before, N the subject,
//! S after.

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::mmap::{map_flag, prot};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS;
const AT: u64 = 0x4000_0000;

struct Space {
    memory: Memory<FakeMachine>,
    mm: MmId,
}

impl Space {
    fn new() -> Self {
        let memory = machine(256, 0);
        let mm = memory.mm_alloc().unwrap();
        Self { memory, mm }
    }

    fn map(&self, page: u64, pages: u64, prot: u64, kind: u64) {
        let (at, len) = (AT + page * PAGE_SIZE, pages * PAGE_SIZE);
        self.memory
            .do_mmap(self.mm, at, len, prot, kind | map_flag::FIXED, None, 0)
            .unwrap();
    }

    fn protect(&self, page: u64, pages: u64, prot: u64) {
        let (at, len) = (AT + page * PAGE_SIZE, pages * PAGE_SIZE);
        self.memory.do_mprotect(self.mm, at, len, prot).unwrap();
    }

    fn store(&self, page: u64) {
        self.memory.store(self.mm, AT + page * PAGE_SIZE, page + 1).unwrap();
    }

    /// There are that many VMAs, none that could be one with the next, and everything stored is there.
    fn expect(&self, vmas: u64, stored: &[u64]) {
        assert_eq!(self.memory.mm_size(self.mm).0, vmas);
        self.memory.check_mm(self.mm);
        for page in 0..8 {
            let addr = VirtAddr(AT + page * PAGE_SIZE);
            assert!(!self.memory.joinable_at(self.mm, addr), "page {page}");
        }
        for &page in stored {
            assert_eq!(self.memory.load(self.mm, AT + page * PAGE_SIZE), Ok(page + 1));
        }
    }
}

/// B22: `PN -> PP`.
#[test]
fn new_after_p_makes_p_grow() {
    let space = Space::new();
    space.map(0, 1, RW, PRIVATE);
    space.store(0);
    space.map(1, 1, RW, PRIVATE);
    space.expect(1, &[0]);
    space.store(1);
    space.expect(1, &[0, 1]);
}

/// B22: `NS -> SS`.
#[test]
fn new_before_s_makes_s_grow_down() {
    let space = Space::new();
    space.map(1, 1, RW, PRIVATE);
    space.store(1);
    space.map(0, 1, RW, PRIVATE);
    space.expect(1, &[1]);
    space.store(0);
    space.expect(1, &[0, 1]);
}

/// B22: `PNS -> PPP`: with no pages, with those of one side, and with both sides' found through one anon_vma since they were one.
#[test]
fn new_between_p_and_s_makes_one_of_three() {
    for stored in [&[][..], &[0], &[2], &[0, 2]] {
        let space = Space::new();
        space.map(0, 3, RW, PRIVATE);
        stored.iter().for_each(|&page| space.store(page));
        space.memory.do_munmap(space.mm, AT + PAGE_SIZE, PAGE_SIZE).unwrap();
        space.expect(2, stored);
        space.map(1, 1, RW, PRIVATE);
        space.expect(1, stored);
    }
}

/// B22: `PNS -> PPS` where P and S have pages that are found through different anon_vmas: the hole goes to P.
#[test]
fn new_between_strangers_goes_to_p() {
    let space = Space::new();
    space.map(0, 1, RW, PRIVATE);
    space.map(2, 1, RW, PRIVATE);
    space.store(0);
    space.store(2);
    space.map(1, 1, RW, PRIVATE);
    space.expect(2, &[0, 2]);
    space.memory.do_munmap(space.mm, AT, 2 * PAGE_SIZE).unwrap();
    space.expect(1, &[2]);
}

/// B22: `VVV -> VNV -> VVV`: rights taken from the middle and given back; the pages stay.
#[test]
fn split_in_the_middle_and_back() {
    let space = Space::new();
    space.map(0, 3, RW, PRIVATE);
    (0..3).for_each(|page| space.store(page));
    space.protect(1, 1, prot::READ);
    space.expect(3, &[0, 1, 2]);
    space.protect(1, 1, RW);
    space.expect(1, &[0, 1, 2]);
}

/// B22: `VV -> NV` and `VV -> VN`, and back.
#[test]
fn split_at_either_end_and_back() {
    for page in [0, 2] {
        let space = Space::new();
        space.map(0, 3, RW, PRIVATE);
        (0..3).for_each(|page| space.store(page));
        space.protect(page, 1, prot::READ);
        space.expect(2, &[0, 1, 2]);
        space.protect(page, 1, RW);
        space.expect(1, &[0, 1, 2]);
    }
}

/// B22: `PPNN -> PPPN`: the part that gets P's rights goes over to P.
#[test]
fn boundary_moves_to_p() {
    let space = Space::new();
    space.map(0, 4, RW, PRIVATE);
    (0..4).for_each(|page| space.store(page));
    space.protect(2, 2, prot::READ);
    space.protect(2, 1, RW);
    space.expect(2, &[0, 1, 2, 3]);
}

/// B22: `NNSS -> NSSS`.
#[test]
fn boundary_moves_to_s() {
    let space = Space::new();
    space.map(0, 4, RW, PRIVATE);
    (0..4).for_each(|page| space.store(page));
    space.protect(0, 2, prot::READ);
    space.protect(1, 1, prot::READ | prot::WRITE);
    space.expect(2, &[0, 1, 2, 3]);
}

/// B23: two shared anonymous mappings are two objects; a hole in one is filled with a third.
#[test]
fn shared_objects_stay_apart() {
    let space = Space::new();
    space.map(0, 3, RW, SHARED);
    space.map(3, 1, RW, SHARED);
    space.expect(2, &[]);
    space.map(1, 1, RW, SHARED);
    space.expect(4, &[]);
}

/// B23: pages of one object that do not follow each other.
#[test]
fn offsets_that_do_not_continue_stay_apart() {
    let space = Space::new();
    let object = space.memory.shmem_file_setup(4 * PAGE_SIZE, false).unwrap();
    let map = |page: u64, offset: u64| {
        let flags = map_flag::SHARED | map_flag::FIXED;
        let at = AT + page * PAGE_SIZE;
        space
            .memory
            .do_mmap(space.mm, at, PAGE_SIZE, RW, flags, Some(object.into()), offset)
            .unwrap();
    };
    map(0, 0);
    map(1, 2);
    space.expect(2, &[]);
    map(1, 1);
    space.expect(1, &[]);
}
