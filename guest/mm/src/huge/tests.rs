//! Rules C4, C5, G1 to G7, one by one: who gets huge pages, and where. What becomes of them is in `lives`; what programs see whatever happens is drawn
//! in `crate::tests::model`.

mod lives;

use std::vec::Vec;

use super::{AnonPolicy, HPAGE_PAGES, HPAGE_SIZE, HugeCounters, ShmemPolicy};
use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::mmap::{advice, map_flag, prot};
use crate::platform::Vmstat;
use crate::shmem::{FsType, InodeId, Limits, SuperId, Whence, falloc};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;
const SHARED: u64 = map_flag::SHARED | map_flag::ANONYMOUS;
const PAGES: u64 = HPAGE_PAGES as u64;
const AT: u64 = 0x4000_0000;

struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
}

impl World {
    fn new(frames: u32, slots: u32) -> Self {
        let memory = machine(frames, slots);
        let mm = memory.mm_alloc().expect("an address space");
        memory.set_anon_policy(AnonPolicy::Always);
        Self { memory, mm }
    }

    fn map(&self, at: u64, len: u64, flags: u64) -> u64 {
        let flags = flags | if at == 0 { 0 } else { map_flag::FIXED };
        self.memory.do_mmap(self.mm, at, len, RW, flags, None, 0).expect("mmap")
    }

    fn map_file(&self, at: u64, len: u64, file: InodeId, first: u64) -> u64 {
        let flags = map_flag::SHARED | if at == 0 { 0 } else { map_flag::FIXED };
        self.memory
            .do_mmap(self.mm, at, len, RW, flags, Some(file.into()), first)
            .expect("mmap")
    }

    /// A mounted file system of so many pages (0: no limit), and an empty file in it.
    fn mount(&self, blocks: u64, policy: ShmemPolicy) -> (SuperId, InodeId) {
        let limits = Limits { blocks, inodes: 0 };
        let sb = self
            .memory
            .new_super(FsType::Tmpfs, 7, limits, 0, (0o777, (0, 0)))
            .expect("a file system");
        self.memory.set_mount_policy(sb, policy);
        (sb, self.file(sb))
    }

    fn file(&self, sb: SuperId) -> InodeId {
        self.memory.new_inode(sb, 0o100_600, (0, 0)).expect("a file")
    }

    /// `pwrite` of one byte.
    fn write(&self, file: InodeId, pos: u64) -> Result<(), Error> {
        self.memory.kernel_write(file, pos, &[7])
    }

    fn counters(&self) -> HugeCounters {
        self.memory.huge_counters()
    }

    fn blocks(&self, file: InodeId) -> u64 {
        self.memory.getattr(file).blocks
    }

    fn store(&self, at: u64, page: u64, value: u64) {
        self.memory
            .store(self.mm, at + page * PAGE_SIZE, value)
            .expect("a store");
    }

    fn load(&self, at: u64, page: u64) -> u64 {
        self.memory.load(self.mm, at + page * PAGE_SIZE).expect("a load")
    }

    fn fill(&self, at: u64, pages: u64) {
        (0..pages).for_each(|page| self.store(at, page, page + 1));
    }

    fn intact(&self, at: u64, pages: core::ops::Range<u64>) {
        for page in pages {
            assert_eq!(self.load(at, page), page + 1, "page {page}");
        }
    }

    fn faults(&self) -> u64 {
        self.memory.platform.counter(Vmstat::Pgfault)
    }

    fn rss(&self) -> (u64, u64) {
        let (anon, shmem, ..) = self.memory.mm_counters(self.mm);
        (anon, shmem)
    }

    fn end(self, files: &[InodeId]) {
        for &file in files {
            self.memory.clear_nlink(file);
            self.memory.iput(file);
        }
        self.memory.mmput(self.mm, 1);
        self.memory.check_no_huge();
        self.memory.check_invariants();
        for item in [
            Vmstat::NrAnonMapped,
            Vmstat::NrFileMapped,
            Vmstat::NrShmem,
            Vmstat::NrFilePages,
        ] {
            assert_eq!(self.memory.platform.counter(item), 0, "{item:?}");
        }
        assert_eq!(self.memory.swap_inuse_pages(), 0);
        assert_eq!(self.memory.committed_as(), 0);
    }
}

/// G1, B43: one fault gives private memory 2 MiB where they fit, and only there.
#[test]
fn a_store_to_private_memory_maps_a_huge_page() {
    let world = World::new(4096, 0);
    let at = world.map(AT + HPAGE_SIZE - PAGE_SIZE, HPAGE_SIZE + 2 * PAGE_SIZE, PRIVATE);
    world.store(at, 0, 5);
    assert_eq!(
        world.counters().anon_thps,
        0,
        "a leaf there would begin before the mapping"
    );
    let before = world.faults();
    world.fill(at + PAGE_SIZE, PAGES);
    assert_eq!((world.faults() - before, world.counters().anon_thps), (1, 1));
    assert_eq!(world.rss(), (PAGES + 1, 0));
    assert_eq!(world.memory.platform.counter(Vmstat::NrAnonMapped), PAGES + 1);
    world.store(at, PAGES + 1, 6);
    assert_eq!(world.counters().anon_thps, 1, "nor where it would end behind it");
    world.intact(at + PAGE_SIZE, 0..PAGES);
    world.end(&[]);
}

/// G1: who gets huge pages of private memory.
#[test]
fn the_policy_for_private_memory() {
    for policy in AnonPolicy::ALL {
        for advised in [None, Some(advice::HUGEPAGE), Some(advice::NOHUGEPAGE)] {
            for disabled in [false, true] {
                let world = World::new(4096, 0);
                world.memory.set_anon_policy(policy);
                world.memory.set_thp_disabled(world.mm, disabled);
                let at = world.map(AT, HPAGE_SIZE, PRIVATE);
                if let Some(advised) = advised {
                    world
                        .memory
                        .do_madvise(world.mm, at, HPAGE_SIZE, advised)
                        .expect("advice");
                }
                world.store(at, 3, 1);
                let wanted = match (policy, advised) {
                    (AnonPolicy::Never, _) | (_, Some(advice::NOHUGEPAGE)) => false,
                    (AnonPolicy::Madvise, advised) => advised.is_some(),
                    (AnonPolicy::Always, _) => true,
                };
                let huge = world.counters().anon_thps == 1;
                assert_eq!(huge, wanted && !disabled, "{policy:?} {advised:?} {disabled}");
                world.end(&[]);
            }
        }
    }
}

/// G1: the matrix of `huge=` and `shmem_enabled`, for a fault that was advised or not, and for a write, in a file of 3 MiB.
#[test]
fn the_policy_for_objects() {
    use ShmemPolicy::{Advise, Always, Deny, Force, Never, WithinSize};
    for mount in [Never, Always, WithinSize, Advise] {
        for knob in ShmemPolicy::ALL {
            let effective = match knob {
                Deny => Never,
                Force => Always,
                _ => mount,
            };
            for advised in [false, true] {
                let world = World::new(6144, 0);
                world.memory.set_shmem_policy(knob);
                let (_, file) = world.mount(0, mount);
                world.memory.shmem_truncate(file, 3 << 20).expect("a size");
                let at = world.map_file(AT, 4 << 20, file, 0);
                if advised {
                    world
                        .memory
                        .do_madvise(world.mm, at, 4 << 20, advice::HUGEPAGE)
                        .expect("advice");
                }
                let what = (mount, knob, advised);
                world.store(at, 600, 1);
                let tail = matches!((effective, advised), (Always, _) | (WithinSize | Advise, true));
                assert_eq!(world.counters().shmem_thps, u64::from(tail), "the tail, {what:?}");
                world.write(file, 5000).expect("a write");
                let head = matches!(effective, Always | WithinSize);
                assert_eq!(
                    world.counters().shmem_thps,
                    u64::from(tail) + u64::from(head),
                    "a write, {what:?}"
                );
                world.end(&[file]);
            }
        }
    }
    assert_eq!(ShmemPolicy::of_mount(b"within_size"), Some(WithinSize));
    for text in [&b"deny"[..], b"force", b"sometimes", b""] {
        assert_eq!(ShmemPolicy::of_mount(text), None);
    }
}

/// G2, G4, C8: a byte costs 512 blocks; truncation and holes give back exactly what lies in them, and the rest stays as it was.
#[test]
fn blocks_are_counted_through_splits() {
    let world = World::new(8192, 0);
    let (sb, file) = world.mount(0, ShmemPolicy::Always);
    world.write(file, 0).expect("a byte");
    let used = || world.memory.super_block(sb).used_blocks();
    assert_eq!(
        (world.blocks(file), used(), world.counters().shmem_thps),
        (4096, PAGES, 1)
    );
    assert_eq!(world.memory.platform.counter(Vmstat::NrShmem), PAGES);
    world.memory.shmem_truncate(file, 6 << 20).expect("a size");
    let at = world.map_file(AT, 6 << 20, file, 0);
    world.fill(at, 3 * PAGES);
    assert_eq!((world.counters().shmem_thps, world.counters().shmem_pmd_mapped), (3, 3));
    assert_eq!(world.rss(), (0, 3 * PAGES));
    world.memory.shmem_truncate(file, (4 << 20) + 8192).expect("a size");
    assert_eq!((world.blocks(file), world.counters().shmem_thps), (2 * 4096 + 16, 2));
    world.intact(at, 0..2 * PAGES + 2);
    let mode = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
    world
        .memory
        .shmem_fallocate(file, mode, 10 * PAGE_SIZE, 20 * PAGE_SIZE)
        .expect("a hole");
    assert_eq!(
        (world.blocks(file), world.counters().shmem_thps),
        (2 * 4096 + 16 - 160, 1)
    );
    assert_eq!(used() * 8, world.blocks(file));
    world.intact(at, 0..10);
    (10..30).for_each(|page| assert_eq!(world.load(at, page), 0));
    world.intact(at, 30..2 * PAGES + 2);
    world.end(&[file]);
}

/// G3, C5: where a small page is, no huge one is put; where there is no room for one, a small one will do.
#[test]
fn small_pages_will_do() {
    let world = World::new(4096, 0);
    let (sb, file) = world.mount(PAGES + 20, ShmemPolicy::Never);
    world.write(file, 700 * PAGE_SIZE).expect("a small page");
    world.memory.set_mount_policy(sb, ShmemPolicy::Always);
    world.write(file, 800 * PAGE_SIZE).expect("beside it");
    assert_eq!((world.counters().shmem_thps, world.blocks(file)), (0, 16));
    world.write(file, 0).expect("a huge page");
    assert_eq!((world.counters().shmem_thps, world.blocks(file)), (1, 16 + 4096));
    world.write(file, 2000 * PAGE_SIZE).expect("no 512 blocks are left");
    assert_eq!((world.counters().shmem_thps, world.blocks(file)), (1, 24 + 4096));
    let world_of_little = World::new(700, 0);
    let (_, other) = world_of_little.mount(0, ShmemPolicy::Always);
    let crowd = world_of_little.map(AT, 400 * PAGE_SIZE, PRIVATE);
    world_of_little.fill(crowd, 400);
    world_of_little.write(other, 0).expect("memory for a small page");
    assert_eq!(
        (
            world_of_little.blocks(other),
            world_of_little.counters().thp_file_fallback
        ),
        (8, 1)
    );
    world_of_little.end(&[other]);
    world.end(&[file]);
}

/// G5, C4: two files of a byte in 4 MiB; a third finds room behind the end of the first.
#[test]
fn unused_tails_make_room() {
    let world = World::new(4096, 0);
    let (sb, first) = world.mount(2 * PAGES, ShmemPolicy::Always);
    let (second, third) = (world.file(sb), world.file(sb));
    world.write(first, 0).expect("a byte");
    world.write(second, 0).expect("a byte");
    assert_eq!((world.blocks(first), world.blocks(second)), (4096, 4096));
    world.write(third, 0).expect("room is made");
    let mut blocks = [first, second, third].map(|file| world.blocks(file));
    blocks.sort_unstable();
    assert_eq!(blocks, [8, 8, 4096]);
    assert_eq!(world.memory.super_block(sb).used_blocks(), PAGES + 2);
    world.end(&[first, second, third]);
}

/// C21: the pages of a huge page are data.
#[test]
fn a_huge_page_is_data() {
    let world = World::new(4096, 0);
    let (_, file) = world.mount(0, ShmemPolicy::Always);
    world.memory.shmem_truncate(file, 6 << 20).expect("a size");
    world.write(file, (2 << 20) + 5).expect("a byte");
    let seek = |from, whence| world.memory.shmem_seek(file, from, whence);
    assert_eq!(seek(0, Whence::Data), Ok(2 << 20));
    assert_eq!(seek(3 << 20, Whence::Data), Ok(3 << 20));
    assert_eq!(seek(3 << 20, Whence::Hole), Ok(4 << 20));
    assert_eq!(seek(4 << 20, Whence::Data), Err(Error::Enxio));
    world.end(&[file]);
}

/// G6, G7: a mapping out of phase has the huge page's frames mapped one by one; the page stays huge.
#[test]
fn a_mapping_out_of_phase_uses_small_entries() {
    let world = World::new(4096, 0);
    let (_, file) = world.mount(0, ShmemPolicy::Always);
    world.memory.shmem_truncate(file, HPAGE_SIZE).expect("a size");
    let aligned = world.map_file(0, HPAGE_SIZE, file, 0);
    assert_eq!(aligned % HPAGE_SIZE, 0);
    world.fill(aligned, PAGES);
    let beside = world.map_file(AT + PAGE_SIZE, HPAGE_SIZE, file, 0);
    world.intact(beside, 0..PAGES);
    world.store(beside, 77, 99);
    assert_eq!(world.load(aligned, 77), 99);
    assert_eq!((world.counters().shmem_thps, world.counters().shmem_pmd_mapped), (1, 1));
    assert_eq!(
        world.memory.platform.counter(Vmstat::NrFileMapped),
        PAGES,
        "each page once"
    );
    world.memory.do_munmap(world.mm, aligned, HPAGE_SIZE).expect("munmap");
    assert_eq!((world.counters().shmem_thps, world.counters().shmem_pmd_mapped), (1, 0));
    assert_eq!(world.memory.platform.counter(Vmstat::NrFileMapped), PAGES);
    world
        .memory
        .do_munmap(world.mm, beside, 100 * PAGE_SIZE)
        .expect("munmap");
    assert_eq!(world.memory.platform.counter(Vmstat::NrFileMapped), PAGES - 100);
    world.end(&[file]);
}

/// G1: a fault makes no huge page where its mapping has no room for one, or not in phase; a write does, and then others map its frames.
#[test]
fn a_mapping_without_room_gets_small_pages() {
    let world = World::new(4096, 0);
    let (_, file) = world.mount(0, ShmemPolicy::Always);
    world.memory.shmem_truncate(file, 8 << 20).expect("a size");
    let inside = world.map_file(AT + (256 << 10), PAGE_SIZE, file, 0);
    world.store(inside, 0, 1);
    let askew = world.map_file(AT + (8 << 20) + PAGE_SIZE, 4 << 20, file, PAGES);
    world.store(askew, 0, 2);
    world.store(askew, 1, 3);
    assert_eq!((world.blocks(file), world.counters().shmem_thps), (24, 0));
    world.write(file, 4 << 20).expect("a write");
    assert_eq!((world.blocks(file), world.counters().shmem_thps), (24 + 4096, 1));
    assert_eq!(world.load(askew, PAGES) & 0xff, 7);
    world.store(askew, 2, 4);
    assert_eq!(
        (world.blocks(file), world.counters().shmem_thps),
        (32 + 4096, 1),
        "nor where the object has some"
    );
    world.end(&[file]);
}

/// G6, G7: where mappings go; what a program on Linux 6.18 prints.
#[test]
fn addresses_fit_huge_pages() {
    let world = World::new(4096, 0);
    let phase = |at: u64, first: u64| (at / PAGE_SIZE).wrapping_sub(first) % PAGES;
    let (_, never) = world.mount(0, ShmemPolicy::Never);
    let (_, always) = world.mount(0, ShmemPolicy::Always);
    world.map(0, 3 * PAGE_SIZE, SHARED);
    let small = world.map_file(0, HPAGE_SIZE, never, 0);
    assert_ne!(phase(small, 0), 0, "without huge pages any page will do");
    for pages in [PAGES, 2 * PAGES] {
        assert_eq!(
            phase(world.map(0, pages * PAGE_SIZE, PRIVATE), 0),
            0,
            "{pages} private pages"
        );
    }
    let after = |pages: u64| world.map(0, pages * PAGE_SIZE, PRIVATE);
    for (pages, first, fits) in [
        (512, 0, true),
        (512, 1, false),
        (512, 256, false),
        (513, 0, true),
        (513, 1, false),
        (768, 256, true),
        (1024, 1, true),
        (1024, 256, true),
    ] {
        after(5);
        let at = world.map_file(0, pages * PAGE_SIZE, always, first);
        assert_eq!(phase(at, first) == 0, fits, "{pages} pages from {first} on");
    }
    world.end(&[never, always]);
}
