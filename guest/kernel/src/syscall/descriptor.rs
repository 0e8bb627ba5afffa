//! `pipe pipe2`, and `read write readv writev` of descriptors that a call may have to wait for.
//!
//! The short way out of ring 0 looks for no signals and cannot let others run. So a call that may have to wait, or may send its own process a
//! signal, is refused there with [`Errno::RESTART`] and comes here.
//!
//! Source: the man page of each; pipe(7).

use faultlab_linux::file::{File, Kind};
use faultlab_linux::iov::IovIter;
use faultlab_linux::read_write::Buffer;
use faultlab_linux::signal::{Info, Signal, code};
use faultlab_linux::wait::Call;

use super::file::file_of_call;
use super::{Errno, Outcome, cred, notify, nr, userfault, writer};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::terminal;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, current_files, current_mm};
use crate::task::signal;

mod number {
    pub(super) const PIPE: u64 = 22;
    pub(super) const PIPE2: u64 = 293;
    pub(super) const USERFAULTFD: u64 = 323;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    Some(match rax {
        nr::READ => read_one(rdi, rsi, rdx),
        nr::IOCTL => file_of_call(rdi, 0).and_then(|file| match file.kind() {
            Kind::Stream(stream) => terminal::ioctl(stream, rsi as u32, rdx),
            _ => Err(Errno::ENOTTY),
        }),
        nr::WRITE => buffer(rsi, rdx).and_then(|from| write(file_of_call(rdi, 0)?, from)),
        number::USERFAULTFD => userfault::userfaultfd(rdi).map(Outcome::Value),
        nr::READV => readv(regs),
        nr::WRITEV => writev(regs),
        number::PIPE => pipe2(rdi, 0),
        number::PIPE2 => pipe2(rdi, rsi),
        _ => return None,
    })
}

/// What a call that waits came to: with a handler that says so, it is made again.
pub(super) fn outcome(call: Call) -> Outcome {
    match call {
        Call::Done(value) => Outcome::Value(value),
        Call::Wait => Outcome::Sleep(Interrupted::Restartable),
    }
}

fn buffer(addr: u64, len: u64) -> Result<IovIter, Errno> {
    let mm = current_mm();
    IovIter::of_buffer(Buffer { mm, addr, len })
}

fn vectors(addr: u64, count: u64) -> Result<IovIter, Errno> {
    LINUX.iov_iter(current_mm(), addr, count)
}

fn read_one(descriptor: u64, addr: u64, len: u64) -> Result<Outcome, Errno> {
    let file = file_of_call(descriptor, 0)?;
    match file.kind() {
        Kind::Userfault(id) => userfault::read(file, id, addr, len),
        _ => read(file, buffer(addr, len)?),
    }
}

/// Whether reads and writes of a description may have to wait.
pub(super) fn waits(file: File<'_>) -> bool {
    matches!(
        file.kind(),
        Kind::Pipe(_) | Kind::Event { .. } | Kind::Timer | Kind::Signal | Kind::Inotify
    )
}

/// `readv`, and its relatives at no offset.
pub(super) fn readv(regs: &PtRegs) -> Result<Outcome, Errno> {
    let VolatileRegs { rdi, rsi, rdx, .. } = regs.volatile;
    read(file_of_call(rdi, 0)?, vectors(rsi, rdx)?)
}

/// `writev`, and its relatives at no offset.
pub(super) fn writev(regs: &PtRegs) -> Result<Outcome, Errno> {
    let VolatileRegs { rdi, rsi, rdx, .. } = regs.volatile;
    write(file_of_call(rdi, 0)?, vectors(rsi, rdx)?)
}

fn read(file: File<'_>, to: IovIter) -> Result<Outcome, Errno> {
    let waiter = &process::current().waiter;
    match file.kind() {
        Kind::Pipe(inode) => LINUX.pipe_read(waiter, file, inode, to).map(outcome),
        Kind::Stream(stream) => terminal::read(stream, file, to),
        Kind::Event { .. } => LINUX.event_read(waiter, file, to).map(outcome),
        Kind::Timer => notify::timerfd_read(file, to).map(outcome),
        Kind::Signal => notify::signalfd_read(file, to).map(outcome),
        Kind::Inotify => LINUX.inotify_read(waiter, file, to).map(outcome),
        _ => Err(Errno::EINVAL),
    }
}

fn write(file: File<'_>, from: IovIter) -> Result<Outcome, Errno> {
    let waiter = &process::current().waiter;
    match file.kind() {
        Kind::Pipe(inode) => signalling(LINUX.pipe_write(waiter, file, inode, from).map(outcome)),
        Kind::Stream(stream) => terminal::write(stream, file, from),
        Kind::Event { .. } => LINUX.event_write(waiter, file, from).map(outcome),
        _ => Err(Errno::EINVAL),
    }
}

/// A process that wrote to a pipe which nobody reads gets a `SIGPIPE`, whatever its call came to; one that wanted more than a file may have, a
/// `SIGXFSZ`.
pub(super) fn signalling(result: Result<Outcome, Errno>) -> Result<Outcome, Errno> {
    let process = process::current();
    if process.waiter.take_exceeded() {
        writer::send_exceeded();
    }
    if process.waiter.take_broken() {
        let user = process.cred.get().user.real;
        // A standard signal is never refused.
        _ = signal::send_thread(process, &Info::sent(Signal::PIPE, code::USER, process.pid.get(), user));
    }
    result
}

fn pipe2(to: u64, flags: u64) -> Result<Outcome, Errno> {
    let (cred, table) = (cred::current(), current_files());
    let (read, write) = LINUX.pipe2(table, flags, cred)?;
    let pair = read | write << 32;
    if let Err(errno) = uaccess::copy_to_user(to, &pair.to_le_bytes()) {
        // Both were just opened.
        _ = LINUX.close(table, read);
        _ = LINUX.close(table, write);
        return Err(errno);
    }
    Ok(Outcome::Value(0))
}
