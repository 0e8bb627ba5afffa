//! Rule B42: loads that fault map the cached pages around them, too. Expected maps are those that a program sees in `/proc/self/pagemap`
//! on Linux 6.18.

use std::string::String;

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{map_flag, prot};
use crate::page::{Event, flag};
use crate::platform::{PteFormat, Vmstat};
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
/// Where objects are mapped: the beginning of a page table.
const BASE: u64 = 0x10_0000_0000;
const PAGEOUT: i32 = 21;

/// An address space in which mappings are made and looked at.
struct Space {
    memory: Memory<FakeMachine>,
    mm: MmId,
    /// An object of 64 pages, all of them in the cache but 20 and 37.
    object: InodeId,
}

impl Space {
    fn new() -> Self {
        let memory = machine(1024, 128);
        let mm = memory.mm_alloc().unwrap();
        let object = memory.shmem_file_setup(64 * PAGE_SIZE, false).unwrap();
        let space = Self { memory, mm, object };
        let at = space.map(BASE, 0..64, RW, map_flag::SHARED);
        for page in (0..64).filter(|page| ![20, 37].contains(page)) {
            space.memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap();
        }
        space.unmap(64);
        space
    }

    /// Maps pages of the object.
    fn map(&self, at: u64, pages: core::ops::Range<u64>, prot: u64, kind: u64) -> u64 {
        let bytes = (pages.end - pages.start) * PAGE_SIZE;
        let flags = kind | map_flag::FIXED;
        let file = Some(self.object.into());
        self.memory
            .do_mmap(self.mm, at, bytes, prot, flags, file, pages.start)
            .unwrap()
    }

    fn unmap(&self, pages: u64) {
        self.memory.do_munmap(self.mm, BASE, pages * PAGE_SIZE).unwrap();
        self.memory.check_invariants();
    }

    /// Which of the pages from [`BASE`] on are mapped.
    fn mapped(&self, pages: u64) -> String {
        let present = |page: u64| {
            let pte = self
                .memory
                .pte(self.memory.pgd(self.mm), VirtAddr(BASE + page * PAGE_SIZE));
            pte.is_some_and(|pte| FakePte::is_present(pte.get()))
        };
        (0..pages).map(|page| if present(page) { '1' } else { '0' }).collect()
    }

    /// Faults that `work` takes.
    fn faults(&self, work: impl FnOnce(&Self)) -> u64 {
        let before = self.memory.platform.counter(Vmstat::Pgfault);
        work(self);
        self.memory.platform.counter(Vmstat::Pgfault) - before
    }

    fn load(&self, page: u64) -> Result<u64, Fault> {
        self.memory.load(self.mm, BASE + page * PAGE_SIZE)
    }

    fn store(&self, page: u64) {
        self.memory.store(self.mm, BASE + page * PAGE_SIZE, 99).unwrap();
    }
}

/// Rule B42.
#[test]
fn a_load_maps_what_is_cached_around_it() {
    let space = Space::new();
    space.map(BASE, 0..64, RW, map_flag::SHARED);
    assert_eq!(space.faults(|space| assert_eq!(space.load(5), Ok(6))), 1);
    assert_eq!(space.mapped(32), "11111111111111110000000000000000");
    let others = |space: &Space| (0..16).for_each(|page| assert_eq!(space.load(page), Ok(page + 1)));
    assert_eq!(space.faults(others), 0);
    // The mapping is shared and writable, so their entries allow stores.
    assert_eq!(space.faults(|space| (0..16).for_each(|page| space.store(page))), 0);
    // A load in a hole maps the others around, and then fills the hole: one fault.
    assert_eq!(space.faults(|space| assert_eq!(space.load(20), Ok(0))), 1);
    assert_eq!(space.mapped(64)[16..36], *"11111111111111110000");
    // Stores look at nothing around them.
    assert_eq!(space.faults(|space| space.store(37)), 1);
    assert_eq!(space.faults(|space| space.store(50)), 1);
    assert_eq!(space.mapped(64)[32..], *"00000100000000000010000000000000");
    assert_eq!(space.memory.mm(space.mm).rss_shmem(), 34, "resident pages are counted");
    assert_eq!(space.memory.platform.counter(Vmstat::NrFileMapped), 34);
    space.unmap(64);
    assert_eq!(space.memory.platform.counter(Vmstat::NrFileMapped), 0);
}

/// Rule B42: neither in front of the mapping nor behind it nor behind the object's end; windows are aligned in addresses.
#[test]
fn nothing_is_mapped_past_a_border() {
    let space = Space::new();
    space.map(BASE + 3 * PAGE_SIZE, 3..11, prot::READ, map_flag::PRIVATE);
    assert_eq!(space.faults(|space| assert_eq!(space.load(8), Ok(9))), 1);
    assert_eq!(space.mapped(16), "0001111111100000");
    space.unmap(64);
    // Index 3 at an aligned address.
    space.map(BASE, 3..64, prot::READ, map_flag::SHARED);
    assert_eq!(space.load(1), Ok(5));
    assert_eq!(space.mapped(20), "11111111111111110000");
    assert_eq!(space.load(16), Ok(20));
    assert_eq!(space.mapped(36)[16..], *"10111111111111110000", "index 20 is a hole");
    space.unmap(64);
    space.memory.shmem_truncate(space.object, 10 * PAGE_SIZE + 5).unwrap();
    space.map(BASE, 0..64, prot::READ, map_flag::SHARED);
    assert_eq!(space.load(0), Ok(1));
    assert_eq!(space.mapped(16), "1111111111100000");
    // Nor are pages that `fallocate` put past the end, the second time with content.
    space.unmap(64);
    for _ in 0..2 {
        let keep = crate::shmem::falloc::KEEP_SIZE;
        space
            .memory
            .shmem_fallocate(space.object, keep, 0, 64 * PAGE_SIZE)
            .unwrap();
    }
    space.map(BASE, 0..64, prot::READ, map_flag::SHARED);
    assert_eq!(space.load(0), Ok(1));
    assert_eq!(space.mapped(16), "1111111111100000");
    assert_eq!(space.load(11), Err(Fault::BusAdrerr));
    assert_eq!(space.load(40), Err(Fault::BusAdrerr));
    space.unmap(64);
}

/// Rule B42: a private mapping's entries forbid stores, and its own copies stay.
#[test]
fn private_mappings_get_entries_without_stores() {
    let space = Space::new();
    space.map(BASE, 0..64, RW, map_flag::PRIVATE);
    space.store(30);
    assert_eq!(space.faults(|space| assert_eq!(space.load(31), Ok(32))), 1);
    assert_eq!(space.mapped(36)[16..], *"11110111111111110000");
    assert_eq!(space.load(30), Ok(99), "the copy");
    assert_eq!(space.faults(|space| space.store(17)), 1);
    assert_eq!(space.load(17), Ok(99));
    space.map(BASE, 0..64, prot::READ, map_flag::SHARED);
    assert_eq!(space.load(17), Ok(18), "the object's page is as it was");
    space.unmap(64);
}

/// Rule B42: only what is up to date and nobody's lock is on; not what is in swap. Nothing is noted as used.
#[test]
fn what_would_have_to_be_waited_for_is_left_out() {
    let space = Space::new();
    let memory = &space.memory;
    memory.shmem_truncate(space.object, 0).unwrap();
    memory.shmem_fallocate(space.object, 0, 0, 64 * PAGE_SIZE).unwrap();
    space.map(BASE, 0..64, RW, map_flag::SHARED);
    assert_eq!(space.load(0), Ok(0));
    assert_eq!(space.mapped(16), "1000000000000000", "fallocated, never touched");
    (0..16).for_each(|page| space.store(page));
    memory.do_madvise(space.mm, BASE, 4 * PAGE_SIZE, PAGEOUT).unwrap();
    space.unmap(64);
    let inode = memory.inode(space.object);
    let locked = memory.filemap_get_entry(inode, 9).as_page().unwrap();
    memory.lock_page(locked);
    space.map(BASE, 0..64, RW, map_flag::SHARED);
    assert_eq!(space.load(5), Ok(99));
    assert_eq!(space.mapped(16), "0000111110111111");
    let around = memory.filemap_get_entry(inode, 6).as_page().unwrap();
    assert!(!memory.page(around).has(flag::REFERENCED));
    memory.page(locked).step(Event::Unlock);
    space.unmap(64);
}

/// Rule B42: how far is looked can be set, as in debugfs; attachments of System V segments are left alone.
#[test]
fn how_far_is_looked() {
    let space = Space::new();
    for (bytes, pages) in [
        (0, 1),
        (4096, 1),
        (8191, 1),
        (8192, 2),
        (12288, 2),
        (65_536, 16),
        (2 << 20, 32),
    ] {
        space.memory.set_fault_around_bytes(bytes).unwrap();
        space.map(BASE, 0..32, prot::READ, map_flag::SHARED);
        assert_eq!(space.load(3), Ok(4));
        let mapped = space.mapped(32).matches('1').count() as u64;
        assert_eq!(
            mapped,
            pages - u64::from(pages == 32),
            "{bytes} bytes; page 20 is a hole"
        );
        space.unmap(32);
    }
    assert_eq!(space.memory.fault_around_bytes(), 2 << 20);
    assert_eq!(
        space.memory.set_fault_around_bytes((2 << 20) + 4096),
        Err(Error::Einval)
    );
    space.memory.set_fault_around_bytes(65_536).unwrap();
    let root = Caller {
        pid: 1,
        euid: 0,
        egid: 0,
    };
    let segment = space
        .memory
        .shmget(root, 1, 16 * PAGE_SIZE, shm_flag::IPC_CREAT | 0o600)
        .unwrap();
    let first = space.memory.shmat(root, space.mm, segment, 0, 0).unwrap();
    for page in 0..16 {
        space.memory.store(space.mm, first + page * PAGE_SIZE, 7).unwrap();
    }
    space.memory.shmat(root, space.mm, segment, BASE, 0).unwrap();
    assert_eq!(space.load(5), Ok(7));
    assert_eq!(space.mapped(16), "0000010000000000");
}

/// Rule B42: what is no store is a read fault.
#[test]
fn an_instruction_fetch_looks_around_too() {
    let space = Space::new();
    space.map(BASE, 0..64, prot::READ | prot::EXEC, map_flag::PRIVATE);
    let fetch = |space: &Space| {
        let addr = BASE + 2 * PAGE_SIZE;
        space.memory.touch(space.mm, addr, Access::Exec).map(drop)
    };
    assert_eq!(space.faults(|space| fetch(space).unwrap()), 1);
    assert_eq!(space.mapped(16), "1111111111111111");
    space.unmap(64);
}
