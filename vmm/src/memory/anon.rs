//! Private anonymous memory.
//!
//! Source: madvise(2), `MADV_DONTNEED` and `MADV_NOHUGEPAGE`.

use std::io;
use std::ops::Range;

use faultlab_abi::layout::PAGE_SIZE;
use rustix::mm::{Advice, MapFlags};

use super::area::Area;
use super::backing::{Backed, Store};
use crate::error::MemoryError;

/// See the module.
#[derive(Debug)]
struct Anon;

/// Maps `bytes` of it.
pub(super) fn map(bytes: u64) -> Result<Backed, MemoryError> {
    let reserve = |source: io::Error| MemoryError::Reserve {
        bytes,
        reason: source.to_string(),
    };
    let area = Area::reserve(bytes, PAGE_SIZE).map_err(reserve)?;
    area.map(None, MapFlags::PRIVATE).map_err(reserve)?;
    // A kernel without THP answers EINVAL, and then there is nothing to switch off.
    let _ = area.advise(&(0..bytes), Advice::LinuxNoHugepage);
    Ok(Backed {
        store: Box::new(Anon),
        area,
    })
}

impl Store for Anon {
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()> {
        area.advise(range, Advice::LinuxDontNeed)
    }
}
