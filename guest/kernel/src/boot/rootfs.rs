//! The root file system: a tmpfs with the files of the initrd, and what every Linux has in `/dev`.
//!
//! Where a file's content begins on a page of the archive, its whole pages are not copied: their frames become pages of the file. The
//! rest of the archive comes free at the end.
//!
//! Source: Linux, init/initramfs.c (`do_name`, `do_copy`), init/do_mounts.c.

use core::ops::Range;

use faultlab_abi::layout::{INITRD_ARGV, PAGE_SIZE};
use faultlab_kernel::text::Line;
use faultlab_kernel::{cpio, line};
use faultlab_linux::Errno;
use faultlab_linux::file::{LAB_DEVICE, TTY_DEVICE};
use faultlab_linux::vfs::{MountArguments, Owner, PathAt, Task, s};
use faultlab_mm::addr::Pfn;
use faultlab_mm::shmem::InodeId;

use crate::dev::{lab, swap_disk, terminal};
use crate::mem::platform::{LINUX, MEMORY};
use crate::report::{log, panic};

/// Devices: name and number.
const DEVICES: [(&[u8], u32); 5] = [
    (b"/dev/null", 0x103),
    (b"/dev/zero", 0x105),
    (b"/dev/full", 0x107),
    (b"/dev/random", 0x108),
    (b"/dev/urandom", 0x109),
];
/// Links: name and target. Source: Linux, init programs since devfs; fd(4).
const LINKS: [(&[u8], &[u8]); 4] = [
    (b"/dev/fd", b"/proc/self/fd"),
    (b"/dev/stdin", b"/proc/self/fd/0"),
    (b"/dev/stdout", b"/proc/self/fd/1"),
    (b"/dev/stderr", b"/proc/self/fd/2"),
];

/// Fills the root, which must be mounted, on behalf of the first program.
///
/// Files whose names cannot be are left out, and named in the log.
pub(crate) fn populate(task: &Task, initrd: Pfn, archive: &[u8]) {
    let devices = || -> Result<(), Errno> {
        directory(task, b"/dev")?;
        directory(task, b"/dev/shm")?;
        for (path, number) in DEVICES {
            LINUX.mknodat(task, PathAt::cwd(path), s::IFCHR | 0o666, number)?;
        }
        for (path, number) in swap_disk::nodes() {
            LINUX.mknodat(task, PathAt::cwd(&path), s::IFBLK | 0o660, number as u32)?;
        }
        if terminal::is_present() {
            LINUX.mknodat(task, PathAt::cwd(b"/dev/tty"), s::IFCHR | 0o666, TTY_DEVICE as u32)?;
        }
        if lab::is_present() {
            LINUX.mknodat(task, PathAt::cwd(b"/dev/faultlab"), s::IFCHR | 0o666, LAB_DEVICE as u32)?;
        }
        for (path, target) in LINKS {
            LINUX.symlinkat(task, target, PathAt::cwd(path))?;
        }
        mount(task, b"tmpfs", b"/dev/shm")?;
        directory(task, b"/proc")?;
        mount(task, b"proc", b"/proc")?;
        directory(task, b"/sys")?;
        mount(task, b"sysfs", b"/sys")
    };
    devices().unwrap_or_else(|Errno(number)| {
        panic::boot(&line![
            "boot: no /dev, /proc or /sys (errno ",
            u32::from(number),
            "); give the guest more memory"
        ])
    });
    // Every archive is looked through before: a malformed one does not come here.
    for entry in cpio::entries(archive).flatten() {
        let name = &archive[entry.name.clone()];
        if is_for_the_kernel(name) {
            continue;
        }
        let mut pages = whole_pages(archive, &entry);
        if let Err(Errno(number)) = unpack(task, initrd, archive, &entry, &mut pages) {
            free(initrd, pages);
            if matches!(Errno(number), Errno::ENOMEM | Errno::ENOSPC) {
                panic::boot(&line!["initrd: no room for \"", name, "\"; give the guest more memory"]);
            }
            let text: Line = line!["initrd: \"", name, "\" left out (errno ", u32::from(number), ")"];
            log::warn(&text);
        }
    }
}

/// Mounts a file system of a kind, without options.
fn mount(task: &Task, kind: &[u8], target: &[u8]) -> Result<(), Errno> {
    let arguments = MountArguments {
        source: kind,
        target,
        fstype: Some(kind),
        flags: 0,
        data: b"",
    };
    LINUX.mount(task, &arguments)
}

/// Frees what is left of the initrd: everything but the frames that became pages. The archive is gone then.
pub(crate) fn free_archive(initrd: Pfn, archive: &[u8]) {
    let mut next = 0;
    for entry in cpio::entries(archive).flatten() {
        let pages = whole_pages(archive, &entry);
        if !pages.is_empty() {
            free(initrd, next..pages.start);
            next = pages.end;
        }
    }
    free(initrd, next..(archive.len() as u64).div_ceil(PAGE_SIZE));
}

/// Frees pages of the initrd.
fn free(initrd: Pfn, pages: Range<u64>) {
    for page in pages {
        MEMORY.free_given(Pfn(initrd.0 + page as u32));
    }
}

/// Pages of the archive that are to be pages of a file, if there are any.
fn whole_pages(archive: &[u8], entry: &cpio::Entry) -> Range<u64> {
    let (start, end) = (entry.data.start as u64, entry.data.end as u64);
    let is_file = entry.mode & s::IFMT == s::IFREG && !is_for_the_kernel(&archive[entry.name.clone()]);
    if is_file && start.is_multiple_of(PAGE_SIZE) {
        start / PAGE_SIZE..end / PAGE_SIZE
    } else {
        0..0
    }
}

/// Whether a name is in the directory of the kernel's own arguments.
fn is_for_the_kernel(name: &[u8]) -> bool {
    let directory = INITRD_ARGV.split('/').next().unwrap_or_default().as_bytes();
    name.split(|&byte| byte == b'/').next() == Some(directory)
}

/// Makes a file of an archive. Of the `pages` that its content has there, those are left that did not become pages of the file.
fn unpack(task: &Task, initrd: Pfn, archive: &[u8], entry: &cpio::Entry, pages: &mut Range<u64>) -> Result<(), Errno> {
    let name = &archive[entry.name.clone()];
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
        s::IFLNK => return LINUX.symlinkat(task, &archive[entry.data.clone()], at),
        s::IFREG => {
            LINUX.mknodat(task, at, s::IFREG | rights, 0)?;
            let inode = LINUX.find(task, at, 0, 0)?;
            fill(inode, initrd, &archive[entry.data.clone()], pages)?;
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

/// Gives a new file its content, whose whole `pages` are not copied.
fn fill(inode: InodeId, initrd: Pfn, content: &[u8], pages: &mut Range<u64>) -> Result<(), Errno> {
    let first = pages.start;
    MEMORY.shmem_truncate(inode, content.len() as u64)?;
    while !pages.is_empty() {
        MEMORY.shmem_add_frame(inode, pages.start - first, Pfn(initrd.0 + pages.start as u32))?;
        pages.start += 1;
    }
    let done = (pages.end - first) * PAGE_SIZE;
    Ok(MEMORY.kernel_write(inode, done, &content[done as usize..])?)
}

/// A directory that may be there already.
fn directory(task: &Task, path: &[u8]) -> Result<(), Errno> {
    match LINUX.mkdirat(task, PathAt::cwd(path), 0o755) {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}
