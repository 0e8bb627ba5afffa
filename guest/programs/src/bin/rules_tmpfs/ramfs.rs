//! ramfs, beside tmpfs: C52.

use faultlab_programs::arena::{Arena, Plain, RW, line, madvise, mmap_raw, must, peek, poke};
use faultlab_programs::sys::files;

use faultlab_programs::by_path::{
    CREAT, P, RDWR, Shown, Space, create, mkdir, mount, need, rmdir, stat, stat_open, symlink, umount, unlink, write,
};

pub(crate) fn show(arena: &Arena) {
    must(mkdir(c"m"));
    line(
        "C52",
        "with what tmpfs knows",
        Plain(mount(c"m", c"ramfs", 0, c"size=4k,nr_inodes=1,nosuch=5")),
    );
    line("C52", "root", Shown(stat(c"m")));
    line("C52", "space", Space::of(c"m"));
    let file = need(c"m/f", CREAT | RDWR);
    line("C52", "more than asked for", Plain(write(&file, 0, 12288, 1)));
    line("C52", "the size of it", stat_open(&file).size());
    line("C52", "space", Space::of_open(&file));
    for (case, mode) in [("fallocate", 0), ("fallocate, keeping the size", 1), ("a hole", 3)] {
        // SAFETY: changes the file only.
        line("C52", case, Plain(unsafe { files::fallocate([file.0, mode, 0, 4096]) }));
    }
    // SAFETY: as above.
    must(unsafe { files::ftruncate([file.0, 1 << 20]) });
    for (case, offset, whence) in [
        ("data", 500_000, 3),
        ("a hole", 100, 4),
        ("data at the end", 1 << 20, 3),
        ("a hole at the end", 1 << 20, 4),
    ] {
        // SAFETY: changes the position only.
        let found = unsafe { files::lseek([file.0, offset, whence]) };
        line("C52", case, Plain(found));
        line("C52", "at", found.unwrap_or(0));
    }
    // SAFETY: touches no memory.
    line("C52", "seals", Plain(unsafe { files::fcntl([file.0, 1034, 0]) }));
    arena.clear();
    let mapped = must(mmap_raw([arena.page(1), 4 * P, RW, 0x11, file.0, 0]));
    poke(mapped, 7);
    line("C52", "asked out", Plain(madvise(mapped, P, 21)));
    line("C52", "still there", faultlab_programs::arena::Resident(mapped, 1));
    line("C52", "content", peek(mapped));
    arena.clear();
    drop(file);
    line("C52", "a directory", Plain(mkdir(c"m/d")));
    line("C52", "its size", stat(c"m/d").size());
    line("C52", "a file in it", Plain(create(c"m/d/f")));
    line("C52", "its size", stat(c"m/d").size());
    line("C52", "links of the root", stat(c"m").links());
    line("C52", "a link", Plain(symlink(c"f", c"m/l")));
    line("C52", "its size", stat(c"m/l").size());
    for name in [c"m/l", c"m/d/f", c"m/f"] {
        must(unlink(name));
    }
    must(rmdir(c"m/d"));
    line("C52", "a bad mode", Plain(mount(c"m", c"ramfs", 0, c"mode=9")));
    must(umount(c"m", 0));
    must(mount(c"m", c"ramfs", 0, c"mode=1700"));
    line("C52", "a mode", format_args!("{:o}", stat(c"m").mode()));
    must(umount(c"m", 0));
    must(rmdir(c"m"));
}
