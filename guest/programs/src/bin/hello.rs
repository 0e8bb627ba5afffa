//! `hello [STATUS] [ARGS...]`: prints its arguments and environment, one a line, and exits with STATUS (0 if that is
//! not a number up to 255). Shows what a kernel's program loader does.

#![no_std]
#![no_main]

use faultlab_programs::print::Bytes;
use faultlab_programs::start::Args;
use faultlab_programs::{parse, println};

faultlab_programs::program!(main);

fn main(args: Args) -> i32 {
    for index in 0..args.len() {
        println!("argv[{index}] = {}", Bytes(args.get(index).unwrap_or_default()));
    }
    for variable in args.environment() {
        println!("envp: {}", Bytes(variable));
    }
    let status = args.get(1).and_then(parse::number).filter(|status| *status <= 255);
    status.unwrap_or(0) as i32
}
