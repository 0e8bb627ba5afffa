//! A memfd on hugetlbfs: huge pages from a pool that is set aside beforehand.
//!
//! The whole area is reserved from the pool when it is mapped, so that no touch finds the pool empty.
//!
//! Source: memfd_create(2), `MFD_HUGETLB`; Linux, Documentation/admin-guide/mm/hugetlbpage.rst.

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::MapFlags;

use super::backing::{Backed, Unavailable};
use super::shmem::Memfd;

/// Maps `bytes` in huge pages of `granule` bytes: 2 MiB or 1 GiB.
pub(super) fn map(bytes: u64, granule: u64) -> Result<Backed, Unavailable> {
    let size = if granule == 1 << 30 {
        MemfdFlags::HUGE_1GB
    } else {
        MemfdFlags::HUGE_2MB
    };
    let pool = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", granule >> 10);
    match Memfd::map(bytes, granule, MemfdFlags::HUGETLB | size, MapFlags::empty()) {
        Ok((area, memfd)) => Ok(Backed::new(area, memfd)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOMEM) => {
                let pages = bytes / granule;
                let file = format!("{pool}/nr_hugepages");
                let have = std::fs::read_to_string(format!("{pool}/free_hugepages")).unwrap_or_default();
                let total = std::fs::read_to_string(&file).unwrap_or_default();
                let total = total.trim().parse().unwrap_or(0_u64);
                let free = have.trim().parse().unwrap_or(0_u64);
                let why = format!(
                    "{pages} pages of {} MiB are needed, and the pool has {free} free",
                    granule >> 20
                );
                // What is there stays; RAM and the window are mapped one after the other.
                let remedy = format!("echo {} | sudo tee {file}", total + pages);
                Err(Unavailable::here(why, remedy))
            }
            Some(Errno::NODEV | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {
                let why = format!("this host has no huge pages of {} MiB", granule >> 20);
                Err(Unavailable::here(
                    why,
                    "use a kernel with CONFIG_HUGETLBFS, and a CPU with pdpe1gb for 1 GiB",
                ))
            }
            _ => Err(error.into()),
        },
    }
}
