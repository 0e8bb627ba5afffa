//! Working directories. Source: Linux, fs/open.c (`chdir`), fs/d_path.c (`getcwd`), kernel/fork.c (`copy_fs`); chdir(2), getcwd(2).

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::namei::Follow;
use super::permission::may;
use super::{Fs, PathAt, Task, is_dir};
use crate::file::{File, Kind};
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// What the first program has to do with file systems.
    pub fn first_fs(&self) -> Fs {
        self.memory.ihold(self.root());
        Fs {
            cwd: Some(self.root()),
            umask: 0o022,
        }
    }

    /// `fork`: a copy.
    #[must_use]
    pub fn copy_fs(&self, fs: Fs) -> Fs {
        if let Some(cwd) = fs.cwd {
            self.memory.ihold(cwd);
        }
        fs
    }

    /// The end of a process.
    pub fn exit_fs(&self, fs: Fs) {
        if let Some(cwd) = fs.cwd {
            self.put_inode(cwd);
        }
        self.reap_detached();
    }

    /// `chdir`: what the process has from now on.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`; those of a walk.
    pub fn chdir(&self, task: &Task, at: PathAt<'_>) -> Result<Fs, Errno> {
        let dir = self.lookup(task, at, Follow::Yes, false)?;
        self.set_cwd(task, dir)
    }

    /// `fchdir`.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`.
    pub fn fchdir(&self, task: &Task, file: File<'_>) -> Result<Fs, Errno> {
        match (file.kind(), file.inode()) {
            (Kind::Directory(dir) | Kind::Path(dir), _) => self.set_cwd(task, dir),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn set_cwd(&self, task: &Task, dir: InodeId) -> Result<Fs, Errno> {
        if !is_dir(self.object(dir)) {
            return Err(Errno::ENOTDIR);
        }
        self.permission(task.cred, dir, may::EXEC)?;
        self.memory.ihold(dir);
        self.exit_fs(task.fs);
        Ok(Fs {
            cwd: Some(dir),
            ..task.fs
        })
    }

    /// `getcwd`: writes the path to the end of `to`; where it begins.
    ///
    /// # Errors
    /// `ENOENT` for a removed directory, `ERANGE` when the path does not fit.
    pub fn getcwd(&self, fs: Fs, to: &mut [u8]) -> Result<usize, Errno> {
        self.d_path(fs.cwd.ok_or(Errno::ENOENT)?, to)
    }
}
