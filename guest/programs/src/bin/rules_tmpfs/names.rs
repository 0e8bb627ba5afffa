//! Making and removing names, and walking paths: C40, C45.

use faultlab_programs::arena::{Plain, line, must};

use faultlab_programs::by_path::{
    CREAT, EXCL, Long, NOFOLLOW, Numbered, RDWR, Shown, create, link, mkdir, mknod, rmdir, stat, stat_of, symlink,
    try_open, unlink,
};

pub(crate) fn show() {
    making();
    removing();
    lengths();
    walking();
    loops();
}

fn making() {
    line("C40", "mkdir", Plain(mkdir(c"d")));
    line("C40", "mkdir again", Plain(mkdir(c"d")));
    line("C40", "mkdir with a slash", Plain(mkdir(c"e/")));
    line("C40", "mkdir of nothing", Plain(mkdir(c"")));
    line("C40", "mkdir of .", Plain(mkdir(c".")));
    line("C40", "mkdir of ..", Plain(mkdir(c"d/..")));
    line("C40", "mkdir of /", Plain(mkdir(c"/")));
    line("C40", "mkdir in nothing", Plain(mkdir(c"x/y")));
    line("C40", "a file", Plain(create(c"f")));
    line("C40", "again", Plain(create(c"f")));
    line(
        "C40",
        "again, if it must not be there",
        Plain(try_open(c"f", CREAT | EXCL)),
    );
    line("C40", "mkdir over a file", Plain(mkdir(c"f")));
    line("C40", "mkdir in a file", Plain(mkdir(c"f/d")));
    line("C40", "a file with a slash", Plain(create(c"g/")));
    line("C40", "a file with a slash, there", Plain(try_open(c"f/", RDWR)));
    line("C40", "a file in a file", Plain(create(c"f/g")));
    line("C40", "a node with a slash", Plain(mknod(c"g/", 0o100_644, 0)));
    line("C40", "a directory for writing", Plain(try_open(c"d", RDWR)));
    line("C40", "a directory to be made as a file", Plain(try_open(c"d", CREAT)));
    line("C40", "link of a file", Plain(link(c"f", c"d/l")));
    line("C40", "links", stat(c"f").links());
    line("C40", "link of a directory", Plain(link(c"d", c"e/l")));
    line("C40", "link of nothing", Plain(link(c"x", c"l")));
    line("C40", "link over a file", Plain(link(c"f", c"d/l")));
    line("C40", "link of a directory over a file", Plain(link(c"d", c"f")));
    line("C40", "link with a slash", Plain(link(c"f", c"l/")));
    line("C40", "link to another mount", Plain(link(c"f", c"/dev/l")));
}

fn removing() {
    line("C40", "rmdir of a file", Plain(rmdir(c"f")));
    line("C40", "rmdir of what is not empty", Plain(rmdir(c"d")));
    line("C40", "rmdir of nothing", Plain(rmdir(c"x")));
    line("C40", "rmdir of .", Plain(rmdir(c"d/.")));
    line("C40", "rmdir of ..", Plain(rmdir(c"d/..")));
    line("C40", "rmdir of /", Plain(rmdir(c"/")));
    line("C40", "unlink of a directory", Plain(unlink(c"d")));
    line("C40", "unlink of a directory with a slash", Plain(unlink(c"d/")));
    line("C40", "unlink of a file with a slash", Plain(unlink(c"f/")));
    line("C40", "unlink of .", Plain(unlink(c".")));
    line("C40", "unlink of nothing", Plain(unlink(c"x")));
    line("C40", "unlink of one name", Plain(unlink(c"f")));
    line("C40", "the other is there", Shown(stat(c"d/l")));
    line("C40", "unlink of the last", Plain(unlink(c"d/l")));
    line("C40", "rmdir", Plain(rmdir(c"d")));
    line("C40", "rmdir with a slash", Plain(rmdir(c"e/")));
    line("C40", "rmdir again", Plain(rmdir(c"e")));
}

fn lengths() {
    for length in [1, 8, 55, 56, 57, 255, 256] {
        let name = Long::of(b'n', length);
        line("C40", format_args!("a name of {length}"), Plain(create(name.path())));
        line("C40", "again", Plain(create(name.path())));
        line("C40", "unlink", Plain(unlink(name.path())));
    }
    for length in [4095, 4096] {
        let path = Long::of(b'/', length);
        line(
            "C40",
            format_args!("{length} slashes"),
            Plain(stat_of(path.path()).map(|_| 0)),
        );
    }
}

fn walking() {
    must(mkdir(c"a"));
    must(mkdir(c"a/b"));
    must(create(c"a/b/f"));
    must(symlink(c"b", c"a/l"));
    must(symlink(c"../a/b/", c"a/up"));
    must(symlink(c"/dev/shm/a", c"absolute"));
    must(symlink(c"nowhere", c"dangling"));
    must(symlink(c"a/b/f", c"to-file"));
    must(symlink(c"a/b/f/", c"to-file-slash"));
    let paths = [
        c"a/b/f",
        c"a//b///f",
        c"./a/./b/../b/f",
        c"a/b/../../a/b/f",
        c"a/l/f",
        c"a/up/f",
        c"absolute/l/f",
        c"a/b/f/",
        c"a/b/f/.",
        c"a/b/f/..",
        c"a/x/..",
        c"dangling",
        c"dangling/",
        c"dangling/x",
        c"to-file/x",
        c"/dev/shm/a/b/f",
    ];
    for path in paths {
        let name = path.to_str().unwrap_or("?");
        line("C45", name, Plain(stat_of(path).map(|_| 0)));
        line("C45", format_args!("{name}, opened"), Plain(try_open(path, 0)));
        line(
            "C45",
            format_args!("{name}, not followed"),
            Plain(try_open(path, NOFOLLOW)),
        );
    }
    line("C45", "a file through a link", Plain(try_open(c"to-file", RDWR)));
    line(
        "C45",
        "a file through a link with a slash",
        Plain(try_open(c"to-file-slash", RDWR)),
    );
    line(
        "C45",
        "a file through a link, exclusively",
        Plain(try_open(c"to-file", CREAT | EXCL)),
    );
    line("C45", "through a dangling link", Plain(try_open(c"dangling", CREAT)));
    line("C45", "which made", Plain(unlink(c"nowhere")));
    line("C45", "a directory over a dangling link", Plain(mkdir(c"dangling")));
    line(
        "C45",
        "a directory over a dangling link with a slash",
        Plain(mkdir(c"dangling/")),
    );
    line("C45", "rmdir of a link", Plain(rmdir(c"a/l")));
    line("C45", "rmdir of a link with a slash", Plain(rmdir(c"a/l/")));
    for name in [
        c"to-file",
        c"to-file-slash",
        c"dangling",
        c"absolute",
        c"a/up",
        c"a/l",
        c"a/b/f",
    ] {
        must(unlink(name));
    }
    must(rmdir(c"a/b"));
    must(rmdir(c"a"));
}

fn loops() {
    must(symlink(c"self", c"self"));
    line("C45", "a link to itself", Plain(stat_of(c"self/").map(|_| 0)));
    must(unlink(c"self"));
    must(mkdir(c"t"));
    must(symlink(c"t", Numbered::new(b'l', 0).path()));
    for number in 1..=40 {
        must(symlink(
            Numbered::new(b'l', number - 1).path(),
            Numbered::new(b'l', number).path(),
        ));
    }
    line("C45", "40 links", Plain(try_open(c"l039", 0)));
    line("C45", "41 links", Plain(try_open(c"l040", 0)));
    for number in 0..=40 {
        must(unlink(Numbered::new(b'l', number).path()));
    }
    must(rmdir(c"t"));
}
