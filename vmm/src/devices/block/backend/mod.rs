//! What is behind the disk: where its bytes are, and what is made to go wrong on the way there.
//!
//! | module | what is in it |
//! |---|---|
//! | `file` | a file, block device or memfd, through vectored reads and writes; the host's books of them |
//! | `null` | nothing: for measuring everything but the disk |
//! | `faults` | a decorator: late, refused, torn, lost and unanswered requests |

mod faults;
mod file;
mod null;

use std::io;

use self::faults::FaultyBackend;
pub use self::faults::Injected;
pub use self::file::FileAccount;
use self::file::FileBackend;
use self::null::NullBackend;
use super::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_faults::SwapFaults;
use crate::swap_file::SwapFile;

/// How a transfer failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The request is answered with an error.
    Failed(io::Error),
    /// The request is never answered.
    NoAnswer,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Failed(error)
    }
}

/// Keeps the bytes of a disk. Offsets and lengths are in bytes, whole sectors, and within the disk; segments lie in RAM.
pub(super) trait Backend: Send {
    /// Capacity, whole pages.
    fn bytes(&self) -> u64;

    /// Fills `segments` from the disk at `offset`.
    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble>;

    /// Writes `segments` to the disk at `offset`.
    fn write(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble>;

    /// Makes what was written durable.
    fn flush(&mut self) -> Result<(), Trouble>;

    /// Lets the range read as zeroes; if `unmap`, also gives back what holds it, where the backend can.
    fn zero(&mut self, offset: u64, bytes: u64, unmap: bool) -> Result<(), Trouble>;

    /// The host's books, if they are kept.
    fn account(&self) -> Option<FileAccount> {
        None
    }

    /// What went wrong on purpose, if anything may.
    fn injected(&self) -> Option<Injected> {
        None
    }
}

/// The backend over `file`, with `faults` on the way. With `account`, all transfers must come from one thread.
pub(super) fn open(file: SwapFile, account: bool, faults: &SwapFaults) -> Box<dyn Backend> {
    let backend: Box<dyn Backend> = if file.is_null() {
        Box::new(NullBackend::new(&file))
    } else {
        Box::new(FileBackend::new(file, account))
    };
    if faults.is_none() {
        backend
    } else {
        Box::new(FaultyBackend::new(backend, faults.clone()))
    }
}
