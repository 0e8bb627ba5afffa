//! Descriptors: what they name, and what is known about it.

use faultlab_linux::file::{File, Kind};
use faultlab_linux::memfd;
use faultlab_linux::wait::Call;
use faultlab_mm::mmap::MapFile;

use super::locks::{self, LockCommand};
use super::{Errno, cred, device, userfault};
use crate::dev::terminal;
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{self, current_files};
use crate::task::sched;

mod generic;

/// How much can be read. Source: ioctl_tty(2).
const FIONREAD: u32 = 0x541b;

/// What a descriptor of the running process names.
#[inline]
pub(super) fn file(descriptor: u64) -> Result<File<'static>, Errno> {
    LINUX.get(current_files(), descriptor)
}

/// What the first (0) or second (1) descriptor of a call names that may wait: the same at every attempt.
pub(super) fn file_of_call(descriptor: u64, which: usize) -> Result<File<'static>, Errno> {
    LINUX.get_for(&process::current().waiter, current_files(), descriptor, which)
}

#[inline(never)]
pub(super) fn close(descriptor: u64) -> Result<u64, Errno> {
    let result = LINUX.close(current_files(), descriptor).map(|()| 0);
    sched::wake_waiters();
    result
}

#[inline(never)]
pub(super) fn ioctl(descriptor: u64, request: u64, arg: u64) -> Result<u64, Errno> {
    if let Some(result) = generic::ioctl(descriptor, request as u32, arg) {
        return result;
    }
    match file(descriptor)?.kind() {
        Kind::Lab => device::ioctl(u64::from(request as u32), arg).map(|()| 0),
        Kind::Userfault(id) => userfault::ioctl(id, request as u32, arg),
        Kind::Pipe(inode) if request as u32 == FIONREAD => {
            let bytes = LINUX.pipe_available(inode) as u32;
            uaccess::copy_to_user(arg, &bytes.to_le_bytes()).map(|()| 0)
        }
        // It may have to wait, or stop its process.
        Kind::Stream(stream) if terminal::is(stream) => Err(Errno::RESTART),
        _ => Err(Errno::ENOTTY),
    }
}

#[inline(never)]
pub(super) fn dup(descriptor: u64) -> Result<u64, Errno> {
    LINUX.dup(current_files(), descriptor, 0, false)
}

#[inline(never)]
pub(super) fn dup2(old: u64, new: u64) -> Result<u64, Errno> {
    let result = LINUX.dup2(current_files(), old, new);
    sched::wake_waiters();
    result
}

#[inline(never)]
pub(super) fn dup3(old: u64, new: u64, flags: u64) -> Result<u64, Errno> {
    let result = LINUX.dup3(current_files(), old, new, flags);
    sched::wake_waiters();
    result
}

#[inline(never)]
pub(super) fn fcntl(descriptor: u64, command: u64, argument: u64) -> Result<u64, Errno> {
    if let Some(lock) = LockCommand::of(command) {
        return match locks::fcntl(descriptor, lock, argument, None)? {
            Call::Done(value) => Ok(value),
            Call::Wait => Err(Errno::RESTART),
        };
    }
    if let Some(result) = generic::fcntl_owner(descriptor, command as u32, argument) {
        return result;
    }
    LINUX.fcntl(cred::current(), current_files(), descriptor, command, argument)
}

/// `memfd_create(name, flags)`. Rule C46.
#[inline(never)]
pub(super) fn memfd_create(name: u64, flags: u64) -> Result<u64, Errno> {
    memfd::check_flags(flags)?;
    let len = uaccess::string_len(name, memfd::NAME_MAX)?.ok_or(Errno::EINVAL)?;
    let mut text = [0; memfd::NAME_MAX];
    uaccess::copy_from_user(&mut text[..len], name)?;
    let cred = cred::current();
    let owner = (cred.user.effective, cred.group.effective);
    LINUX.memfd_create_named(current_files(), flags, owner, &text[..len])
}

/// What a descriptor names, to be mapped.
pub(super) enum MapTarget {
    /// A file.
    File(MapFile),
    /// `/dev/zero`: nobody's memory.
    Anonymous {
        /// Whether the descriptor writes.
        writable: bool,
    },
    /// `/dev/faultlab`.
    Lab,
}

/// What there is to be mapped of a descriptor.
pub(super) fn mmap_target(descriptor: u64, prot: u64, flags: u64) -> Result<MapTarget, Errno> {
    let file = file(descriptor)?;
    match LINUX.map_file(file) {
        Ok(object) => Ok(MapTarget::File(object)),
        Err(Kind::Lab) => Ok(MapTarget::Lab),
        Err(Kind::Zero) => match LINUX.refuse_map(file, prot, flags) {
            Errno::EACCES => Err(Errno::EACCES),
            _ => Ok(MapTarget::Anonymous {
                writable: file.writable(),
            }),
        },
        Err(_) => Err(LINUX.refuse_map(file, prot, flags)),
    }
}

/// Notes that the file behind a descriptor was mapped.
pub(super) fn accessed(descriptor: u64) {
    if let Ok(file) = file(descriptor) {
        LINUX.file_accessed(file);
    }
}
