//! Limits of mounts, other limits, and the end of mounts: C34 to C36.

use faultlab_programs::arena::{Plain, line, must};

use faultlab_programs::by_path::{
    CREAT, PATH, RDONLY, RDWR, Space, TMPFILE, WRONLY, chdir, chmod, create, link, mkdir, mknod, mount, need, rename,
    rmdir, stat, stat_of, stat_open, symlink, truncate, try_open, umount, unlink, utimens, write,
};

const READONLY: usize = 1;
const REMOUNT: usize = 0x20;
const DETACH: usize = 2;

pub(crate) fn show() {
    must(mkdir(c"m"));
    inodes();
    remounts();
    readonly();
    several();
    busy();
    detached();
    must(rmdir(c"m"));
}

fn inodes() {
    must(mount(c"m", c"tmpfs", 0, c"nr_inodes=7,size=64k"));
    line("C35", "the root", Space::of(c"m"));
    line("C35", "a file", Plain(create(c"m/f")));
    line("C35", "another name", Plain(link(c"m/f", c"m/g")));
    line("C35", "a directory", Plain(mkdir(c"m/d")));
    line("C35", "a link", Plain(symlink(c"f", c"m/l")));
    line("C35", "a node", Plain(mknod(c"m/n", 0o010_600, 0)));
    let unnamed = need(c"m", TMPFILE | RDWR);
    line("C35", "a file without a name", Space::of(c"m"));
    line("C35", "one more file", Plain(create(c"m/x")));
    line("C35", "one more name", Plain(link(c"m/f", c"m/x")));
    line("C35", "one more directory", Plain(mkdir(c"m/x")));
    line("C35", "one more link", Plain(symlink(c"f", c"m/x")));
    line("C35", "one more without a name", Plain(try_open(c"m", TMPFILE | RDWR)));
    line("C35", "a whiteout", Plain(rename(c"m/f", c"m/y", 4)));
    line(
        "C35",
        "a new name instead of an old one",
        Plain(rename(c"m/l", c"m/k", 0)),
    );
    drop(unnamed);
    line("C35", "it closed", Space::of(c"m"));
    let open = need(c"m/f", RDWR);
    must(write(&open, 0, 5000, 1));
    must(unlink(c"m/g"));
    line("C35", "one name less", Space::of(c"m"));
    must(unlink(c"m/f"));
    line("C35", "the last one, and open", Space::of(c"m"));
    drop(open);
    line("C35", "closed", Space::of(c"m"));
    must(umount(c"m", 0));
}

fn remounts() {
    must(mount(c"m", c"tmpfs", 0, c"nr_inodes=10,size=64k"));
    must(create(c"m/f"));
    must(write(&need(c"m/f", WRONLY), 0, 12288, 1));
    let options = [
        c"size=128k",
        c"size=8k",
        c"size=12k",
        c"nr_blocks=2",
        c"nr_inodes=1",
        c"nr_inodes=2",
        c"nr_inodes=100,size=4k",
        c"size=1m,nr_inodes=1",
        c"mode=700,uid=5,gid=5",
        c"noswap",
        c"nosuch",
        c"size=x",
        c"",
        c"nr_inodes=0",
        c"nr_inodes=100",
        c"size=0",
        c"size=1m",
        c"nr_blocks=1000",
    ];
    for options in options {
        line(
            "C34",
            options.to_str().unwrap_or("?"),
            Plain(mount(c"m", c"tmpfs", REMOUNT, options)),
        );
        line("C34", "space", Space::of(c"m"));
        line("C34", "root", format_args!("{:o}", stat(c"m").mode()));
    }
    line(
        "C34",
        "a directory that is no root",
        Plain(mount(c"m/f", c"tmpfs", REMOUNT, c"")),
    );
    must(umount(c"m", 0));
}

fn readonly() {
    must(mount(c"m", c"tmpfs", 0, c""));
    must(create(c"m/f"));
    must(mkdir(c"m/d"));
    let open = need(c"m/f", RDWR);
    line(
        "C34",
        "read-only, open for writing",
        Plain(mount(c"m", c"tmpfs", REMOUNT | READONLY, c"")),
    );
    drop(open);
    let open = need(c"m/f", RDONLY);
    line(
        "C34",
        "read-only",
        Plain(mount(c"m", c"tmpfs", REMOUNT | READONLY, c"")),
    );
    let cases = [
        ("a file", create(c"m/x")),
        ("a file that is there", create(c"m/f")),
        ("a directory", mkdir(c"m/x")),
        ("a directory that is there", mkdir(c"m/d")),
        ("a name", link(c"m/f", c"m/x")),
        ("a link", symlink(c"f", c"m/x")),
        ("unlink", unlink(c"m/f")),
        ("unlink of nothing", unlink(c"m/x")),
        ("rmdir", rmdir(c"m/d")),
        ("rename", rename(c"m/f", c"m/x", 0)),
        ("write", try_open(c"m/f", WRONLY)),
        ("read", try_open(c"m/f", RDONLY)),
        ("open or make", try_open(c"m/f", CREAT)),
        ("open or make nothing", try_open(c"m/x", CREAT)),
        ("truncate", truncate(c"m/f", 1)),
        ("chmod", chmod(c"m/f", 0o600)),
        ("times", utimens(c"m/f", None, 0)),
        ("a file without a name", try_open(c"m", TMPFILE | RDWR)),
    ];
    for (case, answer) in cases {
        line("C34", format_args!("read-only: {case}"), Plain(answer));
    }
    line("C34", "and back", Plain(mount(c"m", c"tmpfs", REMOUNT, c"")));
    line("C34", "a file", Plain(create(c"m/x")));
    drop(open);
    must(umount(c"m", 0));
    must(mount(c"m", c"tmpfs", READONLY, c""));
    line("C34", "read-only from the start", Plain(create(c"m/x")));
    must(umount(c"m", 0));
}

fn several() {
    must(mkdir(c"k"));
    must(mount(c"m", c"tmpfs", 0, c"size=4k,nr_inodes=50"));
    must(mount(c"k", c"tmpfs", 0, c"size=8k,nr_inodes=50"));
    must(create(c"m/f"));
    line("C36", "a file of another mount", Plain(stat_of(c"k/f").map(|_| 0)));
    line(
        "C36",
        "devices differ",
        stat(c"m").dev() != stat(c"k").dev() && stat(c"m").dev() != stat(c".").dev(),
    );
    line("C36", "numbers do not", stat(c"m").ino() == stat(c"k").ino());
    line("C36", "a name across", Plain(link(c"m/f", c"k/f")));
    line("C36", "a move across", Plain(rename(c"m/f", c"k/f", 0)));
    line("C36", "the directory under a mount", Plain(rmdir(c"k")));
    line("C36", "renamed", Plain(rename(c"k", c"j", 0)));
    line("C36", "over it", Plain(rename(c"m/f", c"k", 0)));
    line("C36", "up out of it", stat(c"k/..").ino() == stat(c".").ino());
    must(write(&need(c"m/f", WRONLY), 0, 4096, 1));
    line("C36", "one is full", Space::of(c"m"));
    line("C36", "the other is not", Space::of(c"k"));
    must(mount(c"k", c"tmpfs", 0, c"size=16k,nr_inodes=50"));
    line("C36", "mounted over", Space::of(c"k"));
    line("C36", "unmounted", Plain(umount(c"k", 0)));
    line("C36", "the one below", Space::of(c"k"));
    line("C36", "unmounted", Plain(umount(c"k", 0)));
    line("C36", "unmounted again", Plain(umount(c"k", 0)));
    line("C36", "on a file", Plain(mount(c"m/f", c"tmpfs", 0, c"")));
    must(umount(c"m", 0));
    line("C36", "what was in it", Plain(stat_of(c"m/f").map(|_| 0)));
    must(rmdir(c"k"));
}

fn busy() {
    must(mount(c"m", c"tmpfs", 0, c""));
    must(mkdir(c"m/d"));
    let file = need(c"m/f", CREAT | RDWR);
    line("C36", "with an open file", Plain(umount(c"m", 0)));
    drop(file);
    let dir = need(c"m/d", RDONLY);
    line("C36", "with an open directory", Plain(umount(c"m", 0)));
    drop(dir);
    let place = need(c"m/f", PATH);
    line("C36", "with a place", Plain(umount(c"m", 0)));
    drop(place);
    must(chdir(c"m/d"));
    line("C36", "with a working directory", Plain(umount(c"/dev/shm/m", 0)));
    must(chdir(c"/dev/shm"));
    must(mount(c"m/d", c"tmpfs", 0, c""));
    line("C36", "with another mount", Plain(umount(c"m", 0)));
    must(umount(c"m/d", 0));
    line("C36", "a directory that is no root", Plain(umount(c"m/d", 0)));
    line("C36", "unused", Plain(umount(c"m", 0)));
}

fn detached() {
    must(mount(c"m", c"tmpfs", 0, c"size=64k,nr_inodes=50"));
    let file = need(c"m/f", CREAT | RDWR);
    must(mkdir(c"m/d"));
    must(mount(c"m/d", c"tmpfs", 0, c""));
    let dir = need(c"m", RDONLY);
    line("C36", "detached in use", Plain(umount(c"m", DETACH)));
    line("C36", "the directory again", stat(c"m").dev() == stat(c".").dev());
    line("C36", "its file", Plain(write(&file, 0, 100, 1)));
    line("C36", "its size", stat_open(&file).size());
    let from = |flags| faultlab_programs::by_path::open_at(dir.0, c"f", flags, 0);
    line(
        "C36",
        "opened from its directory",
        Plain(from(RDWR).map(|number| {
            drop(faultlab_programs::by_path::Open(number));
            0
        })),
    );
    line("C36", "its space", Space::of_open(&file));
    drop((file, dir));
    line("C36", "detached again", Plain(umount(c"m", DETACH)));
}
