//! `read` and `write` of an object. Source: Linux, mm/shmem.c (`shmem_file_read_iter`, `shmem_write_begin`, `shmem_write_end`),
//! mm/filemap.c (`generic_perform_write`). Rules C13 to C16, C20, C49.
//!
//! Bytes go from page to page through [`Platform::copy_bytes`]. Fetching a program's page may reclaim, so it comes first, and what is
//! found in the cache after it is used at once.

use super::{Inode, InodeId, Sgp, seal};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr};
use crate::error::Error;
use crate::filemap::fgp;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::Platform;
use crate::vma::MmId;
use crate::xarray::Entry;

/// Bytes that lie in one page on both sides.
#[derive(Clone, Copy)]
struct Chunk {
    /// Position in the object.
    pos: u64,
    /// Address in the program.
    addr: u64,
    /// Bytes, 1 to 4096.
    len: u64,
}

impl Chunk {
    /// The next of `len` bytes.
    #[inline(always)]
    fn next(pos: u64, addr: u64, len: u64) -> Self {
        let in_object = PAGE_SIZE - (pos & PAGE_MASK);
        let in_program = PAGE_SIZE - (addr & PAGE_MASK);
        Self {
            pos,
            addr,
            len: len.min(in_object).min(in_program),
        }
    }

    fn index(self) -> u64 {
        self.pos >> PAGE_SHIFT
    }

    /// First byte in the object's page.
    fn offset(self) -> u64 {
        self.pos & PAGE_MASK
    }

    /// First byte in the program's page.
    fn user_offset(self) -> u64 {
        self.addr & PAGE_MASK
    }
}

impl<P: Platform> Memory<P> {
    /// Copies up to `len` bytes from `pos` on to a program's memory at `addr`; how many there were before the end. Holes read as zeroes
    /// and stay holes. `pos + len` fits 63 bits.
    ///
    /// # Errors
    /// [`Error::Efault`] when the program could not store there, [`Error::Eio`], [`Error::Enomem`]; only if nothing was copied. Rule C13.
    pub fn shmem_file_read(&self, id: InodeId, pos: u64, mm_id: MmId, addr: u64, len: u64) -> Result<u64, Error> {
        let inode = self.inode(id);
        let wanted = len;
        let len = wanted.min(inode.i_size().saturating_sub(pos));
        let mut done = 0;
        while done < len {
            let chunk = Chunk::next(pos + done, addr + done, len - done);
            match self.read_chunk(id, mm_id, chunk) {
                Ok(()) => done += chunk.len,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        // Also at the end, where there is nothing.
        if wanted != 0 {
            self.accessed(inode);
        }
        Ok(done)
    }

    fn read_chunk(&self, id: InodeId, mm_id: MmId, chunk: Chunk) -> Result<(), Error> {
        let user_page = VirtAddr(chunk.addr).page();
        let user = self.get_user_page(mm_id, user_page, true)?;
        let entry = self.filemap_get_entry(self.inode(id), chunk.index());
        if entry.as_value().is_some() {
            // The page comes back from swap, and stays while the program's is fetched again.
            let got = self.shmem_getpage_called(id, chunk.index(), Sgp::Write)?;
            let user = self.get_user_page(mm_id, user_page, true);
            if let Ok(user) = user {
                self.copy_to_program(user, got.pfn, chunk);
            }
            self.put_page(got.pfn);
            return user.map(|_| ());
        }
        // Without a reference: nothing can take the page before it is copied.
        let found = entry.as_page();
        match found.filter(|&pfn| self.page(pfn).has(flag::UPTODATE)) {
            Some(pfn) => self.copy_to_program(user, pfn, chunk),
            None => self
                .platform
                .clear_bytes(user, chunk.user_offset() as usize, chunk.len as usize),
        }
        if let Some(pfn) = found
            && chunk.offset() == 0
        {
            self.mark_page_accessed(pfn);
        }
        Ok(())
    }

    #[inline(always)]
    fn copy_to_program(&self, user: Pfn, pfn: Pfn, chunk: Chunk) {
        self.platform.copy_bytes(
            (user, chunk.user_offset() as usize),
            (pfn, chunk.offset() as usize),
            chunk.len as usize,
        );
    }

    /// Copies `len` bytes from a program's memory at `addr` to the object from `pos` on, which grows as needed; how many were copied.
    /// `pos + len` fits 63 bits.
    ///
    /// # Errors
    /// Only if nothing was copied: [`Error::Eperm`] where a seal forbids it, [`Error::Efault`] when the program could not load there,
    /// [`Error::Eio`], [`Error::Enomem`]. Rules C14, C49.
    pub fn shmem_file_write(&self, id: InodeId, pos: u64, mm_id: MmId, addr: u64, len: u64) -> Result<u64, Error> {
        let inode = self.inode(id);
        let mut done = 0;
        while done < len {
            let chunk = Chunk::next(pos + done, addr + done, len - done);
            let end = chunk.pos + chunk.len;
            // What the seals refuse is a page's part of the write, not a piece of the program's buffer.
            let page_end = (pos + len).min((chunk.pos | PAGE_MASK) + 1);
            let written = self
                .may_write(id, page_end)
                .and_then(|()| self.write_chunk(id, mm_id, chunk));
            match written {
                Ok(()) => done += chunk.len,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            if end > inode.i_size() {
                inode.set_i_size(end);
            }
        }
        self.content_changed(id);
        Ok(done)
    }

    /// Whether seals allow a write that ends at `end`. Rule C49.
    #[inline]
    pub(super) fn may_write(&self, id: InodeId, end: u64) -> Result<(), Error> {
        let inode = self.inode(id);
        let seals = inode.seals();
        if seals & (seal::WRITE | seal::FUTURE_WRITE | seal::NO_WRITE) != 0
            || (seals & seal::GROW != 0 && end > inode.i_size())
        {
            return Err(if seals & seal::NO_WRITE != 0 {
                Error::Einval
            } else {
                Error::Eperm
            });
        }
        Ok(())
    }

    fn write_chunk(&self, id: InodeId, mm_id: MmId, chunk: Chunk) -> Result<(), Error> {
        let user_page = VirtAddr(chunk.addr).page();
        let mut user = self.get_user_page(mm_id, user_page, false)?;
        let found = self
            .pagecache_get_page(id, chunk.index(), fgp::LOCK)
            .and_then(Entry::as_page);
        let held = match found {
            Some(pfn) => pfn,
            None => {
                let got = self.shmem_getpage_called(id, chunk.index(), Sgp::Write)?;
                // That may have reclaimed.
                match self.get_user_page(mm_id, user_page, false) {
                    Ok(again) => user = again,
                    Err(error) => {
                        self.fill_if_fallocated(got.pfn);
                        self.put_page(got.pfn);
                        return Err(error);
                    }
                }
                self.lock_page(got.pfn);
                got.pfn
            }
        };
        let page = self.page(held);
        if !page.has(flag::UPTODATE) && chunk.len != PAGE_SIZE {
            self.platform.clear_page(held);
        }
        self.platform.copy_bytes(
            (held, chunk.offset() as usize),
            (user, chunk.user_offset() as usize),
            chunk.len as usize,
        );
        if !page.has(flag::UPTODATE) {
            page.step(Event::Uptodate);
        }
        page.steps([Event::Dirty, Event::Unlock]);
        self.mark_page_accessed(held);
        self.put_page(held);
        Ok(())
    }

    /// Notes that content was read now: of mounted file systems only if nobody knows since the last change, or for a day. Source: Linux
    /// `relatime_need_update`; mount(8), "relatime".
    pub(super) fn accessed(&self, inode: Inode<'_>) {
        const DAY_NS: i64 = 24 * 60 * 60 * 1_000_000_000;
        let (now, known) = (self.platform.now_ns(), inode.i_atime());
        let stale = known <= inode.i_mtime() || known <= inode.i_ctime() || now - known >= DAY_NS;
        if stale || inode.i_sb().is_none() {
            inode.set_i_atime(now);
        }
    }

    /// Notes that a file was mapped, which is an access to its content. Source: Linux `shmem_mmap`.
    pub fn file_accessed(&self, id: InodeId) {
        self.accessed(self.inode(id));
    }

    /// Notes that content changed now. Rule C23.
    pub(crate) fn content_changed(&self, id: InodeId) {
        let (inode, now) = (self.inode(id), self.platform.now_ns());
        inode.set_i_mtime(now);
        inode.set_i_ctime(now);
    }
}
