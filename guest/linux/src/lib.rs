//! The system-call layer, as far as it is about files and a process's own rights and limits: between the memory manager and the
//! kernel, and free of hardware like the former.
//!
//! Registers, a program's pointers to structures, and devices are the kernel's; what a call means is decided here, and tested on the host.
//!
//! | module | Linux | what it is |
//! |---|---|---|
//! | [`cred`] | kernel/sys.c | ids of users and groups |
//! | [`limits`] | kernel/sys.c | resource limits |
//! | [`errno`] | include/uapi/asm-generic/errno.h | error numbers |
//! | [`mod@file`] | fs/file_table.c | open file descriptions |
//! | [`fdtable`] | fs/file.c | the descriptors of a process |
//! | [`fcntl`] | fs/fcntl.c | what `fcntl` asks |
//! | [`read_write`] | fs/read_write.c, fs/open.c | `read`, `write`, `lseek`, `ftruncate`, `fallocate` |
//! | [`memfd`] | mm/memfd.c | `memfd_create` |
//! | [`stat`] | fs/stat.c | `struct stat` |
//! | [`proc_swaps`] | mm/swapfile.c | `/proc/swaps` |
//!
//! Records (open files, tables of descriptors) live in slabs over the memory manager's frames, so that there is no fixed number of them,
//! and every allocation can fail.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod cred;
pub mod errno;
pub mod fcntl;
pub mod fdtable;
pub mod file;
pub mod limits;
pub mod memfd;
pub mod proc_swaps;
pub mod read_write;
pub mod stat;

#[cfg(test)]
mod tests;

pub use errno::Errno;

use faultlab_mm::slab::Cache;
use faultlab_mm::sync::Word;
use faultlab_mm::{Memory, Platform};

/// Everything that the layer keeps.
#[derive(Debug)]
pub struct Linux<'m, P> {
    memory: &'m Memory<P>,
    files: Cache<{ file::File::WORDS }>,
    tables: Cache<{ fdtable::FdTable::WORDS }>,
    /// Open file descriptions that there have been.
    opened: Word,
}

impl<'m, P: Platform> Linux<'m, P> {
    /// The layer over a memory manager, with nothing open.
    #[must_use]
    pub const fn new(memory: &'m Memory<P>) -> Self {
        Self {
            memory,
            files: Cache::new(),
            tables: Cache::new(),
            opened: Word::new(0),
        }
    }

    /// Records of each kind, for tests that nothing leaks: (name, objects).
    pub fn live_records(&self) -> [(&'static str, u64); 2] {
        [
            ("file", self.files.objects()),
            ("descriptor table", self.tables.objects()),
        ]
    }
}
