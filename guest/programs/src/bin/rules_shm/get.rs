//! `shmget`: rules A1 to A17.

use faultlab_programs::println;
use faultlab_programs::sys::process;
use faultlab_programs::sys::sysv_shm::{self, number::*};

use crate::show::{in_child, mode, need, new, perm, rmid, show, show_ok, show_stat, stat};

const KEY: i32 = 0x1234;
const ABSENT: i32 = 0x4321;

pub(crate) fn run() {
    ids();
    absent_and_private();
    present();
    sizes();
    creation();
}

fn absent_and_private() {
    let get = sysv_shm::get;
    show("A1", "absent, size 0", get(ABSENT, 0, 0));
    show("A1", "absent, size 1", get(ABSENT, 1, 0o600));
    show("A1", "absent, IPC_EXCL", get(ABSENT, 1, IPC_EXCL | 0o600));
    show("A1", "absent, size -1", get(ABSENT, usize::MAX, 0));
    show("A2", "IPC_CREAT, size 0", get(ABSENT, 0, IPC_CREAT | 0o600));
    show("A2", "IPC_PRIVATE, size 0", get(0, 0, IPC_CREAT | 0o600));
    let (first, second) = (new(1, 0), need("shmget", get(0, 1, IPC_CREAT | IPC_EXCL | 0o600)));
    println!("A3 two private segments differ: {}", first != second);
    println!("A3 their keys: {} {}", perm(&stat(first))[0], perm(&stat(second))[0]);
    let third = get(0, 1, IPC_EXCL);
    show_ok("A3", "IPC_EXCL alone", third);
    for id in [Ok(first), Ok(second), third].into_iter().flatten() {
        show_ok("A3", "remove", rmid(id));
    }
}

fn present() {
    let get = sysv_shm::get;
    let id = need("shmget", get(KEY, 5000, IPC_CREAT | IPC_EXCL | 0o640));
    for size in [0, 5000, 5001, usize::MAX] {
        show_ok(
            "A4",
            format_args!("both, size {size}"),
            get(KEY, size, IPC_CREAT | IPC_EXCL),
        );
    }
    let same = |result: Result<i32, _>| result.map(|found| found == id);
    show("A4", "IPC_EXCL alone is the same segment", same(get(KEY, 1, IPC_EXCL)));
    for size in [0, 1, 4096, 4999, 5000, 5001, 8192, usize::MAX] {
        show(
            "A5",
            format_args!("size {size} is the same segment"),
            same(get(KEY, size, 0)),
        );
    }
    show(
        "A6",
        "IPC_CREAT is the same segment",
        same(get(KEY, 5000, IPC_CREAT | 0o777)),
    );
    println!("A6 its mode: {:o}", mode(&stat(id)));
    show_ok("A52", "remove", rmid(id));
    show("A1", "then absent", get(KEY, 0, 0));
}

fn sizes() {
    const MAX: usize = usize::MAX - (1 << 24);
    for (name, size) in [
        ("SHMMAX + 1", MAX + 1),
        ("SHMMAX", MAX),
        ("2^63", 1 << 63),
        ("2^63 - 1", (1 << 63) - 1),
        ("2^46", 1 << 46),
    ] {
        show_ok("A8 A11 A13", name, sysv_shm::get(0, size, 0o600));
    }
    for (name, size) in [("2^63", 1 << 63), ("2^46", 1 << 46)] {
        let id = sysv_shm::get(0, size, SHM_NORESERVE | 0o600);
        show_ok("A11 A13", format_args!("{name}, SHM_NORESERVE"), id);
        if let Ok(id) = id {
            println!("A65 pages of all segments: {}", need("SHM_INFO", sysv_shm::info()).tot);
            show_ok("A11", "remove", rmid(id));
        }
    }
}

fn creation() {
    let id = need("shmget", sysv_shm::get(KEY, 5000, IPC_CREAT | 0o751));
    show_stat("A14", "new", id);
    let ds = stat(id);
    println!(
        "A14 cpid is the caller: {}, lpid {}, atime {}, dtime {}, ctime set: {}",
        ds.cpid == process::id(),
        ds.lpid,
        ds.times[0],
        ds.times[1],
        ds.times[2] != 0
    );
    let info = need("SHM_INFO", sysv_shm::info());
    println!(
        "A15 A65 pages {}, in memory {}, in swap {}",
        info.tot, info.rss, info.swp
    );
    let parent = process::id();
    in_child(|| println!("A14 cpid seen by a child: {}", stat(id).cpid == parent));
    show_ok("A17", "remove", rmid(id));
    show_ok("A17", "IPC_STAT", sysv_shm::stat(id));
    show_ok("A17", "IPC_RMID", rmid(id));
    show_ok("A17", "shmat", sysv_shm::attach(id, core::ptr::null_mut()));
    for command in [SHM_LOCK, SHM_UNLOCK] {
        show_ok(
            "A17",
            format_args!("command {command}"),
            crate::show::ctl(id, command, 0),
        );
    }
}

/// Rule A16: IDs by number, since nothing else is in this namespace.
fn ids() {
    for round in 0..66 {
        let id = new(1, 0);
        if !(3..62).contains(&round) {
            println!("A16 creation {round}: {id}");
        }
        need("IPC_RMID", rmid(id));
    }
    // Kept ones are skipped; indices go on from the last one.
    let kept = [new(1, 0), new(1, 0), new(1, 0)];
    println!("A16 three kept: {} {} {}", kept[0], kept[1], kept[2]);
    need("IPC_RMID", rmid(kept[1]));
    let mut last = 0;
    for _ in 0..64 {
        last = new(1, 0);
        need("IPC_RMID", rmid(last));
    }
    println!("A16 64 later, around those kept: {last}");
    show_ok("A17", "an index used again, old ID", sysv_shm::stat(kept[1]));
    show_ok("A17", "old ID, shmat", sysv_shm::attach(kept[1], core::ptr::null_mut()));
    for id in [kept[0], kept[2]] {
        need("IPC_RMID", rmid(id));
    }
    let mut many = [0; 100];
    for slot in &mut many {
        *slot = new(1, 0);
    }
    println!("A16 a hundred kept: {} to {}", many[0], many[99]);
    for id in many {
        need("IPC_RMID", rmid(id));
    }
    let id = new(1, 0);
    println!("A16 then: {id}");
    need("IPC_RMID", rmid(id));
}
