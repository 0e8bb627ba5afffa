//! What happens to files and in directories, and who is told.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | what happens, and whom it concerns |
//! | `dnotify.rs` | `F_NOTIFY`: a signal to a directory's description |
//! | `inotify.rs` | watches, and their events as a descriptor |
//!
//! Whoever changes something says so ([`Linux::fsnotify`], [`Linux::fsnotify_name`]); while nobody watches anything, that is one load.
//!
//! Source: Linux, fs/notify/fsnotify.c, include/linux/fsnotify.h; inotify(7), fcntl(2).
//!
//! Differs from Linux: what happens to a file concerns the directory of the name that it was given last, not of the one that it was opened by; and
//! pipes, devices and proc say nothing.

mod dnotify;
mod inotify;

pub(crate) use inotify::{EventId, InotifyEvent, Watch};

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use crate::Linux;
use crate::file::{File, Kind};
use crate::vfs::{DentryId, NAME_MAX, is_dir};

/// What happens. Source: Linux, include/linux/fsnotify_backend.h; the same numbers as inotify(7) has.
pub(crate) mod fs {
    pub(crate) const ACCESS: u32 = 0x1;
    pub(crate) const MODIFY: u32 = 0x2;
    pub(crate) const ATTRIB: u32 = 0x4;
    pub(crate) const CLOSE_WRITE: u32 = 0x8;
    pub(crate) const CLOSE_NOWRITE: u32 = 0x10;
    pub(crate) const OPEN: u32 = 0x20;
    pub(crate) const MOVED_FROM: u32 = 0x40;
    pub(crate) const MOVED_TO: u32 = 0x80;
    pub(crate) const CREATE: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x200;
    pub(crate) const DELETE_SELF: u32 = 0x400;
    pub(crate) const MOVE_SELF: u32 = 0x800;
    /// A name moved within its directory: for `dnotify` only.
    pub(crate) const RENAME: u32 = 0x1000_0000;
    /// It is about a directory.
    pub(crate) const ISDIR: u32 = 0x4000_0000;
}

/// Something happened.
#[derive(Clone, Copy)]
struct Happened<'a> {
    mask: u32,
    /// In a directory: to which name.
    name: Option<&'a [u8]>,
    /// What two events of one `rename` have in common.
    cookie: u32,
}

impl<P: Platform> Linux<'_, P> {
    /// Something happened to an object.
    #[inline(always)]
    pub(crate) fn fsnotify(&self, inode: InodeId, mask: u32) {
        if self.watching.get() != 0 {
            self.tell_of_object(inode, mask);
        }
    }

    /// The same, through a description. What is no file and no directory says nothing.
    #[inline(always)]
    pub(crate) fn fsnotify_file(&self, file: File<'_>, mask: u32) {
        if self.watching.get() != 0
            && let Kind::Object(inode) | Kind::Directory(inode) = file.kind()
        {
            self.tell_of_object(inode, mask);
        }
    }

    /// A description is closed.
    #[inline(always)]
    pub(crate) fn fsnotify_close(&self, file: File<'_>) {
        if self.watching.get() != 0 {
            let mask = if file.writable() {
                fs::CLOSE_WRITE
            } else {
                fs::CLOSE_NOWRITE
            };
            self.fsnotify_file(file, mask);
        }
    }

    /// Something happened to a name in a directory.
    #[inline(always)]
    pub(crate) fn fsnotify_name(&self, dir: InodeId, mask: u32, name: &[u8], inode: InodeId) {
        if self.watching.get() != 0 {
            self.tell_of_name(dir, mask | self.dir_bit(inode), name, 0);
        }
    }

    /// An object got another name, and what had that name lost it.
    #[inline(always)]
    pub(crate) fn fsnotify_moved(&self, from: (InodeId, &[u8]), to: (InodeId, &[u8]), inode: InodeId) {
        if self.watching.get() != 0 {
            self.tell_of_move(from, to, inode);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_move(&self, from: (InodeId, &[u8]), to: (InodeId, &[u8]), inode: InodeId) {
        let dir = self.dir_bit(inode);
        self.cookies.add(1);
        let cookie = self.cookies.get() as u32;
        if from.0 == to.0 {
            self.tell_of_name(from.0, fs::RENAME | dir, from.1, 0);
        }
        self.tell_of_name(from.0, fs::MOVED_FROM | dir, from.1, cookie);
        self.tell_of_name(to.0, fs::MOVED_TO | dir, to.1, cookie);
        self.tell_of_self(inode, fs::MOVE_SELF);
    }

    #[cold]
    #[inline(never)]
    fn tell_of_name(&self, dir: InodeId, mask: u32, name: &[u8], cookie: u32) {
        let name = Some(name);
        self.tell(dir, &Happened { mask, name, cookie });
    }

    #[cold]
    #[inline(never)]
    fn tell_of_self(&self, inode: InodeId, mask: u32) {
        let (name, cookie) = (None, 0);
        self.tell(inode, &Happened { mask, name, cookie });
    }

    /// An object has more names, or fewer: no matter to who watches its directory.
    #[inline(always)]
    pub(crate) fn fsnotify_links(&self, inode: InodeId) {
        if self.watching.get() != 0 {
            self.tell_of_self(inode, fs::ATTRIB);
        }
    }

    /// Takes away a name, and says so, by the name that there was.
    #[cold]
    #[inline(never)]
    pub(crate) fn removing(&self, entry: DentryId, mask: u32, remove: impl FnOnce()) {
        let mut name = [0; NAME_MAX + 1];
        let (len, dir) = (self.copy_name(entry, &mut name), self.dentry(entry).parent());
        remove();
        if let Some(dir) = dir {
            self.tell_of_name(dir, mask, &name[..len], 0);
        }
    }

    fn dir_bit(&self, inode: InodeId) -> u32 {
        if is_dir(self.object(inode)) { fs::ISDIR } else { 0 }
    }

    /// Both who watches the object and who watches its directory is told; the latter first. Source: Linux `__fsnotify_parent`.
    #[cold]
    #[inline(never)]
    fn tell_of_object(&self, inode: InodeId, mask: u32) {
        if self.object(inode).i_sb().is_none() || self.is_proc(inode) {
            return;
        }
        let mask = mask | self.dir_bit(inode);
        let entry = self.a_name_of(inode);
        if let Some((entry, dir)) = entry.and_then(|entry| Some((entry, self.dentry(entry).parent()?))) {
            let mut name = [0; NAME_MAX + 1];
            let len = self.copy_name(entry, &mut name);
            self.tell_of_name(dir, mask, &name[..len], 0);
        }
        self.tell_of_self(inode, mask);
    }

    fn tell(&self, inode: InodeId, happened: &Happened<'_>) {
        self.dnotify(inode, happened.mask);
        self.inotify(inode, happened);
    }
}
