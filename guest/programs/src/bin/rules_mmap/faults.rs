//! Accesses, stacks, `fork`: B11, B36, B41, B46.

use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{MAP_GROWSDOWN, PROT_GROWSDOWN};

use faultlab_programs::arena::{
    Arena, NONE, PRIVATE, Plain, RO, RW, SHARED, in_child, line, load, mprotect, mremap, munmap, must, peek, poke,
    store,
};

const P: usize = PAGE_BYTES;

pub(crate) fn show(arena: &Arena) {
    refused(arena);
    past_the_end(arena);
    by_the_kernel(arena);
    stack(arena);
    fork(arena);
    fork_of_forks(arena);
}

fn refused(arena: &Arena) {
    arena.clear();
    line("B36", "nothing mapped: load", load(arena.page(5)));
    line("B36", "nothing mapped: store", store(arena.page(5)));
    line("B36", "page 0", load(0));
    line("B36", "the kernel's half", load(usize::MAX << 20));
    line("B36", "no canonical address", load(1 << 62));
    let read = arena.map(10, 1, RO, PRIVATE);
    line("B36", "read-only: load", load(read));
    line("B36", "read-only: store", store(read));
    let none = arena.map(12, 1, NONE, PRIVATE);
    line("B36", "no rights: load", load(none));
    let shared = arena.map(14, 1, RO, SHARED);
    line("B36", "shared read-only: load", load(shared));
    line("B36", "shared read-only: store", store(shared));
}

fn past_the_end(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 1, RW, SHARED);
    must(mremap(at, 1, 2, 0, 0));
    line("B36", "the last page of an object", store(at + P - 1));
    line("B36", "past the end: load", load(at + P));
    line("B36", "past the end: store", store(at + P));
}

/// The kernel on the program's behalf is bound to the program's rights. Each of these would print something if it were not.
fn by_the_kernel(arena: &Arena) {
    arena.clear();
    let write = |address: usize, bytes: usize| {
        // SAFETY: only reads memory, and says so if it cannot.
        Plain(unsafe { address_space::write([1, address, bytes]) })
    };
    line("B46", "write from nothing", write(arena.page(5), 1));
    let none = arena.map(10, 1, NONE, PRIVATE);
    line("B46", "write from memory without rights", write(none, 1));
    let at = arena.map(14, 1, RW, SHARED);
    must(mremap(at, 1, 2, 0, 0));
    line("B46", "write from past the end of an object", write(at + P, 1));
    line("B46", "write of nothing from nothing", write(arena.page(5), 0));
    let read = arena.map(20, 1, RO, PRIVATE);
    // SAFETY: the vector is of the arena.
    let answer = unsafe { address_space::mincore([at, P, read]) };
    line("B46", "mincore to read-only memory", Plain(answer));
    line("B46", "which is still", peek(read));
}

fn stack(arena: &Arena) {
    arena.clear();
    let at = arena.map(40, 1, RW, PRIVATE | MAP_GROWSDOWN as usize);
    poke(at, 1);
    poke(at - P, 2);
    line("B11", "a page below", peek(at - P));
    poke(at - 4 * P, 4);
    line("B11", "four pages below", peek(at - 4 * P));
    line("B11", "between", peek(at - 2 * P));
    line("B11", "the first page", peek(at));
    line(
        "B11",
        "all of it made read-only",
        Plain(mprotect(at, P, RO | PROT_GROWSDOWN as usize)),
    );
    line("B11", "its lowest page", store(at - 4 * P));
    let near = arena.map(30, 1, RW, PRIVATE);
    line("B11", "close to other memory", load(at - 5 * P));
    must(munmap(near, 1));
    arena.map(30, 1, NONE, PRIVATE);
    line("B11", "close to memory without rights", load(at - 5 * P));
    line("B11", "onto it", load(at - 10 * P));
}

fn fork(arena: &Arena) {
    arena.clear();
    let private = arena.map(10, 3, RW, PRIVATE);
    let shared = arena.map(20, 1, RW, SHARED);
    poke(private, 1);
    poke(private + 2 * P, 3);
    poke(shared, 1);
    line("B41", "the child reads", load(private));
    let child = in_child(|| {
        poke(private, 11);
        poke(private + P, 12);
        poke(shared, 13);
        peek(private) + peek(private + P) + peek(private + 2 * P)
    });
    line("B41", "the child, after its stores", child);
    line("B41", "private, in the parent", peek(private));
    line("B41", "not touched before, in the parent", peek(private + P));
    line("B41", "shared, in the parent", peek(shared));
    poke(private, 21);
    line("B41", "the parent stores", peek(private));
    line("B41", "a new child reads", load(private));
}

fn fork_of_forks(arena: &Arena) {
    arena.clear();
    let private = arena.map(10, 1, RW, PRIVATE);
    let shared = arena.map(20, 1, RW, SHARED);
    poke(private, 1);
    let grandchild = in_child(|| {
        poke(private, 2);
        let status = in_child(|| {
            poke(private, peek(private) + 3);
            poke(shared, peek(private));
            peek(private)
        })
        .status();
        10 * status + peek(private)
    });
    line("B41", "a child's child", grandchild);
    line("B41", "private, in the first", peek(private));
    line("B41", "shared, in the first", peek(shared));
    must(mprotect(private, P, RO));
    line("B41", "rights of the parent's own", store(private));
    line(
        "B41",
        "in a child given back",
        in_child(|| {
            must(mprotect(private, P, RW));
            poke(private, 8);
            peek(private)
        }),
    );
    line("B41", "the parent's", peek(private));
}
