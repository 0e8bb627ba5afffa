//! `splice tee vmsplice`, and `sendfile` to a pipe. What they mean is decided in [`faultlab_linux::pipe`].
//!
//! Source: splice(2), tee(2), vmsplice(2), sendfile(2); Linux, fs/splice.c (`__do_splice`, the calls).

use faultlab_linux::copy::Place;
use faultlab_linux::file::{File, Kind};
use faultlab_linux::pipe::splice_flag;
use faultlab_linux::wait::Call;

use super::descriptor::{outcome, signalling};
use super::file::file_of_call;
use super::fs::copy::{at, tell};
use super::writer::writer;
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::LINUX;
use crate::task::process::{self, current_mm};

mod nr {
    pub(super) const SENDFILE: u64 = 40;
    pub(super) const SPLICE: u64 = 275;
    pub(super) const TEE: u64 = 276;
    pub(super) const VMSPLICE: u64 = 278;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = regs.volatile;
    let result = match rax {
        nr::SENDFILE => sendfile(rdi, rsi, rdx, r10),
        nr::SPLICE => splice((rdi, rsi), (rdx, r10), r8, r9),
        nr::TEE => tee(rdi, rsi, rdx, r10),
        nr::VMSPLICE => vmsplice(rdi, rsi, rdx, r10),
        _ => return None,
    };
    Some(signalling(result.map(outcome)))
}

fn check_flags(flags: u64) -> Result<u64, Errno> {
    let flags = u64::from(flags as u32);
    if flags & !splice_flag::ALL != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

fn is_pipe(file: File<'_>) -> bool {
    matches!(file.kind(), Kind::Pipe(_))
}

fn sendfile(to: u64, from: u64, offset: u64, count: u64) -> Result<Call, Errno> {
    let place = Place {
        at: at(offset)?,
        file: file_of_call(from, 1)?,
    };
    let call = LINUX.sendfile_to_pipe(&process::current().waiter, file_of_call(to, 0)?, place, count)?;
    if let Call::Done(done) = call {
        tell(offset, place.at, done)?;
    }
    Ok(call)
}

/// Each place is a descriptor and the address of an offset.
fn splice(from: (u64, u64), to: (u64, u64), len: u64, flags: u64) -> Result<Call, Errno> {
    if len == 0 {
        return Ok(Call::Done(0));
    }
    let flags = check_flags(flags)?;
    let files = (file_of_call(from.0, 0)?, file_of_call(to.0, 1)?);
    if is_pipe(files.0) && from.1 != 0 || is_pipe(files.1) && to.1 != 0 {
        return Err(Errno::ESPIPE);
    }
    let target = Place {
        at: at(to.1)?,
        file: files.1,
    };
    let source = Place {
        at: at(from.1)?,
        file: files.0,
    };
    let call = LINUX.splice((&process::current().waiter, writer()), source, target, len, flags)?;
    if let Call::Done(done) = call {
        tell(to.1, target.at, done)?;
        tell(from.1, source.at, done)?;
    }
    Ok(call)
}

fn tee(from: u64, to: u64, len: u64, flags: u64) -> Result<Call, Errno> {
    let flags = check_flags(flags)?;
    if len == 0 {
        return Ok(Call::Done(0));
    }
    LINUX.tee(
        &process::current().waiter,
        file_of_call(from, 0)?,
        file_of_call(to, 1)?,
        len,
        flags,
    )
}

fn vmsplice(descriptor: u64, vectors: u64, count: u64, flags: u64) -> Result<Call, Errno> {
    let flags = check_flags(flags)?;
    let file = file_of_call(descriptor, 0)?;
    let waiter = &process::current().waiter;
    if !file.readable() && !file.writable() {
        return Err(Errno::EBADF);
    }
    let iter = LINUX.iov_iter(current_mm(), vectors, count)?;
    if iter.left() == 0 {
        return Ok(Call::Done(0));
    }
    match file.kind() {
        Kind::Pipe(inode) if file.writable() => LINUX.vmsplice_to_pipe(waiter, inode, iter, flags),
        Kind::Pipe(inode) => LINUX.vmsplice_to_user(waiter, inode, iter, flags),
        _ => Err(Errno::EBADF),
    }
}
