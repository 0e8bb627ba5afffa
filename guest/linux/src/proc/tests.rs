//! Proc over a fake machine with two processes.

use faultlab_mm::huge::{AnonPolicy, Defrag, ShmemPolicy};
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::testing::machine;

use super::System;
use crate::Errno;
use crate::file::o;
use crate::read_write::At;
use crate::vfs::{MountArguments, PathAt, at, s};

mod world;

use world::{BUFFER_BYTES, Processes, World};

/// What a description showed at first, it shows to every reader with every buffer.
#[test]
fn a_text_is_one_whatever_the_buffer() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let mut texts = 0;
    for (path, kind) in world.all("/proc") {
        let binary = path.ends_with("/pagemap") || path.ends_with("/mem");
        if kind != 8 || binary || path.contains("/sys/") {
            continue;
        }
        for step in (1..40).chain([63, 64, 65, 991, 992, 993, 4096]) {
            let number = world
                .open(&path, o::RDONLY)
                .unwrap_or_else(|errno| panic!("{path}: {errno:?}"));
            let text = world
                .rest(number, step)
                .unwrap_or_else(|errno| panic!("{path}: {errno:?}"));
            for from in [1, 5, 100, 991, 992, 993].into_iter().filter(|&from| from < text.len()) {
                let len = world.transfer(number, At::Offset(from as u64), BUFFER_BYTES, false);
                assert_eq!(
                    world.buffer(len.expect("read")),
                    text[from..],
                    "{path} by {step} and from {from}"
                );
            }
            let file = world.linux.get(world.task.table, number).expect("open");
            world.linux.lseek(file, 1, 0).expect("a position");
            assert_eq!(
                world.rest(number, 7).expect("read"),
                text.get(1..).unwrap_or_default(),
                "{path} after a seek"
            );
            world.linux.close(world.task.table, number).expect("open");
        }
        texts += 1;
    }
    assert!(texts > 40, "{texts} texts");
    world.end();
}

/// Every name that is listed can be looked up and is of the type that the listing says; nothing else can.
#[test]
fn what_is_listed_is_there() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let all = world.all("/proc");
    for (path, kind) in &all {
        let found = world
            .linux
            .find(
                &world.task,
                PathAt::cwd(path.as_bytes()),
                at::SYMLINK_NOFOLLOW,
                at::SYMLINK_NOFOLLOW,
            )
            .unwrap_or_else(|errno| panic!("{path}: {errno:?}"));
        let mode = memory.getattr(found).mode;
        assert_eq!((mode & s::IFMT) >> 12, u32::from(*kind), "{path}");
    }
    for name in [
        "2",
        "3",
        "2/fd/0",
        "3/task/3/maps",
        "sys/kernel/random/uuid",
        "sysvipc/shm",
    ] {
        assert!(all.iter().any(|(path, _)| path == &format!("/proc/{name}")), "{name}");
    }
    for name in [
        "4",
        "02",
        "2/fd/3",
        "2/task/3",
        "2/task/2/task",
        "none",
        "sys/none",
        "fd",
        "4294967296",
    ] {
        assert_eq!(
            world.open(&format!("/proc/{name}"), o::PATH),
            Err(Errno::ENOENT),
            "{name}"
        );
    }
    world.end();
}

/// The end of a process: its files are still open, and say so; its directory is gone, and what was known of it with it.
#[test]
fn processes_come_and_go() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    assert_eq!(world.read("/proc/self/comm"), Ok("test\n".to_owned()));
    let inodes = || memory.live_records()[3].1;
    let before = inodes();
    let number = world.open("/proc/3/statm", o::RDONLY).expect("there");
    let dir = world.open("/proc/3/fd", o::DIRECTORY).expect("there");
    system.0.lock().expect("one thread").retain(|process| process.pid != 3);
    assert_eq!(world.rest(number, 100), Err(Errno::ESRCH));
    assert_eq!(world.open("/proc/3/statm", o::RDONLY), Err(Errno::ENOENT));
    for number in [number, dir] {
        world.linux.close(world.task.table, number).expect("open");
    }
    assert_eq!(inodes(), before, "objects of a process that is gone are left");
    // Without being looked up again, it goes when another comes.
    world.add(4);
    world.read("/proc/4/statm").expect("there");
    let before = inodes();
    system.0.lock().expect("one thread").retain(|process| process.pid != 4);
    world.add(5);
    world.read("/proc/5/statm").expect("there");
    assert_eq!(inodes(), before);
    world.end();
}

/// Rules I5, I6: knobs take effect, and refuse what Linux refuses.
#[test]
fn knobs_are_set() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let set = |name: &str, value: &str| world.write(&format!("/proc/sys/{name}"), value);
    assert_eq!(set("kernel/shmmni", "100\n"), Ok(4));
    assert_eq!(memory.shm_limits().mni, 100);
    assert_eq!(set("kernel/shmmni", "32769"), Err(Errno::EINVAL));
    assert_eq!(set("kernel/shmall", "5 6"), Ok(2));
    assert_eq!(memory.shm_limits().all_pages, 5);
    for (name, value) in [
        ("vm/overcommit_memory", "3"),
        ("vm/swappiness", "201"),
        ("vm/watermark_scale_factor", "0"),
        ("vm/max_map_count", "-1"),
        ("vm/page-cluster", "32"),
        ("vm/drop_caches", "0"),
        ("kernel/shm_rmid_forced", "2"),
    ] {
        let before = world.read(&format!("/proc/sys/{name}"));
        assert_eq!(set(name, value), Err(Errno::EINVAL), "{name}");
        assert_eq!(world.read(&format!("/proc/sys/{name}")), before, "{name}");
    }
    assert_eq!(set("vm/max_map_count", "1"), Ok(1));
    let map = || {
        memory.do_mmap(
            world.mm,
            0,
            4096,
            prot::READ,
            map_flag::SHARED | map_flag::ANONYMOUS,
            None,
            0,
        )
    };
    assert!(map().is_ok(), "one beyond the limit is allowed");
    assert_eq!(map(), Err(faultlab_mm::Error::Enomem));
    assert_eq!(set("vm/max_map_count", "65530"), Ok(5));
    let marks = memory.zone_info().watermarks;
    assert_eq!(set("vm/min_free_kbytes", "1000"), Ok(4));
    assert_eq!(memory.zone_info().watermarks, [250, 312, 374]);
    assert_eq!(set("vm/watermark_scale_factor", "1000"), Ok(4));
    assert_eq!(memory.zone_info().watermarks, [250, 454, 658]);
    assert_ne!(marks, memory.zone_info().watermarks);
    assert_eq!(set("vm/overcommit_kbytes", "4000"), Ok(4));
    assert_eq!(memory.vm_commit_limit(), 1000);
    assert_eq!(world.read("/proc/sys/vm/overcommit_ratio"), Ok("0\n".to_owned()));
    assert_eq!(set("vm/overcommit_ratio", "50"), Ok(2));
    assert_eq!(world.read("/proc/sys/vm/overcommit_kbytes"), Ok("0\n".to_owned()));
    assert_eq!(set("vm/mmap_min_addr", "8191"), Ok(4));
    assert_eq!(memory.mmap_min_addr(), 8192);
    assert_eq!(world.open("/proc/sys/kernel/ostype", o::WRONLY), Err(Errno::EACCES));
    assert_eq!(world.write("/proc/self/oom_score_adj", "-5"), Ok(2));
    assert_eq!(system.process(2).expect("there").oom_score_adj, -5);
    world.end();
}

/// Rule I2: a name is shown as long as anybody has what it named.
#[test]
fn names_outlive_their_directories() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let path = PathAt::cwd(b"/a file");
    let number = world
        .linux
        .openat(&world.task, path, o::CREAT | o::RDWR, 0o600)
        .expect("made");
    let link = || {
        let at = format!("/proc/self/fd/{number}");
        let inode = world
            .linux
            .find_link(&world.task, PathAt::cwd(at.as_bytes()))
            .expect("a link");
        let mut text = [0; 256];
        let len = world.linux.read_link(inode, 0, &mut text).expect("a text");
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    assert_eq!(link(), "/a file");
    world
        .linux
        .linkat(&world.task, path, PathAt::cwd(b"/b"), 0)
        .expect("linked");
    world.linux.unlinkat(&world.task, PathAt::cwd(b"/b"), 0).expect("there");
    assert_eq!(link(), "/a file", "the other name is left");
    world.linux.unlinkat(&world.task, path, 0).expect("there");
    assert_eq!(link(), "/a file (deleted)");
    let flags = map_flag::SHARED | map_flag::ANONYMOUS;
    let anonymous = memory
        .do_mmap(world.mm, 0, 4096, prot::READ, flags, None, 0)
        .expect("mapped");
    assert!(
        world
            .read("/proc/self/maps")
            .expect("there")
            .contains("/dev/zero (deleted)\n")
    );
    memory.do_munmap(world.mm, anonymous, 4096).expect("mapped");
    world.linux.close(world.task.table, number).expect("open");
    world.end();
}

/// Rule I8: what a mount's options say, where they are not what they would be anyway; its source, escaped.
#[test]
fn mounts_are_shown_with_their_options() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let task = &world.task;
    world.linux.mkdirat(task, PathAt::cwd(b"/a b"), 0o755).expect("made");
    for (kind, data, shown) in [
        ("tmpfs", "size=8m", "rw,relatime,size=8192k"),
        ("tmpfs", "size=300000,mode=700", "rw,relatime,size=296k,mode=700"),
        (
            "tmpfs",
            "nr_inodes=9,uid=7,gid=8,noswap",
            "rw,relatime,nr_inodes=9,uid=7,gid=8,noswap",
        ),
        ("tmpfs", "", "rw,relatime"),
        ("ramfs", "mode=711", "rw,relatime,mode=711"),
        ("proc", "", "rw,relatime"),
        ("sysfs", "", "rw,relatime"),
        ("tmpfs", "huge=within_size", "rw,relatime,huge=within_size"),
    ] {
        let arguments = MountArguments {
            source: b"a\tsource",
            target: b"/a b",
            fstype: Some(kind.as_bytes()),
            flags: 0,
            data: data.as_bytes(),
        };
        world.linux.mount(task, &arguments).expect("mounted");
        let mounts = world.read("/proc/mounts").expect("there");
        let line = format!("a\\011source /a\\040b {kind} {shown} 0 0\n");
        assert!(mounts.ends_with(&line), "{mounts}");
        assert_eq!(world.read("/proc/self/mountinfo").expect("there").lines().count(), 4);
        world.linux.umount(task, b"/a b", 0).expect("unused");
    }
    world
        .linux
        .unlinkat(task, PathAt::cwd(b"/a b"), at::REMOVEDIR)
        .expect("empty");
    world.end();
}

/// G1: each knob takes what it shows, and nothing else; and what it takes is in force.
#[test]
fn knobs_of_huge_pages() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    let path = |name: &str| format!("/sys/kernel/mm/transparent_hugepage/{name}");
    for (name, words) in [
        ("enabled", "always madvise never"),
        ("shmem_enabled", "always within_size advise never deny force"),
        ("defrag", "always defer defer+madvise madvise never"),
    ] {
        for word in words.split(' ') {
            for text in [word.to_owned(), format!("{word}\n")] {
                assert_eq!(
                    world.write(&path(name), &text),
                    Ok(text.len() as u64),
                    "{name} {text:?}"
                );
            }
            let shown = world.read(&path(name)).expect("there");
            let expected: Vec<String> = words
                .split(' ')
                .map(|each| {
                    if each == word {
                        format!("[{each}]")
                    } else {
                        each.to_owned()
                    }
                })
                .collect();
            assert_eq!(shown, expected.join(" ") + "\n", "{name}");
            for wrong in [&format!("{word} "), &format!(" {word}"), &format!("{word}x"), "1", "\n"] {
                assert_eq!(world.write(&path(name), wrong), Err(Errno::EINVAL), "{name} {wrong:?}");
            }
            assert_eq!(world.read(&path(name)), Ok(shown));
        }
    }
    for (policy, word) in AnonPolicy::ALL.map(|policy| (policy, policy.name())) {
        world.write(&path("enabled"), word).expect("known");
        assert_eq!(memory.anon_policy(), policy);
    }
    for (policy, word) in ShmemPolicy::ALL.map(|policy| (policy, policy.name())) {
        world.write(&path("shmem_enabled"), word).expect("known");
        assert_eq!(memory.shmem_policy(), policy);
    }
    for (defrag, word) in Defrag::ALL.map(|defrag| (defrag, defrag.name())) {
        world.write(&path("defrag"), word).expect("known");
        assert_eq!(memory.defrag(), defrag);
    }
    assert_eq!(world.read(&path("hpage_pmd_size")), Ok("2097152\n".to_owned()));
    assert_eq!(world.open(&path("hpage_pmd_size"), o::WRONLY), Err(Errno::EACCES));
    assert_eq!(world.read(&path("use_zero_page")), Ok("0\n".to_owned()));
    assert_eq!(world.write(&path("use_zero_page"), "1"), Err(Errno::EINVAL));
    world.end();
}

/// Rules I4, I7, I9: the lines that programs look for are there, once each.
#[test]
fn lines_are_those_that_programs_look_for() {
    let (memory, system) = (machine(2048, 0), Processes::default());
    let world = World::new(&memory, &system);
    for (path, words) in [
        (
            "meminfo",
            "MemTotal: MemFree: MemAvailable: Cached: SwapCached: Unevictable: Mlocked: SwapTotal: SwapFree: Shmem: ShmemHugePages: \
             ShmemPmdMapped: CommitLimit: Committed_AS: HugePages_Total: HugePages_Free: HugePages_Rsvd: HugePages_Surp:",
        ),
        (
            "vmstat",
            "pswpin pswpout pgmajfault pgscan_kswapd pgscan_direct pgsteal_kswapd pgsteal_direct allocstall_movable \
             workingset_refault_anon swap_ra swap_ra_hit oom_kill nr_free_pages nr_shmem",
        ),
        ("zoneinfo", "min low high managed protection:"),
        ("stat", "cpu cpu0 ctxt btime processes procs_running"),
        (
            "self/status",
            "Name: Tgid: Pid: PPid: Uid: VmSize: VmRSS: RssAnon: RssFile: RssShmem: VmSwap: Threads: SigBlk:",
        ),
    ] {
        let text = world.read(&format!("/proc/{path}")).expect("there");
        for word in words.split_whitespace() {
            let lines = text.lines().filter(|line| line.split_whitespace().next() == Some(word));
            assert_eq!(lines.count(), 1, "{path}: {word}");
        }
    }
    assert_eq!(
        world.read("/proc/buddyinfo").expect("there").split_whitespace().count(),
        4 + 11
    );
    let swaps = world.read("/proc/swaps").expect("there");
    assert_eq!(
        swaps.split_whitespace().collect::<Vec<_>>(),
        ["Filename", "Type", "Size", "Used", "Priority"]
    );
    world.end();
}
