//! What is known about an object. Source: Linux, fs/stat.c, `struct kstat`. Rules C8, C25.

use super::InodeId;
use crate::memory::Memory;
use crate::platform::Platform;

/// What `fstat` tells of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kstat {
    /// Its number.
    pub ino: u64,
    /// Type and rights.
    pub mode: u32,
    /// Names.
    pub nlink: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes, in memory and in swap.
    pub blocks: u64,
    /// Last read, seconds since 1970.
    pub atime_s: i64,
    /// Last change of the content, seconds since 1970.
    pub mtime_s: i64,
    /// Last change of anything, seconds since 1970.
    pub ctime_s: i64,
}

impl<P: Platform> Memory<P> {
    /// What is known about an object.
    pub fn getattr(&self, id: InodeId) -> Kstat {
        let inode = self.inode(id);
        Kstat {
            ino: u64::from(id.0.get()),
            mode: inode.i_mode(),
            nlink: inode.i_nlink(),
            uid: inode.i_uid(),
            gid: inode.i_gid(),
            size: inode.i_size(),
            blocks: inode.alloced() * 8,
            atime_s: inode.i_atime(),
            mtime_s: inode.i_mtime(),
            ctime_s: inode.i_ctime(),
        }
    }

    /// Other rights; only the lowest 12 bits count.
    ///
    /// # Errors
    /// [`crate::Error::Eperm`] when rights to execute would change that are sealed. Rule C48.
    pub fn shmem_chmod(&self, id: InodeId, mode: u32) -> Result<(), crate::Error> {
        const S_IALLUGO: u32 = 0o7777;
        let inode = self.inode(id);
        let new = inode.i_mode() & !S_IALLUGO | mode & S_IALLUGO;
        if inode.seals() & super::seal::EXEC != 0 && (inode.i_mode() ^ new) & 0o111 != 0 {
            return Err(crate::Error::Eperm);
        }
        inode.set_i_mode(new);
        inode.set_i_ctime(self.platform.now_s());
        Ok(())
    }
}
