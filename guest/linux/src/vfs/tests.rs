//! The tree of names over a fake machine.

use faultlab_mm::addr::Pfn;
use faultlab_mm::platform::{Platform, Vmstat};
use faultlab_mm::testing::{FakeMachine, machine};
use faultlab_mm::{Memory, mmap};

use super::{Fs, MountArguments, Owner, PathAt, Task, at, mount_flag, rename_flag, s};
use crate::copy::Place;
use crate::cred::Cred;
use crate::file::{Kind, o};
use crate::read_write::{At, Buffer};
use crate::{Errno, Linux};

mod content;
mod export;

/// A system with a root and one process. Dropping it checks that nothing is left.
struct World<'m> {
    memory: &'m Memory<FakeMachine>,
    linux: Linux<'m, FakeMachine>,
    task: Task,
    before: Vec<(&'static str, u64)>,
}

impl<'m> World<'m> {
    fn new(memory: &'m Memory<FakeMachine>) -> Self {
        let linux = Linux::new(memory);
        linux.mount_root().expect("a root");
        let table = linux.standard_table().expect("a table");
        let mut world = Self {
            memory,
            task: Task {
                cred: Cred::ROOT,
                fs: linux.first_fs(),
                table,
            },
            linux,
            before: Vec::new(),
        };
        world.before = world.records();
        world
    }

    fn records(&self) -> Vec<(&'static str, u64)> {
        let (linux, memory) = (self.linux.live_records(), self.memory.live_records());
        linux.into_iter().chain(memory).collect()
    }

    fn at(path: &str) -> PathAt<'_> {
        PathAt::cwd(path.as_bytes())
    }

    fn mkdir(&self, path: &str) -> Result<(), Errno> {
        self.linux.mkdirat(&self.task, Self::at(path), 0o755)
    }

    fn open(&self, path: &str, flags: u64) -> Result<u64, Errno> {
        self.linux.openat(&self.task, Self::at(path), flags, 0o644)
    }

    fn create(&self, path: &str) -> Result<(), Errno> {
        let number = self.open(path, o::CREAT | o::EXCL | o::RDWR)?;
        self.linux.close(self.task.table, number)
    }

    fn unlink(&self, path: &str) -> Result<(), Errno> {
        self.linux.unlinkat(&self.task, Self::at(path), 0)
    }

    fn rmdir(&self, path: &str) -> Result<(), Errno> {
        self.linux.unlinkat(&self.task, Self::at(path), at::REMOVEDIR)
    }

    fn rename(&self, old: &str, new: &str, flags: u32) -> Result<(), Errno> {
        self.linux.renameat2(&self.task, Self::at(old), Self::at(new), flags)
    }

    fn link(&self, old: &str, new: &str) -> Result<(), Errno> {
        self.linux.linkat(&self.task, Self::at(old), Self::at(new), 0)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        self.linux.symlinkat(&self.task, target.as_bytes(), Self::at(path))
    }

    fn mount(&self, target: &str, fstype: &str, data: &str, flags: u64) -> Result<(), Errno> {
        let arguments = MountArguments {
            source: b"none",
            target: target.as_bytes(),
            fstype: Some(fstype.as_bytes()),
            flags,
            data: data.as_bytes(),
        };
        self.linux.mount(&self.task, &arguments)
    }

    fn umount(&self, target: &str, flags: u32) -> Result<(), Errno> {
        self.linux.umount(&self.task, target.as_bytes(), flags)
    }

    /// Inode number, names and size.
    fn stat(&self, path: &str) -> Result<(u64, u64, u64), Errno> {
        let inode = self
            .linux
            .find(&self.task, Self::at(path), at::SYMLINK_NOFOLLOW, at::SYMLINK_NOFOLLOW)?;
        let stat = self.memory.getattr(inode);
        Ok((stat.ino, stat.nlink, stat.size))
    }

    fn list(&self, path: &str) -> Vec<String> {
        let number = self.open(path, o::DIRECTORY).expect("a directory");
        let file = self.linux.get(self.task.table, number).expect("open");
        let mut names = Vec::new();
        self.linux
            .iterate_dir(file, &mut |entry| {
                names.push(String::from_utf8_lossy(entry.name).into_owned());
                Ok(true)
            })
            .expect("a listing");
        self.linux.close(self.task.table, number).expect("open");
        names
    }

    /// Everything below, with numbers of names: what a failed call must leave as it was.
    fn picture(&self, path: &str) -> Vec<(String, (u64, u64, u64))> {
        let mut all = vec![(path.to_owned(), self.stat(path).expect("there"))];
        for name in self.list(path).into_iter().skip(2) {
            let below = format!("{path}/{name}");
            let stat = self.stat(&below).expect("listed");
            let inode = self
                .linux
                .find(&self.task, Self::at(&below), at::SYMLINK_NOFOLLOW, at::SYMLINK_NOFOLLOW);
            let is_dir = self.memory.getattr(inode.expect("listed")).mode & s::IFMT == s::IFDIR;
            all.push((below.clone(), stat));
            if is_dir {
                all.extend(self.picture(&below).into_iter().skip(1));
            }
        }
        all
    }

    fn assert_as_before(&self) {
        assert_eq!(self.records(), self.before);
        self.memory.check_invariants();
    }
}

#[test]
fn names_come_and_go() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    world.mkdir("a").expect("new");
    world.mkdir("/a/b").expect("new");
    world.create("a/b/../file").expect("new");
    assert_eq!(world.list("a"), [".", "..", "file", "b"]);
    assert_eq!(world.stat("a").map(|stat| (stat.1, stat.2)), Ok((3, 80)));
    assert_eq!(world.create("a/file"), Err(Errno::EEXIST));
    assert_eq!(world.open("a/file/", o::RDWR), Err(Errno::ENOTDIR));
    assert_eq!(world.open("a/file/x", o::RDWR), Err(Errno::ENOTDIR));
    assert_eq!(world.open("a", o::RDWR), Err(Errno::EISDIR));
    assert_eq!(world.rmdir("a"), Err(Errno::ENOTEMPTY));
    assert_eq!(world.unlink("a/b"), Err(Errno::EISDIR));
    assert_eq!(world.rmdir("a/file"), Err(Errno::ENOTDIR));
    assert_eq!(world.create(&"n".repeat(256)), Err(Errno::ENAMETOOLONG));
    for len in [55, 56, 57, 255] {
        world.create(&"n".repeat(len)).expect("new");
        assert_eq!(world.create(&"n".repeat(len)), Err(Errno::EEXIST));
        world.unlink(&"n".repeat(len)).expect("there");
    }
    world.link("a/file", "other").expect("a second name");
    assert_eq!(world.stat("other").map(|stat| stat.1), Ok(2));
    world.unlink("a/file").expect("there");
    world.rmdir("a/b").expect("empty");
    world.rmdir("a/").expect("empty");
    world.unlink("other").expect("there");
    world.assert_as_before();
}

/// Many names in one directory, and more than one bucket holds: found, listed once each, and removed in any order.
#[test]
fn many_names() {
    let memory = machine(12_288, 0);
    let world = World::new(&memory);
    world.mkdir("d").expect("new");
    let name = |i: u32| format!("d/{i}");
    (0..5000).for_each(|i| world.create(&name(i)).expect("new"));
    let mut names = world.list("d");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5002);
    (0..5000)
        .rev()
        .step_by(2)
        .for_each(|i| world.unlink(&name(i)).expect("there"));
    for i in 0..5000 {
        assert_eq!(world.stat(&name(i)).is_ok(), i % 2 == 0, "{i}");
    }
    (0..5000)
        .step_by(2)
        .for_each(|i| world.unlink(&name(i)).expect("there"));
    world.rmdir("d").expect("empty");
    world.assert_as_before();
}

/// Rules C42, C45: links are followed up to 40, whatever their length; texts of all lengths are kept.
#[test]
fn links() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    world.mkdir("d").expect("new");
    world.create("d/f").expect("new");
    for len in [1, 7, 8, 127, 128, 129, 1000, 4095] {
        let target = format!("{}d/f", "/".repeat(len));
        let target = &target[target.len() - len.max(4)..];
        world.symlink(target, "l").expect("new");
        assert_eq!(world.stat("l").map(|stat| stat.2), Ok(len.max(4) as u64));
        let number = world.open("l", o::RDWR).expect("followed");
        world.linux.close(world.task.table, number).expect("open");
        assert_eq!(world.open("l", o::NOFOLLOW), Err(Errno::ELOOP));
        world.unlink("l").expect("there");
    }
    world.symlink("d/", "0").expect("new");
    for i in 1..=40 {
        world.symlink(&format!("./{}//", i - 1), &i.to_string()).expect("new");
    }
    assert!(world.stat("39/f").is_ok(), "40 links");
    assert_eq!(world.stat("40/f"), Err(Errno::ELOOP));
    world.symlink("nowhere", "dangling").expect("new");
    assert_eq!(world.open("dangling", o::CREAT | o::EXCL), Err(Errno::EEXIST));
    let number = world.open("dangling", o::CREAT).expect("made where it leads");
    world.linux.close(world.task.table, number).expect("open");
    world.unlink("nowhere").expect("there");
    world.unlink("dangling").expect("there");
    (0..=40).for_each(|i| world.unlink(&i.to_string()).expect("there"));
    world.unlink("d/f").expect("there");
    world.rmdir("d").expect("empty");
    world.assert_as_before();
}

/// Rule C41.
#[test]
fn rename() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    world.mkdir("a").expect("new");
    world.mkdir("a/sub").expect("new");
    world.mkdir("b").expect("new");
    world.create("f").expect("new");
    assert_eq!(world.rename("a", "a/sub/x", 0), Err(Errno::EINVAL));
    assert_eq!(world.rename("a/sub", "a", 0), Err(Errno::ENOTEMPTY));
    assert_eq!(world.rename("a", "f", 0), Err(Errno::ENOTDIR));
    assert_eq!(world.rename("f", "a", 0), Err(Errno::EISDIR));
    assert_eq!(world.rename("f", "a", rename_flag::NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(world.rename("b", "a", 0), Err(Errno::ENOTEMPTY));
    world
        .rename("f", "a/sub", rename_flag::EXCHANGE)
        .expect("both are there");
    assert_eq!(world.stat("a").map(|stat| stat.1), Ok(2));
    assert_eq!(world.stat("f").map(|stat| stat.1), Ok(2));
    world
        .rename("f", "b/moved", rename_flag::WHITEOUT)
        .expect("a directory moves");
    assert_eq!(world.stat("b").map(|stat| (stat.1, stat.2)), Ok((3, 60)));
    world.unlink("f").expect("the whiteout");
    world.rename("b/moved", "f", 0).expect("back");
    world.rmdir("b").expect("empty");
    world.unlink("a/sub").expect("the file");
    world.rename("f", "a", 0).expect("over an empty directory");
    world.rmdir("a").expect("empty");
    world.assert_as_before();
}

/// Rules C31 to C36: limits of a mount are its own, counted exactly, and given back; the mount goes with everything in it.
#[test]
fn mounts() {
    let memory = machine(1024, 0);
    let world = World::new(&memory);
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "nr_inodes=3,size=8k", 0).expect("new");
    world.create("m/one").expect("the second inode");
    world.link("m/one", "m/two").expect("the third");
    assert_eq!(world.create("m/three"), Err(Errno::ENOSPC));
    assert_eq!(world.link("m/one", "m/three"), Err(Errno::ENOSPC));
    assert_eq!(world.link("m/one", "three"), Err(Errno::EXDEV));
    let inode = world.linux.find(&world.task, World::at("m/one"), 0, 0).expect("there");
    memory.kernel_write(inode, 0, &[1; 8192]).expect("two pages");
    assert_eq!(
        memory.kernel_write(inode, 8192, &[1]).map_err(Errno::from),
        Err(Errno::ENOSPC)
    );
    assert_eq!(world.mount("m", "", "size=4k", mount_flag::REMOUNT), Err(Errno::EINVAL));
    assert_eq!(world.rmdir("m"), Err(Errno::EBUSY));
    let number = world.open("m/two", o::RDWR).expect("there");
    assert_eq!(world.umount("m", 0), Err(Errno::EBUSY));
    assert_eq!(
        world.mount("m", "", "", mount_flag::REMOUNT | mount_flag::RDONLY),
        Err(Errno::EBUSY)
    );
    world.umount("m", mount_flag::MNT_DETACH).expect("detached");
    assert_eq!(world.list("m"), [".", ".."]);
    let file = world.linux.get(world.task.table, number).expect("open");
    assert!(matches!(file.kind(), Kind::Object(inode) if memory.i_size(inode) == 8192));
    world.linux.close(world.task.table, number).expect("open");
    world.mount("m", "ramfs", "size=4k", 0).expect("new");
    world.mkdir("m/d").expect("new");
    world.create("m/d/f").expect("new");
    world.symlink("x", "m/d/l").expect("new");
    world.mount("m/d", "tmpfs", "", 0).expect("new");
    assert_eq!(world.umount("m", 0), Err(Errno::EBUSY));
    world.umount("m/d", 0).expect("unused");
    world.umount("m", 0).expect("unused");
    world.rmdir("m").expect("empty");
    world.assert_as_before();
}

/// However deep mounts are nested, they are detached with a stack of one size: here it is smaller than a call a level wants.
#[test]
fn deep_mounts_are_detached() {
    const DEPTH: usize = 2000;
    let detach = || {
        let memory = machine(8192, 0);
        let mut world = World::new(&memory);
        world.mkdir("m").expect("new");
        let top = world.task.fs.cwd;
        for _ in 0..DEPTH {
            world.mount("m", "tmpfs", "", 0).expect("new");
            world.task.fs.cwd = Some(world.linux.find(&world.task, World::at("m"), 0, 0).expect("there"));
            world.mkdir("m").expect("new");
        }
        world.task.fs.cwd = top;
        world.umount("m", mount_flag::MNT_DETACH).expect("mounted");
        assert_eq!(world.list("m"), [".", ".."]);
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    thread.spawn(detach).expect("a thread").join().expect("no overflow");
}

/// Files that lose their last name live on until they close; unnamed ones can get one.
#[test]
fn files_without_names() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let number = world.open("f", o::CREAT | o::RDWR).expect("new");
    world.unlink("f").expect("there");
    world.create("f").expect("another");
    assert_eq!(memory.live_records()[3], ("inode", 3));
    world.linux.close(world.task.table, number).expect("open");
    world.unlink("f").expect("there");
    for (flags, linked) in [(o::EXCL, Err(Errno::ENOENT)), (0, Ok(()))] {
        let number = world
            .open(".", o::TMPFILE | o::DIRECTORY | o::RDWR | flags)
            .expect("an unnamed file");
        let own = PathAt {
            dirfd: number as i32,
            path: b"",
        };
        let named = world.linux.linkat(&world.task, own, World::at("named"), at::EMPTY_PATH);
        assert_eq!(named, linked);
        world.linux.close(world.task.table, number).expect("open");
    }
    world.unlink("named").expect("there");
    world.assert_as_before();
}

/// Rights of others: what root may, they may not.
#[test]
fn rights() {
    let memory = machine(512, 0);
    let mut world = World::new(&memory);
    world.mkdir("d").expect("new");
    world.create("d/f").expect("new");
    let inode = world.linux.find(&world.task, World::at("d/f"), 0, 0).expect("there");
    world.linux.chmod(Cred::ROOT, inode, 0o640).expect("root may");
    world.task.cred = Cred::ROOT.set_users([1, 1, 1]).expect("root may");
    assert_eq!(world.open("d/f", o::RDWR), Err(Errno::EACCES));
    let number = world.open("d/f", o::RDONLY).expect("its group may read");
    world.linux.close(world.task.table, number).expect("open");
    assert_eq!(world.unlink("d/f"), Err(Errno::EACCES));
    assert_eq!(world.linux.chmod(world.task.cred, inode, 0o777), Err(Errno::EPERM));
    let mine = Owner {
        user: 1,
        group: u32::MAX,
    };
    assert_eq!(world.linux.chown(world.task.cred, inode, mine), Err(Errno::EPERM));
    assert_eq!(world.mount("d", "tmpfs", "", 0), Err(Errno::EPERM));
    world.task.cred = Cred::ROOT;
    let dir = world.linux.find(&world.task, World::at("d"), 0, 0).expect("there");
    world.linux.chmod(Cred::ROOT, dir, 0o1777).expect("root may");
    world.task.cred = Cred::ROOT.set_users([1, 1, 1]).expect("root may");
    assert_eq!(world.unlink("d/f"), Err(Errno::EPERM), "a sticky directory");
    world.task.cred = Cred::ROOT;
    world.linux.chmod(Cred::ROOT, dir, 0).expect("root may");
    world.task.cred = Cred::ROOT.set_users([1, 1, 1]).expect("root may");
    assert_eq!(world.stat("d/f"), Err(Errno::EACCES));
    world.task.cred = Cred::ROOT;
    world.unlink("d/f").expect("there");
    world.rmdir("d").expect("empty");
    world.assert_as_before();
}

#[test]
fn working_directories() {
    let memory = machine(512, 0);
    let mut world = World::new(&memory);
    let cwd = |world: &World<'_>| {
        let mut buffer = [0; 4095];
        let start = world.linux.getcwd(world.task.fs, &mut buffer)?;
        Ok::<_, Errno>(String::from_utf8_lossy(&buffer[start..]).into_owned())
    };
    assert_eq!(cwd(&world), Ok("/".to_owned()));
    world.mkdir("d").expect("new");
    world.mount("d", "tmpfs", "", 0).expect("new");
    world.mkdir("d/e").expect("new");
    world.task.fs = world.linux.chdir(&world.task, World::at("d/e")).expect("there");
    assert_eq!(cwd(&world), Ok("/d/e".to_owned()));
    assert_eq!(world.umount("/d", 0), Err(Errno::EBUSY));
    world.rmdir("/d/e").expect("empty");
    assert_eq!(cwd(&world), Err(Errno::ENOENT));
    assert_eq!(world.create("x"), Err(Errno::ENOENT));
    world.task.fs = world.linux.chdir(&world.task, World::at("/d")).expect("there");
    world.task.fs = world
        .linux
        .chdir(&world.task, World::at(".."))
        .expect("out of the mount");
    assert_eq!(cwd(&world), Ok("/".to_owned()));
    world.umount("/d", 0).expect("unused");
    world.rmdir("d").expect("empty");
    world.assert_as_before();
}

/// Rules C44, C45: every call that allocates, failing at each of its allocations: it leaves the tree as it was, and nothing behind.
#[test]
fn with_failing_allocations() {
    let long = "n".repeat(200);
    let target = "t".repeat(300);
    type Call<'a> = (&'a str, Box<dyn Fn(&World<'_>) -> Result<(), Errno> + 'a>);
    let calls: [Call<'_>; 9] = [
        ("mkdir", Box::new(|world| world.mkdir("d/new"))),
        ("create", Box::new(|world| world.create(&format!("d/{long}")))),
        ("symlink", Box::new(|world| world.symlink(&target, "d/new"))),
        (
            "short symlink",
            Box::new(|world| world.symlink("x", &format!("d/{long}"))),
        ),
        ("link", Box::new(|world| world.link("d/f", &format!("d/{long}")))),
        (
            "rename",
            Box::new(|world| world.rename("d/f", &format!("d/g/{long}"), 0)),
        ),
        (
            "whiteout",
            Box::new(|world| world.rename("d/f", "d/g/f", rename_flag::WHITEOUT)),
        ),
        ("mount", Box::new(|world| world.mount("d/g", "tmpfs", "", 0))),
        (
            "an unnamed file",
            Box::new(|world| {
                let number = world.open("d", o::TMPFILE | o::DIRECTORY | o::RDWR)?;
                world.linux.close(world.task.table, number)
            }),
        ),
    ];
    for (name, call) in &calls {
        for failing in 0.. {
            let memory = machine(512, 0);
            let world = World::new(&memory);
            world.mkdir("d").expect("new");
            world.mkdir("d/g").expect("new");
            world.create("d/f").expect("new");
            let (picture, records) = (world.picture("d"), world.records());
            let from = memory.platform.failing.attempts();
            // Those that follow fail as well: nothing succeeds on a second try.
            memory.platform.failing.set(from + failing..u64::MAX);
            let result = call(&world);
            let hit = memory.platform.failing.attempts() > from + failing;
            memory.platform.failing.set(0..0);
            memory.check_invariants();
            if !hit {
                assert_eq!(result, Ok(()), "{name}");
                assert!(failing > 0, "{name} allocates nothing");
                break;
            }
            assert!(
                matches!(result, Err(Errno::ENOMEM | Errno::ENOSPC)),
                "{name}: {result:?}"
            );
            assert_eq!(world.picture("d"), picture, "{name}, attempt {failing}");
            assert_eq!(world.records(), records, "{name}, attempt {failing}");
        }
    }
}
