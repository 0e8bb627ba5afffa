//! `msync`, `mincore`, `mlock`: B29 to B31.

use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use linux_raw_sys::general::{
    MADV_DONTNEED, MAP_LOCKED, MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT, MREMAP_MAYMOVE, MS_ASYNC,
    MS_INVALIDATE, MS_SYNC,
};

use faultlab_programs::arena::{
    Answer, Arena, NONE, PRIVATE, Plain, RO, RW, Resident, SHARED, line, load, madvise, mprotect, mremap, munmap, must,
    peek, poke,
};

const P: usize = PAGE_BYTES;

pub(crate) fn show(arena: &Arena) {
    sync(arena);
    core(arena);
    locked(arena);
    locked_past_the_end(arena);
    all_locked(arena);
}

fn msync(address: usize, bytes: usize, flags: u32) -> Answer {
    // SAFETY: nothing is lost by writing back.
    unsafe { address_space::msync([address, bytes, flags as usize]) }
}

fn mlock(address: usize, bytes: usize) -> Answer {
    // SAFETY: contents stay.
    unsafe { address_space::mlock([address, bytes]) }
}

fn mlock2(address: usize, bytes: usize, flags: u32) -> Answer {
    // SAFETY: contents stay.
    unsafe { address_space::mlock2([address, bytes, flags as usize]) }
}

fn munlock(address: usize, bytes: usize) -> Answer {
    // SAFETY: contents stay.
    unsafe { address_space::munlock([address, bytes]) }
}

fn mlockall(flags: u32) -> Answer {
    // SAFETY: contents stay.
    unsafe { address_space::mlockall([flags as usize]) }
}

fn munlockall() -> Answer {
    // SAFETY: contents stay.
    unsafe { address_space::munlockall([]) }
}

fn mincore(address: usize, bytes: usize, vector: usize) -> Answer {
    // SAFETY: vectors are of the arena, or cannot be written to.
    unsafe { address_space::mincore([address, bytes, vector]) }
}

fn sync(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 2, RW, SHARED);
    poke(at, 8);
    line("B29", "SYNC", Plain(msync(at, 2 * P, MS_SYNC)));
    line("B29", "ASYNC", Plain(msync(at, 2 * P, MS_ASYNC)));
    line("B29", "no flags", Plain(msync(at, 2 * P, 0)));
    line("B29", "INVALIDATE", Plain(msync(at, 2 * P, MS_INVALIDATE)));
    line("B29", "SYNC and ASYNC", Plain(msync(at, P, MS_SYNC | MS_ASYNC)));
    line("B29", "unknown flags", Plain(msync(at, P, 8)));
    line("B29", "unaligned", Plain(msync(at + 1, P, MS_SYNC)));
    line("B29", "length 0", Plain(msync(at, 0, MS_SYNC)));
    line("B29", "length 0, nothing mapped", Plain(msync(at + 8 * P, 0, MS_SYNC)));
    line("B29", "nothing mapped", Plain(msync(at + 8 * P, P, MS_SYNC)));
    line("B29", "ends in a gap", Plain(msync(at, 3 * P, MS_SYNC)));
    line("B29", "length overflows", Plain(msync(at, usize::MAX, MS_SYNC)));
    line("B29", "content", peek(at));
    must(mlock(at, P));
    line("B29", "INVALIDATE, locked", Plain(msync(at, P, MS_INVALIDATE)));
}

fn core(arena: &Arena) {
    arena.clear();
    let vector = arena.map(2, 1, RW, PRIVATE);
    let at = arena.map(10, 4, RW, PRIVATE);
    poke(at + P, 1);
    line("B30", "private", Resident(at, 4));
    let shared = arena.map(20, 4, RW, SHARED);
    poke(shared + 2 * P, 1);
    line("B30", "shared", Resident(shared, 4));
    must(madvise(shared, 4 * P, MADV_DONTNEED));
    line("B30", "shared, in the page cache only", Resident(shared, 4));
    line("B30", "unaligned", Plain(mincore(at + 1, P, vector)));
    line("B30", "nothing mapped", Plain(mincore(arena.page(40), P, vector)));
    line("B30", "ends in a gap", Plain(mincore(at, 5 * P, vector)));
    line("B30", "length 0", Plain(mincore(at, 0, vector)));
    line(
        "B30",
        "length 0, nothing mapped",
        Plain(mincore(arena.page(40), 0, vector)),
    );
    line("B30", "beyond user space", Plain(mincore(at, 1 << 47, vector)));
    line("B30", "vector not mapped", Plain(mincore(at, P, arena.page(40))));
    line("B30", "vector in the kernel", Plain(mincore(at, P, usize::MAX << 12)));
}

fn locked(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 4, RW, PRIVATE);
    line("B31", "mlock of two bytes in two pages", Plain(mlock(at + P - 1, 2)));
    line("B31", "what is resident", Resident(at, 4));
    line("B31", "DONTNEED of them", Plain(madvise(at, P, MADV_DONTNEED)));
    line(
        "B31",
        "DONTNEED of the page after",
        Plain(madvise(at + 2 * P, P, MADV_DONTNEED)),
    );
    line("B31", "munlock of one", Plain(munlock(at, 1)));
    line("B31", "DONTNEED of it", Plain(madvise(at, P, MADV_DONTNEED)));
    line("B31", "DONTNEED of the other", Plain(madvise(at + P, P, MADV_DONTNEED)));
    line("B31", "length 0", Plain(mlock(at, 0)));
    line("B31", "nothing mapped", Plain(mlock(arena.page(30), P)));
    line("B31", "munlock, nothing mapped", Plain(munlock(arena.page(30), P)));
    line("B31", "ends in a gap", Plain(mlock(at, 5 * P)));
    line("B31", "locked before the gap", Plain(madvise(at, P, MADV_DONTNEED)));
    line("B31", "mlock2, unknown flags", Plain(mlock2(at, P, 2)));
    must(munmap(at, 4));
    let at = arena.map(10, 4, RW, PRIVATE);
    line("B31", "ONFAULT", Plain(mlock2(at, 4 * P, MLOCK_ONFAULT)));
    line("B31", "nothing resident yet", Resident(at, 4));
    line("B31", "locked all the same", Plain(madvise(at, P, MADV_DONTNEED)));
    let none = arena.map(20, 1, NONE, PRIVATE);
    line("B31", "no rights", Plain(mlock(none, P)));
    let lost = arena.map(22, 1, RW, PRIVATE);
    poke(lost, 1);
    must(mprotect(lost, P, NONE));
    line("B31", "no rights to a page that is there", Plain(mlock(lost, P)));
    let read = arena.map(24, 2, RO, PRIVATE);
    line("B31", "read-only", Plain(mlock(read, 2 * P)));
    line("B31", "read-only, resident", Resident(read, 2));
    let flagged = arena.map(30, 3, RW, PRIVATE | MAP_LOCKED as usize);
    line("B15", "MAP_LOCKED, resident", Resident(flagged, 3));
    line("B15", "MAP_LOCKED, locked", Plain(madvise(flagged, P, MADV_DONTNEED)));
    line("B15", "grown", Plain(mremap(flagged, 3, 5, 0, 0)));
    line("B15", "grown, resident", Resident(flagged, 5));
}

fn locked_past_the_end(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 1, RW, SHARED);
    must(mremap(at, 1, 3, MREMAP_MAYMOVE as usize, 0));
    line("B31", "past the end of an object", Plain(mlock(at, 3 * P)));
    line(
        "B31",
        "locked all the same",
        Plain(madvise(at + 2 * P, P, MADV_DONTNEED)),
    );
    line("B31", "past the end, load", load(at + P));
}

fn all_locked(arena: &Arena) {
    line("B31", "mlockall 0", Plain(mlockall(0)));
    line("B31", "mlockall, unknown flags", Plain(mlockall(8)));
    line("B31", "mlockall, only ONFAULT", Plain(mlockall(MCL_ONFAULT)));
    arena.clear();
    let at = arena.map(10, 2, RW, PRIVATE);
    line("B31", "mlockall CURRENT", Plain(mlockall(MCL_CURRENT)));
    line("B31", "CURRENT: resident", Resident(at, 2));
    line("B31", "CURRENT: locked", Plain(madvise(at, P, MADV_DONTNEED)));
    let later = arena.map(20, 2, RW, PRIVATE);
    line("B31", "CURRENT: mapped later", Resident(later, 2));
    line("B31", "mlockall FUTURE", Plain(mlockall(MCL_FUTURE)));
    let future = arena.map(30, 2, RW, PRIVATE);
    line("B31", "FUTURE: resident", Resident(future, 2));
    line("B31", "FUTURE: locked", Plain(madvise(future, P, MADV_DONTNEED)));
    line("B31", "munlockall", Plain(munlockall()));
    line("B31", "not locked any more", Plain(madvise(future, P, MADV_DONTNEED)));
    let after = arena.map(40, 2, RW, PRIVATE);
    line("B31", "mapped after it", Resident(after, 2));
}
