//! Mappings become one, or several, and are charged: B13, B18, B22 to B26.

use faultlab_programs::sys::memory::{PAGE_BYTES, PROT_WRITE};
use linux_raw_sys::general::{MAP_NORESERVE, PROT_GROWSDOWN, PROT_GROWSUP};

use faultlab_programs::arena::{
    Arena, FIXED, NO_FILE, NONE, PRIVATE, Plain, RO, RW, SHARED, line, load, mappings, mmap, mmap_raw, mprotect,
    munmap, munmap_raw, must, peek, poke, store,
};

const P: usize = PAGE_BYTES;
/// More bytes than any machine has memory and swap, and fewer than its addresses.
const TOO_MUCH: usize = 1 << 46;

pub(crate) fn show(arena: &Arena) {
    many(arena);
    charged();
    merged(arena);
    not_merged(arena);
    unmapped(arena);
    protected(arena);
    gaps(arena);
}

/// An arena with a page behind page 20 that merges with nothing; returns page 10.
fn cleared(arena: &Arena) -> usize {
    arena.clear();
    arena.map(20, 1, NONE, SHARED);
    arena.page(10)
}

fn many(arena: &Arena) {
    let at = cleared(arena) - 5 * P;
    for page in 0..15 {
        must(mmap(
            at + page * P,
            1,
            if page % 2 == 0 { RW } else { RO },
            PRIVATE | FIXED,
        ));
    }
    line("B13", "15 pages, rights in turn", mappings(at, 15));
    line("B13", "one munmap for all", Plain(munmap(at, 15)));
    line("B13", "the addresses again", Plain(mmap(at, 15, RW, PRIVATE | FIXED)));
    line("B13", "as one", mappings(at, 15));
}

fn charged() {
    let noreserve = MAP_NORESERVE as usize;
    let cases = [
        ("private writable", RW, PRIVATE),
        ("private read-only", RO, PRIVATE),
        ("private without rights", NONE, PRIVATE),
        ("private writable NORESERVE", RW, PRIVATE | noreserve),
        ("shared", RW, SHARED),
        ("shared without rights", NONE, SHARED),
        ("shared NORESERVE", RW, SHARED | noreserve),
    ];
    for (case, protection, flags) in cases {
        let answer = mmap_raw([0, TOO_MUCH, protection, flags, NO_FILE, 0]);
        line("B18", case, Plain(answer));
        let Ok(address) = answer else { continue };
        if flags == PRIVATE {
            line("B18", "made writable", Plain(mprotect(address, TOO_MUCH, RW)));
            line("B18", "a page of it made writable", Plain(mprotect(address, P, RW)));
        }
        line("B18", "its munmap", Plain(munmap_raw(address, TOO_MUCH)));
    }
}

fn merged(arena: &Arena) {
    for (name, touched) in [("untouched", false), ("touched", true)] {
        let touch = |page: usize| {
            if touched {
                poke(page, 1);
            }
        };
        let at = cleared(arena);
        must(mmap(at, 5, RW, PRIVATE | FIXED));
        touch(at);
        must(mmap(at + 5 * P, 5, RW, PRIVATE | FIXED));
        line("B22", format_args!("{name}, beside one another"), mappings(at, 10));
        must(mprotect(at + 4 * P, P, RO));
        line(
            "B22",
            format_args!("{name}, a page in the middle protected"),
            mappings(at, 10),
        );
        must(mprotect(at + 4 * P, P, RW));
        line("B22", format_args!("{name}, and back"), mappings(at, 10));
        must(munmap(at + 4 * P, 1));
        must(mmap(at + 4 * P, 1, RW, PRIVATE | FIXED));
        line("B22", format_args!("{name}, a hole filled"), mappings(at, 10));
        must(munmap(at, 5));
        must(mmap(at, 5, RW, PRIVATE | FIXED));
        line("B22", format_args!("{name}, the lower half anew"), mappings(at, 10));
    }
    let at = cleared(arena);
    must(mmap(at, 10, RW, SHARED | FIXED));
    must(mprotect(at + 3 * P, 2 * P, RO));
    line("B22", "shared, protected in the middle", mappings(at, 10));
    must(mprotect(at + 3 * P, 2 * P, RW));
    line("B22", "shared, and back", mappings(at, 10));
}

fn not_merged(arena: &Arena) {
    let at = cleared(arena);
    must(mmap(at, 5, RW, SHARED | FIXED));
    must(mmap(at + 5 * P, 5, RW, SHARED | FIXED));
    line("B23", "two shared", mappings(at, 10));
    let at = cleared(arena);
    must(mmap(at, 5, RW, PRIVATE | FIXED));
    must(mmap(at + 5 * P, 5, RO, PRIVATE | FIXED));
    line("B23", "other rights", mappings(at, 10));
    let at = cleared(arena);
    must(mmap(at, 5, RW, PRIVATE | FIXED));
    must(mmap(at + 5 * P, 5, RW, PRIVATE | FIXED | MAP_NORESERVE as usize));
    line("B23", "charged and not charged", mappings(at, 10));
    let at = cleared(arena);
    must(mmap(at, 10, RW, SHARED | FIXED));
    must(munmap(at + 5 * P, 1));
    must(mmap(at + 5 * P, 1, RW, SHARED | FIXED));
    line("B23", "a hole of a shared one filled", mappings(at, 10));
}

fn unmapped(arena: &Arena) {
    let at = cleared(arena);
    must(mmap(at, 6, RW, PRIVATE | FIXED));
    (0..6).for_each(|page| poke(at + page * P, 4));
    line("B24", "unaligned", Plain(munmap_raw(at + 1, P)));
    line("B24", "length 0", Plain(munmap_raw(at, 0)));
    line("B24", "beyond user space", Plain(munmap_raw(at, 1 << 47)));
    line("B24", "length overflows", Plain(munmap_raw(at, usize::MAX)));
    line("B24", "one byte", Plain(munmap_raw(at + 2 * P, 1)));
    line("B24", "its page", load(at + 2 * P));
    line("B24", "the page before", peek(at + P));
    line("B24", "the page after", peek(at + 3 * P));
    line("B24", "again, with the hole", Plain(munmap(at + P, 3)));
    line("B24", "nothing there", Plain(munmap(at + P, 3)));
    line("B24", "the first page", peek(at));
    line("B24", "the last page", peek(at + 5 * P));
}

fn protected(arena: &Arena) {
    let at = cleared(arena);
    must(mmap(at, 2, RW, PRIVATE | FIXED));
    line("B25", "unaligned", Plain(mprotect(at + 1, P, RW)));
    line("B25", "unaligned, length 0", Plain(mprotect(at + 1, 0, RW)));
    line("B25", "length 0", Plain(mprotect(at, 0, RO)));
    line("B25", "unknown rights", Plain(mprotect(at, P, 0x40)));
    line("B25", "unknown rights, length 0", Plain(mprotect(at, 0, 0x40)));
    line("B25", "PROT_SEM", Plain(mprotect(at, P, RW | 8)));
    line("B25", "length overflows", Plain(mprotect(at, usize::MAX - P, RW)));
    line(
        "B25",
        "GROWSDOWN of no stack",
        Plain(mprotect(at, P, RW | PROT_GROWSDOWN as usize)),
    );
    line("B25", "GROWSUP", Plain(mprotect(at, P, RW | PROT_GROWSUP as usize)));
    let both = (PROT_GROWSDOWN | PROT_GROWSUP) as usize;
    line("B25", "both", Plain(mprotect(at, P, RW | both)));
    poke(at, 6);
    must(mprotect(at, P, RO));
    line("B25", "read-only: load", peek(at));
    line("B25", "read-only: store", store(at));
    must(mprotect(at, P, NONE));
    line("B25", "no rights: load", load(at));
    must(mprotect(at, P, RW));
    line("B25", "back: content", peek(at));
    line("B25", "back: store", store(at));
    must(mprotect(at, P, PROT_WRITE as usize));
    line("B26", "only PROT_WRITE: load", load(at));
}

fn gaps(arena: &Arena) {
    let at = cleared(arena);
    must(mmap(at, 1, RW, PRIVATE | FIXED));
    must(mmap(at + 2 * P, 1, RW, PRIVATE | FIXED));
    line("B25", "over a gap", Plain(mprotect(at, 3 * P, RO)));
    line("B25", "before the gap", store(at));
    line("B25", "after the gap", store(at + 2 * P));
    line("B25", "begins in a gap", Plain(mprotect(at + P, 2 * P, RO)));
}
