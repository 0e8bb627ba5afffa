//! Memory files where no program can look: swap, undo, what is charged and what is given back.

use std::vec::Vec;

use super::{Whence, falloc, seal};
use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::mmap::{MapFile, map_flag, prot};
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const MADV_PAGEOUT: i32 = 21;
const BUFFER_PAGES: u64 = 8;

/// A file, and a process with a buffer and with all of the file mapped.
struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
    file: InodeId,
    buffer: u64,
    view: u64,
}

impl World {
    fn new(frames: u32, slots: u32, view_flags: u64) -> Self {
        let memory = machine(frames, slots);
        let mm = memory.mm_alloc().expect("an address space");
        let file = memory.memfd_create(0o100_777, (0, 0), 0).expect("a file");
        let anonymous = map_flag::PRIVATE | map_flag::ANONYMOUS;
        let buffer = memory
            .do_mmap(mm, 0, BUFFER_PAGES * PAGE_SIZE, RW, anonymous, None, 0)
            .expect("a buffer");
        let view = memory
            .do_mmap(mm, 0, 512 * PAGE_SIZE, RW, view_flags, Some(MapFile::from(file)), 0)
            .expect("a view");
        Self {
            memory,
            mm,
            file,
            buffer,
            view,
        }
    }

    fn write(&self, pos: u64, bytes: &[u8]) -> Result<u64, Error> {
        for (at, byte) in (self.buffer..).zip(bytes) {
            let word = self.memory.load(self.mm, at & !7).expect("the buffer");
            let shift = at % 8 * 8;
            let new = word & !(0xff << shift) | u64::from(*byte) << shift;
            self.memory.store(self.mm, at & !7, new).expect("the buffer");
        }
        self.memory
            .shmem_file_write(self.file, pos, self.mm, self.buffer, bytes.len() as u64)
    }

    fn read(&self, pos: u64, len: u64) -> Result<Vec<u8>, Error> {
        let count = self.memory.shmem_file_read(self.file, pos, self.mm, self.buffer, len)?;
        let byte = |at: u64| {
            let word = self.memory.load(self.mm, at & !7).expect("the buffer");
            word.to_le_bytes()[(at % 8) as usize]
        };
        Ok((self.buffer..self.buffer + count).map(byte).collect())
    }

    fn blocks(&self) -> u64 {
        self.memory.getattr(self.file).blocks
    }

    fn page_out(&self) {
        self.memory
            .do_madvise(self.mm, self.view, 512 * PAGE_SIZE, MADV_PAGEOUT)
            .expect("madvise");
    }

    /// Everything goes, and nothing may be left.
    fn end(self) {
        self.memory.check_invariants();
        self.memory.iput(self.file);
        self.memory.mmput(self.mm, 1);
        assert_eq!(self.memory.swap_inuse_pages(), 0);
        for (name, objects) in self.memory.live_records() {
            assert_eq!(objects, 0, "{name} left");
        }
        self.memory.check_invariants();
    }
}

/// C9, C16, F23: what is in swap is read, overwritten in part, zeroed in part, and counted, as if it were in memory.
#[test]
fn pages_in_swap() {
    let world = World::new(256, 256, map_flag::SHARED);
    assert_eq!(world.write(0, &[1; 3 * 4096]), Ok(3 * 4096));
    (0..3).for_each(|page| assert!(world.memory.load(world.mm, world.view + page * PAGE_SIZE).is_ok()));
    world.page_out();
    assert_eq!(world.memory.shmem_pages(world.file), (0, 3));
    assert_eq!(world.blocks(), 24, "swapping changes no blocks");
    assert_eq!(
        world.memory.shmem_seek(world.file, 10, Whence::Data),
        Ok(10),
        "it is data there"
    );
    assert_eq!(world.write(10, &[2; 5]), Ok(5));
    assert_eq!(world.read(8, 9), Ok([1, 1, 2, 2, 2, 2, 2, 1, 1].to_vec()));
    assert_eq!(world.memory.shmem_pages(world.file), (1, 2));
    assert_eq!(world.read(PAGE_SIZE, 2), Ok([1; 2].to_vec()));
    world.memory.shmem_truncate(world.file, 2 * PAGE_SIZE + 1).unwrap();
    world.memory.shmem_truncate(world.file, 3 * PAGE_SIZE).unwrap();
    assert_eq!(world.read(2 * PAGE_SIZE, 3), Ok([1, 0, 0].to_vec()));
    world
        .memory
        .shmem_fallocate(world.file, falloc::KEEP_SIZE | falloc::PUNCH_HOLE, 0, 2 * PAGE_SIZE)
        .unwrap();
    assert_eq!((world.blocks(), world.memory.swap_inuse_pages()), (8, 0));
    world.end();
}

/// C21, C29: a page that was only allocated is a hole until reclaim or a fault gives it content.
#[test]
fn allocated_pages_have_no_content() {
    let world = World::new(256, 256, map_flag::SHARED);
    world.memory.shmem_fallocate(world.file, 0, 0, 2 * PAGE_SIZE).unwrap();
    assert_eq!(world.blocks(), 16);
    assert_eq!(world.memory.shmem_seek(world.file, 0, Whence::Data), Err(Error::Enxio));
    assert_eq!(world.read(0, 4), Ok([0; 4].to_vec()));
    assert_eq!(world.memory.shmem_seek(world.file, 0, Whence::Data), Err(Error::Enxio));
    assert_eq!(world.memory.load(world.mm, world.view + PAGE_SIZE), Ok(0));
    assert_eq!(world.memory.shmem_seek(world.file, 0, Whence::Data), Ok(PAGE_SIZE));
    // Fill memory: the page without content is swapped as zeroes.
    let anonymous = map_flag::PRIVATE | map_flag::ANONYMOUS;
    let big = world
        .memory
        .do_mmap(world.mm, 0, 300 * PAGE_SIZE, RW, anonymous, None, 0)
        .unwrap();
    (0..300).for_each(|page| world.memory.store(world.mm, big + page * PAGE_SIZE, 1).unwrap());
    assert_eq!(world.memory.shmem_pages(world.file).1, 2);
    assert_eq!(world.memory.load(world.mm, world.view), Ok(0));
    assert_eq!(world.read(PAGE_SIZE, 4), Ok([0; 4].to_vec()));
    world.end();
}

/// C26, C30: an allocation that fails leaves what was there before, and nothing else.
#[test]
fn a_failed_allocation_is_undone() {
    let world = World::new(128, 0, map_flag::SHARED);
    assert_eq!(world.write(4 * PAGE_SIZE, &[7; 10]), Ok(10));
    world.memory.shmem_fallocate(world.file, 0, 0, 2 * PAGE_SIZE).unwrap();
    let (blocks, free) = (world.blocks(), world.memory.nr_free_pages());
    assert_eq!(
        world.memory.shmem_fallocate(world.file, 0, 0, 512 * PAGE_SIZE),
        Err(Error::Enomem)
    );
    assert_eq!(world.blocks(), blocks);
    assert!(free - world.memory.nr_free_pages() < 8, "frames are lost");
    assert_eq!(
        world.memory.i_size(world.file),
        4 * PAGE_SIZE + 10,
        "the size is as before"
    );
    assert_eq!(world.read(4 * PAGE_SIZE, 2), Ok([7; 2].to_vec()));
    world.end();
}

/// B40: private copies go with the end of the file, also those in swap, and stay when a hole is made.
#[test]
fn private_copies() {
    let world = World::new(256, 256, map_flag::PRIVATE | map_flag::NORESERVE);
    assert_eq!(world.write(0, &[1; 4 * 4096]), Ok(4 * 4096));
    (0..4).for_each(|page| {
        world
            .memory
            .store(world.mm, world.view + page * PAGE_SIZE, page + 10)
            .unwrap();
    });
    world.page_out();
    let (anon, _, swapped, _) = world.memory.mm_counters(world.mm);
    assert!(swapped >= 4, "{anon} {swapped}");
    world
        .memory
        .shmem_fallocate(world.file, falloc::KEEP_SIZE | falloc::PUNCH_HOLE, 0, PAGE_SIZE)
        .unwrap();
    assert_eq!(world.memory.load(world.mm, world.view), Ok(10));
    world.memory.shmem_truncate(world.file, 2 * PAGE_SIZE).unwrap();
    assert_eq!(world.memory.load(world.mm, world.view + PAGE_SIZE), Ok(11));
    for page in 2..4 {
        let at = world.view + page * PAGE_SIZE;
        assert_eq!(world.memory.load(world.mm, at), Err(Fault::BusAdrerr));
    }
    world.memory.shmem_truncate(world.file, 4 * PAGE_SIZE).unwrap();
    assert_eq!(world.memory.load(world.mm, world.view + 2 * PAGE_SIZE), Ok(0));
    world.end();
}

/// C15: a write whose source is the page that it goes to, and one whose source is not there.
#[test]
fn sources_of_writes() {
    let world = World::new(256, 256, map_flag::SHARED);
    world.memory.shmem_truncate(world.file, PAGE_SIZE).unwrap();
    let copied = world
        .memory
        .shmem_file_write(world.file, 8, world.mm, world.view, PAGE_SIZE - 8);
    assert_eq!(copied, Ok(PAGE_SIZE - 8));
    world.memory.store(world.mm, world.view, 5).unwrap();
    assert_eq!(
        world.memory.shmem_file_write(world.file, 4, world.mm, world.view, 8),
        Ok(8)
    );
    assert_eq!(world.memory.load(world.mm, world.view), Ok(5 | 5 << 32));
    assert_eq!(
        world
            .memory
            .shmem_file_write(world.file, 0, world.mm, world.view + 8 * PAGE_SIZE, 8),
        Err(Error::Efault),
        "past the end"
    );
    world.end();
}

/// C49: what future writes are refused, old mappings may do; nothing may remove content.
#[test]
fn sealed() {
    let world = World::new(256, 256, map_flag::SHARED);
    world.memory.shmem_truncate(world.file, PAGE_SIZE).unwrap();
    assert_eq!(world.memory.add_seals(world.file, seal::WRITE), Err(Error::Ebusy));
    world.memory.add_seals(world.file, seal::FUTURE_WRITE).unwrap();
    assert_eq!(world.memory.store(world.mm, world.view, 1), Ok(()));
    assert_eq!(world.write(0, &[1]), Err(Error::Eperm));
    let mapped = world
        .memory
        .do_mmap(world.mm, 0, PAGE_SIZE, RW, map_flag::SHARED, Some(world.file.into()), 0);
    assert_eq!(mapped, Err(Error::Eperm));
    world.end();
}
