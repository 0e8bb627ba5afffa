//! Descriptors: the standard streams, and `/dev/faultlab`.

use faultlab_abi::dev;
use faultlab_abi::lab::kind;
use faultlab_kernel::files::File;

use super::{Errno, device};
use crate::process;
use crate::uaccess::{self, Piece, for_each_piece};
use crate::{lab, ram, serial};

/// Most bytes that one call moves. Source: Linux `MAX_RW_COUNT`.
const RW_MAX_BYTES: u64 = 0x7fff_f000;

fn file(descriptor: u64) -> Result<File, Errno> {
    process::current().files.get().get(descriptor).ok_or(Errno::EBADF)
}

/// The stream to write to: standard output (1) or error (2).
fn output(descriptor: u64) -> Result<u64, Errno> {
    match file(descriptor)? {
        File::Stream(0) => Err(Errno::EBADF),
        File::Stream(stream) => Ok(u64::from(stream)),
        File::Lab => Err(Errno::EINVAL),
    }
}

#[inline(never)]
pub(super) fn write(descriptor: u64, addr: u64, len: u64) -> Result<u64, Errno> {
    write_range(output(descriptor)?, addr, len.min(RW_MAX_BYTES))
}

/// How many bytes were written; an error only if none were.
fn write_range(stream: u64, addr: u64, len: u64) -> Result<u64, Errno> {
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
pub(super) fn writev(descriptor: u64, vectors: u64, count: u64) -> Result<u64, Errno> {
    const UIO_MAXIOV: u64 = 1024;
    const IOVEC_BYTES: u64 = 16;
    let stream = output(descriptor)?;
    if count > UIO_MAXIOV {
        return Err(Errno::EINVAL);
    }
    let mut written = 0u64;
    for index in 0..count {
        let step = uaccess::read::<16>(vectors.wrapping_add(index * IOVEC_BYTES)).and_then(|vector| {
            let (base, len) = vector.split_at(8);
            let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            let (base, len) = (word(base), word(len).min(RW_MAX_BYTES - written));
            Ok((len, write_range(stream, base, len)?))
        });
        match step {
            Ok((len, part)) => {
                written += part;
                if part < len {
                    break;
                }
            }
            Err(errno) if written == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(written)
}

/// `open` and `openat`: there is one file, at an absolute path.
#[inline(never)]
pub(super) fn open(path: u64) -> Result<u64, Errno> {
    const PAGE_BYTES: u64 = 4096;
    let name = dev::PATH.as_bytes();
    let mut buffer = [0; dev::PATH.len() + 1];
    // Not past the page, which may be the last one mapped, unless the name goes on there.
    let first = (PAGE_BYTES - path % PAGE_BYTES).min(buffer.len() as u64) as usize;
    let (head, tail) = buffer.split_at_mut(first);
    uaccess::copy_from_user(head, path)?;
    if !tail.is_empty() {
        if !name.starts_with(head) {
            return Err(Errno::ENOENT);
        }
        uaccess::copy_from_user(tail, path.wrapping_add(first as u64))?;
    }
    if buffer.last() != Some(&0) || !buffer.starts_with(name) || !lab::is_present() {
        return Err(Errno::ENOENT);
    }
    let process = process::current();
    let mut files = process.files.get();
    let descriptor = files.open_lab().ok_or(Errno::EMFILE)?;
    process.files.set(files);
    Ok(descriptor)
}

#[inline(never)]
pub(super) fn close(descriptor: u64) -> Result<u64, Errno> {
    let process = process::current();
    let mut files = process.files.get();
    if !files.close(descriptor) {
        return Err(Errno::EBADF);
    }
    process.files.set(files);
    Ok(0)
}

#[inline(never)]
pub(super) fn ioctl(descriptor: u64, request: u64, arg: u64) -> Result<u64, Errno> {
    match file(descriptor)? {
        File::Lab => device::ioctl(u64::from(request as u32), arg).map(|()| 0),
        File::Stream(_) => Err(Errno::ENOTTY),
    }
}

/// Whether a descriptor's file can be mapped.
pub(super) fn mappable(descriptor: u64) -> Result<(), Errno> {
    match file(descriptor)? {
        File::Lab => Ok(()),
        File::Stream(_) => Err(Errno::ENODEV),
    }
}
