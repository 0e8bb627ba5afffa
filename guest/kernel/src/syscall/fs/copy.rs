//! Bytes from file to file.

use faultlab_linux::copy::Place;
use faultlab_linux::read_write::At;

use super::Errno;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::syscall::file::file;
use crate::syscall::writer::{send_exceeded, writer};

/// Where a call begins: at the offset that a pointer points to, or at the position.
pub(in super::super) fn at(offset: u64) -> Result<At, Errno> {
    if offset == 0 {
        return Ok(At::Position);
    }
    match u64::from_le_bytes(uaccess::read(offset)?) {
        negative if negative.cast_signed() < 0 => Err(Errno::EINVAL),
        offset => Ok(At::Offset(offset)),
    }
}

/// Tells the program how far its offset went.
pub(in super::super) fn tell(offset: u64, at: At, done: u64) -> Result<(), Errno> {
    match at {
        At::Position => Ok(()),
        At::Offset(old) => uaccess::copy_to_user(offset, &(old + done).to_le_bytes()),
    }
}

pub(super) fn sendfile(to: u64, from: u64, offset: u64, count: u64) -> Result<u64, Errno> {
    let place = Place {
        at: at(offset)?,
        file: file(from)?,
    };
    let (done, exceeded) = LINUX.sendfile(writer(), file(to)?, place, count)?;
    if exceeded {
        send_exceeded();
        // Signals are looked for on the long way.
        MEMORY.defer_work();
    }
    tell(offset, place.at, done)?;
    Ok(done)
}

pub(super) fn copy_file_range([from, from_offset, to, to_offset, len, flags]: [u64; 6]) -> Result<u64, Errno> {
    let (source, target) = (file(from)?, file(to)?);
    let source = Place {
        at: at(from_offset)?,
        file: source,
    };
    let target = Place {
        at: at(to_offset)?,
        file: target,
    };
    let done = LINUX.copy_file_range(writer(), source, target, len, flags)?;
    tell(from_offset, source.at, done)?;
    tell(to_offset, target.at, done)?;
    Ok(done)
}
