//! `rules-random`: calls drawn from a seed, made in turn by up to four processes, with the outcome of each.
//!
//! On Linux it prints what Linux does, which makes it the specification: the guest must print the same, byte for byte. What is drawn depends on
//! the seed and the call's number alone, so that `--only` can leave calls out until none of those that remain can be spared.
//! Lines hold errors, contents and numbers of pages and processes, never addresses or process IDs. Nothing is shown that depends on how much
//! memory there is: what is in memory, and what is on the swap disk, programs must not notice.
//!
//! | file | what is drawn |
//! |---|---|
//! | `space` | `mmap` and its relatives, loads and stores, in an arena at a fixed address |
//! | `segments` | System V shared memory |
//! | `memory_files` | `memfd_create` and descriptors |
//! | `paths` | names on a small tmpfs, which it mounts: on Linux this needs root, and belongs into a mount namespace |
//! | `stage` | `fork`, and ends of processes, wanted and unwanted |

#![no_std]
#![no_main]

use core::fmt::Display;

use draw::Draw;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys::{self, process};
use faultlab_programs::{eprintln, println};
use options::{Options, USAGE_TEXT};
use stage::Stage;

mod draw;
mod memory_files;
mod options;
mod paths;
mod segments;
mod space;
mod stage;

faultlab_programs::program!(main);

/// The call that is made, for the line that shows it.
struct Call {
    number: u32,
    process: usize,
}

impl Call {
    fn show(&self, what: impl Display, outcome: impl Display) {
        println!("{} p{} {what}: {outcome}", self.number, self.process);
    }
}

fn main(args: Args) -> i32 {
    let Some(options) = Options::parse(&args) else {
        eprintln!("rules-random: {USAGE_TEXT}");
        return USAGE;
    };
    if let Err(errno) = paths::set() {
        eprintln!("rules-random: mounting on /dev/shm: {errno}");
        return 1;
    }
    let mut stage = Stage::set();
    loop {
        let mut number = stage.wait_for_turn();
        while number < options.calls && !options.has(number) {
            number += 1;
        }
        if number >= options.calls {
            if stage.is_alone() {
                break;
            }
            stage.end_in_turn(number);
            continue;
        }
        let mut draw = Draw::of(options.seed, number);
        let choice = draw.below(12);
        let call = Call {
            number,
            process: stage.me,
        };
        let parent = stage.me;
        make(&mut stage, &call, &mut draw);
        // A new child waits for its turn, which its parent passes.
        if stage.me == parent {
            stage.pass(number + 1, choice);
        }
    }
    segments::remove_all();
    segments::show_totals();
    0
}

fn make(stage: &mut Stage, call: &Call, draw: &mut Draw) {
    match draw.below(28) {
        0..=8 => space::make(stage, call, draw),
        9..=13 => segments::make(stage, call, draw),
        14..=17 => memory_files::make(call, draw),
        18..=25 => paths::make(call, draw),
        26 => fork(stage, call),
        _ => end(stage, call, draw),
    }
}

fn fork(stage: &mut Stage, call: &Call) {
    let parent = stage.me;
    match stage.fork() {
        Ok(None) => call.show("fork", "enough"),
        Ok(Some(new)) if stage.me == parent => call.show("fork", format_args!("p{new}")),
        Ok(Some(_)) => {}
        Err(errno) => call.show("fork", errno),
    }
}

fn end(stage: &Stage, call: &Call, draw: &mut Draw) {
    if !stage.may_end() {
        return call.show("end", "stays");
    }
    match draw.below(4) {
        0 => {
            call.show("exit", "7");
            stage.announce_end(call.number + 1);
            sys::exit(7);
        }
        1 => {
            call.show("store to nowhere", "dies");
            stage.announce_end(call.number + 1);
            faultlab_programs::arena::poke(8, 1);
        }
        _ => match process::become_user(1000, 1000) {
            Ok(()) => call.show("become a user", "ok"),
            Err(errno) => call.show("become a user", errno),
        },
    }
}
