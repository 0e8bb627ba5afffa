//! Calls that take a path, or are about files that have one. What they mean is decided in [`faultlab_linux::vfs`]; here are their
//! numbers, arguments and structures.
//!
//! | file | calls |
//! |---|---|
//! | `mod.rs` | the dispatch; `open openat creat` |
//! | `names.rs` | `mkdir rmdir unlink rename link symlink readlink mknod` and their `*at` |
//! | `attributes.rs` | `stat lstat fstat newfstatat statx chmod chown utimensat access truncate umask` and their relatives, `utime utimes futimesat` |
//! | `directory.rs` | `getdents64 chdir fchdir getcwd` |
//! | `xattr.rs` | `setxattr getxattr listxattr removexattr` and their relatives for links and descriptors |
//! | `copy.rs` | `sendfile copy_file_range` |
//! | `mounts.rs` | `mount umount2 statfs fstatfs sync syncfs` |
//!
//! Source: the man page of each.

use core::mem::MaybeUninit;

use faultlab_linux::file::o;
use faultlab_linux::stat::Stat;
use faultlab_linux::vfs::{AT_FDCWD, PATH_MAX, PathAt, Task};
use faultlab_linux::wait::Call;

use self::xattr::Of;
use super::Errno;
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::LINUX;
use crate::mem::uaccess;
use crate::task::process::{current, set_deadline};

mod attributes;
pub(super) mod copy;
mod directory;
mod mounts;
mod names;
mod xattr;

/// Numbers of the calls.
mod nr {
    pub(super) const OPEN: u64 = 2;
    pub(super) const STAT: u64 = 4;
    pub(super) const FSTAT: u64 = 5;
    pub(super) const LSTAT: u64 = 6;
    pub(super) const ACCESS: u64 = 21;
    pub(super) const SENDFILE: u64 = 40;
    pub(super) const TRUNCATE: u64 = 76;
    pub(super) const GETCWD: u64 = 79;
    pub(super) const CHDIR: u64 = 80;
    pub(super) const FCHDIR: u64 = 81;
    pub(super) const RENAME: u64 = 82;
    pub(super) const MKDIR: u64 = 83;
    pub(super) const RMDIR: u64 = 84;
    pub(super) const CREAT: u64 = 85;
    pub(super) const LINK: u64 = 86;
    pub(super) const UNLINK: u64 = 87;
    pub(super) const SYMLINK: u64 = 88;
    pub(super) const READLINK: u64 = 89;
    pub(super) const CHMOD: u64 = 90;
    pub(super) const FCHMOD: u64 = 91;
    pub(super) const CHOWN: u64 = 92;
    pub(super) const FCHOWN: u64 = 93;
    pub(super) const LCHOWN: u64 = 94;
    pub(super) const UMASK: u64 = 95;
    pub(super) const UTIME: u64 = 132;
    pub(super) const MKNOD: u64 = 133;
    pub(super) const STATFS: u64 = 137;
    pub(super) const FSTATFS: u64 = 138;
    pub(super) const SYNC: u64 = 162;
    pub(super) const MOUNT: u64 = 165;
    pub(super) const UMOUNT2: u64 = 166;
    pub(super) const SETXATTR: u64 = 188;
    pub(super) const LSETXATTR: u64 = 189;
    pub(super) const FSETXATTR: u64 = 190;
    pub(super) const GETXATTR: u64 = 191;
    pub(super) const LGETXATTR: u64 = 192;
    pub(super) const FGETXATTR: u64 = 193;
    pub(super) const LISTXATTR: u64 = 194;
    pub(super) const LLISTXATTR: u64 = 195;
    pub(super) const FLISTXATTR: u64 = 196;
    pub(super) const REMOVEXATTR: u64 = 197;
    pub(super) const LREMOVEXATTR: u64 = 198;
    pub(super) const FREMOVEXATTR: u64 = 199;
    pub(super) const GETDENTS64: u64 = 217;
    pub(super) const UTIMES: u64 = 235;
    pub(super) const INOTIFY_ADD_WATCH: u64 = 254;
    pub(super) const OPENAT: u64 = 257;
    pub(super) const MKDIRAT: u64 = 258;
    pub(super) const MKNODAT: u64 = 259;
    pub(super) const FCHOWNAT: u64 = 260;
    pub(super) const FUTIMESAT: u64 = 261;
    pub(super) const NEWFSTATAT: u64 = 262;
    pub(super) const UNLINKAT: u64 = 263;
    pub(super) const RENAMEAT: u64 = 264;
    pub(super) const LINKAT: u64 = 265;
    pub(super) const SYMLINKAT: u64 = 266;
    pub(super) const READLINKAT: u64 = 267;
    pub(super) const FCHMODAT: u64 = 268;
    pub(super) const FACCESSAT: u64 = 269;
    pub(super) const UTIMENSAT: u64 = 280;
    pub(super) const SYNCFS: u64 = 306;
    pub(super) const RENAMEAT2: u64 = 316;
    pub(super) const COPY_FILE_RANGE: u64 = 326;
    pub(super) const STATX: u64 = 332;
    pub(super) const FACCESSAT2: u64 = 439;
    pub(super) const FCHMODAT2: u64 = 452;
}

/// The working directory, as a call's register holds it.
const CWD: u64 = AT_FDCWD as u64;

/// A call, if its number is of this module. It takes its arguments out of the registers itself: others need not all be loaded.
#[inline(never)]
pub(super) fn call(regs: &VolatileRegs) -> Option<Result<u64, Errno>> {
    const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
    const AT_REMOVEDIR: u64 = 0x200;
    let VolatileRegs {
        rdi: a,
        rsi: b,
        rdx: c,
        r10: d,
        r8: e,
        r9: f,
        ..
    } = *regs;
    Some(match regs.rax {
        nr::OPEN => open(CWD, a, b, c),
        nr::OPENAT => open(a, b, c, d),
        nr::CREAT => open(CWD, a, o::CREAT | o::WRONLY | o::TRUNC, b),
        nr::MKDIR => names::mkdirat(CWD, a, b),
        nr::MKDIRAT => names::mkdirat(a, b, c),
        nr::MKNOD => names::mknodat(CWD, a, b, c),
        nr::MKNODAT => names::mknodat(a, b, c, d),
        nr::UNLINK => names::unlinkat(CWD, a, 0),
        nr::RMDIR => names::unlinkat(CWD, a, AT_REMOVEDIR),
        nr::UNLINKAT => names::unlinkat(a, b, c),
        nr::RENAME => names::renameat(CWD, a, CWD, b, 0),
        nr::RENAMEAT => names::renameat(a, b, c, d, 0),
        nr::RENAMEAT2 => names::renameat(a, b, c, d, e),
        nr::LINK => names::linkat(CWD, a, CWD, b, 0),
        nr::LINKAT => names::linkat(a, b, c, d, e),
        nr::SYMLINK => names::symlinkat(a, CWD, b),
        nr::SYMLINKAT => names::symlinkat(a, b, c),
        nr::READLINK => names::readlinkat(CWD, a, b, c),
        nr::READLINKAT => names::readlinkat(a, b, c, d),
        nr::STAT => attributes::fstatat(CWD, a, b, 0),
        nr::LSTAT => attributes::fstatat(CWD, a, b, AT_SYMLINK_NOFOLLOW),
        nr::FSTAT => attributes::fstat(a, b),
        nr::NEWFSTATAT => attributes::fstatat(a, b, c, d),
        nr::STATX => attributes::statx(a, b, c, d, e),
        nr::CHMOD => attributes::fchmodat(CWD, a, b, 0),
        nr::FCHMOD => attributes::fchmod(a, b),
        nr::FCHMODAT => attributes::fchmodat(a, b, c, 0),
        nr::FCHMODAT2 => attributes::fchmodat(a, b, c, d),
        nr::CHOWN => attributes::fchownat(CWD, a, b, c, 0),
        nr::LCHOWN => attributes::fchownat(CWD, a, b, c, AT_SYMLINK_NOFOLLOW),
        nr::FCHOWN => attributes::fchown(a, b, c),
        nr::FCHOWNAT => attributes::fchownat(a, b, c, d, e),
        nr::UTIMENSAT => attributes::utimensat(a, b, c, d),
        nr::UTIME => attributes::utime(a, b),
        nr::UTIMES => attributes::futimesat(CWD, a, b),
        nr::FUTIMESAT => attributes::futimesat(a, b, c),
        nr::ACCESS => attributes::faccessat(CWD, a, b, 0),
        nr::FACCESSAT => attributes::faccessat(a, b, c, 0),
        nr::FACCESSAT2 => attributes::faccessat(a, b, c, d),
        nr::TRUNCATE => attributes::truncate(a, b),
        nr::UMASK => Ok(attributes::umask(a)),
        nr::GETDENTS64 => directory::getdents64(a, b, c),
        nr::SENDFILE => copy::sendfile(a, b, c, d),
        nr::COPY_FILE_RANGE => copy::copy_file_range([a, b, c, d, e, f]),
        nr::SETXATTR => xattr::set(Of::Path, a, b, c, d, e),
        nr::GETXATTR => xattr::get(Of::Path, a, b, c, d),
        nr::LISTXATTR => xattr::list(Of::Path, a, b, c),
        nr::REMOVEXATTR => xattr::remove(Of::Path, a, b),
        nr::LSETXATTR => xattr::set(Of::Link, a, b, c, d, e),
        nr::LGETXATTR => xattr::get(Of::Link, a, b, c, d),
        nr::LLISTXATTR => xattr::list(Of::Link, a, b, c),
        nr::LREMOVEXATTR => xattr::remove(Of::Link, a, b),
        nr::FSETXATTR => xattr::set(Of::Descriptor, a, b, c, d, e),
        nr::FGETXATTR => xattr::get(Of::Descriptor, a, b, c, d),
        nr::FLISTXATTR => xattr::list(Of::Descriptor, a, b, c),
        nr::FREMOVEXATTR => xattr::remove(Of::Descriptor, a, b),
        nr::CHDIR => directory::chdir(a),
        nr::FCHDIR => directory::fchdir(a),
        nr::GETCWD => directory::getcwd(a, b),
        nr::INOTIFY_ADD_WATCH => names::inotify_add_watch(a, b, c),
        nr::MOUNT => mounts::mount(a, b, c, d, e),
        nr::UMOUNT2 => mounts::umount2(a, b),
        nr::STATFS => mounts::statfs(a, b),
        nr::FSTATFS => mounts::fstatfs(a, b),
        // Nothing here has a disk of its own.
        nr::SYNC => Ok(0),
        nr::SYNCFS => super::file::file(a).map(|_| 0),
        _ => return None,
    })
}

/// On whose behalf paths are walked.
fn task() -> Task {
    current().task()
}

/// Room for a path.
type PathBuffer = [MaybeUninit<u8>; PATH_MAX];

const fn path_buffer() -> PathBuffer {
    [const { MaybeUninit::uninit() }; PATH_MAX]
}

/// A program's path.
///
/// # Errors
/// `EFAULT`, `ENAMETOOLONG`.
fn path(buffer: &mut PathBuffer, addr: u64) -> Result<&[u8], Errno> {
    uaccess::read_string(buffer, addr)?.ok_or(Errno::ENAMETOOLONG)
}

/// A path from a descriptor on, as registers hold it.
///
/// # Errors
/// As [`path`].
fn path_at(buffer: &mut PathBuffer, dirfd: u64, addr: u64) -> Result<PathAt<'_>, Errno> {
    Ok(PathAt {
        dirfd: dirfd as i32,
        path: path(buffer, addr)?,
    })
}

/// Of what a program's path leads to, links followed.
///
/// # Errors
/// As [`path`], and those of a walk.
pub(super) fn stat_of(addr: u64) -> Result<Stat, Errno> {
    let inode = LINUX.find(&task(), path_at(&mut path_buffer(), CWD, addr)?, 0, 0)?;
    Ok(LINUX.stat(inode))
}

/// A call that was refused with [`Errno::RESTART`], made where it may wait.
pub(super) fn call_waiting(regs: &PtRegs) -> Option<Result<Call, Errno>> {
    let VolatileRegs {
        rdi: a,
        rsi: b,
        rdx: c,
        r10: d,
        rax,
        ..
    } = regs.volatile;
    let open = |dirfd, addr, flags, mode: u64| {
        let mut buffer = path_buffer();
        // Who waits for a FIFO's other end has been where the path leads.
        let at = match current().waiter.is_opening() {
            true => PathAt::cwd(&[]),
            false => path_at(&mut buffer, dirfd, addr)?,
        };
        LINUX.openat_waiting(&task(), &current().waiter, at, flags, mode as u32)
    };
    let result = match rax {
        nr::OPEN => open(CWD, a, b, c),
        nr::OPENAT => open(a, b, c, d),
        nr::CREAT => open(CWD, a, o::CREAT | o::WRONLY | o::TRUNC, b),
        nr::TRUNCATE => LINUX.after_lease(&current().waiter, attributes::truncate(a, b).map(|_| ())),
        _ => return None,
    };
    // One that waits for a lease does so for a time.
    set_deadline(current(), current().waiter.take_until());
    Some(result)
}

fn open(dirfd: u64, addr: u64, flags: u64, mode: u64) -> Result<u64, Errno> {
    LINUX.openat(&task(), path_at(&mut path_buffer(), dirfd, addr)?, flags, mode as u32)
}
