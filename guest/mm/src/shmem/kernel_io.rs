//! Content of an object for the kernel itself: symbolic links, files of the initrd, and what is handed out at the end. Source: Linux, mm/shmem.c (`shmem_symlink`,
//! `shmem_get_link`).

use super::{InodeId, Sgp, Whence};
use crate::addr::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::Event;
use crate::platform::Platform;

/// Pages that are handed out at once.
pub const RUN_PAGES: usize = 64;

impl<P: Platform> Memory<P> {
    /// Writes bytes from `pos` on; the size grows with them.
    ///
    /// # Errors
    /// [`Error::Enospc`], [`Error::Enomem`], [`Error::Eio`]; what was written before stays.
    pub fn kernel_write(&self, id: InodeId, pos: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = pos + done as u64;
            let offset = (at & PAGE_MASK) as usize;
            let len = (PAGE_SIZE as usize - offset).min(bytes.len() - done);
            let got = self.shmem_getpage_called(id, at >> PAGE_SHIFT, Sgp::Write)?;
            self.fill_if_fallocated(got.pfn);
            self.set_bytes(got.pfn, offset, &bytes[done..done + len]);
            self.page(got.pfn).step(Event::Dirty);
            self.put_page(got.pfn);
            done += len;
            let inode = self.inode(id);
            inode.set_i_size(inode.i_size().max(pos + done as u64));
        }
        Ok(())
    }

    /// Reads bytes from `pos` on; how many there were before the end. Holes are zeroes, and get pages.
    ///
    /// # Errors
    /// [`Error::Enospc`], [`Error::Enomem`], [`Error::Eio`].
    pub fn kernel_read(&self, id: InodeId, pos: u64, bytes: &mut [u8]) -> Result<usize, Error> {
        let available = self.inode(id).i_size().saturating_sub(pos);
        let wanted = bytes.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < wanted {
            let at = pos + done as u64;
            let offset = (at & PAGE_MASK) as usize;
            let len = (PAGE_SIZE as usize - offset).min(wanted - done);
            let got = self.shmem_getpage_called(id, at >> PAGE_SHIFT, Sgp::Cache)?;
            self.get_bytes(got.pfn, offset, &mut bytes[done..done + len]);
            self.put_page(got.pfn);
            done += len;
        }
        Ok(done)
    }

    /// Hands out the pages that have content, in order: the index of the first and the frames of it and of those behind it, at most
    /// [`RUN_PAGES`], which stay where they are meanwhile.
    ///
    /// # Errors
    /// [`Error::Enomem`], [`Error::Eio`] for pages that cannot be brought back from swap; what `each` says.
    pub fn for_each_run<E: From<Error>>(
        &self,
        id: InodeId,
        mut each: impl FnMut(u64, &[Pfn]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pos = 0;
        loop {
            let start = match self.shmem_seek(id, pos, Whence::Data) {
                Err(Error::Enxio) => return Ok(()),
                start => start? >> PAGE_SHIFT,
            };
            let end = self.shmem_seek(id, start << PAGE_SHIFT, Whence::Hole)?;
            let pages = (end.div_ceil(PAGE_SIZE) - start).min(RUN_PAGES as u64);
            let (mut run, mut held) = ([Pfn(0); RUN_PAGES], 0);
            let mut handed = Ok(());
            while held < pages as usize {
                match self.shmem_getpage_called(id, start + held as u64, Sgp::Cache) {
                    Ok(got) => run[held] = got.pfn,
                    Err(error) => {
                        handed = Err(error.into());
                        break;
                    }
                }
                held += 1;
            }
            let run = &run[..held];
            if handed.is_ok() {
                handed = each(start, run);
            }
            run.iter().for_each(|&pfn| self.put_page(pfn));
            handed?;
            pos = (start + pages) << PAGE_SHIFT;
        }
    }

    /// Loads bytes of a frame, a word at a time.
    fn get_bytes(&self, pfn: Pfn, offset: usize, bytes: &mut [u8]) {
        let frame = self.platform.frame(pfn);
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let content = frame[at / 8].get().to_le_bytes();
            let (part, behind) = rest.split_at_mut(rest.len().min(8 - at % 8));
            part.copy_from_slice(&content[at % 8..at % 8 + part.len()]);
            at += part.len();
            rest = behind;
        }
    }

    /// Stores bytes in a frame, a word at a time.
    pub(crate) fn set_bytes(&self, pfn: Pfn, offset: usize, bytes: &[u8]) {
        let frame = self.platform.frame(pfn);
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let word = &frame[at / 8];
            let mut content = word.get().to_le_bytes();
            let (part, behind) = rest.split_at(rest.len().min(8 - at % 8));
            content[at % 8..at % 8 + part.len()].copy_from_slice(part);
            word.set(u64::from_le_bytes(content));
            at += part.len();
            rest = behind;
        }
    }
}
