//! What `mmap` is asked for: B1 to B4, B8 to B12, B14.

use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, MAP_NONBLOCK, MAP_POPULATE, MAP_SHARED_VALIDATE};

use faultlab_programs::arena::{
    Arena, FIXED, NO_FILE, NONE, PRIVATE, Place, Plain, RO, RW, Resident, SHARED, line, madvise, mmap, mmap_raw,
    munmap, peek, poke,
};

const P: usize = PAGE_BYTES;
/// First address past those of programs.
const USER_END: usize = 0x7fff_ffff_f000;

pub(crate) fn show(arena: &Arena) {
    lengths_and_offsets();
    types_and_descriptors(arena);
    fixed(arena);
    noreplace(arena);
    hints(arena);
    stacks(arena);
    populate(arena);
}

fn lengths_and_offsets() {
    line("B1", "length 0", Plain(mmap_raw([0, 0, RW, PRIVATE, NO_FILE, 0])));
    line(
        "B1",
        "length overflows when rounded",
        Plain(mmap_raw([0, usize::MAX, RW, PRIVATE, NO_FILE, 0])),
    );
    line(
        "B1",
        "length beyond the address space",
        Plain(mmap_raw([0, 1 << 48, NONE, PRIVATE, NO_FILE, 0])),
    );
    line("B2", "offset 1", Plain(mmap_raw([0, P, RW, PRIVATE, NO_FILE, 1])));
    line(
        "B2",
        "offset 1, shared",
        Plain(mmap_raw([0, P, RW, SHARED, NO_FILE, 1])),
    );
    let huge = mmap_raw([0, 2 * P, RW, PRIVATE, NO_FILE, usize::MAX & !(P - 1)]);
    line("B2", "offset and length past 2^64, private anonymous", Plain(huge));
    if let Ok(address) = huge {
        line("B2", "its munmap", Plain(munmap(address, 2)));
    }
}

fn types_and_descriptors(arena: &Arena) {
    let anonymous = PRIVATE & !2;
    for (case, kind) in [("0", 0), ("4", 4), ("5", 5), ("15", 15)] {
        line("B3", case, Plain(mmap(0, 1, RW, anonymous | kind)));
    }
    let validate = MAP_SHARED_VALIDATE as usize | anonymous;
    line("B3", "anonymous SHARED_VALIDATE", Plain(mmap(0, 1, RW, validate)));
    line("B4", "descriptor -1", Plain(mmap_raw([0, P, RO, 1, NO_FILE, 0])));
    line("B4", "descriptor 1000", Plain(mmap_raw([0, P, RO, 2, 1000, 0])));
    line(
        "B4",
        "length 0, descriptor 1000",
        Plain(mmap_raw([0, 0, RO, 2, 1000, 0])),
    );
    arena.clear();
    let at = arena.page(4);
    let any = mmap_raw([at, P, RW, SHARED | FIXED, 1000, 8 * P]);
    line("B4", "anonymous, descriptor 1000, offset 8 pages", Place(any, at));
    poke(at, 7);
    line("B4", "its first byte", peek(at));
}

fn fixed(arena: &Arena) {
    arena.clear();
    let at = arena.page(8);
    line("B8", "unaligned", Plain(mmap(at + 1, 1, RW, PRIVATE | FIXED)));
    line("B8", "past user space", Plain(mmap(USER_END, 1, RW, PRIVATE | FIXED)));
    line(
        "B8",
        "across the end of user space",
        Plain(mmap(USER_END - P, 2, RW, PRIVATE | FIXED)),
    );
    line(
        "B8",
        "in the kernel",
        Plain(mmap(usize::MAX << 12, 1, RW, PRIVATE | FIXED)),
    );
    arena.map(8, 3, RW, PRIVATE);
    (0..3).for_each(|page| poke(at + page * P, 5));
    line(
        "B8",
        "over a mapping",
        Place(mmap(at + P, 1, RW, PRIVATE | FIXED), at + P),
    );
    line("B8", "before it", peek(at));
    line("B8", "replaced", peek(at + P));
    line("B8", "after it", peek(at + 2 * P));
}

fn noreplace(arena: &Arena) {
    arena.clear();
    let flags = PRIVATE | MAP_FIXED_NOREPLACE as usize;
    let at = arena.page(8);
    line("B9", "free", Place(mmap(at, 2, RW, flags), at));
    poke(at, 3);
    line("B9", "the same", Plain(mmap(at, 2, RW, flags)));
    line("B9", "overlapping from below", Plain(mmap(at - P, 2, RW, flags)));
    line("B9", "overlapping from above", Plain(mmap(at + P, 2, RW, flags)));
    line("B9", "beside", Place(mmap(at + 2 * P, 1, RW, flags), at + 2 * P));
    line("B9", "unaligned", Plain(mmap(at + 1, 1, RW, flags)));
    line("B9", "what was there", peek(at));
}

fn hints(arena: &Arena) {
    arena.clear();
    let at = arena.page(20);
    line("B10", "free", Place(mmap(at, 1, RW, PRIVATE), at));
    line("B10", "unaligned", Place(mmap(at + P + 5, 1, RW, PRIVATE), at + P));
    line("B10", "taken", Place(mmap(at, 1, RW, PRIVATE), at));
    line(
        "B10",
        "free, but not for the length",
        Place(mmap(at - P, 2, RW, PRIVATE), at - P),
    );
    line(
        "B10",
        "past user space",
        Place(mmap(USER_END, 1, RW, PRIVATE), USER_END),
    );
    let low = mmap(P, 1, RO, PRIVATE);
    let raised = low.is_ok_and(|address| (P..0x40_0000).contains(&address));
    line("B10", "below the minimum is raised", raised);
    if let Ok(address) = low {
        line("B10", "its munmap", Plain(munmap(address, 1)));
    }
}

fn stacks(arena: &Arena) {
    arena.clear();
    let grows = MAP_GROWSDOWN as usize;
    line(
        "B11",
        "private",
        Plain(mmap(arena.page(40), 1, RW, PRIVATE | FIXED | grows)),
    );
    line(
        "B11",
        "shared",
        Plain(mmap(arena.page(44), 1, RW, SHARED | FIXED | grows)),
    );
}

fn populate(arena: &Arena) {
    let populate = MAP_POPULATE as usize;
    let cases = [
        ("private", RW, PRIVATE | populate),
        ("private read-only", RO, PRIVATE | populate),
        ("shared", RW, SHARED | populate),
        ("shared read-only", RO, SHARED | populate),
        ("no rights", NONE, PRIVATE | populate),
        ("not asked for", RW, PRIVATE),
        ("NONBLOCK", RW, PRIVATE | populate | MAP_NONBLOCK as usize),
        ("shared NONBLOCK", RW, SHARED | populate | MAP_NONBLOCK as usize),
    ];
    for (case, protection, flags) in cases {
        arena.clear();
        line("B14", case, Resident(arena.map(10, 4, protection, flags), 4));
    }
    // What was faulted in for reading is still zero, and its own.
    arena.clear();
    let at = arena.map(10, 2, RW, PRIVATE | populate);
    poke(at, 9);
    line("B14", "content", peek(at) + peek(at + P));
    line("B14", "advice about it", Plain(madvise(at, P, 0)));
}
