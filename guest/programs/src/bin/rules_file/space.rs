//! `fallocate`: C24 to C28, and what it does to mappings: B40.

use faultlab_programs::arena::{Arena, Plain, RW, line, load, mmap_raw, must, peek, poke};
use faultlab_programs::sys::memory::PAGE_BYTES;

use crate::file::{File, KEEP_SIZE, PUNCH};

const P: usize = PAGE_BYTES;
const MAX: usize = i64::MAX as usize;

pub(crate) fn show(arena: &Arena) {
    arguments();
    allocate();
    punch();
    mapped(arena);
}

fn arguments() {
    let file = File::of_bytes(P);
    let refused = [
        ("negative offset", 0, usize::MAX, 1),
        ("negative length", 0, 0, usize::MAX),
        ("no length", 0, 0, 0),
        ("beyond the largest", 0, MAX, 1),
        ("a hole without keeping the size", 2, 0, P),
        ("collapse", 8, 0, P),
        ("zero", 0x10, 0, P),
        ("zero, keeping the size", 0x11, 0, P),
        ("insert", 0x20, 0, P),
        ("unshare", 0x40, 0, P),
        ("unknown", 0x1000, 0, P),
        ("a hole beyond the largest", PUNCH, MAX, 1),
        ("unknown and no length", 0x1000, 0, 0),
    ];
    for (case, mode, offset, bytes) in refused {
        line("C24", case, Plain(file.allocate(mode, offset, bytes)));
    }
    line("C24", "of nothing", Plain(File(99).allocate(0, 0, 1)));
    line("C24", "extent", file.extent());
}

fn allocate() {
    let file = File::of_bytes(P);
    must(file.write(0, P, 1));
    line("C25", "over the end", Plain(file.allocate(0, 100, 2 * P)));
    line("C25", "extent", file.extent());
    line("C25", "content", file.read(0, 3 * P));
    line("C25", "keeping the size", Plain(file.allocate(KEEP_SIZE, 4 * P, 2 * P)));
    line("C25", "extent", file.extent());
    line("C25", "again", Plain(file.allocate(KEEP_SIZE, 4 * P, 2 * P)));
    line("C25", "extent", file.extent());
    must(file.write(2 * P, 10, 2));
    line("C25", "written to", file.read(P, 2 * P));
    must(file.truncate(file_size(&file)));
    line("C25", "past the end, after ftruncate to the same size", file.extent());
}

fn file_size(file: &File) -> usize {
    must(file.seek(0, crate::file::SEEK_END).0)
}

fn punch() {
    let file = File::of_bytes(0);
    must(file.write(0, 3 * P, 1));
    must(file.write(3 * P, 3 * P, 1));
    line("C28", "a page", Plain(file.allocate(PUNCH, P, P)));
    line("C28", "extent", file.extent());
    line("C28", "a part of a page", Plain(file.allocate(PUNCH, 10, 20)));
    line("C28", "content", file.read(0, P));
    line("C28", "parts of two pages", Plain(file.allocate(PUNCH, 3 * P - 10, 20)));
    line("C28", "extent", file.extent());
    line("C28", "content", file.read(2 * P, 2 * P));
    line(
        "C28",
        "from inside a page to inside another",
        Plain(file.allocate(PUNCH, 2 * P + 1, 3 * P - 2)),
    );
    line("C28", "extent", file.extent());
    line("C28", "content", file.read(2 * P, 3 * P));
    line(
        "C28",
        "the first byte of a page to its end",
        Plain(file.allocate(PUNCH, 5 * P, P)),
    );
    line("C28", "extent", file.extent());
    line("C28", "past the end", Plain(file.allocate(PUNCH, 10 * P, P)));
    line("C28", "all and more", Plain(file.allocate(PUNCH, 0, MAX)));
    line("C28", "extent", file.extent());
}

fn mapped(arena: &Arena) {
    let file = File::of_bytes(4 * P);
    arena.clear();
    let shared = must(mmap_raw([arena.page(10), 4 * P, RW, 0x11, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 4 * P, RW, 0x12, file.0, 0]));
    for page in 0..4 {
        poke(shared + page * P, 1);
        line("B40", "private, before", peek(private + page * P));
    }
    poke(private + P, 2);
    must(file.allocate(PUNCH, 0, 2 * P));
    line("B40", "a hole: shared", peek(shared));
    line("B40", "a hole: private, not stored to", peek(private));
    line("B40", "a hole: private, stored to", peek(private + P));
    line("B40", "beside the hole", peek(private + 2 * P));
    must(file.truncate(P));
    line("B40", "truncated: shared", load(shared + P));
    line("B40", "truncated: private, stored to", load(private + P));
    line("B40", "truncated: private, not stored to", load(private + 2 * P));
    must(file.truncate(4 * P));
    line("B40", "grown again: private, stored to", peek(private + P));
    line("B40", "grown again: shared", peek(shared + 2 * P));
}
