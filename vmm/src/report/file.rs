//! Writing a report in any form: the whole file or nothing.
//!
//! The file is claimed before the guest boots, so that a path that cannot be written is known before anything is
//! measured. What is written goes to a temporary file beside it, which takes its name at the end (rename(2) is
//! atomic); until then an older report stays as it was, and a run that fails leaves nothing behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

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
    /// A device or a pipe (`/dev/stdout`): it has no content to be kept whole, and must not be replaced.
    Direct(File),
}

impl WholeFile {
    /// Claims `path`.
    ///
    /// # Errors
    /// Its directory is missing or cannot be written, or it is a directory.
    pub fn create(path: &Path) -> io::Result<Self> {
        // A symbolic link stays one: what it points to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let sink = match target.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => Sink::Direct(OpenOptions::new().write(true).open(&target)?),
            Ok(metadata) => Sink::Replace(beside(&target, metadata.permissions())?),
            // The process's umask applies.
            Err(_) => Sink::Replace(beside(&target, Permissions::from_mode(0o666))?),
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
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Builder::new()
        .prefix(".faultlab-")
        .suffix(".new")
        .permissions(permissions)
        .tempfile_in(directory)
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
