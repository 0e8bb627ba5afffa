//! `ioctl` of descriptors of any kind, and `fcntl` of owners by structures.
//!
//! Source: Linux, fs/ioctl.c (`do_vfs_ioctl`), fs/fcntl.c; ioctl(2), fcntl(2).

use faultlab_linux::file::{Kind, o};

use super::super::{Errno, cred};
use super::file;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::task::process::current_files;

/// Requests. Source: Linux, include/uapi/asm-generic/ioctls.h.
mod request {
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const FIONBIO: u32 = 0x5421;
    pub(super) const FIONCLEX: u32 = 0x5450;
    pub(super) const FIOCLEX: u32 = 0x5451;
    pub(super) const FIOASYNC: u32 = 0x5452;
    pub(super) const FIOQSIZE: u32 = 0x5460;
}

/// `fcntl`'s names for close-on-exec.
const F_SETFD: u64 = 2;

/// Carries out a request that every descriptor knows; `None` for another.
pub(super) fn ioctl(descriptor: u64, request: u32, arg: u64) -> Option<Result<u64, Errno>> {
    Some(match request {
        request::FIOCLEX => set_cloexec(descriptor, 1),
        request::FIONCLEX => set_cloexec(descriptor, 0),
        request::FIONBIO => set_nonblock(descriptor, arg),
        request::FIOASYNC => set_async(descriptor, arg),
        request::FIONREAD | request::FIOQSIZE => match file(descriptor) {
            Ok(file) => match file.kind() {
                Kind::Object(inode) => {
                    let size = MEMORY.i_size(inode);
                    match request {
                        request::FIOQSIZE => uaccess::copy_to_user(arg, &size.to_le_bytes()),
                        _ => uaccess::copy_to_user(arg, &(size.wrapping_sub(file.f_pos()) as u32).to_le_bytes()),
                    }
                    .map(|()| 0)
                }
                Kind::Inotify if request == request::FIONREAD => {
                    let bytes = LINUX.inotify_available(file) as u32;
                    uaccess::copy_to_user(arg, &bytes.to_le_bytes()).map(|()| 0)
                }
                _ => return None,
            },
            Err(errno) => Err(errno),
        },
        _ => return None,
    })
}

fn set_cloexec(descriptor: u64, on: u64) -> Result<u64, Errno> {
    file(descriptor)?;
    LINUX.fcntl(cred::current(), current_files(), descriptor, F_SETFD, on)
}

fn is_on(arg: u64) -> Result<bool, Errno> {
    Ok(u32::from_le_bytes(uaccess::read(arg)?) != 0)
}

fn set_nonblock(descriptor: u64, arg: u64) -> Result<u64, Errno> {
    let file = file(descriptor)?;
    let on = if is_on(arg)? { o::NONBLOCK } else { 0 };
    file.set_f_flags(file.f_flags() & !o::NONBLOCK | on);
    Ok(0)
}

fn set_async(descriptor: u64, arg: u64) -> Result<u64, Errno> {
    file(descriptor)?;
    let on = is_on(arg)?;
    LINUX
        .fioasync(cred::current(), current_files(), descriptor, on)
        .map(|()| 0)
}

/// A command of `fcntl` about owners with a structure; `None` for another.
pub(super) fn fcntl_owner(descriptor: u64, command: u32, argument: u64) -> Option<Result<u64, Errno>> {
    const SETOWN_EX: u32 = 15;
    const GETOWN_EX: u32 = 16;
    const GETOWNER_UIDS: u32 = 17;
    if !(SETOWN_EX..=GETOWNER_UIDS).contains(&command) {
        return None;
    }
    let carried_out = file(descriptor).and_then(|file| match command {
        SETOWN_EX => LINUX.set_owner_ex(cred::current(), current_files(), descriptor, uaccess::read(argument)?),
        GETOWN_EX => uaccess::copy_to_user(argument, &LINUX.owner_ex(file)),
        _ => {
            let [real, effective] = LINUX.owner_users(file);
            let both = u64::from(real) | u64::from(effective) << 32;
            uaccess::copy_to_user(argument, &both.to_le_bytes())
        }
    });
    Some(carried_out.map(|()| 0))
}
