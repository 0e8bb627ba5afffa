//! File systems come and go, and what is known about them.

use core::mem::MaybeUninit;

use faultlab_linux::vfs::{MountArguments, PATH_MAX, PathAt};

use super::{Errno, path, path_buffer, task};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::current_files;

/// `mount`. The source says nothing to file systems that have none, but is shown.
pub(super) fn mount(source: u64, target: u64, fstype: u64, flags: u64, data: u64) -> Result<u64, Errno> {
    /// What programs of long ago put into the upper half of the flags. Source: Linux `MS_MGC_VAL`.
    const MAGIC: u64 = 0xc0ed_0000;
    const MAGIC_MASK: u64 = 0xffff_0000;
    let mut source_buffer = [const { MaybeUninit::uninit() }; 128];
    let source = match source {
        0 => &b"none"[..],
        addr => uaccess::read_string(&mut source_buffer, addr)?.unwrap_or(b"?"),
    };
    let mut type_buffer = [const { MaybeUninit::uninit() }; 64];
    // A longer name is of nothing that there is.
    let fstype = match fstype {
        0 => None,
        addr => Some(uaccess::read_string(&mut type_buffer, addr)?.unwrap_or(b"?")),
    };
    let (target_buffer, data_buffer) = (&mut path_buffer(), &mut path_buffer());
    let data = match data {
        0 => &[][..],
        addr => uaccess::read_string(data_buffer, addr)?.ok_or(Errno::EINVAL)?,
    };
    let flags = if flags & MAGIC_MASK == MAGIC {
        flags & !MAGIC_MASK
    } else {
        flags
    };
    let arguments = MountArguments {
        source,
        target: path(target_buffer, target)?,
        fstype,
        flags,
        data,
    };
    LINUX.mount(&task(), &arguments).map(|()| 0)
}

pub(super) fn umount2(target: u64, flags: u64) -> Result<u64, Errno> {
    let buffer = &mut path_buffer();
    LINUX.umount(&task(), path(buffer, target)?, flags as u32).map(|()| 0)
}

pub(super) fn statfs(addr: u64, to: u64) -> Result<u64, Errno> {
    let buffer = &mut path_buffer();
    let inode = LINUX.find(&task(), PathAt::cwd(path(buffer, addr)?), 0, 0)?;
    uaccess::copy_to_user(to, &LINUX.statfs(inode)).map(|()| 0)
}

/// Streams are of no file system.
pub(super) fn fstatfs(descriptor: u64, to: u64) -> Result<u64, Errno> {
    let file = LINUX.get_any(current_files(), descriptor)?;
    let inode = file.inode().ok_or(Errno::ENOSYS)?;
    uaccess::copy_to_user(to, &LINUX.statfs(inode)).map(|()| 0)
}

const _: () = assert!(PATH_MAX == 4096, "options of a mount are a page at most, as a path is");
