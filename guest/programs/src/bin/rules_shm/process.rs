//! Processes come and go: rules A53, A60, A61, A65.

use faultlab_programs::println;
use faultlab_programs::sys::memory::PROT_READ;
use faultlab_programs::sys::{exit, sysv_shm};

use crate::show::*;

pub(crate) fn run() {
    fork();
    ends();
    nothing_left();
}

fn fork() {
    let id = new(4 * PAGE, 0o600);
    let address = need("shmat", at(id, 0, 0));
    let second = need("shmat", at(id, 0, 0));
    need("mprotect", protect(address + PAGE, PAGE, PROT_READ));
    show("A38", "before fork", nattch(id));
    store(address, 1);
    let before = stat(id);
    next_second();
    let status = in_child(|| {
        let parent = &before;
        println!("A60 in the child: {}", Change(parent, &stat(id)));
        println!("A60 byte {}", load(second));
        store(second + 3 * PAGE, 9);
        need("shmdt", dt(second));
        show("A60", "the child detaches one", nattch(id));
        next_second();
    });
    println!("A60 status {status}, byte {}", load(address + 3 * PAGE));
    println!("A61 after its end: {}", Change(&before, &stat(id)));
    need("shmdt", dt(address));
    need("shmdt", dt(second));
    show("A60", "all detached", nattch(id));
    // A segment that only the child has attached, and that is attached no more when it forks.
    in_child(|| {
        let own = need("shmat", at(id, 0, 0));
        store(own, 5);
        in_child(|| println!("A60 grandchild: byte {}, nattch {}", load(own), stat(id).nattch));
        show("A60", "child", nattch(id));
    });
    show("A61", "after both", nattch(id));
    need("IPC_RMID", rmid(id));
}

fn ends() {
    for (name, removed_by_child) in [("parent", false), ("child", true)] {
        for end in ["exits", "exits with 3", "is killed"] {
            let id = new(PAGE, 0o600);
            let address = need("shmat", at(id, 0, 0));
            let status = in_child(|| {
                if removed_by_child {
                    need("IPC_RMID", rmid(id));
                }
                match end {
                    "exits" => (),
                    "exits with 3" => exit(3),
                    _ => store(BAD_BUFFER, 1),
                }
            });
            if !removed_by_child {
                need("IPC_RMID", rmid(id));
            }
            show(
                "A53 A61",
                format_args!("removed by the {name}, child {end} ({status})"),
                nattch(id),
            );
            need("shmdt", dt(address));
            show("A53", "last shmdt", nattch(id));
        }
    }
    let id = new(PAGE, 0o600);
    let status = in_child(|| {
        need("shmat", at(id, 0, 0));
        need("IPC_RMID", rmid(id));
        store(BAD_BUFFER, 1);
    });
    println!("A53 the only one to attach is killed ({status})");
    show("A53", "then", nattch(id));
    let mut made = 0;
    in_child(|| made = new(PAGE, 0o600));
    show("A63", "made by a child that ended, index 1 less than mine", {
        let mine = new(PAGE, 0o600);
        let found = nattch(mine - 1);
        need("IPC_RMID", rmid(mine));
        if found.is_ok() {
            need("IPC_RMID", rmid(mine - 1));
        }
        found
    });
}

fn nothing_left() {
    let info = need("SHM_INFO", sysv_shm::info());
    println!(
        "A65 at the end: {} segments, {} pages, {} in memory, {} in swap",
        info.used_ids, info.tot, info.rss, info.swp
    );
}
