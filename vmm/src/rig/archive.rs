//! An initramfs being put together: files by path, written as one archive (`newc`, by the crate `cpio`).
//!
//! Invariants: every entry's directory is in the archive and comes before it (the kernel creates none by itself), and
//! equal contents give equal bytes (inode numbers count up, owner and times are zero), because the simulated machine
//! has to start from the same state every time.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use cpio::newc;

const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// What stands at a path.
#[derive(Debug)]
struct Entry {
    mode: u32,
    device: (u32, u32),
    contents: Vec<u8>,
}

/// The tree.
#[derive(Debug, Default)]
pub struct Archive {
    /// By absolute path without `.` and `..`. A directory sorts before what is in it.
    entries: BTreeMap<PathBuf, Entry>,
}

impl Archive {
    /// Puts a regular file at `path` (absolute), with the directories that the path goes through.
    pub fn add_file(&mut self, path: &Path, permissions: u32, contents: Vec<u8>) {
        self.add(
            path,
            Entry {
                mode: REGULAR | permissions & 0o7777,
                device: (0, 0),
                contents,
            },
        );
    }

    /// Puts a directory at `path` (absolute), as [`Archive::add_file`].
    pub fn add_directory(&mut self, path: &Path, permissions: u32) {
        self.add(
            path,
            Entry {
                mode: DIRECTORY | permissions & 0o7777,
                device: (0, 0),
                contents: Vec::new(),
            },
        );
    }

    /// Puts a character device at `path` (absolute), as [`Archive::add_file`].
    pub fn add_character_device(&mut self, path: &Path, permissions: u32, device: (u32, u32)) {
        self.add(
            path,
            Entry {
                mode: CHARACTER_DEVICE | permissions & 0o7777,
                device,
                contents: Vec::new(),
            },
        );
    }

    /// Whether there is a file or directory at `path`, which has no `.` or `..`.
    #[cfg(test)]
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    /// Sum of the contents, in bytes.
    pub(super) fn content_bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.contents.len() as u64).sum()
    }

    /// Every directory that a lookup of `path` visits is made, those that a later `..` leaves again included; `..`
    /// itself is resolved as if no component were a symbolic link, which holds in this tree.
    fn add(&mut self, path: &Path, entry: Entry) {
        let names: Vec<Component> = path.components().collect();
        let mut at = PathBuf::from("/");
        for (index, name) in names.iter().enumerate() {
            match name {
                Component::Normal(name) => {
                    at.push(name);
                    if index + 1 < names.len() {
                        let directory = Entry {
                            mode: DIRECTORY | 0o755,
                            device: (0, 0),
                            contents: Vec::new(),
                        };
                        self.entries.entry(at.clone()).or_insert(directory);
                    }
                }
                Component::ParentDir => {
                    at.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        // The root itself is there already.
        if at != Path::new("/") {
            self.entries.insert(at, entry);
        }
    }

    /// Writes the archive, its trailer included.
    ///
    /// # Errors
    /// `InvalidFilename` for a name that is no UTF-8, `FileTooLarge` from 4 GiB on, and those of `out`.
    pub fn write(&self, mut out: &mut impl Write) -> io::Result<()> {
        for ((path, entry), inode) in self.entries.iter().zip(1..) {
            let name = path.strip_prefix("/").unwrap_or(path);
            out = entry.write(out, inode, name)?;
        }
        newc::trailer(out).map(|_| ())
    }
}

impl Entry {
    fn write<W: Write>(&self, out: W, inode: u32, name: &Path) -> io::Result<W> {
        let name = name.to_str().ok_or_else(|| {
            unfit(
                ErrorKind::InvalidFilename,
                "an initramfs holds names in UTF-8 only",
                name,
            )
        })?;
        let bytes = u32::try_from(self.contents.len()).map_err(|_| {
            unfit(
                ErrorKind::FileTooLarge,
                "an initramfs holds no file of 4 GiB or more",
                name,
            )
        })?;
        let mut entry = newc::Builder::new(name)
            .ino(inode)
            .mode(self.mode)
            .nlink(if self.mode & DIRECTORY != 0 { 2 } else { 1 })
            .rdev_major(self.device.0)
            .rdev_minor(self.device.1)
            .write(out, bytes);
        entry.write_all(&self.contents)?;
        entry.finish()
    }
}

fn unfit(kind: ErrorKind, why: &str, name: impl AsRef<Path>) -> io::Error {
    io::Error::new(kind, format!("{why}: {}", name.as_ref().display()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// (name, mode, contents) of every entry of an archive; panics if it is malformed.
    fn read(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let mut reader = newc::Reader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents).unwrap();
            entries.push((reader.entry().name().to_owned(), reader.entry().mode(), contents));
            archive = reader.finish().unwrap();
        }
    }

    fn written(archive: &Archive) -> Vec<u8> {
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.add_file(Path::new("/a/b/file"), 0o755, b"12345".to_vec());
        archive.add_character_device(Path::new("/dev/console"), 0o600, (5, 1));
        let entries = read(&written(&archive));
        let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/file", "dev", "dev/console"]);
        assert_eq!(
            (entries[0].1, entries[2].1, entries[4].1),
            (0o040_755, 0o100_755, 0o020_600)
        );
        assert_eq!(entries[2].2, b"12345");
    }

    #[test]
    fn every_length_of_name_and_contents_is_aligned() {
        let mut archive = Archive::default();
        for length in 0..9 {
            archive.add_file(&Path::new("/").join("n".repeat(length + 1)), 0o644, vec![7; length]);
        }
        let entries = read(&written(&archive));
        assert_eq!(entries.len(), 9);
        assert!(
            entries
                .iter()
                .enumerate()
                .all(|(length, entry)| entry.2 == vec![7; length])
        );
        assert_eq!(archive.content_bytes(), 36);
    }

    #[test]
    fn parent_components_are_resolved_and_can_be_walked() {
        let mut archive = Archive::default();
        archive.add_file(Path::new("/home/here/.././program"), 0o755, vec![]);
        assert!(
            archive.contains(Path::new("/home/here")),
            "a lookup of the literal path goes through it"
        );
        assert!(archive.contains(Path::new("/home/program")));
        archive.add_directory(Path::new("/../.."), 0o755);
        assert_eq!(read(&written(&archive)).len(), 3);
    }

    #[test]
    fn a_later_directory_does_not_empty_an_earlier_one() {
        let mut archive = Archive::default();
        archive.add_file(Path::new("/tmp/x"), 0o644, vec![1]);
        archive.add_directory(Path::new("/tmp"), 0o1777);
        let entries = read(&written(&archive));
        assert_eq!((entries[0].1, entries.len()), (0o041_777, 2));
    }
}
