//! Symbolic links: short targets in a record of their own, longer ones in a page of the link, which is counted and can be swapped.
//! Source: Linux, mm/shmem.c (`shmem_symlink`, `shmem_get_link`); symlink(2), readlink(2). Rule C42.

use faultlab_mm::record::{Field, ObjId};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use super::create::Place;
use super::namei::{Component, Follow};
use super::{PATH_MAX, PathAt, Task, s, type_of};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Text`].
    TextId
);

record! {
    /// The target of a link, if it is short.
    pub struct Text[16] {}
}

/// Bytes of a short target, its end counted. Source: Linux `SHORT_SYMLINK_LEN`.
pub(super) const SHORT_BYTES: usize = 128;

impl<P: Platform> Linux<'_, P> {
    /// `symlinkat`.
    ///
    /// # Errors
    /// `ENOENT` for an empty target, `ENAMETOOLONG`, `EEXIST`, `ENOSPC`, `ENOMEM`; those of a walk.
    pub fn symlinkat(&self, task: &Task, target: &[u8], at: PathAt<'_>) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut name = Component::new();
        let dir = self.new_name(task, at, false, &mut name)?;
        let new = self.prepare(task, Place { dir, name: name.name() }, s::IFLNK | 0o777)?;
        if let Err(errno) = self.set_text(new.inode, target) {
            self.abandon(new);
            return Err(errno);
        }
        self.complete(new, Place { dir, name: name.name() });
        Ok(())
    }

    /// A short text in a record of its own.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new_text(&self, text: &[u8]) -> Result<TextId, Errno> {
        let id = TextId(self.alloc_record(&self.texts)?);
        for (chunk, word) in text.chunks(8).zip(Text(object(self.memory, id.0)).0) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word.set(u64::from_le_bytes(bytes));
        }
        Ok(id)
    }

    /// Reads a short text without zeroes in it; how long it is.
    pub(super) fn read_short_text(&self, id: TextId, to: &mut [u8; SHORT_BYTES]) -> usize {
        for (chunk, word) in to.chunks_mut(8).zip(Text(object(self.memory, id.0)).0) {
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
        to.iter().position(|&byte| byte == 0).unwrap_or(SHORT_BYTES)
    }

    /// Takes back [`Linux::new_text`].
    pub(super) fn free_short_text(&self, id: TextId) {
        Text(object(self.memory, id.0)).0.iter().for_each(|word| word.set(0));
        self.texts.free(self.memory, id.0);
    }

    fn set_text(&self, link: InodeId, target: &[u8]) -> Result<(), Errno> {
        if target.len() >= SHORT_BYTES {
            return Ok(self.memory.kernel_write(link, 0, target)?);
        }
        let id = self.new_text(target)?;
        let inode = self.object(link);
        inode.set_i_private(Field::to_word(Some(id)));
        inode.set_i_size(target.len() as u64);
        Ok(())
    }

    /// A link goes: its short target, too.
    pub(super) fn free_text(&self, link: InodeId) {
        let inode = self.object(link);
        if let Some(id) = ObjId::from_u32(inode.i_private() as u32) {
            self.free_short_text(TextId(id));
            inode.set_i_private(0);
        }
    }

    /// Bytes of a link's target.
    pub(super) fn link_len(&self, link: InodeId) -> u64 {
        if self.is_proc(link) {
            return self.proc_link_len(link);
        }
        self.object(link).i_size()
    }

    /// Reads a link's target from `at` on; how many bytes there were.
    ///
    /// # Errors
    /// `EIO`, `ENOMEM` when it cannot be brought back from swap.
    pub(super) fn link_text(&self, link: InodeId, at: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let inode = self.object(link);
        if self.is_proc(link) {
            return self.proc_link_text(link, at, to);
        }
        let Some(id) = ObjId::from_u32(inode.i_private() as u32) else {
            return Ok(self.memory.kernel_read(link, at, to)?);
        };
        let text = Text(object(self.memory, id)).0;
        let len = to.len().min(inode.i_size().saturating_sub(at) as usize);
        for (at, byte) in (at as usize..).zip(&mut to[..len]) {
            *byte = text[at / 8].get().to_le_bytes()[at % 8];
        }
        Ok(len)
    }

    /// `readlinkat`: the object of the link, for [`Linux::read_link`].
    ///
    /// # Errors
    /// `EINVAL` for what is no link, `ENOENT` for the empty path of what is none.
    pub fn find_link(&self, task: &Task, at: PathAt<'_>) -> Result<InodeId, Errno> {
        let inode = self.lookup(task, at, Follow::IfSlash, true)?;
        match type_of(self.object(inode)) {
            s::IFLNK => Ok(inode),
            _ if at.path.is_empty() => Err(Errno::ENOENT),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Reads a link's target from `at` on.
    ///
    /// # Errors
    /// `EIO`, `ENOMEM`.
    pub fn read_link(&self, link: InodeId, at: u64, to: &mut [u8]) -> Result<usize, Errno> {
        self.object(link).set_i_atime(self.memory.platform.now_ns());
        self.link_text(link, at, to)
    }
}
