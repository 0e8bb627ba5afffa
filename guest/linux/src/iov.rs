//! A program's bytes, one buffer or several, as a call goes through them. Source: Linux, lib/iov_iter.c; readv(2).
//!
//! Differs from Linux: vectors are not copied first. They are checked at the start and read again, one at a time, when the call reaches them;
//! what a program changes in between is its own affair, and is checked again.

use faultlab_mm::Platform;
use faultlab_mm::addr::{Pfn, VirtAddr};
use faultlab_mm::mmap::TASK_SIZE;
use faultlab_mm::vma::MmId;

use crate::read_write::{Buffer, RW_MAX_BYTES};
use crate::{Errno, Linux};

/// Vectors of a call at most. Source: Linux `UIO_MAXIOV`.
const VECTORS_MAX: u64 = 1024;
/// Bytes of a `struct iovec`.
const VECTOR_BYTES: u64 = 16;
const PAGE_BYTES: u64 = 4096;

/// What is left of a program's buffers.
#[derive(Clone, Copy, Debug)]
pub struct IovIter {
    /// The first of them.
    buffer: Buffer,
    /// Address of the next vector, and how many there are.
    vectors: (u64, u64),
    /// Bytes in all of them.
    left: u64,
}

impl IovIter {
    /// Of one buffer.
    ///
    /// # Errors
    /// `EFAULT` if it reaches beyond what programs have.
    pub fn of_buffer(buffer: Buffer) -> Result<Self, Errno> {
        check_range(buffer.addr, buffer.len)?;
        let left = buffer.len.min(RW_MAX_BYTES);
        Ok(Self {
            buffer: Buffer { len: left, ..buffer },
            vectors: (0, 0),
            left,
        })
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

fn check_range(addr: u64, len: u64) -> Result<(), Errno> {
    match addr.checked_add(len) {
        Some(end) if end <= TASK_SIZE => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

impl<P: Platform> Linux<'_, P> {
    /// Of `count` vectors at `addr` in a program's memory.
    ///
    /// # Errors
    /// `EINVAL` for too many and for lengths below 0, `EFAULT`.
    pub fn iov_iter(&self, mm: MmId, addr: u64, count: u64) -> Result<IovIter, Errno> {
        if count > VECTORS_MAX {
            return Err(Errno::EINVAL);
        }
        for index in 0..count {
            if self.vector(mm, addr, index)?.1.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
        }
        let mut left = 0u64;
        for index in 0..count {
            let (base, len) = self.vector(mm, addr, index)?;
            check_range(base, len)?;
            left = left.saturating_add(len).min(RW_MAX_BYTES);
        }
        let buffer = Buffer { mm, addr: 0, len: 0 };
        Ok(IovIter {
            buffer,
            vectors: (addr, count),
            left,
        })
    }

    fn vector(&self, mm: MmId, addr: u64, index: u64) -> Result<(u64, u64), Errno> {
        let mut bytes = [0; VECTOR_BYTES as usize];
        self.peek_user(mm, addr.wrapping_add(index * VECTOR_BYTES), &mut bytes)?;
        let all = u128::from_le_bytes(bytes);
        Ok((all as u64, (all >> 64) as u64))
    }

    /// Copies a few of a program's bytes.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn peek_user(&self, mm: MmId, addr: u64, to: &mut [u8]) -> Result<(), Errno> {
        check_range(addr, to.len() as u64)?;
        let mut page = None;
        for (at, byte) in (addr..).zip(to) {
            let offset = at % PAGE_BYTES;
            let pfn = match page {
                Some(pfn) if offset != 0 => pfn,
                _ => self.memory.get_user_page(mm, VirtAddr(at - offset), false)?,
            };
            page = Some(pfn);
            *byte = self.memory.platform.frame(pfn)[offset as usize / 8].get().to_le_bytes()[offset as usize % 8];
        }
        Ok(())
    }

    /// The next bytes that lie in one page, at most `most`: address and length. `None` when there are none.
    fn next_piece(&self, iter: &mut IovIter, most: u64) -> Result<Option<(u64, u64)>, Errno> {
        let most = most.min(iter.left);
        if most == 0 {
            return Ok(None);
        }
        while iter.buffer.len == 0 {
            let (addr, count) = iter.vectors;
            if count == 0 {
                iter.left = 0;
                return Ok(None);
            }
            let (base, len) = self.vector(iter.buffer.mm, addr, 0)?;
            check_range(base, len)?;
            iter.vectors = (addr.wrapping_add(VECTOR_BYTES), count - 1);
            (iter.buffer.addr, iter.buffer.len) = (base, len);
        }
        let Buffer { addr, len, .. } = iter.buffer;
        Ok(Some((addr, len.min(most).min(PAGE_BYTES - addr % PAGE_BYTES))))
    }

    fn forward(iter: &mut IovIter, by: u64) {
        iter.buffer.addr += by;
        iter.buffer.len -= by;
        iter.left -= by;
    }

    /// Leaves out up to `by` bytes: those that the call moved before it waited.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn skip(&self, iter: &mut IovIter, by: u64) -> Result<(), Errno> {
        let mut left = by;
        while let Some((_, len)) = self.next_piece(iter, left)? {
            Self::forward(iter, len);
            left -= len;
        }
        Ok(())
    }

    /// The next bytes in one page, at most `most`, to be read or written where they are: frame, first byte, how many. `None` when there are none.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn next_in_frame(&self, iter: &mut IovIter, most: u64, write: bool) -> Result<Option<(Pfn, u64, u64)>, Errno> {
        let Some((addr, len)) = self.next_piece(iter, most)? else {
            return Ok(None);
        };
        let offset = addr % PAGE_BYTES;
        let pfn = self
            .memory
            .get_user_page(iter.buffer.mm, VirtAddr(addr - offset), write)?;
        Ok(Some((pfn, offset, len)))
    }

    /// So many of those bytes are done with.
    pub fn done(&self, iter: &mut IovIter, by: u64) {
        Self::forward(iter, by);
    }

    /// Copies `len` of a program's bytes to a frame, at `to`: (frame, first byte). There are so many left.
    ///
    /// # Errors
    /// `EFAULT`; some may have been copied.
    pub(crate) fn copy_from_iter(&self, to: (Pfn, u64), iter: &mut IovIter, len: u64) -> Result<(), Errno> {
        let mut done = 0;
        while let Some((addr, piece)) = self.next_piece(iter, len - done)? {
            let offset = addr % PAGE_BYTES;
            let user = self
                .memory
                .get_user_page(iter.buffer.mm, VirtAddr(addr - offset), false)?;
            self.memory
                .platform
                .copy_bytes((to.0, (to.1 + done) as usize), (user, offset as usize), piece as usize);
            Self::forward(iter, piece);
            done += piece;
        }
        if done == len { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies `len` bytes of a frame from `from` on to a program. There is room for so many.
    ///
    /// # Errors
    /// As [`Linux::copy_from_iter`].
    pub(crate) fn copy_to_iter(&self, iter: &mut IovIter, from: (Pfn, u64), len: u64) -> Result<(), Errno> {
        let mut done = 0;
        while let Some((addr, piece)) = self.next_piece(iter, len - done)? {
            let offset = addr % PAGE_BYTES;
            let user = self
                .memory
                .get_user_page(iter.buffer.mm, VirtAddr(addr - offset), true)?;
            self.memory.platform.copy_bytes(
                (user, offset as usize),
                (from.0, (from.1 + done) as usize),
                piece as usize,
            );
            Self::forward(iter, piece);
            done += piece;
        }
        if done == len { Ok(()) } else { Err(Errno::EFAULT) }
    }
}
