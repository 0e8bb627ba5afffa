//! `execve` as the program that was executed sees it.

use core::arch::asm;

use faultlab_programs::arena::{Plain, line, must};
use faultlab_programs::print::Bytes;
use faultlab_programs::start::Args;
use faultlab_programs::sys::signals::{self, AltStack};
use faultlab_programs::sys::{files, process, sysv_shm};
use faultlab_programs::{parse, println};
use linux_raw_sys::general::{F_GETFD, SIGUSR1, SIGUSR2};

pub(crate) fn show(args: &Args) -> i32 {
    let number = |index| args.get(index).and_then(parse::number).unwrap_or(0) as usize;
    match args.get(1) {
        Some(b"arguments") => arguments(args),
        Some(b"signals") => state(),
        Some(b"parent") => return process::parent_id() & 0x7f,
        Some(b"attached") => {
            let stat = sysv_shm::stat(number(2) as i32);
            line("A61", "after execve", stat.map_or(0, |stat| stat.nattch));
        }
        Some(b"descriptors") => descriptors(number(2), number(3)),
        Some(b"nothing") => {}
        _ => return 98,
    }
    0
}

pub(crate) fn arguments(args: &Args) {
    for index in 0..args.len() {
        println!(
            "execve argument {index}: \"{}\"",
            Bytes(args.get(index).unwrap_or_default())
        );
    }
    for variable in args.environment() {
        println!("execve environment: \"{}\"", Bytes(variable));
    }
}

fn state() {
    for (case, signal) in [("handled", SIGUSR1), ("ignored", SIGUSR2)] {
        let action = must(signals::current_action(signal).map(|action| action.handler));
        let flags = must(signals::current_action(signal).map(|action| action.flags as usize));
        line("execve", case, format_args!("{action}, flags {flags:#x}"));
    }
    line(
        "execve",
        "blocked",
        format_args!("{:#x}", must(signals::mask(0, 0).map(|mask| mask as usize))),
    );
    line("execve", "pending", format_args!("{:#x}", signals::pending()));
    let mut stack = AltStack::default();
    // SAFETY: fills `stack`.
    must(unsafe { signals::sigaltstack([0, &raw mut stack as usize]) });
    line(
        "execve",
        "alternate stack",
        format_args!("{} bytes, flags {}", stack.size, stack.flags),
    );
    const ARCH_GET_GS: usize = 0x1004;
    let mut base = 0usize;
    // SAFETY: fills `base`.
    must(unsafe { process::arch_prctl([ARCH_GET_GS, &raw mut base as usize]) });
    line("execve", "GS", base);
    let (mut control, mut mxcsr) = (0u16, 0u32);
    // SAFETY: fills both.
    unsafe { asm!("fnstcw [{}]", "stmxcsr [{}]", in(reg) &raw mut control, in(reg) &raw mut mxcsr, options(nostack)) };
    line("execve", "floating point", format_args!("{control:#x} {mxcsr:#x}"));
}

fn descriptors(kept: usize, closed: usize) {
    let mut content = [0u8; 1];
    // SAFETY: fills `content`.
    let answer = unsafe { files::pread([kept, content.as_mut_ptr() as usize, 1, 0]) };
    line("execve", "a descriptor", Plain(answer));
    line("execve", "its content", content[0]);
    // SAFETY: touches no memory.
    let answer = unsafe { files::fcntl([closed, F_GETFD as usize, 0]) };
    line("execve", "FD_CLOEXEC", Plain(answer));
}
