//! A memory manager with Linux's shared memory, for any machine that [`Platform`] describes.
//!
//! All of it is safe code over words in frames: it runs in faultlab's guest kernel on real page tables, and under
//! `cargo test` on a fake machine. Names are those of Linux, so that who knows one finds their way in the other.
//!
//! | module | Linux | what it is |
//! |---|---|---|
//! | [`zone`] | mm/page_alloc.c | buddy lists, migrate types, watermarks |
//! | [`node`] | mm/{page_alloc,mempolicy}.c, kernel/cgroup/cpuset.c | nodes, zonelists, cpusets |
//! | [`gfp`] | include/linux/gfp.h | what an allocation may do |
//! | [`page_alloc`] | mm/page_alloc.c | the fast path and the slow path |
//! | [`compaction`] | mm/{compaction,migrate}.c | large blocks of small ones, moving pages |
//! | [`oom`] | mm/oom_kill.c | whom to end when memory runs out |
//! | [`slab`] | mm/slub.c | object caches |
//! | [`xarray`] | lib/xarray.c | the radix tree of the page cache |
//! | [`filemap`] | mm/filemap.c | the page cache of one object |
//! | [`page`] | include/linux/{mm_types,page-flags}.h | what is known about a frame; the states of a page's content |
//! | [`vma`], [`vma_tree`] | mm/mmap.c | VMAs and their tree |
//! | `interval_tree` | mm/interval_tree.c | VMAs by the pages that they map |
//! | `rbtree` | lib/rbtree.c | what both trees have in common |
//! | [`mmap`] | mm/{mmap,mprotect,mremap,madvise,mlock,mincore,msync}.c, kernel/fork.c | what programs do to address spaces |
//! | [`huge`] | mm/huge_memory.c | huge pages of private memory and of objects |
//! | [`hugetlb`] | mm/hugetlb.c, fs/hugetlbfs/inode.c | pages set aside, and mappings that have no others |
//! | [`pagetable`] | mm/memory.c | the four-level walk |
//! | [`fault`] | mm/memory.c | `handle_mm_fault` |
//! | [`rmap`] | mm/rmap.c | from a frame to its mappings |
//! | [`shmem`], `truncate` | mm/{shmem,truncate}.c | memory objects, holes in them |
//! | [`ipc`] | ipc/shm.c | System V shm |
//! | [`overcommit`] | mm/util.c | how much memory is promised |
//! | [`swap`] | mm/{swapfile,swap_state,page_io}.c | slots, swap cache, I/O |
//! | [`check`] | – | whether all that agrees with itself |
//! | [`sysctl`], [`meminfo`], [`task_mmu`] | kernel/sysctl.c, fs/proc/{meminfo,task_mmu}.c | what an administrator sets, and sees |
//! | [`userfaultfd`] | fs/userfaultfd.c, mm/userfaultfd.c | faults that programs answer |
//! | [`lru`], [`vmscan`], `workingset` | mm/{swap,vmscan,workingset}.c | which frames to take back, and taking them |
//!
//! # Locks
//! Outer before inner: `mmap_lock` > `ipc_lock` > `i_mmap_lock` > `i_pages_lock` > `swap_lock` > `lru_lock` > the zone's.
//! Each is one lock for the whole manager today; see [`sync`].

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
#[macro_use]
extern crate std;

pub mod addr;
pub mod check;
pub mod compaction;
pub mod error;
pub mod fault;
pub mod filemap;
pub mod gfp;
pub mod huge;
pub mod hugetlb;
mod interval_tree;
pub mod ipc;
pub mod lru;
pub mod meminfo;
pub mod mmap;
pub mod node;
pub mod oom;
pub mod overcommit;
pub mod page;
pub mod page_alloc;
pub mod pagetable;
pub mod platform;
mod rbtree;
pub mod record;
pub mod rmap;
pub mod shmem;
pub mod slab;
pub mod swap;
pub mod sync;
pub mod sysctl;
pub mod task_mmu;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod truncate;
pub mod userfaultfd;
pub mod vma;
pub mod vma_tree;
pub mod vmscan;
mod workingset;
pub mod xarray;
pub mod zone;

mod memory;
#[cfg(test)]
mod tests;

pub use error::{Error, Fault};
pub use memory::Memory;
pub use platform::Platform;
