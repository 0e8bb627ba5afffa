//! `mremap`: B27, B28.

use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};

use faultlab_programs::arena::{
    Answer, Arena, NONE, PRIVATE, Place, Plain, RO, RW, SHARED, line, load, mappings, mprotect, mremap, munmap, must,
    peek, poke,
};

const P: usize = PAGE_BYTES;
const MAYMOVE: usize = MREMAP_MAYMOVE as usize;
const FIXED: usize = (MREMAP_MAYMOVE | MREMAP_FIXED) as usize;
const DONTUNMAP: usize = (MREMAP_MAYMOVE | MREMAP_DONTUNMAP) as usize;

pub(crate) fn show(arena: &Arena) {
    refused(arena);
    in_place(arena);
    moved(arena);
    moved_to(arena);
    part_moved(arena);
    merged(arena);
    duplicated(arena);
    emptied(arena);
}

/// A cleared arena with pages 10 to 13 mapped and numbered 1 to 4.
fn numbered(arena: &Arena, flags: usize) -> usize {
    arena.clear();
    let at = arena.map(10, 4, RW, flags);
    (0..4).for_each(|page| poke(at + page * P, page as u8 + 1));
    at
}

fn bytes(address: usize, old: usize, new: usize, flags: usize, target: usize) -> Answer {
    // SAFETY: the ranges are of the arena.
    unsafe { address_space::mremap([address, old, new, flags, target]) }
}

fn refused(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    let free = arena.page(30);
    line("B27", "unaligned", Plain(bytes(at + 1, P, 2 * P, MAYMOVE, 0)));
    line("B27", "new size 0", Plain(bytes(at, P, 0, MAYMOVE, 0)));
    line("B27", "unknown flags", Plain(bytes(at, P, P, 8, 0)));
    line(
        "B27",
        "FIXED without MAYMOVE",
        Plain(bytes(at, P, P, MREMAP_FIXED as usize, free)),
    );
    line(
        "B27",
        "FIXED over the old range",
        Plain(bytes(at, 4 * P, 4 * P, FIXED, at + 2 * P)),
    );
    line("B27", "FIXED to itself", Plain(bytes(at, 4 * P, 4 * P, FIXED, at)));
    line("B27", "FIXED unaligned", Plain(bytes(at, P, P, FIXED, free + 1)));
    line(
        "B27",
        "FIXED past user space",
        Plain(bytes(at, P, P, FIXED, 0x7fff_ffff_f000)),
    );
    line("B27", "nothing mapped", Plain(bytes(free, P, 2 * P, MAYMOVE, 0)));
    line("B27", "nothing mapped, same size", Plain(bytes(free, P, P, 0, 0)));
    line(
        "B27",
        "grows from a range with a gap",
        Plain(bytes(at, 5 * P, 6 * P, MAYMOVE, 0)),
    );
    line(
        "B27",
        "new size beyond user space",
        Plain(bytes(at, P, 1 << 47, MAYMOVE, 0)),
    );
    must(mprotect(at + 2 * P, P, RO));
    line(
        "B27",
        "grows from several mappings",
        Plain(bytes(at, 4 * P, 5 * P, MAYMOVE, 0)),
    );
    line("B27", "content", peek(at + 3 * P));
}

fn in_place(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    line("B27", "the same size", Place(mremap(at, 4, 4, 0, 0), at));
    line("B27", "grows in place", Place(mremap(at, 4, 6, 0, 0), at));
    line("B27", "the grown part", peek(at + 5 * P));
    line(
        "B27",
        "a size that is not whole pages",
        Place(bytes(at, 5 * P + 1, 6 * P + 1, 0, 0), at),
    );
    line("B27", "its last page", peek(at + 6 * P));
    line(
        "B27",
        "grows from its middle",
        Place(mremap(at + 3 * P, 4, 5, 0, 0), at + 3 * P),
    );
    line("B27", "shrinks in place", Place(mremap(at, 8, 2, 0, 0), at));
    line("B27", "what is left", peek(at + P));
    line("B27", "the part cut off", load(at + 2 * P));
    line("B27", "grows again", Place(mremap(at, 2, 4, 0, 0), at));
    line("B27", "zero again", peek(at + 2 * P));
    arena.map(14, 1, NONE, SHARED);
    line("B27", "no room", Plain(mremap(at, 4, 5, 0, 0)));
    line("B27", "no room in the middle", Plain(mremap(at, 2, 3, 0, 0)));
}

fn moved(arena: &Arena) {
    for (case, flags) in [("private", PRIVATE), ("shared", SHARED)] {
        let at = numbered(arena, flags);
        arena.map(14, 1, NONE, SHARED);
        let answer = mremap(at, 4, 6, MAYMOVE, 0);
        line("B27", case, Place(answer, at));
        let to = must(answer);
        line("B27", "moved content", peek(to) + 10 * peek(to + 3 * P));
        line("B27", "the old address", load(at));
        line("B27", "the grown part", load(to + 4 * P));
        must(munmap(to, 6));
    }
}

fn moved_to(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    let to = arena.map(30, 8, RW, PRIVATE);
    (0..8).for_each(|page| poke(to + page * P, 50));
    line(
        "B27",
        "FIXED over a mapping",
        Place(mremap(at, 4, 4, FIXED, to + P), to + P),
    );
    line("B27", "before it", peek(to));
    line("B27", "first page", peek(to + P));
    line("B27", "last page", peek(to + 4 * P));
    line("B27", "after it", peek(to + 5 * P));
    line("B27", "the old address", load(at));
    line("B27", "FIXED, smaller", Place(mremap(to + P, 4, 2, FIXED, at), at));
    line("B27", "its second page", peek(at + P));
    line("B27", "the part cut off", load(to + 3 * P));
    line(
        "B27",
        "FIXED, larger",
        Place(mremap(at, 2, 3, FIXED, arena.page(50)), arena.page(50)),
    );
    line("B27", "the grown part", peek(arena.page(52)));
}

fn part_moved(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    let to = arena.page(40);
    line(
        "B27",
        "a page of the middle",
        Place(mremap(at + P, 1, 1, FIXED, to), to),
    );
    line("B27", "content", peek(to));
    line("B27", "the hole", load(at + P));
    line("B27", "pages beside it", peek(at) + 10 * peek(at + 2 * P));
    poke(to, 9);
    line("B27", "stored to", peek(to));
}

fn merged(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    arena.map(14, 1, NONE, SHARED);
    must(mremap(at + 2 * P, 2, 2, FIXED, arena.page(40)));
    must(mremap(arena.page(40), 2, 2, FIXED, at + 2 * P));
    line("B27", "moved away and back", mappings(at, 4));
    line("B27", "content", peek(at + 3 * P));
}

fn duplicated(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    line("B28", "old size 0, private", Plain(mremap(at, 0, 1, MAYMOVE, 0)));
    let at = numbered(arena, SHARED);
    let to = arena.page(30);
    line("B28", "old size 0, no MAYMOVE", Plain(mremap(at, 0, 1, 0, 0)));
    line("B28", "old size 0, shared", Place(mremap(at + P, 0, 2, FIXED, to), to));
    line("B28", "what it shows", peek(to));
    poke(to, 77);
    line("B28", "the first view", peek(at + P));
    line("B28", "still mapped", peek(at));
}

fn emptied(arena: &Arena) {
    let at = numbered(arena, PRIVATE);
    let to = arena.page(30);
    line(
        "B28",
        "DONTUNMAP without MAYMOVE",
        Plain(mremap(at, 4, 4, MREMAP_DONTUNMAP as usize, 0)),
    );
    line("B28", "DONTUNMAP, other size", Plain(mremap(at, 4, 5, DONTUNMAP, 0)));
    line(
        "B28",
        "DONTUNMAP",
        Place(mremap(at, 4, 4, DONTUNMAP | MREMAP_FIXED as usize, to), to),
    );
    line("B28", "moved content", peek(to + 3 * P));
    line("B28", "the old range", peek(at + 3 * P));
    poke(at, 60);
    line("B28", "apart", peek(to));
}
