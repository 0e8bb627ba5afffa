//! What the guest's root holds besides the program: files, directories and symbolic links, each with rights and owner.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// One entry of the guest's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFile {
    /// Path in the guest, without a leading `/`.
    pub path: Vec<u8>,
    /// Rights, `S_ISUID` and its like included: the low 12 bits of `st_mode`.
    pub rights: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A regular file with these bytes.
    Bytes(Vec<u8>),
    /// A regular file with the bytes of one on this host.
    Host {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes when it was found; it must not have changed when it is read.
        bytes: u64,
    },
}

impl GuestFile {
    /// A directory of root's that all may enter.
    #[must_use]
    pub fn directory(path: &[u8], rights: u32) -> GuestFile {
        GuestFile {
            path: relative(path).to_vec(),
            rights,
            uid: 0,
            gid: 0,
            content: Content::Directory,
        }
    }

    /// A file of root's that all may read.
    #[must_use]
    pub fn text(path: &[u8], text: &str) -> GuestFile {
        GuestFile {
            content: Content::Bytes(text.as_bytes().to_vec()),
            ..GuestFile::directory(path, 0o644)
        }
    }

    /// What is at `host` on this machine, at `guest` there: a regular file, or, unless `follow`, a symbolic link or directory without what is in it.
    fn of_host(host: &Path, guest: &[u8], follow: bool) -> io::Result<GuestFile> {
        let metadata = if follow {
            fs::metadata(host)
        } else {
            fs::symlink_metadata(host)
        }?;
        let content = content(host, &metadata)?;
        Ok(GuestFile {
            path: relative(guest).to_vec(),
            rights: metadata.permissions().mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            content,
        })
    }

    /// The regular file at `host` on this machine, or the one that links there lead to, at `guest` there.
    ///
    /// # Errors
    /// It cannot be looked at or read; it is something else.
    pub fn file(host: &Path, guest: &[u8]) -> io::Result<GuestFile> {
        let file = GuestFile::of_host(host, guest, true)?;
        match file.content {
            Content::Host { .. } => {
                // Whether it may be read is known before anything is started.
                File::open(host)?;
                Ok(file)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "is a directory: bring it with --dir",
            )),
        }
    }

    /// The directory at `host` and all in it, at `guest`: links stay links; what is neither file, directory nor link is left out, and named by `left_out`.
    ///
    /// # Errors
    /// Something cannot be looked at or read; the path is told.
    pub fn tree(
        host: &Path,
        guest: &[u8],
        left_out: &mut dyn FnMut(&Path),
    ) -> Result<Vec<GuestFile>, (PathBuf, io::Error)> {
        let told = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        if !fs::metadata(host).map_err(told(host))?.is_dir() {
            let error = io::Error::new(io::ErrorKind::NotADirectory, "is no directory: bring it with --file");
            return Err((host.to_owned(), error));
        }
        let mut files = vec![GuestFile::of_host(host, guest, true).map_err(told(host))?];
        let mut next = 0;
        // Entries are visited in the order of their names, so that two runs give the same guest.
        let mut directories = vec![(host.to_owned(), relative(guest).to_vec())];
        while let Some((from, to)) = directories.get(next).cloned() {
            next += 1;
            let entries: io::Result<Vec<_>> = fs::read_dir(&from).map_err(told(&from))?.collect();
            let mut names: Vec<_> = entries
                .map_err(told(&from))?
                .iter()
                .map(fs::DirEntry::file_name)
                .collect();
            names.sort();
            for name in names {
                let path = from.join(&name);
                let there = join(&to, name.as_bytes());
                match GuestFile::of_host(&path, &there, false) {
                    Ok(file) => {
                        if file.content == Content::Directory {
                            directories.push((path, there));
                        }
                        files.push(file);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => left_out(&path),
                    Err(error) => return Err((path, error)),
                }
            }
        }
        Ok(files)
    }
}

fn content(host: &Path, metadata: &Metadata) -> io::Result<Content> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Ok(Content::Directory)
    } else if kind.is_symlink() {
        Ok(Content::Symlink(fs::read_link(host)?.as_os_str().as_bytes().to_vec()))
    } else if kind.is_file() {
        Ok(Content::Host {
            path: host.to_owned(),
            bytes: metadata.len(),
        })
    } else {
        let what = match () {
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_socket() => "a socket",
            () => "a device",
        };
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("is {what}, not a file"),
        ))
    }
}

/// `name` without any leading `/` and `./`: kernels look files up without them.
#[must_use]
pub fn relative(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"/").or_else(|| name.strip_prefix(b"./")) {
        name = rest;
    }
    name
}

/// A path in a directory; either may be empty.
#[must_use]
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory.ends_with(b"/") {
        [directory, name].concat()
    } else {
        [directory, b"/", name].concat()
    }
}

/// A path as it is without `.`, repeated slashes and what `..` takes back, relative to the root: two that are equal then name the same, if
/// there are no links.
#[must_use]
pub fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_put_together() {
        assert_eq!(normal(b"//a/./b/../c/"), b"a/c");
        assert_eq!(normal(b"../.."), b"");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(join(b"/", b"b"), b"/b");
        assert_eq!(relative(b"/.//./x"), b"x");
    }

    #[test]
    fn a_tree_comes_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("b")).unwrap();
        fs::write(at("b/inner"), b"12345").unwrap();
        fs::write(at("a"), b"").unwrap();
        fs::set_permissions(at("a"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("nowhere/at/all", at("c")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let mut left_out = Vec::new();
        let files = GuestFile::tree(directory.path(), b"/data/", &mut |path| left_out.push(path.to_owned())).unwrap();
        drop(socket);
        let shown: Vec<_> = files
            .iter()
            .map(|file| String::from_utf8(file.path.clone()).unwrap())
            .collect();
        assert_eq!(shown, ["data/", "data/a", "data/b", "data/c", "data/b/inner"]);
        assert_eq!(files[1].rights, 0o4711);
        assert_eq!(files[3].content, Content::Symlink(b"nowhere/at/all".to_vec()));
        assert!(matches!(files[4].content, Content::Host { bytes: 5, .. }));
        assert_eq!(left_out, [at("socket")]);
        assert_eq!(GuestFile::tree(&at("a"), b"x", &mut |_| ()).unwrap_err().0, at("a"));
        assert!(GuestFile::file(&at("b"), b"x").is_err());
        assert!(GuestFile::file(&at("none"), b"x").is_err());
    }
}
