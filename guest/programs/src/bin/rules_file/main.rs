//! `rules-file`: exercises the rules of memory files (`memfd_create`), and prints a line for each rule and case: what this kernel does.
//!
//! As `rules-mmap`: on Linux it is the specification, and the guest must print the same, byte for byte.
//!
//! | file | rules |
//! |---|---|
//! | `descriptors` | dup(2), fcntl(2), fork(2): numbers and what they share |
//! | `io` | C13 to C15, C18 to C21: reading, writing, size, seeking |
//! | `space` | C24 to C28: `fallocate` |
//! | `seals` | C46 to C49 |
//! | `mappings` | B5 to B7, B14, B23, B33, B34, B36 to B42, B44: files in address spaces |

#![no_std]
#![no_main]

use faultlab_programs::arena::{ARENA_BYTES, Arena};
use faultlab_programs::eprintln;
use faultlab_programs::start::{Args, USAGE};

mod descriptors;
mod file;
mod io;
mod mappings;
mod seals;
mod space;

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    if args.len() > 1 {
        eprintln!("rules-file: takes no arguments");
        return USAGE;
    }
    let arena = match Arena::reserve() {
        Ok(arena) => arena,
        Err(errno) => {
            eprintln!("rules-file: mmap of {ARENA_BYTES} bytes: {errno}");
            return 1;
        }
    };
    descriptors::show();
    io::show(&arena);
    space::show(&arena);
    seals::show(&arena);
    mappings::show(&arena);
    0
}
