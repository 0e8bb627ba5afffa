//! `rseq`: sections of a program that begin again if they are interrupted.
//!
//! A thread says where a structure of its own is; in that it names the section that it is in. Whoever takes the processor from it there, for another
//! thread or a handler, lets it go on at the section's way out instead. There is one processor, number 0, so nothing else in the structure
//! ever changes.
//!
//! Source: Linux, kernel/rseq.c, include/uapi/linux/rseq.h; rseq(2) of librseq.

use faultlab_abi::layout::USER_END;
use faultlab_linux::Errno;
use faultlab_linux::signal::{Info, Signal};

use crate::cpu::regs::PtRegs;
use crate::mem::uaccess;
use crate::task::process::{self, Process};
use crate::task::signal;

/// Bytes of a `struct rseq`, and what its address is a multiple of.
const BYTES: u64 = 32;
/// `RSEQ_FLAG_UNREGISTER`.
const UNREGISTER: u32 = 1;
/// Where in it the address of a `struct rseq_cs` is.
const SECTION_AT: u64 = 8;
/// Bytes of that.
const SECTION_BYTES: usize = 32;

/// What a thread said: where its structure is, or 0, and what stands before each section's way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rseq {
    addr: u64,
    signature: u32,
}

impl Rseq {
    /// Nothing.
    pub(crate) const NONE: Self = Self { addr: 0, signature: 0 };
}

/// Number of processor, of node, and of the address space's processor: `cpu_id_start cpu_id`, section, `flags node_id mm_cid`.
fn write(addr: u64, cpu: u32) -> Result<(), Errno> {
    let mut bytes = [0; BYTES as usize];
    bytes[4..8].copy_from_slice(&cpu.to_le_bytes());
    uaccess::copy_to_user(addr, &bytes)
}

/// `rseq(structure, bytes, flags, signature)`.
///
/// # Errors
/// `EINVAL`, `EPERM` for another signature, `EBUSY` if it is known already, `EFAULT`.
pub(crate) fn register(addr: u64, bytes: u32, flags: u32, signature: u32) -> Result<u64, Errno> {
    const UNINITIALIZED: u32 = u32::MAX;
    let own = process::current();
    let known = own.rseq.get();
    let same = known.addr == addr && u64::from(bytes) == BYTES;
    if flags & UNREGISTER != 0 {
        if flags != UNREGISTER || known == Rseq::NONE || !same {
            return Err(Errno::EINVAL);
        }
        if known.signature != signature {
            return Err(Errno::EPERM);
        }
        write(addr, UNINITIALIZED)?;
        own.rseq.set(Rseq::NONE);
        return Ok(0);
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if known != Rseq::NONE {
        return Err(match (same, known.signature == signature) {
            (false, _) => Errno::EINVAL,
            (true, false) => Errno::EPERM,
            (true, true) => Errno::EBUSY,
        });
    }
    if u64::from(bytes) != BYTES || !addr.is_multiple_of(BYTES) || addr == 0 {
        return Err(Errno::EINVAL);
    }
    if addr > USER_END - BYTES {
        return Err(Errno::EFAULT);
    }
    write(addr, 0)?;
    own.rseq.set(Rseq { addr, signature });
    Ok(0)
}

/// The processor is taken from the running thread, whose registers in ring 3 these are.
#[inline]
pub(crate) fn interrupted(regs: &mut PtRegs) {
    let own = process::current();
    if own.rseq.get().addr != 0 && leave_section(own, regs).is_err() {
        // A standard signal is never refused.
        _ = signal::send_thread(own, &Info::kernel(Signal::SEGV));
    }
}

/// Source: Linux `rseq_ip_fixup`, `rseq_get_rseq_cs`.
#[cold]
#[inline(never)]
fn leave_section(own: &Process, regs: &mut PtRegs) -> Result<(), Errno> {
    let Rseq { addr, signature } = own.rseq.get();
    let section = u64::from_le_bytes(uaccess::read(addr + SECTION_AT)?);
    if section == 0 {
        return Ok(());
    }
    let bytes: [u8; SECTION_BYTES] = uaccess::read(section)?;
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let [version_and_flags, start, length, abort] = [word(0), word(8), word(16), word(24)];
    let end = start.checked_add(length).ok_or(Errno::EINVAL)?;
    if version_and_flags as u32 != 0 || end > USER_END || abort >= USER_END || (start..end).contains(&abort) {
        return Err(Errno::EINVAL);
    }
    uaccess::copy_to_user(addr + SECTION_AT, &0u64.to_le_bytes())?;
    if (start..end).contains(&regs.volatile.rip) {
        let before = u32::from_le_bytes(uaccess::read(abort.wrapping_sub(4))?);
        if before != signature {
            return Err(Errno::EINVAL);
        }
        regs.volatile.rip = abort;
    }
    Ok(())
}
