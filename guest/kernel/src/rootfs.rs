//! The root file system: a tmpfs with the files of the initrd, and what every Linux has in `/dev`.
//!
//! Source: Linux, init/initramfs.c (`do_name`, `do_copy`), init/do_mounts.c.

use faultlab_abi::layout::INITRD_ARGV;
use faultlab_kernel::text::Line;
use faultlab_kernel::{cpio, line};
use faultlab_linux::file::LAB_DEVICE;
use faultlab_linux::vfs::{MountArguments, Owner, PathAt, Task, s};

use crate::platform::{LINUX, MEMORY};
use crate::syscall::Errno;
use crate::{boot, lab, log};

/// Devices: name and number.
const DEVICES: [(&[u8], u32); 3] = [(b"/dev/null", 0x103), (b"/dev/zero", 0x105), (b"/dev/full", 0x107)];

/// Fills the root, which must be mounted, on behalf of the first program.
///
/// Files whose names cannot be are left out, and named in the log.
pub(crate) fn populate(task: &Task, archive: &[u8]) {
    let devices = || -> Result<(), Errno> {
        directory(task, b"/dev")?;
        directory(task, b"/dev/shm")?;
        for (path, number) in DEVICES {
            LINUX.mknodat(task, PathAt::cwd(path), s::IFCHR | 0o666, number)?;
        }
        if lab::is_present() {
            LINUX.mknodat(task, PathAt::cwd(b"/dev/faultlab"), s::IFCHR | 0o666, LAB_DEVICE as u32)?;
        }
        let shm = MountArguments {
            target: b"/dev/shm",
            fstype: Some(b"tmpfs"),
            flags: 0,
            data: b"",
        };
        LINUX.mount(task, &shm)
    };
    devices().unwrap_or_else(|Errno(number)| boot::fail(&line!["boot: no /dev (errno ", u32::from(number), ")"]));
    // Every archive is looked through before: a malformed one does not come here.
    for entry in cpio::entries(archive).flatten() {
        let name = &archive[entry.name.clone()];
        if is_for_the_kernel(name) {
            continue;
        }
        if let Err(Errno(number)) = unpack(task, name, &entry, &archive[entry.data.clone()]) {
            let text: Line = line!["initrd: \"", name, "\" left out (errno ", u32::from(number), ")"];
            log::warn(&text);
        }
    }
}

/// Whether a name is in the directory of the kernel's own arguments.
fn is_for_the_kernel(name: &[u8]) -> bool {
    let directory = INITRD_ARGV.split('/').next().unwrap_or_default().as_bytes();
    name.split(|&byte| byte == b'/').next() == Some(directory)
}

fn unpack(task: &Task, name: &[u8], entry: &cpio::Entry, content: &[u8]) -> Result<(), Errno> {
    if name.is_empty() || name == b"." {
        return Ok(());
    }
    for (at, _) in name.iter().enumerate().filter(|&(at, &byte)| at != 0 && byte == b'/') {
        directory(task, &name[..at])?;
    }
    let at = PathAt::cwd(name);
    let rights = entry.mode & s::IALLUGO;
    match entry.mode & s::IFMT {
        s::IFDIR => directory(task, name)?,
        s::IFLNK => return LINUX.symlinkat(task, content, at),
        s::IFREG => {
            LINUX.mknodat(task, at, s::IFREG | rights, 0)?;
            let inode = LINUX.find(task, at, 0, 0)?;
            MEMORY.kernel_write(inode, 0, content)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    let inode = LINUX.find(task, at, 0, 0)?;
    let owner = Owner {
        user: entry.uid,
        group: entry.gid,
    };
    LINUX.chown(task.cred, inode, owner)?;
    LINUX.chmod(task.cred, inode, rights)
}

/// A directory that may be there already.
fn directory(task: &Task, path: &[u8]) -> Result<(), Errno> {
    match LINUX.mkdirat(task, PathAt::cwd(path), 0o755) {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}
