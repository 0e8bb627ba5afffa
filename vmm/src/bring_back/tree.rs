//! One file or directory while it arrives.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Budget, Stop};

/// Bytes of a page of the guest's.
pub(super) const PAGE_BYTES: u64 = 4096;

/// Bytes of a name at most. Source: Linux `NAME_MAX`.
const NAME_MAX: usize = 255;

/// Name of what arrives in its temporary directory.
const TOP: &str = "it";

/// Something that the guest has: mode, bytes, number of the inode, name, target of a link.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Type and rights, as `st_mode`.
    pub(crate) mode: u64,
    /// Bytes, of a file.
    pub(crate) size: u64,
    /// The same for names of the same file; 0: unknown.
    pub(crate) ino: u64,
    /// One component; none for the place itself.
    pub(crate) name: Vec<u8>,
    /// Where a link leads.
    pub(crate) target: Vec<u8>,
}

/// A file that is being written.
struct Open {
    file: File,
    rights: u32,
    size: u64,
    /// Pages before this index have come.
    next: u64,
}

/// What has come so far.
pub(crate) struct Tree {
    /// The temporary directory, which holds nothing else.
    claim: TempDir,
    /// Directories that are not complete, the innermost last, as paths below the top.
    open_dirs: Vec<PathBuf>,
    /// Rights of all directories, which are given when nothing is to be written there any more.
    rights: Vec<(PathBuf, u32)>,
    file: Option<Open>,
    by_inode: HashMap<u64, PathBuf>,
    begun: bool,
    left: Budget,
}

impl Tree {
    /// Nothing, which will grow in `claim`.
    pub(super) fn new(claim: TempDir, left: Budget) -> Tree {
        Tree {
            claim,
            open_dirs: Vec::new(),
            rights: Vec::new(),
            file: None,
            by_inode: HashMap::new(),
            begun: false,
            left,
        }
    }

    /// What is at `below`.
    fn path(&self, below: &Path) -> PathBuf {
        // Joined with nothing, a path gets a slash at its end, which a file must not have.
        match below.as_os_str().is_empty() {
            true => self.claim.path().join(TOP),
            false => self.claim.path().join(TOP).join(below),
        }
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.begun && self.file.is_none() && self.open_dirs.is_empty()
    }

    /// Moves it to its place.
    pub(super) fn put_in_place(&mut self, host: &Path) -> Result<(), String> {
        fs::rename(self.path(Path::new("")), host).map_err(|error| super::on_this_host(&error))?;
        for (path, rights) in self.rights.iter().rev() {
            // Its content is there: less than its rights is no reason to take it back.
            let at = if path.as_os_str().is_empty() {
                host.to_owned()
            } else {
                host.join(path)
            };
            if let Err(error) = fs::set_permissions(&at, Permissions::from_mode(*rights)) {
                log::warn!("--out: cannot give {} its rights: {error}", at.display());
            }
        }
        Ok(())
    }

    /// A file, a directory or a link begins.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Stop> {
        let below = self.place_of(&entry.name)?;
        self.left.entries = self
            .left
            .entries
            .checked_sub(1)
            .ok_or_else(|| wrong("more entries than fit its memory"))?;
        let path = self.path(&below);
        let rights = (entry.mode & 0o777) as u32;
        match (entry.mode as u32) & libc::S_IFMT {
            libc::S_IFDIR => {
                DirBuilder::new().mode(0o700).create(&path)?;
                self.rights.push((below.clone(), rights));
                self.open_dirs.push(below);
            }
            libc::S_IFLNK if self.begun => {
                let target = OsStr::from_bytes(&entry.target);
                symlink(target, &path)?;
            }
            libc::S_IFREG => {
                if let Some(first) = self.by_inode.get(&entry.ino).filter(|_| entry.ino != 0) {
                    fs::hard_link(self.path(first), &path)?;
                    return Err(Stop::Linked);
                }
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)?;
                let too_large = || Stop::from(io::Error::from_raw_os_error(libc::EFBIG));
                i64::try_from(entry.size).map_err(|_| too_large())?;
                file.set_len(entry.size)?;
                if self.begun {
                    self.by_inode.insert(entry.ino, below);
                }
                self.file = Some(Open {
                    file,
                    rights,
                    size: entry.size,
                    next: 0,
                });
            }
            _ => return Err(wrong("something that is no file, directory or link")),
        }
        self.begun = true;
        Ok(())
    }

    /// Content of the file from a page on; what lies behind its end is dropped.
    pub(crate) fn pages(&mut self, index: u64, content: &[u8]) -> Result<(), Stop> {
        let pages = (content.len() as u64).div_ceil(PAGE_BYTES);
        let Some(file) = &mut self.file else {
            return Err(wrong("content of no file"));
        };
        let end = index
            .checked_add(pages)
            .filter(|&end| index >= file.next && end <= file.size.div_ceil(PAGE_BYTES));
        file.next = end.ok_or_else(|| wrong("pages out of order"))?;
        self.left.pages = self
            .left
            .pages
            .checked_sub(pages)
            .ok_or_else(|| wrong("more content than fits its memory"))?;
        let at = index * PAGE_BYTES;
        let len = (file.size - at).min(content.len() as u64) as usize;
        Ok(file.file.write_all_at(&content[..len], at)?)
    }

    /// The file or directory is complete.
    pub(crate) fn end(&mut self) -> Result<(), Stop> {
        match (self.file.take(), self.open_dirs.is_empty()) {
            (Some(open), _) => Ok(open.file.set_permissions(Permissions::from_mode(open.rights))?),
            (None, false) => {
                self.open_dirs.pop();
                Ok(())
            }
            (None, true) => Err(wrong("an end of nothing")),
        }
    }

    /// Where an entry of this name is to be, below the top.
    fn place_of(&self, name: &[u8]) -> Result<PathBuf, Stop> {
        if self.file.is_some() {
            return Err(wrong("an entry of a file"));
        }
        match (self.open_dirs.last(), self.begun) {
            (None, false) if name.is_empty() => Ok(PathBuf::new()),
            (Some(dir), true) if is_name(name) => Ok(dir.join(OsStr::from_bytes(name))),
            _ => Err(wrong("an entry with an impossible name")),
        }
    }
}

/// Whether it is one component of a path, and no other way to say the directory or the one above.
fn is_name(name: &[u8]) -> bool {
    let special = matches!(name, b"" | b"." | b"..");
    !special && name.len() <= NAME_MAX && !name.contains(&b'/') && !name.contains(&0)
}

/// The guest said what no good one says.
fn wrong(what: &str) -> Stop {
    Stop::Failed(format!("the guest handed over {what}"))
}
