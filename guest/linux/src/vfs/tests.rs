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

/// Rule C37: what has no name is on no mount, and limited by none.
#[test]
fn objects_of_the_internal_mount() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let number = world.linux.memfd_create(world.task.table, 0, (0, 0)).expect("a file");
    let own = PathAt {
        dirfd: number as i32,
        path: b"",
    };
    let linked = world.linux.linkat(&world.task, own, World::at("f"), at::EMPTY_PATH);
    assert_eq!(linked, Err(Errno::EXDEV));
    let file = world.linux.get(world.task.table, number).expect("open");
    let inode = file.inode().expect("an object");
    let blocks = |bytes: [u8; super::STATFS_BYTES]| bytes[16..64].iter().map(|&byte| u32::from(byte)).sum::<u32>();
    assert_eq!(
        blocks(world.linux.statfs(inode)),
        0,
        "neither blocks nor files are counted"
    );
    world.linux.close(world.task.table, number).expect("open");
    world.assert_as_before();
}

/// Rule C36: a file of a detached mount that is only mapped any more keeps its pages; they go when the mapping does.
#[test]
fn mapped_files_outlive_their_names() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let mm = memory.mm_alloc().expect("an address space");
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "size=16k", 0).expect("new");
    let number = world.open("m/f", o::CREAT | o::RDWR).expect("new");
    let file = world.linux.get(world.task.table, number).expect("open");
    world.linux.ftruncate(file, 8192).expect("writable");
    let target = world.linux.map_file(file).expect("a file");
    let addr = memory
        .do_mmap(mm, 0, 8192, 3, mmap::map_flag::SHARED, Some(target), 0)
        .expect("mapped");
    memory.store(mm, addr, 7).expect("mapped");
    world.linux.close(world.task.table, number).expect("open");
    world.unlink("m/f").expect("there");
    assert_eq!(world.umount("m", 0), Err(Errno::EBUSY));
    world.umount("m", mount_flag::MNT_DETACH).expect("detached");
    assert_eq!(memory.load(mm, addr), Ok(7));
    memory.mmput(mm, 1);
    world.linux.exit_fs(Fs::NONE);
    world.rmdir("m").expect("empty");
    world.assert_as_before();
}

#[test]
fn reading_past_a_limit_takes_no_block() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let mm = memory.mm_alloc().expect("an address space");
    let flags = mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS;
    let addr = memory.do_mmap(mm, 0, 4096, 3, flags, None, 0).expect("a buffer");
    memory.store(mm, addr, 1).expect("the buffer");
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "nr_blocks=1", 0).expect("new");
    let number = world.open("m/f", o::CREAT | o::RDWR).expect("new");
    let file = world.linux.get(world.task.table, number).expect("open");
    let inode = file.inode().expect("an object");
    let buffer = Buffer { mm, addr, len: 4096 };
    assert_eq!(world.linux.write(file, inode, At::Offset(0), buffer), Ok(4096));
    assert_eq!(
        world.linux.write(file, inode, At::Offset(4096), buffer),
        Err(Errno::ENOSPC)
    );
    world.linux.ftruncate(file, 12288).expect("writable");
    assert_eq!(world.linux.read(file, inode, At::Offset(4096), buffer), Ok(4096));
    assert_eq!(memory.load(mm, addr), Ok(0));
    world.linux.ftruncate(file, 0).expect("writable");
    assert_eq!(world.linux.write(file, inode, At::Offset(4096), buffer), Ok(4096));
    world.linux.close(world.task.table, number).expect("open");
    world.umount("m", 0).expect("unused");
    world.rmdir("m").expect("empty");
    memory.mmput(mm, 1);
    world.assert_as_before();
}

/// Rules C9, C31, C52, C53: under pressure pages of tmpfs go to swap, and those of ramfs and of `noswap` mounts stay; blocks and content are
/// the same then. Nothing else is ever written, whatever was stored.
#[test]
fn what_goes_to_swap() {
    let memory = machine(320, 1024);
    let world = World::new(&memory);
    let kinds = [("tmpfs", ""), ("tmpfs", "noswap"), ("ramfs", "")];
    let mut files = Vec::new();
    for (number, (kind, options)) in kinds.into_iter().enumerate() {
        let dir = format!("m{number}");
        world.mkdir(&dir).expect("new");
        world.mount(&dir, kind, options, 0).expect("new");
        let path = format!("{dir}/f");
        world.create(&path).expect("new");
        let inode = world.linux.find(&world.task, World::at(&path), 0, 0).expect("there");
        memory
            .kernel_write(inode, 0, &[number as u8 + 1; 20 * 4096])
            .expect("room");
        files.push(inode);
    }
    assert_eq!(
        memory.platform.counter(Vmstat::NrShmem),
        40,
        "ramfs is no shared memory"
    );
    assert_eq!(memory.platform.counter(Vmstat::NrFilePages), 60);
    assert_eq!(memory.platform.counter(Vmstat::Pswpout), 0, "no reason to write");
    let mm = memory.mm_alloc().expect("an address space");
    let flags = mmap::map_flag::PRIVATE | mmap::map_flag::ANONYMOUS;
    let addr = memory.do_mmap(mm, 0, 400 * 4096, 3, flags, None, 0).expect("room");
    (0..400).for_each(|page| memory.store(mm, addr + page * 4096, page).expect("swap makes room"));
    assert_eq!(memory.shmem_pages(files[0]).0 + memory.shmem_pages(files[0]).1, 20);
    assert!(memory.shmem_pages(files[0]).1 > 0, "tmpfs is swapped");
    assert_eq!(memory.shmem_pages(files[1]), (20, 0), "noswap stays");
    assert_eq!(memory.shmem_pages(files[2]), (20, 0), "ramfs stays");
    memory.mmput(mm, 1);
    for (number, &inode) in files.iter().enumerate() {
        assert_eq!(memory.getattr(inode).blocks, 160);
        let mut content = [0; 20 * 4096];
        assert_eq!(memory.kernel_read(inode, 0, &mut content), Ok(content.len()));
        assert!(content.iter().all(|&byte| byte == number as u8 + 1));
    }
    for number in 0..kinds.len() {
        world.umount(&format!("m{number}"), 0).expect("unused");
        world.rmdir(&format!("m{number}")).expect("empty");
    }
    world.assert_as_before();
    assert_eq!(memory.platform.counter(Vmstat::NrShmem), 0);
    assert_eq!(memory.platform.counter(Vmstat::NrFilePages), 0);
}

/// Rule C22: what is copied from a hole is zeroes, and stays a hole.
#[test]
fn copying_between_files() {
    let memory = machine(512, 0);
    let world = World::new(&memory);
    let open = |path| {
        let number = world.open(path, o::CREAT | o::RDWR).expect("new");
        (number, world.linux.get(world.task.table, number).expect("open"))
    };
    let ((from_number, from), (to_number, to)) = (open("from"), open("to"));
    let [source, target] = [from, to].map(|file| file.inode().expect("an object"));
    memory.kernel_write(source, 0, &[1; 100]).expect("room");
    memory.kernel_write(source, 3 * 4096, &[2; 100]).expect("room");
    memory.kernel_write(target, 0, &[9; 4 * 4096]).expect("room");
    let place = Place {
        file: from,
        at: At::Position,
    };
    assert_eq!(world.linux.sendfile(to, place, 1 << 20), Ok(3 * 4096 + 100));
    assert_eq!(world.linux.lseek(from, 0, 1), Ok(3 * 4096 + 100));
    assert_eq!(memory.getattr(source).blocks, 16, "holes stay");
    let mut content = [0; 4 * 4096];
    memory.kernel_read(target, 0, &mut content).expect("there");
    let expected = (0..content.len()).map(|at| match at {
        0..100 => 1,
        100..12288 => 0,
        12288..12388 => 2,
        _ => 9,
    });
    assert!(content.iter().copied().eq(expected));
    for number in [from_number, to_number] {
        world.linux.close(world.task.table, number).expect("open");
    }
    ["from", "to"]
        .into_iter()
        .for_each(|path| world.unlink(path).expect("there"));
    world.assert_as_before();
}

/// Frames that hold a file's content already become its pages, are counted, and come free with it; those left come free by themselves.
#[test]
fn frames_become_pages_of_a_file() {
    const GIVEN: std::ops::Range<u32> = 300..310;
    let memory = Memory::new(FakeMachine::new(400, 0));
    memory.init(Pfn(16), Pfn(GIVEN.start));
    memory.init_used(Pfn(GIVEN.start), Pfn(GIVEN.end));
    let world = World::new(&memory);
    let free = memory.nr_free_pages();
    world.mkdir("m").expect("new");
    world.mount("m", "tmpfs", "nr_blocks=4", 0).expect("new");
    world.create("m/f").expect("new");
    let inode = world.linux.find(&world.task, World::at("m/f"), 0, 0).expect("there");
    for (index, pfn) in GIVEN.enumerate() {
        memory
            .platform
            .frame(Pfn(pfn))
            .iter()
            .for_each(|word| word.set(u64::from(pfn)));
        let added = memory.shmem_add_frame(inode, index as u64, Pfn(pfn));
        assert_eq!(
            added.map_err(Errno::from),
            if index < 4 { Ok(()) } else { Err(Errno::ENOSPC) }
        );
        if added.is_err() {
            memory.free_given(Pfn(pfn));
        }
    }
    memory.check_invariants();
    let mut content = [0; 16];
    assert_eq!(memory.kernel_read(inode, 3 * 4096 - 8, &mut content), Ok(16));
    assert_eq!(
        content,
        [[46, 1, 0, 0, 0, 0, 0, 0], [47, 1, 0, 0, 0, 0, 0, 0]].as_flattened()
    );
    assert_eq!((memory.i_size(inode), memory.getattr(inode).blocks), (4 * 4096, 32));
    world.umount("m", 0).expect("unused");
    world.rmdir("m").expect("empty");
    world.assert_as_before();
    assert!(memory.nr_free_pages() >= free + 10 - 4, "slabs keep a frame each");
}
