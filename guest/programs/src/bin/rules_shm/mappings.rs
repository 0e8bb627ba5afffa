//! Attached segments as mappings: A40, A46, A67.

use faultlab_programs::arena::{
    End, Plain, Resident, load as load_in_child, madvise, mprotect, mremap, store as store_in_child,
};
use faultlab_programs::println;
use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::{PROT_READ, PROT_WRITE};
use faultlab_programs::sys::sysv_shm;

use crate::show::*;

const MAYMOVE: usize = 1;
const FIXED: usize = 2;
const DONTNEED: u32 = 4;
const REMOVE: u32 = 9;
const MCL_FUTURE: usize = 2;

pub(crate) fn run() {
    moved();
    resized();
    duplicated();
    advised();
    locked();
}

/// Where a segment ends up decides where it can be detached.
fn moved() {
    let id = new(4 * PAGE, 0o600);
    let free = free_pages(10);
    need("shmat", at(id, free, 0));
    store(free + PAGE, 7);
    let to = free + 5 * PAGE;
    println!("A46 moved: {}", Plain(mremap(free, 4, 4, MAYMOVE | FIXED, to)));
    show("A38 A46", "nattch", nattch(id));
    println!("A46 its content: {}", load(to + PAGE));
    show_ok("A46", "shmdt of the old base", dt(free));
    show_ok("A46", "shmdt of the new base", dt(to));
    show("A46", "nattch", nattch(id));
    need("IPC_RMID", rmid(id));
}

fn resized() {
    let id = new(2 * PAGE, 0o600);
    let free = free_pages(8);
    need("shmat", at(id, free, 0));
    println!("A46 beyond its end: {}", Plain(mremap(free, 2, 4, 0, 0)));
    let ends: [End; 2] = [load_in_child(free + 2 * PAGE - 1), load_in_child(free + 2 * PAGE)];
    println!("A46 the last byte {}, the next {}", ends[0], ends[1]);
    println!("A46 stored to: {}", store_in_child(free + 3 * PAGE));
    println!("A46 smaller: {}", Plain(mremap(free, 4, 1, 0, 0)));
    show("A46", "nattch", nattch(id));
    println!("A46 what is cut off: {}", load_in_child(free + PAGE));
    show_ok("A46", "shmdt", dt(free));
    show("A46", "nattch", nattch(id));
    need("IPC_RMID", rmid(id));
}

fn duplicated() {
    let id = new(2 * PAGE, 0o600);
    let free = free_pages(8);
    need("shmat", at(id, free, 0));
    let to = free + 4 * PAGE;
    println!("A46 old size 0: {}", Plain(mremap(free, 0, 2, MAYMOVE | FIXED, to)));
    show("A46", "nattch", nattch(id));
    store(free, 9);
    println!("A46 the other view: {}", load(to));
    show_ok("A46", "shmdt of the first", dt(free));
    show_ok("A46", "shmdt of the second", dt(to));
    show("A46", "nattch", nattch(id));
    need("IPC_RMID", rmid(id));
}

fn advised() {
    let id = new(4 * PAGE, 0o600);
    let free = free_pages(4);
    need("shmat", at(id, free, 0));
    println!("A67 mincore of new pages: {}", Resident(free, 4));
    for page in 0..3 {
        store(free + page * PAGE, 5);
    }
    println!("A67 after three stores: {}", Resident(free, 4));
    println!("A67 MADV_DONTNEED: {}", Plain(madvise(free, PAGE, DONTNEED)));
    println!("A67 its content {}, {}", load(free), Resident(free, 4));
    println!("A67 MADV_REMOVE: {}", Plain(madvise(free, 2 * PAGE, REMOVE)));
    println!("A67 then {}", Resident(free, 4));
    println!(
        "A67 pages of all segments in memory: {}",
        need("SHM_INFO", sysv_shm::info()).rss
    );
    println!("A67 their content {} {}", load(free), load(free + 2 * PAGE));
    println!("A67 read-only: {}", Plain(mprotect(free, PAGE, PROT_READ as usize)));
    println!("A67 a store: {}", store_in_child(free));
    let both = (PROT_READ | PROT_WRITE) as usize;
    println!("A67 and back: {}", Plain(mprotect(free, PAGE, both)));
    println!("A67 a store: {}", store_in_child(free));
    show("A38", "nattch", nattch(id));
    show_ok("A67", "shmdt", dt(free));
    need("IPC_RMID", rmid(id));
}

/// Pages are there at once where all that comes is locked, and only there.
fn locked() {
    let id = new(3 * PAGE, 0o600);
    let free = free_pages(4);
    need("shmat", at(id, free, 0));
    println!("A40 attached: {}", Resident(free, 3));
    // SAFETY: changes nothing in memory that Rust knows.
    let done = unsafe { address_space::mlock([free, PAGE]) };
    println!("A67 mlock: {}, then {}", Plain(done), Resident(free, 3));
    println!(
        "A67 MADV_REMOVE of what is locked: {}",
        Plain(madvise(free, PAGE, REMOVE))
    );
    // SAFETY: as above.
    let done = unsafe { address_space::munlock([free, PAGE]) };
    println!("A67 munlock: {}", Plain(done));
    show_ok("A67", "shmdt", dt(free));
    let status = in_child(|| {
        // SAFETY: as above.
        let done = unsafe { address_space::mlockall([MCL_FUTURE]) };
        println!("A40 mlockall: {}", Plain(done));
        show_ok("A40", "shmat", at(id, free, 0));
        println!("A40 attached: {}", Resident(free, 3));
    });
    println!("A40 status {status}");
    need("IPC_RMID", rmid(id));
}
