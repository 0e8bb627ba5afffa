//! A file or a directory with all in it, handed out to whoever runs the machine.
//!
//! What is mounted in the directory is left out, as are devices, pipes and sockets.

use faultlab_mm::Platform;
use faultlab_mm::addr::Pfn;
use faultlab_mm::shmem::{InodeId, inode_flag};

use super::dentry::DentryId;
use super::{NAME_MAX, PATH_MAX, PathAt, Task, is_dir, s, type_of};
use crate::{Errno, Linux};

/// A step of [`Linux::export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export<'a> {
    /// A file, a directory or a link, in the directory that was entered last. `EEXIST` leaves out a file's content and its end.
    Entry {
        /// Type and rights.
        mode: u32,
        /// Bytes, of a file.
        size: u64,
        /// Number of the inode.
        ino: u64,
        /// Its name there; none for what was asked for itself.
        name: &'a [u8],
        /// Where a link leads.
        target: &'a [u8],
    },
    /// Pages of the file from an index on; between them are holes.
    Pages(u64, &'a [Pfn]),
    /// The file or directory is complete.
    End,
    /// Something of another kind, which is left out.
    LeftOut(&'a [u8]),
}

/// Who takes the steps.
type Take<'t> = dyn FnMut(Export<'_>) -> Result<(), Errno> + 't;

impl<P: Platform> Linux<'_, P> {
    /// Hands out what a path leads to, links followed.
    ///
    /// # Errors
    /// Those of a walk; `EOPNOTSUPP` for what is no file or directory of tmpfs or ramfs; `EIO` and `ENOMEM` when something cannot be brought back
    /// from swap; what `take` says.
    pub fn export(&self, task: &Task, path: &[u8], take: &mut Take<'_>) -> Result<(), Errno> {
        let top = self.find(task, PathAt::cwd(path), 0, 0)?;
        if self.is_proc(top) || !matches!(type_of(self.object(top)), s::IFREG | s::IFDIR) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.export_one(top, b"", take)?;
        if !is_dir(self.object(top)) {
            return Ok(());
        }
        let (mut dir, mut next) = (top, self.newest_name(top));
        let mut name = [0; NAME_MAX + 1];
        loop {
            while let Some(entry) = next {
                next = self.dentry(entry).older();
                let Some(inode) = self.dentry(entry).inode() else {
                    continue;
                };
                let len = self.copy_name(entry, &mut name);
                if self.export_one(inode, &name[..len], take)? {
                    (dir, next) = (inode, self.first_shown(inode));
                }
            }
            take(Export::End)?;
            if dir == top {
                return Ok(());
            }
            // Every directory below has a name: it was found by it.
            let above = self.name_of_dir(dir).map(|entry| self.dentry(entry));
            let Some((entry, above)) = above.and_then(|entry| Some((entry, entry.parent()?))) else {
                return Err(Errno::ENOENT);
            };
            (dir, next) = (above, entry.older());
        }
    }

    /// The newest name that a directory shows: none if something else is mounted there.
    fn first_shown(&self, dir: InodeId) -> Option<DentryId> {
        let covered = self.object(dir).i_flags() & inode_flag::MOUNTPOINT != 0;
        self.newest_name(dir).filter(|_| !covered)
    }

    /// Hands out one object, a directory without what is in it; whether it is a directory.
    fn export_one(&self, id: InodeId, name: &[u8], take: &mut Take<'_>) -> Result<bool, Errno> {
        let inode = self.object(id);
        let (mode, size, ino) = (inode.i_mode(), inode.i_size(), inode.i_ino());
        let mut text = [0; PATH_MAX];
        let mut entry = |target: &[u8]| {
            take(Export::Entry {
                mode,
                size,
                ino,
                name,
                target,
            })
        };
        match type_of(inode) {
            s::IFDIR => entry(b"")?,
            s::IFLNK => {
                let len = self.link_text(id, 0, &mut text)?;
                entry(&text[..len])?;
            }
            s::IFREG => match entry(b"") {
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
                Ok(()) => {
                    self.memory
                        .for_each_run(id, |index, run| take(Export::Pages(index, run)))?;
                    take(Export::End)?;
                }
            },
            _ => take(Export::LeftOut(name))?,
        }
        Ok(is_dir(inode))
    }
}
