//! An address space with a context, and what tests do with it.

use std::vec;
use std::vec::Vec;

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::mmap::{map_flag, prot};
use crate::platform::Vmstat;
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, machine};
use crate::userfaultfd::{API, UserfaultId, Waiting, uffd_number};
use crate::vma::MmId;
use crate::vma_tree::find_vma;

pub(super) const RW: u64 = prot::READ | prot::WRITE;
pub(super) const AT: u64 = 0x20_0000_0000;
/// Where the source of copies is.
pub(super) const SOURCE: u64 = 0x30_0000_0000;
pub(super) const TID: u32 = 77;

/// An address space with a context, and four pages of sevens at [`SOURCE`].
pub(super) struct Space {
    pub(super) memory: Memory<FakeMachine>,
    pub(super) mm: MmId,
    pub(super) ctx: UserfaultId,
    free_at_start: u64,
}

impl Space {
    pub(super) fn new() -> Self {
        Self::with_features(0)
    }

    pub(super) fn with_features(features: u64) -> Self {
        let memory = machine(256, 64);
        let free_at_start = memory.nr_free_pages();
        let mm = memory.mm_alloc().unwrap();
        let ctx = memory.userfaultfd(mm, false).unwrap();
        memory.userfaultfd_api(ctx, API, features).unwrap();
        let space = Self {
            memory,
            mm,
            ctx,
            free_at_start,
        };
        space.map(SOURCE, 4, map_flag::PRIVATE, None);
        for word in 0..4 * PAGE_SIZE / 8 {
            space.memory.store(mm, SOURCE + word * 8, 7).unwrap();
        }
        space
    }

    pub(super) fn map(&self, at: u64, pages: u64, kind: u64, file: Option<InodeId>) -> u64 {
        let anonymous = if file.is_none() { map_flag::ANONYMOUS } else { 0 };
        let flags = kind | map_flag::FIXED | anonymous;
        let file = file.map(Into::into);
        self.memory
            .do_mmap(self.mm, at, pages * PAGE_SIZE, RW, flags, file, 0)
            .unwrap()
    }

    pub(super) fn object(&self, pages: u64) -> InodeId {
        self.memory.shmem_file_setup(pages * PAGE_SIZE, false).unwrap()
    }

    pub(super) fn register(&self, at: u64, pages: u64, mode: u64) -> Result<u64, Error> {
        self.memory.userfaultfd_register(self.ctx, at, pages * PAGE_SIZE, mode)
    }

    /// A load that faults for the context: what is told of it.
    pub(super) fn asks(&self, at: u64, access: Access) -> Option<(u64, u64)> {
        assert_eq!(self.memory.touch(self.mm, at, access), Err(Fault::Userfault));
        let fault = self.memory.take_userfault().expect("noted");
        assert_eq!((fault.mm, fault.address), (self.mm, at));
        assert_eq!(self.memory.wait_userfault(fault, TID, false), Waiting::In(self.ctx));
        let message = self.memory.userfaultfd_read(self.ctx)?;
        Some((message.address, message.flags))
    }

    /// Answers with a copy; who was woken, and what the program is told.
    pub(super) fn copy(&self, at: u64, pages: u64) -> (Vec<u32>, i64) {
        let mut woken = vec![];
        let filled = self
            .memory
            .userfaultfd_copy(self.ctx, at, (self.mm, SOURCE), pages * PAGE_SIZE, 0, |tid| {
                woken.push(tid);
            })
            .unwrap();
        (woken, filled.field())
    }

    pub(super) fn zeropage(&self, at: u64, pages: u64) -> Result<(), Error> {
        let len = pages * PAGE_SIZE;
        self.memory.userfaultfd_zeropage(self.ctx, at, len, 0, |_| {})?.result()
    }

    pub(super) fn resume(&self, at: u64) -> i64 {
        self.memory
            .userfaultfd_continue(self.ctx, at, PAGE_SIZE, 0, |_| {})
            .unwrap()
            .field()
    }

    pub(super) fn load(&self, at: u64) -> u64 {
        self.memory.load(self.mm, at).unwrap()
    }

    pub(super) fn vmas(&self) -> Vec<(u64, u64, bool)> {
        let mut at = 0;
        let mut vmas = vec![];
        while let Some(id) = find_vma(&self.memory, self.memory.mm(self.mm), VirtAddr(at)) {
            let vma = self.memory.vma(id);
            let pages = (vma.vm_end().0 - vma.vm_start().0) / PAGE_SIZE;
            if vma.vm_start().0 != SOURCE {
                vmas.push((vma.vm_start().0, pages, uffd_number(vma) != 0));
            }
            at = vma.vm_end().0;
        }
        vmas
    }

    /// Closes everything; nothing is left.
    pub(super) fn end(self, objects: &[InodeId]) {
        let Self {
            memory,
            mm,
            ctx,
            free_at_start,
        } = self;
        memory.userfaultfd_release(ctx, |_| {});
        memory.mmput(mm, 1);
        objects.iter().for_each(|&object| memory.iput(object));
        memory.check_invariants();
        assert!(
            memory.live_records().iter().all(|&(_, objects)| objects == 0),
            "{:?}",
            memory.live_records()
        );
        memory.swap_drain();
        assert_eq!((memory.swap_inuse_pages(), memory.committed_as()), (0, 0));
        let spares = memory.platform.counter(Vmstat::NrSlab);
        assert_eq!(memory.nr_free_pages() + spares, free_at_start, "frames are lost");
    }
}
