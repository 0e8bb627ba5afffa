//! What is known about files, asked and changed.

use faultlab_linux::vfs::{Fs, Owner, Time, at};
use faultlab_mm::shmem::InodeId;

use super::{Errno, path_at, path_buffer, task};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::syscall::cred;
use crate::syscall::file::file;
use crate::task::process::current_files;

const STAT_FLAGS: u32 = at::SYMLINK_NOFOLLOW | at::NO_AUTOMOUNT | at::EMPTY_PATH;

pub(super) fn fstat(descriptor: u64, to: u64) -> Result<u64, Errno> {
    let stat = LINUX.fstat(LINUX.get_any(current_files(), descriptor)?);
    uaccess::copy_to_user(to, &stat.encode()).map(|()| 0)
}

pub(super) fn fstatat(dirfd: u64, addr: u64, to: u64, flags: u64) -> Result<u64, Errno> {
    if let Some(descriptor) = itself(dirfd, addr, flags)? {
        return fstat(descriptor, to);
    }
    let inode = find(dirfd, addr, flags, STAT_FLAGS)?;
    uaccess::copy_to_user(to, &LINUX.stat(inode).encode()).map(|()| 0)
}

pub(super) fn statx(dirfd: u64, addr: u64, flags: u64, mask: u64, to: u64) -> Result<u64, Errno> {
    const STATX__RESERVED: u32 = 0x8000_0000;
    let sync = flags as u32 & at::STATX_SYNC_TYPE;
    if mask as u32 & STATX__RESERVED != 0 || sync == at::STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let stat = match itself(dirfd, addr, flags)? {
        Some(descriptor) => LINUX.fstat(LINUX.get_any(current_files(), descriptor)?),
        None => LINUX.stat(find(dirfd, addr, flags, STAT_FLAGS | at::STATX_SYNC_TYPE)?),
    };
    uaccess::copy_to_user(to, &stat.encode_statx()).map(|()| 0)
}

/// The descriptor, if a call is about what it names: with the empty path, or, since Linux 6.11, none, if flags allow that. Such a descriptor may
/// have no inode.
fn itself(dirfd: u64, addr: u64, flags: u64) -> Result<Option<u64>, Errno> {
    let asked = flags as u32 & at::EMPTY_PATH != 0 && (dirfd as i32) >= 0;
    Ok((asked && (addr == 0 || uaccess::read::<1>(addr)? == [0])).then_some(dirfd))
}

/// The object that a call is about.
fn find(dirfd: u64, addr: u64, flags: u64, known: u32) -> Result<InodeId, Errno> {
    if flags as u32 & !known != 0 {
        return Err(Errno::EINVAL);
    }
    LINUX.find(&task(), path_at(&mut path_buffer(), dirfd, addr)?, flags as u32, known)
}

/// The object of a descriptor that may be changed.
///
/// # Errors
/// `EBADF`; `EPERM` for what is no file of anybody's.
fn object(descriptor: u64) -> Result<InodeId, Errno> {
    file(descriptor)?.inode().ok_or(Errno::EPERM)
}

pub(super) fn fchmod(descriptor: u64, mode: u64) -> Result<u64, Errno> {
    LINUX
        .chmod(cred::current(), object(descriptor)?, mode as u32)
        .map(|()| 0)
}

pub(super) fn fchmodat(dirfd: u64, addr: u64, mode: u64, flags: u64) -> Result<u64, Errno> {
    let inode = find(dirfd, addr, flags, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    LINUX.chmod(cred::current(), inode, mode as u32).map(|()| 0)
}

fn owner(user: u64, group: u64) -> Owner {
    Owner {
        user: user as u32,
        group: group as u32,
    }
}

pub(super) fn fchown(descriptor: u64, user: u64, group: u64) -> Result<u64, Errno> {
    LINUX
        .chown(cred::current(), object(descriptor)?, owner(user, group))
        .map(|()| 0)
}

pub(super) fn fchownat(dirfd: u64, addr: u64, user: u64, group: u64, flags: u64) -> Result<u64, Errno> {
    let inode = find(dirfd, addr, flags, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    LINUX.chown(cred::current(), inode, owner(user, group)).map(|()| 0)
}

pub(super) fn utimensat(dirfd: u64, addr: u64, times: u64, flags: u64) -> Result<u64, Errno> {
    let times = if times == 0 {
        [Time::Now; 2]
    } else {
        let bytes: [u8; 32] = uaccess::read(times)?;
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| i64::from_le_bytes(*word));
        [
            Time::of_timespec(word(0), word(8))?,
            Time::of_timespec(word(16), word(24))?,
        ]
    };
    if times == [Time::Omit; 2] {
        return Ok(0);
    }
    let inode = if addr == 0 && dirfd as i32 >= 0 {
        if flags as u32 != 0 {
            return Err(Errno::EINVAL);
        }
        object(dirfd)?
    } else {
        find(dirfd, addr, flags, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?
    };
    LINUX.utimens(cred::current(), inode, times).map(|()| 0)
}

/// `utime`: whole seconds.
pub(super) fn utime(addr: u64, times: u64) -> Result<u64, Errno> {
    let times = match times {
        0 => [Time::Now; 2],
        times => {
            let [access, change] = words::<2>(times)?;
            [Time::of_timespec(access, 0)?, Time::of_timespec(change, 0)?]
        }
    };
    let inode = find(super::CWD, addr, 0, 0)?;
    LINUX.utimens(cred::current(), inode, times).map(|()| 0)
}

/// `futimesat`, and `utimes`: microseconds. Without a path, of the descriptor.
pub(super) fn futimesat(dirfd: u64, addr: u64, times: u64) -> Result<u64, Errno> {
    const US_PER_S: i64 = 1_000_000;
    let times = match times {
        0 => [Time::Now; 2],
        times => {
            let [access, access_us, change, change_us] = words::<4>(times)?;
            if !(0..US_PER_S).contains(&access_us) || !(0..US_PER_S).contains(&change_us) {
                return Err(Errno::EINVAL);
            }
            [
                Time::of_timespec(access, access_us * 1000)?,
                Time::of_timespec(change, change_us * 1000)?,
            ]
        }
    };
    let inode = if addr == 0 && dirfd as i32 >= 0 {
        object(dirfd)?
    } else {
        find(dirfd, addr, 0, 0)?
    };
    LINUX.utimens(cred::current(), inode, times).map(|()| 0)
}

/// Signed words.
fn words<const WORDS: usize>(addr: u64) -> Result<[i64; WORDS], Errno> {
    let mut words = [0; WORDS];
    for (word, at) in words.iter_mut().zip((addr..).step_by(8)) {
        *word = i64::from_le_bytes(uaccess::read(at)?);
    }
    Ok(words)
}

pub(super) fn faccessat(dirfd: u64, addr: u64, rights: u64, flags: u64) -> Result<u64, Errno> {
    let at = &mut path_buffer();
    LINUX
        .faccessat(&task(), path_at(at, dirfd, addr)?, rights as u32, flags as u32)
        .map(|()| 0)
}

pub(super) fn truncate(addr: u64, size: u64) -> Result<u64, Errno> {
    let at = &mut path_buffer();
    LINUX
        .truncate(
            &task(),
            crate::syscall::writer::writer().fsize,
            path_at(at, super::CWD, addr)?,
            size,
        )
        .map(|()| 0)
}

/// The mask that there was.
pub(super) fn umask(mask: u64) -> u64 {
    const S_IRWXUGO: u32 = 0o777;
    let old = task().fs;
    super::directory::set_fs(Fs {
        umask: mask as u32 & S_IRWXUGO,
        ..old
    });
    u64::from(old.umask)
}
