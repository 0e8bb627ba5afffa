//! Who may do what: rules A4, A7, A20, A30, A34, A50, A51, A52, A54, A58.

use faultlab_programs::println;
use faultlab_programs::sys::process;
use faultlab_programs::sys::sysv_shm::{self, ShmidDs, number::*};

use crate::show::{as_user, at, ctl, ctl_ds, dt, in_child, need, new, rmid, show, show_ok, show_stat};

const KEY: i32 = 0x77;
const OWNER: u32 = 1000;
const OTHER: u32 = 1001;
const GROUP: u32 = 2000;
const NO_GROUP: u32 = 2001;

pub(crate) fn run() {
    identities();
    lookups();
    attaching();
    looking();
    setting();
    removing();
    locking();
}

/// What `setresuid` and its like do, as far as the rest of this file needs.
fn identities() {
    in_child(|| {
        show_ok("cred", "euid 1000", process::set_user_ids(u32::MAX, OWNER, u32::MAX));
        println!("cred ids {:?}", process::ids());
        show_ok(
            "cred",
            "euid 5 without rights",
            process::set_user_ids(u32::MAX, 5, u32::MAX),
        );
        show_ok("cred", "setgid without rights", process::set_group(5));
        show_ok("cred", "euid back to 0", process::set_user_ids(u32::MAX, 0, u32::MAX));
        show_ok("cred", "setgid", process::set_group(GROUP));
        show_ok("cred", "setuid -1", process::set_user(u32::MAX));
        show_ok("cred", "setuid", process::set_user(OWNER));
        println!("cred ids {:?}", process::ids());
        show_ok("cred", "setuid back to 0", process::set_user(0));
        show_ok("cred", "setuid to itself", process::set_user(OWNER));
        show_ok("cred", "all ids back to 0", process::set_user_ids(0, 0, 0));
        in_child(|| println!("cred ids of a child {:?}", process::ids()));
    });
    println!("cred the parent's ids {:?}", process::ids());
}

/// A segment of `OWNER` and `GROUP`, made by root.
fn owned(key: i32, mode: u32) -> i32 {
    let id = need("shmget", sysv_shm::get(key, 5000, IPC_CREAT | mode));
    need("IPC_SET", set(id, OWNER, GROUP, mode));
    id
}

fn set(id: i32, uid: u32, gid: u32, mode: u32) -> Result<(), faultlab_programs::sys::Errno> {
    let mut ds = ShmidDs::default();
    (ds.segsz, ds.nattch) = (1, 77);
    ds.perm[0] = u64::from(uid) << 32;
    ds.perm[1] = u64::from(gid);
    ds.perm[2] = u64::from(mode) << 32;
    ctl_ds(id, IPC_SET, ds).map(drop)
}

/// The four classes: owner, group, others, and a group's member who owns it (whose class is the owner's).
const CLASSES: [(&str, u32, u32); 4] = [
    ("owner", OWNER, NO_GROUP),
    ("group", OTHER, GROUP),
    ("others", OTHER, NO_GROUP),
    ("owner in the group", OWNER, GROUP),
];

fn lookups() {
    for mode in [0o640, 0o067, 0o604, 0o777, 0] {
        let id = owned(KEY, mode);
        for (name, uid, gid) in CLASSES {
            as_user(uid, gid, || {
                for request in [0, 0o400, 0o200, 0o600, 0o040, 0o004, 0o666, 0o100] {
                    let case = format_args!("mode {mode:o}, {name} asks {request:o}");
                    show_ok("A7 A20", case, sysv_shm::get(KEY, 0, request));
                }
                show_ok("A4", name, sysv_shm::get(KEY, 1, IPC_CREAT | IPC_EXCL | 0o600));
                show_ok("A5", format_args!("{name}, too large"), sysv_shm::get(KEY, 5001, 0o777));
            });
        }
        need("IPC_RMID", rmid(id));
    }
    // A creator who is no longer the owner keeps the owner's class.
    as_user(OTHER, NO_GROUP, || {
        let id = need("shmget", sysv_shm::get(KEY, 1, IPC_CREAT | 0o600));
        show_stat("A14", "made by a user", id);
        show_ok("A51", "gives it away", set(id, OWNER, GROUP, 0o600));
        show_stat("A51", "given away", id);
        show_ok("A20", "creator looks it up", sysv_shm::get(KEY, 1, 0o600));
        show_ok("A51", "takes the rights away", set(id, OWNER, GROUP, 0o066));
        show_ok("A20", "creator looks it up", sysv_shm::get(KEY, 1, 0o400));
        show_ok("A52", "creator removes it", rmid(id));
    });
}

fn attaching() {
    for bits in 0..8 {
        let id = new(1, bits);
        as_user(OTHER, NO_GROUP, || {
            for (name, flags) in [
                ("read and write", 0),
                ("SHM_RDONLY", SHM_RDONLY),
                ("SHM_EXEC", SHM_EXEC),
                ("SHM_RDONLY|SHM_EXEC", SHM_RDONLY | SHM_EXEC),
            ] {
                let attached = at(id, 0, flags);
                show_ok("A34", format_args!("others {bits:o}, {name}"), attached);
                if let Ok(address) = attached {
                    need("shmdt", dt(address));
                }
            }
        });
        need("IPC_RMID", rmid(id));
    }
    let id = new(1, 0o666);
    as_user(OTHER, NO_GROUP, || {
        show_ok("A30", "a user at address 0", at(id, 1, SHM_RND));
    });
    need("IPC_RMID", rmid(id));
}

fn looking() {
    let ids = [0o600, 0o040, 0o004, 0o733].map(|mode| owned(0, mode));
    for (name, uid, gid) in CLASSES {
        as_user(uid, gid, || {
            for id in ids {
                let call = |command| ctl_ds(id, command, ShmidDs::default());
                show_ok("A50", format_args!("{name}, IPC_STAT"), call(IPC_STAT));
                show_ok("A58", format_args!("{name}, SHM_STAT"), call(SHM_STAT));
                show_ok("A58", format_args!("{name}, SHM_STAT_ANY"), call(SHM_STAT_ANY));
                show_ok("A50", format_args!("{name}, bad buffer"), ctl(id, IPC_STAT, 1));
            }
            let mut info = [0u64; 16];
            for command in [IPC_INFO, SHM_INFO] {
                // SAFETY: the buffer is larger than what either command fills.
                let done = unsafe { sysv_shm::control(0, command, info.as_mut_ptr() as usize) };
                show_ok("A56 A57", format_args!("{name}, command {command}"), done);
            }
        });
    }
    for id in ids {
        need("IPC_RMID", rmid(id));
    }
}

fn setting() {
    let id = owned(0, 0o600);
    for (name, uid, gid) in CLASSES {
        as_user(uid, gid, || {
            show_ok("A51", format_args!("{name}, IPC_SET"), set(id, OWNER, GROUP, 0o677));
            show_ok(
                "A51",
                format_args!("{name}, IPC_SET of nobody"),
                set(id, u32::MAX, GROUP, 0o600),
            );
            show_ok("A51", format_args!("{name}, bad buffer"), ctl(id, IPC_SET, 1));
        });
    }
    show_stat("A51", "afterwards", id);
    need("IPC_RMID", rmid(id));
}

fn removing() {
    for (name, uid, gid) in CLASSES {
        let id = owned(0, 0o777);
        as_user(uid, gid, || show_ok("A52", format_args!("{name} removes"), rmid(id)));
        if rmid(id).is_ok() {
            println!("A52 it was still there");
        }
    }
}

fn locking() {
    for (name, uid, gid) in CLASSES {
        let id = owned(0, 0o777);
        as_user(uid, gid, || {
            for (what, command) in [("locks", SHM_LOCK), ("locks again", SHM_LOCK), ("unlocks", SHM_UNLOCK)] {
                show("A54", format_args!("{name} {what}"), ctl(id, command, 0));
            }
        });
        need("IPC_RMID", rmid(id));
    }
}
