//! Open file descriptions: what a descriptor names, shared by its copies. Source: Linux, fs/file_table.c, `struct file`; open(2).
//!
//! # Invariants
//! `f_count` = descriptors, in all tables, that name it. It holds one reference to its object.

use faultlab_mm::mmap::MapFile;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::{Errno, Linux};

id_type!(
    /// Number of a [`File`].
    FileId
);

record! {
    /// An open file description.
    pub struct File[8] {
        /// Descriptors that name it.
        f_count, set_f_count: u64 = 0;
        /// [`o`] bits.
        f_flags, set_f_flags: u64 = 1;
        /// Where the next `read` or `write` begins, in bytes; at most 2^63-1.
        f_pos, set_f_pos: u64 = 2;
        /// The memory object, if it is one.
        inode, set_inode: Option<InodeId> = 3;
        /// Otherwise: number of the stream, or [`LAB`].
        device, set_device: u64 = 4;
        /// A number that no other has had.
        opened, set_opened: u64 = 5;
    }
}

/// [`File::device`] of `/dev/faultlab`.
pub const LAB: u64 = u64::MAX;

/// `O_*` flags. Source: open(2).
pub mod o {
    /// The bits that say for what it was opened.
    pub const ACCMODE: u64 = 3;
    /// For reading.
    pub const RDONLY: u64 = 0;
    /// For writing.
    pub const WRONLY: u64 = 1;
    /// For both.
    pub const RDWR: u64 = 2;
    /// Every write goes to the end.
    pub const APPEND: u64 = 0o2000;
    /// Calls do not wait.
    pub const NONBLOCK: u64 = 0o4000;
    /// Signals tell of input.
    pub const ASYNC: u64 = 0o20000;
    /// No page cache.
    pub const DIRECT: u64 = 0o40000;
    /// Large sizes; always set on 64-bit machines.
    pub const LARGEFILE: u64 = 0o100_000;
    /// Reading leaves the access time alone.
    pub const NOATIME: u64 = 0o1_000_000;
    /// The descriptor closes with `execve`.
    pub const CLOEXEC: u64 = 0o2_000_000;
}

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard input, output or error.
    Stream(u64),
    /// `/dev/faultlab`.
    Lab,
    /// A memory object.
    Object(InodeId),
}

impl File<'_> {
    /// What it refers to.
    #[inline]
    #[must_use]
    pub fn kind(self) -> Kind {
        match (self.inode(), self.device()) {
            (Some(inode), _) => Kind::Object(inode),
            (None, LAB) => Kind::Lab,
            (None, stream) => Kind::Stream(stream),
        }
    }

    /// Whether it was opened for reading.
    #[inline]
    #[must_use]
    pub fn readable(self) -> bool {
        self.f_flags() & o::ACCMODE != o::WRONLY
    }

    /// Whether it was opened for writing.
    #[inline]
    #[must_use]
    pub fn writable(self) -> bool {
        self.f_flags() & o::ACCMODE != o::RDONLY
    }
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    pub(crate) fn file(&self, id: FileId) -> File<'_> {
        File(object(self.memory, id.0))
    }

    /// A new open file description, named by nobody yet. It takes over the caller's reference to the object, also when this fails.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn alloc_file(&self, kind: Kind, flags: u64) -> Result<FileId, Errno> {
        let allocated = self.memory.alloc_reclaiming(|| self.files.alloc(self.memory));
        let Some(id) = allocated.map(FileId) else {
            if let Kind::Object(inode) = kind {
                self.memory.iput(inode);
            }
            return Err(Errno::ENOMEM);
        };
        let file = self.file(id);
        self.opened.add(1);
        file.set_opened(self.opened.get());
        file.set_f_flags(flags & !o::CLOEXEC);
        match kind {
            Kind::Stream(stream) => file.set_device(stream),
            Kind::Lab => file.set_device(LAB),
            Kind::Object(inode) => file.set_inode(Some(inode)),
        }
        Ok(id)
    }

    pub(crate) fn get_file(&self, id: FileId) {
        let file = self.file(id);
        file.set_f_count(file.f_count() + 1);
    }

    /// One descriptor less; the last takes the description along. Source: Linux `fput`.
    pub(crate) fn put_file(&self, id: FileId) {
        let file = self.file(id);
        file.set_f_count(file.f_count() - 1);
        if file.f_count() == 0 {
            self.free_file(id);
        }
    }

    pub(crate) fn free_file(&self, id: FileId) {
        let file = self.file(id);
        if let Some(inode) = file.inode() {
            self.memory.iput(inode);
        }
        for word in file.0 {
            word.set(0);
        }
        self.files.free(self.memory, id.0);
    }

    /// What `mmap` needs to know of a descriptor's file, or which device it is.
    pub fn map_file(&self, file: File<'_>) -> Result<MapFile, Kind> {
        match file.kind() {
            Kind::Object(inode) => Ok(MapFile {
                inode,
                readable: file.readable(),
                writable: file.writable(),
                opened: file.opened(),
            }),
            device => Err(device),
        }
    }
}
