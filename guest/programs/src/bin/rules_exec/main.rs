//! `rules-exec`: exercises the life of processes, and prints a line for each rule and case.
//!
//! As `rules-mmap`: on Linux it is the specification, and the guest must print the same, byte for byte. To see what `execve` leaves, it
//! executes itself.
//!
//! | file | what it shows |
//! |---|---|
//! | `replace` | execve(2): what is refused, what is kept and what ends; A61 |
//! | `inside` | the same, seen by the program that was executed |

#![no_std]
#![no_main]

use faultlab_programs::start::Args;

mod inside;
mod replace;

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    if args.len() > 1 {
        return inside::show(&args);
    }
    // Without arguments, the environment says so.
    if args.environment().any(|variable| variable == b"INSIDE=arguments") {
        inside::arguments(&args);
        return 0;
    }
    replace::show();
    0
}
