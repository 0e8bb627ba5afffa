//! Numbers and what they share: dup(2), fcntl(2), close(2), fork(2).

use faultlab_programs::arena::{Plain, in_child, line, must};
use faultlab_programs::sys::files;

use crate::file::{Count, File, SEEK_CUR, SEEK_SET};

const DUPFD: usize = 0;
const GETFD: usize = 1;
const SETFD: usize = 2;
const GETFL: usize = 3;
const SETFL: usize = 4;
const DUPFD_CLOEXEC: usize = 1030;
const CLOEXEC: usize = 0o2_000_000;
const APPEND: usize = 0o2000;

fn dup2(old: usize, new: usize) -> Count {
    // SAFETY: the numbers are those of the cases.
    Count(unsafe { files::dup2([old, new]) })
}

fn dup3(old: usize, new: usize, flags: usize) -> Count {
    // SAFETY: as in `dup2`.
    Count(unsafe { files::dup3([old, new, flags]) })
}

fn close(descriptor: usize) -> Plain {
    // SAFETY: as in `dup2`.
    Plain(unsafe { files::close([descriptor]) })
}

pub(crate) fn show() {
    numbers();
    flags();
    sharing();
}

fn numbers() {
    let file = File::new(0);
    line("dup", "the lowest free number", file.0);
    // SAFETY: only makes a number.
    let copy = must(unsafe { files::dup([file.0]) });
    line("dup", "the next", copy);
    line("dup", "closed", close(copy));
    line("dup", "closed twice", close(copy));
    line("dup", "of a closed one", dup2(copy, 20));
    line("dup", "to 20", dup2(file.0, 20));
    line("dup", "to itself", dup2(20, 20));
    line("dup", "to itself, closed", dup2(21, 21));
    line("dup", "to itself with flags", dup3(20, 20, 0));
    line("dup", "unknown flags", dup3(file.0, 21, 1));
    line("dup", "beyond all", dup2(file.0, 1 << 30));
    line("dup", "negative", dup2(file.0, usize::MAX));
    line("dup", "to 100", dup3(file.0, 100, CLOEXEC));
    line("dup", "from 64 on", file.fcntl(DUPFD, 64));
    line("dup", "from 64 on again", file.fcntl(DUPFD_CLOEXEC, 64));
    line("dup", "from beyond all on", file.fcntl(DUPFD, 1 << 30));
    line("dup", "negative", file.fcntl(DUPFD, usize::MAX));
    for number in [20, 64, 65, 100] {
        line(
            "dup",
            format_args!("{number} closes on exec"),
            File(number).fcntl(GETFD, 0),
        );
    }
    line("dup", "none of them is left", dup2(100, 101));
}

fn flags() {
    let file = File::new(1);
    line("fcntl", "closes on exec", file.fcntl(GETFD, 0));
    line("fcntl", "no longer", file.fcntl(SETFD, 0));
    line("fcntl", "closes on exec", file.fcntl(GETFD, 0));
    line("fcntl", "other bits", file.fcntl(SETFD, 6));
    line("fcntl", "closes on exec", file.fcntl(GETFD, 0));
    line("fcntl", "flags", file.fcntl(GETFL, 0));
    line("fcntl", "unknown", file.fcntl(77, 0));
    line("fcntl", "append", file.fcntl(SETFL, APPEND | 1));
    line("fcntl", "flags", file.fcntl(GETFL, 0));
    must(file.write(0, 10, 1));
    line(
        "fcntl",
        "pwrite to 0 of a file that appends",
        Count(file.write(0, 10, 2)),
    );
    line("fcntl", "content", file.read(0, 100));
    line("fcntl", "of nothing", File(99).fcntl(GETFL, 0));
}

fn sharing() {
    let file = File::of_bytes(100);
    // SAFETY: only makes a number.
    let copy = File(must(unsafe { files::dup([file.0]) }));
    must(file.seek(33, SEEK_SET).0);
    line("dup", "shares the position", copy.seek(0, SEEK_CUR));
    line(
        "fork",
        "the child's position",
        in_child(|| {
            must(file.seek(7, SEEK_CUR).0);
            copy.seek(0, SEEK_CUR).0.map_or(0, |position| position as u8)
        }),
    );
    line("fork", "is the parent's", file.seek(0, SEEK_CUR));
    line(
        "fork",
        "the child closes",
        in_child(|| u8::from(must(unsafe_close(copy.0)) != 0)),
    );
    line("fork", "and the parent has it still", copy.seek(0, SEEK_CUR));
}

fn unsafe_close(descriptor: usize) -> Result<usize, faultlab_programs::sys::Errno> {
    // SAFETY: in a child that ends.
    unsafe { files::close([descriptor]) }
}
