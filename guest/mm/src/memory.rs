//! [`Memory`]: everything that Linux keeps in globals.

use crate::addr::{Frame, Pfn};
use crate::check::Violation;
use crate::filemap::FaultAround;
use crate::gfp::Gfp;
use crate::ipc::{IpcIds, Segment, ShmId};
use crate::lru::Lruvec;
use crate::overcommit::Overcommit;
use crate::page::Page;
use crate::platform::{Platform, Vmstat};
use crate::record::ObjId;
use crate::rmap::{AnonVma, AnonVmaId};
use crate::shmem::{Inode, InodeId, Name, NameId, SuperBlock, SuperId};
use crate::slab::{Cache, Frames, Usage, object};
use crate::swap::Swap;
use crate::sync::{Lock, Word32};
use crate::sysctl::Sysctl;
use crate::userfaultfd::{self, UserfaultCtx, UserfaultId, Waiter, WaiterId};
use crate::vma::{MmId, MmStruct, VmArea, VmaId};
use crate::vma_tree::VmaStore;
use crate::vmscan::Kswapd;
use crate::workingset::Workingset;
use crate::xarray::{NODE_WORDS, Node, NodeId, NodeSource};
use crate::zone::Zone;

/// The memory manager of one machine.
///
/// Nothing in it depends on `P` but `platform`: with a `P` without fields, every `P` gives the same layout, which a kernel may
/// use to run one manager with several platforms (hence `repr(C)`).
#[derive(Debug)]
#[repr(C)]
pub struct Memory<P> {
    /// The machine.
    pub platform: P,
    pub(crate) zone: Zone,
    pub(crate) lru: Lruvec,
    pub(crate) swap: Swap,
    pub(crate) falloc: crate::shmem::Falloc,
    pub(crate) xattrs: crate::shmem::Xattrs,
    pub(crate) ipc: IpcIds,
    pub(crate) caches: Caches,
    pub(crate) overcommit: Overcommit,
    pub(crate) fault_around: FaultAround,
    /// The frame of zeroes that read faults of anonymous memory share; 0 before [`Memory::init`].
    pub(crate) zero_pfn: Word32,
    /// Set while reclaim runs: its own allocations must not reclaim again. Source: Linux `PF_MEMALLOC`.
    pub(crate) memalloc: Word32,
    /// Set when an allocation found the low watermark crossed: to the largest order that was wanted, and 1.
    pub(crate) kswapd_wake: Word32,
    pub(crate) kswapd: Kswapd,
    pub(crate) workingset: Workingset,
    pub(crate) userfaults: userfaultfd::State,
    pub(crate) compact: crate::compaction::State,
    pub(crate) sysctl: Sysctl,
    pub(crate) thp: crate::huge::Thp,
    pub(crate) hstate: crate::hugetlb::Hstate,
    pub(crate) locks: Locks,
}

/// The manager's locks; what each guards, and their order, is in the crate's documentation.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    pub(crate) mmap: Lock,
    pub(crate) ipc: Lock,
    pub(crate) i_mmap: Lock,
    pub(crate) i_pages: Lock,
    pub(crate) swap: Lock,
    pub(crate) lru: Lock,
}

/// One cache for each kind of record.
#[derive(Debug)]
pub(crate) struct Caches {
    nodes: Cache<NODE_WORDS>,
    vmas: Cache<{ VmArea::WORDS }>,
    mms: Cache<{ MmStruct::WORDS }>,
    inodes: Cache<{ Inode::WORDS }>,
    anon_vmas: Cache<{ AnonVma::WORDS }>,
    segments: Cache<{ Segment::WORDS }>,
    supers: Cache<{ SuperBlock::WORDS }>,
    userfaults: Cache<{ UserfaultCtx::WORDS }>,
    waiters: Cache<{ Waiter::WORDS }>,
    names: Cache<{ Name::WORDS }>,
}

/// What frames of caches are known by whose objects are looked for in the memory map.
mod tag {
    pub(super) const INODE: u32 = 1;
    pub(super) const SUPER: u32 = 2;
}

impl<P: Platform> Memory<P> {
    /// A memory manager without memory; [`Memory::init`] gives it some.
    pub const fn new(platform: P) -> Self {
        Self {
            platform,
            zone: Zone::new(),
            lru: Lruvec::new(),
            swap: Swap::new(),
            falloc: crate::shmem::Falloc::new(),
            xattrs: crate::shmem::Xattrs::new(),
            ipc: IpcIds::new(),
            caches: Caches {
                nodes: Cache::new(),
                vmas: Cache::new(),
                mms: Cache::new(),
                inodes: Cache::tagged(tag::INODE),
                anon_vmas: Cache::new(),
                segments: Cache::new(),
                supers: Cache::tagged(tag::SUPER),
                userfaults: Cache::new(),
                waiters: Cache::new(),
                names: Cache::new(),
            },
            overcommit: Overcommit::new(),
            fault_around: FaultAround::new(),
            zero_pfn: Word32::new(0),
            memalloc: Word32::new(0),
            kswapd_wake: Word32::new(0),
            kswapd: Kswapd::new(),
            workingset: Workingset::new(),
            userfaults: userfaultfd::State::new(),
            compact: crate::compaction::State::new(),
            sysctl: Sysctl::new(),
            thp: crate::huge::Thp::new(),
            hstate: crate::hugetlb::Hstate::new(),
            locks: Locks {
                mmap: Lock::new(),
                ipc: Lock::new(),
                i_mmap: Lock::new(),
                i_pages: Lock::new(),
                swap: Lock::new(),
                lru: Lock::new(),
            },
        }
    }

    /// What is known about a frame.
    #[inline(always)]
    pub(crate) fn page(&self, pfn: Pfn) -> &Page {
        &self.platform.memmap()[pfn.index()]
    }

    /// An object of a cache, without reclaim. Every record comes this way, also those of who builds on the manager.
    #[inline(always)]
    pub fn cache_alloc<const WORDS: usize>(&self, cache: &Cache<WORDS>) -> Option<ObjId> {
        if self.platform.should_fail() {
            return None;
        }
        cache.alloc(self)
    }

    /// Adds 1 to a counter.
    #[inline(always)]
    pub(crate) fn count(&self, item: Vmstat) {
        self.platform.count(item, 1);
    }

    /// Subtracts 1 from a level.
    #[inline(always)]
    pub(crate) fn uncount(&self, item: Vmstat) {
        self.platform.count(item, 1u64.wrapping_neg());
    }
}

/// Declares how records of one kind are made, found and given back.
macro_rules! records {
    ($($record:ident, $id:ident, $cache:ident, $get:ident, $alloc:ident, $free:ident;)*) => {
        impl<P: Platform> Memory<P> {
            $(
                #[inline(always)]
                pub(crate) fn $get(&self, id: $id) -> $record<'_> {
                    $record(object(self, id.0))
                }

                /// A zeroed record, or `None` when no frame can be had.
                pub(crate) fn $alloc(&self) -> Option<$id> {
                    self.alloc_reclaiming(|| self.cache_alloc(&self.caches.$cache)).map($id)
                }

                /// Gives a record back; its content is gone.
                pub(crate) fn $free(&self, id: $id) {
                    for word in self.$get(id).0 {
                        word.set(0);
                    }
                    self.caches.$cache.free(self, id.0);
                }
            )*
        }
    };
}

records! {
    VmArea, VmaId, vmas, vma, vm_area_alloc, vm_area_free;
    MmStruct, MmId, mms, mm, mm_struct_alloc, mm_struct_free;
    Inode, InodeId, inodes, inode, alloc_inode, free_inode;
    AnonVma, AnonVmaId, anon_vmas, anon_vma, anon_vma_alloc, anon_vma_free;
    Segment, ShmId, segments, segment, segment_alloc, segment_free;
    SuperBlock, SuperId, supers, sb, alloc_super, free_super;
    UserfaultCtx, UserfaultId, userfaults, userfault, alloc_userfault, free_userfault;
    Waiter, WaiterId, waiters, waiter, alloc_waiter, free_waiter;
    Name, NameId, names, name, alloc_name, free_name;
}

impl<P: Platform> Memory<P> {
    /// What each kind of record takes.
    pub fn slabs(&self) -> [Usage; 10] {
        [
            self.caches.nodes.usage("radix_tree_node"),
            self.caches.vmas.usage("vm_area_struct"),
            self.caches.mms.usage("mm_struct"),
            self.caches.inodes.usage("inode"),
            self.caches.anon_vmas.usage("anon_vma"),
            self.caches.segments.usage("shmid_kernel"),
            self.caches.supers.usage("super_block"),
            self.caches.userfaults.usage("userfaultfd_ctx"),
            self.caches.waiters.usage("userfaultfd_wait"),
            self.caches.names.usage("object_name"),
        ]
    }

    /// Records of each kind, for tests that nothing leaks: (name, objects).
    pub fn live_records(&self) -> [(&'static str, u64); 10] {
        self.slabs().map(|slab| (slab.name, slab.objects))
    }
}

/// What [`crate::check`] goes through.
impl<P: Platform> Memory<P> {
    /// Every object.
    pub(crate) fn live_inodes(&self) -> impl Iterator<Item = InodeId> + '_ {
        let frames = self.zone.entries(self.platform.memmap());
        let objects = frames.flat_map(|(pfn, _)| self.caches.inodes.objects_in(self, pfn));
        objects.map(InodeId).filter(|id| self.inode(*id).i_count() != 0)
    }

    /// Every file system.
    pub(crate) fn live_supers(&self) -> impl Iterator<Item = SuperId> + '_ {
        let frames = self.zone.entries(self.platform.memmap());
        let objects = frames.flat_map(|(pfn, _)| self.caches.supers.objects_in(self, pfn));
        objects.map(SuperId).filter(|id| self.sb(*id).inodes() != 0)
    }

    /// Address spaces that there are.
    pub(crate) fn live_mms(&self) -> u64 {
        self.caches.mms.objects()
    }

    /// Records of a kind that there are, by its name in [`Memory::slabs`].
    pub(crate) fn live_records_of(&self, name: &str) -> u64 {
        let found = self.slabs().into_iter().find(|slab| slab.name == name);
        found.map_or(0, |slab| slab.objects)
    }

    /// Verifies the caches.
    pub(crate) fn verify_caches(&self) -> Result<(), Violation> {
        let caches = &self.caches;
        caches.nodes.verify(self)?;
        caches.vmas.verify(self)?;
        caches.mms.verify(self)?;
        caches.inodes.verify(self)?;
        caches.anon_vmas.verify(self)?;
        caches.segments.verify(self)?;
        caches.supers.verify(self)?;
        caches.userfaults.verify(self)?;
        caches.waiters.verify(self)?;
        caches.names.verify(self)
    }
}

impl<P: Platform> Frames for Memory<P> {
    #[inline(always)]
    fn memmap(&self) -> &[Page] {
        self.platform.memmap()
    }

    #[inline(always)]
    fn frame(&self, pfn: Pfn) -> &Frame {
        self.platform.frame(pfn)
    }

    fn clear_page(&self, pfn: Pfn) {
        self.platform.clear_page(pfn);
    }

    fn alloc_frame(&self) -> Option<Pfn> {
        // Not with the cache locked: who allocates from it reclaims between attempts. The reserve has room for records that reclaim needs.
        let pfn = self.alloc_pages(Gfp::ATOMIC.with(Gfp::NOWARN), 0)?;
        self.count(Vmstat::NrSlab);
        Some(pfn)
    }

    fn free_frame(&self, pfn: Pfn) {
        self.uncount(Vmstat::NrSlab);
        self.free_kernel_page(pfn);
    }
}

impl<P: Platform> NodeSource for Memory<P> {
    fn alloc_node(&self) -> Option<NodeId> {
        self.cache_alloc(&self.caches.nodes).map(NodeId)
    }

    fn free_node(&self, id: NodeId) {
        self.caches.nodes.free(self, id.0);
    }

    #[inline(always)]
    fn node(&self, id: NodeId) -> Node<'_> {
        Node(object(self, id.0))
    }
}

impl<P: Platform> VmaStore for Memory<P> {
    #[inline(always)]
    fn vma(&self, id: VmaId) -> VmArea<'_> {
        VmArea(object(self, id.0))
    }
}

#[cfg(any(test, feature = "testing"))]
impl<P: Platform> Memory<P> {
    /// Whether two VMAs meet at an address that nothing keeps apart: same flags, same object through the same descriptor, pages that follow
    /// each other, pages found through at most one anon_vma, and no System V segment. For tests. Rules A38, B22, B23.
    pub fn joinable_at(&self, mm_id: MmId, addr: crate::addr::VirtAddr) -> bool {
        let Some(upper) = crate::vma_tree::find_vma(self, self.mm(mm_id), addr).map(|id| self.vma(id)) else {
            return false;
        };
        let Some(lower) = upper.vm_prev().map(|id| self.vma(id)) else {
            return false;
        };
        let describe = |vma: VmArea<'_>| (vma.vm_flags(), vma.vm_file(), vma.opened());
        let anons = [lower.anon_vma(), upper.anon_vma()];
        (lower.vm_end(), upper.vm_start()) == (addr, addr)
            && describe(lower) == describe(upper)
            && lower.vm_pgoff() + lower.pages() == upper.vm_pgoff()
            && lower.shm().is_none()
            && upper.shm().is_none()
            && (anons[0] == anons[1] || anons.contains(&None))
    }

    /// Rights at an address, if something is mapped there. For tests.
    pub fn prot_at(&self, mm_id: MmId, addr: crate::addr::VirtAddr) -> Option<u64> {
        let id = crate::vma_tree::find_vma(self, self.mm(mm_id), addr)?;
        (self.vma(id).vm_start() <= addr).then(|| self.vma(id).vm_flags() & 7)
    }

    /// Whether a locked mapping is at an address. For tests.
    pub fn locked_at(&self, mm_id: MmId, addr: crate::addr::VirtAddr) -> bool {
        crate::vma_tree::find_vma(self, self.mm(mm_id), addr)
            .is_some_and(|id| self.vma(id).vm_start() <= addr && self.vma(id).has(crate::vma::vm::LOCKED))
    }
}
