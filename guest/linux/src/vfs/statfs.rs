//! `statfs`. Source: Linux, fs/statfs.c, mm/shmem.c (`shmem_statfs`); statfs(2). Rules C32, C33, C52.

use faultlab_mm::Platform;
use faultlab_mm::huge::HPAGE_SIZE;
use faultlab_mm::shmem::{FsType, InodeId, super_flag};

use super::NAME_MAX;
use crate::Linux;
use crate::stat::Fields;

/// Bytes of a `struct statfs`.
pub const STATFS_BYTES: usize = 120;
/// `f_type`. Source: Linux, include/uapi/linux/magic.h.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const PROC_MAGIC: u64 = 0x9fa0;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const BLOCK_BYTES: u64 = 4096;
/// `f_flags`: that they are valid; that access times are kept up roughly; that nothing may be changed.
const ST_VALID: u64 = 0x20;
const ST_RELATIME: u64 = 0x1000;
const ST_RDONLY: u64 = 1;

impl<P: Platform> Linux<'_, P> {
    /// What is known about the file system of an object. That of memory files has no limits.
    pub fn statfs(&self, inode: InodeId) -> [u8; STATFS_BYTES] {
        let id = self.object(inode).i_sb();
        let sb = id.map(|id| self.super_block(id));
        let (blocks, bfree) = sb.map_or((0, 0), |sb| match sb.max_blocks() {
            0 => (0, 0),
            max => (max, max - sb.used_blocks()),
        });
        let limited = id.filter(|&id| self.super_block(id).max_inodes() != 0);
        let (files, ffree) = limited.map_or((0, 0), |id| {
            (self.super_block(id).max_inodes(), self.memory.free_inodes(id))
        });
        let huge = self.memory.is_hugetlb(inode);
        let block_bytes = if huge { HPAGE_SIZE } else { BLOCK_BYTES };
        let magic = match sb.map(faultlab_mm::shmem::SuperBlock::s_type) {
            Some(FsType::Ramfs) => RAMFS_MAGIC,
            Some(FsType::Proc) => PROC_MAGIC,
            None if huge => HUGETLBFS_MAGIC,
            Some(FsType::Sysfs) => SYSFS_MAGIC,
            Some(FsType::Tmpfs) | None => TMPFS_MAGIC,
        };
        let flags = sb.map_or(ST_VALID, |sb| {
            let readonly = if sb.s_flags() & super_flag::RDONLY != 0 {
                ST_RDONLY
            } else {
                0
            };
            ST_VALID | ST_RELATIME | readonly
        });
        let mut bytes = [0; STATFS_BYTES];
        let mut put = Fields(&mut bytes);
        put.u64(0, magic);
        put.u64(8, block_bytes);
        put.u64(16, blocks);
        put.u64(24, bfree);
        put.u64(32, bfree);
        put.u64(40, files);
        put.u64(48, ffree);
        put.u64(56, sb.map_or(0, faultlab_mm::shmem::SuperBlock::s_dev));
        put.u64(64, NAME_MAX as u64);
        put.u64(72, block_bytes);
        put.u64(80, flags);
        bytes
    }
}
