//! `setxattr getxattr listxattr removexattr`, and their relatives for links and descriptors. Rule C38.

use faultlab_linux::vfs::{PathAt, XATTR_NAME_MAX, XATTR_SIZE_MAX, xattr_flag};
use faultlab_mm::Error;
use faultlab_mm::shmem::InodeId;

use core::mem::MaybeUninit;

use super::{CWD, Errno, path_at, path_buffer, task};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::syscall::cred;
use crate::syscall::file::file;

/// How a call names what it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Path,
    Link,
    Descriptor,
}

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 256;

type NameBuffer = [MaybeUninit<u8>; XATTR_NAME_MAX + 1];

const fn name_buffer() -> NameBuffer {
    [const { MaybeUninit::uninit() }; XATTR_NAME_MAX + 1]
}

/// The name of an attribute.
fn name(buffer: &mut NameBuffer, addr: u64) -> Result<&[u8], Errno> {
    let name = uaccess::read_string(buffer, addr)?.unwrap_or_default();
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// The object that a call is about; not every descriptor has one.
fn object(of: Of, target: u64) -> Result<Option<InodeId>, Errno> {
    if of == Of::Descriptor {
        return Ok(file(target)?.inode());
    }
    let at = &mut path_buffer();
    let at: PathAt<'_> = path_at(at, CWD, target)?;
    LINUX.xattr_object(&task(), at, of == Of::Path).map(Some)
}

#[inline(never)]
pub(super) fn set(of: Of, target: u64, attribute: u64, value: u64, size: u64, flags: u64) -> Result<u64, Errno> {
    if flags as u32 & !((xattr_flag::CREATE | xattr_flag::REPLACE) as u32) != 0 {
        return Err(Errno::EINVAL);
    }
    let buffer = &mut name_buffer();
    let name = name(buffer, attribute)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let fill = |at: u64, piece: &mut [u8]| uaccess::copy_from_user(piece, value + at).map_err(|_| Error::Efault);
    // A value that cannot be read is told before anything else is looked at.
    let mut at = 0;
    while at < size {
        let mut piece = [0; PIECE_BYTES];
        let part = &mut piece[..PIECE_BYTES.min((size - at) as usize)];
        fill(at, part)?;
        at += part.len() as u64;
    }
    let inode = object(of, target)?;
    LINUX
        .set_xattr(cred::current(), inode, name, (size, flags), fill)
        .map(|()| 0)
}

#[inline(never)]
pub(super) fn get(of: Of, target: u64, attribute: u64, to: u64, size: u64) -> Result<u64, Errno> {
    let buffer = &mut name_buffer();
    let name = name(buffer, attribute)?;
    let inode = object(of, target)?;
    let xattr = LINUX.get_xattr(cred::current(), inode, name)?;
    if size == 0 {
        return Ok(xattr.size);
    }
    if xattr.size > size {
        return Err(Errno::ERANGE);
    }
    let mut at = 0;
    while at < xattr.size {
        let mut piece = [0; PIECE_BYTES];
        let len = LINUX.read_xattr(xattr, at, &mut piece)?;
        uaccess::copy_to_user(to + at, &piece[..len])?;
        at += len as u64;
    }
    Ok(xattr.size)
}

#[inline(never)]
pub(super) fn list(of: Of, target: u64, to: u64, size: u64) -> Result<u64, Errno> {
    let inode = object(of, target)?;
    let mut needed = 0;
    LINUX.list_xattrs(cred::current(), inode, |name| {
        needed += name.len() as u64 + 1;
        true
    })?;
    if needed > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    if size == 0 {
        return Ok(needed);
    }
    if needed > size {
        return Err(Errno::ERANGE);
    }
    let mut at = to;
    let mut copied = Ok(());
    LINUX.list_xattrs(cred::current(), inode, |name| {
        copied = uaccess::copy_to_user(at, name).and_then(|()| uaccess::copy_to_user(at + name.len() as u64, &[0]));
        at += name.len() as u64 + 1;
        copied.is_ok()
    })?;
    copied.map(|()| needed)
}

#[inline(never)]
pub(super) fn remove(of: Of, target: u64, attribute: u64) -> Result<u64, Errno> {
    let buffer = &mut name_buffer();
    let name = name(buffer, attribute)?;
    let inode = object(of, target)?;
    LINUX.remove_xattr(cred::current(), inode, name).map(|()| 0)
}
