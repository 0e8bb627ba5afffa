//! The tree of names over tmpfs and ramfs: directories, paths, mounts, and the calls that take a path.
//!
//! | file | Linux | what it is |
//! |---|---|---|
//! | `dentry` | fs/dcache.c, fs/libfs.c | names in directories, and how they are found |
//! | `namei` | fs/namei.c | from a path to an object |
//! | `permission` | fs/namei.c, fs/attr.c | who may do what |
//! | `create` | fs/namei.c, mm/shmem.c | `mkdir mknod link symlink`, new files |
//! | `remove` | fs/namei.c, fs/libfs.c | `unlink rmdir` |
//! | `rename` | fs/namei.c, fs/libfs.c | `rename` |
//! | `open` | fs/open.c, fs/namei.c | `open` |
//! | `symlink` | mm/shmem.c | where targets are kept, `readlink` |
//! | `readdir` | fs/libfs.c | `getdents64` |
//! | `attributes` | fs/attr.c, fs/open.c, fs/utimes.c | `chmod chown utimensat truncate access` |
//! | `xattr` | fs/xattr.c | extended attributes |
//! | `cwd` | fs/d_path.c, fs/fs_struct.c | `chdir getcwd` |
//! | `path` | fs/d_path.c | from an object to its path |
//! | `mount`, `umount` | fs/namespace.c | `mount`, `umount2` |
//! | `export` | – | a tree handed out to whoever runs the machine |
//! | `below` | fs/dcache.c (`d_walk`) | walks of all that is below a directory |
//! | `options` | mm/shmem.c | what is behind `-o` |
//! | `statfs` | fs/statfs.c | `statfs` |
//!
//! An object of a file system is an [`Inode`] of the memory manager, which keeps its mode, owner, times and pages;
//! this layer adds names. Inodes, entries and mounts are records over frames, so their number has no limit but memory and the mount's.
//!
//! # Invariants
//! Each entry of a directory holds one reference to its object, and an object has as many names as entries (a directory: one, its own
//! `..` and those of its subdirectories are counted besides). A mount holds its root and what it covers.
//!
//! # Locks
//! One process runs in the kernel at a time and never waits there: a path is walked, and the tree then changed, as one step, so that the
//! walk takes no references. With a second vCPU this needs a lock around each call (Linux: `i_rwsem`, `s_vfs_rename_mutex`).

mod attributes;
mod below;
mod create;
mod cwd;
mod dentry;
mod export;
mod mount;
mod namei;
mod open;
mod options;
mod path;
mod permission;
mod readdir;
mod remove;
mod rename;
mod statfs;
mod symlink;
#[cfg(test)]
mod tests;
mod umount;
mod xattr;

pub use attributes::{Owner, Time};
pub use export::Export;
pub use mount::{MountArguments, mount_flag};
pub use readdir::Entry;
pub use rename::rename_flag;
pub use statfs::STATFS_BYTES;
pub use xattr::{XATTR_NAME_MAX, XATTR_SIZE_MAX, xattr_flag};

pub(crate) use dentry::{DentryId, Names};
pub(crate) use mount::{MountInfo, Mounts};
pub(crate) use permission::may;
pub(crate) use symlink::Text;

use faultlab_mm::Platform;
use faultlab_mm::shmem::{Inode, InodeId, SuperBlock, SuperId, inode_flag};

use crate::Linux;
use crate::cred::Cred;
use crate::fdtable::TableId;

/// Bytes of a path at most, its end counted. Source: Linux `PATH_MAX`.
pub const PATH_MAX: usize = 4096;
/// Bytes of a name at most. Source: Linux `NAME_MAX`.
pub const NAME_MAX: usize = 255;
/// The directory that relative paths begin in, instead of a descriptor. Source: openat(2).
pub const AT_FDCWD: i32 = -100;

/// Flags of calls on paths. Source: the man pages of `fstatat`, `linkat`, `unlinkat`, `faccessat`.
pub mod at {
    /// The last link is not followed.
    pub const SYMLINK_NOFOLLOW: u32 = 0x100;
    /// `faccessat`: for the effective ids.
    pub const EACCESS: u32 = 0x200;
    /// `unlinkat`: as `rmdir`.
    pub const REMOVEDIR: u32 = 0x200;
    /// `linkat`: the last link is followed.
    pub const SYMLINK_FOLLOW: u32 = 0x400;
    /// What would be mounted by looking is not.
    pub const NO_AUTOMOUNT: u32 = 0x800;
    /// The empty path is the descriptor's object itself.
    pub const EMPTY_PATH: u32 = 0x1000;
    /// `statx`: how fresh, which is all the same here.
    pub const STATX_SYNC_TYPE: u32 = 0x6000;
}

/// Types of files in a mode. Source: inode(7).
pub mod s {
    /// The bits of the type.
    pub const IFMT: u32 = 0o170_000;
    /// Socket.
    pub const IFSOCK: u32 = 0o140_000;
    /// Symbolic link.
    pub const IFLNK: u32 = 0o120_000;
    /// Regular file.
    pub const IFREG: u32 = 0o100_000;
    /// Block device.
    pub const IFBLK: u32 = 0o060_000;
    /// Directory.
    pub const IFDIR: u32 = 0o040_000;
    /// Character device.
    pub const IFCHR: u32 = 0o020_000;
    /// FIFO.
    pub const IFIFO: u32 = 0o010_000;
    /// Executed as its owner.
    pub const ISUID: u32 = 0o4000;
    /// Executed as its group; of a directory: what is made in it has its group.
    pub const ISGID: u32 = 0o2000;
    /// Of a directory: only owners remove names.
    pub const ISVTX: u32 = 0o1000;
    /// All rights and the three bits above.
    pub const IALLUGO: u32 = 0o7777;
}

/// What a process has to do with file systems. Source: Linux, `struct fs_struct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fs {
    /// Its working directory, with a reference; none before the first program has one.
    pub cwd: Option<InodeId>,
    /// Rights that what it makes does not get.
    pub umask: u32,
}

impl Fs {
    /// Nobody's.
    pub const NONE: Self = Self { cwd: None, umask: 0 };
}

/// On whose behalf a path is walked.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Who asks.
    pub cred: Cred,
    /// Where relative paths begin, and what new files may not have.
    pub fs: Fs,
    /// Whose descriptors.
    pub table: TableId,
}

/// A path as a call takes it: relative ones begin at a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct PathAt<'a> {
    /// A descriptor of a directory, or [`AT_FDCWD`].
    pub dirfd: i32,
    /// Without its end; shorter than [`PATH_MAX`].
    pub path: &'a [u8],
}

impl<'a> PathAt<'a> {
    /// Relative to the working directory.
    #[must_use]
    pub const fn cwd(path: &'a [u8]) -> Self {
        Self { dirfd: AT_FDCWD, path }
    }
}

/// Type of an object.
pub(crate) fn type_of(inode: Inode<'_>) -> u32 {
    inode.i_mode() & s::IFMT
}

pub(crate) fn is_dir(inode: Inode<'_>) -> bool {
    type_of(inode) == s::IFDIR
}

impl<'m, P: Platform> Linux<'m, P> {
    #[inline(always)]
    pub(crate) fn object(&self, id: InodeId) -> Inode<'m> {
        self.memory.object(id)
    }

    #[inline(always)]
    pub(crate) fn super_block(&self, id: SuperId) -> SuperBlock<'m> {
        self.memory.super_block(id)
    }

    /// The file system of an object that has a name.
    ///
    /// # Panics
    /// For objects of the internal mount, which no path leads to.
    pub(crate) fn sb_of(&self, id: InodeId) -> SuperId {
        match self.object(id).i_sb() {
            Some(sb) => sb,
            None => panic!("an object of the internal mount has a name"),
        }
    }

    /// Whether an object is of ramfs.
    pub(crate) fn is_ramfs(&self, id: InodeId) -> bool {
        self.object(id).i_flags() & inode_flag::RAMFS != 0
    }

    /// Drops a reference to an object. With the last one goes what a symbolic link has besides its inode, and the reference of a
    /// removed directory to where it was.
    pub(crate) fn put_inode(&self, id: InodeId) {
        let mut next = Some(id);
        while let Some(id) = next.take() {
            if self.watching.get() != 0 {
                self.last_but_watches(id);
            }
            let inode = self.object(id);
            if inode.i_count() == 1 {
                match type_of(inode) {
                    s::IFLNK => self.free_text(id),
                    s::IFDIR => next = self.last_parent(id),
                    _ => {}
                }
            }
            self.memory.iput(id);
        }
    }

    /// Sets the times of change of an object, and of its content if that changed.
    pub(crate) fn changed(&self, id: InodeId, content: bool) {
        let (inode, now) = (self.object(id), self.memory.platform.now_ns());
        inode.set_i_ctime(now);
        if content {
            inode.set_i_mtime(now);
        }
    }
}
