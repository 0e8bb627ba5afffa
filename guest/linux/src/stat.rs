//! `struct stat`. Source: Linux, arch/x86/include/uapi/asm/stat.h, fs/stat.c; inode(7).

use faultlab_mm::Platform;
use faultlab_mm::shmem::Kstat;

use crate::Linux;
use crate::file::{File, Kind};

/// Bytes of a `struct stat`.
pub const STAT_BYTES: usize = 144;
/// Bytes of a block for input and output.
const BLKSIZE: u64 = 4096;
/// Number of the internal mount that objects without a name live on. Source: proc_pid_maps(5) shows it as 00:01.
const SHM_MNT_DEV: u64 = 1;

impl<P: Platform> Linux<'_, P> {
    /// `fstat`. A device is a character device that belongs to root.
    pub fn fstat(&self, file: File<'_>) -> [u8; STAT_BYTES] {
        const S_IFCHR: u32 = 0o020_000;
        match file.kind() {
            Kind::Object(inode) => encode(&self.memory.getattr(inode), SHM_MNT_DEV),
            _ => encode(
                &Kstat {
                    ino: 1,
                    mode: S_IFCHR | 0o600,
                    nlink: 1,
                    uid: 0,
                    gid: 0,
                    size: 0,
                    blocks: 0,
                    atime_s: 0,
                    mtime_s: 0,
                    ctime_s: 0,
                },
                SHM_MNT_DEV,
            ),
        }
    }
}

fn encode(stat: &Kstat, dev: u64) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &dev.to_le_bytes());
    put(8, &stat.ino.to_le_bytes());
    put(16, &stat.nlink.to_le_bytes());
    put(24, &stat.mode.to_le_bytes());
    put(28, &stat.uid.to_le_bytes());
    put(32, &stat.gid.to_le_bytes());
    put(48, &stat.size.to_le_bytes());
    put(56, &BLKSIZE.to_le_bytes());
    put(64, &stat.blocks.to_le_bytes());
    put(72, &stat.atime_s.to_le_bytes());
    put(88, &stat.mtime_s.to_le_bytes());
    put(104, &stat.ctime_s.to_le_bytes());
    bytes
}
