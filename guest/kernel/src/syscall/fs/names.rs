//! Names come, go and change.

use super::{Errno, path, path_at, path_buffer, task};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::current_files;

pub(super) fn mkdirat(dirfd: u64, addr: u64, mode: u64) -> Result<u64, Errno> {
    let at = &mut path_buffer();
    LINUX
        .mkdirat(&task(), path_at(at, dirfd, addr)?, mode as u32)
        .map(|()| 0)
}

pub(super) fn mknodat(dirfd: u64, addr: u64, mode: u64, device: u64) -> Result<u64, Errno> {
    let at = &mut path_buffer();
    LINUX
        .mknodat(&task(), path_at(at, dirfd, addr)?, mode as u32, device as u32)
        .map(|()| 0)
}

pub(super) fn unlinkat(dirfd: u64, addr: u64, flags: u64) -> Result<u64, Errno> {
    let at = &mut path_buffer();
    LINUX
        .unlinkat(&task(), path_at(at, dirfd, addr)?, flags as u32)
        .map(|()| 0)
}

pub(super) fn renameat(from: u64, old: u64, to: u64, new: u64, flags: u64) -> Result<u64, Errno> {
    let (old_buffer, new_buffer) = (&mut path_buffer(), &mut path_buffer());
    let (old, new) = (path_at(old_buffer, from, old)?, path_at(new_buffer, to, new)?);
    LINUX.renameat2(&task(), old, new, flags as u32).map(|()| 0)
}

pub(super) fn linkat(from: u64, old: u64, to: u64, new: u64, flags: u64) -> Result<u64, Errno> {
    let (old_buffer, new_buffer) = (&mut path_buffer(), &mut path_buffer());
    let (old, new) = (path_at(old_buffer, from, old)?, path_at(new_buffer, to, new)?);
    LINUX.linkat(&task(), old, new, flags as u32).map(|()| 0)
}

pub(super) fn symlinkat(target: u64, dirfd: u64, addr: u64) -> Result<u64, Errno> {
    let (target_buffer, buffer) = (&mut path_buffer(), &mut path_buffer());
    let target = path(target_buffer, target)?;
    LINUX
        .symlinkat(&task(), target, path_at(buffer, dirfd, addr)?)
        .map(|()| 0)
}

/// How many bytes of the target there were room for.
pub(super) fn readlinkat(dirfd: u64, addr: u64, to: u64, bytes: u64) -> Result<u64, Errno> {
    let room = u64::from(bytes as u32);
    if (bytes as i32) <= 0 {
        return Err(Errno::EINVAL);
    }
    let link = LINUX.find_link(&task(), path_at(&mut path_buffer(), dirfd, addr)?)?;
    let mut done = 0;
    loop {
        let mut chunk = [0; 128];
        let wanted = (room - done).min(chunk.len() as u64) as usize;
        let read = LINUX.read_link(link, done, &mut chunk[..wanted])?;
        if read == 0 {
            return Ok(done);
        }
        uaccess::copy_to_user(to.wrapping_add(done), &chunk[..read])?;
        done += read as u64;
    }
}

/// `inotify_add_watch(descriptor, path, mask)`.
pub(super) fn inotify_add_watch(descriptor: u64, addr: u64, mask: u64) -> Result<u64, Errno> {
    LINUX.check_watch(current_files(), descriptor, mask)?;
    let buffer = &mut path_buffer();
    LINUX.inotify_add_watch(&task(), descriptor, path_at(buffer, super::CWD, addr)?, mask)
}
