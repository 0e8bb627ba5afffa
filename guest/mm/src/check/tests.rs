//! Each count and link is spoilt once, and the walk must say which.

use super::ledger::balance;
use super::{Violation, equal};
use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::gfp::Gfp;
use crate::mmap::{map_flag, prot};
use crate::page::{Page, flag};
use crate::platform::{Platform, PteFormat, Vmstat};
use crate::shmem::{FsType, InodeId, Limits, SuperId};
use crate::swap::SwapSlot;
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::{MmId, VmaId};
use crate::vma_tree::find_vma;
use crate::xarray::{Entry, NodeSource};

const PAGES: u64 = 12;
const RW: u64 = prot::READ | prot::WRITE;
const PAGEOUT: i32 = 21;

/// An address space and its child, with private pages, some of them in swap, and an object on a file system.
struct World {
    memory: Memory<FakeMachine>,
    mm: MmId,
    private: u64,
    shared: u64,
    object: InodeId,
    sb: SuperId,
}

impl World {
    fn new() -> Self {
        let memory = machine(512, 64);
        let limits = Limits { blocks: 99, inodes: 9 };
        let sb = memory.new_super(FsType::Tmpfs, 7, limits, 0, (0o777, (0, 0))).unwrap();
        let object = memory.new_inode(sb, 0o100_600, (0, 0)).unwrap();
        memory.shmem_truncate(object, PAGES * PAGE_SIZE).unwrap();
        let mm = memory.mm_alloc().unwrap();
        let map = |flags, file: Option<InodeId>| {
            let bytes = PAGES * PAGE_SIZE;
            let at = memory
                .do_mmap(mm, 0, bytes, RW, flags, file.map(Into::into), 0)
                .unwrap();
            for page in 0..PAGES {
                memory.store(mm, at + page * PAGE_SIZE, page + 1).unwrap();
            }
            memory.do_madvise(mm, at, 3 * PAGE_SIZE, PAGEOUT).unwrap();
            at
        };
        let private = map(map_flag::PRIVATE | map_flag::ANONYMOUS, None);
        let shared = map(map_flag::SHARED, Some(object));
        memory.dup_mmap(mm, 1).unwrap();
        let block = memory.alloc_pages(Gfp::KERNEL, 3).unwrap();
        memory.free_pages(block, 3);
        Self {
            memory,
            mm,
            private,
            shared,
            object,
            sb,
        }
    }

    fn frame(&self, at: u64, page: u64) -> Pfn {
        FakePte::pfn(
            self.memory
                .pte(self.memory.pgd(self.mm), VirtAddr(at + page * PAGE_SIZE))
                .unwrap()
                .get(),
        )
    }

    /// A private page's entry in the memory map.
    fn page(&self) -> &Page {
        self.memory.page(self.frame(self.private, 5))
    }

    /// An object's.
    fn cached(&self) -> &Page {
        self.memory.page(self.frame(self.shared, 5))
    }

    fn entry(&self, at: u64, page: u64) -> &crate::sync::Word {
        self.memory
            .pte(self.memory.pgd(self.mm), VirtAddr(at + page * PAGE_SIZE))
            .unwrap()
    }

    fn vma(&self, at: u64) -> VmaId {
        find_vma(&self.memory, self.memory.mm(self.mm), VirtAddr(at)).unwrap()
    }

    /// The slot of a private page that is in swap.
    fn slot(&self) -> SwapSlot {
        SwapSlot::of_entry(FakePte::swap_entry(self.entry(self.private, 0).get())).unwrap()
    }

    fn free_block(&self) -> &Page {
        let mut entries = self.memory.platform.memmap().iter();
        entries
            .find(|page| page.flags.get() == flag::BUDDY)
            .expect("a free block")
    }
}

/// What is spoilt, and what the walk says.
type Damage = (&'static str, fn(&World));

const DAMAGES: &[Damage] = &[
    ("references known of, to frame", |w| w.page().refcount.sub(1)),
    ("mappings of frame (twice its number; 1 more for leaves)", |w| {
        w.page().mapcount.sub(1);
    }),
    ("owner of mapped frame", |w| w.page().mapping.add(64)),
    ("index of mapped frame", |w| w.page().index.add(1)),
    ("owner of mapped frame", |w| w.cached().mapping.set(0)),
    ("index of mapped frame", |w| w.cached().index.add(1)),
    ("mapped, and something else: frame", |w| w.page().set_flags(flag::TABLE)),
    ("previous on the LRU list, of frame", |w| w.page().prev.add(1)),
    ("LRU list of frame", |w| w.page().set_flags(flag::ACTIVE)),
    ("on an LRU list: frame", |w| w.page().clear_flags(flag::LRU)),
    ("resident anonymous pages of address space", |w| {
        w.entry(w.private, 6).set(0);
    }),
    ("resident shared pages of address space", |w| {
        let mm = w.memory.mm(w.mm);
        mm.set_rss_shmem(mm.rss_shmem() - 1);
    }),
    ("swapped pages of address space", |w| w.entry(w.private, 0).set(0)),
    ("page tables of address space", |w| {
        let mm = w.memory.mm(w.mm);
        mm.set_nr_ptes(mm.nr_ptes() + 1);
    }),
    ("mapped where no VMA is: address", |w| {
        let entry = w.entry(w.private, 5).get();
        w.memory.mm(w.mm).set_rss_anon(9);
        w.memory
            .pte_alloc(w.memory.mm(w.mm), VirtAddr(0x40_0000))
            .unwrap()
            .set(entry);
    }),
    ("mapped pages of address space", |w| {
        w.memory.mm(w.mm).set_total_vm(1);
    }),
    ("gap before the subtree of VMA", |w| {
        w.memory.vma(w.memory.mm(w.mm).mm_rb().unwrap()).set_rb_subtree_gap(1);
    }),
    ("in the tree of its object: VMA", |w| {
        let vma = w.vma(w.shared);
        w.memory.i_mmap(w.object).remove(vma);
    }),
    ("object of cached frame", |w| {
        let pages = w.memory.inode(w.object).i_pages();
        let other = w.memory.alloc_zeroed_page().unwrap();
        pages.store(&w.memory, 20, Entry::page(other)).unwrap();
    }),
    ("pages of object", |w| {
        let inode = w.memory.inode(w.object);
        inode.set_nrpages(inode.nrpages() + 1);
    }),
    ("blocks of object", |w| {
        let inode = w.memory.inode(w.object);
        inode.set_alloced(inode.alloced() + 1);
    }),
    ("used blocks of file system", |w| {
        let sb = w.memory.sb(w.sb);
        sb.set_used_blocks(sb.used_blocks() - 1);
    }),
    ("objects of file system", |w| w.memory.sb(w.sb).set_inodes(7)),
    ("objects without a name of file system", |w| {
        w.memory.sb(w.sb).set_orphans(1);
    }),
    ("promised pages", |w| w.memory.vm_unacct_memory(1)),
    ("users of slot", |w| w.memory.swap_duplicate(w.slot()).unwrap()),
    ("free, and meant: slot", |w| {
        w.memory.swap_free(w.slot());
        w.memory.swap_free(w.slot());
    }),
    ("flags of free block", |w| {
        w.free_block().flags.set(flag::BUDDY | flag::DIRTY);
    }),
    ("references to free block", |w| w.free_block().refcount.set(1)),
    ("nr_page_table_pages", |w| w.memory.count(Vmstat::NrPageTablePages)),
    ("nr_mapped", |w| w.memory.count(Vmstat::NrFileMapped)),
    ("records of VMAs", |w| _ = w.memory.vm_area_alloc()),
    ("records of address spaces", |w| _ = w.memory.mm_struct_alloc()),
    ("nodes of trees", |w| _ = w.memory.alloc_node()),
];

#[test]
fn whatever_is_spoilt_is_told() {
    World::new().memory.check_invariants();
    for (what, spoil) in DAMAGES {
        let world = World::new();
        spoil(&world);
        let found = world.memory.verify();
        assert_eq!(found.map_err(|violation| violation.what), Err(*what), "{found:?}");
    }
}

/// With everybody gone, objects may be left; a frame that nobody has may not, nor a reference to a page.
#[test]
fn nothing_else_may_be_left_at_rest() {
    let left = |spoil: fn(&World)| {
        let world = World::new();
        let child = world.memory.mm(world.mm).mm_prev().expect("the child");
        for mm in [child, world.mm] {
            world.memory.mmput(mm, 1);
        }
        spoil(&world);
        world.memory.verify_at_rest().map_err(|violation| violation.what)
    };
    assert_eq!(left(|_| {}), Ok(()));
    assert_eq!(left(|w| _ = w.memory.alloc_zeroed_page()), Err("frames of nobody"));
    assert_eq!(left(|w| _ = w.memory.mm_alloc()), Err("address spaces left"));
    let referred = left(|w| {
        let pages = w.memory.inode(w.object).i_pages();
        w.memory.get_page(pages.load(&w.memory, 7).as_page().unwrap());
    });
    assert_eq!(referred, Err("references to frame"));
}

/// One number too many and one too few are found among a million, and told.
#[test]
fn a_ledger_finds_the_number() {
    let posted = |more: u64, less: u64| {
        balance("number", &|ledger| {
            for number in 0..100_000 {
                ledger.put(number, 3);
                ledger.take(99_999 - number, 3);
            }
            ledger.put(more, 1);
            ledger.take(less, 1);
        })
    };
    assert_eq!(posted(5, 5), Ok(()));
    let violation = |at, found, expected| {
        Err(Violation {
            what: "number",
            at,
            found,
            expected,
        })
    };
    assert_eq!(posted(77_777, 88_888), violation(77_777, 3, 4));
    assert_eq!(posted(88_888, 77_777), violation(77_777, 4, 3));
    assert_eq!(posted(1 << 32, 0), violation(0, 4, 3));
    assert_eq!(equal("a", 1_u32, 2_u32, 2_u64), Ok(()));
}
