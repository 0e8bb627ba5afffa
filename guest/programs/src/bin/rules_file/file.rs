//! A file to experiment with, and how it is shown.

use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, must};
use faultlab_programs::sys::files;

/// `MFD_ALLOW_SEALING`.
pub(crate) const ALLOW_SEALING: usize = 2;
/// `SEEK_SET` and the others.
pub(crate) const SEEK_SET: usize = 0;
pub(crate) const SEEK_CUR: usize = 1;
pub(crate) const SEEK_END: usize = 2;
pub(crate) const SEEK_DATA: usize = 3;
pub(crate) const SEEK_HOLE: usize = 4;
/// `FALLOC_FL_KEEP_SIZE`.
pub(crate) const KEEP_SIZE: usize = 1;
/// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
pub(crate) const PUNCH: usize = 3;

/// A memory file, closed when dropped.
pub(crate) struct File(pub(crate) usize);

impl File {
    /// An empty one.
    pub(crate) fn new(flags: usize) -> Self {
        Self(must(memfd_create(c"rules", flags)))
    }

    /// One of zeroes, all holes.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        let file = Self::new(ALLOW_SEALING);
        must(file.truncate(bytes));
        file
    }

    pub(crate) fn truncate(&self, bytes: usize) -> Answer {
        // SAFETY: changes the file only.
        unsafe { files::ftruncate([self.0, bytes]) }
    }

    /// Writes bytes of one value.
    pub(crate) fn write(&self, offset: usize, bytes: usize, value: u8) -> Answer {
        let buffer = [value; 12288];
        // SAFETY: reads no more than the buffer.
        unsafe { files::pwrite([self.0, buffer.as_ptr() as usize, bytes.min(buffer.len()), offset]) }
    }

    /// How many bytes can be read, and their sum.
    pub(crate) fn read(&self, offset: usize, bytes: usize) -> Content {
        let mut buffer = [0xaau8; 12288];
        // SAFETY: writes no more than the buffer.
        let answer = unsafe { files::pread([self.0, buffer.as_mut_ptr() as usize, bytes.min(buffer.len()), offset]) };
        let sum = buffer
            .iter()
            .take(*answer.as_ref().unwrap_or(&0))
            .map(|byte| u32::from(*byte))
            .sum();
        Content(answer, sum)
    }

    pub(crate) fn seek(&self, offset: usize, whence: usize) -> Count {
        // SAFETY: changes the position only.
        Count(unsafe { files::lseek([self.0, offset, whence]) })
    }

    pub(crate) fn allocate(&self, mode: usize, offset: usize, bytes: usize) -> Answer {
        // SAFETY: changes the file only.
        unsafe { files::fallocate([self.0, mode, offset, bytes]) }
    }

    pub(crate) fn fcntl(&self, command: usize, argument: usize) -> Count {
        // SAFETY: these commands touch no memory.
        Count(unsafe { files::fcntl([self.0, command, argument]) })
    }

    /// A word of `struct stat`.
    fn stat(&self, word: usize) -> u64 {
        let mut stat = [0u64; 18];
        // SAFETY: the buffer has the size of the structure.
        must(unsafe { files::fstat([self.0, stat.as_mut_ptr() as usize]) });
        stat[word]
    }

    /// Mode and number of names.
    pub(crate) fn mode(&self) -> (u64, u64) {
        (self.stat(3) & 0xffff_ffff, self.stat(2))
    }

    /// When its content changed last, in nanoseconds.
    pub(crate) fn mtime_ns(&self) -> u64 {
        self.stat(11) * 1_000_000_000 + self.stat(12)
    }

    /// Size and blocks.
    pub(crate) fn extent(&self) -> Extent {
        Extent(self.stat(6), self.stat(8))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: nobody uses the descriptor any more.
        _ = unsafe { files::close([self.0]) };
    }
}

/// `memfd_create`.
pub(crate) fn memfd_create(name: &core::ffi::CStr, flags: usize) -> Answer {
    // SAFETY: only reads the name.
    unsafe { files::memfd_create([name.as_ptr() as usize, flags]) }
}

/// A number or the error.
pub(crate) struct Count(pub(crate) Answer);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(count) => count.fmt(f),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// What was read: bytes and their sum.
pub(crate) struct Content(Answer, u32);

impl Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(bytes) => write!(f, "{bytes} bytes, sum {}", self.1),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// Size and blocks.
pub(crate) struct Extent(u64, u64);

impl Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {} blocks {}", self.0, self.1)
    }
}
