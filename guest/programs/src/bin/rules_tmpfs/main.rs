//! `rules-tmpfs`: exercises the rules of tmpfs, and prints a line for each rule and case: what this kernel does.
//!
//! As `rules-mmap`: on Linux it is the specification, and the guest must print the same, byte for byte. It mounts a tmpfs on `/dev/shm` and
//! stays in it; on Linux this needs root, and belongs into a mount namespace: `unshare --mount rules-tmpfs`.
//!
//! | file | rules |
//! |---|---|
//! | `names` | C40, C45: making and removing names, walking paths |
//! | `directories` | C39: sizes, links, numbers, listings, working directories |
//! | `rename` | C41 |
//! | `links` | C42: symbolic links |
//! | `special` | C43: files without names, device nodes, FIFOs; descriptors that are only places |
//! | `opening` | C19, C45: flags of `open`, what each says about what is there |
//! | `rights` | C45: who may do what |
//! | `times` | C23: what each call does to times |
//! | `content` | C12, C18, C22, C47, C51: sizes, holes and limits by path; mapped files |
//! | `posix` | C50: POSIX shared memory, as a C library does it |
//! | `options`, `limits` | C31 to C36: mounting |
//! | `ramfs` | C52 |

#![no_std]
#![no_main]

use faultlab_programs::arena::{ARENA_BYTES, Arena};
use faultlab_programs::by_path;
use faultlab_programs::eprintln;
use faultlab_programs::start::{Args, USAGE};

mod content;
mod directories;
mod limits;
mod links;
mod names;
mod opening;
mod options;
mod posix;
mod ramfs;
mod rename;
mod rights;
mod special;
mod times;

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    if args.len() > 1 {
        eprintln!("rules-tmpfs: takes no arguments");
        return USAGE;
    }
    let arena = match Arena::reserve() {
        Ok(arena) => arena,
        Err(errno) => {
            eprintln!("rules-tmpfs: mmap of {ARENA_BYTES} bytes: {errno}");
            return 1;
        }
    };
    if let Err(errno) = by_path::mount(c"/dev/shm", c"tmpfs", 0, c"size=4m").and_then(|_| by_path::chdir(c"/dev/shm")) {
        eprintln!("rules-tmpfs: mounting on /dev/shm: {errno}");
        return 1;
    }
    by_path::umask(0o022);
    names::show();
    directories::show();
    rename::show();
    links::show();
    special::show();
    opening::show();
    rights::show();
    times::show();
    content::show(&arena);
    posix::show(&arena);
    options::show();
    limits::show();
    ramfs::show(&arena);
    0
}
