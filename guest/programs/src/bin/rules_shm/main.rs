//! `rules-shm [SECTION...]`: what the kernel does in every case of System V shared memory, one line a case.
//!
//! Its output on Linux is the specification; the guest's must be the same byte for byte. A line holds the rule's number, the case, and
//! what came of it: an error, a relation between values, or a value that does not depend on the machine. It must be run by root in an
//! IPC namespace of its own (`unshare -i`), where the first segment has the ID 0.
//!
//! | section | rules |
//! |---|---|
//! | [`get`] | A1 to A17: `shmget` |
//! | [`rights`] | A7, A20, A34, A50 to A52, A54, A58: who may do what |
//! | [`attach`] | A28 to A39: `shmat` |
//! | [`detach`] | A41 to A48: `shmdt` |
//! | [`control`] | A49 to A58: `shmctl` |
//! | [`mappings`] | A40, A46, A67: `mremap`, `madvise`, `mlock` and their relatives on segments |
//! | [`process`] | A53, A60, A61, A65: `fork`, exit, being killed |
//! | [`limit`] | A10: the number of segments (only when named, since it takes 4096 of them) |

#![no_std]
#![no_main]

mod attach;
mod control;
mod detach;
mod get;
mod limit;
mod mappings;
mod process;
mod rights;
mod show;

use faultlab_programs::eprintln;
use faultlab_programs::print::Bytes;
use faultlab_programs::start::{Args, USAGE};

faultlab_programs::program!(main);

type Section = (&'static str, fn());

const SECTIONS: [Section; 7] = [
    ("get", get::run),
    ("rights", rights::run),
    ("attach", attach::run),
    ("detach", detach::run),
    ("control", control::run),
    ("mappings", mappings::run),
    ("process", process::run),
];
const LIMIT: Section = ("limit", limit::run);

fn main(args: Args) -> i32 {
    if args.len() <= 1 {
        for (_, run) in SECTIONS {
            run();
        }
        return 0;
    }
    for name in args.iter() {
        let mut sections = SECTIONS.iter().chain(core::iter::once(&LIMIT));
        let Some((_, run)) = sections.find(|(known, _)| known.as_bytes() == name) else {
            eprintln!(
                "rules-shm: \"{}\": give any of get, rights, attach, detach, control, mappings, process, limit",
                Bytes(name)
            );
            return USAGE;
        };
        run();
    }
    0
}
