//! A regular file, mapped shared: the host's page cache, and behind it a disk.
//!
//! Two states are "cold": unmapped, but in the page cache, so that a fault only maps; or gone from the page cache, too, so that a fault reads the disk.
//! For the second, the file's blocks are written once beforehand: a hole would read as zeroes without I/O.
//!
//! A named file is locked while the guest has it: the first area holds the lock, and lives as long as the others.
//!
//! Source: open(2); flock(2); fallocate(2); madvise(2), `MADV_RANDOM`; posix_fadvise(2), `POSIX_FADV_DONTNEED`; sync_file_range(2); mincore(2).

use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use faultlab_abi::layout::PAGE_SIZE;
use rustix::fs::{Advice as FileAdvice, FallocateFlags, fadvise, fallocate, fstatfs};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags};

use super::area::Area;
use super::backing::{Backed, Store, Unavailable};
use crate::error::MemoryError;
use crate::paths::check_regular;
use crate::rig::DISK_VARIABLE;

/// File systems without a disk. Source: statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// How often pages are asked to leave the page cache: what is being written, or waits in a per-CPU list, stays at first.
const DROP_ATTEMPTS: u32 = 4;

/// See the module.
#[derive(Debug)]
struct PageCache {
    file: File,
    /// Where in the file the area begins.
    offset: u64,
    /// Whether cold pages leave the page cache.
    drops_cache: bool,
}

/// Maps `bytes` of the file at `path` from byte `offset` on, or of a temporary one: on the disk of a simulated machine, if it has one. At offset 0 the file is emptied.
pub(super) fn map(bytes: u64, offset: u64, path: Option<&Path>, drops_cache: bool) -> Result<Backed, Unavailable> {
    let (file, offset, shown) = match path {
        Some(path) => (open(path, offset == 0)?, offset, path.to_owned()),
        None => {
            let directory = std::env::var_os(DISK_VARIABLE).map_or_else(std::env::temp_dir, Into::into);
            let file = tempfile::tempfile_in(&directory).map_err(|error| refused(&directory, &error))?;
            (file, 0, directory)
        }
    };
    let kind = fstatfs(&file)?.f_type as u64;
    if drops_cache && matches!(kind, TMPFS_MAGIC | RAMFS_MAGIC) {
        let why = format!(
            "{} is in memory, so nothing of it can leave the page cache",
            shown.display()
        );
        return Err(Unavailable::here(
            why,
            "give --backing-file (or TMPDIR) a place on a disk",
        ));
    }
    file.set_len(offset + bytes)?;
    match fallocate(&file, FallocateFlags::empty(), offset, bytes) {
        // A file system that cannot: then a full disk is met later.
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(refused(&shown, &error.into())),
    }
    if drops_cache {
        write_zeroes(&file, offset, bytes).map_err(|error| refused(&shown, &error))?;
    }
    let area = Area::reserve(bytes, PAGE_SIZE)?;
    area.map(Some((file.as_fd(), offset)), MapFlags::SHARED | MapFlags::NORESERVE)?;
    // One page at a time, in the page cache and from the disk.
    area.advise(&(0..bytes), Advice::Random)?;
    // In folios of a page, too: read ahead into larger ones, a page could leave the page cache only with its neighbours.
    fadvise(&file, 0, None, FileAdvice::Random)?;
    let backed = Backed::new(
        area,
        PageCache {
            file,
            offset,
            drops_cache,
        },
    );
    if drops_cache {
        backed.store.make_cold(&backed.area, &(0..bytes))?;
    }
    Ok(backed)
}

/// The file at `path`, made if it is not there. The first area of a guest locks it, and empties it only then: to another guest that has it
/// mapped, a file that shrinks is a bus error.
fn open(path: &Path, is_first: bool) -> Result<File, Unavailable> {
    let of_file = |what: String| {
        let path = path.to_owned();
        Unavailable::File(MemoryError::File { path, what })
    };
    // A FIFO or a device is not opened at all.
    if let Ok(metadata) = path.metadata() {
        check_regular(metadata.file_type()).map_err(|error| of_file(error.to_string()))?;
    }
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(|error| refused(path, &error))?;
    if is_first {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Unavailable::File(MemoryError::Busy { path: path.to_owned() }),
            TryLockError::Error(error) => refused(path, &error),
        })?;
        file.set_len(0)?;
    }
    Ok(file)
}

fn refused(path: &Path, error: &io::Error) -> Unavailable {
    let remedy = "give --backing-file (or TMPDIR) a place that can be written and has room";
    Unavailable::here(format!("{}: {error}", path.display()), remedy)
}

fn write_zeroes(mut file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let zeroes = vec![0; CHUNK_BYTES as usize];
    file.seek(SeekFrom::Start(offset))?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(CHUNK_BYTES);
        file.write_all(&zeroes[..chunk as usize])?;
        left -= chunk;
    }
    file.sync_data()
}

impl Store for PageCache {
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()> {
        if !self.drops_cache {
            // In the page cache, whatever was there before; then out of the page table.
            area.read_in(range)?;
            return area.advise(range, Advice::LinuxDontNeed);
        }
        area.advise(range, Advice::LinuxDontNeed)?;
        let (start, len) = (self.offset + range.start, range.end - range.start);
        for attempt in 1.. {
            self.write_back(start, len)?;
            fadvise(&self.file, start, len.try_into().ok(), FileAdvice::DontNeed)?;
            match area.cached(range)? {
                0 => break,
                stay if attempt == DROP_ATTEMPTS => {
                    return Err(io::Error::other(format!("{stay} pages stay in the page cache")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The mapping is read a page at a time, which is what is measured; the page cache need not be filled so.
    fn read_ahead(&self, range: &Range<u64>) -> io::Result<()> {
        if !self.drops_cache {
            return Ok(());
        }
        let mut buffer = vec![0; Self::AHEAD_BYTES as usize];
        for at in range.clone().step_by(Self::AHEAD_BYTES as usize) {
            let bytes = (range.end - at).min(Self::AHEAD_BYTES) as usize;
            self.file.read_exact_at(&mut buffer[..bytes], self.offset + at)?;
        }
        Ok(())
    }
}

impl PageCache {
    /// Bytes read at a time.
    const AHEAD_BYTES: u64 = 1 << 20;

    /// Only clean pages can leave.
    fn write_back(&self, start: u64, len: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let too_large = |_| io::Error::from(Errno::FBIG);
        let (start, len) = (start.try_into().map_err(too_large)?, len.try_into().map_err(too_large)?);
        // SAFETY: a descriptor and numbers.
        match unsafe { libc::sync_file_range(self.file.as_raw_fd(), start, len, flags) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
