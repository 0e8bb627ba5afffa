//! `struct stat` and `struct statx`. Source: Linux, arch/x86/include/uapi/asm/stat.h, include/uapi/linux/stat.h, fs/stat.c; inode(7), statx(2).

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, Kstat, SHM_MNT_DEV};

use crate::Linux;
use crate::file::{File, Kind};
use crate::vfs::s;

/// Bytes of a `struct stat`.
pub const STAT_BYTES: usize = 144;
/// Bytes of a `struct statx`.
pub const STATX_BYTES: usize = 256;
/// Bytes of a block for input and output, of what has no pages.
const BLKSIZE: u32 = 4096;

/// What is known about something that can be opened.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    stat: Kstat,
    /// Number of the device that it is, as `st_rdev`.
    rdev: u64,
}

impl<P: Platform> Linux<'_, P> {
    /// Of what a descriptor names. A stream is a character device that belongs to root.
    pub fn fstat(&self, file: File<'_>) -> Stat {
        match (file.inode(), file.kind()) {
            (Some(inode), _) => self.stat(inode),
            (None, kind) => Stat::of_stream(kind),
        }
    }

    /// Of an object.
    pub fn stat(&self, inode: InodeId) -> Stat {
        let mut stat = self.memory.getattr(inode);
        if self.is_proc(inode) {
            stat.nlink = self.proc_nlink(inode);
        }
        let is_device = matches!(stat.mode & s::IFMT, s::IFCHR | s::IFBLK);
        Stat {
            stat,
            rdev: if is_device { self.object(inode).i_private() } else { 0 },
        }
    }
}

impl Stat {
    /// Its type, one of `S_IF*`.
    pub fn kind(&self) -> u32 {
        self.stat.mode & s::IFMT
    }

    /// Number of the device that it is; 0 for others.
    pub fn rdev(&self) -> u64 {
        self.rdev
    }

    fn of_stream(kind: Kind) -> Self {
        let (ino, file_type) = match kind {
            Kind::Stream(stream) => (stream + 1, s::IFCHR),
            // Of no type at all. Source: Linux, fs/anon_inodes.c.
            Kind::Userfault(_)
            | Kind::Event { .. }
            | Kind::Epoll
            | Kind::Timer
            | Kind::Signal
            | Kind::Pid
            | Kind::Inotify => (1, 0),
            _ => (1, s::IFCHR),
        };
        let stat = Kstat {
            dev: SHM_MNT_DEV,
            ino,
            mode: file_type | 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            size: 0,
            blocks: 0,
            blksize: BLKSIZE,
            atime_ns: 0,
            mtime_ns: 0,
            ctime_ns: 0,
        };
        Self { stat, rdev: 0 }
    }

    /// As a `struct stat`.
    #[must_use]
    pub fn encode(&self) -> [u8; STAT_BYTES] {
        let (mut bytes, stat) = ([0; STAT_BYTES], &self.stat);
        let mut put = Fields(&mut bytes);
        put.u64(0, stat.dev);
        put.u64(8, stat.ino);
        put.u64(16, stat.nlink);
        put.u32(24, stat.mode);
        put.u32(28, stat.uid);
        put.u32(32, stat.gid);
        put.u64(40, self.rdev);
        put.u64(48, stat.size);
        put.u64(56, u64::from(stat.blksize));
        put.u64(64, stat.blocks);
        for (at, time) in [(72, stat.atime_ns), (88, stat.mtime_ns), (104, stat.ctime_ns)] {
            put.time(at, time);
        }
        bytes
    }

    /// As a `struct statx`: the basic fields, whatever was asked for.
    #[must_use]
    pub fn encode_statx(&self) -> [u8; STATX_BYTES] {
        const BASIC_STATS: u32 = 0x7ff;
        let (mut bytes, stat) = ([0; STATX_BYTES], &self.stat);
        let mut put = Fields(&mut bytes);
        put.u32(0, BASIC_STATS);
        put.u32(4, stat.blksize);
        put.u32(16, stat.nlink as u32);
        put.u32(20, stat.uid);
        put.u32(24, stat.gid);
        // 16 bits; the two above are spare.
        put.u32(28, stat.mode);
        put.u64(32, stat.ino);
        put.u64(40, stat.size);
        put.u64(48, stat.blocks);
        for (at, time) in [(64, stat.atime_ns), (96, stat.ctime_ns), (112, stat.mtime_ns)] {
            put.time(at, time);
        }
        put.u32(128, (self.rdev >> 8) as u32);
        put.u32(132, self.rdev as u32 & 0xff);
        put.u32(140, stat.dev as u32);
        bytes
    }
}

/// A structure of C, filled field by field: (first byte, value).
pub(crate) struct Fields<'a>(pub(crate) &'a mut [u8]);

impl Fields<'_> {
    pub(crate) fn u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Seconds, then nanoseconds.
    fn time(&mut self, at: usize, ns: i64) {
        const NS_PER_S: i64 = 1_000_000_000;
        self.u64(at, ns.div_euclid(NS_PER_S).cast_unsigned());
        self.u64(at + 8, ns.rem_euclid(NS_PER_S).cast_unsigned());
    }
}
