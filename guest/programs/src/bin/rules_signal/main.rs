//! `rules-signal`: exercises signals, and above all what a fault tells the program: prints a line for each rule and case.
//!
//! As `rules-mmap`: on Linux it is the specification, and the guest must print the same, byte for byte. Faults are taken by a handler that
//! notes what it is told and goes on elsewhere ([`attempt`]), so that a case costs no process.
//!
//! | file | what it shows |
//! |---|---|
//! | `attempt` | – |
//! | `accesses` | B36 and others: `si_code` and `si_addr` of every access that memory refuses |
//! | `exceptions` | the other exceptions: sigaction(2), `si_code` |
//! | `actions` | sigaction(2), sigprocmask(2), sigpending(2), sigsuspend(2), kill(2), fork(2) |
//! | `frames` | sigaltstack(2), sigreturn(2), and frames that nobody should believe |

#![no_std]
#![no_main]

use faultlab_programs::arena::{ARENA_BYTES, Arena};
use faultlab_programs::eprintln;
use faultlab_programs::start::{Args, USAGE};

mod accesses;
mod actions;
mod attempt;
mod exceptions;
mod frames;

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    if args.len() > 1 {
        eprintln!("rules-signal: takes no arguments");
        return USAGE;
    }
    let arena = match Arena::reserve() {
        Ok(arena) => arena,
        Err(errno) => {
            eprintln!("rules-signal: mmap of {ARENA_BYTES} bytes: {errno}");
            return 1;
        }
    };
    accesses::show(&arena);
    exceptions::show(&arena);
    actions::show();
    frames::show(&arena);
    0
}
