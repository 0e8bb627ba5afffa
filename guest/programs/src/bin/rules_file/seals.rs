//! `memfd_create` and seals: C46 to C49.

use faultlab_programs::arena::{
    Answer, Arena, Plain, RO, RW, line, load, mmap_raw, mprotect, munmap, must, peek, poke, store,
};
use faultlab_programs::sys::files;
use faultlab_programs::sys::memory::PAGE_BYTES;

use crate::file::{ALLOW_SEALING, Count, File, PUNCH, memfd_create};

const P: usize = PAGE_BYTES;
const ADD: usize = 1033;
const GET: usize = 1034;
const SEAL: usize = 1;
const SHRINK: usize = 2;
const GROW: usize = 4;
const WRITE: usize = 8;
const FUTURE_WRITE: usize = 0x10;
const EXEC: usize = 0x20;

pub(crate) fn show(arena: &Arena) {
    create(arena);
    add(arena);
    size();
    write(arena);
    future_write(arena);
    exec();
}

fn create(arena: &Arena) {
    let mut name = [b'n'; 251];
    for (len, case) in [(249, "a name of 249 bytes"), (250, "a name of 250 bytes")] {
        name[len] = 0;
        // SAFETY: only reads the name.
        let made = unsafe { files::memfd_create([name.as_ptr() as usize, 0]) };
        name[len] = b'n';
        line("C46", case, Plain(made.inspect(|&made| drop(File(made)))));
    }
    let empty = memfd_create(c"", 0);
    line("C46", "no name", Plain(empty.inspect(|&made| drop(File(made)))));
    arena.clear();
    // SAFETY: nothing is there.
    let nowhere = unsafe { files::memfd_create([arena.page(5), 0]) };
    line("C46", "a name that is nowhere", Plain(nowhere));
    // SAFETY: nothing is there.
    let nowhere = unsafe { files::memfd_create([arena.page(5), 0x40]) };
    line("C46", "unknown flags", Plain(nowhere));
    line("C46", "to execute and not to", Plain(memfd_create(c"", 0x18)));
    for (flags, case) in [
        (0, "plain"),
        (ALLOW_SEALING, "with seals"),
        (8, "not to execute"),
        (0x10, "to execute"),
    ] {
        let file = File::new(flags);
        let (mode, names) = file.mode();
        line(
            "C46",
            format_args!("{case}: mode"),
            format_args!("{mode:o}, {names} names"),
        );
        line("C46", format_args!("{case}: extent"), file.extent());
        line("C47", format_args!("{case}: seals"), file.fcntl(GET, 0));
        line("C47", format_args!("{case}: one more"), file.fcntl(ADD, GROW));
    }
}

fn shared(arena: &Arena, file: &File, page: usize, protection: usize) -> Answer {
    mmap_raw([arena.page(page), P, protection, 0x11, file.0, 0])
}

fn add(arena: &Arena) {
    let file = File::of_bytes(P);
    arena.clear();
    line("C48", "unknown", file.fcntl(ADD, 0x40));
    line("C48", "none", file.fcntl(ADD, 0));
    line("C48", "of nothing", File(99).fcntl(GET, 0));
    must(shared(arena, &file, 10, RO));
    line("C48", "writes, mapped to be read", file.fcntl(ADD, WRITE));
    must(munmap(arena.page(10), 1));
    must(shared(arena, &file, 10, RW));
    line("C48", "writes, mapped to be written", file.fcntl(ADD, WRITE | SHRINK));
    line("C48", "seals", file.fcntl(GET, 0));
    line("C48", "size", file.fcntl(ADD, SHRINK));
    line("C48", "again", file.fcntl(ADD, SHRINK));
    must(munmap(arena.page(10), 1));
    must(mmap_raw([arena.page(10), P, RW, 0x12, file.0, 0]));
    line("C48", "writes, mapped privately", file.fcntl(ADD, WRITE));
    line("C48", "the end", file.fcntl(ADD, SEAL));
    line("C48", "after the end", file.fcntl(ADD, GROW));
    line("C48", "not even again", file.fcntl(ADD, SEAL));
    line("C48", "seals", file.fcntl(GET, 0));
}

fn size() {
    let file = File::of_bytes(2 * P);
    must(file.fcntl(ADD, SHRINK).0);
    line("C49", "no shrinking: smaller", Plain(file.truncate(P)));
    line("C49", "no shrinking: the same", Plain(file.truncate(2 * P)));
    line("C49", "no shrinking: larger", Plain(file.truncate(3 * P)));
    must(file.fcntl(ADD, GROW).0);
    line("C49", "no growing: larger", Plain(file.truncate(4 * P)));
    line("C49", "no growing: the same", Plain(file.truncate(3 * P)));
    line("C49", "no growing: write to the end", Count(file.write(2 * P, P, 1)));
    line(
        "C49",
        "no growing: write over the end",
        Count(file.write(2 * P - 5, 2 * P, 2)),
    );
    line(
        "C49",
        "no growing: write from inside the last page over the end",
        Count(file.write(3 * P - 5, 10, 2)),
    );
    line(
        "C49",
        "no growing: write from the end on",
        Count(file.write(3 * P, 10, 2)),
    );
    line("C49", "no growing: allocate", Plain(file.allocate(0, 0, 3 * P)));
    line(
        "C49",
        "no growing: allocate over the end",
        Plain(file.allocate(0, 0, 4 * P)),
    );
    line(
        "C49",
        "no growing: the same, keeping the size",
        Plain(file.allocate(1, 0, 4 * P)),
    );
    line("C49", "no growing: extent", file.extent());
    line("C49", "no growing: a hole", Plain(file.allocate(PUNCH, 0, P)));
}

fn write(arena: &Arena) {
    let file = File::of_bytes(2 * P);
    must(file.write(0, P, 1));
    must(file.fcntl(ADD, WRITE).0);
    arena.clear();
    line("C49", "no writing: write", Count(file.write(0, 1, 2)));
    line("C49", "no writing: write nothing", Count(file.write(0, 0, 2)));
    line("C49", "no writing: a hole", Plain(file.allocate(PUNCH, 0, P)));
    line("C49", "no writing: allocate", Plain(file.allocate(0, 0, 4 * P)));
    line("C49", "no writing: truncate", Plain(file.truncate(P)));
    line("C49", "no writing: map to write", Plain(shared(arena, &file, 10, RW)));
    line("C49", "no writing: map to read", Plain(shared(arena, &file, 10, RO)));
    line(
        "C49",
        "no writing: then to write",
        Plain(mprotect(arena.page(10), P, RW)),
    );
    let private = must(mmap_raw([arena.page(12), P, RW, 0x12, file.0, 0]));
    poke(private, 9);
    line("C49", "no writing: private", peek(private));
    line("C49", "no writing: shared", peek(arena.page(10)));
    line("C49", "no writing: read", file.read(0, P));
}

fn future_write(arena: &Arena) {
    let file = File::of_bytes(P);
    arena.clear();
    let old = must(shared(arena, &file, 10, RW));
    line("C49", "no more writing", file.fcntl(ADD, FUTURE_WRITE));
    poke(old, 5);
    line("C49", "no more writing: an old mapping", peek(old));
    line("C49", "no more writing: write", Count(file.write(0, 1, 2)));
    line("C49", "no more writing: a hole", Plain(file.allocate(PUNCH, 0, P)));
    line(
        "C49",
        "no more writing: a new mapping",
        Plain(shared(arena, &file, 20, RW)),
    );
    let new = must(shared(arena, &file, 20, RO));
    line("C49", "no more writing: a new one to read", load(new));
    line("C49", "no more writing: which is stored to", store(new));
    line("C49", "no more writing: then to write", Plain(mprotect(new, P, RW)));
    line(
        "C49",
        "no more writing: the old one read-only",
        Plain(mprotect(old, P, RO)),
    );
    line(
        "C49",
        "no more writing: and writable again",
        Plain(mprotect(old, P, RW)),
    );
    line("C49", "no more writing: no writing, mapped", file.fcntl(ADD, WRITE));
    must(munmap(old, 1));
    line("C49", "no more writing: no writing, unmapped", file.fcntl(ADD, WRITE));
}

fn exec() {
    let file = File::of_bytes(P);
    // SAFETY: changes the file only.
    let chmod = |mode: usize| Plain(unsafe { files::fchmod([file.0, mode]) });
    line("C48", "rights to execute, which it has", file.fcntl(ADD, EXEC));
    line("C48", "seals", file.fcntl(GET, 0));
    line("C48", "taken away", chmod(0o600));
    line("C48", "others", chmod(0o711));
    line("C48", "mode", file.mode().0);
    let file = File::new(ALLOW_SEALING);
    // SAFETY: changes the file only.
    must(unsafe { files::fchmod([file.0, 0o600]) });
    line("C48", "rights to execute, which it has not", file.fcntl(ADD, EXEC));
    line("C48", "seals", file.fcntl(GET, 0));
}
