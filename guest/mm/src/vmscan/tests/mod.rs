//! A program whose pages are looked at.

mod kswapd;
mod lists;
mod page;

use super::page::Outcome;
use super::{Reclaimer, Scan};
use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::lru::LruList;
use crate::mmap::{map_flag, prot};
use crate::page::Event;
use crate::platform::{PteFormat, Vmstat};
use crate::shmem::InodeId;
use crate::swap::Batch;
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::MmId;

const RW: u64 = prot::READ | prot::WRITE;
const PRIVATE: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS;

/// A program with pages.
struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
}

impl World {
    fn new(frames: u32, slots: u32) -> Self {
        let memory = machine(frames, slots);
        let mm = memory.mm_alloc().unwrap();
        Self { memory, mm }
    }

    /// Pages of private memory, stored to in order; each has its number in it.
    fn private(&self, pages: u64) -> u64 {
        self.map(pages, PRIVATE, None)
    }

    fn map(&self, pages: u64, kind: u64, object: Option<InodeId>) -> u64 {
        let at = self
            .memory
            .do_mmap(self.mm, 0, pages * PAGE_SIZE, RW, kind, object.map(Into::into), 0)
            .unwrap();
        for page in 0..pages {
            self.memory.store(self.mm, at + page * PAGE_SIZE, page + 1).unwrap();
        }
        at
    }

    fn object(&self, pages: u64) -> InodeId {
        self.memory.shmem_file_setup(pages * PAGE_SIZE, false).unwrap()
    }

    fn pfn(&self, addr: u64) -> Pfn {
        let pte = self.memory.pte(self.memory.pgd(self.mm), VirtAddr(addr)).unwrap();
        assert!(FakePte::is_present(pte.get()));
        FakePte::pfn(pte.get())
    }

    /// Nobody has used the page lately.
    fn forget_use(&self, addr: u64) {
        let pte = self.memory.pte(self.memory.pgd(self.mm), VirtAddr(addr)).unwrap();
        pte.set(FakePte::mkold(pte.get()));
    }

    /// What reclaim decides about a page, which is then put back; what is to be written or freed is written or freed.
    fn look(&self, pfn: Pfn) -> Outcome {
        let page = self.memory.page(pfn);
        self.memory.lru_del(pfn);
        self.memory.get_page(pfn);
        page.step(Event::Lock);
        let outcome = self.memory.shrink_page(pfn, false);
        match outcome {
            Outcome::Write(slot, inode) => {
                let mut batch = Batch::new();
                self.memory.add_to_batch(&mut batch, pfn, slot, inode);
                assert_eq!(self.memory.write_batch(&mut batch), 1);
            }
            Outcome::Free => {
                page.step(Event::Unlock);
                self.memory.free_swap_cached(pfn);
            }
            _ => {
                page.step(Event::Unlock);
                self.memory.putback_lru_page(pfn);
            }
        }
        outcome
    }

    /// Pages on the inactive, the active and the unevictable list.
    fn lists(&self) -> [u32; 3] {
        [LruList::InactiveAnon, LruList::ActiveAnon, LruList::Unevictable].map(|list| self.memory.lru_count(list))
    }

    fn counter(&self, item: Vmstat) -> u64 {
        self.memory.platform.counter(item)
    }
}

/// A round that looks at a `1 << priority`th.
fn round(priority: u32) -> Scan {
    Scan {
        who: Reclaimer::Direct,
        priority,
        target: u32::MAX,
        force_deactivate: false,
    }
}
