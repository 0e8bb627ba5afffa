//! For programs that show rules: addresses to experiment with, and how outcomes are shown.
//!
//! ```text
//! page 0      1 .. 62     63
//! guard    | free, or    | guard        guards: no rights, never touched
//!          | the case's  |
//! ```

use core::arch::asm;
use core::fmt::{self, Display};

use crate::println;
use crate::sys::memory::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PAGE_BYTES, PROT_NONE, PROT_READ, PROT_WRITE};
use crate::sys::process::{self, Fork};
use crate::sys::{self, Errno, address_space};
use linux_raw_sys::general::MAP_FIXED;

/// Pages of the arena.
const ARENA_PAGES: usize = 64;
/// Bytes of the arena.
pub const ARENA_BYTES: usize = ARENA_PAGES * PAGE_BYTES;
/// Read and write.
pub const RW: usize = (PROT_READ | PROT_WRITE) as usize;
/// Read only.
pub const RO: usize = PROT_READ as usize;
/// No rights.
pub const NONE: usize = PROT_NONE as usize;
/// Private anonymous memory.
pub const PRIVATE: usize = (MAP_PRIVATE | MAP_ANONYMOUS) as usize;
/// Shared anonymous memory.
pub const SHARED: usize = (MAP_SHARED | MAP_ANONYMOUS) as usize;
/// At the given address.
pub const FIXED: usize = MAP_FIXED as usize;
/// No descriptor.
pub const NO_FILE: usize = usize::MAX;

/// What a call returns.
pub type Answer = Result<usize, Errno>;

/// Addresses of the program's own that nothing else uses.
pub struct Arena {
    base: usize,
}

impl Arena {
    /// Reserves the addresses.
    pub fn reserve() -> Result<Self, Errno> {
        let base = mmap(0, ARENA_PAGES, NONE, PRIVATE)?;
        Ok(Self { base })
    }

    /// Address of a page.
    pub fn page(&self, page: usize) -> usize {
        self.base + page * PAGE_BYTES
    }

    /// Unmaps everything between the guards.
    pub fn clear(&self) {
        must(munmap(self.page(1), ARENA_PAGES - 2));
    }

    /// Maps pages of a cleared arena.
    pub fn map(&self, page: usize, pages: usize, protection: usize, flags: usize) -> usize {
        must(mmap(self.page(page), pages, protection, flags | FIXED))
    }
}

/// Prints the outcome of a case.
pub fn line(rule: &str, case: impl Display, outcome: impl Display) {
    println!("{rule} {case}: {outcome}");
}

/// A call that the case only needs; ends the program when it fails.
pub fn must(answer: Answer) -> usize {
    match answer {
        Ok(value) => value,
        Err(errno) => {
            println!("stopped: a call that a case builds on failed: {errno}");
            sys::exit(1)
        }
    }
}

/// `mmap` of pages without a file.
pub fn mmap(address: usize, pages: usize, protection: usize, flags: usize) -> Answer {
    mmap_raw([address, pages * PAGE_BYTES, protection, flags, NO_FILE, 0])
}

/// `mmap` with every argument.
pub fn mmap_raw(arguments: [usize; 6]) -> Answer {
    // SAFETY: fixed targets are of the arena, which no Rust object is in, or invalid.
    unsafe { address_space::mmap(arguments) }
}

/// `munmap` of pages.
pub fn munmap(address: usize, pages: usize) -> Answer {
    munmap_raw(address, pages * PAGE_BYTES)
}

/// `munmap` of bytes.
pub fn munmap_raw(address: usize, bytes: usize) -> Answer {
    // SAFETY: the range is of the arena, or of a mapping that a case made, or invalid.
    unsafe { address_space::munmap([address, bytes]) }
}

/// `mprotect` of bytes.
pub fn mprotect(address: usize, bytes: usize, protection: usize) -> Answer {
    // SAFETY: as in `munmap_raw`.
    unsafe { address_space::mprotect([address, bytes, protection]) }
}

/// `mremap`, sizes in pages.
pub fn mremap(address: usize, old_pages: usize, new_pages: usize, flags: usize, target: usize) -> Answer {
    // SAFETY: as in `munmap_raw`.
    unsafe { address_space::mremap([address, old_pages * PAGE_BYTES, new_pages * PAGE_BYTES, flags, target]) }
}

/// `madvise` of bytes.
pub fn madvise(address: usize, bytes: usize, advice: u32) -> Answer {
    // SAFETY: as in `munmap_raw`.
    unsafe { address_space::madvise([address, bytes, advice as usize]) }
}

/// A load that must not fault.
pub fn peek(address: usize) -> u8 {
    let value: u8;
    // SAFETY: in assembly, a load of memory outside Rust's objects is at worst a fault.
    unsafe { asm!("mov {}, [{}]", out(reg_byte) value, in(reg) address, options(nostack, readonly, preserves_flags)) };
    value
}

/// A store that must not fault.
pub fn poke(address: usize, value: u8) {
    // SAFETY: in assembly; the byte is of a mapping that a case made, where no Rust object is.
    unsafe { asm!("mov [{}], {}", in(reg) address, in(reg_byte) value, options(nostack, preserves_flags)) };
}

/// How a child ended.
pub struct End(i32);

impl End {
    /// Its exit status.
    pub fn status(&self) -> u8 {
        self.0 as u8
    }
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            139 => f.write_str("SIGSEGV"),
            135 => f.write_str("SIGBUS"),
            status => write!(f, "{status}"),
        }
    }
}

/// Runs `work` in a child; its result, or the signal that ended it.
pub fn in_child(work: impl FnOnce() -> u8) -> End {
    match process::fork() {
        Ok(Fork::Child) => sys::exit(i32::from(work())),
        Ok(Fork::Parent(child)) => match process::wait(child) {
            Ok(status) => End(process::exit_status(status)),
            Err(_) => End(-1),
        },
        Err(_) => End(-1),
    }
}

/// What a load gives, in a child.
pub fn load(address: usize) -> End {
    in_child(|| peek(address))
}

/// Whether a store is possible, in a child: 0.
pub fn store(address: usize) -> End {
    in_child(|| {
        poke(address, 1);
        0
    })
}

/// "ok" or the error.
pub struct Plain(pub Answer);

impl Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(_) => f.write_str("ok"),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// Whether a mapping is where it was meant to be.
pub struct Place(pub Answer, pub usize);

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(address) if address == self.1 => f.write_str("there"),
            Ok(_) => f.write_str("elsewhere"),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// Whether pages are one mapping for the kernel. The page behind them must be taken: then a mapping that is to grow in place has no
/// room, while several are refused before that is looked at.
pub fn mappings(address: usize, pages: usize) -> &'static str {
    match mremap(address, pages, pages + 1, 0, 0) {
        Ok(_) => "grown",
        Err(Errno(12)) => "one mapping",
        Err(Errno(14)) => "several mappings",
        Err(_) => "another error",
    }
}

/// Bits of `mincore`, one page each, for up to 16 pages.
pub struct Resident(pub usize, pub usize);

impl Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut vector = [0u8; 16];
        // SAFETY: the vector has a byte for each of up to 16 pages.
        match unsafe { address_space::mincore([self.0, self.1.min(16) * PAGE_BYTES, vector.as_mut_ptr() as usize]) } {
            Ok(_) => vector
                .iter()
                .take(self.1)
                .try_for_each(|byte| f.write_str(if byte & 1 == 1 { "1" } else { "0" })),
            Err(errno) => errno.fmt(f),
        }
    }
}
