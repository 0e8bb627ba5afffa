//! `faultlab programs`: the bundled programs, listed or written out to be run on the host.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use faultlab::exit;
use faultlab_images::{CATALOG, PROGRAMS};

use super::{Failure, print};
use crate::cli::ProgramsArgs;

/// Lists or extracts; the exit status.
pub(crate) fn programs(args: &ProgramsArgs) -> Result<u8, Failure> {
    match &args.extract {
        None => print(&list())?,
        Some(directory) => {
            let failed = |source| Failure::Write {
                path: directory.clone(),
                source,
            };
            fs::create_dir_all(directory).map_err(failed)?;
            for (name, elf) in PROGRAMS {
                let path = directory.join(name);
                extract(directory, name, elf).map_err(|source| Failure::Write {
                    path: path.clone(),
                    source,
                })?;
                print(&format!("{}\n", path.display()))?;
            }
        }
    }
    Ok(exit::OK)
}

fn list() -> String {
    let width = CATALOG.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, summary) in CATALOG {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:width$}  {summary}");
    }
    text
}

/// Writes one program under a temporary name first, so that a copy that is being run can be replaced and a full disk
/// leaves no half a program.
fn extract(directory: &Path, name: &str, elf: &[u8]) -> io::Result<()> {
    // The process's umask applies.
    let executable = Permissions::from_mode(0o777);
    let mut file = tempfile::Builder::new()
        .prefix(".faultlab-")
        .permissions(executable)
        .tempfile_in(directory)?;
    file.write_all(elf)?;
    file.persist(directory.join(name))
        .map(drop)
        .map_err(|failure| failure.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_its_line() {
        let text = list();
        assert_eq!(text.lines().count(), PROGRAMS.len());
        assert!(text.lines().any(|line| line.starts_with("shm-press ")), "{text}");
    }

    #[test]
    fn extracted_files_are_the_programs_and_executable() {
        let directory = tempfile::tempdir().unwrap();
        // Twice: existing files are replaced.
        for _ in 0..2 {
            extract(directory.path(), "p", b"\x7fELF").unwrap();
        }
        let path = directory.path().join("p");
        assert_eq!(fs::read(&path).unwrap(), b"\x7fELF");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o100, 0o100);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
