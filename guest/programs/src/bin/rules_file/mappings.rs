//! Files in address spaces: B5 to B7, B14, B23, B33, B34, B36 to B42, B44, C51.

use faultlab_programs::arena::{
    Arena, NONE, Place, Plain, RO, RW, Resident, in_child, line, load, madvise, mappings, mmap_raw, mprotect, munmap,
    must, peek, poke, store,
};
use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::monotonic_ns;

use crate::file::{Count, File};

const P: usize = PAGE_BYTES;
const SHARED: usize = 0x11;
const PRIVATE: usize = 0x12;
const VALIDATE: usize = 0x13;
const POPULATE: usize = 0x8000;
const SYNC: usize = 0x8_0000;
const MAX: usize = i64::MAX as usize;

pub(crate) fn show(arena: &Arena) {
    arguments(arena);
    private(arena);
    past_the_end(arena);
    holes(arena);
    populate(arena);
    advice(arena);
    layout(arena);
    fork(arena);
    after_close(arena);
    times(arena);
}

/// What stores through a mapping do to the time of the last change. A load may map the page for stores, too: then they are not noticed.
fn times(arena: &Arena) {
    for (case, flags) in [("shared", SHARED), ("private", PRIVATE)] {
        arena.clear();
        let file = File::of_bytes(2 * P);
        let at = must(mmap_raw([arena.page(10), 2 * P, RW, flags, file.0, 0]));
        let changes = |access: &dyn Fn()| {
            let before = file.mtime_ns();
            let start = monotonic_ns();
            // Longer than a tick of the coarsest clock.
            while monotonic_ns() - start < 20_000_000 {}
            access();
            if file.mtime_ns() == before { "same" } else { "changed" }
        };
        line(
            "B44",
            format_args!("{case}: a store to a hole"),
            changes(&|| poke(at, 1)),
        );
        line("B44", format_args!("{case}: another"), changes(&|| poke(at, 2)));
        line("B44", format_args!("{case}: a load"), changes(&|| _ = peek(at + P)));
        line(
            "B44",
            format_args!("{case}: a store to what was loaded"),
            changes(&|| poke(at + P, 1)),
        );
        must(mprotect(at, P, RO));
        must(mprotect(at, P, RW));
        line(
            "B44",
            format_args!("{case}: rights that were away"),
            changes(&|| poke(at, 3)),
        );
    }
}

fn arguments(arena: &Arena) {
    let file = File::of_bytes(4 * P);
    arena.clear();
    let at = arena.page(10);
    let map = |bytes: usize, flags: usize, descriptor: usize, offset: usize| {
        Place(mmap_raw([at, bytes, RW, flags, descriptor, offset]), at)
    };
    line("B2", "inside a page", map(P, SHARED, file.0, 100));
    line(
        "B2",
        "beyond the largest offset",
        map(P, SHARED, file.0, MAX & !(P - 1)),
    );
    line(
        "B2",
        "to the largest offset",
        map(P, SHARED, file.0, (MAX & !(P - 1)) - P),
    );
    line("B3", "no kind", map(P, 0x10, file.0, 0));
    line("B3", "checked", map(P, VALIDATE, file.0, 0));
    line("B3", "checked, synchronous", map(P, VALIDATE | SYNC, file.0, 0));
    line("B3", "checked, unknown", map(P, VALIDATE | 0x400_0000, file.0, 0));
    line("B3", "synchronous", map(P, SHARED | SYNC, file.0, 0));
    line("B4", "of nothing", map(P, SHARED, 99, 0));
    line("B11", "a stack", map(P, PRIVATE | 0x100, file.0, 0));
    line("B12", "huge", map(P, SHARED | 0x4_0000, file.0, 0));
    line("B36", "past the end", map(P, SHARED, file.0, 8 * P));
    line("B36", "which is touched", load(at));
}

fn private(arena: &Arena) {
    let file = File::of_bytes(3 * P);
    arena.clear();
    must(file.write(0, 2 * P, 1));
    let shared = must(mmap_raw([arena.page(10), 3 * P, RW, SHARED, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 3 * P, RW, PRIVATE, file.0, 0]));
    line("B38", "the file's", peek(private));
    must(file.write(0, 1, 2));
    line("B38", "written by others", peek(private));
    poke(shared, 3);
    line("B38", "stored by others", peek(private));
    poke(private + 1, 4);
    line("B38", "stored to", peek(private + 1));
    line("B38", "the rest of its page", peek(private));
    must(file.write(0, 1, 5));
    line("B38", "no longer what others write", peek(private));
    line("B38", "nor is theirs changed", peek(shared + 1));
    line("B38", "nor the file", file.read(0, 4));
    poke(private + P, 6);
    line("B38", "stored to before it was loaded", peek(private + P));
    line("B38", "its other bytes", peek(private + P + 1));
    line("B38", "the file", file.read(P, 2));
    let read = must(mmap_raw([arena.page(30), P, RO, PRIVATE, file.0, 0]));
    line("B38", "read-only: store", store(read));
    line("B38", "made writable", Plain(mprotect(read, P, RW)));
    poke(read, 7);
    line("B38", "and stored to", peek(read));
    line("B38", "the file", file.read(0, 1));
}

fn past_the_end(arena: &Arena) {
    let file = File::of_bytes(P + 100);
    arena.clear();
    let shared = must(mmap_raw([arena.page(10), 4 * P, RW, SHARED, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 4 * P, RW, PRIVATE, file.0, 0]));
    for (case, at) in [("shared", shared), ("private", private)] {
        line("B36", format_args!("{case}: the last page"), load(at + 2 * P - 1));
        line("B36", format_args!("{case}: past it"), load(at + 2 * P));
        line("B36", format_args!("{case}: stored to"), store(at + 2 * P));
    }
    // SAFETY: only reads memory, and says so if it cannot.
    let written = unsafe { address_space::write([1, shared + 2 * P, 1]) };
    line("B36", "by the kernel", Count(written));
    line(
        "B36",
        "by itself, to itself",
        Count(unsafe_write(file.0, shared + 2 * P)),
    );
    must(file.truncate(3 * P));
    line("B36", "once it has grown", load(shared + 2 * P));
}

fn unsafe_write(descriptor: usize, address: usize) -> Result<usize, faultlab_programs::sys::Errno> {
    // SAFETY: only reads memory, and says so if it cannot.
    unsafe { address_space::write([descriptor, address, 1]) }
}

fn holes(arena: &Arena) {
    let file = File::of_bytes(64 * P);
    arena.clear();
    let shared = must(mmap_raw([arena.page(1), 20 * P, RW, SHARED, file.0, 0]));
    let private = must(mmap_raw([arena.page(30), 20 * P, RW, PRIVATE, file.0, 0]));
    line("B39", "nothing", file.extent());
    peek(shared);
    line("B39", "loaded, shared", file.extent());
    peek(private + P);
    line("B39", "loaded, private", file.extent());
    poke(shared + 2 * P, 1);
    line("B39", "stored to, shared", file.extent());
    poke(private + 3 * P, 1);
    line("B39", "stored to, private", file.extent());
    line("B39", "the file's page", peek(shared + 3 * P));
    line("B30", "in memory", Resident(shared, 6));
    line("B30", "the same, private", Resident(private, 6));
    must(file.write(5 * P, P, 1));
    line("B30", "written", Resident(shared, 7));
}

fn populate(arena: &Arena) {
    let file = File::of_bytes(4 * P);
    arena.clear();
    must(mmap_raw([arena.page(10), 2 * P, RO, SHARED | POPULATE, file.0, 0]));
    line("B14", "shared", file.extent());
    let at = arena.page(20);
    line(
        "B14",
        "past the end",
        Place(mmap_raw([at, 8 * P, RW, SHARED | POPULATE, file.0, 2 * P]), at),
    );
    line("B14", "extent", file.extent());
    let file = File::of_bytes(4 * P);
    must(mmap_raw([arena.page(40), 4 * P, RW, PRIVATE | POPULATE, file.0, 0]));
    line("B14", "private", file.extent());
}

fn advice(arena: &Arena) {
    const DONTNEED: u32 = 4;
    const REMOVE: u32 = 9;
    const FREE: u32 = 8;
    const WIPEONFORK: u32 = 18;
    const POPULATE_READ: u32 = 22;
    const POPULATE_WRITE: u32 = 23;
    let file = File::of_bytes(4 * P);
    must(file.write(0, 3 * P, 1));
    arena.clear();
    let shared = must(mmap_raw([arena.page(10), 4 * P, RW, SHARED, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 8 * P, RW, PRIVATE, file.0, 0]));
    poke(shared, 2);
    poke(private, 3);
    line("B33", "private", Plain(madvise(private, P, DONTNEED)));
    line("B33", "reads the file again", peek(private));
    line("B33", "shared", Plain(madvise(shared, P, DONTNEED)));
    line("B33", "keeps its content", peek(shared));
    line("B34", "private", Plain(madvise(private, P, REMOVE)));
    poke(private + P, 4);
    line("B34", "shared", Plain(madvise(shared, 2 * P, REMOVE)));
    line("B34", "extent", file.extent());
    line("B34", "content", peek(shared));
    line("B34", "a private copy", peek(private + P));
    line("B34", "a private page", peek(private));
    line("B35", "free, private file", Plain(madvise(private, P, FREE)));
    line("B35", "wiped by fork", Plain(madvise(private, P, WIPEONFORK)));
    line("B35", "populate", Plain(madvise(private, 4 * P, POPULATE_READ)));
    line("B35", "extent", file.extent());
    line(
        "B35",
        "populate past the end",
        Plain(madvise(private, 8 * P, POPULATE_WRITE)),
    );
}

fn layout(arena: &Arena) {
    let file = File::of_bytes(16 * P);
    let other = File::of_bytes(16 * P);
    arena.clear();
    let map =
        |page: usize, file: &File, offset: usize| must(mmap_raw([arena.page(page), P, RW, SHARED, file.0, offset * P]));
    let taken = |page: usize| must(mmap_raw([arena.page(page), P, NONE, 0x32, usize::MAX, 0]));
    let at = map(10, &file, 0);
    map(11, &file, 1);
    taken(12);
    line("B22", "one after the other", mappings(at, 2));
    let at = map(20, &file, 0);
    map(21, &file, 2);
    taken(22);
    line("B23", "with a gap in the file", mappings(at, 2));
    let at = map(30, &file, 0);
    map(31, &other, 1);
    taken(32);
    line("B23", "of two files", mappings(at, 2));
    // A copy of a descriptor is the same open file.
    // SAFETY: only makes a number.
    let copy = File(must(unsafe { faultlab_programs::sys::files::dup([file.0]) }));
    let at = map(40, &file, 0);
    map(41, &copy, 1);
    taken(42);
    line("B22", "through a copy of the descriptor", mappings(at, 2));
    let at = map(50, &file, 0);
    must(mmap_raw([arena.page(51), P, RW, PRIVATE, file.0, P]));
    taken(52);
    line("B23", "shared and private", mappings(at, 2));
}

fn fork(arena: &Arena) {
    let file = File::of_bytes(4 * P);
    arena.clear();
    must(file.write(0, 4, 1));
    let shared = must(mmap_raw([arena.page(10), P, RW, SHARED, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 2 * P, RW, PRIVATE, file.0, 0]));
    poke(private, 2);
    peek(private + P);
    let child = in_child(|| {
        poke(shared + 1, 3);
        poke(private, 4);
        poke(private + P, 5);
        peek(private) + peek(private + P)
    });
    line("B41", "the child's", child);
    line("B41", "shared", peek(shared + 1));
    line("B41", "private, stored to", peek(private));
    line("B41", "private, not stored to", peek(private + P));
    let written = in_child(|| must(file.write(0, 1, 9)) as u8);
    line("B41", "the child writes", written);
    line("B41", "shared", peek(shared));
    line("B41", "private", peek(private));
}

fn after_close(arena: &Arena) {
    arena.clear();
    let at = {
        let file = File::of_bytes(P);
        must(file.write(0, P, 1));
        must(mmap_raw([arena.page(10), P, RW, SHARED, file.0, 0]))
    };
    line("C51", "closed, and mapped still", peek(at));
    poke(at, 7);
    line("C51", "stored to", load(at));
    must(munmap(at, 1));
    line("C51", "unmapped", load(at));
}
