//! Exits that only ring 0 can provoke: the kernel does, and times each.

use faultlab_abi::lab::kind;
use faultlab_abi::layout::LAB_PIO_PORT;
use faultlab_linux::Errno;

use super::{buffer, command};
use crate::cpu::x86;
use crate::mem::ram;
use crate::mem::uaccess::for_each_piece;

/// Fills the program's buffer with the cycles that `exit` takes.
#[inline(always)]
fn time(arg: u64, exit: impl Fn()) -> Result<(), Errno> {
    let buffer = buffer(arg)?;
    for_each_piece(buffer.cycles, buffer.count * 8, true, |piece| {
        let first = piece.offset as usize / 8;
        for word in &ram::frame(piece.pfn)[first..first + piece.len as usize / 8] {
            let start = x86::rdtsc();
            exit();
            word.set(x86::rdtsc().wrapping_sub(start));
        }
        Ok(())
    })
}

pub(super) fn port_io(arg: u64) -> Result<(), Errno> {
    time(arg, || x86::outb(LAB_PIO_PORT, 0))
}

pub(super) fn cpuid(arg: u64) -> Result<(), Errno> {
    time(arg, || {
        x86::cpuid(0);
    })
}

/// The VMM is told beforehand, lest it take the first `hlt` for the end. `wake` as in [`kind::HALTS`].
pub(super) fn halt(arg: u64, wake: u64) -> Result<(), Errno> {
    command(kind::HALTS, [buffer(arg)?.count, wake])?;
    let result = time(arg, x86::hlt);
    // A buffer that ends early leaves some over.
    command(kind::HALTS, [0, 0])?;
    result
}
