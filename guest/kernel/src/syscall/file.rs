//! Descriptors: what they name, and what is known about it.

use faultlab_abi::dev;
use faultlab_linux::file::{File, Kind};
use faultlab_linux::memfd;
use faultlab_mm::mmap::MapFile;

use super::{Errno, cred, device};
use crate::lab;
use crate::platform::{LINUX, MEMORY};
use crate::process::current_files;
use crate::uaccess;

/// What a descriptor of the running process names.
#[inline]
pub(super) fn file(descriptor: u64) -> Result<File<'static>, Errno> {
    LINUX.get(current_files(), descriptor)
}

/// `open` and `openat`: there is one file, at an absolute path.
#[inline(never)]
pub(super) fn open(path: u64, flags: u64) -> Result<u64, Errno> {
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
    LINUX.open_lab(current_files(), flags)
}

#[inline(never)]
pub(super) fn close(descriptor: u64) -> Result<u64, Errno> {
    LINUX.close(current_files(), descriptor).map(|()| 0)
}

#[inline(never)]
pub(super) fn ioctl(descriptor: u64, request: u64, arg: u64) -> Result<u64, Errno> {
    match file(descriptor)?.kind() {
        Kind::Lab => device::ioctl(u64::from(request as u32), arg).map(|()| 0),
        Kind::Stream(_) | Kind::Object(_) => Err(Errno::ENOTTY),
    }
}

#[inline(never)]
pub(super) fn dup(descriptor: u64) -> Result<u64, Errno> {
    LINUX.dup(current_files(), descriptor, 0, false)
}

#[inline(never)]
pub(super) fn dup2(old: u64, new: u64) -> Result<u64, Errno> {
    LINUX.dup2(current_files(), old, new)
}

#[inline(never)]
pub(super) fn dup3(old: u64, new: u64, flags: u64) -> Result<u64, Errno> {
    LINUX.dup3(current_files(), old, new, flags)
}

#[inline(never)]
pub(super) fn fcntl(descriptor: u64, command: u64, argument: u64) -> Result<u64, Errno> {
    LINUX.fcntl(current_files(), descriptor, command, argument)
}

/// `memfd_create(name, flags)`. Rule C46.
#[inline(never)]
pub(super) fn memfd_create(name: u64, flags: u64) -> Result<u64, Errno> {
    memfd::check_flags(flags)?;
    if uaccess::string_len(name, memfd::NAME_MAX)?.is_none() {
        return Err(Errno::EINVAL);
    }
    let cred = cred::current();
    LINUX.memfd_create(current_files(), flags, (cred.user.effective, cred.group.effective))
}

#[inline(never)]
pub(super) fn fstat(descriptor: u64, addr: u64) -> Result<u64, Errno> {
    let stat = LINUX.fstat(file(descriptor)?);
    uaccess::copy_to_user(addr, &stat).map(|()| 0)
}

/// `fchmod`: root's and the owner's to use.
#[inline(never)]
pub(super) fn fchmod(descriptor: u64, mode: u64) -> Result<u64, Errno> {
    let Kind::Object(inode) = file(descriptor)?.kind() else {
        return Err(Errno::EPERM);
    };
    let cred = cred::current();
    if !cred.privileged() && cred.user.effective != MEMORY.getattr(inode).uid {
        return Err(Errno::EPERM);
    }
    Ok(MEMORY.shmem_chmod(inode, mode as u32).map(|()| 0)?)
}

/// The object that a descriptor names, to be mapped; `None` for `/dev/faultlab`.
pub(super) fn mmap_target(descriptor: u64) -> Result<Option<MapFile>, Errno> {
    match LINUX.map_file(file(descriptor)?) {
        Ok(object) => Ok(Some(object)),
        Err(Kind::Lab) => Ok(None),
        Err(_) => Err(Errno::ENODEV),
    }
}
