//! Bytes in and out of descriptors. Memory objects are the system-call layer's; the standard streams go out through the lab device.

use core::cell::Cell;

use faultlab_abi::lab::kind;
use faultlab_abi::layout::USER_END;
use faultlab_linux::file::{File, Kind};
use faultlab_linux::read_write::{At, Buffer, RW_MAX_BYTES};

use super::file::file;
use super::writer::writer;
use super::{Errno, descriptor};
use crate::dev::terminal;
use crate::dev::{lab, random, serial};
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::mem::ram;
use crate::mem::uaccess::{self, Piece, for_each_piece};
use crate::task::process::current_mm;

fn buffer(addr: u64, len: u64) -> Buffer {
    Buffer {
        mm: current_mm(),
        addr,
        len,
    }
}

pub(super) fn read_file(file: File<'_>, at: At, addr: u64, len: u64) -> Result<u64, Errno> {
    match file.kind() {
        Kind::Object(inode) => LINUX.read(file, inode, at, buffer(addr, len)),
        Kind::Proc(inode) => LINUX.proc_read(file, inode, at, buffer(addr, len)),
        Kind::Null | Kind::Zero | Kind::Full | Kind::Random if !file.readable() => Err(Errno::EBADF),
        Kind::Null => Ok(0),
        Kind::Zero | Kind::Full => {
            let len = len.min(RW_MAX_BYTES);
            uaccess::clear_user(addr, len).map(|()| len)
        }
        Kind::Random => random::read(addr, len.min(RW_MAX_BYTES)),
        Kind::Directory(_) => Err(Errno::EISDIR),
        Kind::Path(_) => Err(Errno::EBADF),
        _ if at != At::Position => Err(Errno::ESPIPE),
        Kind::Stream(stream) if stream == 0 || terminal::is(stream) => Err(Errno::RESTART),
        Kind::Stream(_) => Err(Errno::EBADF),
        Kind::Lab => Err(Errno::EINVAL),
        // Where it may wait: `descriptor.rs`.
        Kind::Pipe(_) | Kind::Userfault(_) | Kind::Event { .. } | Kind::Timer | Kind::Signal | Kind::Inotify => {
            Err(Errno::RESTART)
        }
        Kind::Epoll | Kind::Pid => Err(Errno::EINVAL),
    }
}

pub(super) fn write_file(file: File<'_>, at: At, addr: u64, len: u64) -> Result<u64, Errno> {
    match file.kind() {
        Kind::Object(inode) => LINUX.write(writer(), file, inode, at, buffer(addr, len)),
        Kind::Proc(inode) => LINUX.proc_write(file, inode, at, buffer(addr, len)),
        Kind::Null | Kind::Zero | Kind::Full | Kind::Random if !file.writable() => Err(Errno::EBADF),
        // What is written to the random number generator changes nothing: it has no secrets.
        Kind::Null | Kind::Zero | Kind::Random => Ok(len.min(RW_MAX_BYTES)),
        Kind::Full => Err(Errno::ENOSPC),
        Kind::Stream(stream) if terminal::is(stream) => Err(Errno::RESTART),
        Kind::Stream(0) | Kind::Directory(_) | Kind::Path(_) | Kind::Userfault(_) | Kind::Inotify => Err(Errno::EBADF),
        _ if at != At::Position => Err(Errno::ESPIPE),
        Kind::Stream(stream) => write_stream(stream, addr, len.min(RW_MAX_BYTES)),
        Kind::Lab => Err(Errno::EINVAL),
        Kind::Pipe(_) | Kind::Event { .. } => Err(Errno::RESTART),
        Kind::Epoll | Kind::Timer | Kind::Signal | Kind::Pid => Err(Errno::EINVAL),
    }
}

/// How many bytes were written; an error only if none were.
fn write_stream(stream: u64, addr: u64, len: u64) -> Result<u64, Errno> {
    let mut written = 0;
    let result = for_each_piece(addr, len, false, |piece| {
        write_piece(stream, piece)?;
        written += piece.len;
        Ok(())
    });
    match result {
        Err(errno) if written == 0 => Err(errno),
        _ => Ok(written),
    }
}

fn write_piece(stream: u64, piece: &Piece) -> Result<(), Errno> {
    if !lab::is_present() {
        serial::write(&ram::bytes(piece.pfn, 4096)[piece.offset as usize..(piece.offset + piece.len) as usize]);
        return Ok(());
    }
    match lab::command(kind::WRITE, [stream, piece.phys(), piece.len, 0, 0, 0]) {
        0 => Ok(()),
        _ => Err(Errno::EIO),
    }
}

#[inline(never)]
pub(super) fn read(descriptor: u64, addr: u64, len: u64, at: At) -> Result<u64, Errno> {
    read_file(file(descriptor)?, at, addr, len)
}

#[inline(never)]
pub(super) fn write(descriptor: u64, addr: u64, len: u64, at: At) -> Result<u64, Errno> {
    write_file(file(descriptor)?, at, addr, len)
}

/// A position that is not negative. It is looked at before the descriptor.
pub(super) fn offset(offset: u64) -> Result<At, Errno> {
    if offset.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(At::Offset(offset))
}

#[inline(never)]
pub(super) fn pread(descriptor: u64, addr: u64, len: u64, pos: u64) -> Result<u64, Errno> {
    read(descriptor, addr, len, offset(pos)?)
}

#[inline(never)]
pub(super) fn pwrite(descriptor: u64, addr: u64, len: u64, pos: u64) -> Result<u64, Errno> {
    write(descriptor, addr, len, offset(pos)?)
}

#[inline(never)]
pub(super) fn readv(descriptor: u64, vectors: u64, count: u64) -> Result<u64, Errno> {
    let file = file(descriptor)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    if descriptor::waits(file) {
        return Err(Errno::RESTART);
    }
    for_each_vector(vectors, count, |base, len| read_file(file, At::Position, base, len))
}

#[inline(never)]
pub(super) fn writev(descriptor: u64, vectors: u64, count: u64) -> Result<u64, Errno> {
    let file = file(descriptor)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    if descriptor::waits(file) {
        return Err(Errno::RESTART);
    }
    for_each_vector(vectors, count, |base, len| write_file(file, At::Position, base, len))
}

/// Moves the bytes of every vector, until one is not moved whole; how many there were, an error only if none.
pub(super) fn for_each_vector(
    vectors: u64,
    count: u64,
    mut each: impl FnMut(u64, u64) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    const UIO_MAXIOV: u64 = 1024;
    if count > UIO_MAXIOV {
        return Err(Errno::EINVAL);
    }
    // Read once, and kept: what is read into may be they themselves. Too many for the stack; nothing here waits.
    static KEPT: Global<Cell<[[u64; 2]; UIO_MAXIOV as usize]>> = Global::new(Cell::new([[0; 2]; UIO_MAXIOV as usize]));
    let kept = &KEPT.as_array_of_cells()[..count as usize];
    // Bad vectors are noticed before anything moves: lengths first. Source: Linux, lib/iov_iter.c (`copy_iovec_from_user`, `__import_iovec`).
    for (kept, index) in kept.iter().zip(0..) {
        let vector = vector(vectors, index)?;
        if vector[1].cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        kept.set(vector);
    }
    let mut left = RW_MAX_BYTES;
    for [base, len] in kept.iter().map(Cell::get) {
        let len = len.min(left);
        left -= len;
        if base.checked_add(len).is_none_or(|end| end > USER_END) {
            return Err(Errno::EFAULT);
        }
    }
    let mut moved = 0u64;
    for [base, len] in kept.iter().map(Cell::get) {
        let len = len.min(RW_MAX_BYTES - moved);
        match each(base, len) {
            Ok(part) => {
                moved += part;
                if part < len {
                    break;
                }
            }
            Err(errno) if moved == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(moved)
}

/// Address and length of a vector.
fn vector(vectors: u64, index: u64) -> Result<[u64; 2], Errno> {
    const IOVEC_BYTES: u64 = 16;
    let bytes: [u8; 16] = uaccess::read(vectors.wrapping_add(index * IOVEC_BYTES))?;
    let (base, len) = bytes.split_at(8);
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    Ok([word(base), word(len)])
}

#[inline(never)]
pub(super) fn lseek(descriptor: u64, offset: u64, whence: u64) -> Result<u64, Errno> {
    LINUX.lseek(file(descriptor)?, offset, whence)
}

#[inline(never)]
pub(super) fn ftruncate(descriptor: u64, size: u64) -> Result<u64, Errno> {
    if size.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    LINUX.ftruncate(writer(), file(descriptor)?, size).map(|()| 0)
}

#[inline(never)]
pub(super) fn fallocate(descriptor: u64, mode: u64, offset: u64, len: u64) -> Result<u64, Errno> {
    LINUX
        .fallocate(writer(), file(descriptor)?, mode, offset, len)
        .map(|()| 0)
}

/// `fsync`, `fdatasync`: nothing here has a disk of its own. Rule C19.
#[inline(never)]
pub(super) fn fsync(descriptor: u64) -> Result<u64, Errno> {
    match file(descriptor)?.kind() {
        Kind::Object(_) | Kind::Directory(_) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
