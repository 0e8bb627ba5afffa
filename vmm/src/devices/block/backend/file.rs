//! Moves bytes between guest memory and the swap file, without a copy in between, and keeps the host's books of it.
//!
//! The account: Linux counts the bytes that a thread passes to read and write calls in `/proc/thread-self/io` (`rchar`,
//! `wchar`). Read immediately before and after a transfer, on the thread that makes it, the difference is the kernel's
//! own statement of what went through the file, independent of what this module believes. It costs two reads of a
//! small proc file a request, so it is a choice.
//!
//! Source: proc_pid_io(5); preadv(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::thread::{self, ThreadId};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::Backend;
use super::vectors::{Vectors, Way};
use crate::devices::block::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_file::SwapFile;

/// What the host kernel says went through the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAccount {
    /// Bytes that read calls returned.
    pub bytes_read: u64,
    /// Bytes that write calls took.
    pub bytes_written: u64,
}

/// The file behind the disk.
pub(in crate::devices::block) struct FileBackend {
    file: SwapFile,
    account: Option<Books>,
}

/// The sums so far, and the open `/proc/thread-self/io` of the thread that transferred last.
#[derive(Default)]
struct Books {
    proc_io: Option<(ThreadId, File)>,
    sum: FileAccount,
}

/// One reading of the thread's counters, and the bytes that reading them cost.
struct Reading {
    rchar: u64,
    wchar: u64,
    own_bytes: u64,
}

impl FileBackend {
    /// With `account`, the host's books of every transfer are kept.
    pub(super) fn new(file: SwapFile, account: bool) -> FileBackend {
        FileBackend {
            file,
            account: account.then(Books::default),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        self.file.file()
    }

    fn transfer(&mut self, way: Way, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
        let before = self.account.as_mut().map(Books::read).transpose()?;
        let result = transfer_all(self.file.file(), way, offset, segments, ram);
        if let (Some(books), Some(before)) = (&mut self.account, before) {
            books.add(&before)?;
        }
        result
    }
}

impl Backend for FileBackend {
    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
        self.transfer(Way::ToGuest, offset, segments, ram)
    }

    fn write(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
        self.transfer(Way::ToFile, offset, segments, ram)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.file().sync_data()
    }

    fn zero(&mut self, offset: u64, bytes: u64, unmap: bool) -> io::Result<()> {
        zero(self.file.file(), offset, bytes, unmap)
    }

    fn account(&self) -> Option<FileAccount> {
        self.account.as_ref().map(|books| books.sum)
    }
}

/// Makes a range read as zeroes, by the cheapest means that the file has.
pub(super) fn zero(file: &File, offset: u64, bytes: u64, unmap: bool) -> io::Result<()> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    for way in if unmap { [punch, zero] } else { [zero, punch] } {
        match fallocate(file, way, offset, bytes) {
            Err(Errno::OPNOTSUPP) => {}
            done => return Ok(done?),
        }
    }
    static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let len = (end - at).min(ZEROES.len() as u64);
        file.write_all_at(&ZEROES[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

/// Moves every byte of `segments`; the file ending early is an error.
fn transfer_all(file: &File, way: Way, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
    move_all(file, way, &mut Vectors::of(segments, offset, ram)?)
}

/// Repeats the vectored call until nothing of `vectors` is left; the file ending early is an error.
pub(super) fn move_all(file: &File, way: Way, vectors: &mut Vectors) -> io::Result<()> {
    while !vectors.is_done() {
        let (list, offset) = vectors.rest();
        let (fd, count) = (file.as_raw_fd(), list.len() as libc::c_int);
        let moved = match way {
            // SAFETY: every vector lies in guest RAM (`Vectors`), which whoever serves requests keeps mapped, and which nothing in this
            // process holds references into.
            Way::ToGuest => unsafe { libc::preadv(fd, list.as_ptr(), count, offset) },
            // SAFETY: as above.
            Way::ToFile => unsafe { libc::pwritev(fd, list.as_ptr(), count, offset) },
        };
        match moved {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            1.. => vectors.advance(moved as usize),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

impl Books {
    fn read(&mut self) -> io::Result<Reading> {
        let this = thread::current().id();
        let (_, proc_io) = match &mut self.proc_io {
            Some(opened) if opened.0 == this => opened,
            other => other.insert((this, File::open("/proc/thread-self/io")?)),
        };
        let mut buffer = [0; 256];
        let len = proc_io.read_at(&mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..len]).map_err(io::Error::other)?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .ok_or_else(|| io::Error::other("unknown form of proc io"))
        };
        Ok(Reading {
            rchar: field("rchar:")?,
            wchar: field("wchar:")?,
            own_bytes: len as u64,
        })
    }

    /// Adds what moved since `before`, except the reading of `before` itself, which is counted after it was printed.
    fn add(&mut self, before: &Reading) -> io::Result<()> {
        let after = self.read()?;
        self.sum.bytes_read += after.rchar.wrapping_sub(before.rchar).wrapping_sub(before.own_bytes);
        self.sum.bytes_written += after.wchar.wrapping_sub(before.wchar);
        Ok(())
    }
}
