//! What a process may map and lock, and which of several errors is returned: B12, B13, B15, B17, B19, B31.
//!
//! Limits are set in children, which keep their effects to themselves. Root locks what it likes, so children that are to be limited
//! become another user first.

use faultlab_programs::sys::address_space;
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::process::{become_user, limit, set_limit};
use linux_raw_sys::general::{
    MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, MAP_HUGETLB, MAP_LOCKED, MAP_NORESERVE, MCL_CURRENT, MCL_FUTURE, RLIMIT_AS,
    RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK,
};

use faultlab_programs::arena::{
    Answer, Arena, FIXED, NO_FILE, PRIVATE, Plain, RO, RW, SHARED, in_child, line, load, mmap, mmap_raw, mprotect,
    mremap, munmap, poke,
};

const P: usize = PAGE_BYTES;
const USER: u32 = 1000;
/// More bytes than any machine has memory and swap.
const TOO_MUCH: usize = 1 << 46;
const LOCKED: usize = PRIVATE | MAP_LOCKED as usize;

pub(crate) fn show(arena: &Arena) {
    huge();
    order(arena);
    promised();
    set_and_get();
    address_space_limit(arena);
    data(arena);
    stack(arena);
    nothing_locked(arena);
    little_locked(arena);
    root_locks(arena);
}

fn mlock(address: usize, pages: usize) -> Answer {
    // SAFETY: touches no memory.
    unsafe { address_space::mlock([address, pages * P]) }
}

fn munlock(address: usize, pages: usize) -> Answer {
    // SAFETY: touches no memory.
    unsafe { address_space::munlock([address, pages * P]) }
}

fn mlockall(flags: u32) -> Answer {
    // SAFETY: touches no memory.
    unsafe { address_space::mlockall([flags as usize]) }
}

/// Runs `work` in a child with a limit, in bytes. The hard limit falls with it: to keep it, or to raise it, can take a capability that a
/// container's root lacks.
fn limited(resource: u32, bytes: usize, work: impl FnOnce()) {
    let end = in_child(|| {
        if let Err(errno) = set_limit(resource, bytes as u64, bytes as u64) {
            line("B13", "setrlimit", errno);
            return 1;
        }
        work();
        0
    });
    line("B13", "the child with the limit ends", end);
}

/// As `limited` for locked memory, as another user.
fn locking(bytes: usize, work: impl FnOnce()) {
    let end = in_child(|| {
        let limits = set_limit(RLIMIT_MEMLOCK, bytes as u64, bytes as u64).and_then(|()| become_user(USER, USER));
        if let Err(errno) = limits {
            line("B15", "setrlimit and setresuid", errno);
            return 1;
        }
        work();
        0
    });
    line("B15", "the child with the limit ends", end);
}

fn huge() {
    let huge = PRIVATE | MAP_HUGETLB as usize;
    let size = |log2: usize| huge | log2 << 26;
    line(
        "B12",
        "pages of 8 KiB",
        Plain(mmap_raw([0, P, RW, size(13), NO_FILE, 0])),
    );
    line(
        "B12",
        "more huge pages than there are",
        Plain(mmap_raw([0, TOO_MUCH, RW, huge, NO_FILE, 0])),
    );
    line(
        "B12",
        "pages of 2 MiB",
        Plain(mmap_raw([0, TOO_MUCH, RW, size(21), NO_FILE, 0])),
    );
}

fn order(arena: &Arena) {
    arena.clear();
    let kind = PRIVATE & !2;
    let noreplace = MAP_FIXED_NOREPLACE as usize;
    let at = arena.map(10, 1, RW, PRIVATE);
    line(
        "B17",
        "too long, no type",
        Plain(mmap_raw([0, TOO_MUCH << 2, RW, kind, NO_FILE, 0])),
    );
    line("B17", "unaligned, no type", Plain(mmap(at + 1, 1, RW, kind | FIXED)));
    line("B17", "taken, no type", Plain(mmap(at, 1, RW, kind | noreplace)));
    line("B17", "free, no type", Plain(mmap(at + P, 1, RW, kind | noreplace)));
    line(
        "B17",
        "no type, more than there is",
        Plain(mmap_raw([0, TOO_MUCH, RW, kind, NO_FILE, 0])),
    );
    locking(0, || {
        let locked = MAP_LOCKED as usize;
        line(
            "B17",
            "taken, may not lock",
            Plain(mmap(at, 1, RW, PRIVATE | noreplace | locked)),
        );
        line("B17", "may not lock, no type", Plain(mmap(0, 1, RW, kind | locked)));
    });
    locking(P, || {
        let locked = MAP_LOCKED as usize;
        line("B17", "too much to lock, no type", Plain(mmap(0, 2, RW, kind | locked)));
    });
    // What is refused after the old mapping is gone, is refused all the same; before that, it stays.
    limited(RLIMIT_AS, 0, || {
        let refused = mmap(at, 1, RW, PRIVATE | FIXED);
        line("B17", "over a mapping, beyond RLIMIT_AS", Plain(refused));
        line("B17", "which is still there", load(at));
    });
}

fn promised() {
    let noreserve = MAP_NORESERVE as usize;
    let map = |rights, flags| Plain(mmap_raw([0, TOO_MUCH, rights, flags, NO_FILE, 0]));
    line("B19", "private, more than there is", map(RW, PRIVATE));
    line("B19", "shared, more than there is", map(RO, SHARED));
    let kept = mmap_raw([0, TOO_MUCH, RW, PRIVATE | noreserve, NO_FILE, 0]);
    line("B19", "the same, NORESERVE", Plain(kept));
    if let Ok(address) = kept {
        line("B19", "its munmap", Plain(munmap(address, TOO_MUCH / P)));
    }
}

fn set_and_get() {
    let end = in_child(|| {
        let set = |resource, soft, hard| Plain(set_limit(resource, soft, hard).map(|()| 0));
        line("B13", "no such limit", set(16, 0, 0));
        line("B13", "soft above hard", set(RLIMIT_MEMLOCK, 2, 1));
        line("B13", "lower", set(RLIMIT_MEMLOCK, 4096, 8192));
        if become_user(USER, USER).is_err() {
            return 1;
        }
        line("B13", "a user raises the soft one", set(RLIMIT_MEMLOCK, 8192, 8192));
        line("B13", "and the hard one", set(RLIMIT_MEMLOCK, 8192, 8193));
        line("B13", "what it is", limit(RLIMIT_MEMLOCK).unwrap_or(0));
        line(
            "B13",
            "a child has it",
            in_child(|| (limit(RLIMIT_MEMLOCK).unwrap_or(0) >> 12) as u8),
        );
        0
    });
    line("B13", "limits", end);
}

fn address_space_limit(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 4, RW, PRIVATE);
    let shared = arena.map(20, 2, RW, SHARED);
    limited(RLIMIT_AS, 0, || {
        line("B13", "RLIMIT_AS 0: private", Plain(mmap(0, 1, RW, PRIVATE)));
        line("B13", "RLIMIT_AS 0: shared", Plain(mmap(0, 1, RW, SHARED)));
        line("B13", "RLIMIT_AS 0: without rights", Plain(mmap(0, 1, 0, PRIVATE)));
        line(
            "B13",
            "RLIMIT_AS 0: store to what is there",
            in_child(|| {
                poke(at, 1);
                0
            }),
        );
        line("B13", "RLIMIT_AS 0: mprotect", Plain(mprotect(at + P, P, RO)));
        line("B13", "RLIMIT_AS 0: back", Plain(mprotect(at + P, P, RW)));
        line("B13", "RLIMIT_AS 0: mremap, larger", Plain(mremap(at, 4, 5, 0, 0)));
        line(
            "B13",
            "RLIMIT_AS 0: mremap, a second view",
            Plain(mremap(shared, 0, 1, 1, 0)),
        );
        line("B13", "RLIMIT_AS 0: mremap, smaller", Plain(mremap(at, 4, 3, 0, 0)));
        line("B13", "RLIMIT_AS 0: munmap", Plain(munmap(at, 3)));
    });
}

fn data(arena: &Arena) {
    arena.clear();
    let read = arena.map(10, 2, RO, PRIVATE);
    limited(RLIMIT_DATA, P, || {
        line("B13", "RLIMIT_DATA: private writable", Plain(mmap(0, 1, RW, PRIVATE)));
        line("B13", "RLIMIT_DATA: private read-only", Plain(mmap(0, 1, RO, PRIVATE)));
        line("B13", "RLIMIT_DATA: shared writable", Plain(mmap(0, 1, RW, SHARED)));
        line("B13", "RLIMIT_DATA: becomes writable", Plain(mprotect(read, P, RW)));
        let stack = PRIVATE | MAP_GROWSDOWN as usize;
        line("B13", "RLIMIT_DATA: a stack", Plain(mmap(0, 1, RW, stack)));
    });
}

fn stack(arena: &Arena) {
    arena.clear();
    let at = arena.map(40, 1, RW, PRIVATE | MAP_GROWSDOWN as usize);
    limited(RLIMIT_STACK, 3 * P, || {
        line("B13", "RLIMIT_STACK 3 pages: the third", load(at - 2 * P));
        line("B13", "RLIMIT_STACK 3 pages: the fourth", load(at - 3 * P));
    });
}

fn nothing_locked(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 1, RW, PRIVATE);
    locking(0, || {
        line("B15", "limit 0: MAP_LOCKED", Plain(mmap(0, 1, RW, LOCKED)));
        line("B31", "limit 0: mlock", Plain(mlock(at, 1)));
        line("B31", "limit 0: mlock of nothing", Plain(mlock(at, 0)));
        line("B31", "limit 0: munlock", Plain(munlock(at, 1)));
        line("B31", "limit 0: mlockall", Plain(mlockall(MCL_CURRENT)));
        line("B31", "limit 0: mlockall without flags", Plain(mlockall(0)));
        // SAFETY: touches no memory.
        let bad_flags = unsafe { address_space::mlock2([at, P, 2]) };
        line("B31", "limit 0: mlock2 with bad flags", Plain(bad_flags));
    });
}

fn little_locked(arena: &Arena) {
    arena.clear();
    let at = arena.map(10, 6, RW, PRIVATE);
    locking(4 * P, || {
        line("B15", "limit 4 pages: 5 MAP_LOCKED", Plain(mmap(0, 5, RW, LOCKED)));
        let locked = mmap(arena.page(30), 4, RW, LOCKED | FIXED);
        line("B15", "limit 4 pages: 4 MAP_LOCKED", Plain(locked));
        line("B15", "one more", Plain(mmap(0, 1, RW, LOCKED)));
        line("B31", "mlock of one more", Plain(mlock(at, 1)));
        line("B31", "mlock of what is locked", Plain(mlock(arena.page(30), 4)));
        line("B31", "mlock of nothing", Plain(mlock(at, 0)));
        line("B31", "munlock of two", Plain(munlock(arena.page(30), 2)));
        line("B31", "mlock of two others", Plain(mlock(at, 2)));
        line("B31", "mlock of six, two of them locked", Plain(mlock(at, 6)));
        line(
            "B15",
            "mremap of locked pages, larger",
            Plain(mremap(arena.page(32), 2, 3, 0, 0)),
        );
        line("B31", "mlockall of what is", Plain(mlockall(MCL_CURRENT)));
        line("B31", "mlockall of what will be", Plain(mlockall(MCL_FUTURE)));
        line("B15", "then a mapping of 5", Plain(mmap(0, 5, RW, PRIVATE)));
    });
}

fn root_locks(arena: &Arena) {
    arena.clear();
    limited(RLIMIT_MEMLOCK, 0, || {
        line("B15", "root, limit 0: MAP_LOCKED", Plain(mmap(0, 1, RW, LOCKED)));
        line(
            "B31",
            "root, limit 0: mlock",
            Plain(mlock(arena.map(10, 1, RW, PRIVATE), 1)),
        );
    });
}
