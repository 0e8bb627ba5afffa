//! Files without names, nodes, and descriptors that are only places: C43.

use core::ffi::CStr;

use faultlab_programs::arena::{Plain, in_child, line, must};
use faultlab_programs::sys::{files, paths, process};

use faultlab_programs::by_path::{
    CWD, EMPTY_PATH, EXCL, Open, PATH, RDWR, Shown, TMPFILE, WRONLY, create, link_open, mkdir, mknod, need, open,
    open_at, rmdir, stat, stat_open, symlink, try_open, umask, unlink, write,
};

pub(crate) fn show() {
    unnamed();
    nodes();
    places();
}

fn unnamed() {
    line("C43", "an unnamed file for reading", Plain(try_open(c".", TMPFILE)));
    line("C43", "in nothing", Plain(try_open(c"x", TMPFILE | RDWR)));
    must(create(c"f"));
    line("C43", "in a file", Plain(try_open(c"f", TMPFILE | RDWR)));
    must(unlink(c"f"));
    let file = need(c".", TMPFILE | RDWR);
    line("C43", "it", Shown(stat_open(&file)));
    must(write(&file, 0, 5000, 1));
    line("C43", "named", Plain(link_open(&file, c"named")));
    line("C43", "it", Shown(stat(c"named")));
    line("C43", "the same", stat(c"named").ino() == stat_open(&file).ino());
    must(unlink(c"named"));
    line("C43", "named again", Plain(link_open(&file, c"named")));
    let hidden = need(c".", TMPFILE | EXCL | WRONLY);
    line("C43", "never to be named", Plain(link_open(&hidden, c"named")));
    must(create(c"lost"));
    let lost = need(c"lost", RDWR);
    must(unlink(c"lost"));
    line("C43", "one that had a name", Plain(link_open(&lost, c"lost")));
}

fn nodes() {
    let kinds: [(&str, usize, usize); 9] = [
        ("a file", 0o100_644, 0),
        ("a file without a type", 0o644, 0),
        ("a FIFO", 0o010_600, 0),
        ("a character device", 0o020_666, 0x103),
        ("a block device", 0o060_660, 0x807),
        ("a socket", 0o140_777, 0),
        ("a directory", 0o040_755, 0),
        ("a link", 0o120_777, 0),
        ("an unknown type", 0o150_000, 0),
    ];
    for (name, mode, device) in kinds {
        let made = mknod(c"n", mode, device);
        line("C43", name, Plain(made));
        if made.is_ok() {
            line("C43", "it", Shown(stat(c"n")));
            line("C43", "its device", stat(c"n").rdev());
            must(unlink(c"n"));
        }
    }
    must(mknod(c"n", 0o020_666, 0x103));
    let null = need(c"n", RDWR);
    line(
        "C43",
        "written to, as what it stands for",
        write(&null, 0, 100, 1).unwrap_or(0),
    );
    line("C43", "its own size", stat_open(&null).size());
    must(unlink(c"n"));
    for (name, mode, device) in [("nobody's device", 0o020_666, 0x7777), ("a socket", 0o140_666, 0)] {
        must(mknod(c"n", mode, device));
        line("C43", format_args!("opening {name}"), Plain(try_open(c"n", RDWR)));
        must(unlink(c"n"));
    }
    let old = umask(0o27);
    must(mknod(c"n", 0o100_777, 0));
    umask(old);
    line("C43", "with a mask of 027", Shown(stat(c"n")));
    must(unlink(c"n"));
    let end = in_child(|| {
        must(process::set_user(1000).map(|()| 0));
        line(
            "C43",
            "a device of others",
            Plain(mknod(c"/dev/shm/n", 0o020_666, 0x103)),
        );
        line("C43", "a FIFO of others", Plain(mknod(c"/dev/shm/n", 0o010_666, 0)));
        0
    });
    line("C43", "ended", end);
    must(unlink(c"n"));
}

/// `O_PATH`.
fn places() {
    must(mkdir(c"d"));
    must(create(c"d/f"));
    must(symlink(c"f", c"d/l"));
    let file = need(c"d/f", PATH | RDWR);
    line("C43", "a place", Shown(stat_open(&file)));
    line("C43", "written to", Plain(write(&file, 0, 1, 1)));
    // SAFETY: these change the descriptor's object, or nothing.
    let refused = unsafe {
        [
            ("lseek", files::lseek([file.0, 0, 0])),
            ("ftruncate", files::ftruncate([file.0, 0])),
            ("fchmod", files::fchmod([file.0, 0o600])),
            ("getdents64", paths::getdents64([file.0, 0, 0])),
            ("fsync", files::fsync([file.0])),
            ("F_GETFD", files::fcntl([file.0, 1, 0])),
            ("F_SETFL", files::fcntl([file.0, 4, 0])),
            ("fallocate", files::fallocate([file.0, 0, 0, 1])),
        ]
    };
    for (name, answer) in refused {
        line("C43", format_args!("{name} of a place"), Plain(answer));
    }
    let flags = |path: &CStr, how| {
        let file = Open(must(open(path, how)));
        // SAFETY: touches no memory.
        must(unsafe { files::fcntl([file.0, 3, 0]) })
    };
    line("C43", "its flags", format_args!("{:o}", flags(c"d/f", PATH | RDWR)));
    line(
        "C43",
        "those of a file",
        format_args!("{:o}", flags(c"d/f", RDWR | EXCL)),
    );
    let dir = need(c"d", PATH);
    line(
        "C43",
        "a file from a place",
        Plain(open_at(dir.0, c"f", RDWR, 0).map(|number| {
            drop(Open(number));
            0
        })),
    );
    // SAFETY: touches no memory.
    line("C43", "fchdir to it", Plain(unsafe { paths::fchdir([dir.0]) }));
    must(faultlab_programs::by_path::chdir(c".."));
    let link = need(c"d/l", PATH | faultlab_programs::by_path::NOFOLLOW);
    line("C43", "a link as a place", Shown(stat_open(&link)));
    let mut buffer = [0u8; 8];
    // SAFETY: writes no more than the buffer.
    let read = unsafe { paths::readlinkat([link.0, c"".as_ptr() as usize, buffer.as_mut_ptr() as usize, 8]) };
    line("C43", "read", Plain(read));
    let mut stat = [0u64; 18];
    // SAFETY: the buffer has the size of the structure.
    let itself = unsafe { paths::newfstatat([CWD, c"".as_ptr() as usize, stat.as_mut_ptr() as usize, EMPTY_PATH]) };
    line("C43", "the working directory as itself", Plain(itself));
    drop((file, dir, link));
    for name in [c"d/l", c"d/f"] {
        must(unlink(name));
    }
    must(rmdir(c"d"));
}
