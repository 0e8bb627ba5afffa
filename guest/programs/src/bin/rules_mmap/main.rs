//! `rules-mmap`: exercises the rules of `mmap` and its relatives, and prints a line for each rule and case: what this kernel does.
//!
//! On Linux it prints what Linux does, which makes it the specification: the guest must print the same, byte for byte. Lines hold
//! errors, contents and relations of addresses, never addresses. Every case works on an arena of its own ([`faultlab_programs::arena`]), so that none
//! depends on what else is mapped; accesses that kill are made by a forked child.
//!
//! | file | rules |
//! |---|---|
//! | `arguments` | B1 to B4, B8 to B12, B14: what `mmap` is asked for |
//! | `layout` | B13, B18, B22 to B26: mappings become one, or several |
//! | `remap` | B27, B28: `mremap` |
//! | `residency` | B29 to B31: `msync`, `mincore`, `mlock` |
//! | `advice` | B32 to B35: `madvise` |
//! | `limits` | B12, B13, B15, B17, B19, B31: what a process may map and lock, and which error comes first |
//! | `faults` | B11, B36, B41, B46: accesses, stacks, `fork` |

#![no_std]
#![no_main]

use faultlab_programs::arena::{ARENA_BYTES, Arena};
use faultlab_programs::eprintln;
use faultlab_programs::start::{Args, USAGE};

mod advice;
mod arguments;
mod faults;
mod layout;
mod limits;
mod remap;
mod residency;

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    if args.len() > 1 {
        eprintln!("rules-mmap: takes no arguments");
        return USAGE;
    }
    let arena = match Arena::reserve() {
        Ok(arena) => arena,
        Err(errno) => {
            eprintln!("rules-mmap: mmap of {} bytes: {errno}", ARENA_BYTES);
            return 1;
        }
    };
    arguments::show(&arena);
    layout::show(&arena);
    remap::show(&arena);
    residency::show(&arena);
    advice::show(&arena);
    faults::show(&arena);
    limits::show(&arena);
    0
}
