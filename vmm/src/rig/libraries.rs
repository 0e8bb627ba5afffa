//! Which libraries a program will be given, found as the dynamic loader finds them.
//!
//! The search is that of ld.so(8) for a program without `LD_LIBRARY_PATH` and `LD_PRELOAD`: neither holds in the
//! simulated machine. Instead of the binary cache its source is read, ld.so.conf(5).
//!
//! Source: ld.so(8), "DESCRIPTION" and "Dynamic string tokens"; ldconfig(8).

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::elf::{self, Needs};

/// Where distributions compile their loader to look last.
const DEFAULT_DIRECTORIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// The loader's cache; with it, the loader in the machine finds what it finds here.
pub(super) const CACHE: &str = "/etc/ld.so.cache";

/// Files by the path at which the loader will look for them.
pub(super) type Libraries = BTreeMap<PathBuf, Vec<u8>>;

/// A library that cannot be found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MissingLibrary {
    /// Its name.
    pub(super) name: OsString,
    /// What needs it.
    pub(super) needed_by: PathBuf,
}

/// The loader and all libraries, direct and indirect, of `program`, the contents of the file at `path`.
pub(super) fn libraries_of(path: &Path, program: &[u8]) -> Result<Libraries, MissingLibrary> {
    collect(path, program, &configured_directories(Path::new("/etc/ld.so.conf")))
}

/// The same with `configured` for the directories of ld.so.conf.
fn collect(path: &Path, program: &[u8], configured: &[PathBuf]) -> Result<Libraries, MissingLibrary> {
    let mut found = Libraries::new();
    let Some(needs) = elf::needs(program) else {
        return Ok(found);
    };
    // DT_RPATH of the program, unlike DT_RUNPATH, holds for its libraries' libraries too.
    let inherited = if needs.runpath.is_empty() {
        expand(&needs.rpath, path)
    } else {
        Vec::new()
    };
    if let Some(loader) = &needs.interpreter {
        let missing = || MissingLibrary {
            name: loader.clone().into(),
            needed_by: path.into(),
        };
        found.insert(loader.clone(), fs::read(loader).map_err(|_| missing())?);
    }
    let mut queue = VecDeque::from([(path.to_path_buf(), needs)]);
    while let Some((user, needs)) = queue.pop_front() {
        let own = if needs.runpath.is_empty() {
            &needs.rpath
        } else {
            &needs.runpath
        };
        let mut directories = expand(own, &user);
        directories.extend_from_slice(&inherited);
        directories.extend_from_slice(configured);
        directories.extend(DEFAULT_DIRECTORIES.map(PathBuf::from));
        for name in needs.libraries {
            // Loaded already under that name: the loader's own, or another library's need.
            if found.keys().any(|path| path.file_name() == Some(&name)) {
                continue;
            }
            let Some((path, data, needs)) = find(&name, &directories) else {
                return Err(MissingLibrary { name, needed_by: user });
            };
            found.insert(path.clone(), data);
            queue.push_back((path, needs));
        }
    }
    Ok(found)
}

/// The first x86-64 library of that name.
fn find(name: &OsString, directories: &[PathBuf]) -> Option<(PathBuf, Vec<u8>, Needs)> {
    // `join` with an absolute path is that path, so a name with a slash finds itself.
    directories
        .iter()
        .map(|directory| directory.join(name))
        .find_map(|path| {
            let data = fs::read(&path).ok()?;
            let needs = elf::needs(&data)?;
            Some((path, data, needs))
        })
}

/// `directories` with `$ORIGIN` replaced by the directory of `user`.
fn expand(directories: &[OsString], user: &Path) -> Vec<PathBuf> {
    let origin = user.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes();
    let expanded = directories.iter().map(|directory| {
        let bytes = replace(&replace(directory.as_bytes(), b"${ORIGIN}", origin), b"$ORIGIN", origin);
        PathBuf::from(OsString::from_vec(bytes))
    });
    expanded.collect()
}

/// `text` with every `token` replaced by `value`.
fn replace(text: &[u8], token: &[u8], value: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(token.len()).position(|window| window == token) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(value);
        rest = &rest[at + token.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// The directories that ld.so.conf names, includes followed. Of patterns, only `*` in the last component is known,
/// which is all that distributions use.
fn configured_directories(file: &Path) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include") {
            let pattern = file.parent().unwrap_or(Path::new("/")).join(pattern.trim());
            directories.extend(
                matches(&pattern)
                    .iter()
                    .flat_map(|included| configured_directories(included)),
            );
        } else if line.starts_with('/') {
            directories.push(line.into());
        }
    }
    directories
}

/// Files that match `pattern`, sorted as glob(3) sorts them.
fn matches(pattern: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Some((prefix, suffix)) = name.split_once('*') else {
        return vec![pattern.into()];
    };
    let entries = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestElf;
    use super::*;

    fn file_names(libraries: &Libraries) -> Vec<&str> {
        libraries
            .keys()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect()
    }

    #[test]
    fn libraries_of_libraries_are_found_once_each() {
        let directory = tempfile::tempdir().unwrap();
        let (bin, lib, conf) = (
            directory.path().join("bin"),
            directory.path().join("lib"),
            directory.path().join("conf"),
        );
        [&bin, &lib, &conf]
            .iter()
            .for_each(|directory| fs::create_dir(directory).unwrap());
        let write = |path: PathBuf, elf: TestElf| fs::write(path, elf.build()).unwrap();
        // a needs b (beside it, by its own RUNPATH) and c (configured); c needs a again.
        write(
            lib.join("liba.so"),
            TestElf {
                needed: &["libb.so", "libc-test.so"],
                runpath: Some("$ORIGIN"),
                ..TestElf::default()
            },
        );
        write(lib.join("libb.so"), TestElf::default());
        write(
            conf.join("libc-test.so"),
            TestElf {
                needed: &["liba.so"],
                ..TestElf::default()
            },
        );
        fs::write(bin.join("liba.so"), "not an ELF: the search goes on").unwrap();
        let program = TestElf {
            needed: &["liba.so"],
            runpath: Some("$ORIGIN:${ORIGIN}/../lib"),
            ..TestElf::default()
        };

        let found = collect(&bin.join("program"), &program.build(), std::slice::from_ref(&conf)).unwrap();
        let expected = [
            bin.join("../lib/liba.so"),
            bin.join("../lib/libb.so"),
            conf.join("libc-test.so"),
        ];
        assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_rpath_is_inherited() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let a = TestElf {
            needed: &["libb-test.so"],
            ..TestElf::default()
        };
        fs::write(directory.path().join("liba-test.so"), a.build()).unwrap();
        fs::write(directory.path().join("libb-test.so"), TestElf::default().build()).unwrap();
        let with_rpath = TestElf {
            needed: &["liba-test.so"],
            rpath: Some(path),
            ..TestElf::default()
        };
        let found = collect(Path::new("/program"), &with_rpath.build(), &[]).unwrap();
        assert_eq!(file_names(&found), ["liba-test.so", "libb-test.so"]);
        let with_runpath = TestElf {
            needed: &["liba-test.so"],
            runpath: Some(path),
            ..TestElf::default()
        };
        let missing = collect(Path::new("/program"), &with_runpath.build(), &[]).unwrap_err();
        assert_eq!(
            missing,
            MissingLibrary {
                name: "libb-test.so".into(),
                needed_by: directory.path().join("liba-test.so")
            }
        );
    }

    #[test]
    fn a_missing_loader_is_named() {
        let program = TestElf {
            interpreter: Some("/nonexistent/ld.so"),
            ..TestElf::default()
        };
        let missing = collect(Path::new("/program"), &program.build(), &[]).unwrap_err();
        assert_eq!(missing.name, "/nonexistent/ld.so");
    }

    #[test]
    fn this_test_is_given_what_its_loader_loaded() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let loaded: Vec<&str> = maps
            .lines()
            .filter_map(|line| line.split('/').next_back())
            .filter(|name| name.contains(".so"))
            .collect();
        let program = fs::read("/proc/self/exe").unwrap();
        let found = libraries_of(&std::env::current_exe().unwrap(), &program).unwrap();
        for name in loaded {
            assert!(
                file_names(&found).contains(&name),
                "{name} is not among {:?}",
                found.keys()
            );
        }
    }

    #[test]
    fn configuration_follows_includes() {
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("ld.so.conf");
        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(
            &conf,
            "# comment\n/first  # why\ninclude d/*.conf\nhwcap 0 nosegneg\n/last\n",
        )
        .unwrap();
        fs::write(directory.path().join("d/2.conf"), "/two\n").unwrap();
        fs::write(directory.path().join("d/1.conf"), "/one\n").unwrap();
        fs::write(directory.path().join("d/3.conf.old"), "/three\n").unwrap();
        let expected = ["/first", "/one", "/two", "/last"].map(PathBuf::from);
        assert_eq!(configured_directories(&conf), expected);
        assert!(configured_directories(Path::new("/nonexistent")).is_empty());
    }
}
