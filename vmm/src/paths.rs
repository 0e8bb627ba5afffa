//! What a path that somebody gave names: a descriptor of this process that is open already, or a file by its last name.
//!
//! `/dev/stdout`, `/dev/fd/N` and `/proc/self/fd/N` are the open descriptor itself, duplicated: opened anew, a regular file behind it would be
//! written from its beginning again; and it may have no name any more, or that of another file.
//!
//! Source: proc_pid_fd(5); path_resolution(7); fd(4).

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// Links that a path may end in, one leading to the next. Source: path_resolution(7).
const LINKS_MAX: u32 = 40;

/// What a path names.
#[derive(Debug)]
pub enum Named {
    /// A descriptor that was open already; both share one position.
    Descriptor(File),
    /// A file, which need not be there; the last name of it is no symbolic link, except to an open file of another process.
    Path(PathBuf),
}

/// Follows `path` to its end.
///
/// # Errors
/// Its directory is missing or cannot be searched, its links go round in circles, or no descriptor of that number is open. `IsADirectory` for
/// a path that ends with a slash.
pub fn named(path: &Path) -> io::Result<Named> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let bytes = path.as_os_str().as_bytes();
        let (Some(name), false) = (path.file_name(), bytes.ends_with(b"/") || bytes.ends_with(b"/.")) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let directory = directory_of(&path).canonicalize()?;
        let place = directory.join(name);
        if holds_descriptors(&directory) {
            return match name.to_str().and_then(|name| name.parse().ok()) {
                Some(number) if is_own(&directory) => duplicate(number).map(Named::Descriptor),
                _ => Ok(Named::Path(place)),
            };
        }
        match place.read_link() {
            Ok(target) => path = directory.join(target),
            // It is no link, or is not there.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(Named::Path(place));
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

/// The directory that `path` is in; `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Opens the file at `path` to write it anew; a descriptor goes on where it is.
///
/// # Errors
/// As [`named`], and the operating system's.
pub fn create(path: &Path) -> io::Result<File> {
    match named(path)? {
        Named::Descriptor(file) => Ok(file),
        Named::Path(place) => File::create(place),
    }
}

/// Opens the regular file at `path`, or what is open already, to be read.
///
/// # Errors
/// It is something else, or the operating system's.
pub fn open(path: &Path) -> io::Result<File> {
    match named(path)? {
        Named::Descriptor(file) => Ok(file),
        // A FIFO without a writer does not hold this up.
        Named::Path(place) => {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(place)?;
            check_regular(file.metadata()?.file_type())?;
            Ok(file)
        }
    }
}

/// The contents of the regular file at `path`, or of an open descriptor, of at most `bytes_max`.
///
/// # Errors
/// It is something else, or longer (`FileTooLarge`); or the operating system's.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    // What tells its size is not read in vain.
    if file.metadata()?.len() <= bytes_max {
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= bytes_max {
            return Ok(bytes);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("longer than {bytes_max} bytes"),
    ))
}

/// The same of text.
///
/// # Errors
/// It is no UTF-8 (`InvalidData`); else as [`read`].
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Whether it is a regular file.
///
/// # Errors
/// What it is instead: `IsADirectory`, or `Unsupported`.
pub(crate) fn check_regular(kind: FileType) -> io::Result<()> {
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory")),
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() => "a block device",
        () => "a device",
    };
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("is {what}, not a file"),
    ))
}

/// Whether it is `/proc/PID/fd` or `/proc/PID/task/TID/fd`.
fn holds_descriptors(directory: &Path) -> bool {
    directory.starts_with("/proc") && directory.ends_with("fd")
}

fn is_own(directory: &Path) -> bool {
    directory.starts_with(format!("/proc/{}", std::process::id()))
}

fn duplicate(number: RawFd) -> io::Result<File> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: borrowed for one call, which refuses a number that is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(fcntl_dupfd_cloexec(descriptor, 3)?.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_descriptor_is_the_open_one_by_all_its_names() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before ").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (link, second) = (directory.path().join("link"), directory.path().join("second"));
        symlink(format!("/dev/fd/{}", file.as_raw_fd()), &link).unwrap();
        symlink("link", &second).unwrap();
        let number = file.as_raw_fd();
        for name in [
            format!("/dev/fd/{number}"),
            format!("/proc/self/fd/{number}"),
            format!("/proc/thread-self/fd/{number}"),
            second.display().to_string(),
        ] {
            let Ok(Named::Descriptor(mut found)) = named(Path::new(&name)) else {
                panic!("{name}")
            };
            found.write_all(b"x").unwrap();
        }
        // All wrote on from where the others had come to.
        assert_eq!(file.stream_position().unwrap(), 11);
        let closed = named(Path::new("/dev/fd/999999")).unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn links_are_followed_to_a_name_that_may_be_new() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().canonicalize().unwrap().join(name);
        symlink("new", at("link")).unwrap();
        symlink("round", at("round")).unwrap();
        for name in ["new", "link", "./link"] {
            let Ok(Named::Path(place)) = named(&directory.path().join(name)) else {
                panic!("{name}")
            };
            assert_eq!(place, at("new"));
        }
        assert_eq!(named(&at("round")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(named(&at("new/")).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(named(&at("none/new")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_what_ends_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, fifo) = (directory.path().join("file"), directory.path().join("fifo"));
        std::fs::write(&file, "12345").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&fifo, 9).unwrap_err().to_string(), "is a FIFO, not a file");
        assert_eq!(
            read(Path::new("/dev/zero"), 9).unwrap_err().to_string(),
            "is a device, not a file"
        );
        assert_eq!(
            read(directory.path(), 9).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
    }
}
