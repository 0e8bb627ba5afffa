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

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{Backend, Trouble};
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
pub(super) struct FileBackend {
    file: SwapFile,
    account: Option<Books>,
}

/// The sums so far, and the open `/proc/thread-self/io` of the thread that transfers, once there was a transfer.
#[derive(Default)]
struct Books {
    proc_io: Option<File>,
    sum: FileAccount,
}

/// One reading of the thread's counters, and the bytes that reading them cost.
struct Reading {
    rchar: u64,
    wchar: u64,
    own_bytes: u64,
}

#[derive(Clone, Copy)]
enum Direction {
    ToGuest,
    ToFile,
}

impl FileBackend {
    /// With `account`, all transfers must come from one thread.
    pub(super) fn new(file: SwapFile, account: bool) -> FileBackend {
        FileBackend {
            file,
            account: account.then(Books::default),
        }
    }

    fn transfer(&mut self, way: Direction, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
        let before = self.account.as_mut().map(Books::read).transpose()?;
        let result = transfer_all(self.file.file(), way, offset, segments, ram);
        if let (Some(books), Some(before)) = (&mut self.account, before) {
            books.add(&before)?;
        }
        result
    }
}

impl Backend for FileBackend {
    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble> {
        Ok(self.transfer(Direction::ToGuest, offset, segments, ram)?)
    }

    fn write(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble> {
        Ok(self.transfer(Direction::ToFile, offset, segments, ram)?)
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        Ok(self.file.file().sync_data()?)
    }

    fn zero(&mut self, offset: u64, bytes: u64, unmap: bool) -> Result<(), Trouble> {
        Ok(zero(self.file.file(), offset, bytes, unmap)?)
    }

    fn account(&self) -> Option<FileAccount> {
        self.account.as_ref().map(|books| books.sum)
    }
}

/// Makes a range read as zeroes, by the cheapest means that the file has.
fn zero(file: &File, offset: u64, bytes: u64, unmap: bool) -> io::Result<()> {
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

/// Repeats the vectored call until every segment is done; the file ending early is an error.
fn transfer_all(file: &File, way: Direction, offset: u64, segments: &[Segment], ram: &GuestRam) -> io::Result<()> {
    let mut vectors: Vec<libc::iovec> = Vec::with_capacity(segments.len());
    for segment in segments {
        if !ram.contains(segment.address, u64::from(segment.len)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let base = (ram.host_address() + segment.address as usize) as *mut libc::c_void;
        vectors.push(libc::iovec {
            iov_base: base,
            iov_len: segment.len as usize,
        });
    }
    let mut offset = i64::try_from(offset).map_err(io::Error::other)?;
    let mut rest = &mut vectors[..];
    while !rest.is_empty() {
        let (fd, count) = (file.as_raw_fd(), rest.len() as libc::c_int);
        let moved = match way {
            // SAFETY: every vector was just checked to lie in guest RAM, which `ram` keeps mapped, and which nothing
            // in this process holds references into.
            Direction::ToGuest => unsafe { libc::preadv(fd, rest.as_ptr(), count, offset) },
            // SAFETY: as above.
            Direction::ToFile => unsafe { libc::pwritev(fd, rest.as_ptr(), count, offset) },
        };
        match moved {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            1.. => {
                offset += moved as i64;
                rest = advance(rest, moved as usize);
            }
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// `vectors` without their first `moved` bytes, which they hold.
fn advance(mut vectors: &mut [libc::iovec], mut moved: usize) -> &mut [libc::iovec] {
    while let Some(first) = vectors.first_mut() {
        if moved < first.iov_len {
            first.iov_base = (first.iov_base as usize + moved) as *mut libc::c_void;
            first.iov_len -= moved;
            break;
        }
        moved -= first.iov_len;
        vectors = &mut vectors[1..];
    }
    vectors
}

impl Books {
    fn read(&mut self) -> io::Result<Reading> {
        let proc_io = match &mut self.proc_io {
            Some(file) => file,
            none => none.insert(File::open("/proc/thread-self/io")?),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of buffers of 10, 20 and 30 bytes at 100, 200 and 300.
    fn left_after(moved: usize) -> Vec<(usize, usize)> {
        let mut vectors = [(100, 10), (200, 20), (300, 30)].map(|(base, len): (usize, usize)| libc::iovec {
            iov_base: base as *mut libc::c_void,
            iov_len: len,
        });
        advance(&mut vectors, moved)
            .iter()
            .map(|vector| (vector.iov_base as usize, vector.iov_len))
            .collect()
    }

    #[test]
    fn a_short_transfer_goes_on_where_it_stopped() {
        assert_eq!(left_after(4), [(104, 6), (200, 20), (300, 30)]);
        assert_eq!(left_after(10), [(200, 20), (300, 30)]);
        assert_eq!(left_after(25), [(215, 5), (300, 30)]);
        assert_eq!(left_after(60), []);
    }
}
