//! What `open` says about what is there: C19, C45.

use core::ffi::CStr;

use faultlab_programs::arena::{Plain, line, must};
use faultlab_programs::sys::files;

use faultlab_programs::by_path::{
    APPEND, CLOEXEC, CREAT, CWD, DIRECTORY, EXCL, NOFOLLOW, Open, PATH, RDONLY, RDWR, SYMLINK_NOFOLLOW, Shown, TRUNC,
    WRONLY, create, mkdir, mknod, need, open_at, rmdir, stat, statx, symlink, truncate, try_open, umask, unlink, write,
};

const DIRECT: usize = 0o40_000;

pub(crate) fn show() {
    must(mkdir(c"d"));
    must(create(c"f"));
    must(mknod(c"n", 0o020_666, 0x103));
    must(symlink(c"d", c"ld"));
    must(symlink(c"f", c"lf"));
    let paths = [c"d", c"f", c"n", c"ld", c"lf", c"x", c"d/", c"ld/", c"lf/", c"x/", c"."];
    let flags = [
        RDONLY,
        RDWR,
        CREAT,
        CREAT | EXCL,
        TRUNC,
        DIRECTORY,
        DIRECTORY | RDWR,
        NOFOLLOW,
        NOFOLLOW | DIRECTORY,
        CREAT | DIRECTORY,
        PATH,
        PATH | NOFOLLOW,
        PATH | DIRECTORY,
        3,
    ];
    for path in paths {
        for flags in flags {
            let case = format_args!("{} with {flags:o}", path.to_str().unwrap_or("?"));
            line("C45", case, Plain(try_open(path, flags)));
            _ = unlink(c"x");
        }
    }
    modes();
    contents();
    extended();
    numbers();
    for name in [c"lf", c"ld", c"n", c"f"] {
        must(unlink(name));
    }
    must(rmdir(c"d"));
}

/// Rights of what is made.
fn modes() {
    for (mask, mode) in [(0o022, 0o666), (0, 0o7777), (0o777, 0o777), (0o077, 0o1644)] {
        let old = umask(mask);
        let made = open_at(CWD, c"new", CREAT | EXCL | WRONLY, mode);
        umask(old);
        drop(Open(must(made)));
        line("C45", format_args!("{mode:o} under {mask:o}"), Shown(stat(c"new")));
        must(unlink(c"new"));
    }
    let file = Open(must(open_at(CWD, c"new", CREAT | RDWR, 0)));
    line("C45", "without rights, written to", Plain(write(&file, 0, 10, 1)));
    must(unlink(c"new"));
}

/// `O_TRUNC`, `O_APPEND`, `O_DIRECT`.
fn contents() {
    must(write(&need(c"f", WRONLY), 0, 5000, 1));
    line("C19", "filled", Shown(stat(c"f")));
    line("C19", "O_DIRECT", Plain(try_open(c"f", RDWR | DIRECT)));
    let file = need(c"f", WRONLY | APPEND);
    // SAFETY: reads no more than the bytes.
    let answer = unsafe { files::write([file.0, b"ab".as_ptr() as usize, 2]) };
    line("C19", "appended", Plain(answer));
    line("C19", "it", Shown(stat(c"f")));
    line("C19", "O_TRUNC for reading", Plain(try_open(c"f", TRUNC)));
    line("C19", "it", Shown(stat(c"f")));
    must(write(&need(c"f", RDWR), 0, 5000, 1));
    line("C19", "O_TRUNC", Plain(try_open(c"f", RDWR | TRUNC | CREAT)));
    line("C19", "it", Shown(stat(c"f")));
    for (name, path, bytes) in [
        ("truncate", c"f", 100),
        ("truncate of a link", c"lf", 200),
        ("truncate below 0", c"f", usize::MAX),
        ("truncate to the largest", c"f", i64::MAX as usize),
        ("truncate of a directory", c"d", 0),
        ("truncate of nothing", c"x", 0),
        ("truncate of a device", c"n", 0),
    ] {
        line("C18", name, Plain(truncate(path, bytes)));
        line("C18", "f", Shown(stat(c"f")));
    }
}

/// `statx` says what `stat` does.
fn extended() {
    const BASIC_STATS: usize = 0x7ff;
    for path in [c"f", c"d", c"n", c"lf"] {
        let (words, stat) = (statx(path, SYMLINK_NOFOLLOW, BASIC_STATS), stat(path));
        let same = words.is_ok_and(|words| {
            let times = [8, 14, 12].map(|at| (words[at], words[at + 1] & 0xffff_ffff));
            let numbers = [words[2] & 0xffff_ffff, words[3] >> 32, words[4], words[5], words[6]];
            numbers == [stat.links(), stat.mode(), stat.ino(), stat.size(), stat.blocks()]
                && times == stat.times()
                && words[0] & BASIC_STATS as u64 == BASIC_STATS as u64
                && words[16] == (stat.rdev() >> 8 | (stat.rdev() & 0xff) << 32)
        });
        line("C45", format_args!("statx of {}", path.to_str().unwrap_or("?")), same);
    }
    line("C45", "statx of nothing", Plain(statx(c"x", 0, BASIC_STATS).map(|_| 0)));
    line(
        "C45",
        "statx with unknown flags",
        Plain(statx(c"f", 1, BASIC_STATS).map(|_| 0)),
    );
    line(
        "C45",
        "statx of what is reserved",
        Plain(statx(c"f", 0, 0x8000_0000).map(|_| 0)),
    );
}

/// Descriptors.
fn numbers() {
    let file = need(c"f", RDWR);
    let copy = need(c"f", RDWR | CLOEXEC);
    line("C45", "numbers follow each other", copy.0 - file.0);
    let fcntl = |file: &Open, command| {
        // SAFETY: touches no memory.
        must(unsafe { files::fcntl([file.0, command, 0]) })
    };
    line(
        "C45",
        "F_GETFD",
        format_args!("{} {}", fcntl(&file, 1), fcntl(&copy, 1)),
    );
    line(
        "C45",
        "F_GETFL",
        format_args!("{:o} {:o}", fcntl(&file, 3), fcntl(&copy, 3)),
    );
    let number = file.0;
    drop(file);
    line("C45", "an error keeps the number free", Plain(try_open(c"x", RDWR)));
    line("C45", "the lowest is taken", need(c"f", RDWR).0 == number);
    let from = |path: &CStr, dir: usize| {
        Plain(open_at(dir, path, RDWR, 0).map(|number| {
            drop(Open(number));
            0
        }))
    };
    line("C45", "from a file", from(c"f", copy.0));
    line("C45", "from nothing", from(c"f", 99));
    line("C45", "an absolute path from nothing", from(c"/dev/shm/f", 99));
    line("C45", "no path", from(c"", CWD));
}
