//! The lab device: one page of registers, and commands that the guest leaves in its memory.
//!
//! To issue a command the guest fills a [`Command`] at an 8-byte aligned guest-physical address and writes that
//! address to [`reg::DOORBELL`]. The VMM carries the command out before the write returns, and stores
//! [`Command::status`]: 0, or a negative Linux `errno` (`-EINVAL` for values out of range, `-EFAULT` for addresses
//! outside RAM, `-ENOSYS` for an unknown kind, `-EOPNOTSUPP` for what this VM cannot, `-EIO` if the host fails). A doorbell address outside RAM or unaligned is counted and ignored.
//!
//! The guest is hostile: the VMM copies the command once, checks every address and length against RAM and the limits
//! stated here, and never trusts a second read.

use core::mem::{offset_of, size_of};

/// Register offsets in the page at [`crate::layout::LAB_MMIO`]. Accesses must have the stated width; others read as
/// zero and are ignored when writing.
pub mod reg {
    /// Read, 32 bits: [`super::MAGIC`].
    pub const MAGIC: u64 = 0x00;
    /// Read, 32 bits: [`crate::VERSION`].
    pub const VERSION: u64 = 0x04;
    /// Write, 64 bits: guest-physical address of a [`super::Command`].
    pub const DOORBELL: u64 = 0x10;
    /// Read, 64 bits: wall-clock time, nanoseconds since 1970-01-01 UTC.
    pub const WALLCLOCK_NS: u64 = 0x18;
    /// Write, 64 bits: nanoseconds from now after which [`super::TIMER_VECTOR`] interrupts the guest, as soon as that takes interrupts. One
    /// shot; replaces what was written before; 0: none.
    pub const TIMER_NS: u64 = 0x20;
    /// Write, 64 bits: the store takes at most so many nanoseconds, less if the VMM has something to tell: for a guest with nothing to do.
    /// The time of [`TIMER_NS`] ends it too.
    pub const IDLE_NS: u64 = 0x28;
}

/// Vector of the timer's interrupt: the first that is no exception's.
pub const TIMER_VECTOR: u8 = 32;

/// "FLAB", little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FLAB");

/// One command. `kind` is one of [`kind`]; the meaning of `args` is given there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Command {
    /// One of [`kind`].
    pub kind: u32,
    /// Written by the VMM: 0 or a negative `errno`.
    pub status: i32,
    /// Arguments, by kind; unused ones are 0.
    pub args: [u64; 6],
}

/// Kinds of [`Command`] and their arguments.
pub mod kind {
    /// First command of every boot. `args[0]`: guest-physical address of a [`super::Hello`].
    pub const HELLO: u32 = 1;
    /// Program output. `args`: stream (0 the terminal, 1 stdout, 2 stderr), guest-physical address, bytes (at most 4096 and within
    /// one page).
    pub const WRITE: u32 = 2;
    /// The last process ended: the VM is to stop. `args[0]`: its wait status as `wait4` encodes it.
    pub const EXIT: u32 = 3;
    /// The kernel cannot go on. `args[0]`: guest-physical address of a [`super::Panic`]. Does not return.
    pub const PANIC: u32 = 4;
    /// A line of the kernel's log. `args`: level ([`super::log_level`]), guest-physical address, bytes (at most 512).
    pub const LOG: u32 = 5;
    /// A measured phase begins. `args[0]`: guest-physical address of a [`super::Phase`].
    pub const PHASE_BEGIN: u32 = 6;
    /// The phase ends. `args[0]`: guest-physical address of the same [`super::Phase`], its counters read again.
    pub const PHASE_END: u32 = 7;
    /// Samples of the phase that ended last. `args`: guest-physical address of `u64` cycle counts, how many
    /// (at most 512, within one page). Several follow each other when there are more.
    pub const SAMPLES: u32 = 8;
    /// Drop the host's backing of pages of RAM or of the window, so that their next touch is a second-level violation.
    /// `args`: guest-physical address of an array of [`super::PageRange`], entries (at most 256). See [`crate::dev::COLD`].
    pub const COLD: u32 = 9;
    /// The measurement of `args[0]` scenarios begins (for the progress bar).
    pub const PLAN: u32 = 10;
    /// How memory is backed. `args[0]`: guest-physical address of a [`crate::dev::HostInfo`] to fill.
    pub const HOST_INFO: u32 = 11;
    /// Back pages. `args` as for [`COLD`]. See [`crate::dev::WARM`].
    pub const WARM: u32 = 12;
    /// Count backed pages. `args` as for [`COLD`], then the guest-physical address of a `u64` for the answer. See
    /// [`crate::dev::PRESENT`].
    pub const PRESENT: u32 = 13;
    /// Write-protect pages of the window. `args` as for [`COLD`]. See [`crate::dev::WRITE_PROTECT`].
    pub const WRITE_PROTECT: u32 = 14;
    /// Count dirty pages of the window. `args` as for [`PRESENT`]. See [`crate::dev::DIRTY_PAGES`].
    pub const DIRTY_PAGES: u32 = 15;
    /// Switch the dirty log off.
    pub const DIRTY_STOP: u32 = 16;
    /// So many `hlt` instructions follow that are not the end: `args[0]` of them (at most 65,536), each woken as `args[1]` says: 0 at once,
    /// 1 by another thread. A new command replaces what is left of the last.
    pub const HALTS: u32 = 17;
    /// A row of the plan will not come. `args[0]`: guest-physical address of a [`crate::dev::SkipArgs`].
    pub const SKIP: u32 = 18;
    /// A system call, a signal or an end, for `--strace`. `args[0]`: guest-physical address of a [`super::CallRecord`].
    pub const CALL: u32 = 19;
    /// What is typed, or comes in otherwise. `args`: guest-physical address, bytes (at most 4096 and within one page; 0 only asks), guest-physical
    /// address of a `u64` for the answer: bytes, 0 at the end of the input, [`super::NOTHING_YET`]. When there is nothing yet, the VMM ends the idle
    /// wait that follows as soon as there is, and, with a terminal, interrupts. Where nothing was read: 1 if a read would not wait.
    /// `args[3]`: 1 if a program wants what is typed on a terminal, which is then taken as it is; 0 if there may be signals in it.
    pub const INPUT: u32 = 20;
    /// Size of the terminal's window. `args[0]`: guest-physical address of a `u64` for the answer: rows, columns, and both in pixels, 16 bits each.
    pub const WINDOW_SIZE: u32 = 21;
    /// The next place that the VMM wants files of ([`crate::layout::CMDLINE_OUT`]), now that the first program has ended. `args`: guest-physical address,
    /// bytes there (4096), guest-physical address of a `u64` for the answer: bytes of an absolute path, no NUL, or 0 when there are no more. What
    /// follows is about that place, until [`OUT_NEXT`] comes again: [`OUT_ENTRY`] for the file, link or directory itself, or [`OUT_END`] with why not.
    pub const OUT_NEXT: u32 = 22;
    /// Something at that place, or in the directory that was entered last and not ended. `args`: mode as in `st_mode` (a file, a directory or a link),
    /// bytes of the file, number of the inode, guest-physical address of the name, guest-physical address of a link's target, bytes of the
    /// name (at most 255; none for the place itself) and, times 2^32, of the target (at most 4095). A file's pages follow in order, a directory's
    /// entries in any; both have an [`OUT_END`], links do not. `-EEXIST`: the file is there by another name, and its pages and end are not wanted.
    /// Any other error ends the place.
    pub const OUT_ENTRY: u32 = 23;
    /// Content of the file that was begun. `args`: index of a page in it, larger than those before, guest-physical address of the addresses of it and of the pages behind it, how many (at most
    /// 64). What is left out is a hole.
    pub const OUT_PAGES: u32 = 24;
    /// The file or directory is complete. `args[0]`: 0, or a positive `errno`: why the place cannot be brought.
    pub const OUT_END: u32 = 25;
}

/// An answer to [`kind::INPUT`].
pub const NOTHING_YET: u64 = u64::MAX;

/// Levels of [`kind::LOG`], those of the `log` crate.
pub mod log_level {
    /// Something failed.
    pub const ERROR: u64 = 1;
    /// Something is refused or missing.
    pub const WARN: u64 = 2;
    /// What a user may want to know.
    pub const INFO: u64 = 3;
    /// What a developer may want to know.
    pub const DEBUG: u64 = 4;
}

/// What the kernel tells the VMM about itself at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Hello {
    /// [`crate::VERSION`] the kernel was built with; another one is answered with `-EINVAL`.
    pub version: u32,
    /// 0: `syscall` enters ring 0. 1: it stays in ring 3 (ring 0 is emulated), so the kernel took the `ud2` gate.
    pub syscall_gate: u32,
    /// Guest-physical address of the live counters: `u64`s indexed by [`crate::vmstat::Item`]. The VMM reads them at any
    /// time; they are also the heartbeat of the watchdog.
    pub vmstat: u64,
    /// Number of counters there: [`crate::vmstat::COUNT`].
    pub vmstat_count: u64,
    /// Guest-physical address of the trace ring, or 0.
    pub trace: u64,
    /// Bytes of the trace ring (a power of two, header included), or 0.
    pub trace_bytes: u64,
    /// Frames that the kernel manages, in pages.
    pub managed_pages: u64,
    /// Usable slots of the swap area, in pages.
    pub swap_pages: u64,
}

/// A range of page frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PageRange {
    /// Guest-physical address of the first page; page-aligned.
    pub start: u64,
    /// Pages; at least 1.
    pub pages: u64,
}

/// A phase of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Phase {
    /// What is measured and how; see [`crate::dev::PhaseArgs`].
    pub args: crate::dev::PhaseArgs,
    /// The guest's counters at this moment, indexed by [`crate::vmstat::Item`].
    pub vmstat: [u64; crate::vmstat::COUNT],
}

/// What [`kind::CALL`] tells of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallRecord {
    /// Its number.
    pub pid: u32,
    /// One of [`call_event`].
    pub event: u32,
    /// The call; of a signal, its number.
    pub number: u64,
    /// Of a call, its arguments; of a signal, `si_code` and the 16 bytes from `si_pid` or `si_addr` on.
    pub args: [u64; 6],
    /// RAX after a call; at the end, the wait status.
    pub result: u64,
    /// Physical address of the root of its page tables; 0 without any.
    pub root: u64,
}

/// Values of [`CallRecord::event`].
pub mod call_event {
    /// A call begins, or is made again after it waited.
    pub const ENTER: u32 = 1;
    /// It is over.
    pub const LEAVE: u32 = 2;
    /// A signal is taken.
    pub const SIGNAL: u32 = 3;
    /// The process ended.
    pub const END: u32 = 4;
}

/// What a panicking kernel leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Panic {
    /// One of [`panic_reason`].
    pub reason: u32,
    /// Exception vector for [`panic_reason::EXCEPTION`], otherwise 0.
    pub vector: u32,
    /// The exception's error code, or 0.
    pub error_code: u64,
    /// CR2 at that moment.
    pub cr2: u64,
    /// CR3 at that moment.
    pub cr3: u64,
    /// RIP; the VMM finds the symbol.
    pub rip: u64,
    /// RSP.
    pub rsp: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CS selector: its low two bits are the privilege level.
    pub cs: u64,
    /// RAX RBX RCX RDX RSI RDI RBP R8 to R15, in this order.
    pub gpr: [u64; 15],
    /// Bytes used in `text`.
    pub text_bytes: u64,
    /// The message, UTF-8, cut at its end.
    pub text: [u8; 256],
}

/// Values of [`Panic::reason`].
pub mod panic_reason {
    /// A Rust panic or failed assertion.
    pub const PANIC: u32 = 1;
    /// An exception in ring 0.
    pub const EXCEPTION: u32 = 2;
    /// Every process waits for something that cannot come.
    pub const DEADLOCK: u32 = 3;
    /// Boot cannot go on: the text says what is missing.
    pub const BOOT: u32 = 4;
    /// Out of memory with nothing to kill.
    pub const OUT_OF_MEMORY: u32 = 5;
    /// The first program is not one that can be run: the text says why.
    pub const NOT_A_PROGRAM: u32 = 6;
    /// There is no first program where it should be: the text names it.
    pub const NOT_FOUND: u32 = 7;
    /// The kernel's own structures do not agree with each other: the text says which.
    pub const INVARIANT: u32 = 8;
}

const _: () = {
    assert!(size_of::<Command>() == 56 && offset_of!(Command, status) == 4 && offset_of!(Command, args) == 8);
    assert!(size_of::<Hello>() == 56 && offset_of!(Hello, vmstat) == 8 && offset_of!(Hello, swap_pages) == 48);
    assert!(size_of::<PageRange>() == 16);
    assert!(size_of::<CallRecord>() == 80 && offset_of!(CallRecord, args) == 16);
    assert!(offset_of!(Phase, vmstat) == size_of::<crate::dev::PhaseArgs>());
    assert!(size_of::<Panic>() == 448 && offset_of!(Panic, gpr) == 64 && offset_of!(Panic, text) == 192);
};
