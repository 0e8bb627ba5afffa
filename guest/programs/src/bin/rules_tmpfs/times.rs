//! What each call does to times: C23.

use core::ffi::CStr;
use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, Plain, line, must};
use faultlab_programs::sys::files;

use faultlab_programs::by_path::{
    CREAT, RDWR, SYMLINK_NOFOLLOW, TRUNC, chmod, chown, create, link, mkdir, need, rename, rmdir, stat, stat_of,
    symlink, truncate, try_open, unlink, utimens, write,
};

const NOW: i64 = 0x3fff_ffff;
const OMIT: i64 = 0x3fff_fffe;
/// Long ago: what a call changes is later.
const OLD: [i64; 4] = [1_000_000, 5, 2_000_000, 7];

pub(crate) fn show() {
    must(mkdir(c"d"));
    must(create(c"d/f"));
    must(symlink(c"f", c"d/l"));
    setting();
    contents();
    names();
    for name in [c"d/l", c"d/f"] {
        must(unlink(name));
    }
    must(rmdir(c"d"));
}

/// Which times are recent: of access, of change of the content, of change of anything.
struct Recent(&'static CStr, [(u64, u64); 3]);

impl Display for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(stat) = stat_of(self.0) else {
            return f.write_str("gone");
        };
        let names = ["atime", "mtime", "ctime"];
        let mut none = true;
        for (name, (now, old)) in names.iter().zip(stat.times().iter().zip(self.1)) {
            if *now != old {
                write!(f, "{name} ")?;
                none = false;
            }
        }
        f.write_str(if none { "nothing" } else { "changed" })
    }
}

/// Waits until the clock that times are taken from has moved on.
fn tick() {
    let begin = faultlab_programs::sys::monotonic_ns();
    while faultlab_programs::sys::monotonic_ns() - begin < 12_000_000 {}
}

/// What a call does to the times of a file and of a directory.
fn moved(case: &str, call: impl FnOnce() -> Answer) {
    for path in [c"d/f", c"d"] {
        must(utimens(path, Some(OLD), 0));
    }
    let before = [c"d/f", c"d"].map(|path| stat(path).times());
    tick();
    line("C23", case, Plain(call()));
    line("C23", "of the file", Recent(c"d/f", before[0]));
    line("C23", "of the directory", Recent(c"d", before[1]));
}

struct Shown(&'static CStr);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [access, change, any] = stat(self.0).times();
        let now = any.0 > 1_000_000_000;
        write!(f, "{}.{} {}.{} and now: {now}", access.0, access.1, change.0, change.1)
    }
}

fn setting() {
    let times = [
        ("both", OLD),
        ("before 1970", [-5, 999_999_999, -1, 1]),
        ("the first only", [77, 0, 0, OMIT]),
        ("the second only", [0, OMIT, 88, 0]),
        ("none", [0, OMIT, 0, OMIT]),
        ("too many nanoseconds", [0, 1_000_000_000, 0, 0]),
        ("negative nanoseconds", [0, 0, 0, -1]),
    ];
    for (case, times) in times {
        line("C23", case, Plain(utimens(c"d/f", Some(times), 0)));
        line("C23", "are", Shown(c"d/f"));
    }
    line("C23", "of a link", Plain(utimens(c"d/l", Some(OLD), SYMLINK_NOFOLLOW)));
    line("C23", "are", Shown(c"d/l"));
    line("C23", "of nothing", Plain(utimens(c"d/x", None, 0)));
    line(
        "C23",
        "of nothing, none",
        Plain(utimens(c"d/x", Some([0, OMIT, 0, OMIT]), 0)),
    );
    line("C23", "with unknown flags", Plain(utimens(c"d/f", None, 8)));
    moved("now", || utimens(c"d/f", None, 0));
    moved("now, one", || utimens(c"d/f", Some([0, NOW, 0, OMIT]), 0));
}

fn contents() {
    let file = need(c"d/f", RDWR);
    moved("write", || write(&file, 0, 5000, 1));
    let mut byte = 0u8;
    let at = &raw mut byte as usize;
    // SAFETY: one byte is the buffer.
    moved("read", || unsafe { files::pread([file.0, at, 1, 0]) });
    // SAFETY: as above.
    moved("read at the end", || unsafe { files::pread([file.0, at, 1, 90_000]) });
    // SAFETY: as above.
    moved("write of nothing", || unsafe { files::pwrite([file.0, at, 0, 0]) });
    // SAFETY: changes the file only.
    moved("ftruncate to the same size", || unsafe {
        files::ftruncate([file.0, 5000])
    });
    moved("truncate", || truncate(c"d/f", 6000));
    // SAFETY: as above.
    moved("fallocate", || unsafe { files::fallocate([file.0, 0, 0, 8192]) });
    // SAFETY: as above.
    moved("a hole", || unsafe { files::fallocate([file.0, 3, 0, 4096]) });
    moved("open", || try_open(c"d/f", RDWR));
    moved("O_CREAT of what is there", || try_open(c"d/f", RDWR | CREAT));
    moved("O_TRUNC", || try_open(c"d/f", RDWR | TRUNC));
    moved("chmod", || chmod(c"d/f", 0o600));
    moved("chown", || chown(c"d/f", 1, 1, 0));
}

fn names() {
    moved("link", || link(c"d/f", c"d/g"));
    moved("unlink", || unlink(c"d/g"));
    moved("a new file", || create(c"d/g"));
    moved("rename", || rename(c"d/f", c"d/h", 0));
    must(rename(c"d/h", c"d/f", 0));
    moved("exchange", || rename(c"d/f", c"d/g", 2));
    moved("over another", || rename(c"d/g", c"d/f", 0));
    moved("mkdir", || mkdir(c"d/s"));
    moved("rmdir", || rmdir(c"d/s"));
    moved("symlink", || symlink(c"x", c"d/s"));
    moved("to itself", || rename(c"d/f", c"d/f", 0));
    must(unlink(c"d/s"));
}
