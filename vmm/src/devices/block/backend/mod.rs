//! What is behind the disk: where its bytes are, and how they get there.
//!
//! | module | what is in it |
//! |---|---|
//! | `file` | a file, block device or memfd, through vectored reads and writes; the host's books of them |
//! | `uring` | the same file through `io_uring`: several transfers at a time |
//! | `null` | nothing: for measuring everything but the disk |
//! | `vectors` | pieces of guest memory as the host's system calls take them |

mod file;
mod null;
pub(super) mod uring;
mod vectors;

use std::io;

pub use self::file::FileAccount;
use self::file::FileBackend;
use self::null::NullBackend;
use super::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_file::SwapFile;

/// Keeps the bytes of a disk, and is done with a transfer when a call returns. Offsets and lengths are in bytes, whole sectors, and within the disk; segments lie in RAM.
pub(super) trait Backend: Send {
    /// Fills `segments` from the disk at `offset`.
    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()>;

    /// Writes `segments` to the disk at `offset`.
    fn write(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()>;

    /// Makes what was written durable.
    fn flush(&mut self) -> io::Result<()>;

    /// Lets the range read as zeroes; if `unmap`, also gives back what holds it, where the backend can.
    fn zero(&mut self, offset: u64, bytes: u64, unmap: bool) -> io::Result<()>;

    /// The host's books, if they are kept.
    fn account(&self) -> Option<FileAccount> {
        None
    }
}

/// The backend over `file`, which serves one transfer at a time. With `account`, the host's books of
/// them are kept.
pub(super) fn open(file: SwapFile, account: bool) -> Box<dyn Backend> {
    if file.is_null() {
        Box::new(NullBackend::new(&file))
    } else {
        Box::new(FileBackend::new(file, account))
    }
}
