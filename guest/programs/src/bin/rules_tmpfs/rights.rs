//! Who may do what: C45.

use core::ffi::CStr;

use faultlab_programs::arena::{Plain, in_child, line, must};
use faultlab_programs::sys::process;

use faultlab_programs::by_path::{
    CREAT, RDONLY, RDWR, SYMLINK_NOFOLLOW, TRUNC, WRONLY, access, chmod, chown, create, link, mkdir, mknod, mount,
    rename, rmdir, stat, stat_of, symlink, truncate, try_open, umount, unlink, utimens,
};

const OWNER: usize = 1000;
const GROUP: usize = 2000;
const OTHER: usize = 1001;
const SAME: usize = u32::MAX as usize;

pub(crate) fn show() {
    must(mkdir(c"d"));
    must(create(c"d/f"));
    must(symlink(c"f", c"d/l"));
    must(chown(c"d/f", OWNER, GROUP, 0));
    changing();
    for (who, user, group) in [
        ("owner", OWNER, OTHER),
        ("group", OTHER, GROUP),
        ("other", OTHER, OTHER),
    ] {
        for mode in [0o640, 0o466, 0o117, 0] {
            must(chmod(c"d/f", mode));
            as_user(user, group, || using(who, mode));
        }
    }
    root();
    directories();
    sticky();
    owners();
    inherited();
    for name in [c"d/l", c"d/f"] {
        must(unlink(name));
    }
    must(rmdir(c"d"));
}

fn as_user(user: usize, group: usize, work: impl FnOnce()) {
    let end = in_child(|| {
        must(process::become_user(user as u32, group as u32).map(|()| 0));
        work();
        0
    });
    if end.status() != 0 {
        line("C45", "a child ended with", end);
    }
}

fn mode_of(path: &CStr) -> impl core::fmt::Display {
    struct Mode(u64, (u64, u64));
    impl core::fmt::Display for Mode {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "{:o} of {} and {}", self.0, self.1.0, self.1.1)
        }
    }
    Mode(stat(path).mode(), stat(path).owner())
}

/// `chmod` and `chown`, by root.
fn changing() {
    for mode in [0o7777, 0o170_644, 0o6755] {
        line("C45", format_args!("chmod {mode:o}"), Plain(chmod(c"d/f", mode)));
        line("C45", "is", mode_of(c"d/f"));
    }
    line(
        "C45",
        "chown takes set-id bits away",
        Plain(chown(c"d/f", SAME, SAME, 0)),
    );
    line("C45", "is", mode_of(c"d/f"));
    must(chmod(c"d/f", 0o6644));
    must(chown(c"d/f", OWNER, GROUP, 0));
    line("C45", "set-group-id without the right to execute", mode_of(c"d/f"));
    must(chmod(c"d", 0o6755));
    must(chown(c"d", 0, 0, 0));
    line("C45", "those of directories stay", mode_of(c"d"));
    must(chmod(c"d", 0o755));
    line("C45", "chown of a link", Plain(chown(c"d/l", 5, 6, SYMLINK_NOFOLLOW)));
    line("C45", "the link", mode_of(c"d/l"));
    line("C45", "the file", mode_of(c"d/f"));
    line("C45", "chown with unknown flags", Plain(chown(c"d/f", 1, 1, 0x40)));
    line("C45", "chmod of nothing", Plain(chmod(c"x", 0)));
}

fn using(who: &str, mode: usize) {
    let case = |what: &str, answer| line("C45", format_args!("{mode:o}, {who}: {what}"), Plain(answer));
    case("read", try_open(c"d/f", RDONLY));
    case("write", try_open(c"d/f", WRONLY));
    case("both", try_open(c"d/f", RDWR));
    case("mode 3", try_open(c"d/f", 3));
    case("empty", try_open(c"d/f", TRUNC));
    case("truncate", truncate(c"d/f", 0));
    for rights in 0..8 {
        line(
            "C45",
            format_args!("{mode:o}, {who}: access {rights}"),
            Plain(access(c"d/f", rights)),
        );
    }
    case("chown to itself", chown(c"d/f", OWNER, SAME, 0));
    case("chown to its group", chown(c"d/f", SAME, OTHER, 0));
    case("chown to another", chown(c"d/f", OTHER, SAME, 0));
    case("times now", utimens(c"d/f", None, 0));
    case("times", utimens(c"d/f", Some([1, 0, 1, 0]), 0));
    case("unlink", unlink(c"d/f"));
    case("a new file", try_open(c"d/new", CREAT | RDWR));
    // Whether others may is `fs.protected_hardlinks`, which every Linux sets as it likes.
    if who == "owner" {
        case("a new name", link(c"d/f", c"d/new"));
    }
    case("a new directory", mkdir(c"d/new"));
    case("over a file", mkdir(c"d/f"));
    case("rename", rename(c"d/f", c"d/new", 0));
    case("rmdir", rmdir(c"d"));
    case("chmod", chmod(c"d/f", 0o2644));
    line("C45", "is", mode_of(c"d/f"));
    case("mount", mount(c"d", c"tmpfs", 0, c""));
    case("umount", umount(c"/dev/shm", 0));
}

fn root() {
    must(chmod(c"d/f", 0));
    line("C45", "root without rights", Plain(try_open(c"d/f", RDWR)));
    line("C45", "root's access", Plain(access(c"d/f", 6)));
    line("C45", "root executes", Plain(access(c"d/f", 1)));
    must(chmod(c"d/f", 0o010));
    line("C45", "root executes what somebody may", Plain(access(c"d/f", 1)));
    line("C45", "unknown rights", Plain(access(c"d/f", 8)));
    line("C45", "rights to nothing", Plain(access(c"x", 0)));
    line("C45", "to a directory", Plain(access(c"d", 7)));
}

fn directories() {
    must(chmod(c"d/f", 0o666));
    for mode in [0o755, 0o744, 0o711, 0o777, 0o700] {
        must(chmod(c"d", mode));
        as_user(OTHER, OTHER, || {
            let case = |what: &str, answer| line("C45", format_args!("directory {mode:o}: {what}"), Plain(answer));
            case("a file in it", try_open(c"d/f", RDWR));
            case("what is in it", try_open(c"d", RDONLY));
            case("stat", stat_of(c"d/f").map(|_| 0));
            case("nothing in it", stat_of(c"d/x").map(|_| 0));
            case("a new name", symlink(c"x", c"d/new"));
            case("unlink it", unlink(c"d/new"));
            case("chdir", faultlab_programs::by_path::chdir(c"d"));
        });
    }
}

fn sticky() {
    must(chmod(c"d", 0o1777));
    must(chown(c"d/f", OWNER, GROUP, 0));
    as_user(OTHER, OTHER, || {
        line("C45", "sticky: unlink another's", Plain(unlink(c"d/f")));
        line("C45", "sticky: rename another's", Plain(rename(c"d/f", c"d/g", 0)));
        line("C45", "sticky: one's own", Plain(mkdir(c"d/own")));
        line("C45", "sticky: over another's", Plain(rename(c"d/own", c"d/f", 0)));
        line("C45", "sticky: remove one's own", Plain(rmdir(c"d/own")));
    });
    must(mknod(c"d/socket", 0o140_777, 0));
    must(chown(c"d/socket", OWNER, GROUP, 0));
    line(
        "C45",
        "sticky: open another's socket",
        Plain(try_open(c"d/socket", RDWR)),
    );
    line(
        "C45",
        "sticky: create over another's socket",
        Plain(try_open(c"d/socket", RDWR | CREAT)),
    );
    must(unlink(c"d/socket"));
    must(mkdir(c"d/s"));
    as_user(OTHER, OTHER, || {
        must(mkdir(c"own"));
    });
    must(chmod(c"d", 0o777));
    as_user(OTHER, OTHER, || {
        line(
            "C45",
            "a directory without the right to write moves",
            Plain(rename(c"d/s", c"own/s", 0)),
        );
        line("C45", "in its directory", Plain(rename(c"d/s", c"d/t", 0)));
    });
    must(rmdir(c"d/t"));
    must(rmdir(c"own"));
}

fn owners() {
    must(chmod(c"d", 0o777));
    as_user(OWNER, GROUP, || {
        must(create(c"d/mine"));
        line("C45", "a file of its maker", mode_of(c"d/mine"));
        line("C45", "give away", Plain(chown(c"d/mine", OTHER, SAME, 0)));
        line("C45", "to one's group", Plain(chown(c"d/mine", SAME, GROUP, 0)));
        line("C45", "to another group", Plain(chown(c"d/mine", SAME, OTHER, 0)));
        must(unlink(c"d/mine"));
    });
}

/// Directories that give their group.
fn inherited() {
    must(chown(c"d", 0, GROUP, 0));
    must(chmod(c"d", 0o2777));
    as_user(OTHER, OTHER, || {
        must(mkdir(c"d/sub"));
        line("C45", "a directory in a set-group-id directory", mode_of(c"d/sub"));
        must(create(c"d/sub/f"));
        line("C45", "a file in that", mode_of(c"d/sub/f"));
        must(unlink(c"d/sub/f"));
        must(rmdir(c"d/sub"));
    });
}
