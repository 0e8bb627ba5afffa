//! A memfd: shared memory of the kernel's own tmpfs.
//!
//! Source: memfd_create(2); fallocate(2), `FALLOC_FL_PUNCH_HOLE`; Linux, Documentation/admin-guide/mm/transhuge.rst, "shmem_enabled".

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use faultlab_abi::layout::PAGE_SIZE;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::MapFlags;

use super::area::Area;
use super::backing::{Backed, Store, Unavailable};
use super::huge;

/// See the module; also serves memfds of other kinds.
#[derive(Debug)]
pub(super) struct Memfd {
    pub(super) file: OwnedFd,
}

impl Memfd {
    /// An area over a memfd of as many bytes.
    pub(super) fn map(bytes: u64, align: u64, kind: MemfdFlags, flags: MapFlags) -> io::Result<(Area, Memfd)> {
        let file = memfd_create("faultlab-guest", kind | MemfdFlags::CLOEXEC)?;
        ftruncate(&file, bytes)?;
        let area = Area::reserve(bytes, align)?;
        area.map(Some((file.as_fd(), 0)), MapFlags::SHARED | flags)?;
        Ok((area, Memfd { file }))
    }
}

/// Maps `bytes` of it in 4 KiB pages.
pub(super) fn map(bytes: u64) -> Result<Backed, Unavailable> {
    let (area, memfd) = Memfd::map(bytes, PAGE_SIZE, MemfdFlags::empty(), MapFlags::NORESERVE)?;
    huge::forbid(&area);
    Ok(Backed::new(area, memfd))
}

/// Maps `bytes` of it in transparent huge pages of `granule` bytes, and makes sure that the host gives them.
pub(super) fn map_thp(bytes: u64, granule: u64) -> Result<Backed, Unavailable> {
    let (area, memfd) = Memfd::map(bytes, granule, MemfdFlags::empty(), MapFlags::NORESERVE)?;
    let backed = Backed::new(area, memfd);
    huge::insist(&backed, granule, "shmem_enabled", "advise")?;
    Ok(backed)
}

impl Store for Memfd {
    fn make_cold(&self, _area: &Area, range: &Range<u64>) -> io::Result<()> {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, mode, range.start, range.end - range.start)?)
    }
}
