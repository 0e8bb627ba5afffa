//! Files with names: B7, C12, C22, C33, C47, C51.

use faultlab_programs::arena::{Arena, Plain, RW, line, load, mmap_raw, must, peek, poke, store};
use faultlab_programs::sys::{files, paths};

use faultlab_programs::by_path::{
    APPEND, CREAT, DIRECTORY, Open, P, RDONLY, RDWR, Shown, Space, WRONLY, create, mkdir, mount, need, rmdir, stat,
    stat_open, truncate, umount, unlink, write,
};

pub(crate) fn show(arena: &Arena) {
    sparse(arena);
    mapped(arena);
    copies();
    seals();
}

/// A file larger than its file system.
fn sparse(arena: &Arena) {
    must(mkdir(c"m"));
    must(mount(c"m", c"tmpfs", 0, c"size=64k,nr_inodes=50"));
    let file = need(c"m/f", CREAT | RDWR);
    line("C12", "larger than the file system", Plain(truncate(c"m/f", 1 << 20)));
    line("C12", "takes nothing", Space::of(c"m"));
    arena.clear();
    let mapped = must(mmap_raw([arena.page(1), 32 * P, RW, 0x11, file.0, 0]));
    (0..16).for_each(|page| poke(mapped + page * P, 1));
    line("C12", "all taken", Space::of_open(&file));
    line("C12", "the page after", store(mapped + 16 * P));
    line("C12", "a load of it", load(mapped + 16 * P));
    line("C12", "a page that is there", peek(mapped + 15 * P));
    line("C12", "a write to a page that is there", Plain(write(&file, P, 100, 2)));
    line("C12", "a write to another", Plain(write(&file, 16 * P, 100, 2)));
    line("C12", "a write to both", Plain(write(&file, 16 * P - 10, 100, 2)));
    line("C12", "another file", Plain(create(c"m/g")));
    line("C12", "written to", Plain(write(&need(c"m/g", WRONLY), 0, 1, 2)));
    // SAFETY: changes the file only.
    let answer = unsafe { files::fallocate([file.0, 0, 0, 17 * P]) };
    line("C12", "fallocate", Plain(answer));
    line("C12", "still all taken", Space::of(c"m"));
    line("C12", "shorter", Plain(truncate(c"m/f", 4 * P)));
    line("C12", "then", Space::of(c"m"));
    must(unlink(c"m/f"));
    line("C12", "without a name", Space::of(c"m"));
    drop(file);
    line("C12", "closed, and mapped", Space::of(c"m"));
    line("C12", "its pages", peek(mapped));
    arena.clear();
    line("C12", "unmapped", Space::of(c"m"));
    let file = need(c"m/g", RDWR);
    // SAFETY: changes the file only.
    let answer = unsafe { files::fallocate([file.0, 0, 0, 20 * P]) };
    line("C12", "fallocate of more than there is", Plain(answer));
    line("C12", "is undone", Space::of(c"m"));
    // SAFETY: as above.
    let answer = unsafe { files::fallocate([file.0, 1, 0, 16 * P]) };
    line("C12", "fallocate of all", Plain(answer));
    line("C12", "then", Space::of(c"m"));
    line("C12", "the file", Shown(stat(c"m/g")));
    drop(file);
    must(umount(c"m", 0));
    must(rmdir(c"m"));
}

/// Mappings of one file are the file.
fn mapped(arena: &Arena) {
    let file = need(c"f", CREAT | RDWR);
    must(write(&file, 0, 3 * P, 1));
    arena.clear();
    let one = must(mmap_raw([arena.page(1), 3 * P, RW, 0x11, file.0, 0]));
    let other = must(mmap_raw([arena.page(10), 3 * P, RW, 0x11, file.0, 0]));
    let private = must(mmap_raw([arena.page(20), 3 * P, RW, 0x12, file.0, 0]));
    let used = || Space::of(c".").blocks() - free(c".");
    let before = used();
    (0..3).for_each(|page| poke(one + page * P, 5));
    line("C51", "stored through one", peek(other + P));
    poke(private, 6);
    line("C51", "a private copy", peek(one));
    line("C51", "blocks taken by storing", used() - before);
    line("C51", "the file", Shown(stat_open(&file)));
    must(unlink(c"f"));
    drop(file);
    line("C51", "without name and descriptor", peek(one + 2 * P));
    line("C51", "blocks", used() - before);
    arena.clear();
    line("C51", "blocks, unmapped", before - used());
    let readonly = Open(must(faultlab_programs::by_path::open_at(
        faultlab_programs::by_path::CWD,
        c"r",
        CREAT | RDONLY,
        0o600,
    )));
    line(
        "C51",
        "a shared writable mapping of a file for reading",
        Plain(mmap_raw([0, P, RW, 1, readonly.0, 0])),
    );
    let dir = need(c".", DIRECTORY);
    line(
        "B7",
        "a mapping of a directory",
        Plain(mmap_raw([0, P, 1, 1, dir.0, 0])),
    );
    must(unlink(c"r"));
}

fn free(path: &core::ffi::CStr) -> u64 {
    let mut words = [0u64; 15];
    // SAFETY: reads the path; the buffer has the size of the structure.
    must(unsafe { paths::statfs([path.as_ptr() as usize, words.as_mut_ptr() as usize]) });
    words[3]
}

/// `sendfile` and `copy_file_range`.
fn copies() {
    let from = need(c"from", CREAT | RDWR);
    let to = need(c"to", CREAT | RDWR);
    must(write(&from, 0, 100, 1));
    must(write(&from, 3 * P, 200, 2));
    let send = |to: &Open, from: &Open, offset: Option<&mut u64>, bytes: usize| {
        let pointer = offset.map_or(0, |offset| &raw mut *offset as usize);
        // SAFETY: changes files, and the offset.
        unsafe { paths::sendfile([to.0, from.0, pointer, bytes]) }
    };
    let mut offset = 10;
    line(
        "C22",
        "sendfile",
        send(&to, &from, Some(&mut offset), 90 + P).unwrap_or(0),
    );
    line("C22", "the offset", offset);
    line("C22", "the source", Shown(stat_open(&from)));
    line("C22", "the target", Shown(stat_open(&to)));
    line(
        "C22",
        "sendfile from the position",
        send(&to, &from, None, 1 << 20).unwrap_or(0),
    );
    line("C22", "again", send(&to, &from, None, 1 << 20).unwrap_or(99));
    line("C22", "the target", Shown(stat_open(&to)));
    line("C22", "its content", sum(&to));
    line("C22", "the source keeps its holes", Shown(stat_open(&from)));
    let readonly = need(c"to", RDONLY);
    let writeonly = need(c"from", WRONLY);
    let appending = need(c"to", WRONLY | APPEND);
    let dir = need(c".", 0);
    line(
        "C22",
        "sendfile to a file for reading",
        Plain(send(&readonly, &from, None, 1)),
    );
    line(
        "C22",
        "sendfile from a file for writing",
        Plain(send(&to, &writeonly, None, 1)),
    );
    line("C22", "sendfile to the end", Plain(send(&appending, &from, None, 1)));
    line("C22", "sendfile from nothing", Plain(send(&to, &Open(99), None, 1)));
    let copy = |from: &Open, at: u64, to: &Open, target: u64, bytes: usize, flags: usize| {
        let offsets = [at, target];
        let [one, other] = [0, 1].map(|at| &raw const offsets[at] as usize);
        // SAFETY: changes files, and the offsets.
        unsafe { paths::copy_file_range([from.0, one, to.0, other, bytes, flags]) }
    };
    line(
        "C22",
        "copy_file_range",
        copy(&from, 0, &to, 8192, 4 * P, 0).unwrap_or(0),
    );
    line("C22", "at the end", copy(&from, 1 << 20, &to, 0, P, 0).unwrap_or(99));
    line("C22", "in one file", Plain(copy(&from, 0, &from, 8 * P as u64, P, 0)));
    line(
        "C22",
        "in one file, overlapping",
        Plain(copy(&from, 0, &from, 10, P, 0)),
    );
    line("C22", "with flags", Plain(copy(&from, 0, &to, 0, P, 1)));
    line(
        "C22",
        "to a file for reading",
        Plain(copy(&from, 0, &readonly, 0, P, 0)),
    );
    line(
        "C22",
        "from a file for writing",
        Plain(copy(&writeonly, 0, &to, 0, P, 0)),
    );
    line("C22", "to the end", Plain(copy(&from, 0, &appending, 0, P, 0)));
    line("C22", "from a directory", Plain(copy(&dir, 0, &to, 0, P, 0)));
    line("C22", "the target", Shown(stat_open(&to)));
    line("C22", "its content", sum(&to));
    must(unlink(c"from"));
    must(unlink(c"to"));
}

/// The sum of a file's bytes.
fn sum(file: &Open) -> u64 {
    let mut sum = 0;
    let mut offset = 0;
    loop {
        let mut buffer = [0u8; 4096];
        // SAFETY: writes no more than the buffer.
        let read = must(unsafe { files::pread([file.0, buffer.as_mut_ptr() as usize, buffer.len(), offset]) });
        if read == 0 {
            return sum;
        }
        sum += buffer[..read].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        offset += read;
    }
}

fn seals() {
    let file = need(c"f", CREAT | RDWR);
    // SAFETY: touches no memory.
    let answer = unsafe { files::fcntl([file.0, 1034, 0]) };
    line("C47", "seals of a file with a name", Plain(answer));
    // SAFETY: as above.
    line("C47", "one more", Plain(unsafe { files::fcntl([file.0, 1033, 2]) }));
    must(unlink(c"f"));
}
