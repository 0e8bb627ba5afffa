//! Names in directories. An entry is found through a table of hashes over directory and name, and listed through its directory's chain,
//! the newest first.
//!
//! Source: Linux, fs/dcache.c (`__d_lookup`), fs/libfs.c (`simple_offset_add`). Differs from Linux: what is not there is not remembered;
//! the table has a fixed size.
//!
//! # Invariants
//! Every entry is in the chain of its hash and in that of its directory, whose cookies fall strictly from the newest to the oldest.

use faultlab_mm::record::Field;
use faultlab_mm::shmem::{FsType, InodeId};
use faultlab_mm::slab::{Cache, object};
use faultlab_mm::sync::{Word, Word32};
use faultlab_mm::{Platform, id_type, record};

use super::NAME_MAX;
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Dentry`].
    DentryId
);

id_type!(
    /// Number of a [`LongName`].
    LongNameId
);

record! {
    /// A name in a directory. From word [`Dentry::NAME`] on, the name, if it fits.
    pub struct Dentry[16] {
        /// What it names, with a reference.
        inode, set_inode: Option<InodeId> = 0;
        /// The directory.
        parent, set_parent: Option<InodeId> = 1;
        /// The next older name there.
        older, set_older: Option<DentryId> = 2;
        /// The next newer.
        newer, set_newer: Option<DentryId> = 3;
        /// The next with the same place in the table.
        hash_next, set_hash_next: Option<DentryId> = 4;
        /// Hash of directory and name.
        hash, set_hash: u32 = 5;
        /// Bytes of the name.
        len, set_len: u64 = 6;
        /// Its place among the names of the directory: where a listing continues after it.
        cookie, set_cookie: u64 = 7;
        /// The name, if it is longer than the words here.
        long, set_long: Option<LongNameId> = 8;
    }
}

record! {
    /// A name that does not fit its entry.
    pub struct LongName[32] {}
}

impl Dentry<'_> {
    /// First word of the name.
    const NAME: usize = 9;
    /// Bytes that fit.
    const SHORT_BYTES: usize = (Self::WORDS - Self::NAME) * 8;
}

/// Positions in a directory before its first name: those of `.` and `..`. Source: Linux `DIR_OFFSET_MIN`.
pub(crate) const COOKIE_MIN: u64 = 3;
/// What a name adds to the size of its directory, in bytes. Source: Linux `BOGO_DIRENT_SIZE`. Rule C39.
const BOGO_DIRENT_SIZE: u64 = 20;
/// Size of a directory without names, in bytes: its two own.
const EMPTY_DIR_SIZE: u64 = 2 * BOGO_DIRENT_SIZE;
/// Places in the table.
const BUCKETS: usize = 2048;

/// Entries of all directories.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) dentries: Cache<{ Dentry::WORDS }>,
    pub(crate) long: Cache<{ LongName::WORDS }>,
    buckets: [Word32; BUCKETS],
}

impl Names {
    pub(crate) const fn new() -> Self {
        Self {
            dentries: Cache::new(),
            long: Cache::new(),
            buckets: [const { Word32::new(0) }; BUCKETS],
        }
    }
}

/// A name as words, the last one filled up with zeroes.
#[inline]
fn words(name: &[u8]) -> impl Iterator<Item = u64> {
    name.chunks(8).map(|chunk| match chunk.first_chunk() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    })
}

#[inline]
fn hash_of(dir: InodeId, name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let start = u64::from(dir.0.get()) ^ (name.len() as u64) << 32;
    let mixed = words(name).fold(start, |hash, word| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29));
    (mixed.wrapping_mul(FACTOR) >> 32) as u32
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    pub(crate) fn dentry(&self, id: DentryId) -> Dentry<'_> {
        Dentry(object(self.memory, id.0))
    }

    #[inline(always)]
    fn bucket(&self, hash: u32) -> &Word32 {
        &self.names.buckets[hash as usize % BUCKETS]
    }

    /// The words that hold an entry's name, and more.
    fn stored<'a>(&'a self, dentry: Dentry<'a>) -> &'a [Word] {
        match dentry.long() {
            Some(long) => LongName(object(self.memory, long.0)).0,
            None => &dentry.0[Dentry::NAME..],
        }
    }

    /// The entry of this name.
    #[inline]
    pub(crate) fn find_name(&self, dir: InodeId, name: &[u8]) -> Option<DentryId> {
        let hash = hash_of(dir, name);
        let mut next = <Option<DentryId>>::from_word(u64::from(self.bucket(hash).get()));
        while let Some(id) = next {
            let dentry = self.dentry(id);
            let same = dentry.hash() == hash && dentry.parent() == Some(dir) && dentry.len() == name.len() as u64;
            if same
                && words(name)
                    .zip(self.stored(dentry))
                    .all(|(word, stored)| word == stored.get())
            {
                return Some(id);
            }
            next = dentry.hash_next();
        }
        None
    }

    /// Writes an entry's name to the front of `to`; its length.
    pub(crate) fn copy_name(&self, id: DentryId, to: &mut [u8; NAME_MAX + 1]) -> usize {
        let dentry = self.dentry(id);
        let len = (dentry.len() as usize).min(NAME_MAX);
        for (chunk, word) in to[..len].chunks_mut(8).zip(self.stored(dentry)) {
            let bytes = word.get().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        len
    }

    /// A name that is in no directory yet: what can fail of adding one.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn alloc_dentry(&self, name: &[u8]) -> Result<DentryId, Errno> {
        let id = self.alloc_record(&self.names.dentries).map(DentryId)?;
        let dentry = self.dentry(id);
        if name.len() > Dentry::SHORT_BYTES {
            match self.alloc_record(&self.names.long) {
                Ok(long) => dentry.set_long(Some(LongNameId(long))),
                Err(errno) => {
                    self.free_dentry(id);
                    return Err(errno);
                }
            }
        }
        dentry.set_len(name.len() as u64);
        for (word, stored) in words(name).zip(self.stored(dentry)) {
            stored.set(word);
        }
        Ok(id)
    }

    /// Takes back [`Linux::alloc_dentry`].
    pub(crate) fn free_dentry(&self, id: DentryId) {
        let dentry = self.dentry(id);
        if let Some(long) = dentry.long() {
            LongName(object(self.memory, long.0))
                .0
                .iter()
                .for_each(|word| word.set(0));
            self.names.long.free(self.memory, long.0);
        }
        dentry.0.iter().for_each(|word| word.set(0));
        self.names.dentries.free(self.memory, id.0);
    }

    /// Puts an allocated name into a directory; it takes over the caller's reference to the object.
    pub(crate) fn add_name(&self, id: DentryId, dir: InodeId, name: &[u8], inode: InodeId) {
        let (dentry, hash) = (self.dentry(id), hash_of(dir, name));
        dentry.set_parent(Some(dir));
        dentry.set_inode(Some(inode));
        dentry.set_hash(hash);
        dentry.set_hash_next(Field::from_word(u64::from(self.bucket(hash).get())));
        self.bucket(hash).set(id.0.get());
        self.make_newest(id, dir);
        self.resize(dir, BOGO_DIRENT_SIZE);
        self.object(inode).set_i_dentry(Field::to_word(Some(id)));
    }

    /// Takes a name out of its directory; the reference to what it named is the caller's.
    ///
    /// # Panics
    /// When it is in none.
    pub(crate) fn remove_name(&self, id: DentryId) -> InodeId {
        let dentry = self.dentry(id);
        let (Some(inode), Some(dir)) = (dentry.inode(), dentry.parent()) else {
            panic!("a name that is in no directory");
        };
        self.unhash(id);
        self.unchain(id, dir);
        self.resize(dir, BOGO_DIRENT_SIZE.wrapping_neg());
        self.free_dentry(id);
        if self.object(inode).i_dentry() == Field::to_word(Some(id)) {
            self.object(inode).set_i_dentry(0);
        }
        inode
    }

    #[inline]
    fn make_newest(&self, id: DentryId, dir: InodeId) {
        let (dentry, newest) = (self.dentry(id), self.newest_name(dir));
        dentry.set_older(newest);
        dentry.set_newer(None);
        dentry.set_cookie(newest.map_or(COOKIE_MIN, |newest| self.dentry(newest).cookie() + 1));
        if let Some(newest) = newest {
            self.dentry(newest).set_newer(Some(id));
        }
        self.object(dir).set_i_private(Field::to_word(Some(id)));
    }

    #[inline]
    fn unchain(&self, id: DentryId, dir: InodeId) {
        let dentry = self.dentry(id);
        if let Some(older) = dentry.older() {
            self.dentry(older).set_newer(dentry.newer());
        }
        match dentry.newer() {
            Some(newer) => self.dentry(newer).set_older(dentry.older()),
            None => self.object(dir).set_i_private(Field::to_word(dentry.older())),
        }
    }

    /// Makes two names name what the other does. Both are then as new as if they had just been made, `one` before `other`: Linux
    /// exchanges the names of its entries, and puts both in front. Rule C41; Linux `__d_move`.
    pub(crate) fn exchange_names(&self, one: DentryId, other: DentryId) {
        for id in [one, other] {
            if let Some(dir) = self.dentry(id).parent() {
                self.unchain(id, dir);
                self.make_newest(id, dir);
            }
        }
        let inodes = [self.dentry(one).inode(), self.dentry(other).inode()];
        for (id, inode) in [(one, inodes[1]), (other, inodes[0])] {
            self.dentry(id).set_inode(inode);
            if let Some(inode) = inode.map(|inode| self.object(inode)) {
                inode.set_i_dentry(Field::to_word(Some(id)));
            }
        }
    }

    fn unhash(&self, id: DentryId) {
        let dentry = self.dentry(id);
        let bucket = self.bucket(dentry.hash());
        if bucket.get() == id.0.get() {
            bucket.set(Field::to_word(dentry.hash_next()) as u32);
            return;
        }
        let mut next = <Option<DentryId>>::from_word(u64::from(bucket.get()));
        while let Some(before) = next {
            next = self.dentry(before).hash_next();
            if next == Some(id) {
                self.dentry(before).set_hash_next(dentry.hash_next());
                return;
            }
        }
        panic!("a name is not where its hash says");
    }

    /// The newest name in a directory.
    pub(crate) fn newest_name(&self, dir: InodeId) -> Option<DentryId> {
        Field::from_word(self.object(dir).i_private())
    }

    /// The name of a directory; roots and removed ones have none.
    pub(crate) fn name_of_dir(&self, dir: InodeId) -> Option<DentryId> {
        let object = self.object(dir);
        let name: Option<DentryId> = Field::from_word(object.i_dentry());
        name.filter(|_| object.i_nlink() != 0)
    }

    /// Where a removed directory was, to which its `..` leads while it is in use: the word that held its name has it then, with a
    /// reference.
    pub(crate) fn last_parent(&self, dir: InodeId) -> Option<InodeId> {
        let object = self.object(dir);
        let parent: Option<InodeId> = Field::from_word(object.i_dentry());
        parent.filter(|_| object.i_nlink() == 0)
    }

    /// A directory has just lost its name, and is in use.
    pub(crate) fn keep_parent(&self, dir: InodeId, parent: InodeId) {
        self.memory.ihold(parent);
        self.object(dir).set_i_dentry(Field::to_word(Some(parent)));
    }

    /// Gives a new directory its size.
    pub(crate) fn init_dir(&self, dir: InodeId) {
        self.resize(dir, EMPTY_DIR_SIZE);
    }

    /// Sizes of directories are tmpfs's idea. Rules C39, C52.
    fn resize(&self, dir: InodeId, by: u64) {
        if self.super_block(self.sb_of(dir)).s_type() == FsType::Tmpfs {
            let dir = self.object(dir);
            dir.set_i_size(dir.i_size().wrapping_add(by));
        }
    }
}
