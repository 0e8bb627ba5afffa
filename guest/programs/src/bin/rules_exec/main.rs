//! `rules-exec`: exercises the life of processes, and prints a line for each rule and case.
//!
//! As `rules-mmap`: on Linux it is the specification, and the guest must print the same, byte for byte. To see what `execve` leaves, it
//! executes itself.
//!
//! | file | what it shows |
//! |---|---|
//! | `replace` | execve(2): what is refused, what is kept and what ends; A61 |
//! | `waits` | wait4(2), waitid(2): how children ended, stopped, went on |
//! | `groups` | setpgid(2), setsid(2), kill(2) of groups |
//! | `sleep` | nanosleep(2), clock_nanosleep(2) |
//! | `inside` | what `execve` leaves, seen by the program that was executed |

#![no_std]
#![no_main]

use faultlab_programs::start::Args;

mod groups;
mod inside;
mod replace;
mod sleep;
mod waits;

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
    waits::show();
    groups::show();
    sleep::show();
    0
}
