//! Options of mounts: C31 to C33.

use core::ffi::CStr;

use faultlab_programs::arena::{Plain, line, must};

use faultlab_programs::by_path::{Space, mkdir, mount, rmdir, stat, umount};

pub(crate) fn show() {
    must(mkdir(c"m"));
    accepted();
    refused();
    defaults();
    must(rmdir(c"m"));
}

fn accepted() {
    let options: [&CStr; 18] = [
        c"size=300000,nr_inodes=100",
        c"size=64k,nr_inodes=1k",
        c"size=1M,nr_inodes=0x10",
        c"size=0x10000,nr_inodes=010",
        c"nr_blocks=10,nr_inodes=7",
        c"nr_blocks=2k,nr_inodes=7",
        c"size=1g,nr_blocks=3,nr_inodes=2",
        c"nr_blocks=3,size=1g,nr_inodes=2",
        c"size=0,nr_inodes=0",
        c"size=1,nr_inodes=1",
        c"size=8k,nr_inodes=9,mode=755",
        c"size=8k,nr_inodes=9,mode=7777,uid=5,gid=6",
        c"size=8k,nr_inodes=9,mode=0",
        c"size=8k,nr_inodes=9,huge=never",
        c"size=8k,nr_inodes=9,inode32",
        c"size=8k,nr_inodes=9,inode64,noswap",
        c",,size=8k,,nr_inodes=9,",
        c"size=8k,size=12k,nr_inodes=9",
    ];
    for options in options {
        let text = options.to_str().unwrap_or("?");
        line("C31", text, Plain(mount(c"m", c"tmpfs", 0, options)));
        line("C33", "space", Space::of(c"m"));
        let (mode, owner) = (stat(c"m").mode(), stat(c"m").owner());
        line("C31", "root", format_args!("{mode:o} of {} and {}", owner.0, owner.1));
        must(umount(c"m", 0));
    }
}

fn refused() {
    let options: [&CStr; 24] = [
        c"size=",
        c"size",
        c"size=x",
        c"size=10q",
        c"size=10kk",
        c"size=10%k",
        c"nr_blocks=x",
        c"nr_blocks=10%",
        c"nr_inodes=x",
        c"nr_inodes=-",
        c"nr_inodes=1 ",
        c"mode=8",
        c"mode=rw",
        c"mode=",
        c"uid=x",
        c"uid=-1",
        c"gid=4294967296",
        c"gid=",
        c"huge=sometimes",
        c"huge",
        c"noswap=1",
        c"inode32=1",
        c"nosuch",
        c"nosuch=1",
    ];
    for options in options {
        line(
            "C31",
            options.to_str().unwrap_or("?"),
            Plain(mount(c"m", c"tmpfs", 0, options)),
        );
    }
    line("C31", "an unknown kind", Plain(mount(c"m", c"nosuchfs", 0, c"")));
    line("C31", "on nothing", Plain(mount(c"x", c"tmpfs", 0, c"")));
    line(
        "C31",
        "on a mount that is none, again",
        Plain(mount(c"m", c"tmpfs", 0x20, c"")),
    );
    line("C31", "unmounting what is none", Plain(umount(c"m", 0)));
    line("C31", "unmounting nothing", Plain(umount(c"x", 0)));
    line("C31", "unmounting with unknown flags", Plain(umount(c"m", 0x100)));
}

/// Half of memory. Sizes differ from machine to machine, relations do not.
fn defaults() {
    must(mount(c"m", c"tmpfs", 0, c""));
    let space = Space::of(c"m");
    line("C32", "as many files as blocks", space.files() == space.blocks());
    line("C32", "root", format_args!("{:o}", stat(c"m").mode()));
    let half = space.blocks();
    must(umount(c"m", 0));
    must(mount(c"m", c"tmpfs", 0, c"size=50%"));
    line("C32", "half of memory", Space::of(c"m").blocks().abs_diff(half) <= 1);
    must(umount(c"m", 0));
    must(mount(c"m", c"tmpfs", 0, c"size=100%"));
    line("C32", "all of it", Space::of(c"m").blocks().abs_diff(2 * half) <= 2);
    must(umount(c"m", 0));
}
