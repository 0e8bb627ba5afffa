//! Which files a command line means: those to take along into the machine, and those to bring back.
//!
//! An argument, or the value of `--option=value`, that names an existing regular file is taken along: it is only read
//! if the command means it, and a copy too many costs nothing that is measured. What comes back is what the options of
//! [`OUTPUT_OPTIONS`] name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::error::RigError;
use super::launch::MEMORY_MIB;

/// Options of `faultlab` whose value is a file that it writes.
const OUTPUT_OPTIONS: [&str; 6] = ["--json", "--html", "--csv", "--markdown", "--out", "--output"];

/// Directories that are something else in the machine.
const VIRTUAL_DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Streams that are passed through, whatever they are here: a regular file if they were redirected to one.
const STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

/// Most that input files may have together, in bytes: they live in the machine's memory, whose better part is for
/// guests.
const INPUT_MAX_BYTES: u64 = (MEMORY_MIB << 20) / 4;

/// A file to take along.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// As the argument has it.
    pub(super) path: PathBuf,
    /// Its permission bits.
    pub(super) permissions: u32,
    /// All of it.
    pub(super) contents: Vec<u8>,
}

/// Files that `arguments` name as places to write to, in order.
///
/// # Errors
/// Its directory is there and cannot be written: better known before than after a long run.
pub(super) fn outputs(arguments: &[OsString]) -> Result<Vec<PathBuf>, RigError> {
    let mut paths = Vec::new();
    // What follows `--` is the program's.
    let own = arguments.iter().take_while(|argument| *argument != "--");
    let mut own = own.map(OsString::as_os_str).peekable();
    while let Some(argument) = own.next() {
        let value = match split_option(argument) {
            Some((option, value)) if is_output(option) => Some(value),
            // `--json` of some commands is a switch: the next argument, if any, is another option then.
            None if is_output(argument) => own.peek().copied().filter(|next| !next.as_bytes().starts_with(b"-")),
            _ => None,
        };
        if let Some(path) = value
            .map(PathBuf::from)
            .filter(|path| !path.is_dir() && !is_virtual(path))
        {
            check_writable(&path)?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// The existing files that `arguments` name, apart from `outputs`.
///
/// # Errors
/// One cannot be read, or they are too much together.
pub(super) fn inputs(arguments: &[OsString], outputs: &[PathBuf]) -> Result<Vec<Input>, RigError> {
    let mut inputs: Vec<Input> = Vec::new();
    let mut bytes = 0;
    for argument in arguments {
        let path = Path::new(split_option(argument).map_or(argument.as_os_str(), |(_, value)| value));
        if STREAMS.iter().any(|stream| path == Path::new(stream)) {
            continue;
        }
        let Ok(metadata) = path.metadata() else { continue };
        if !metadata.is_file() || outputs.iter().any(|output| output == path) {
            continue;
        }
        let failed = |reason: String| RigError::Input {
            path: path.into(),
            reason,
        };
        if is_virtual(path) {
            return Err(failed(
                "that directory is the machine's own there; copy the file elsewhere".into(),
            ));
        }
        bytes += metadata.len();
        if bytes > INPUT_MAX_BYTES {
            return Err(failed(format!(
                "the files have {bytes} bytes together; at most {INPUT_MAX_BYTES} fit"
            )));
        }
        let contents = fs::read(path).map_err(|error| failed(error.to_string()))?;
        inputs.push(Input {
            path: path.into(),
            permissions: metadata.permissions().mode(),
            contents,
        });
    }
    Ok(inputs)
}

fn is_output(option: &OsStr) -> bool {
    OUTPUT_OPTIONS.iter().any(|name| option == *name)
}

/// Whether the machine has a file system of its own there.
fn is_virtual(path: &Path) -> bool {
    VIRTUAL_DIRECTORIES.iter().any(|directory| path.starts_with(directory))
}

/// `--option=value` in two.
fn split_option(argument: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = argument.as_bytes();
    let at = bytes
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|_| bytes.starts_with(b"--"))?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])))
}

/// The directory that `path` is in; `.` for a bare name.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A directory that is not there is the command's own error to report.
fn check_writable(path: &Path) -> Result<(), RigError> {
    match rustix::fs::access(directory_of(path), Access::WRITE_OK | Access::EXEC_OK) {
        Err(error) if error != rustix::io::Errno::NOENT => Err(RigError::Output {
            path: path.into(),
            source: error.into(),
        }),
        _ => Ok(()),
    }
}

/// Writes a file that came back, all of it or nothing.
///
/// # Errors
/// The operating system's.
pub(super) fn write_output(path: &Path, contents: &[u8]) -> Result<(), RigError> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".faultlab-")
            // The process's umask applies.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory_of(path))?;
        io::Write::write_all(&mut file, contents)?;
        file.persist(path).map(drop).map_err(|failure| failure.error)
    };
    write().map_err(|source| RigError::Output {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn outputs_are_what_output_options_name() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["run", "--json", "a.json", "--html=b.html"], &["a.json", "b.html"]),
            (&["doctor", "--json"], &[]),
            (&["doctor", "--json", "-v"], &[]),
            (&["exec", "--", "prog", "--json", "x"], &[]),
            (&["run", "--scenario", "minor"], &[]),
            (&["run", "--json", "/dev/stdout", "--out", "/tmp"], &[]),
        ];
        for (arguments, expected) in cases {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(outputs(&os(arguments)).unwrap(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn an_output_that_cannot_be_written_is_known_beforehand() {
        let error = outputs(&os(&["run", "--json", "/etc/passwd/x"])).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /etc/passwd/x: "), "{error}");
        assert!(
            outputs(&os(&["run", "--json", "/nonexistent/x"])).is_ok(),
            "the command itself reports that"
        );
    }

    #[test]
    fn inputs_are_the_files_that_exist() {
        let directory = tempfile::tempdir().unwrap();
        let (program, swap, out) = (
            directory.path().join("program"),
            directory.path().join("swap"),
            directory.path().join("out"),
        );
        for path in [&program, &swap, &out] {
            fs::write(path, path.as_os_str().as_bytes()).unwrap();
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let swap_option = format!("--swap-file={}", swap.display());
        let arguments = [
            "exec",
            &swap_option,
            "--json",
            out.to_str().unwrap(),
            "--",
            program.to_str().unwrap(),
            "/",
        ];
        let inputs = inputs(&os(&arguments), std::slice::from_ref(&out)).unwrap();
        let found: Vec<(&Path, u32)> = inputs
            .iter()
            .map(|input| (input.path.as_path(), input.permissions & 0o111))
            .collect();
        assert_eq!(found, [(swap.as_path(), 0), (program.as_path(), 0o111)]);
        assert_eq!(inputs[0].contents, swap.as_os_str().as_bytes());
    }

    #[test]
    fn what_cannot_be_taken_along_says_why() {
        let error = inputs(&os(&["exec", "/proc/self/exe"]), &[]).unwrap_err();
        assert!(error.to_string().contains("copy the file elsewhere"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let huge = directory.path().join("huge");
        fs::File::create(&huge).unwrap().set_len(INPUT_MAX_BYTES + 1).unwrap();
        let error = inputs(&[huge.into_os_string()], &[]).unwrap_err();
        assert!(error.to_string().contains("at most 536870912 fit"), "{error}");
    }

    #[test]
    fn streams_are_not_taken_along() {
        assert_eq!(inputs(&os(&["run", "--json", "/dev/stdout"]), &[]).unwrap(), []);
        assert_eq!(inputs(&os(&["run", "--json=/dev/stderr"]), &[]).unwrap(), []);
    }

    #[test]
    fn an_output_replaces_its_predecessor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.json");
        for contents in [b"1".as_slice(), b"22"] {
            write_output(&path, contents).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(write_output(&directory.path().join("no/x"), b"").is_err());
    }
}
