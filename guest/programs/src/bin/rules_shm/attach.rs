//! `shmat`: rules A28 to A39.

use faultlab_programs::println;
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::sysv_shm::number::*;

use crate::show::*;

pub(crate) fn run() {
    ids_and_addresses();
    overlaps();
    remap();
    contents();
    read_only();
    counting();
    destroyed();
}

fn ids_and_addresses() {
    for id in [-1, i32::MIN, 12345, i32::MAX] {
        show_ok("A28", format_args!("id {id}"), at(id, 0, 0));
    }
    let id = new(PAGE, 0o600);
    for (name, flags) in [("", 0), ("SHM_RND", SHM_RND), ("unknown flags", 0o7)] {
        let attached = at(id, 0, flags);
        show(
            "A29 A36",
            format_args!("NULL {name} page offset"),
            attached.map(|address| address % PAGE),
        );
        need("shmdt", dt(need("shmat", attached)));
    }
    show_ok("A29", "NULL, SHM_REMAP", at(id, 0, SHM_REMAP));
    show_ok("A29", "NULL, SHM_REMAP|SHM_RND", at(id, 0, SHM_REMAP | SHM_RND));
    let free = free_pages(4);
    show_ok("A30", "unaligned", at(id, free + 1, 0));
    show_ok("A30", "unaligned, SHM_REMAP", at(id, free + 1, SHM_REMAP));
    let rounded = at(id, free + PAGE + 4095, SHM_RND);
    show(
        "A30",
        "rounded down by",
        rounded.map(|address| free + PAGE + 4095 - address),
    );
    need("shmdt", dt(free + PAGE));
    show_ok("A30", "rounds to 0, SHM_REMAP", at(id, 4095, SHM_RND | SHM_REMAP));
    let zero = at(id, 4095, SHM_RND);
    show("A30", "rounds to 0", zero);
    if zero.is_ok() {
        show_ok("A48", "shmdt(NULL)", dt(0));
        show_ok("A48", "shmdt(NULL) again", dt(0));
    }
    show_ok("A30", "bad id, unaligned", at(12345, free + 1, 0));
    show_ok("A28", "remove", rmid(id));
    show_ok("A28", "removed", at(id, 0, 0));
}

fn overlaps() {
    let id = new(3 * PAGE, 0o600);
    let free = free_pages(8);
    let wall = free + 4 * PAGE;
    // SAFETY: nothing is mapped there.
    need("mmap", unsafe { memory::map_fixed(wall, PAGE, PROT_NONE) });
    for page in 0..6 {
        let address = free + page * PAGE;
        let attached = at(id, address, 0);
        show_ok(
            "A31",
            format_args!("PROT_NONE at page 4, attached at page {page}"),
            attached,
        );
        if attached.is_ok() {
            need("shmdt", dt(address));
        }
    }
    unmap(wall, PAGE);
    for flags in [0, SHM_REMAP] {
        show_ok(
            "A31",
            format_args!("overflow, flags {flags:o}"),
            at(id, usize::MAX - 4095, flags),
        );
        show_ok(
            "A31",
            format_args!("end of programs, flags {flags:o}"),
            at(id, 0x7fff_ffff_f000, flags),
        );
        show_ok(
            "A31",
            format_args!("kernel, flags {flags:o}"),
            at(id, 0xffff_8000_0000_0000, flags),
        );
    }
    show("A37", "nattch after failures", nattch(id));
    need("IPC_RMID", rmid(id));
}

fn remap() {
    let (first, second) = (new(4 * PAGE, 0o600), new(2 * PAGE, 0o600));
    let free = free_pages(8);
    need("shmat", at(first, free, 0));
    store(free, 1);
    store(free + 3 * PAGE, 4);
    show_ok("A31", "second over the first", at(second, free + PAGE, 0));
    show_ok(
        "A32",
        "second over the first, SHM_REMAP",
        at(second, free + PAGE, SHM_REMAP),
    );
    println!(
        "A32 A38 nattch {} {}, bytes {} {} {}",
        stat(first).nattch,
        stat(second).nattch,
        load(free),
        load(free + PAGE),
        load(free + 3 * PAGE)
    );
    show_ok("A32", "second over itself", at(second, free + PAGE, SHM_REMAP));
    show("A32", "nattch", nattch(second));
    show_ok("A43", "shmdt of the first removes both ends", dt(free));
    println!("A43 nattch {} {}", stat(first).nattch, stat(second).nattch);
    need("IPC_RMID", rmid(second));
    show_ok(
        "A32 A53",
        "first over the last of a removed one",
        at(first, free, SHM_REMAP),
    );
    show_ok("A53", "the removed one", faultlab_programs::sys::sysv_shm::stat(second));
    need("IPC_RMID", rmid(first));
    show_ok("A37 A53", "a removed one over itself", at(first, free, SHM_REMAP));
    show("A37 A53", "nattch", nattch(first));
    show("A37", "fails over itself", at(first, free, 0));
    show("A37", "nattch", nattch(first));
    show_ok("A53", "last shmdt", dt(free));
    show_ok("A53", "then", nattch(first));
    let anonymous = need(
        "mmap",
        memory::map(4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1),
    ) as usize;
    let id = new(PAGE, 0o600);
    show_ok("A32", "over anonymous memory", at(id, anonymous + PAGE, SHM_REMAP));
    store(anonymous + PAGE, 9);
    println!("A32 around it: {} {}", load(anonymous), load(anonymous + 2 * PAGE));
    show_ok("A47", "munmap of all of it", {
        unmap(anonymous, 4 * PAGE);
        nattch(id)
    });
    need("IPC_RMID", rmid(id));
}

fn contents() {
    let id = new(5000, 0o600);
    let free = free_pages(4);
    need("shmat", at(id, free, 0));
    println!("A33 zeroes: {} {} {}", load(free), load(free + 5000), load(free + 8191));
    store(free + 8191, 5);
    println!("A33 last byte of the page: {}", load(free + 8191));
    println!("A33 next page, status {}", in_child(|| store(free + 8192, 1)));
    let other = need("shmat", at(id, 0, 0));
    println!("A33 seen through another attachment: {}", load(other + 8191));
    need("shmdt", dt(other));
    need("shmdt", dt(free));
    println!("A42 after shmdt, status {}", in_child(|| store(free, 1)));
    need("IPC_RMID", rmid(id));
}

fn read_only() {
    let id = new(PAGE, 0o700);
    let address = need("shmat", at(id, 0, SHM_RDONLY));
    println!("A35 load {}", load(address));
    println!("A35 store, status {}", in_child(|| store(address, 1)));
    show_ok("A35", "mprotect, write", protect(address, PAGE, PROT_READ | PROT_WRITE));
    show_ok("A35", "mprotect, none", protect(address, PAGE, PROT_NONE));
    show_ok("A35", "mprotect, read", protect(address, PAGE, PROT_READ));
    need("shmdt", dt(address));
    let address = at(id, 0, SHM_EXEC);
    show_ok("A34", "root, SHM_EXEC", address);
    if let Ok(address) = address {
        need("shmdt", dt(address));
    }
    need("IPC_RMID", rmid(id));
}

fn counting() {
    let id = new(8 * PAGE, 0o600);
    let mut address = 0;
    show_change("A36", "first shmat", id, || address = need("shmat", at(id, 0, 0)));
    let mut second = 0;
    show_change("A36", "second shmat", id, || {
        second = need("shmat", at(id, 0, SHM_RDONLY));
    });
    show_change("A42", "shmdt of the second", id, || need("shmdt", dt(second)));
    show_change("A38", "munmap of page 2", id, || unmap(address + 2 * PAGE, PAGE));
    let read = PROT_READ;
    show_change("A38", "mprotect of page 5", id, || {
        need("mprotect", protect(address + 5 * PAGE, PAGE, read));
    });
    show_change("A38", "and back", id, || {
        need("mprotect", protect(address + 5 * PAGE, PAGE, read | PROT_WRITE));
    });
    show_change("A43 A44", "shmdt of all that is left", id, || {
        need("shmdt", dt(address));
    });
    need("IPC_RMID", rmid(id));
}

fn destroyed() {
    let id = new(PAGE, 0o600);
    let address = need("shmat", at(id, 0, 0));
    store(address, 42);
    need("IPC_RMID", rmid(id));
    let again = need("shmat", at(id, 0, 0));
    println!(
        "A39 attached after IPC_RMID: {}, nattch {}",
        load(again),
        stat(id).nattch
    );
    need("shmdt", dt(address));
    show("A39", "one shmdt", nattch(id));
    println!("A39 still {}", load(again));
    need("shmdt", dt(again));
    show("A39 A53", "the last shmdt", nattch(id));
}
