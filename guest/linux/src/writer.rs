//! Who writes, as far as that limits what becomes of a file: `RLIMIT_FSIZE`, and the set-id bits that others' writes take.
//!
//! Source: Linux, fs/read_write.c (`generic_write_check_limits`), fs/attr.c (`inode_newsize_ok`, `setattr_should_drop_suidgid`), fs/inode.c
//! (`file_remove_privs`); getrlimit(2), write(2), truncate(2). Rule C17.
//!
//! Beyond the limit a call is refused with [`Errno::XFSZ`], for which the kernel sends `SIGXFSZ` and returns `EFBIG`.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, inode_flag};

use crate::cred::Cred;
use crate::vfs::s;
use crate::{Errno, Linux};

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Whether it may do everything.
    pub privileged: bool,
    /// Its effective group.
    pub group: u32,
    /// Bytes that its files may have: `RLIMIT_FSIZE`; `u64::MAX` is no limit.
    pub fsize: u64,
}

impl Writer {
    /// One that nothing limits.
    #[cfg(test)]
    pub(crate) const ANY: Self = Self {
        privileged: true,
        group: 0,
        fsize: u64::MAX,
    };

    /// A process with these ids and this limit.
    #[inline(always)]
    #[must_use]
    pub fn new(cred: Cred, fsize: u64) -> Self {
        Self {
            privileged: cred.privileged(),
            group: cred.group.effective,
            fsize,
        }
    }

    /// How many of `len` bytes may be written from `pos` on.
    ///
    /// # Errors
    /// [`Errno::XFSZ`] for none.
    #[inline(always)]
    pub(crate) fn limit(&self, pos: u64, len: u64) -> Result<u64, Errno> {
        match self.fsize.checked_sub(pos) {
            None | Some(0) => Err(Errno::XFSZ),
            Some(left) => Ok(len.min(left)),
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// Whether a file may become `size` bytes long; one that is longer already may stay so.
    ///
    /// # Errors
    /// [`Errno::XFSZ`].
    pub(crate) fn may_have_size(&self, writer: Writer, inode: InodeId, size: u64) -> Result<(), Errno> {
        if size > writer.fsize && size > self.memory.i_size(inode) && size.cast_signed() >= 0 {
            return Err(Errno::XFSZ);
        }
        Ok(())
    }

    /// Content changes: what made it run with more rights than the writer's goes.
    #[inline(always)]
    pub(crate) fn remove_privs(&self, writer: Writer, inode: InodeId) {
        let object = self.object(inode);
        if object.i_mode() & (s::ISUID | s::ISGID) != 0 || object.i_flags() & inode_flag::XATTRS != 0 {
            self.remove_privs_slow(writer, inode);
        }
    }

    #[cold]
    #[inline(never)]
    fn remove_privs_slow(&self, writer: Writer, inode: InodeId) {
        self.remove_capability(inode);
        let object = self.object(inode);
        let mode = object.i_mode();
        let foreign = writer.group != object.i_gid() && !self.has_group(object.i_gid());
        // Without the group's right to execute the bit means something else, and stays with the group's own.
        let group = if mode & 0o010 != 0 || foreign { s::ISGID } else { 0 };
        let gone = mode & (s::ISUID | group);
        if gone != 0 && !writer.privileged {
            object.set_i_mode(mode & !gone);
            self.changed(inode, false);
        }
    }
}
