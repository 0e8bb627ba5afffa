//! `read`, `write` and their relatives on memory objects. Devices are the kernel's.
//!
//! Source: Linux, fs/read_write.c (`vfs_read`, `rw_verify_area`, `generic_file_llseek_size`), fs/open.c (`do_sys_ftruncate`, `vfs_fallocate`).
//! Rules C13, C14, C18, C21, C24.

use faultlab_mm::Platform;
use faultlab_mm::mmap::TASK_SIZE;
use faultlab_mm::shmem::{InodeId, Whence, falloc};
use faultlab_mm::vma::MmId;

use crate::file::{File, Kind, o};
use crate::fsnotify::fs;
use crate::writer::Writer;
use crate::{Errno, Linux};

/// Most bytes that one call moves. Source: Linux `MAX_RW_COUNT`.
pub const RW_MAX_BYTES: u64 = 0x7fff_f000;
/// Largest position. Source: Linux `MAX_LFS_FILESIZE`.
const POSITION_MAX: u64 = i64::MAX as u64;

/// A program's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Whose it is.
    pub mm: MmId,
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
}

/// Where a call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Where the last one ended; the description remembers.
    Position,
    /// There.
    Offset(u64),
}

impl<P: Platform> Linux<'_, P> {
    /// `read` and `pread`: how many bytes there were.
    ///
    /// # Errors
    /// `EBADF` when not opened for reading, `EFAULT`, `EINVAL` for positions out of range, `EIO`, `ENOMEM`.
    #[inline]
    pub fn read(&self, file: File<'_>, inode: InodeId, at: At, buffer: Buffer) -> Result<u64, Errno> {
        if !file.readable() {
            return Err(Errno::EBADF);
        }
        let (pos, len) = verify_area(file, at, buffer)?;
        let known = self.object(inode).i_atime();
        let done = self.memory.shmem_file_read(inode, pos, buffer.mm, buffer.addr, len)?;
        if file.f_flags() & o::NOATIME != 0 {
            self.object(inode).set_i_atime(known);
        }
        if at == At::Position {
            file.set_f_pos(pos + done);
        }
        if done != 0 {
            self.fsnotify(inode, fs::ACCESS);
        }
        Ok(done)
    }

    /// `write` and `pwrite`: how many bytes were taken. With `O_APPEND` they go to the end, whatever `at` says; pwrite(2), "Bugs".
    ///
    /// # Errors
    /// `EBADF` when not opened for writing, `EFAULT`, `EINVAL` and `EFBIG` for positions out of range, [`Errno::XFSZ`], `EPERM` for sealed
    /// objects, `EIO`, `ENOMEM`.
    #[inline]
    pub fn write(&self, writer: Writer, file: File<'_>, inode: InodeId, at: At, buffer: Buffer) -> Result<u64, Errno> {
        if !file.writable() {
            return Err(Errno::EBADF);
        }
        let (mut pos, len) = verify_area(file, at, buffer)?;
        if len == 0 {
            return Ok(0);
        }
        if file.f_flags() & o::APPEND != 0 {
            pos = self.memory.i_size(inode);
        }
        let len = writer.limit(pos, len)?;
        if pos >= POSITION_MAX {
            return Err(Errno::EFBIG);
        }
        let len = len.min(POSITION_MAX - pos);
        self.remove_privs(writer, inode);
        let done = self.memory.shmem_file_write(inode, pos, buffer.mm, buffer.addr, len)?;
        if at == At::Position {
            file.set_f_pos(pos + done);
        }
        self.fsnotify(inode, fs::MODIFY);
        Ok(done)
    }

    /// `lseek`: the new position.
    ///
    /// # Errors
    /// `ESPIPE` for devices, `EINVAL` for unknown kinds and for positions out of range, `ENXIO` where there is nothing. Rule C21.
    pub fn lseek(&self, file: File<'_>, offset: u64, whence: u64) -> Result<u64, Errno> {
        let relative = |base: u64| base.checked_add_signed(offset.cast_signed());
        let wanted = match (file.kind(), whence as u32) {
            (Kind::Null | Kind::Zero | Kind::Full | Kind::Random | Kind::Userfault(_), _) => Some(0),
            // The number of an eventfd is kept where others have a position.
            (Kind::Event { .. } | Kind::Epoll | Kind::Timer | Kind::Signal | Kind::Pid | Kind::Inotify, _) => {
                return Ok(0);
            }
            (Kind::Object(_) | Kind::Directory(_) | Kind::Proc(_), 0) => Some(offset),
            (Kind::Object(_) | Kind::Directory(_) | Kind::Proc(_), 1) => relative(file.f_pos()),
            (Kind::Object(inode), 2) => relative(self.memory.i_size(inode)),
            (Kind::Object(inode), 3) => Some(self.seek_content(inode, offset, Whence::Data)?),
            (Kind::Object(inode), 4) => Some(self.seek_content(inode, offset, Whence::Hole)?),
            (Kind::Proc(inode), 2) if self.is_knob(inode) => Some(offset),
            (Kind::Object(_) | Kind::Directory(_) | Kind::Proc(_), _) => None,
            _ => return Err(Errno::ESPIPE),
        };
        let position = wanted
            .filter(|&position| position <= POSITION_MAX)
            .ok_or(Errno::EINVAL)?;
        file.set_f_pos(position);
        Ok(position)
    }

    /// Where there is data, or none. A file of ramfs is all data. Rules C21, C52.
    fn seek_content(&self, inode: InodeId, offset: u64, whence: Whence) -> Result<u64, Errno> {
        if !self.is_ramfs(inode) {
            return Ok(self.memory.shmem_seek(inode, offset, whence)?);
        }
        let size = self.memory.i_size(inode);
        match whence {
            _ if offset >= size => Err(Errno::ENXIO),
            Whence::Data => Ok(offset),
            Whence::Hole => Ok(size),
        }
    }

    /// `ftruncate`.
    ///
    /// # Errors
    /// `EINVAL` for sizes below 0 and for what is not opened for writing, `EPERM` for sealed objects, `ENOMEM`, `EIO`. Rule C18.
    pub fn ftruncate(&self, writer: Writer, file: File<'_>, size: u64) -> Result<(), Errno> {
        match file.kind() {
            Kind::Object(inode) if file.writable() => self.set_size(writer, inode, size),
            Kind::Proc(_) if file.writable() => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Gives a file another size.
    ///
    /// # Errors
    /// [`Errno::XFSZ`]; `EPERM` for sealed objects, `EINVAL` for sizes below 0, `ENOMEM`, `EIO`.
    pub(crate) fn set_size(&self, writer: Writer, inode: InodeId, size: u64) -> Result<(), Errno> {
        self.may_have_size(writer, inode, size)?;
        self.memory.shmem_truncate(inode, size)?;
        self.remove_privs(writer, inode);
        self.fsnotify(inode, fs::MODIFY);
        Ok(())
    }

    /// `fallocate`. The order of the checks is Linux's. Rule C24.
    ///
    /// # Errors
    /// `EINVAL`, `EOPNOTSUPP`, `EBADF`, `ENODEV`, `EFBIG`; as `Memory::shmem_fallocate`.
    pub fn fallocate(&self, writer: Writer, file: File<'_>, mode: u64, offset: u64, len: u64) -> Result<(), Errno> {
        /// `FALLOC_FL_UNSHARE_RANGE`, `FALLOC_FL_ZERO_RANGE`: known, but not to shmem.
        const ELSEWHERE: u32 = 0x50;
        let mode = mode as u32;
        let (offset, len) = (offset.cast_signed(), len.cast_signed());
        if offset < 0 || len <= 0 {
            return Err(Errno::EINVAL);
        }
        let hole = falloc::PUNCH_HOLE | falloc::KEEP_SIZE;
        let known = mode & !falloc::KEEP_SIZE == 0
            || mode == hole
            || (mode & !falloc::KEEP_SIZE & !ELSEWHERE == 0 && (mode & ELSEWHERE).is_power_of_two());
        if !known {
            return Err(Errno::EOPNOTSUPP);
        }
        if !file.writable() {
            return Err(Errno::EBADF);
        }
        let inode = match file.kind() {
            Kind::Object(inode) => inode,
            Kind::Pipe(_) => return Err(Errno::ESPIPE),
            _ => return Err(Errno::ENODEV),
        };
        if offset.checked_add(len).is_none() {
            return Err(Errno::EFBIG);
        }
        if self.is_ramfs(inode) {
            return Err(Errno::EOPNOTSUPP);
        }
        let (offset, len) = (offset.cast_unsigned(), len.cast_unsigned());
        // Also where the size stays: blocks are made.
        if mode & !falloc::KEEP_SIZE == 0 {
            self.may_have_size(writer, inode, offset + len)?;
        }
        self.memory.shmem_fallocate(inode, mode, offset, len)?;
        self.remove_privs(writer, inode);
        self.fsnotify(inode, fs::MODIFY);
        Ok(())
    }
}

/// Where a call begins, and how many bytes it may move. Source: Linux `access_ok`, `rw_verify_area`.
#[inline]
pub(crate) fn verify_area(file: File<'_>, at: At, buffer: Buffer) -> Result<(u64, u64), Errno> {
    let pos = match at {
        At::Position => file.f_pos(),
        At::Offset(offset) => offset,
    };
    if buffer.addr.checked_add(buffer.len).is_none_or(|end| end > TASK_SIZE) {
        return Err(Errno::EFAULT);
    }
    if pos.checked_add(buffer.len).is_none_or(|end| end > POSITION_MAX) {
        return Err(Errno::EINVAL);
    }
    Ok((pos, buffer.len.min(RW_MAX_BYTES)))
}
