//! faultlab's guest kernel: everything between the machine and the memory manager.
//!
//! One vCPU, one kernel stack, interrupts off in ring 0, which is never preempted (programs are): each entry from a program runs to its end
//! and leaves to a program. A call that must wait puts its process to sleep and is made again when the process wakes
//! (its RIP is set back to the `syscall` instruction), so that no process needs a kernel stack of its own.
//!
//! | module | what it is |
//! |---|---|
//! | [`boot`] | entry, the static page tables, `kmain` |
//! | [`ram`] | direct map, fixmap, what lies where in RAM |
//! | [`segments`], [`interrupts`], [`entry`] | GDT and TSS, IDT, the ways into ring 0 and out of it |
//! | [`trap`] | page faults and other exceptions |
//! | [`gate`], [`ring3`] | how system calls enter on this host; instructions that ring 0 may lack |
//! | [`syscall`] | system calls |
//! | [`rootfs`] | the root file system, from the initrd |
//! | [`process`], [`sched`], [`preempt`], [`timers`], [`times`], [`clone`], [`exit`], [`signal`], [`fpu`], [`exec`] | processes |
//! | [`platform`], [`uaccess`] | what the memory manager needs, and the programs' memory |
//! | [`virtio`], [`swap_disk`], [`lab`], [`terminal`], [`serial`] | devices |
//! | [`log`], [`panic`], [`trace`], [`strace`], [`vmstat`], [`clock`] | what is known from outside |
//! | [`x86`], [`global`], [`memory_functions`] | instructions, shared state, `memcpy` and its family |
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
mod clock;
mod clone;
mod entry;
mod exec;
mod exit;
mod fpu;
mod gate;
mod global;
mod interrupts;
mod lab;
mod log;
mod memory_functions;
mod out;
mod page_wait;
mod panic;
mod platform;
mod preempt;
mod proc;
mod process;
mod ram;
mod random;
mod ring3;
mod rootfs;
mod rseq;
mod sched;
mod segments;
mod serial;
mod signal;
mod strace;
mod swap_disk;
mod syscall;
mod terminal;
mod timers;
mod times;
mod trace;
mod trap;
mod uaccess;
mod virtio;
mod vmstat;
mod x86;
