//! A memfd on hugetlbfs: huge pages from a pool that is set aside beforehand.
//!
//! The whole area is reserved from the pool when it is mapped, so that no touch finds the pool empty.
//!
//! In a simulated machine, which is thrown away afterwards, the pool is enlarged as needed.
//!
//! Source: memfd_create(2), `MFD_HUGETLB`; Linux, Documentation/admin-guide/mm/hugetlbpage.rst.

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::mm::MapFlags;

use super::backing::{Backed, Unavailable};
use super::huge;
use super::shmem::Memfd;

/// Maps `bytes` in huge pages of `granule` bytes: 2 MiB or 1 GiB.
pub(super) fn map(bytes: u64, granule: u64) -> Result<Backed, Unavailable> {
    let size = if granule == 1 << 30 {
        MemfdFlags::HUGE_1GB
    } else {
        MemfdFlags::HUGE_2MB
    };
    let pool = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", granule >> 10);
    let map = || Memfd::map(bytes, granule, MemfdFlags::HUGETLB | size, MapFlags::empty());
    let mapped = map().or_else(|error| {
        let count = std::fs::read_to_string(format!("{pool}/nr_hugepages")).unwrap_or_default();
        let more = count.trim().parse().unwrap_or(0_u64) + bytes / granule;
        match huge::set_in_simulated_machine(&format!("{pool}/nr_hugepages"), &more.to_string()) {
            true => map(),
            false => Err(error),
        }
    });
    match mapped {
        Ok((area, memfd)) => Ok(Backed::new(area, memfd)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOMEM) => {
                let needed = bytes / granule;
                let count = |name: &str| {
                    let text = std::fs::read_to_string(format!("{pool}/{name}")).unwrap_or_default();
                    text.trim().parse().unwrap_or(0_u64)
                };
                // Pages that others have reserved count as free.
                let free = count("free_hugepages").saturating_sub(count("resv_hugepages"));
                let why = format!(
                    "of {needed} pages of {} MiB that are needed, the pool has {free}",
                    granule >> 20
                );
                // RAM and the window are mapped one after the other, so this may be asked for twice.
                let total = (count("nr_hugepages") + needed).saturating_sub(free);
                let remedy = format!("echo {total} | sudo tee {pool}/nr_hugepages");
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
