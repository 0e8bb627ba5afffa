//! An initramfs being put together: files by path, written as one `newc` archive.
//!
//! Invariants: every entry's directory is in the archive and comes before it (the kernel creates none by itself), and
//! equal contents give equal bytes (inode numbers count up, owner and times are zero), because the simulated machine
//! has to start from the same state every time.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

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
    /// `out` fails, or a file has 4 GiB or more.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for ((path, entry), inode) in self.entries.iter().zip(1..) {
            let name: &OsStr = path.strip_prefix("/").unwrap_or(path).as_os_str();
            write_entry(out, inode, name, entry)?;
        }
        let trailer = Entry {
            mode: 0,
            device: (0, 0),
            contents: Vec::new(),
        };
        write_entry(out, 0, &OsString::from("TRAILER!!!"), &trailer)
    }
}

/// Header, name and contents, each padded to four bytes.
fn write_entry(out: &mut impl Write, inode: u32, name: &OsStr, entry: &Entry) -> io::Result<()> {
    let size = u32::try_from(entry.contents.len()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            "an initramfs holds no file of 4 GiB or more",
        )
    })?;
    let links = if entry.mode & DIRECTORY != 0 { 2 } else { 1 };
    let name_bytes = name.len() as u32 + 1;
    let (major, minor) = entry.device;
    let fields = [
        inode, entry.mode, 0, 0, links, 0, size, 0, 0, major, minor, name_bytes, 0,
    ];
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name.as_bytes())?;
    // The NUL, then padding: the header has 110 bytes.
    out.write_all(&[0; 4][..1 + padding(110 + name_bytes as usize)])?;
    out.write_all(&entry.contents)?;
    out.write_all(&[0; 4][..padding(entry.contents.len())])
}

/// Bytes from `length` to the next multiple of four.
fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (name, mode, contents) of every entry of an archive, its trailer included; panics if it is malformed.
    fn read(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        while !archive.is_empty() {
            assert_eq!(&archive[..6], b"070701");
            let field = |index: usize| {
                let digits = std::str::from_utf8(&archive[6 + index * 8..][..8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap() as usize
            };
            let (mode, size, name_bytes) = (field(1) as u32, field(6), field(11));
            let name = std::str::from_utf8(&archive[110..110 + name_bytes]).unwrap();
            let at = (110 + name_bytes).next_multiple_of(4);
            entries.push((
                name.trim_end_matches('\0').to_owned(),
                mode,
                archive[at..at + size].to_vec(),
            ));
            archive = &archive[(at + size).next_multiple_of(4)..];
        }
        entries
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
        assert_eq!(names, ["a", "a/b", "a/b/file", "dev", "dev/console", "TRAILER!!!"]);
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
        assert_eq!(entries.len(), 10);
        assert!(
            entries[..9]
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
        assert_eq!(read(&written(&archive)).len(), 4);
    }

    #[test]
    fn a_later_directory_does_not_empty_an_earlier_one() {
        let mut archive = Archive::default();
        archive.add_file(Path::new("/tmp/x"), 0o644, vec![1]);
        archive.add_directory(Path::new("/tmp"), 0o1777);
        let entries = read(&written(&archive));
        assert_eq!((entries[0].1, entries.len()), (0o041_777, 3));
    }
}
