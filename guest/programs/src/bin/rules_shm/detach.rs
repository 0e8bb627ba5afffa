//! `shmdt`: rules A41 to A47.

use faultlab_programs::println;
use faultlab_programs::sys::memory::{self, PROT_READ, PROT_WRITE};

use crate::show::*;

pub(crate) fn run() {
    addresses();
    fragments();
    foreign();
    unmapped();
}

fn addresses() {
    let id = new(4 * PAGE, 0o600);
    let free = free_pages(6);
    show_ok("A41", "nothing there", dt(free));
    show_ok("A41", "nothing anywhere above", dt(0x7fff_ffff_f000));
    need("shmat", at(id, free + PAGE, 0));
    for offset in [0, 1, PAGE + 1, 2 * PAGE, 4 * PAGE, 5 * PAGE] {
        show_ok(
            "A41",
            format_args!("attached at 4096, shmdt at {offset}"),
            dt(free + offset),
        );
    }
    show_ok("A42", "at its base", dt(free + PAGE));
    show_ok("A41", "again", dt(free + PAGE));
    // SAFETY: nothing is mapped there.
    need("mmap", unsafe { memory::map_fixed(free, PAGE, PROT_READ) });
    show_ok("A41", "no segment", dt(free));
    unmap(free, PAGE);
    need("IPC_RMID", rmid(id));
}

fn fragments() {
    let id = new(8 * PAGE, 0o600);
    let (all, free) = (8 * PAGE, free_pages(8));
    let attach = || need("shmat", at(id, free, 0));
    attach();
    unmap(free + 3 * PAGE, 2 * PAGE);
    show("A38", "a hole", nattch(id));
    show_ok("A43", "shmdt", dt(free));
    show("A43", "nattch", nattch(id));
    attach();
    need("mprotect", protect(free + 2 * PAGE, PAGE, PROT_READ));
    need("mprotect", protect(free + 5 * PAGE, PAGE, PROT_READ));
    show("A38", "five parts", nattch(id));
    show_ok("A43", "shmdt", dt(free));
    show("A43", "nattch", nattch(id));
    attach();
    unmap(free, PAGE);
    show("A44", "first page unmapped", nattch(id));
    show_ok("A44", "shmdt at page 1", dt(free + PAGE));
    show_ok("A44", "shmdt at the base", dt(free));
    show("A44", "nattch", nattch(id));
    attach();
    unmap(free, 7 * PAGE);
    show_ok("A44", "only the last page is left, shmdt", dt(free));
    show("A44", "nattch", nattch(id));
    attach();
    need("mprotect", protect(free + 2 * PAGE, PAGE, PROT_READ));
    need("mprotect", protect(free + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
    show("A38", "split and merged", nattch(id));
    // A part that another of the same rights borders on moves over to that one; a whole one never does.
    need("mprotect", protect(free, 2 * PAGE, PROT_READ));
    show("A38", "pages 0 and 1 read-only", nattch(id));
    need("mprotect", protect(free + 2 * PAGE, PAGE, PROT_READ));
    show("A38", "page 2, too", nattch(id));
    need("mprotect", protect(free + 3 * PAGE, PAGE, PROT_READ));
    show("A38", "page 3, too", nattch(id));
    need("mprotect", protect(free + PAGE, PAGE, PROT_READ | PROT_WRITE));
    show("A38", "page 1 writable", nattch(id));
    need("mprotect", protect(free + 7 * PAGE, PAGE, PROT_READ));
    need("mprotect", protect(free + 6 * PAGE, PAGE, PROT_READ));
    show("A38", "pages 7 and 6 read-only, one after the other", nattch(id));
    unmap(free, all);
    show("A47", "munmap of all", nattch(id));
    show_ok("A41 A47", "shmdt after munmap", dt(free));
    need("IPC_RMID", rmid(id));
}

/// Rule A45: what else lies in the range stays.
fn foreign() {
    let (id, other) = (new(6 * PAGE, 0o600), new(PAGE, 0o600));
    let free = free_pages(16);
    let beyond = free + 8 * PAGE;
    need("shmat", at(id, free, 0));
    unmap(free + PAGE, 3 * PAGE);
    // SAFETY: nothing is mapped there any more.
    need("mmap", unsafe {
        memory::map_fixed(free + PAGE, PAGE, PROT_READ | PROT_WRITE)
    });
    store(free + PAGE, 7);
    need("shmat", at(other, free + 2 * PAGE, 0));
    need("shmat", at(id, beyond, 0));
    println!("A45 nattch {} {}", stat(id).nattch, stat(other).nattch);
    show_ok("A45", "shmdt", dt(free));
    println!(
        "A45 nattch {} {}, byte {}",
        stat(id).nattch,
        stat(other).nattch,
        load(free + PAGE)
    );
    show_ok("A45", "shmdt of the one inside", dt(free + 2 * PAGE));
    unmap(free + PAGE, PAGE);
    show_ok("A45", "shmdt of the one beyond", dt(beyond));
    need("IPC_RMID", rmid(other));
    // The first part that fits its distance decides which segment is meant: page 1 of the one, then all of the other's page 2 on.
    let other = new(6 * PAGE, 0o600);
    need("shmat", at(id, free, 0));
    unmap(free, PAGE);
    unmap(free + 2 * PAGE, 4 * PAGE);
    need("shmat", at(other, free + 6 * PAGE, 0));
    unmap(free + 6 * PAGE, 2 * PAGE);
    println!("A43 nattch {} {}", stat(id).nattch, stat(other).nattch);
    show_ok("A43", "shmdt of the lower", dt(free));
    println!("A43 nattch {} {}", stat(id).nattch, stat(other).nattch);
    show_ok("A44", "shmdt of the upper", dt(free + 6 * PAGE));
    for segment in [id, other] {
        need("IPC_RMID", rmid(segment));
    }
}

fn unmapped() {
    let id = new(2 * PAGE, 0o600);
    let mut address = need("shmat", at(id, 0, 0));
    show_change("A47", "munmap of all of it", id, || unmap(address, 2 * PAGE));
    address = need("shmat", at(id, 0, 0));
    need("IPC_RMID", rmid(id));
    unmap(address, PAGE);
    show("A47", "half of a removed one", nattch(id));
    unmap(address + PAGE, PAGE);
    show("A47 A53", "the other half", nattch(id));
}
