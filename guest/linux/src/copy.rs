//! `sendfile` and `copy_file_range`: bytes from file to file, without the program. Source: Linux, fs/read_write.c (`do_sendfile`,
//! `vfs_copy_file_range`), fs/splice.c; sendfile(2), copy_file_range(2). Rule C22.
//!
//! To pipes: `pipe/splice.rs`. Differs from Linux: `sendfile` goes to files and pipes only.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, Position};

use crate::file::{File, Kind, o};
use crate::fsnotify::fs;
use crate::read_write::{At, RW_MAX_BYTES};
use crate::writer::Writer;
use crate::{Errno, Linux};

/// Largest position.
const POSITION_MAX: u64 = i64::MAX as u64;

/// A file, and where in it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: File<'a>,
    /// Where.
    pub at: At,
}

impl Place<'_> {
    pub(crate) fn pos(self) -> u64 {
        match self.at {
            At::Position => self.file.f_pos(),
            At::Offset(offset) => offset,
        }
    }

    /// So many bytes were copied.
    pub(crate) fn advance(self, by: u64) {
        if self.at == At::Position {
            self.file.set_f_pos(self.file.f_pos() + by);
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// `sendfile`: how many bytes were copied to the position of `to`; whether there was more, and `RLIMIT_FSIZE` forbade it: the process gets
    /// a `SIGXFSZ`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for what is no file and for appending, `ESPIPE` for an offset into what has none; as a read and a write.
    pub fn sendfile(&self, writer: Writer, to: File<'_>, from: Place<'_>, count: u64) -> Result<(u64, bool), Errno> {
        if !from.file.readable() {
            return Err(Errno::EBADF);
        }
        let source = match from.file.kind() {
            Kind::Object(inode) => inode,
            _ if from.at != At::Position => return Err(Errno::ESPIPE),
            _ => return Err(Errno::EINVAL),
        };
        if !to.writable() {
            return Err(Errno::EBADF);
        }
        let target = match to.kind() {
            Kind::Object(inode) => inode,
            // It may have to wait: `Linux::sendfile_to_pipe`.
            Kind::Pipe(_) => return Err(Errno::RESTART),
            _ => return Err(Errno::EINVAL),
        };
        if to.f_flags() & o::APPEND != 0 {
            return Err(Errno::EINVAL);
        }
        let to = Place {
            file: to,
            at: At::Position,
        };
        let end = to.pos();
        let wanted = count
            .min(RW_MAX_BYTES)
            .min(self.memory.i_size(source).saturating_sub(from.pos()));
        let done = self.copy(writer, (from, source), (to, target), count)?;
        Ok((done, done < wanted && end.saturating_add(done) == writer.fsize))
    }

    /// `copy_file_range`: how many bytes were copied.
    ///
    /// # Errors
    /// `EINVAL` for flags, for what is no file, and for ranges of one file that overlap; `EISDIR`, `EBADF`, `EXDEV`; as a read and a write.
    pub fn copy_file_range(
        &self,
        writer: Writer,
        from: Place<'_>,
        to: Place<'_>,
        len: u64,
        flags: u64,
    ) -> Result<u64, Errno> {
        if flags as u32 != 0 {
            return Err(Errno::EINVAL);
        }
        let (source, target) = match (from.file.kind(), to.file.kind()) {
            (Kind::Object(source), Kind::Object(target)) => (source, target),
            (Kind::Directory(_), _) | (_, Kind::Directory(_)) => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        };
        if !from.file.readable() || !to.file.writable() || to.file.f_flags() & o::APPEND != 0 {
            return Err(Errno::EBADF);
        }
        if self.object(source).i_sb() != self.object(target).i_sb() {
            return Err(Errno::EXDEV);
        }
        let available = self.memory.i_size(source).saturating_sub(from.pos());
        let len = len.min(available);
        let apart = from.pos().saturating_add(len) <= to.pos() || to.pos().saturating_add(len) <= from.pos();
        if source == target && !apart {
            return Err(Errno::EINVAL);
        }
        self.copy(writer, (from, source), (to, target), len)
    }

    fn copy(
        &self,
        writer: Writer,
        (from, source): (Place<'_>, InodeId),
        (to, target): (Place<'_>, InodeId),
        len: u64,
    ) -> Result<u64, Errno> {
        let len = len.min(RW_MAX_BYTES);
        let fits = |pos: u64| pos.checked_add(len).is_some_and(|end| end <= POSITION_MAX);
        if !fits(from.pos()) || !fits(to.pos()) {
            return Err(Errno::EINVAL);
        }
        let len = if len == 0 { 0 } else { writer.limit(to.pos(), len)? };
        self.remove_privs(writer, target);
        let known = self.object(source).i_atime();
        let source = Position {
            id: source,
            pos: from.pos(),
        };
        let target = Position {
            id: target,
            pos: to.pos(),
        };
        let done = self.memory.shmem_copy(source, target, len)?;
        if from.file.f_flags() & o::NOATIME != 0 {
            self.object(source.id).set_i_atime(known);
        }
        from.advance(done);
        to.advance(done);
        if done != 0 {
            self.fsnotify(source.id, fs::ACCESS);
            self.fsnotify(target.id, fs::MODIFY);
        }
        Ok(done)
    }
}
