//! POSIX shared memory, as C libraries do it: C50. Source: shm_open(3).
//!
//! Names are checked by the library, not by the kernel: what is shown is what it asks for then.

use faultlab_programs::arena::{Answer, Arena, Plain, RO, RW, in_child, line, mmap_raw, must, peek, poke};
use faultlab_programs::sys::files;

use faultlab_programs::by_path::{
    CLOEXEC, CREAT, CWD, EXCL, Long, NOFOLLOW, Open, P, RDONLY, RDWR, TRUNC, open_at, stat_open, symlink, unlink,
};

fn shm_open(path: &core::ffi::CStr, flags: usize) -> Answer {
    open_at(CWD, path, flags | NOFOLLOW | CLOEXEC, 0o600)
}

pub(crate) fn show(arena: &Arena) {
    line("C50", "missing", Plain(shm_open(c"/dev/shm/object", RDWR)));
    let object = Open(must(shm_open(c"/dev/shm/object", RDWR | CREAT | EXCL)));
    line("C50", "new", faultlab_programs::by_path::Shown(stat_open(&object)));
    // SAFETY: touches no memory.
    let flags = unsafe { files::fcntl([object.0, 1, 0]) };
    line("C50", "closes with execve", must(flags));
    line("C50", "again", Plain(shm_open(c"/dev/shm/object", RDWR | CREAT | EXCL)));
    must(symlink(c"object", c"/dev/shm/link"));
    line("C50", "through a link", Plain(shm_open(c"/dev/shm/link", RDWR)));
    must(unlink(c"link"));
    let long = Long::of(b'n', 256);
    line("C50", "a long name", Plain(shm_open(long.path(), RDWR | CREAT)));
    // SAFETY: changes the object only.
    must(unsafe { files::ftruncate([object.0, 2 * P]) });
    arena.clear();
    let mapped = must(mmap_raw([arena.page(1), 2 * P, RW, 0x11, object.0, 0]));
    poke(mapped, 1);
    let end = in_child(|| {
        let again = Open(must(shm_open(c"/dev/shm/object", RDWR)));
        let other = must(mmap_raw([arena.page(10), 2 * P, RW, 0x11, again.0, 0]));
        poke(other + P, peek(other) + 1);
        0
    });
    line("C50", "another process", end);
    line("C50", "stored", peek(mapped + P));
    let reader = Open(must(shm_open(c"/dev/shm/object", RDONLY)));
    line(
        "C50",
        "a reader maps",
        Plain(mmap_raw([arena.page(20), P, RO, 0x11, reader.0, 0])),
    );
    line(
        "C50",
        "a reader maps for writing",
        Plain(mmap_raw([arena.page(21), P, RW, 0x11, reader.0, 0])),
    );
    line("C50", "unlink", Plain(unlink(c"/dev/shm/object")));
    line("C50", "unlink again", Plain(unlink(c"/dev/shm/object")));
    line("C50", "its mapping", peek(mapped));
    let fresh = Open(must(shm_open(c"/dev/shm/object", RDWR | CREAT)));
    line(
        "C50",
        "the same name again",
        faultlab_programs::by_path::Shown(stat_open(&fresh)),
    );
    // SAFETY: changes the object only.
    must(unsafe { files::ftruncate([fresh.0, P]) });
    drop(Open(must(shm_open(c"/dev/shm/object", RDWR | TRUNC))));
    line("C50", "emptied", faultlab_programs::by_path::Shown(stat_open(&fresh)));
    must(unlink(c"/dev/shm/object"));
    arena.clear();
}
