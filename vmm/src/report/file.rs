//! Writing a report in any form: the whole file or nothing.
//!
//! The file is claimed before the guest boots, so that a path that cannot be written is known before anything is
//! measured. What is written goes to a temporary file beside it, which takes its name at the end (rename(2) is
//! atomic); until then an older report stays as it was, and a run that fails leaves nothing behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

use crate::paths::{self, Named};

/// A place for a file that can be written.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// A regular file, to be replaced.
    Replace(NamedTempFile),
    /// An open descriptor (`/dev/stdout`), a device or a pipe: it is written to as it is, and must not be replaced.
    Direct(File),
}

impl WholeFile {
    /// Claims `path`.
    ///
    /// # Errors
    /// Its directory is missing or cannot be written, or it is a directory.
    pub fn create(path: &Path) -> io::Result<Self> {
        // A symbolic link stays one: what it points to is replaced.
        let target = match paths::named(path)? {
            Named::Descriptor(file) => {
                if (fcntl_getfl(&file)? & OFlags::ACCMODE) == OFlags::RDONLY {
                    return Err(Errno::BADF.into());
                }
                let path = path.to_owned();
                return Ok(Self {
                    path,
                    sink: Sink::Direct(file),
                });
            }
            Named::Path(target) => target,
        };
        let sink = match target.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if metadata.is_file() => Sink::Replace(beside(&target, metadata.permissions())?),
            // Only what another process has open is still a link here: it is added to.
            Ok(metadata) => Sink::Direct(
                OpenOptions::new()
                    .write(true)
                    .append(metadata.is_symlink())
                    .open(&target)?,
            ),
            // The process's umask applies.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Sink::Replace(beside(&target, Permissions::from_mode(0o666))?)
            }
            Err(error) => return Err(error),
        };
        Ok(Self { path: target, sink })
    }

    /// Writes `text` and makes it visible under the claimed path.
    ///
    /// # Errors
    /// The file system refused, for example because it is full; the older file, if any, is then unchanged.
    pub fn write(self, text: &str) -> io::Result<()> {
        match self.sink {
            Sink::Direct(mut file) => file.write_all(text.as_bytes()),
            Sink::Replace(mut file) => {
                file.write_all(text.as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(&self.path).map(drop).map_err(|failure| failure.error)
            }
        }
    }
}

fn beside(target: &Path, permissions: Permissions) -> io::Result<NamedTempFile> {
    Builder::new()
        .prefix(".faultlab-")
        .suffix(".new")
        .permissions(permissions)
        .tempfile_in(paths::directory_of(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_whole_file_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        std::fs::write(&path, "old").unwrap();
        let claimed = WholeFile::create(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "old",
            "claiming must not touch the older file"
        );
        claimed.write("new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        WholeFile::create(&link).unwrap().write("7\n").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "7\n");
    }

    #[test]
    fn an_open_descriptor_is_added_to_and_never_replaced() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let log = OpenOptions::new().create(true).append(true).open(at("log")).unwrap();
        let link = at("stdout");
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", log.as_raw_fd()), &link).unwrap();
        (&log).write_all(b"before\n").unwrap();
        WholeFile::create(&link).unwrap().write("one\n").unwrap();
        assert_eq!(std::fs::read_to_string(at("log")).unwrap(), "before\none\n");
        // What has lost its name is still what is open.
        std::fs::rename(at("log"), at("old")).unwrap();
        let old = File::open(at("old")).unwrap();
        std::fs::remove_file(at("old")).unwrap();
        WholeFile::create(&link).unwrap().write("two\n").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(io::read_to_string(old).unwrap(), "before\none\ntwo\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let reader = File::open("/dev/null").unwrap();
        let closed = WholeFile::create(Path::new(&format!("/dev/fd/{}", reader.as_raw_fd()))).unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_link_to_nowhere_is_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("new", &link).unwrap();
        WholeFile::create(&link).unwrap().write("7\n").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(directory.path().join("new")).unwrap(), "7\n");
    }

    #[test]
    fn refuses_what_cannot_be_written_before_anything_is_measured() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            WholeFile::create(directory.path()).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
        let missing = directory.path().join("missing/out.json");
        assert_eq!(WholeFile::create(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
        WholeFile::create(Path::new("/dev/null")).unwrap().write("7\n").unwrap();
        assert!(
            !Path::new("/dev/null").metadata().unwrap().is_file(),
            "a device is written to, not replaced"
        );
    }
}
