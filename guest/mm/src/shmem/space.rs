//! What the objects of one mounted file system share: its kind, and how many blocks and inodes they may take.
//!
//! Objects of the kernel's internal mount have no super block, and no limit. Rule C37.
//!
//! # Invariants
//! `used_blocks` is the sum of `alloced` over the objects; `inodes` is how many there are, `orphans` how many of them have no name;
//! `used_inodes` counts objects and, beyond the first, their names. A super block lives as long as it has an object: the root, which a
//! mount holds, or one that is still in use after it.
//!
//! Source: Linux, include/linux/shmem_fs.h (`shmem_sb_info`), mm/shmem.c (`shmem_reserve_inode`, `shmem_inode_acct_blocks`). Rules C31 to C37, C44.

use super::{Inode, InodeId, inode_flag, seal};
use crate::error::Error;
use crate::huge::ShmemPolicy;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::{Field, id_type, record};

id_type!(
    /// Number of a [`SuperBlock`].
    SuperId
);

record! {
    /// A mounted file system.
    pub struct SuperBlock[18] {
        /// Which kind.
        s_type, set_s_type: FsType = 0;
        /// Its device number, as `st_dev`.
        s_dev, set_s_dev: u64 = 1;
        /// Pages that its objects may take; 0 is no limit.
        max_blocks, set_max_blocks: u64 = 2;
        /// Pages that they take.
        used_blocks, set_used_blocks: u64 = 3;
        /// Inodes, and names beyond an inode's first; 0 is no limit.
        max_inodes, set_max_inodes: u64 = 4;
        /// As many are taken.
        used_inodes, set_used_inodes: u64 = 5;
        /// The number of the inode made last.
        last_ino, set_last_ino: u64 = 6;
        /// Objects.
        inodes, set_inodes: u64 = 7;
        /// Objects without a name.
        orphans, set_orphans: u64 = 8;
        /// The root directory.
        s_root, set_s_root: Option<InodeId> = 9;
        /// [`super_flag`] bits.
        s_flags, set_s_flags: u64 = 10;
        /// Descriptions that are open for writing.
        writers, set_writers: u64 = 11;
        /// What extended attributes take from the space of inodes, in bytes; not counted without a limit.
        xattr_bytes, set_xattr_bytes: u64 = 17;
        /// Rights that its root was mounted with.
        s_mode, set_s_mode: u32 = 12;
        /// Owner of its root then.
        s_uid, set_s_uid: u32 = 13;
        /// And group.
        s_gid, set_s_gid: u32 = 14;
        /// `huge=`; set by [`Memory::set_mount_policy`].
        huge, set_huge: ShmemPolicy = 15;
        /// The first of its objects with a huge page that reaches behind the object's end. Source: Linux `sbinfo->shrinklist`.
        shrinklist, set_shrinklist: Option<InodeId> = 16;
    }
}

impl SuperBlock<'_> {
    /// Rights, and owner and group, that its root was mounted with.
    #[must_use]
    pub fn s_owner(self) -> (u32, (u32, u32)) {
        (self.s_mode(), (self.s_uid(), self.s_gid()))
    }
}

/// Bits of [`SuperBlock::s_flags`].
pub mod super_flag {
    /// Nothing may be changed.
    pub const RDONLY: u64 = 1;
    /// `noswap`: pages are not written to swap.
    pub const NOSWAP: u64 = 2;
    /// It is no longer in the tree of mounts.
    pub const DETACHED: u64 = 4;
}

/// Kinds of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsType {
    /// Limited, and its pages go to swap.
    Tmpfs,
    /// Neither. Rule C52.
    Ramfs,
    /// The layer above makes up what is in it; its objects have no pages.
    Proc,
    /// As [`FsType::Proc`].
    Sysfs,
}

impl Field for FsType {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self as u64
    }
    #[inline(always)]
    fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Tmpfs,
            1 => Self::Ramfs,
            2 => Self::Proc,
            _ => Self::Sysfs,
        }
    }
}

/// How much a file system may take; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages.
    pub blocks: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What an inode counts for where the space of inodes is counted in bytes. Source: Linux `BOGO_INODE_SIZE`.
pub const BOGO_INODE_SIZE: u64 = 1024;

/// How often a full file system takes blocks from its huge pages before it is full. Source: Linux `shmem_alloc_and_acct_page`. Rule C4.
const SHRINK_ATTEMPTS: u32 = 5;

/// Type bits of a mode. Source: inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;

impl<P: Platform> Memory<P> {
    /// A view of an object, for the file system that it is of: names, owners and times are its to keep.
    #[inline(always)]
    pub fn object(&self, id: InodeId) -> Inode<'_> {
        self.inode(id)
    }

    /// A view of a file system.
    #[inline(always)]
    pub fn super_block(&self, id: SuperId) -> SuperBlock<'_> {
        self.sb(id)
    }

    /// Limits of a tmpfs that was asked for none: half of memory, in pages and in inodes. Rule C32.
    pub fn default_limits(&self) -> Limits {
        let half = self.totalram_pages() / 2;
        Limits {
            blocks: half,
            inodes: half,
        }
    }

    /// A file system with its root directory, whose reference is the caller's. Rule C33.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub fn new_super(
        &self,
        kind: FsType,
        dev: u64,
        limits: Limits,
        flags: u64,
        (mode, owner): (u32, (u32, u32)),
    ) -> Result<SuperId, Error> {
        let id = self.alloc_super().ok_or(Error::Enomem)?;
        let sb = self.sb(id);
        sb.set_s_type(kind);
        sb.set_s_dev(dev);
        sb.set_max_blocks(limits.blocks);
        sb.set_max_inodes(limits.inodes);
        sb.set_s_flags(flags);
        sb.set_s_mode(mode);
        sb.set_s_uid(owner.0);
        sb.set_s_gid(owner.1);
        match self.new_inode(id, S_IFDIR | mode, owner) {
            Ok(root) => {
                self.sb(id).set_s_root(Some(root));
                Ok(id)
            }
            Err(_) => {
                self.free_super(id);
                Err(Error::Enomem)
            }
        }
    }

    /// A new object of a file system: size 0, the caller's reference, one name to come (a directory: two). Rules C35, C39, C44.
    ///
    /// # Errors
    /// [`Error::Enospc`] when no inode is left, or no memory for one.
    pub fn new_inode(&self, id: SuperId, mode: u32, owner: (u32, u32)) -> Result<InodeId, Error> {
        self.reserve_inode(id)?;
        let Some(inode_id) = self.alloc_inode() else {
            self.unreserve_inode(id);
            return Err(Error::Enospc);
        };
        let (sb, inode, now) = (self.sb(id), self.inode(inode_id), self.platform.now_ns());
        sb.set_inodes(sb.inodes() + 1);
        sb.set_last_ino(sb.last_ino() + 1);
        inode.set_i_ino(sb.last_ino());
        inode.set_i_sb(Some(id));
        inode.set_i_count(1);
        inode.set_i_mode(mode);
        inode.set_i_uid(owner.0);
        inode.set_i_gid(owner.1);
        inode.set_i_nlink(if mode & S_IFMT == S_IFDIR { 2 } else { 1 });
        inode.set_i_atime(now);
        inode.set_i_mtime(now);
        inode.set_i_ctime(now);
        inode.set_seals(seal::SEAL);
        inode.set_i_flags(match (sb.s_type(), sb.s_flags() & super_flag::NOSWAP) {
            (FsType::Ramfs, _) => inode_flag::RAMFS,
            (FsType::Proc | FsType::Sysfs, _) => inode_flag::PROC,
            (FsType::Tmpfs, 0) => 0,
            (FsType::Tmpfs, _) => inode_flag::NOSWAP,
        });
        Ok(inode_id)
    }

    /// Bytes that are left of the space of inodes, of a file system that limits it: each inode takes [`BOGO_INODE_SIZE`], extended attributes
    /// what they need. Rule C38.
    #[inline(always)]
    pub(super) fn free_ispace(&self, sb: SuperBlock<'_>) -> u64 {
        (sb.max_inodes() - sb.used_inodes()) * BOGO_INODE_SIZE - sb.xattr_bytes()
    }

    /// Inodes that a file system with a limit has left.
    pub fn free_inodes(&self, id: SuperId) -> u64 {
        self.free_ispace(self.sb(id)) / BOGO_INODE_SIZE
    }

    /// Takes an inode from the limit, for one or for one more name of one. Rule C35.
    ///
    /// # Errors
    /// [`Error::Enospc`].
    pub fn reserve_inode(&self, id: SuperId) -> Result<(), Error> {
        let sb = self.sb(id);
        if sb.max_inodes() != 0 && self.free_ispace(sb) < BOGO_INODE_SIZE {
            return Err(Error::Enospc);
        }
        sb.set_used_inodes(sb.used_inodes() + 1);
        Ok(())
    }

    /// Takes [`Memory::reserve_inode`] back.
    pub fn unreserve_inode(&self, id: SuperId) {
        let sb = self.sb(id);
        sb.set_used_inodes(sb.used_inodes() - 1);
    }

    /// One name more.
    pub fn inc_nlink(&self, id: InodeId) {
        let inode = self.inode(id);
        if inode.i_nlink() == 0 {
            self.count_orphan(inode, u64::MAX);
        }
        inode.set_i_nlink(inode.i_nlink() + 1);
    }

    /// One name less.
    pub fn drop_nlink(&self, id: InodeId) {
        let inode = self.inode(id);
        inode.set_i_nlink(inode.i_nlink() - 1);
        if inode.i_nlink() == 0 {
            self.count_orphan(inode, 1);
        }
    }

    /// No name any more.
    pub fn clear_nlink(&self, id: InodeId) {
        let inode = self.inode(id);
        if inode.i_nlink() != 0 {
            inode.set_i_nlink(0);
            self.count_orphan(inode, 1);
        }
    }

    fn count_orphan(&self, inode: Inode<'_>, by: u64) {
        if let Some(sb) = inode.i_sb().map(|id| self.sb(id)) {
            sb.set_orphans(sb.orphans().wrapping_add(by));
        }
    }

    /// Takes a block for a page of an object. Rules C6, C12.
    ///
    /// # Errors
    /// [`Error::Enospc`].
    #[inline(always)]
    pub(super) fn charge_block(&self, inode: Inode<'_>) -> Result<(), Error> {
        self.charge_blocks(inode, 1)
    }

    /// Takes blocks for pages of an object.
    ///
    /// # Errors
    /// [`Error::Enospc`].
    #[inline(always)]
    pub(super) fn charge_blocks(&self, inode: Inode<'_>, pages: u64) -> Result<(), Error> {
        let Some(sb) = inode.i_sb().map(|id| self.sb(id)) else {
            return Ok(());
        };
        let used = sb.used_blocks() + pages;
        if sb.max_blocks() != 0 && used > sb.max_blocks() {
            return Err(Error::Enospc);
        }
        sb.set_used_blocks(used);
        Ok(())
    }

    /// As [`Memory::charge_block`]; where no block is left, those behind the ends of objects are taken from their huge pages. Rule C4.
    ///
    /// # Errors
    /// [`Error::Enospc`].
    #[inline(always)]
    pub(super) fn charge_block_shrinking(&self, inode: Inode<'_>) -> Result<(), Error> {
        match self.charge_block(inode) {
            Ok(()) => Ok(()),
            Err(_) => self.charge_block_again(inode),
        }
    }

    #[cold]
    #[inline(never)]
    fn charge_block_again(&self, inode: Inode<'_>) -> Result<(), Error> {
        let Some(sb) = inode.i_sb() else {
            return Err(Error::Enospc);
        };
        for _ in 0..SHRINK_ATTEMPTS {
            if !self.shmem_unused_huge_shrink(sb) {
                break;
            }
            if self.charge_block(inode).is_ok() {
                return Ok(());
            }
        }
        Err(Error::Enospc)
    }

    /// Gives blocks back.
    pub(crate) fn uncharge_blocks(&self, inode: Inode<'_>, pages: u64) {
        if let Some(sb) = inode.i_sb().map(|id| self.sb(id)) {
            sb.set_used_blocks(sb.used_blocks() - pages);
        }
    }

    /// An object that nobody refers to leaves its file system, which goes with its last one.
    pub(super) fn leave_super(&self, inode: Inode<'_>) {
        let Some(id) = inode.i_sb() else { return };
        let sb = self.sb(id);
        debug_assert_eq!(inode.i_nlink(), 0, "inode {} goes with its name", inode.i_ino());
        sb.set_used_blocks(sb.used_blocks() - inode.alloced());
        sb.set_orphans(sb.orphans() - 1);
        sb.set_inodes(sb.inodes() - 1);
        self.unreserve_inode(id);
        if sb.inodes() == 0 {
            debug_assert_eq!(
                (sb.used_blocks(), sb.used_inodes()),
                (0, 0),
                "charges of a file system are left"
            );
            self.free_super(id);
        }
    }
}
