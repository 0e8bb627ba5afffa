//! What the guest of `exec` holds, and which program in it is run: from options to a configuration.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{Read, stdin};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use faultlab::VmConfig;
use faultlab::boot::files::{Content, GuestFile, join, normal};
use faultlab::bring_back::OutFile;
use faultlab::error::ProgramError;
use faultlab::paths;

use super::super::{Failure, terminal, vm_config};
use crate::cli::{ExecArgs, Pair};

/// Where a program without a slash in its name is looked for, unless the environment has a `PATH`. Source: execvp(3), `_CS_PATH`.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// Links that a path may lead through. Source: path_resolution(7).
const LINKS_MAX: u32 = 40;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// The guest that `args` ask for.
pub(super) fn config(args: &ExecArgs) -> Result<VmConfig, Failure> {
    let cwd = args.cwd.as_bytes();
    let mut files = files(args)?;
    let envp: Vec<Vec<u8>> = args.env.iter().map(|variable| variable.0.clone()).collect();
    let found = Root::of(&files).find(args.command[0].as_bytes(), cwd, &envp);
    let script = || script(&args.command[0], cwd, &files);
    let path = match found {
        Some(path) => Some(path),
        None => script()?.map(|file| {
            files.push(file);
            args.command[0].as_bytes().to_vec()
        }),
    };
    let config = match &path {
        Some(_) => vm_config::with_program(&args.vm, args.backing, &args.command, &[][..])?,
        None => vm_config::of(&args.vm, args.backing, &args.command)?,
    };
    add_what_programs_expect(&mut files, cwd);
    Ok(VmConfig {
        path,
        files,
        out: args
            .out
            .iter()
            .map(|pair| OutFile {
                guest: pair.guest.as_bytes().to_vec(),
                host: pair.host.clone(),
            })
            .collect(),
        envp,
        cwd: if normal(cwd).is_empty() {
            Vec::new()
        } else {
            cwd.to_vec()
        },
        stdin: Some(Arc::new(stdin().as_fd().try_clone_to_owned().map_err(Failure::Stdin)?)),
        terminal: terminal::streams(),
        strace: args.strace.is_some(),
        check: args.check,
        ids: args.uid.unwrap_or((0, 0)),
        ..config
    })
}

/// What `--file` and `--dir` name.
fn files(args: &ExecArgs) -> Result<Vec<GuestFile>, Failure> {
    let cannot = |option: &str, path: &Path, error: std::io::Error| {
        Failure::Usage(format!(
            "{option} {}: {error}; name what can be read here",
            path.display()
        ))
    };
    let mut files = Vec::new();
    for Pair { host, guest } in &args.dir {
        let mut left_out =
            |path: &Path| log::warn!("--dir: {} is no file, directory or link: left out", path.display());
        let tree = GuestFile::tree(host, guest.as_bytes(), &mut left_out);
        files.extend(tree.map_err(|(path, error)| cannot("--dir", &path, error))?);
    }
    for Pair { host, guest } in &args.file {
        if guest.as_bytes().ends_with(b"/") || normal(guest.as_bytes()).is_empty() {
            return Err(Failure::Usage(format!(
                "--file {}:{} names no file in the guest: give the whole path there",
                host.display(),
                guest.display()
            )));
        }
        files.push(GuestFile::file(host, guest.as_bytes()).map_err(|error| cannot("--file", host, error))?);
    }
    let mut places = HashSet::new();
    for file in &files {
        if !places.insert(normal(&file.path)) && file.content != Content::Directory {
            let place = String::from_utf8_lossy(&file.path).into_owned();
            return Err(Failure::Usage(format!("/{place} is brought twice: leave one out")));
        }
    }
    Ok(files)
}

fn is_script(path: &Path) -> bool {
    let mut mark = [0; 2];
    paths::open(path).is_ok_and(|mut file| file.read_exact(&mut mark).is_ok()) && mark == *b"#!"
}

/// A script of this host that is to be run, if its interpreter is in the guest.
fn script(name: &OsStr, cwd: &[u8], files: &[GuestFile]) -> Result<Option<GuestFile>, Failure> {
    let (path, bytes) = (Path::new(name), name.as_bytes());
    if files.is_empty() || !bytes.contains(&b'/') || !is_script(path) {
        return Ok(None);
    }
    let place = if bytes.starts_with(b"/") {
        bytes.to_vec()
    } else {
        join(cwd, bytes)
    };
    let unreadable = |source| ProgramError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    let file = GuestFile::file(path, &place).map_err(|error| Failure::Vmm(unreadable(error).into()))?;
    Ok(Some(GuestFile {
        rights: 0o755,
        uid: 0,
        gid: 0,
        ..file
    }))
}

/// Users, groups, a place for temporary files, and the working directory, as far as they are not brought in.
fn add_what_programs_expect(files: &mut Vec<GuestFile>, cwd: &[u8]) {
    let expected = [
        GuestFile::directory(b"tmp", 0o1777),
        GuestFile::text(b"etc/passwd", PASSWD),
        GuestFile::text(b"etc/group", GROUP),
        GuestFile::directory(&normal(cwd), 0o755),
    ];
    let root = Root::of(files);
    let missing: Vec<_> = expected
        .into_iter()
        .filter(|file| root.resolve(&file.path).is_none())
        .collect();
    files.extend(missing);
}

/// What is brought in, by where it is.
struct Root<'a>(HashMap<Vec<u8>, &'a Content>);

impl<'a> Root<'a> {
    fn of(files: &'a [GuestFile]) -> Root<'a> {
        Root(files.iter().map(|file| (normal(&file.path), &file.content)).collect())
    }

    /// Where a path leads, through links, if that is something; directories count that only files in them say are there.
    fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut left: Vec<Vec<u8>> = path.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    at = normal(&join(&at, b".."));
                    continue;
                }
                _ => {}
            }
            let next = normal(&join(&at, &part));
            if let Some(Content::Symlink(target)) = self.0.get(&next) {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                left.extend(target.rsplit(|&byte| byte == b'/').map(<[u8]>::to_vec));
                continue;
            }
            at = next;
        }
        let below = [&at[..], b"/"].concat();
        let there = at.is_empty() || self.0.contains_key(&at) || self.0.keys().any(|place| place.starts_with(&below));
        there.then_some(at)
    }

    fn is_file(&self, path: &[u8]) -> bool {
        let content = self.resolve(path).and_then(|place| self.0.get(&place).copied());
        matches!(content, Some(Content::Bytes(_) | Content::Host { .. }))
    }

    /// The path to run, if the program is among what is brought: a name without a slash is looked for in `PATH`, after the bundled ones.
    fn find(&self, name: &[u8], cwd: &[u8], envp: &[Vec<u8>]) -> Option<Vec<u8>> {
        if name.contains(&b'/') {
            let place = if name.starts_with(b"/") {
                name.to_vec()
            } else {
                join(cwd, name)
            };
            return self.is_file(&place).then(|| name.to_vec());
        }
        if std::str::from_utf8(name)
            .ok()
            .and_then(faultlab_images::program)
            .is_some()
            || name.is_empty()
        {
            return None;
        }
        // The last one given counts, as in a shell.
        let path = envp.iter().rev().find_map(|variable| variable.strip_prefix(b"PATH="));
        let mut places = path
            .unwrap_or(DEFAULT_PATH)
            .split(|&byte| byte == b':')
            .map(|dir| match dir {
                b"" => join(cwd, name),
                dir if dir.starts_with(b"/") => join(dir, name),
                dir => join(&join(cwd, dir), name),
            });
        places.find(|place| self.is_file(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Vec<GuestFile> {
        let link = |path: &[u8], target: &[u8]| GuestFile {
            content: Content::Symlink(target.to_vec()),
            ..GuestFile::text(path, "")
        };
        vec![
            GuestFile::directory(b"usr", 0o755),
            GuestFile::text(b"usr/bin/busybox", ""),
            link(b"bin", b"usr/bin"),
            link(b"usr/bin/sh", b"/bin/../bin/./busybox"),
            link(b"usr/bin/loop", b"loop"),
            GuestFile::text(b"home/me/tool", ""),
        ]
    }

    #[test]
    fn programs_are_found_through_links() {
        let files = root();
        let root = Root::of(&files);
        let find = |name: &str, cwd: &str, path: &[Vec<u8>]| {
            let found = root.find(name.as_bytes(), cwd.as_bytes(), path);
            found.map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(find("/bin/sh", "/", &[]).as_deref(), Some("/bin/sh"));
        assert_eq!(find("sh", "/", &[]).as_deref(), Some("/bin/sh"));
        assert_eq!(find("./tool", "/home/me", &[]).as_deref(), Some("./tool"));
        assert_eq!(find("tool", "/", &[]), None);
        assert_eq!(
            find("tool", "/home", &[b"PATH=/bin:me".to_vec()]).as_deref(),
            Some("/home/me/tool")
        );
        assert_eq!(find("hello", "/", &[]), None, "a bundled program");
        for none in ["/bin/loop", "/bin", "/bin/nothing", "", "usr"] {
            assert_eq!(find(none, "/", &[]), None, "{none}");
        }
    }

    #[test]
    fn what_is_brought_is_not_added() {
        let mut files = root();
        files.push(GuestFile::text(b"etc/passwd", "me"));
        let before = files.len();
        add_what_programs_expect(&mut files, b"/home/me");
        let added: Vec<_> = files[before..]
            .iter()
            .map(|file| String::from_utf8_lossy(&file.path))
            .collect();
        assert_eq!(added, ["tmp", "etc/group"]);
    }
}
