//! `crash MODE`: misbehaves in one known way, to test what a kernel makes of it.
//!
//! | mode | what it does | on Linux |
//! |---|---|---|
//! | `segv-null` | reads address 0 | SIGSEGV (139) |
//! | `segv-kernel` | reads the kernel's image | SIGSEGV (139) |
//! | `segv-readonly` | writes a read-only mapping | SIGSEGV (139) |
//! | `stack-overflow` | recurses until the stack ends | SIGSEGV (139) |
//! | `gp` | `hlt`, a privileged instruction | SIGSEGV (139) |
//! | `bus` | an unaligned load under alignment checks (`EFLAGS.AC`) | SIGBUS (135) |
//! | `ud2` | an undefined instruction | SIGILL (132) |
//! | `divide` | divides by zero | SIGFPE (136) |
//! | `panic` | a Rust panic | 101 |
//! | `oom BYTES` | a child stores to so many bytes; the parent, which stays small, tells how it ended | – |
//! | `exit N` | exits with status N | N |
//! | `loop` | spins for ever | – |

#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;

use faultlab_programs::print::Bytes;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::{eprintln, parse, println};
use linux_raw_sys::general::MAP_NORESERVE;

faultlab_programs::program!(main);

const MODES: &str = "segv-null segv-kernel segv-readonly stack-overflow gp bus ud2 divide panic loop, `oom BYTES`, or `exit N` with N up to 255";

/// Where Linux, and faultlab's guest, have the kernel's image.
const KERNEL_ADDRESS: usize = 0xffff_ffff_8010_0000;

fn main(args: Args) -> i32 {
    match (args.get(1).unwrap_or_default(), args.get(2)) {
        (b"segv-null", None) => read(0),
        (b"segv-kernel", None) => read(KERNEL_ADDRESS),
        (b"segv-readonly", None) => return write_readonly(),
        (b"stack-overflow", None) => println!("recursed to {}", recurse(0)),
        // SAFETY: raises #GP in ring 3, which ends the process.
        (b"gp", None) => unsafe { asm!("hlt", options(nomem, nostack)) },
        (b"bus", None) => load_unaligned(),
        // SAFETY: raises #UD, which ends the process.
        (b"ud2", None) => unsafe { asm!("ud2", options(nomem, nostack)) },
        (b"divide", None) => divide(),
        (b"panic", None) => panic!("asked to"),
        (b"loop", None) => loop {
            core::hint::spin_loop();
        },
        (b"oom", Some(bytes)) => match parse::size_bytes(bytes).and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) => return outlive(bytes),
            None => return usage(bytes),
        },
        (b"exit", Some(status)) => match parse::number(status).filter(|status| *status <= 255) {
            Some(status) => return status as i32,
            None => return usage(status),
        },
        (mode, _) => return usage(mode),
    }
    eprintln!("crash: still alive: the kernel let it pass");
    1
}

fn usage(what: &[u8]) -> i32 {
    eprintln!(
        "crash: \"{}\" is no mode with all its arguments; modes: {MODES}",
        Bytes(what)
    );
    USAGE
}

fn read(address: usize) {
    let value: u64;
    // SAFETY: in assembly, a load from an address that is not mapped is a fault and no undefined behaviour.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, readonly)) };
    println!("read {value:#x}");
}

fn write_readonly() -> i32 {
    match memory::map(PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1) {
        // SAFETY: the page is ours and nothing else refers to it; the store faults.
        Ok(page) => unsafe { asm!("mov qword ptr [{}], 1", in(reg) page, options(nostack)) },
        Err(errno) => eprintln!("crash: mmap of {PAGE_BYTES} bytes: {errno}"),
    }
    1
}

#[expect(unconditional_recursion, reason = "that is the point")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[depth as usize % frame.len()]
}

/// Tells how a child ended that stored to `bytes` bytes of private memory.
fn outlive(bytes: usize) -> i32 {
    let child = match process::fork() {
        Ok(Fork::Child) => {
            let pages = memory::map(
                bytes,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1,
            );
            let Ok(start) = pages else {
                return 1;
            };
            for at in (0..bytes).step_by(PAGE_BYTES) {
                // SAFETY: within the mapping, which nothing else refers to.
                unsafe { asm!("mov qword ptr [{}], 1", in(reg) start as usize + at, options(nostack)) };
            }
            return 0;
        }
        Ok(Fork::Parent(child)) => process::wait(child),
        Err(errno) => Err(errno),
    };
    match child {
        Ok(status) => println!("the child ended with {}", process::exit_status(status)),
        Err(errno) => eprintln!("crash: fork or wait: {errno}"),
    }
    0
}

fn load_unaligned() {
    let bytes = black_box([0u64; 2]);
    // SAFETY: the load stays within `bytes`; the flag is taken back, should the load succeed.
    unsafe {
        asm!(
            "pushfq", "or qword ptr [rsp], 0x40000", "popfq",
            "mov {value}, [{address} + 1]",
            "pushfq", "and qword ptr [rsp], ~0x40000", "popfq",
            value = out(reg) _,
            address = in(reg) bytes.as_ptr(),
        );
    }
}

fn divide() {
    // SAFETY: raises #DE, which ends the process.
    unsafe { asm!("div {0:e}", in(reg) 0u32, inout("eax") 1 => _, inout("edx") 0 => _, options(nomem, nostack)) };
}
