//! `rename`: C41.

use core::ffi::CStr;

use faultlab_programs::arena::{Plain, line, must};

use faultlab_programs::by_path::{Shown, create, link, mkdir, rename, rmdir, stat, stat_of, symlink, unlink};

const NOREPLACE: usize = 1;
const EXCHANGE: usize = 2;
const WHITEOUT: usize = 4;

pub(crate) fn show() {
    for name in [c"d", c"d/sub", c"e", c"full", c"full/x"] {
        must(mkdir(name));
    }
    for name in [c"f", c"g", c"d/h"] {
        must(create(name));
    }
    must(link(c"f", c"same"));
    must(symlink(c"d", c"to-d"));
    refused();
    replacing();
    flags();
    for name in [c"e/f", c"same", c"to-d", c"d/h"] {
        must(unlink(name));
    }
    for name in [c"e", c"d", c"full/x", c"full"] {
        must(rmdir(name));
    }
}

fn refused() {
    let cases: [(&CStr, &CStr, usize); 27] = [
        (c"x", c"y", 0),
        (c"f", c"x/y", 0),
        (c"f", c"g/y", 0),
        (c"f", c"d", 0),
        (c"d", c"f", 0),
        (c"e", c"full", 0),
        (c"d", c"d/sub/x", 0),
        (c"d", c"d", 0),
        (c"d/sub", c"d", 0),
        (c"f", c"same", 0),
        (c"f", c"f", 0),
        (c".", c"x", 0),
        (c"f", c"..", 0),
        (c"/", c"x", 0),
        (c"f/", c"x", 0),
        (c"f", c"x/", 0),
        (c"to-d/", c"x", 0),
        (c"f", c"/dev/x", 0),
        (c"f", c"g", NOREPLACE),
        (c"f", c"same", NOREPLACE),
        (c"f", c".", NOREPLACE),
        (c"f", c"x", EXCHANGE),
        (c"d", c"d/sub", EXCHANGE),
        (c"d/sub", c"d", EXCHANGE),
        (c"f", c"g", NOREPLACE | EXCHANGE),
        (c"f", c"g", WHITEOUT | EXCHANGE),
        (c"f", c"g", 8),
    ];
    for (old, new, flags) in cases {
        let names = [old, new].map(|name| name.to_str().unwrap_or("?"));
        let case = format_args!("{} to {} with {flags}", names[0], names[1]);
        line("C41", case, Plain(rename(old, new, flags)));
    }
    line("C41", "both names are there", Shown(stat(c"same")));
}

fn replacing() {
    let (ino, dir) = (stat(c"f").ino(), stat(c"d").ino());
    line("C41", "a file over a file", Plain(rename(c"f", c"g", 0)));
    line("C41", "is the file", stat(c"g").ino() == ino);
    line("C41", "which keeps its names", Shown(stat(c"g")));
    line("C41", "the old name", Plain(stat_of(c"f").map(|_| 0)));
    line(
        "C41",
        "a directory over an empty one",
        Plain(rename(c"d", c"full/x", 0)),
    );
    line("C41", "is the directory", stat(c"full/x").ino() == dir);
    line("C41", "where it was", Shown(stat(c".")));
    line("C41", "where it is", Shown(stat(c"full")));
    line("C41", "itself", Shown(stat(c"full/x")));
    line("C41", "its .. is", stat(c"full/x/..").ino() == stat(c"full").ino());
    line("C41", "back, with slashes", Plain(rename(c"full/x/", c"d/", 0)));
    must(mkdir(c"full/x"));
    line("C41", "a link", Plain(rename(c"to-d", c"d/l", 0)));
    line("C41", "and back", Plain(rename(c"d/l", c"to-d", 0)));
    line("C41", "into a directory", Plain(rename(c"g", c"e/f", 0)));
    line("C41", "its size", Shown(stat(c"e")));
}

fn flags() {
    let inodes = [stat(c"e/f").ino(), stat(c"d/sub").ino()];
    line(
        "C41",
        "exchange a file and a directory",
        Plain(rename(c"e/f", c"d/sub", EXCHANGE)),
    );
    line(
        "C41",
        "they changed places",
        [stat(c"d/sub").ino(), stat(c"e/f").ino()] == inodes,
    );
    line("C41", "one side", Shown(stat(c"e")));
    line("C41", "the other", Shown(stat(c"d")));
    line("C41", "exchange back", Plain(rename(c"d/sub", c"e/f", EXCHANGE)));
    let names = [c"d/1", c"d/2", c"d/3"];
    for name in names {
        must(create(name));
    }
    must(rename(c"d/1", c"d/2", EXCHANGE));
    crate::directories::list("after an exchange", c"d", 4096);
    for name in names {
        must(unlink(name));
    }
    line("C41", "to a new name", Plain(rename(c"d/sub", c"d/new", NOREPLACE)));
    must(rmdir(c"d/new"));
    line("C41", "leaving a whiteout", Plain(rename(c"d/h", c"h", WHITEOUT)));
    line("C41", "the whiteout", Shown(stat(c"d/h")));
    line("C41", "its device", stat(c"d/h").rdev());
    line("C41", "over the whiteout", Plain(rename(c"h", c"d/h", 0)));
}
