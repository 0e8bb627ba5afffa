//! faultlab's guest kernel: everything between the machine and the memory manager.
//!
//! One vCPU, one kernel stack, interrupts off in ring 0, which is never preempted (programs are): each entry from a program runs to its end
//! and leaves to a program. A call that must wait puts its process to sleep and is made again when the process wakes
//! (its RIP is set back to the `syscall` instruction), so that no process needs a kernel stack of its own.
//!
//! | module | what it is |
//! |---|---|
//! | [`boot`] | entry, the static page tables, `kmain`, the root file system |
//! | [`entry`] | the ways into ring 0 and out of it: page faults, exceptions, system calls |
//! | [`cpu`] | what the CPU defines: registers, descriptor tables, vector registers |
//! | [`mem`] | what lies where in RAM, what the memory manager needs, the memory of programs |
//! | [`task`] | processes: their lives, turns, times and signals |
//! | [`syscall`] | system calls |
//! | [`dev`] | devices |
//! | [`report`] | what is known from outside |
//! | [`global`] | shared state |
//!
//! What has a format but needs no machine is the library of this package (`lib.rs`), tested on the host.
//!
//! # Ring 0 is slow on some hosts
//! Where KVM interprets ring 0, each instruction here costs about a microsecond, and vector instructions stop the
//! machine. So the paths of a page fault and of a system call are counted in instructions, and nothing here uses
//! `core::fmt`.

#![no_std]
#![no_main]

mod boot;
mod cpu;
mod dev;
mod entry;
mod global;
mod mem;
mod report;
mod syscall;
mod task;
