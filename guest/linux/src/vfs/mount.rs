//! Mounts: file systems in the tree of names. Source: Linux, fs/namespace.c (`path_mount`, `do_new_mount`), mm/shmem.c
//! (`shmem_fill_super`, `shmem_reconfigure`); mount(2). Rules C31 to C37, C52.
//!
//! A file system is mounted in one place. Differs from Linux: no bind mounts, no mount propagation; the root stays.
//!
//! # Invariants
//! A mount holds its root and what it covers; what is covered is marked [`inode_flag::MOUNTPOINT`].

use faultlab_mm::shmem::{BOGO_INODE_SIZE, FsType, InodeId, Limits, SuperId, inode_flag, super_flag};
use faultlab_mm::slab::{Cache, object};
use faultlab_mm::sync::{Word, Word32};
use faultlab_mm::{Platform, id_type, record};

use faultlab_mm::record::Field;

use super::namei::Follow;
use super::options::Options;
use super::symlink::{SHORT_BYTES, TextId};
use super::{PathAt, Task, is_dir};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Mount`].
    MountId
);

record! {
    /// A file system in the tree, or one that was there and is still in use.
    pub struct Mount[8] {
        /// What is mounted.
        sb, set_sb: Option<SuperId> = 0;
        /// Its root directory, with a reference.
        root, set_root: Option<InodeId> = 1;
        /// What it covers, with a reference; nothing for the root of all, and for what is detached.
        covered, set_covered: Option<InodeId> = 2;
        /// The mount made before it.
        next, set_next: Option<MountId> = 3;
        /// What it was said to be mounted from.
        source, set_source: Option<TextId> = 4;
    }
}

/// A mount, as it is shown.
#[derive(Clone, Copy)]
pub(crate) struct MountInfo {
    /// What is mounted.
    pub(crate) sb: SuperId,
    /// What it covers; nothing for the root of all.
    pub(crate) covered: Option<InodeId>,
    source: [u8; SHORT_BYTES],
    source_len: usize,
}

impl MountInfo {
    /// What it was said to be mounted from.
    pub(crate) fn source(&self) -> &[u8] {
        &self.source[..self.source_len]
    }
}

/// All mounts.
#[derive(Debug)]
pub(crate) struct Mounts {
    pub(crate) cache: Cache<{ Mount::WORDS }>,
    /// The newest.
    pub(super) first: Word32,
    /// The root directory of all.
    root: Word32,
    /// Device number given last.
    last_dev: Word,
    /// How many are detached.
    pub(super) detached: Word,
}

impl Mounts {
    pub(crate) const fn new() -> Self {
        Self {
            cache: Cache::new(),
            first: Word32::new(0),
            root: Word32::new(0),
            last_dev: Word::new(faultlab_mm::shmem::SHM_MNT_DEV),
            detached: Word::new(0),
        }
    }
}

/// Flags of `mount` and `umount2`. Source: mount(2), umount(2).
pub mod mount_flag {
    /// Nothing may be changed.
    pub const RDONLY: u64 = 1;
    /// Other options for what is mounted.
    pub const REMOUNT: u64 = 0x20;
    /// What this kernel has not: `MS_BIND`, `MS_MOVE`, and the kinds of propagation.
    pub const ELSEWHERE: u64 = 0x1000 | 0x2000 | 0x1e_0000;
    /// `umount2`: go on, whatever uses it. Changes nothing here.
    pub const MNT_FORCE: u32 = 1;
    /// `umount2`: out of the tree now, the rest when nobody uses it.
    pub const MNT_DETACH: u32 = 2;
    /// `umount2`: a last link is not followed.
    pub const UMOUNT_NOFOLLOW: u32 = 8;
}

/// What `mount` was asked for.
#[derive(Clone, Copy, Debug)]
pub struct MountArguments<'a> {
    /// What is shown as what is mounted: any text. What is longer than 127 bytes is cut.
    pub source: &'a [u8],
    /// Where.
    pub target: &'a [u8],
    /// Which kind; none with a null pointer.
    pub fstype: Option<&'a [u8]>,
    /// [`mount_flag`] bits.
    pub flags: u64,
    /// Options, separated by commas.
    pub data: &'a [u8],
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    pub(super) fn mount_record(&self, id: MountId) -> Mount<'_> {
        Mount(object(self.memory, id.0))
    }

    pub(super) fn mounts(&self) -> impl Iterator<Item = (MountId, Mount<'_>)> {
        let mut next = <Option<MountId>>::from_word(u64::from(self.mounts.first.get()));
        core::iter::from_fn(move || {
            let id = next?;
            let mount = self.mount_record(id);
            next = mount.next();
            Some((id, mount))
        })
    }

    /// The root directory of all.
    ///
    /// # Panics
    /// Before [`Linux::mount_root`].
    pub(crate) fn root(&self) -> InodeId {
        match Field::from_word(u64::from(self.mounts.root.get())) {
            Some(root) => root,
            None => panic!("no root is mounted"),
        }
    }

    /// Mounts the root of all: a tmpfs with the limits of its kind. Source: Linux `init_mount_tree`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn mount_root(&self) -> Result<(), Errno> {
        let limits = self.memory.default_limits();
        let mount = self.alloc_record(&self.mounts.cache).map(MountId)?;
        let root = match self.new_file_system(FsType::Tmpfs, limits, 0, (0o755, (0, 0))) {
            Ok(sb) => self.enter_mount(mount, sb, None, b"rootfs")?,
            Err(errno) => {
                self.mounts.cache.free(self.memory, mount.0);
                return Err(errno);
            }
        };
        self.mounts.root.set(Field::to_word(Some(root)) as u32);
        Ok(())
    }

    fn new_file_system(
        &self,
        kind: FsType,
        limits: Limits,
        flags: u64,
        root: (u32, (u32, u32)),
    ) -> Result<SuperId, Errno> {
        let sb = self
            .memory
            .new_super(kind, self.mounts.last_dev.get() + 1, limits, flags, root)?;
        self.mounts.last_dev.add(1);
        if let Some(root) = self.super_block(sb).s_root() {
            self.init_dir(root);
            if matches!(kind, FsType::Proc | FsType::Sysfs) {
                self.init_proc(root, kind);
            }
        }
        Ok(sb)
    }

    /// Puts a file system into the tree; its root.
    ///
    /// # Errors
    /// `ENOMEM`; neither it nor the record is there any more.
    fn enter_mount(&self, id: MountId, sb: SuperId, covered: Option<InodeId>, source: &[u8]) -> Result<InodeId, Errno> {
        let Some(root) = self.super_block(sb).s_root() else {
            panic!("a file system without a root");
        };
        let mount = self.mount_record(id);
        match self.new_text(&source[..source.len().min(SHORT_BYTES - 1)]) {
            Ok(text) => mount.set_source(Some(text)),
            Err(errno) => {
                self.mounts.cache.free(self.memory, id.0);
                self.memory.clear_nlink(root);
                self.put_inode(root);
                return Err(errno);
            }
        }
        mount.set_sb(Some(sb));
        mount.set_root(Some(root));
        mount.set_covered(covered);
        mount.set_next(Field::from_word(u64::from(self.mounts.first.get())));
        self.mounts.first.set(id.0.get());
        if let Some(covered) = covered {
            self.memory.ihold(covered);
            let covered = self.object(covered);
            covered.set_i_flags(covered.i_flags() | inode_flag::MOUNTPOINT);
        }
        Ok(root)
    }

    /// Tells `each` of every mount in the tree, the oldest first.
    pub(crate) fn each_mount(&self, each: &mut dyn FnMut(&MountInfo)) {
        for back in (0..self.mounts().count()).rev() {
            let Some((_, mount)) = self.mounts().nth(back) else {
                return;
            };
            let (Some(sb), Some(root)) = (mount.sb(), mount.root()) else {
                continue;
            };
            if mount.covered().is_none() && root != self.root() {
                continue;
            }
            let mut info = MountInfo {
                sb,
                covered: mount.covered(),
                source: [0; SHORT_BYTES],
                source_len: 0,
            };
            if let Some(text) = mount.source() {
                info.source_len = self.read_short_text(text, &mut info.source);
            }
            each(&info);
        }
    }

    /// What is seen where `inode` is: the root of what is mounted there, and of what is mounted on that.
    pub(crate) fn cross_mounts(&self, mut inode: InodeId) -> InodeId {
        while self.is_mountpoint(inode) {
            let Some(root) = self.mount_on(inode).and_then(|(_, mount)| mount.root()) else {
                break;
            };
            inode = root;
        }
        inode
    }

    fn mount_on(&self, covered: InodeId) -> Option<(MountId, Mount<'_>)> {
        self.mounts().find(|(_, mount)| mount.covered() == Some(covered))
    }

    pub(super) fn mount_of(&self, root: InodeId) -> Option<(MountId, Mount<'_>)> {
        self.mounts().find(|(_, mount)| mount.root() == Some(root))
    }

    /// Whether an object is of a file system that is out of the tree.
    pub(super) fn is_detached(&self, id: InodeId) -> bool {
        let sb = self.object(id).i_sb();
        sb.is_some_and(|sb| self.super_block(sb).s_flags() & super_flag::DETACHED != 0)
    }

    /// What the file system of this root covers.
    pub(crate) fn covered_by(&self, root: InodeId) -> Option<InodeId> {
        self.mount_of(root)?.1.covered()
    }

    /// `mount`.
    ///
    /// # Errors
    /// `EPERM` for others than root; `EINVAL` for what is unknown or malformed, or not a mount to be changed; `ENODEV` for other kinds;
    /// `ENOENT` where a directory was removed or its file system taken out of the tree; `ENOTDIR`, `EBUSY`, `ENOMEM`; those of a walk.
    pub fn mount(&self, task: &Task, arguments: &MountArguments<'_>) -> Result<(), Errno> {
        let target = self.lookup(task, PathAt::cwd(arguments.target), Follow::Yes, false)?;
        if !task.cred.privileged() {
            return Err(Errno::EPERM);
        }
        if arguments.flags & mount_flag::REMOUNT != 0 {
            return self.remount(target, arguments);
        }
        if arguments.flags & mount_flag::ELSEWHERE != 0 {
            return Err(Errno::EINVAL);
        }
        let kind = match arguments.fstype {
            None => return Err(Errno::EINVAL),
            Some(b"tmpfs") => FsType::Tmpfs,
            Some(b"ramfs") => FsType::Ramfs,
            Some(b"proc") => FsType::Proc,
            Some(b"sysfs") => FsType::Sysfs,
            Some(_) => return Err(Errno::ENODEV),
        };
        let total = self.memory.totalram_pages();
        let (options, defaults, mode) = match kind {
            FsType::Tmpfs => (
                Options::of_tmpfs(arguments.data, total)?,
                self.memory.default_limits(),
                0o1777,
            ),
            FsType::Ramfs => (
                Options::of_ramfs(arguments.data)?,
                Limits { blocks: 0, inodes: 0 },
                0o755,
            ),
            FsType::Proc => (
                Options::of_proc(arguments.data)?,
                Limits { blocks: 0, inodes: 0 },
                0o555,
            ),
            // No options are known; Linux ignores what it is given, too.
            FsType::Sysfs => (Options::of_sysfs(), Limits { blocks: 0, inodes: 0 }, 0o555),
        };
        // Nobody could find it there, or take it away again. Source: Linux `do_lock_mount`, since 6.17; before, EINVAL for what is detached.
        if self.is_detached(target) {
            return Err(Errno::ENOENT);
        }
        if !is_dir(self.object(target)) {
            return Err(Errno::ENOTDIR);
        }
        if self.object(target).i_nlink() == 0 {
            return Err(Errno::ENOENT);
        }
        let limits = Limits {
            blocks: options.blocks.unwrap_or(defaults.blocks),
            inodes: options.inodes.unwrap_or(defaults.inodes),
        };
        let flags = if arguments.flags & mount_flag::RDONLY != 0 {
            super_flag::RDONLY
        } else {
            0
        } | if options.noswap { super_flag::NOSWAP } else { 0 };
        let owner = (
            options.uid.unwrap_or(task.cred.user.effective),
            options.gid.unwrap_or(task.cred.group.effective),
        );
        let mount = self.alloc_record(&self.mounts.cache).map(MountId)?;
        match self.new_file_system(kind, limits, flags, (options.mode.unwrap_or(mode), owner)) {
            Ok(sb) => {
                self.memory.set_mount_policy(sb, options.huge.unwrap_or_default());
                self.enter_mount(mount, sb, Some(target), arguments.source).map(|_| ())
            }
            Err(errno) => {
                self.mounts.cache.free(self.memory, mount.0);
                Err(errno)
            }
        }
    }

    /// Other options for what is mounted: limits, and whether anything may be changed. Mode and owner are not looked at. Rule C34.
    fn remount(&self, root: InodeId, arguments: &MountArguments<'_>) -> Result<(), Errno> {
        if !self.is_root(root) || self.is_detached(root) {
            return Err(Errno::EINVAL);
        }
        let sb = self.super_block(self.sb_of(root));
        let options = match sb.s_type() {
            FsType::Tmpfs => Options::of_tmpfs(arguments.data, self.memory.totalram_pages())?,
            FsType::Ramfs => Options {
                mode: None,
                ..Options::of_ramfs(arguments.data)?
            },
            FsType::Proc => Options::of_proc(arguments.data)?,
            FsType::Sysfs => Options::of_sysfs(),
        };
        let readonly = arguments.flags & mount_flag::RDONLY != 0;
        if readonly && sb.writers() != 0 {
            return Err(Errno::EBUSY);
        }
        let fits = |wanted: Option<u64>, max: u64, used: u64| {
            wanted.is_none_or(|wanted| wanted == 0 || (max != 0 && used <= wanted))
        };
        let noswap = sb.s_flags() & super_flag::NOSWAP != 0;
        // Extended attributes take from the same space.
        let used_inodes = sb.used_inodes() + sb.xattr_bytes().div_ceil(BOGO_INODE_SIZE);
        if !fits(options.blocks, sb.max_blocks(), sb.used_blocks())
            || !fits(options.inodes, sb.max_inodes(), used_inodes)
            || options.noswap && !noswap
        {
            return Err(Errno::EINVAL);
        }
        sb.set_max_blocks(options.blocks.unwrap_or(sb.max_blocks()));
        sb.set_max_inodes(options.inodes.unwrap_or(sb.max_inodes()));
        self.memory
            .set_mount_policy(self.sb_of(root), options.huge.unwrap_or(sb.huge()));
        sb.set_s_flags(sb.s_flags() & !super_flag::RDONLY | if readonly { super_flag::RDONLY } else { 0 });
        Ok(())
    }
}
