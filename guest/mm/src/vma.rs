//! `struct vm_area_struct` and `struct mm_struct`: the records of an address space.
//!
//! Source: Linux, include/linux/mm_types.h, include/linux/mm.h (`VM_*`).

use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::ipc::ShmId;
use crate::record::{Field, id_type, record};
use crate::rmap::AnonVmaId;
use crate::shmem::InodeId;

id_type!(
    /// Number of a [`VmArea`].
    VmaId
);
id_type!(
    /// Number of an [`MmStruct`].
    MmId
);

record! {
    /// One mapping of an address space: `[vm_start, vm_end)` with one set of rights onto one object.
    ///
    /// # Invariants
    /// Page-aligned, `vm_start < vm_end`, not overlapping another of the same address space; in the tree and on the
    /// list of its address space; in the tree of `vm_file` if it has one, in that of `anon_vma` if it has one.
    pub struct VmArea[22] {
        /// First address.
        vm_start, set_vm_start: VirtAddr = 0;
        /// First address past the end.
        vm_end, set_vm_end: VirtAddr = 1;
        /// [`vm`] bits.
        vm_flags, set_vm_flags: u64 = 2;
        /// Page index in the object that `vm_start` maps; for anonymous memory, `vm_start / 4096` at its creation.
        vm_pgoff, set_vm_pgoff: u64 = 3;
        /// The mapped object, if any.
        vm_file, set_vm_file: Option<InodeId> = 4;
        /// Who knows the mappings of this VMA's anonymous pages, once there was one.
        anon_vma, set_anon_vma: Option<AnonVmaId> = 5;
        /// The address space.
        vm_mm, set_vm_mm: Option<MmId> = 6;
        /// Next VMA by address.
        vm_next, set_vm_next: Option<VmaId> = 7;
        /// Previous VMA by address.
        vm_prev, set_vm_prev: Option<VmaId> = 8;
        /// Tree: the subtree of lower addresses.
        rb_left, set_rb_left: Option<VmaId> = 9;
        /// Tree: the subtree of higher addresses.
        rb_right, set_rb_right: Option<VmaId> = 10;
        /// Tree: the parent.
        rb_parent, set_rb_parent: Option<VmaId> = 11;
        /// Tree: balance (0 black, 1 red).
        rb_color, set_rb_color: u64 = 12;
        /// Tree: largest gap below any VMA of this subtree, in bytes.
        rb_subtree_gap, set_rb_subtree_gap: u64 = 13;
        /// The System V segment it attaches, if any.
        shm, set_shm: Option<ShmId> = 14;
        /// The open file description that it was mapped through, a number never used again; 0 for none.
        opened, set_opened: u64 = 15;
        // 16 to 18 are its links in the tree of its object, 19 to 21 those in the tree of its anon_vma: `interval_tree`.
    }
}

record! {
    /// An address space.
    pub struct MmStruct[29] {
        /// Root of the page tables.
        pgd, set_pgd: Pfn = 0;
        /// Root of the tree of VMAs.
        mm_rb, set_mm_rb: Option<VmaId> = 1;
        /// VMA with the lowest address.
        mmap, set_mmap: Option<VmaId> = 2;
        /// VMA that the last look-up found: most faults hit the one before.
        vmacache, set_vmacache: Option<VmaId> = 3;
        /// Top-down search for free addresses starts below this one.
        mmap_base, set_mmap_base: VirtAddr = 4;
        /// Where the heap begins.
        start_brk, set_start_brk: VirtAddr = 5;
        /// Where it ends.
        brk, set_brk: VirtAddr = 6;
        /// Number of VMAs.
        map_count, set_map_count: u64 = 7;
        /// Mapped pages, in pages.
        total_vm, set_total_vm: u64 = 8;
        /// Frames used as page tables, the root included.
        nr_ptes, set_nr_ptes: u64 = 9;
        /// Resident private anonymous pages, in pages.
        rss_anon, set_rss_anon: u64 = 10;
        /// Resident pages of files other than shmem, in pages.
        rss_file, set_rss_file: u64 = 11;
        /// Resident pages of shmem objects, in pages.
        rss_shmem, set_rss_shmem: u64 = 12;
        /// Private anonymous pages in swap, in pages.
        swapents, set_swapents: u64 = 13;
        /// Threads that use it, of whatever process.
        mm_users, set_mm_users: u64 = 14;
        /// Pages of locked mappings, in pages.
        locked_vm, set_locked_vm: u64 = 15;
        /// [`vm`] bits that new mappings get: those of `mlockall(MCL_FUTURE)`.
        def_flags, set_def_flags: u64 = 16;
        /// Next of all address spaces.
        mm_next, set_mm_next: Option<MmId> = 21;
        /// Previous of all address spaces.
        mm_prev, set_mm_prev: Option<MmId> = 22;
        /// Most bytes mapped.
        rlimit_as, set_rlimit_as: u64 = 17;
        /// Most bytes mapped private and writable.
        rlimit_data, set_rlimit_data: u64 = 18;
        /// Most bytes of a stack.
        rlimit_stack, set_rlimit_stack: u64 = 19;
        /// Most bytes locked.
        rlimit_memlock, set_rlimit_memlock: u64 = 20;
        /// Stack pointer at the program's start.
        start_stack, set_start_stack: u64 = 23;
        /// Its arguments as strings, one after the other: where they begin.
        arg_start, set_arg_start: u64 = 24;
        /// Where they end, and the environment begins.
        env_start, set_env_start: u64 = 25;
        /// Where that ends.
        env_end, set_env_end: u64 = 26;
        /// `prctl(PR_SET_THP_DISABLE)`.
        thp_disabled, set_thp_disabled: bool = 27;
        /// Resident huge pages of the pool, in small pages.
        hugetlb_usage, set_hugetlb_usage: u64 = 28;
    }
}

impl VmArea<'_> {
    /// Of a private mapping of huge pages that reserved some: what it knows about that. It is in the word of [`Self::opened`]; see
    /// [`crate::hugetlb`].
    #[inline(always)]
    #[must_use]
    pub fn resv_map(self) -> Option<InodeId> {
        Field::from_word(self.opened())
    }

    /// Whether all bits of `mask` are set in its flags.
    #[inline(always)]
    #[must_use]
    pub fn has(self, mask: u64) -> bool {
        self.vm_flags() & mask == mask
    }

    /// Length in pages.
    #[inline(always)]
    #[must_use]
    pub fn pages(self) -> u64 {
        (self.vm_end().0 - self.vm_start().0) >> PAGE_SHIFT
    }

    /// Index, in its object, of the last page that it maps.
    #[inline(always)]
    #[must_use]
    pub fn last_page_index(self) -> u64 {
        self.vm_pgoff() + self.pages() - 1
    }

    /// Index, in its object, of the page at `addr`.
    #[inline(always)]
    #[must_use]
    pub fn linear_page_index(self, addr: VirtAddr) -> u64 {
        self.vm_pgoff() + ((addr.0 - self.vm_start().0) >> PAGE_SHIFT)
    }

    /// Where it maps page `index` of its object, if it does.
    #[inline(always)]
    #[must_use]
    pub fn address_of(self, index: u64) -> Option<VirtAddr> {
        let pages = index.wrapping_sub(self.vm_pgoff());
        (pages < self.pages()).then(|| self.vm_start().offset(pages << PAGE_SHIFT))
    }

    /// Bytes of its pages.
    #[must_use]
    pub fn page_size(self) -> u64 {
        if self.has(vm::HUGETLB) {
            crate::huge::HPAGE_SIZE
        } else {
            1 << PAGE_SHIFT
        }
    }

    /// Whether its stores make private copies.
    #[inline(always)]
    #[must_use]
    pub fn is_cow(self) -> bool {
        self.vm_flags() & (vm::SHARED | vm::MAYWRITE) == vm::MAYWRITE
    }
}

/// Bits of [`VmArea::vm_flags`], with Linux's values.
pub mod vm {
    /// May be read.
    pub const READ: u64 = 0x1;
    /// May be written.
    pub const WRITE: u64 = 0x2;
    /// May be executed.
    pub const EXEC: u64 = 0x4;
    /// Stores go to the object.
    pub const SHARED: u64 = 0x8;
    /// `mprotect` may give read.
    pub const MAYREAD: u64 = 0x10;
    /// `mprotect` may give write.
    pub const MAYWRITE: u64 = 0x20;
    /// `mprotect` may give execute.
    pub const MAYEXEC: u64 = 0x40;
    /// A shared mapping of something writable.
    pub const MAYSHARE: u64 = 0x80;
    /// A stack that grows down.
    pub const GROWSDOWN: u64 = 0x100;
    /// A program answers faults of pages that are not there.
    pub const UFFD_MISSING: u64 = 0x200;
    /// Physical pages that have no [`crate::page::Page`].
    pub const PFNMAP: u64 = 0x400;
    /// Pages stay in memory.
    pub const LOCKED: u64 = 0x2000;
    /// Pages will be used in sequence.
    pub const SEQ_READ: u64 = 0x8000;
    /// Pages will be used in no order.
    pub const RAND_READ: u64 = 0x1_0000;
    /// Not for children.
    pub const DONTCOPY: u64 = 0x2_0000;
    /// `mremap` makes it no larger, and nothing merges it.
    pub const DONTEXPAND: u64 = 0x4_0000;
    /// With `LOCKED`: pages stay in memory once they are used.
    pub const LOCKONFAULT: u64 = 0x8_0000;
    /// Children see zeroes.
    pub const WIPEONFORK: u64 = 0x200_0000;
    /// Not in core dumps.
    pub const DONTDUMP: u64 = 0x400_0000;
    /// Not charged to the commit counter.
    pub const NORESERVE: u64 = 0x20_0000;
    /// Charged to the commit counter.
    pub const ACCOUNT: u64 = 0x10_0000;
    /// Of huge pages of the pool only: [`crate::hugetlb`].
    pub const HUGETLB: u64 = 0x40_0000;
    /// Huge pages would be good.
    pub const HUGEPAGE: u64 = 0x2000_0000;
    /// They would not.
    pub const NOHUGEPAGE: u64 = 0x4000_0000;
    /// Own: of an object that may have huge pages. As the next two below bit 32, so that a fault looks at all of them in one instruction.
    pub const HUGE_OBJECT: u64 = 0x800;
    /// Own: of a file that was opened. A store that faults changes its times. Rule B44.
    pub const TIMES: u64 = 0x1000;
    /// A program answers faults of pages that are there, but not mapped.
    pub const UFFD_MINOR: u64 = 0x800_0000;
    /// Own: a page was taken away for who had reserved it. Source: Linux `HPAGE_RESV_UNMAPPED`.
    pub const RESV_UNMAPPED: u64 = 1 << 43;
    /// Where the number of the context that answers begins: whose flags are equal have the same, so neither merging nor cutting has to know.
    pub const UFFD_CTX_SHIFT: u32 = 44;
    /// All about answered faults. Source: Linux `__VM_UFFD_FLAGS`, `vm_userfaultfd_ctx`.
    pub const UFFD: u64 = UFFD_MISSING | UFFD_MINOR | u64::MAX << UFFD_CTX_SHIFT;
}
