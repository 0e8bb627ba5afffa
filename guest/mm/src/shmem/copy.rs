//! Content of one object copied to another, or to another place of the same. Source: Linux, mm/filemap.c (`filemap_splice_read`),
//! mm/shmem.c (`shmem_file_splice_read`), fs/splice.c. Rule C22.

use super::{InodeId, Sgp};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::Platform;

/// A place in an object.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The object.
    pub id: InodeId,
    /// Bytes before it.
    pub pos: u64,
}

impl Position {
    fn forward(self, by: u64) -> Self {
        Self {
            pos: self.pos + by,
            ..self
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Copies up to `len` bytes; how many there were before the end of the source. Its holes are zeroes, and stay holes. Both positions and
    /// `len` together fit 63 bits.
    ///
    /// # Errors
    /// Only if nothing was copied: as a read of the one and a write of the other.
    pub fn shmem_copy(&self, from: Position, to: Position, len: u64) -> Result<u64, Error> {
        self.may_splice(from.id)?;
        let len = len.min(self.i_size(from.id).saturating_sub(from.pos));
        let mut done = 0;
        while done < len {
            let (source, target) = (from.forward(done), to.forward(done));
            let in_page = |at: Position| PAGE_SIZE - (at.pos & PAGE_MASK);
            let chunk = (len - done).min(in_page(source)).min(in_page(target));
            match self.copy_chunk(source, target, chunk) {
                Ok(()) => done += chunk,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done != 0 {
            self.accessed(self.inode(from.id));
            self.content_changed(to.id);
        }
        Ok(done)
    }

    /// Huge pages of the pool are read by `read` and mappings only.
    fn may_splice(&self, id: InodeId) -> Result<(), Error> {
        if self.is_hugetlb(id) {
            Err(Error::Einval)
        } else {
            Ok(())
        }
    }

    fn copy_chunk(&self, from: Position, to: Position, len: u64) -> Result<(), Error> {
        self.may_write(to.id, to.pos + len)?;
        let page = self.page_or_hole(from)?;
        let source = page.map(|pfn| (pfn, (from.pos & PAGE_MASK) as usize));
        let stored = self.store_chunk(source, to, len);
        if let Some(pfn) = page {
            self.put_page(pfn);
        }
        stored
    }

    /// Stores `len` bytes of a frame, or zeroes, that lie in one page of an object.
    fn store_chunk(&self, source: Option<(Pfn, usize)>, to: Position, len: u64) -> Result<(), Error> {
        let end = to.pos + len;
        let target = self.shmem_getpage_called(to.id, to.pos >> PAGE_SHIFT, Sgp::Write);
        if let Ok(target) = target {
            let offset = (to.pos & PAGE_MASK) as usize;
            self.lock_page(target.pfn);
            let page = self.page(target.pfn);
            if !page.has(flag::UPTODATE) && len != PAGE_SIZE {
                self.platform.clear_page(target.pfn);
            }
            match source {
                Some(from) => self.platform.copy_bytes((target.pfn, offset), from, len as usize),
                None => self.platform.clear_bytes(target.pfn, offset, len as usize),
            }
            if !page.has(flag::UPTODATE) {
                page.step(Event::Uptodate);
            }
            page.steps([Event::Dirty, Event::Unlock]);
            self.mark_page_accessed(target.pfn);
            self.put_page(target.pfn);
            let inode = self.inode(to.id);
            inode.set_i_size(inode.i_size().max(end));
        }
        target.map(|_| ())
    }

    /// Copies `len` bytes of an object that lie in one of its pages to a frame, at `to`: (frame, first byte). A hole is zeroes.
    ///
    /// # Errors
    /// [`Error::Eio`], [`Error::Enomem`].
    pub fn shmem_read_part(&self, from: Position, to: (Pfn, usize), len: usize) -> Result<(), Error> {
        self.may_splice(from.id)?;
        match self.page_or_hole(from)? {
            Some(pfn) => {
                self.platform
                    .copy_bytes(to, (pfn, (from.pos & PAGE_MASK) as usize), len);
                self.put_page(pfn);
            }
            None => self.platform.clear_bytes(to.0, to.1, len),
        }
        self.accessed(self.inode(from.id));
        Ok(())
    }

    /// Copies `len` bytes of a frame to an object, in one of its pages.
    ///
    /// # Errors
    /// As a write.
    pub fn shmem_write_part(&self, from: (Pfn, usize), to: Position, len: usize) -> Result<(), Error> {
        self.may_write(to.id, to.pos + len as u64)?;
        self.store_chunk(Some(from), to, len as u64)?;
        self.content_changed(to.id);
        Ok(())
    }

    /// The page at a place, with a reference, if it has content.
    fn page_or_hole(&self, at: Position) -> Result<Option<Pfn>, Error> {
        let index = at.pos >> PAGE_SHIFT;
        let entry = self.filemap_get_entry(self.inode(at.id), index);
        if entry.as_value().is_some() {
            return self
                .shmem_getpage_called(at.id, index, Sgp::Write)
                .map(|got| Some(got.pfn));
        }
        let page = entry.as_page().filter(|&pfn| self.page(pfn).has(flag::UPTODATE));
        if let Some(pfn) = page {
            self.get_page(pfn);
        }
        Ok(page)
    }
}
