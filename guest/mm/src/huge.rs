//! Huge pages: 2 MiB of memory that are one page, mapped by one entry where a mapping allows it.
//!
//! ```text
//! frames      | HEAD |  .  |  .  | ...  512, a pageblock  |      one entry on a list, one reference of the cache
//! page cache  one entry for 512 indices (xarray: multi-index)
//! mapped by   a leaf (PMD entry), or by small entries, each of which maps one of its frames: where a mapping begins or ends within it,
//!             or has different rights for parts of it
//! ```
//!
//! A huge page is made by a fault or a write that finds nothing where one fits and the policy ([`policy`]) allows it. It becomes 512 small
//! pages again (*split*) when a part of it goes: truncation, a hole, reclaim, `munmap` of a part of private memory. Private memory gets the
//! page table that a split leaf needs when the leaf is made (*deposited*), so splitting a leaf needs no memory; a leaf of an object is
//! removed instead, since the object still has the page.
//!
//! # The entries of its frames
//! The first frame's entry ([`flag::HEAD`](crate::page::flag::HEAD)) is the huge page's: flags, owner, list. Its `private` counts leaves, and frames that are
//! mapped by small entries. The others' hold anything until somebody has to deal with one alone: then all are made ([`flag::TAIL`](crate::page::flag::TAIL)), with owner,
//! index and a `mapcount` of small entries each. So a huge fault costs no more than the first entry.
//!
//! # References
//! A huge page has those of all its frames together. Whoever takes a reference to a tail puts it there; who drops one takes it from the tail
//! if it has one, else from the head; when the head's last goes, those of the tails move to it. So nothing that deals with small pages needs to
//! ask what it has.
//!
//! | file | Linux | what |
//! |---|---|---|
//! | `policy` | `hugepage_vma_revalidate`, `shmem_allowable_huge_orders` | who may have huge pages |
//! | `folio` | include/linux/mm.h, mm/huge_memory.c | making, counting, freeing |
//! | `leaf` | mm/huge_memory.c (`zap_huge_pmd`, `copy_huge_pmd`, ...) | leaves in page tables |
//! | `fault` | `do_huge_pmd_anonymous_page`, `do_set_pmd`, `do_huge_pmd_wp_page` | faults |
//! | `split` | `split_huge_page` | small pages again |
//!
//! Source: Linux, mm/huge_memory.c, Documentation/admin-guide/mm/transhuge.rst. Rules G1 to G7, C5, F15. Differs from Linux: one size; no
//! background collapse (rule G8) and no huge frame of zeroes; a huge page that is partly unmapped is split at once instead of under
//! pressure; `fallocate` takes small pages; compaction leaves huge pages where they are.

mod fault;
mod folio;
mod leaf;
mod policy;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use policy::is_suitable;
pub use policy::{AnonPolicy, Defrag, ShmemPolicy};
pub(crate) use split::HugeEntry;

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::{Word, Word32};
use crate::vma::vm;

/// log2 of the bytes of a huge page.
pub const HPAGE_SHIFT: u32 = 21;
/// log2 of the frames of a huge page.
pub const HPAGE_ORDER: u32 = HPAGE_SHIFT - PAGE_SHIFT;
/// Frames of a huge page.
pub const HPAGE_PAGES: u32 = 1 << HPAGE_ORDER;
/// Bytes of a huge page.
pub const HPAGE_SIZE: u64 = 1 << HPAGE_SHIFT;

/// Which of its huge page's frames an address falls in, where a leaf maps it.
#[inline(always)]
pub(crate) const fn subpage(addr: VirtAddr) -> u32 {
    (addr.0 >> PAGE_SHIFT) as u32 & (HPAGE_PAGES - 1)
}

/// The first address of the huge page around one, where a leaf maps it.
#[inline(always)]
pub(crate) const fn huge_start(addr: VirtAddr) -> VirtAddr {
    VirtAddr(addr.0 & !(HPAGE_SIZE - 1))
}

/// What the manager knows about huge pages as a whole.
#[derive(Debug)]
pub(crate) struct Thp {
    /// [`AnonPolicy`].
    enabled: Word32,
    /// [`ShmemPolicy`] of objects without a mounted file system.
    shmem_enabled: Word32,
    /// [`Defrag`].
    defrag: Word32,
    /// Flags of mappings: where nothing is mapped, one that has none of them gets small pages, whatever else may say.
    wanted_by: Word,
    /// Those of them that matter to mappings of objects that have no huge pages so far.
    wanted_of_objects: Word,
    /// Those of these that some mount asks for, or did.
    wanted_on_mounts: Word,
    /// Leaves in all page tables.
    leaves: Word32,
    /// Two huge pages of private memory that lost a mapping of some frame last; 0 is none, and they may be gone.
    partly_mapped: [Word32; 2],
    counts: Counts,
}

/// What is counted. Source: Linux, `enum vm_event_item`, `enum node_stat_item`.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Count {
    /// Leaves of private memory.
    AnonThps,
    /// Huge pages of objects.
    ShmemThps,
    /// Leaves of objects' pages, each page counted once.
    ShmemPmdMapped,
    FaultAlloc,
    FaultFallback,
    FileAlloc,
    FileFallback,
    FileMapped,
    SplitPage,
    SplitPageFailed,
    SplitPmd,
}

const COUNTS: usize = Count::SplitPmd as usize + 1;

#[derive(Debug)]
struct Counts([Word; COUNTS]);

/// Numbers of huge pages now, and of what happened to them so far. Source: `/proc/meminfo` (there in KiB), `/proc/vmstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugeCounters {
    /// Huge pages of private memory that leaves map: `AnonHugePages`.
    pub anon_thps: u64,
    /// Huge pages of objects: `ShmemHugePages`.
    pub shmem_thps: u64,
    /// Those of them that leaves map: `ShmemPmdMapped`.
    pub shmem_pmd_mapped: u64,
    /// Faults of private memory that got a huge page.
    pub thp_fault_alloc: u64,
    /// Those that wanted one and got a small one.
    pub thp_fault_fallback: u64,
    /// Huge pages that objects got.
    pub thp_file_alloc: u64,
    /// Those that could not be had.
    pub thp_file_fallback: u64,
    /// Faults that mapped an object's huge page by a leaf.
    pub thp_file_mapped: u64,
    /// Huge pages split.
    pub thp_split_page: u64,
    /// Those that could not be.
    pub thp_split_page_failed: u64,
    /// Leaves split or removed because a part was needed.
    pub thp_split_pmd: u64,
}

impl Thp {
    pub(crate) const fn new() -> Self {
        Self {
            enabled: Word32::new(AnonPolicy::Madvise as u32),
            shmem_enabled: Word32::new(ShmemPolicy::Never as u32),
            defrag: Word32::new(Defrag::Madvise as u32),
            wanted_by: Word::new(vm::HUGEPAGE | vm::HUGE_OBJECT | vm::HUGETLB),
            wanted_of_objects: Word::new(0),
            wanted_on_mounts: Word::new(0),
            leaves: Word32::new(0),
            partly_mapped: [const { Word32::new(0) }; 2],
            counts: Counts([const { Word::new(0) }; COUNTS]),
        }
    }

    fn count(&self, what: Count) {
        self.counts.0[what as usize].add(1);
    }

    fn uncount(&self, what: Count) {
        self.counts.0[what as usize].sub(1);
    }

    fn get(&self, what: Count) -> u64 {
        self.counts.0[what as usize].get()
    }
}

impl<P: Platform> Memory<P> {
    /// Whether any page table has a leaf: what looks for some can be left out.
    #[inline(always)]
    pub(crate) fn has_leaves(&self) -> bool {
        self.thp.leaves.get() != 0
    }

    /// Whether a huge page of private memory may have lost a part.
    #[inline(always)]
    pub(crate) fn has_partly_mapped(&self) -> bool {
        self.thp.partly_mapped[0].get() != 0
    }

    /// Counts leaves of pages of the pool, or (negative) no longer.
    pub(crate) fn count_leaves(&self, by: i32) {
        self.thp.leaves.set(self.thp.leaves.get().wrapping_add_signed(by));
    }

    /// Panics when a huge page or a leaf is left. For tests.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn check_no_huge(&self) {
        let counters = self.huge_counters();
        let left = (
            counters.anon_thps,
            counters.shmem_thps,
            counters.shmem_pmd_mapped,
            self.thp.leaves.get(),
        );
        assert_eq!(left, (0, 0, 0, 0), "huge pages: private, of objects, mapped; leaves");
    }

    /// How many huge pages there are, and what became of others.
    pub fn huge_counters(&self) -> HugeCounters {
        let get = |what| self.thp.get(what);
        HugeCounters {
            anon_thps: get(Count::AnonThps),
            shmem_thps: get(Count::ShmemThps),
            shmem_pmd_mapped: get(Count::ShmemPmdMapped),
            thp_fault_alloc: get(Count::FaultAlloc),
            thp_fault_fallback: get(Count::FaultFallback),
            thp_file_alloc: get(Count::FileAlloc),
            thp_file_fallback: get(Count::FileFallback),
            thp_file_mapped: get(Count::FileMapped),
            thp_split_page: get(Count::SplitPage),
            thp_split_page_failed: get(Count::SplitPageFailed),
            thp_split_pmd: get(Count::SplitPmd),
        }
    }
}
