//! Address spaces: what programs do to them.
//!
//! | file | Linux | what |
//! |---|---|---|
//! | `map` | `do_mmap`, `mmap_region` | new mappings, where they go |
//! | `area` | `shmem_get_unmapped_area` | where huge pages can be mapped as such |
//! | `merge` | `vma_merge`, `split_vma` | one VMA of two, two of one; VMAs come and go |
//! | `unmap` | `do_munmap`, `unmap_region` | mappings go |
//! | `protect` | `mprotect_fixup` | other rights |
//! | `advise` | `do_madvise` | what a program knows about its use |
//! | `remap` | `mremap` | mappings change size and place |
//! | `lock` | `mlock`, `__mm_populate` | pages that stay in memory, and pages ahead of their use |
//! | `limits` | `may_expand_vm`, `mlock_future_ok` | what may be mapped and locked |
//! | `resident` | `mincore`, `msync` | what is in memory |
//! | `stack` | `expand_stack` | stacks grow down |
//! | `brk` | `do_brk_flags` | the heap |
//! | `fork` | `dup_mmap`, `copy_page_range`, `exit_mmap` | address spaces come and go |
//! | `futex_key` | `get_futex_key` | what a word of a program's memory is |
//! | `user` | `get_user_pages` | the kernel on a program's behalf |
//!
//! # Invariants
//! The VMAs of an address space do not overlap and are in its tree; `total_vm` is the sum of their pages; no two adjacent VMAs
//! could be one.
//!
//! Source: Linux, mm/mmap.c. Rules B1 to B35.

mod advise;
mod area;
mod brk;
mod fork;
mod futex_key;
mod limits;
mod lock;
mod map;
mod merge;
mod protect;
mod remap;
mod resident;
mod stack;
mod unmap;
mod user;
mod walk;

pub use advise::advice;
pub(crate) use area::Backing;
pub use futex_key::FutexKey;
pub use limits::{RLIM_INFINITY, Rlimits};
pub use lock::lock_flag;
pub use map::MapFile;
pub(crate) use map::Mapping;
pub use remap::remap_flag;

use crate::vma::vm;

pub use crate::sysctl::{MAX_MAP_COUNT, MMAP_MIN_ADDR};

/// `PROT_*` of `mmap` and `mprotect`. Source: mmap(2).
pub mod prot {
    /// May be read.
    pub const READ: u64 = 1;
    /// May be written.
    pub const WRITE: u64 = 2;
    /// May be executed.
    pub const EXEC: u64 = 4;
    /// May hold a semaphore: no difference on x86-64.
    pub const SEM: u64 = 8;
    /// `mprotect`: down to the start of the stack.
    pub const GROWSDOWN: u64 = 0x100_0000;
    /// `mprotect`: up to the end of a stack that grows up, of which there is none.
    pub const GROWSUP: u64 = 0x200_0000;
}

/// `MAP_*` of `mmap`. Source: mmap(2).
pub mod map_flag {
    /// Stores go to the object.
    pub const SHARED: u64 = 0x1;
    /// Stores make private copies.
    pub const PRIVATE: u64 = 0x2;
    /// As `SHARED`, and unknown flags are refused.
    pub const SHARED_VALIDATE: u64 = 0x3;
    /// The bits with the three above.
    pub const TYPE: u64 = 0xf;
    /// Exactly at this address, whatever is there.
    pub const FIXED: u64 = 0x10;
    /// No object.
    pub const ANONYMOUS: u64 = 0x20;
    /// A stack.
    pub const GROWSDOWN: u64 = 0x100;
    /// Pages stay in memory.
    pub const LOCKED: u64 = 0x2000;
    /// Not charged to the commit counter.
    pub const NORESERVE: u64 = 0x4000;
    /// Fault everything in at once.
    pub const POPULATE: u64 = 0x8000;
    /// With `POPULATE`: nothing is faulted in.
    pub const NONBLOCK: u64 = 0x1_0000;
    /// No huge pages, as long as nobody says otherwise.
    pub const STACK: u64 = 0x2_0000;
    /// Huge pages; the binary logarithm of their size is in the bits from `HUGE_SHIFT` on, 0 being the usual size.
    pub const HUGETLB: u64 = 0x4_0000;
    /// Where the size of huge pages begins, 6 bits.
    pub const HUGE_SHIFT: u32 = 26;
    /// What was known before `SHARED_VALIDATE`: the others are refused with it. Source: Linux `LEGACY_MAP_MASK`.
    pub const KNOWN: u64 = TYPE
        | FIXED
        | ANONYMOUS
        | GROWSDOWN
        | 0xc0
        | 0x800
        | 0x1000
        | LOCKED
        | NORESERVE
        | POPULATE
        | NONBLOCK
        | STACK
        | HUGETLB
        | 0x7c00_0000;
    /// Exactly at this address, if nothing is there.
    pub const FIXED_NOREPLACE: u64 = 0x10_0000;
}

/// First address past those of programs. Source: Linux `TASK_SIZE`.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Rights of a VMA from those of `mmap`: Linux numbers them the same.
const fn calc_vm_prot_bits(prot: u64) -> u64 {
    prot & (vm::READ | vm::WRITE | vm::EXEC)
}
