use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::bring_back::Entry;

const REG: u64 = libc::S_IFREG as u64;
const DIR: u64 = libc::S_IFDIR as u64;
const LNK: u64 = libc::S_IFLNK as u64;
const RAM: u64 = 8 << 20;

/// A directory with a place in it, and what is to come there, begun.
struct Rig {
    directory: TempDir,
    back: BringBack,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let file = OutFile {
            guest: b"/x".to_vec(),
            host: directory.path().join("x"),
        };
        let mut back = BringBack::claim(&[file], RAM, 0).unwrap();
        assert_eq!(back.next_path(), Some(b"/x".to_vec()));
        Rig { directory, back }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn entry(&mut self, mode: u64, size: u64, ino: u64, name: &[u8], target: &[u8]) -> Result<(), i32> {
        let (name, target) = (name.to_vec(), target.to_vec());
        let entry = Entry {
            mode,
            size,
            ino,
            name,
            target,
        };
        self.back.step(|tree| tree.entry(&entry))
    }

    fn pages(&mut self, index: u64, content: &[u8]) -> Result<(), i32> {
        self.back.step(|tree| tree.pages(index, content))
    }

    fn end(&mut self) -> Result<(), i32> {
        self.back.step(Tree::end)
    }

    /// What is said at the end, when nothing may be left but what was complete.
    fn reason(mut self) -> Option<String> {
        let reason = self.back.not_brought().pop().map(|not| not.reason);
        let left: Vec<_> = self.directory.path().read_dir().unwrap().collect();
        assert_eq!(left.len(), usize::from(reason.is_none()), "{left:?}");
        reason
    }
}

#[test]
fn a_file_is_there_when_it_is_whole() {
    let mut rig = Rig::new();
    rig.entry(REG | 0o4751, 3 * 4096 + 5, 7, b"", b"").unwrap();
    rig.pages(1, &[1; 4096]).unwrap();
    assert!(!rig.path("x").exists());
    rig.pages(3, &[2; 4096]).unwrap();
    rig.end().unwrap();
    let content = fs::read(rig.path("x")).unwrap();
    let expected = [vec![0; 4096], vec![1; 4096], vec![0; 4096], vec![2; 5]].concat();
    assert!(content == expected, "{} bytes", content.len());
    let metadata = rig.path("x").metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o751, "no set-user-ID");
    assert_eq!(rig.end(), Err(libc::EINVAL), "it is closed");
    assert_eq!(rig.back.next_path(), None);
    assert_eq!(rig.reason(), None);
}

#[test]
fn a_directory_keeps_links_and_rights() {
    let mut rig = Rig::new();
    rig.entry(DIR | 0o555, 0, 1, b"", b"").unwrap();
    rig.entry(DIR, 0, 2, b"sub", b"").unwrap();
    rig.entry(REG | 0o600, 1, 3, b"one", b"").unwrap();
    rig.pages(0, &[b'a'; 4096]).unwrap();
    rig.end().unwrap();
    rig.entry(LNK | 0o777, 9, 4, b"link", b"/nowhere").unwrap();
    rig.end().unwrap();
    assert_eq!(rig.entry(REG | 0o600, 1, 3, b"two", b""), Err(libc::EEXIST));
    rig.end().unwrap();
    let mode = |name| rig.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("x"), mode("x/sub")), (0o555, 0));
    fs::set_permissions(rig.path("x/sub"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read(rig.path("x/two")).unwrap(), b"a");
    assert_eq!(
        rig.path("x/two").metadata().unwrap().ino(),
        rig.path("x/sub/one").metadata().unwrap().ino()
    );
    assert_eq!(
        fs::read_link(rig.path("x/sub/link")).unwrap(),
        PathBuf::from("/nowhere")
    );
    fs::set_permissions(rig.path("x"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(rig.reason(), None);
}

/// Each of these ends the place, and leaves nothing.
#[test]
fn a_hostile_guest_gets_nowhere() {
    type Steps = fn(&mut Rig) -> Result<(), i32>;
    let in_directory = |name: &'static [u8]| {
        let mut rig = Rig::new();
        rig.entry(DIR | 0o755, 0, 1, b"", b"").unwrap();
        assert_eq!(rig.entry(REG | 0o644, 0, 2, name, b""), Err(libc::EIO), "{name:?}");
        assert!(rig.reason().unwrap().contains("impossible name"));
    };
    for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b", &[b'n'; 256]] {
        in_directory(name);
    }
    let cases: [(&str, Steps); 13] = [
        ("impossible name", |rig| rig.entry(REG, 0, 0, b"named", b"")),
        ("no file, directory or link", |rig| rig.entry(LNK, 1, 0, b"", b"/etc")),
        ("no file, directory or link", |rig| {
            rig.entry(u64::from(libc::S_IFCHR), 0, 0, b"", b"")
        }),
        ("too large", |rig| rig.entry(REG, 1 << 63, 0, b"", b"")),
        ("content of no file", |rig| rig.pages(0, &[0; 4096])),
        ("an end of nothing", Rig::end),
        ("entry of a file", |rig| {
            rig.entry(REG, 0, 0, b"", b"")
                .and_then(|()| rig.entry(REG, 0, 0, b"a", b""))
        }),
        ("out of order", |rig| {
            rig.entry(REG, 4096, 0, b"", b"")
                .and_then(|()| rig.pages(1, &[0; 4096]))
        }),
        ("out of order", |rig| {
            rig.entry(REG, 4096, 0, b"", b"")
                .and_then(|()| rig.pages(u64::MAX, &[0; 4096]))
        }),
        ("out of order", |rig| {
            rig.entry(REG, 1 << 20, 0, b"", b"")?;
            rig.pages(1, &[0; 4096])?;
            rig.pages(1, &[0; 4096])
        }),
        ("File exists", |rig| {
            rig.entry(DIR | 0o755, 0, 1, b"", b"")?;
            rig.entry(LNK, 4, 2, b"a", b"/etc")?;
            rig.entry(DIR, 0, 3, b"a", b"")
        }),
        ("more content than fits", |rig| {
            rig.entry(DIR | 0o755, 0, 1, b"", b"")?;
            for file in 0..=RAM >> 18 {
                rig.entry(REG, 1 << 18, 0, file.to_string().as_bytes(), b"")?;
                rig.pages(0, &[0; 1 << 18])?;
                rig.end()?;
            }
            Ok(())
        }),
        ("more entries than fit", |rig| {
            rig.back.budget.entries = 3;
            rig.back.places[0].1 = State::Waiting(tempfile::tempdir_in(rig.directory.path()).unwrap());
            rig.back.next_path();
            rig.entry(DIR | 0o755, 0, 1, b"", b"")?;
            (0..3).try_for_each(|entry: u64| rig.entry(LNK, 1, 0, entry.to_string().as_bytes(), b"a"))
        }),
    ];
    for (reason, steps) in cases {
        let mut rig = Rig::new();
        assert_eq!(steps(&mut rig), Err(libc::EIO), "{reason}");
        let told = rig.reason().unwrap();
        assert!(told.contains(reason), "{told}: {reason}");
    }
}

#[test]
fn what_is_broken_off_is_not_there() {
    let mut rig = Rig::new();
    rig.entry(REG, 1 << 40, 0, b"", b"").unwrap();
    rig.pages(5, &[1; 4096]).unwrap();
    assert!(rig.reason().unwrap().contains("before it was handed over"));
    let mut rig = Rig::new();
    rig.entry(DIR, 0, 0, b"", b"").unwrap();
    assert_eq!(rig.back.next_path(), None);
    assert!(rig.reason().unwrap().contains("broke off"));
}

#[test]
fn places_are_judged_before() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let claim = |names: &[&str]| {
        let files: Vec<_> = names
            .iter()
            .map(|name| OutFile {
                guest: b"/x".to_vec(),
                host: at(name),
            })
            .collect();
        BringBack::claim(&files, RAM, 0)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    fs::create_dir_all(at("full/empty")).unwrap();
    fs::write(at("file"), "old").unwrap();
    std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
    std::os::unix::fs::symlink("file", at("link")).unwrap();
    assert_eq!(claim(&["file", "new", "full/empty"]), Ok(()));
    assert!(
        claim(&["full/new", "full/../full/new"])
            .unwrap_err()
            .contains("named twice")
    );
    assert!(claim(&["new/"]).unwrap_err().contains("ends in a name"));
    // As `/dev/stdout` is while it leads to a file.
    let open = tempfile::tempfile().unwrap();
    std::os::unix::fs::symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), at("stdout")).unwrap();
    assert!(claim(&["stdout"]).unwrap_err().contains("open already"));
    for (names, words) in [
        (&["full"][..], "not empty"),
        (&["dangling"], "link to nowhere"),
        (&["link", "file"], "named twice"),
        (&["missing/new"], "cannot write"),
        (&["file/new"], "cannot write"),
        (&["../../../../../../../../../../../dev/null"], "is no file"),
    ] {
        let told = claim(names).unwrap_err();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"old");
    assert_eq!(directory.path().read_dir().unwrap().count(), 5, "nothing is left");
}
