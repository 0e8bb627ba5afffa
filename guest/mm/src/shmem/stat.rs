//! What is known about an object. Source: Linux, fs/stat.c, `struct kstat`. Rules C8, C25.

use super::InodeId;
use crate::addr::PAGE_SHIFT;
use crate::huge::HPAGE_SHIFT;
use crate::memory::Memory;
use crate::platform::Platform;

/// Number of the internal mount that objects without a name live on. Source: proc_pid_maps(5) shows it as 00:01.
pub const SHM_MNT_DEV: u64 = 1;

/// What `fstat` tells of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kstat {
    /// Number of its file system.
    pub dev: u64,
    /// Its number there.
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
    /// Bytes of a block for input and output: of a page.
    pub blksize: u32,
    /// Last read, nanoseconds since 1970.
    pub atime_ns: i64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of anything, nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl<P: Platform> Memory<P> {
    /// What is known about an object.
    pub fn getattr(&self, id: InodeId) -> Kstat {
        let inode = self.inode(id);
        Kstat {
            dev: inode.i_sb().map_or(SHM_MNT_DEV, |sb| self.sb(sb).s_dev()),
            // Objects without a file system have no number of their own.
            ino: if inode.i_ino() != 0 {
                inode.i_ino()
            } else {
                u64::from(id.0.get())
            },
            mode: inode.i_mode(),
            nlink: inode.i_nlink(),
            uid: inode.i_uid(),
            gid: inode.i_gid(),
            size: inode.i_size(),
            blocks: inode.alloced() * 8,
            blksize: if self.is_hugetlb(id) {
                1 << HPAGE_SHIFT
            } else {
                1 << PAGE_SHIFT
            },
            atime_ns: inode.i_atime(),
            mtime_ns: inode.i_mtime(),
            ctime_ns: inode.i_ctime(),
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
        inode.set_i_ctime(self.platform.now_ns());
        Ok(())
    }
}
