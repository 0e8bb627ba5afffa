//! hugetlb: 2 MiB pages that an administrator sets aside, and the mappings that have no others.
//!
//! ```text
//! nr_hugepages ---> pool ---> free, of which resv are promised
//!                     ^  |
//!        put, truncate|  | fault
//!                     |  v
//!                  in use: of an object (shared mappings), or of one address space and its children (private ones)
//! ```
//!
//! A mapping gets its pages from the pool or not at all: never small ones instead, never from swap. So that a fault does not find the pool
//! empty, pages are *reserved* when something is mapped: a *reservation map* knows for which indices. Where too few are free, pages beyond
//! the pool's size (*surplus*) are made, up to `nr_overcommit_hugepages`; they go back to the allocator when they come free.
//!
//! # Reservation maps
//! An object has one for its shared mappings: an index is in it while a page is reserved or in use there. A private mapping has one of its own,
//! where an index is in while the reservation is used up; its copies in children have none, and take what is free. Both are arrays of huge indices
//! in two words of an [`Inode`](crate::shmem::Inode) record; a private mapping's is a record of its own ([`VmArea::resv_map`](crate::vma::VmArea)).
//!
//! # Copies
//! Private pages are copied when one of several address spaces stores to them. When the pool is empty and who stores is the one that
//! reserved, the others lose the page instead: their next access to such a mapping is a `SIGBUS`, rather than zeroes.
//!
//! # Invariants
//! `resv <= free <= nr`, `surplus <= nr`. A page of the pool has [`flag::HUGETLB`](crate::page::flag::HUGETLB) whoever has it. A VMA with [`vm::HUGETLB`]
//! begins and ends at multiples of 2 MiB, has an object, and only leaves map its pages; nothing merges it.
//!
//! | file | Linux | what |
//! |---|---|---|
//! | `pool` | `set_max_huge_pages`, `hugetlb_acct_memory`, `free_huge_folio` | pages come, are promised, and go |
//! | `reserve` | `region_add`, `hugetlb_reserve_pages`, `vma_needs_reservation` | reservation maps |
//! | `object` | fs/hugetlbfs/inode.c | objects: size, holes |
//! | `fault` | `hugetlb_fault`, `hugetlb_no_page`, `hugetlb_wp` | faults |
//! | `map` | `hugetlbfs_file_mmap`, `__unmap_hugepage_range`, `copy_hugetlb_page_range` | mappings come, are copied, move, and go |
//!
//! Source: Linux 6.18, mm/hugetlb.c, fs/hugetlbfs/inode.c, Documentation/admin-guide/mm/hugetlbpage.rst,
//! Documentation/mm/hugetlbfs_reserv.rst. Rules A21 to A27, B12, G9. Differs from Linux: one size; no file system to be mounted, so no limits of
//! one (subpools); pages of the pool are not moved by compaction; a reservation is taken back from a page that goes only when nobody else
//! has that page.

mod fault;
mod map;
mod object;
mod pool;
mod reserve;
#[cfg(test)]
mod tests;

pub(crate) use pool::Hstate;
pub use pool::HugetlbCounters;

use crate::addr::VirtAddr;
use crate::error::Error;
use crate::huge::{HPAGE_SHIFT, HPAGE_SIZE};
use crate::vma::vm;

/// log2 of the bytes of gigantic pages, which x86-64 has, and the pool never.
const GIGANTIC_SHIFT: u64 = 30;

/// Whether pages of `1 << shift` bytes can be had; 0 is the usual size. Rules A21, B12.
///
/// # Errors
/// [`Error::Einval`] for sizes that x86-64 does not have, [`Error::Enomem`] for the one whose pool is always empty.
pub(crate) fn check_size(shift: u64) -> Result<(), Error> {
    match shift {
        0 => Ok(()),
        shift if shift == u64::from(HPAGE_SHIFT) => Ok(()),
        GIGANTIC_SHIFT => Err(Error::Enomem),
        _ => Err(Error::Einval),
    }
}

/// Rounds a length up to huge pages; beyond the end of the range it is 0, as in Linux, where nothing checks that.
pub(crate) const fn hpage_align(len: u64) -> u64 {
    len.wrapping_add(HPAGE_SIZE - 1) & !(HPAGE_SIZE - 1)
}

/// Whether an address or offset is a multiple of a huge page.
pub(crate) const fn is_hpage_aligned(at: u64) -> bool {
    at & (HPAGE_SIZE - 1) == 0
}

/// Whether a VMA with these flags can be cut at an address. Source: Linux `hugetlb_vm_op_split`.
///
/// # Errors
/// [`Error::Einval`]. Rule A26.
#[inline(always)]
pub(crate) fn may_split(vm_flags: u64, at: VirtAddr) -> Result<(), Error> {
    if vm_flags & vm::HUGETLB != 0 && !is_hpage_aligned(at.0) {
        return Err(Error::Einval);
    }
    Ok(())
}
