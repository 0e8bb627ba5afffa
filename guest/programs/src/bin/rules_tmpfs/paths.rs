//! Calls on paths relative to the working directory, and what is known about what they name.

use core::ffi::CStr;
use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, must};
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::{files, paths};

/// `AT_FDCWD`.
pub(crate) const CWD: usize = -100isize as usize;
/// Flags of `open`.
pub(crate) const RDONLY: usize = 0;
pub(crate) const WRONLY: usize = 1;
pub(crate) const RDWR: usize = 2;
pub(crate) const CREAT: usize = 0o100;
pub(crate) const EXCL: usize = 0o200;
pub(crate) const TRUNC: usize = 0o1000;
pub(crate) const APPEND: usize = 0o2000;
pub(crate) const DIRECTORY: usize = 0o200_000;
pub(crate) const NOFOLLOW: usize = 0o400_000;
pub(crate) const CLOEXEC: usize = 0o2_000_000;
pub(crate) const PATH: usize = 0o10_000_000;
pub(crate) const TMPFILE: usize = 0o20_000_000 | DIRECTORY;
/// Flags of calls with `at` in their names.
pub(crate) const SYMLINK_NOFOLLOW: usize = 0x100;
pub(crate) const REMOVEDIR: usize = 0x200;
pub(crate) const EMPTY_PATH: usize = 0x1000;
/// A page.
pub(crate) const P: usize = PAGE_BYTES;

fn address(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// A descriptor, closed when dropped.
pub(crate) struct Open(pub(crate) usize);

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: nobody uses the descriptor any more.
        _ = unsafe { files::close([self.0]) };
    }
}

pub(crate) fn open_at(dir: usize, path: &CStr, flags: usize, mode: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::openat([dir, address(path), flags, mode]) }
}

/// `open`, with rights 0666 for what it makes.
pub(crate) fn open(path: &CStr, flags: usize) -> Answer {
    open_at(CWD, path, flags, 0o666)
}

/// Whether it can be opened; closed at once.
pub(crate) fn try_open(path: &CStr, flags: usize) -> Answer {
    open(path, flags).map(|number| {
        drop(Open(number));
        0
    })
}

/// An open file that a case needs.
pub(crate) fn need(path: &CStr, flags: usize) -> Open {
    Open(must(open(path, flags)))
}

/// An empty file.
pub(crate) fn create(path: &CStr) -> Answer {
    try_open(path, CREAT | EXCL | RDWR)
}

pub(crate) fn mkdir(path: &CStr) -> Answer {
    // SAFETY: only reads the path, as all of these do.
    unsafe { paths::mkdirat([CWD, address(path), 0o777]) }
}

pub(crate) fn mknod(path: &CStr, mode: usize, device: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::mknodat([CWD, address(path), mode, device]) }
}

pub(crate) fn unlink(path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::unlinkat([CWD, address(path), 0]) }
}

pub(crate) fn rmdir(path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::unlinkat([CWD, address(path), REMOVEDIR]) }
}

pub(crate) fn rename(old: &CStr, new: &CStr, flags: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::renameat2([CWD, address(old), CWD, address(new), flags]) }
}

pub(crate) fn link(old: &CStr, new: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::linkat([CWD, address(old), CWD, address(new), 0]) }
}

/// Gives what a descriptor names a name.
pub(crate) fn link_open(file: &Open, new: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::linkat([file.0, address(c""), CWD, address(new), EMPTY_PATH]) }
}

pub(crate) fn symlink(target: &CStr, path: &CStr) -> Answer {
    // SAFETY: as above.
    unsafe { paths::symlinkat([address(target), CWD, address(path)]) }
}

pub(crate) fn chmod(path: &CStr, mode: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::fchmodat([CWD, address(path), mode]) }
}

pub(crate) fn chown(path: &CStr, user: usize, group: usize, flags: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::fchownat([CWD, address(path), user, group, flags]) }
}

pub(crate) fn access(path: &CStr, rights: usize) -> Answer {
    // SAFETY: as above.
    unsafe { paths::faccessat([CWD, address(path), rights]) }
}

/// `utimensat` with seconds and nanoseconds of access and of change; none is now.
pub(crate) fn utimens(path: &CStr, times: Option<[i64; 4]>, flags: usize) -> Answer {
    let pointer = times.as_ref().map_or(0, |times| times.as_ptr() as usize);
    // SAFETY: only reads the path and the times.
    unsafe { paths::utimensat([CWD, address(path), pointer, flags]) }
}

pub(crate) fn truncate(path: &CStr, bytes: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::truncate([address(path), bytes]) }
}

pub(crate) fn umask(mask: usize) -> usize {
    // SAFETY: touches no memory.
    must(unsafe { paths::umask([mask]) })
}

pub(crate) fn chdir(path: &CStr) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::chdir([address(path)]) }
}

pub(crate) fn mount(target: &CStr, kind: &CStr, flags: usize, options: &CStr) -> Answer {
    let source = address(c"rules");
    // SAFETY: only reads the strings.
    unsafe { paths::mount([source, address(target), address(kind), flags, address(options)]) }
}

pub(crate) fn umount(target: &CStr, flags: usize) -> Answer {
    // SAFETY: only reads the path.
    unsafe { paths::umount2([address(target), flags]) }
}

/// Writes bytes of one value.
pub(crate) fn write(file: &Open, offset: usize, bytes: usize, value: u8) -> Answer {
    let buffer = [value; 12288];
    // SAFETY: reads no more than the buffer.
    unsafe { files::pwrite([file.0, buffer.as_ptr() as usize, bytes.min(buffer.len()), offset]) }
}

/// A `struct stat`, as words.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stat([u64; 18]);

impl Stat {
    pub(crate) fn dev(self) -> u64 {
        self.0[0]
    }
    pub(crate) fn ino(self) -> u64 {
        self.0[1]
    }
    pub(crate) fn links(self) -> u64 {
        self.0[2]
    }
    pub(crate) fn mode(self) -> u64 {
        self.0[3] & 0xffff_ffff
    }
    pub(crate) fn owner(self) -> (u64, u64) {
        (self.0[3] >> 32, self.0[4] & 0xffff_ffff)
    }
    pub(crate) fn rdev(self) -> u64 {
        self.0[5]
    }
    pub(crate) fn size(self) -> u64 {
        self.0[6]
    }
    pub(crate) fn blocks(self) -> u64 {
        self.0[8]
    }
    /// Access, change of the content, change of anything: seconds and nanoseconds.
    pub(crate) fn times(self) -> [(u64, u64); 3] {
        [9, 11, 13].map(|at| (self.0[at], self.0[at + 1]))
    }
}

/// `fstatat` without following.
pub(crate) fn stat_of(path: &CStr) -> Result<Stat, faultlab_programs::sys::Errno> {
    let mut stat = Stat::default();
    // SAFETY: reads the path; the buffer has the size of the structure.
    unsafe { paths::newfstatat([CWD, address(path), stat.0.as_mut_ptr() as usize, SYMLINK_NOFOLLOW]) }?;
    Ok(stat)
}

/// What is known about a path that is there.
pub(crate) fn stat(path: &CStr) -> Stat {
    match stat_of(path) {
        Ok(stat) => stat,
        Err(errno) => {
            must(Err(errno));
            Stat::default()
        }
    }
}

/// What is known about what a descriptor names.
pub(crate) fn stat_open(file: &Open) -> Stat {
    let mut stat = Stat::default();
    // SAFETY: the buffer has the size of the structure.
    must(unsafe { files::fstat([file.0, stat.0.as_mut_ptr() as usize]) });
    stat
}

/// What `statx` says of a path, as words.
pub(crate) fn statx(path: &CStr, flags: usize, mask: usize) -> Result<[u64; 32], faultlab_programs::sys::Errno> {
    let mut words = [0u64; 32];
    // SAFETY: reads the path; the buffer has the size of the structure.
    unsafe { paths::statx([CWD, address(path), flags, mask, words.as_mut_ptr() as usize]) }?;
    Ok(words)
}

/// Mode, names, size, blocks.
pub(crate) struct Shown(pub(crate) Stat);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(stat) = self;
        let (mode, links, size, blocks) = (stat.mode(), stat.links(), stat.size(), stat.blocks());
        write!(f, "mode {mode:o} links {links} size {size} blocks {blocks}")
    }
}

/// A `struct statfs`, as words.
pub(crate) struct Space([u64; 15]);

impl Space {
    pub(crate) fn of(path: &CStr) -> Self {
        let mut space = Self([0; 15]);
        // SAFETY: reads the path; the buffer has the size of the structure.
        must(unsafe { paths::statfs([address(path), space.0.as_mut_ptr() as usize]) });
        space
    }
    pub(crate) fn of_open(file: &Open) -> Self {
        let mut space = Self([0; 15]);
        // SAFETY: the buffer has the size of the structure.
        must(unsafe { paths::fstatfs([file.0, space.0.as_mut_ptr() as usize]) });
        space
    }
    pub(crate) fn blocks(&self) -> u64 {
        self.0[2]
    }
    pub(crate) fn files(&self) -> u64 {
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
pub(crate) struct Numbered([u8; 8]);

impl Numbered {
    pub(crate) fn new(letter: u8, number: usize) -> Self {
        let mut name = [letter, 0, 0, 0, 0, 0, 0, 0];
        let digits = [100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
        name[1..4].copy_from_slice(&digits);
        Self(name)
    }

    pub(crate) fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// A path of so many equal bytes.
pub(crate) struct Long([u8; 4200]);

impl Long {
    pub(crate) fn of(byte: u8, count: usize) -> Self {
        let mut path = [0; 4200];
        path[..count].fill(byte);
        Self(path)
    }

    pub(crate) fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}
