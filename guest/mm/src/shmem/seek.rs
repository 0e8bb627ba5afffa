//! Where an object has data. Source: Linux, mm/filemap.c (`mapping_seek_hole_data`). Rule C21.

use super::InodeId;
use crate::addr::PAGE_SHIFT;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::Platform;
use crate::xarray::{Entry, Filter};

/// What is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The next byte of a page that has content, in memory or in swap.
    Data,
    /// The next byte of a page that has none; the end at the latest.
    Hole,
}

impl<P: Platform> Memory<P> {
    /// `lseek` with `SEEK_DATA` or `SEEK_HOLE` from `offset` on.
    ///
    /// # Errors
    /// [`Error::Enxio`] at or past the end, and when no data follows. Rule C21.
    pub fn shmem_seek(&self, id: InodeId, offset: u64, whence: Whence) -> Result<u64, Error> {
        let inode = self.inode(id);
        let size = inode.i_size();
        if offset >= size {
            return Err(Error::Enxio);
        }
        // There, everything is data.
        if self.is_hugetlb(id) {
            return Ok(if whence == Whence::Data { offset } else { size });
        }
        let mut index = offset >> PAGE_SHIFT;
        loop {
            let found = inode.i_pages().find(self, index, (size - 1) >> PAGE_SHIFT, Filter::Any);
            let next = match (whence, found) {
                (Whence::Data, None) => return Err(Error::Enxio),
                (Whence::Hole, Some((at, entry))) if at == index && self.is_data(entry) => index + 1,
                (Whence::Hole, _) => return Ok(offset.max(index << PAGE_SHIFT).min(size)),
                (Whence::Data, Some((at, entry))) if self.is_data(entry) => return Ok(offset.max(at << PAGE_SHIFT)),
                (Whence::Data, Some((at, _))) => at + 1,
            };
            index = next;
        }
    }

    fn is_data(&self, entry: Entry) -> bool {
        entry.as_page().is_none_or(|pfn| self.page(pfn).has(flag::UPTODATE))
    }
}
