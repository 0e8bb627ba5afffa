//! `shmctl`: rules A49 to A58.

use faultlab_programs::println;
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::page_out;
use faultlab_programs::sys::sysv_shm::{self, ShmidDs, number::*};

use crate::show::*;

const KEY: i32 = 0x55;

pub(crate) fn run() {
    arguments();
    set();
    removal();
    lock();
    information();
    by_index();
}

const COMMANDS: [i32; 9] = [
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    IPC_INFO,
    SHM_LOCK,
    SHM_UNLOCK,
    SHM_STAT,
    SHM_INFO,
    SHM_STAT_ANY,
];

fn arguments() {
    let id = new(5000, 0o600);
    for command in COMMANDS {
        show_ok("A49", format_args!("id -1, command {command}"), ctl(-1, command, 0));
        if !matches!(command, IPC_INFO | SHM_INFO) {
            show_ok(
                "A49",
                format_args!("unknown id, command {command}, bad buffer"),
                ctl(999, command, 1),
            );
        }
        if !matches!(command, IPC_RMID | SHM_LOCK | SHM_UNLOCK) {
            show_ok(
                "A49",
                format_args!("command {command}, bad buffer"),
                ctl(id, command, 1),
            );
        }
    }
    for command in [-1, i32::MIN, 4, 10, 16, 256, i32::MAX] {
        show_ok("A49", format_args!("command {command}"), ctl(id, command, 0));
    }
    need("IPC_RMID", rmid(id));
}

fn set() {
    let id = need("shmget", sysv_shm::get(KEY, 5000, IPC_CREAT | 0o600));
    let mut ds = stat(id);
    (ds.segsz, ds.times, ds.cpid, ds.lpid, ds.nattch) = (1, [5; 3], 1, 1, 9);
    ds.perm = [7 | 11 << 32, 12 | 13 << 32, 14 | 0o177_751 << 32, 3, 0, 0];
    show_change("A51", "IPC_SET", id, || {
        show_ok("A51", "set", ctl_ds(id, IPC_SET, ds));
    });
    show_stat("A51", "set", id);
    for (name, word) in [("uid", 0), ("gid", 1)] {
        let mut bad = ds;
        bad.perm[word] = if word == 0 {
            u64::from(u32::MAX) << 32
        } else {
            u64::from(u32::MAX)
        };
        show_ok("A51", format_args!("{name} -1"), ctl_ds(id, IPC_SET, bad));
    }
    show_stat("A51", "unchanged", id);
    show_ok("A51", "its key is the old one", sysv_shm::get(KEY, 0, 0));
    need("IPC_RMID", rmid(id));
}

fn removal() {
    let id = need("shmget", sysv_shm::get(KEY, 5000, IPC_CREAT | 0o640));
    let address = need("shmat", at(id, 0, 0));
    store(address, 3);
    show_change("A52", "IPC_RMID", id, || need("IPC_RMID", rmid(id)));
    show_stat("A52", "removed", id);
    show_ok("A52", "again", rmid(id));
    show("A52", "its key", sysv_shm::get(KEY, 0, 0));
    let other = need("shmget", sysv_shm::get(KEY, 100, IPC_CREAT | 0o600));
    println!("A52 the key names another: {}", other != id);
    println!("A52 contents {}", load(address));
    println!("A65 pages {}", need("SHM_INFO", sysv_shm::info()).tot);
    show_ok("A51", "IPC_SET of a removed one", ctl_ds(id, IPC_SET, stat(id)));
    show_stat("A51", "still removed", id);
    need("shmdt", dt(address));
    show_ok("A53", "last shmdt, IPC_STAT", nattch(id));
    println!("A65 pages {}", need("SHM_INFO", sysv_shm::info()).tot);
    show_ok("A52", "not attached", rmid(other));
    show_ok("A52", "again", rmid(other));
}

fn lock() {
    const PAGES: usize = 16;
    let id = new(PAGES * PAGE, 0o600);
    show_change("A54", "SHM_LOCK", id, || show("A54", "SHM_LOCK", ctl(id, SHM_LOCK, 0)));
    show("A54", "again", ctl(id, SHM_LOCK, 0));
    println!("A55 pages in memory: {}", need("SHM_INFO", sysv_shm::info()).rss);
    let address = need("shmat", at(id, 0, 0));
    for page in 0..PAGES {
        store(address + page * PAGE, page as u8 + 1);
    }
    show_ok("A55", "MADV_PAGEOUT", page_out(address as *mut u8, PAGES * PAGE));
    let info = need("SHM_INFO", sysv_shm::info());
    println!("A55 pages in memory: {}, in swap: {}", info.rss, info.swp);
    show_ok("A51", "IPC_SET", ctl_ds(id, IPC_SET, stat(id)));
    show_stat("A51 A54", "locked", id);
    show("A54", "SHM_UNLOCK", ctl(id, SHM_UNLOCK, 0));
    show("A54", "again", ctl(id, SHM_UNLOCK, 0));
    show_stat("A54", "unlocked", id);
    show("A54", "SHM_LOCK", ctl(id, SHM_LOCK, 0));
    need("IPC_RMID", rmid(id));
    show_stat("A52 A54", "locked and removed", id);
    show("A54", "SHM_UNLOCK when removed", ctl(id, SHM_UNLOCK, 0));
    println!("A54 contents {} {}", load(address), load(address + 15 * PAGE));
    need("shmdt", dt(address));
    let id = new(PAGE, 0o600);
    show("A54", "SHM_LOCK", ctl(id, SHM_LOCK, 0));
    show_ok("A54", "removed while locked", rmid(id));
}

fn information() {
    let mut words = [0u64; 16];
    // SAFETY: the buffer is larger than what either command fills.
    let mut info = |id, command| unsafe { sysv_shm::control(id, command, words.as_mut_ptr() as usize) };
    show("A56", "IPC_INFO of none", info(0, IPC_INFO));
    show("A57", "SHM_INFO of none", info(0, SHM_INFO));
    let ids = [new(5000, 0o600), new(1, 0o600), new(3 * PAGE, 0o600)];
    need("IPC_RMID", rmid(ids[1]));
    let highest = ids[2] % 32768;
    let of_highest = |value: Result<i32, Errno>| value.map(|value| value - highest);
    show(
        "A56",
        "IPC_INFO, beyond the highest index",
        of_highest(info(12345, IPC_INFO)),
    );
    show(
        "A57",
        "SHM_INFO, beyond the highest index",
        of_highest(info(0, SHM_INFO)),
    );
    need("IPC_INFO", info(0, IPC_INFO));
    println!("A56 {:?}", &words[..9]);
    let address = need("shmat", at(ids[2], 0, 0));
    store(address, 1);
    store(address + 2 * PAGE, 1);
    // SAFETY: as above.
    need("SHM_INFO", unsafe {
        sysv_shm::control(0, SHM_INFO, words.as_mut_ptr() as usize)
    });
    println!("A57 {:?}", &words[..6]);
    need("shmdt", dt(address));
    need("IPC_RMID", rmid(ids[2]));
    need("IPC_RMID", rmid(ids[0]));
}

fn by_index() {
    let id = new(5000, 0o640);
    let index = id % 32768;
    for command in [SHM_STAT, SHM_STAT_ANY] {
        for (name, argument) in [("index", index), ("id", id), ("wrong sequence", index + 7 * 32768)] {
            let found = ctl_ds(argument, command, ShmidDs::default());
            let shown = found.map(|(value, ds)| value == id && ds.segsz == 5000 && mode(&ds) == 0o640);
            show("A58", format_args!("command {command}, {name}"), shown);
        }
        let unused = ctl_ds(index + 1, command, ShmidDs::default());
        show_ok("A58", format_args!("command {command}, unused index"), unused);
    }
    need("IPC_RMID", rmid(id));
}
