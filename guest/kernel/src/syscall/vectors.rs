//! `preadv pwritev preadv2 pwritev2`. Source: readv(2); Linux, fs/read_write.c (`do_preadv`, `kiocb_set_rw_flags`).

use faultlab_linux::file::{File, Kind, o};
use faultlab_linux::read_write::At;

use super::file::file_of_call;
use super::io::{for_each_vector, offset, read_file, write_file};
use super::{Errno, Outcome, descriptor};
use crate::cpu::regs::{PtRegs, VolatileRegs};

mod nr {
    pub(super) const PREADV: u64 = 295;
    pub(super) const PWRITEV: u64 = 296;
    pub(super) const PREADV2: u64 = 327;
    pub(super) const PWRITEV2: u64 = 328;
}

/// Flags. Source: readv(2).
mod rwf {
    /// Polled; as synchronous as data, or all, can be: nothing here is anything else.
    pub(super) const HIPRI: u32 = 0x1;
    pub(super) const DSYNC: u32 = 0x2;
    pub(super) const SYNC: u32 = 0x4;
    pub(super) const APPEND: u32 = 0x10;
    pub(super) const NOAPPEND: u32 = 0x20;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r9,
        ..
    } = regs.volatile;
    Some(match rax {
        nr::PREADV => offset(r10).and_then(|at| read(regs, (rdi, rsi, rdx), at, 0)),
        nr::PWRITEV => offset(r10).and_then(|at| write(regs, (rdi, rsi, rdx), at, 0)),
        nr::PREADV2 => position(r10).and_then(|at| read(regs, (rdi, rsi, rdx), at, r9)),
        nr::PWRITEV2 => position(r10).and_then(|at| write(regs, (rdi, rsi, rdx), at, r9)),
        _ => return None,
    })
}

/// -1 is the description's position.
fn position(pos: u64) -> Result<At, Errno> {
    match pos {
        u64::MAX => Ok(At::Position),
        pos => offset(pos),
    }
}

/// Descriptor, vectors, and how many there are.
type Vectors = (u64, u64, u64);

fn check(file: File<'_>, at: At, flags: u32, open: bool) -> Result<(), Errno> {
    // Pipes among others have no offsets.
    let seekable = !matches!(
        file.kind(),
        Kind::Pipe(_)
            | Kind::Stream(_)
            | Kind::Event { .. }
            | Kind::Epoll
            | Kind::Timer
            | Kind::Signal
            | Kind::Pid
            | Kind::Inotify
    );
    if at != At::Position && !seekable {
        return Err(Errno::ESPIPE);
    }
    // Whether it was opened for that is asked afterwards. Source: Linux, fs/read_write.c (`do_pwritev`, `vfs_writev`).
    if !open {
        return Err(Errno::EBADF);
    }
    if flags & !(rwf::HIPRI | rwf::DSYNC | rwf::SYNC | rwf::APPEND | rwf::NOAPPEND) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & rwf::APPEND != 0 && flags & rwf::NOAPPEND != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn read(regs: &PtRegs, (descriptor, vectors, count): Vectors, at: At, flags: u64) -> Result<Outcome, Errno> {
    let file = file_of_call(descriptor, 0)?;
    check(file, at, flags as u32, file.readable())?;
    if at == At::Position && descriptor::waits(file) {
        return descriptor::readv(regs);
    }
    let mut done = 0;
    let result = for_each_vector(vectors, count, |base, len| {
        let part = read_file(file, behind(at, done), base, len)?;
        done += part;
        Ok(part)
    });
    result.map(Outcome::Value)
}

fn write(regs: &PtRegs, (descriptor, vectors, count): Vectors, at: At, flags: u64) -> Result<Outcome, Errno> {
    let file = file_of_call(descriptor, 0)?;
    check(file, at, flags as u32, file.writable())?;
    if at == At::Position && descriptor::waits(file) {
        return descriptor::writev(regs);
    }
    // For this call alone: nobody else sees the flags meanwhile.
    let before = file.f_flags();
    match flags as u32 & (rwf::APPEND | rwf::NOAPPEND) {
        rwf::APPEND => file.set_f_flags(before | o::APPEND),
        rwf::NOAPPEND => file.set_f_flags(before & !o::APPEND),
        _ => {}
    }
    let mut done = 0;
    let result = for_each_vector(vectors, count, |base, len| {
        let part = write_file(file, behind(at, done), base, len)?;
        done += part;
        Ok(part)
    });
    file.set_f_flags(before);
    result.map(Outcome::Value)
}

/// Where a vector goes that has `done` bytes before it.
fn behind(at: At, done: u64) -> At {
    match at {
        At::Position => At::Position,
        At::Offset(offset) => At::Offset(offset + done),
    }
}
