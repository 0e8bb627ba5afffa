//! Private anonymous memory, in 4 KiB pages or transparent huge pages.
//!
//! Source: madvise(2), `MADV_DONTNEED`, `MADV_NOHUGEPAGE`, `MADV_HUGEPAGE`; Linux, Documentation/admin-guide/mm/transhuge.rst.

use std::io;
use std::ops::Range;

use faultlab_abi::layout::PAGE_SIZE;
use rustix::mm::{Advice, MapFlags};

use super::area::Area;
use super::backing::{Backed, Store, Unavailable};
use super::huge;

/// See the module.
#[derive(Debug)]
struct Anon;

/// Maps `bytes` of it in 4 KiB pages.
pub(super) fn map(bytes: u64) -> Result<Backed, Unavailable> {
    Ok(Backed::new(area(bytes)?, Anon))
}

/// An area of it.
pub(super) fn area(bytes: u64) -> io::Result<Area> {
    let area = Area::reserve(bytes, PAGE_SIZE)?;
    area.map(None, MapFlags::PRIVATE | MapFlags::NORESERVE)?;
    huge::forbid(&area);
    Ok(area)
}

/// Maps `bytes` of it in transparent huge pages of `granule` bytes, and makes sure that the host gives them.
pub(super) fn map_thp(bytes: u64, granule: u64) -> Result<Backed, Unavailable> {
    let area = Area::reserve(bytes, granule)?;
    area.map(None, MapFlags::PRIVATE | MapFlags::NORESERVE)?;
    let backed = Backed::new(area, Anon);
    huge::insist(&backed, granule, "enabled", "madvise")?;
    Ok(backed)
}

impl Store for Anon {
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()> {
        area.advise(range, Advice::LinuxDontNeed)
    }
}
