//! `madvise`: B32 to B35.

use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{
    MADV_COLD, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK, MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE,
    MADV_KEEPONFORK, MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_RANDOM, MADV_REMOVE,
    MADV_SEQUENTIAL, MADV_WILLNEED, MADV_WIPEONFORK,
};

use faultlab_programs::arena::{
    Arena, NONE, PRIVATE, Plain, RO, RW, Resident, SHARED, in_child, line, load, madvise, mappings, mprotect, mremap,
    munmap, must, peek, poke,
};

const P: usize = PAGE_BYTES;

pub(crate) fn show(arena: &Arena) {
    arguments(arena);
    dontneed(arena);
    remove(arena);
    free(arena);
    for_children(arena);
    populate(arena);
    remembered(arena);
    locked(arena);
}

fn arguments(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 3, RW, PRIVATE);
    (0..3).for_each(|page| poke(at + page * P, 2));
    line("B32", "unaligned", Plain(madvise(at + 1, P, MADV_NORMAL)));
    line("B32", "unknown", Plain(madvise(at, P, 99)));
    line("B32", "unknown, length 0", Plain(madvise(at, 0, 99)));
    line("B32", "unaligned, length 0", Plain(madvise(at + 1, 0, MADV_NORMAL)));
    line("B32", "negative length", Plain(madvise(at, usize::MAX, MADV_NORMAL)));
    line(
        "B32",
        "length beyond the addresses",
        Plain(madvise(at, usize::MAX - P, MADV_NORMAL)),
    );
    line("B32", "length 0", Plain(madvise(at, 0, MADV_DONTNEED)));
    line(
        "B32",
        "length 0, nothing mapped",
        Plain(madvise(arena.page(40), 0, MADV_DONTNEED)),
    );
    line(
        "B32",
        "nothing mapped",
        Plain(madvise(arena.page(40), P, MADV_DONTNEED)),
    );
    must(munmap(at + P, 1));
    line("B32", "over a gap", Plain(madvise(at, 3 * P, MADV_DONTNEED)));
    line("B32", "before the gap", peek(at));
    line("B32", "after the gap", peek(at + 2 * P));
}

fn dontneed(arena: &Arena) {
    for (case, flags) in [("private", PRIVATE), ("shared", SHARED)] {
        arena.clear();
        let at = arena.map(10, 3, RW, flags);
        (0..3).for_each(|page| poke(at + page * P, 7));
        line("B33", case, Plain(madvise(at + P, P, MADV_DONTNEED)));
        line("B33", "before", peek(at));
        line("B33", "content", peek(at + P));
        line("B33", "after", peek(at + 2 * P));
        must(mprotect(at, 3 * P, NONE));
        line("B33", "without rights", Plain(madvise(at, 3 * P, MADV_DONTNEED)));
        must(mprotect(at, 3 * P, RO));
        line("B33", "content then", peek(at));
    }
}

fn remove(arena: &Arena) {
    arena.clear();
    let private = arena.map(10, 1, RW, PRIVATE);
    line("B34", "private", Plain(madvise(private, P, MADV_REMOVE)));
    let at = arena.map(20, 4, RW, SHARED);
    (0..4).for_each(|page| poke(at + page * P, 7));
    line("B34", "shared", Plain(madvise(at + P, 2 * P, MADV_REMOVE)));
    line("B34", "resident", Resident(at, 4));
    line("B34", "before", peek(at));
    line("B34", "the hole", peek(at + P) + peek(at + 2 * P));
    line("B34", "after", peek(at + 3 * P));
    must(mprotect(at, 4 * P, RO));
    line("B34", "shared, made read-only", Plain(madvise(at, P, MADV_REMOVE)));
    line("B34", "content then", peek(at));
}

fn free(arena: &Arena) {
    arena.clear();
    let private = arena.map(10, 1, RW, PRIVATE);
    poke(private, 1);
    line("B35", "FREE of private", Plain(madvise(private, P, MADV_FREE)));
    poke(private, 3);
    line("B35", "stored to since", peek(private));
    let shared = arena.map(20, 1, RW, SHARED);
    line("B35", "FREE of shared", Plain(madvise(shared, P, MADV_FREE)));
}

fn for_children(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 3, RW, PRIVATE);
    (0..3).for_each(|page| poke(at + page * P, 7));
    line("B35", "WIPEONFORK", Plain(madvise(at, P, MADV_WIPEONFORK)));
    line("B35", "in the child", load(at));
    line("B35", "its neighbour", load(at + P));
    line(
        "B35",
        "in the child's child",
        in_child(|| {
            poke(at, 9);
            in_child(|| peek(at)).status()
        }),
    );
    line("B35", "in the parent", peek(at));
    line("B35", "KEEPONFORK", Plain(madvise(at, P, MADV_KEEPONFORK)));
    line("B35", "in the child", load(at));
    line("B35", "DONTFORK", Plain(madvise(at + P, P, MADV_DONTFORK)));
    line("B35", "in the child", load(at + P));
    line("B35", "its neighbour", load(at + 2 * P));
    line("B35", "in the parent", peek(at + P));
    line("B35", "DOFORK", Plain(madvise(at + P, P, MADV_DOFORK)));
    line("B35", "in the child", load(at + P));
    let shared = arena.map(20, 1, RW, SHARED);
    line(
        "B35",
        "WIPEONFORK of shared",
        Plain(madvise(shared, P, MADV_WIPEONFORK)),
    );
}

fn populate(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 3, RW, PRIVATE);
    line("B35", "POPULATE_READ", Plain(madvise(at, P, MADV_POPULATE_READ)));
    line("B35", "POPULATE_WRITE", Plain(madvise(at + P, P, MADV_POPULATE_WRITE)));
    line("B35", "resident", Resident(at, 3));
    line("B35", "over a gap", Plain(madvise(at, 4 * P, MADV_POPULATE_READ)));
    let read = arena.map(20, 1, RO, PRIVATE);
    line(
        "B35",
        "POPULATE_WRITE, read-only",
        Plain(madvise(read, P, MADV_POPULATE_WRITE)),
    );
    let none = arena.map(24, 1, NONE, PRIVATE);
    line(
        "B35",
        "POPULATE_READ, no rights",
        Plain(madvise(none, P, MADV_POPULATE_READ)),
    );
    must(mprotect(at, P, NONE));
    line(
        "B35",
        "POPULATE_READ, no rights to a page that is there",
        Plain(madvise(at, P, MADV_POPULATE_READ)),
    );
    let shared = arena.map(30, 1, RW, SHARED);
    must(mremap(shared, 1, 2, 0, 0));
    line(
        "B35",
        "POPULATE_READ past the end",
        Plain(madvise(shared, 2 * P, MADV_POPULATE_READ)),
    );
    line(
        "B35",
        "POPULATE_WRITE past the end",
        Plain(madvise(shared, 2 * P, MADV_POPULATE_WRITE)),
    );
}

fn remembered(arena: &Arena) {
    arena.clear();
    arena.map(20, 1, NONE, SHARED);
    let at = arena.map(10, 10, RW, PRIVATE);
    for (case, advice) in [
        ("RANDOM", MADV_RANDOM),
        ("SEQUENTIAL", MADV_SEQUENTIAL),
        ("DONTDUMP", MADV_DONTDUMP),
    ] {
        line("B32", case, Plain(madvise(at + P, P, advice)));
        line("B32", "then", mappings(at, 10));
        let back = if advice == MADV_DONTDUMP {
            MADV_DODUMP
        } else {
            MADV_NORMAL
        };
        line("B32", "and back", Plain(madvise(at, 10 * P, back)));
        line("B32", "then", mappings(at, 10));
    }
    poke(at, 6);
    line("B32", "WILLNEED", Plain(madvise(at, 10 * P, MADV_WILLNEED)));
    line("B35", "COLD", Plain(madvise(at, 10 * P, MADV_COLD)));
    line("B35", "PAGEOUT", Plain(madvise(at, 10 * P, MADV_PAGEOUT)));
    line("B35", "content", peek(at));
}

fn locked(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 2, RW, SHARED);
    poke(at, 5);
    // SAFETY: contents stay.
    must(unsafe { address_space::mlock([at, 2 * P]) });
    let cases = [
        ("DONTNEED", "B33", MADV_DONTNEED),
        ("REMOVE", "B34", MADV_REMOVE),
        ("COLD", "B35", MADV_COLD),
        ("PAGEOUT", "B35", MADV_PAGEOUT),
        ("WILLNEED", "B35", MADV_WILLNEED),
        ("DONTNEED_LOCKED", "B35", MADV_DONTNEED_LOCKED),
    ];
    for (case, rule, advice) in cases {
        line(
            rule,
            format_args!("{case} of a locked one"),
            Plain(madvise(at, P, advice)),
        );
    }
    line("B34", "content", peek(at));
}
