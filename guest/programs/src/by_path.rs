//! Calls on paths relative to the working directory, and what is known about what they name.

use core::ffi::CStr;
use core::fmt::{self, Display};

use crate::arena::{Answer, must};
use crate::sys::memory::PAGE_BYTES;
use crate::sys::{files, paths};

/// `AT_FDCWD`.
pub const CWD: usize = -100isize as usize;
/// `O_RDONLY`.
pub const RDONLY: usize = 0;
/// `O_WRONLY`.
pub const WRONLY: usize = 1;
/// `O_RDWR`.
pub const RDWR: usize = 2;
/// `O_CREAT`.
pub const CREAT: usize = 0o100;
/// `O_EXCL`.
pub const EXCL: usize = 0o200;
/// `O_TRUNC`.
pub const TRUNC: usize = 0o1000;
/// `O_APPEND`.
pub const APPEND: usize = 0o2000;
/// `O_DIRECTORY`.
pub const DIRECTORY: usize = 0o200_000;
/// `O_NOFOLLOW`.
pub const NOFOLLOW: usize = 0o400_000;
/// `O_CLOEXEC`.
pub const CLOEXEC: usize = 0o2_000_000;
/// `O_PATH`.
pub const PATH: usize = 0o10_000_000;
/// `O_TMPFILE`.
pub const TMPFILE: usize = 0o20_000_000 | DIRECTORY;
/// `AT_SYMLINK_NOFOLLOW`.
pub const SYMLINK_NOFOLLOW: usize = 0x100;
/// `AT_REMOVEDIR`.
pub const REMOVEDIR: usize = 0x200;
/// `AT_EMPTY_PATH`.
pub const EMPTY_PATH: usize = 0x1000;
/// A page.
pub const P: usize = PAGE_BYTES;

fn address(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// A descriptor, closed when dropped.
pub struct Open(pub usize);

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: nobody uses the descriptor any more.
        _ = unsafe { files::close([self.0]) };
    }
}

/// `openat`.
pub fn open_at(dir: usize, path: &CStr, flags: usize, mode: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::openat([dir, address(path), flags, mode]) }
}

/// `open`, with rights 0666 for what it makes.
pub fn open(path: &CStr, flags: usize) -> Answer {
    open_at(CWD, path, flags, 0o666)
}

/// Whether it can be opened; closed at once.
pub fn try_open(path: &CStr, flags: usize) -> Answer {
    open(path, flags).map(|number| {
        drop(Open(number));
        0
    })
}

/// An open file that a case needs.
pub fn need(path: &CStr, flags: usize) -> Open {
    Open(must(open(path, flags)))
}

/// An empty file.
pub fn create(path: &CStr) -> Answer {
    try_open(path, CREAT | EXCL | RDWR)
}

/// `mkdirat`, with all rights.
pub fn mkdir(path: &CStr) -> Answer {
    // SAFETY: only reads the path, as all of these do.
    unsafe { paths::mkdirat([CWD, address(path), 0o777]) }
}

/// `mknodat`.
pub fn mknod(path: &CStr, mode: usize, device: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::mknodat([CWD, address(path), mode, device]) }
}

/// `unlinkat`.
pub fn unlink(path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::unlinkat([CWD, address(path), 0]) }
}

/// `unlinkat` with `AT_REMOVEDIR`.
pub fn rmdir(path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::unlinkat([CWD, address(path), REMOVEDIR]) }
}

/// `renameat2`.
pub fn rename(old: &CStr, new: &CStr, flags: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::renameat2([CWD, address(old), CWD, address(new), flags]) }
}

/// `linkat`.
pub fn link(old: &CStr, new: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::linkat([CWD, address(old), CWD, address(new), 0]) }
}

/// Gives what a descriptor names a name.
pub fn link_open(file: &Open, new: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::linkat([file.0, address(c""), CWD, address(new), EMPTY_PATH]) }
}

/// `symlinkat`.
pub fn symlink(target: &CStr, path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::symlinkat([address(target), CWD, address(path)]) }
}

/// `fchmodat`.
pub fn chmod(path: &CStr, mode: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::fchmodat([CWD, address(path), mode]) }
}

/// `fchownat`.
pub fn chown(path: &CStr, user: usize, group: usize, flags: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::fchownat([CWD, address(path), user, group, flags]) }
}

/// `faccessat`.
pub fn access(path: &CStr, rights: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::faccessat([CWD, address(path), rights]) }
}

/// `utimensat` with seconds and nanoseconds of access and of change; none is now.
pub fn utimens(path: &CStr, times: Option<[i64; 4]>, flags: usize) -> Answer {
    let pointer = times.as_ref().map_or(0, |times| times.as_ptr() as usize);
    // SAFETY: only reads the path and the times.
    unsafe { paths::utimensat([CWD, address(path), pointer, flags]) }
}

/// `truncate`.
pub fn truncate(path: &CStr, bytes: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::truncate([address(path), bytes]) }
}

/// `umask`: the old mask.
pub fn umask(mask: usize) -> usize {
    // SAFETY: touches no memory.
    must(unsafe { paths::umask([mask]) })
}

/// `chdir`.
pub fn chdir(path: &CStr) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::chdir([address(path)]) }
}

/// `mount`, of a source that does not matter.
pub fn mount(target: &CStr, kind: &CStr, flags: usize, options: &CStr) -> Answer {
    let source = address(c"rules");
    // SAFETY: only reads the strings.
    unsafe { paths::mount([source, address(target), address(kind), flags, address(options)]) }
}

/// `umount2`.
pub fn umount(target: &CStr, flags: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::umount2([address(target), flags]) }
}

/// Writes bytes of one value.
pub fn write(file: &Open, offset: usize, bytes: usize, value: u8) -> Answer {
    let buffer = [value; 12288];
    // SAFETY: reads no more than the buffer.
    unsafe { files::pwrite([file.0, buffer.as_ptr() as usize, bytes.min(buffer.len()), offset]) }
}

/// A `struct stat`, as words.
#[derive(Clone, Copy, Default)]
pub struct Stat([u64; 18]);

impl Stat {
    /// `st_dev`.
    pub fn dev(self) -> u64 {
        self.0[0]
    }
    /// `st_ino`.
    pub fn ino(self) -> u64 {
        self.0[1]
    }
    /// `st_nlink`.
    pub fn links(self) -> u64 {
        self.0[2]
    }
    /// `st_mode`.
    pub fn mode(self) -> u64 {
        self.0[3] & 0xffff_ffff
    }
    /// `st_uid` and `st_gid`.
    pub fn owner(self) -> (u64, u64) {
        (self.0[3] >> 32, self.0[4] & 0xffff_ffff)
    }
    /// `st_rdev`.
    pub fn rdev(self) -> u64 {
        self.0[5]
    }
    /// `st_size`, in bytes.
    pub fn size(self) -> u64 {
        self.0[6]
    }
    /// `st_blocks`, of 512 bytes.
    pub fn blocks(self) -> u64 {
        self.0[8]
    }
    /// Access, change of the content, change of anything: seconds and nanoseconds.
    pub fn times(self) -> [(u64, u64); 3] {
        [9, 11, 13].map(|at| (self.0[at], self.0[at + 1]))
    }
}

/// `fstatat` without following.
pub fn stat_of(path: &CStr) -> Result<Stat, crate::sys::Errno> {
    let mut stat = Stat::default();
    // SAFETY: reads the path; the buffer has the size of the structure.
    unsafe { paths::newfstatat([CWD, address(path), stat.0.as_mut_ptr() as usize, SYMLINK_NOFOLLOW]) }?;
    Ok(stat)
}

/// What is known about a path that is there.
pub fn stat(path: &CStr) -> Stat {
    match stat_of(path) {
        Ok(stat) => stat,
        Err(errno) => {
            must(Err(errno));
            Stat::default()
        }
    }
}

/// What is known about what a descriptor names.
pub fn stat_open(file: &Open) -> Stat {
    let mut stat = Stat::default();
    // SAFETY: the buffer has the size of the structure.
    must(unsafe { files::fstat([file.0, stat.0.as_mut_ptr() as usize]) });
    stat
}

/// What `statx` says of a path, as words.
pub fn statx(path: &CStr, flags: usize, mask: usize) -> Result<[u64; 32], crate::sys::Errno> {
    let mut words = [0u64; 32];
    // SAFETY: reads the path; the buffer has the size of the structure.
    unsafe { paths::statx([CWD, address(path), flags, mask, words.as_mut_ptr() as usize]) }?;
    Ok(words)
}

/// Mode, names, size, blocks.
pub struct Shown(pub Stat);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stat) = self;
        let (mode, links, size, blocks) = (stat.mode(), stat.links(), stat.size(), stat.blocks());
        write!(f, "mode {mode:o} links {links} size {size} blocks {blocks}")
    }
}

/// A `struct statfs`, as words.
pub struct Space([u64; 15]);

impl Space {
    /// `statfs` of what must be there.
    pub fn of(path: &CStr) -> Self {
        Self::try_of(path).unwrap_or_else(|errno| {
            must(Err(errno));
            Self([0; 15])
        })
    }
    /// `statfs`.
    ///
    /// # Errors
    /// As in the man page.
    pub fn try_of(path: &CStr) -> Result<Self, crate::sys::Errno> {
        let mut space = Self([0; 15]);
        // SAFETY: reads the path; the buffer has the size of the structure.
        unsafe { paths::statfs([address(path), space.0.as_mut_ptr() as usize]) }?;
        Ok(space)
    }
    /// `fstatfs`.
    pub fn of_open(file: &Open) -> Self {
        let mut space = Self([0; 15]);
        // SAFETY: the buffer has the size of the structure.
        must(unsafe { paths::fstatfs([file.0, space.0.as_mut_ptr() as usize]) });
        space
    }
    /// `f_blocks`.
    pub fn blocks(&self) -> u64 {
        self.0[2]
    }
    /// `f_bfree`.
    pub fn free(&self) -> u64 {
        self.0[3]
    }
    /// `f_files`.
    pub fn files(&self) -> u64 {
        self.0[5]
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(
            [
                kind,
                size,
                blocks,
                free,
                available,
                files,
                free_files,
                _,
                name,
                fragment,
                ..,
            ],
        ) = self;
        write!(
            f,
            "type {kind:#x} sizes {size} {fragment} blocks {blocks} free {free} {available} "
        )?;
        write!(f, "files {files} free {free_files} names of {name}")
    }
}

/// A name of one letter and a number.
pub struct Numbered([u8; 8]);

impl Numbered {
    /// The letter, and three digits.
    pub fn new(letter: u8, number: usize) -> Self {
        let mut name = [letter, 0, 0, 0, 0, 0, 0, 0];
        let digits = [100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
        name[1..4].copy_from_slice(&digits);
        Self(name)
    }

    /// As a path.
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// A path of so many equal bytes.
pub struct Long([u8; 4200]);

impl Long {
    /// `count` of `byte`.
    pub fn of(byte: u8, count: usize) -> Self {
        let mut path = [0; 4200];
        path[..count].fill(byte);
        Self(path)
    }

    /// As a path.
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}
