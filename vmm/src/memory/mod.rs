//! The guest's memory and the host memory behind it.
//!
//! | module | what is in it |
//! |---|---|
//! | `ram` | [`GuestRam`]: RAM and the lab window, as the guest addresses them |
//! | `area` | a range of this process's addresses: reserved, populated, asked what is present |
//! | `backing` | [`Backing`]: the kinds, their names and properties |
//! | `anon` | private anonymous memory, in 4 KiB pages or transparent huge pages |
//! | `shmem` | memfd, in 4 KiB pages or transparent huge pages |
//! | `hugetlb` | memfd on hugetlbfs, 2 MiB or 1 GiB pages |
//! | `file` | a regular file, cold pages in the page cache or not |
//! | `uffd` | memory whose faults threads of the VMM serve |
//! | `huge` | transparent huge pages, forbidden or insisted on |
//! | `prepare` | what is done before the guest runs |
//! | `dirty_log` | which pages of the window were stored to |
//!
//! A backing maps an area and drops parts of it again; all else is the same for all of them. *Backed* means mapped in this
//! process's own page table, which is where KVM takes pages from and what `/proc/self/pagemap` shows.
//!
//! # Invariants
//! - RAM is `[0, bytes)`, whole pages: below the devices, so never under MMIO. The window is above both.
//! - An area lives as long as the [`GuestRam`]; the VM's memory slots never outlive it (the [`crate::Vm`] owns both).
//! - The guest runs on the thread that accesses RAM here, or not at all; accesses are volatile all the same, because
//!   the memory belongs to the guest.

mod anon;
mod area;
mod backing;
pub(crate) mod dirty_log;
mod file;
mod huge;
mod hugetlb;
mod prepare;
mod ram;
mod shmem;
mod uffd;

pub use self::backing::{Backing, BackingOptions, Fill, UffdOptions};
pub use self::dirty_log::DirtyMode;
pub use self::prepare::Prepare;
pub use self::ram::{GuestRam, MemoryConfig};
