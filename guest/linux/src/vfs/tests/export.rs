//! What goes back to the host: `exec --out`.

use super::*;

/// A tree is handed out whole, each directory closed after what is in it; what is mounted in it and what is no file stay out.
#[test]
fn export() {
    let memory = machine(600, 0);
    let world = World::new(&memory);
    world.mkdir("/t").unwrap();
    world.mkdir("/t/d").unwrap();
    world.mkdir("/t/mnt").unwrap();
    world.create("/t/d/f").unwrap();
    world.link("/t/d/f", "/t/g").unwrap();
    world.symlink("to", "/t/l").unwrap();
    world
        .linux
        .mknodat(&world.task, World::at("/t/p"), s::IFIFO | 0o600, 0)
        .unwrap();
    world.mount("/t/mnt", "tmpfs", "", 0).unwrap();
    world.create("/t/mnt/hidden").unwrap();
    let file = world.linux.find(&world.task, World::at("/t/g"), 0, 0).unwrap();
    memory.kernel_write(file, 3 * 4096, b"end").unwrap();
    let told = |path: &str, refuse: &str| {
        let mut told = std::vec::Vec::new();
        let result = world.linux.export(&world.task, path.as_bytes(), &mut |step| {
            use crate::vfs::Export;
            let text = |bytes: &[u8]| std::string::String::from_utf8_lossy(bytes).into_owned();
            told.push(match step {
                Export::Entry { size, name, target, .. } => std::format!("{}>{} {size}", text(name), text(target)),
                Export::Pages(index, pages) => std::format!("{index}+{}", pages.len()),
                Export::End => "end".into(),
                Export::LeftOut(name) => std::format!("not {}", text(name)),
            });
            match told.last() {
                Some(last) if !refuse.is_empty() && last.starts_with(refuse) => Err(Errno::EEXIST),
                _ => Ok(()),
            }
        });
        (result, told)
    };
    let (result, all) = told("/t", "");
    assert_eq!(result, Ok(()));
    let directories = |line: &std::string::String| line.split(' ').next().unwrap_or_default().to_owned();
    let expected = [
        ">", "mnt>", "end", "not", "l>to", "g>", "3+1", "end", "d>", "f>", "3+1", "end", "end", "end",
    ];
    let mut names: std::vec::Vec<_> = all.iter().map(directories).collect();
    assert_eq!(names.len(), expected.len(), "{all:?}");
    names.sort();
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    assert_eq!(all.last().map(|line| &line[..]), Some("end"));
    // A second name's content is not wanted.
    let (result, all) = told("/t", "f>");
    assert_eq!(
        (result, all.iter().filter(|line| &line[..] == "3+1").count()),
        (Ok(()), 1)
    );
    assert_eq!(told("/t/g", "").1.len(), 3);
    assert_eq!(told("/t/l", "").0, Err(Errno::ENOENT));
    assert_eq!(told("/t/p", "").0, Err(Errno::EOPNOTSUPP));
    assert_eq!(
        told("/t/mnt", "").1.len(),
        4,
        "asked for, what is mounted is handed out"
    );
    world.linux.umount(&world.task, b"/t/mnt", 0).unwrap();
    let top = world.linux.find(&world.task, World::at("/t"), 0, 0).unwrap();
    world.linux.remove_all(top);
    world.rmdir("/t").unwrap();
}

/// What is out of the tree takes no mounts, and none of its own is taken out again. As on Linux 6.18.
#[test]
fn detached_trees_take_no_mounts() {
    let memory = machine(600, 0);
    let mut world = World::new(&memory);
    world.mkdir("/t").unwrap();
    world.mount("/t", "tmpfs", "", 0).unwrap();
    world.task.fs = world.linux.chdir(&world.task, World::at("/t")).unwrap();
    world.mkdir("mnt").unwrap();
    world.linux.umount(&world.task, b".", mount_flag::MNT_DETACH).unwrap();
    assert_eq!(world.mount("mnt", "tmpfs", "", 0), Err(Errno::ENOENT));
    assert_eq!(world.mount("mnt", "tmpfs", "size=-1", 0), Err(Errno::EINVAL));
    assert_eq!(world.mount(".", "tmpfs", "", mount_flag::REMOUNT), Err(Errno::EINVAL));
    for flags in [0, mount_flag::MNT_DETACH] {
        assert_eq!(world.linux.umount(&world.task, b".", flags), Err(Errno::EINVAL));
    }
    world.mkdir("still").unwrap();
    world.task.fs = world.linux.chdir(&world.task, World::at("/t")).unwrap();
    world.mkdir("gone").unwrap();
    world.task.fs = world.linux.chdir(&world.task, World::at("gone")).unwrap();
    world.rmdir("/t/gone").unwrap();
    assert_eq!(world.mount(".", "tmpfs", "", 0), Err(Errno::ENOENT));
    world.task.fs = world.linux.chdir(&world.task, World::at("/")).unwrap();
    world.linux.reap_detached();
    world.rmdir("/t").unwrap();
}
