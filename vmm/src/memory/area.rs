//! A range of this process's addresses.
//!
//! # Invariants
//! `[start, start + bytes)` is mapped, by whoever placed a mapping there, as long as the area lives; it is aligned as was asked,
//! so that huge pages on the host can be huge pages of the guest, too.
//!
//! Source: mmap(2), `MAP_FIXED`; madvise(2), `MADV_POPULATE_WRITE`; proc_pid_pagemap(5).

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};

use faultlab_abi::layout::PAGE_SIZE;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Bytes of an entry of the pagemap, and its bit for a page that is mapped.
const PAGEMAP_ENTRY_BYTES: u64 = 8;
const PAGEMAP_PRESENT: u64 = 1 << 63;
/// Entries read at once.
const PAGEMAP_ENTRIES: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Area {
    start: NonNull<u8>,
    bytes: u64,
    reserved: NonNull<c_void>,
    reserved_bytes: usize,
}

// SAFETY: the area is addresses; system calls take them from any thread, and memory is only accessed volatilely.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Reserves `bytes` (whole multiples of `align`, a power of two of at least a page) of addresses that nothing can be read
    /// from yet.
    pub(super) fn reserve(bytes: u64, align: u64) -> io::Result<Area> {
        let too_large = || io::Error::from(Errno::NOMEM);
        let reserved_bytes = bytes.checked_add(align - PAGE_SIZE).ok_or_else(too_large)?;
        let reserved_bytes = usize::try_from(reserved_bytes).map_err(|_| too_large())?;
        // SAFETY: the kernel chooses the place.
        let reserved = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                reserved_bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let start = reserved
            .cast::<u8>()
            .map_addr(|addr| addr.next_multiple_of(align as usize));
        let no_null = || io::Error::from(Errno::FAULT);
        Ok(Area {
            start: NonNull::new(start).ok_or_else(no_null)?,
            bytes,
            reserved: NonNull::new(reserved).ok_or_else(no_null)?,
            reserved_bytes,
        })
    }

    /// Fills the whole area with a mapping: of a file from a byte on, or of nothing.
    pub(super) fn map(&self, file: Option<(BorrowedFd<'_>, u64)>, flags: MapFlags) -> io::Result<()> {
        let flags = flags | MapFlags::FIXED;
        let (at, prot) = (self.start.as_ptr().cast(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the range lies in what this area reserved, and nothing refers to what was mapped there.
        unsafe {
            match file {
                Some((file, offset)) => mmap(at, self.bytes as usize, prot, flags, file, offset)?,
                None => mmap_anonymous(at, self.bytes as usize, prot, flags)?,
            };
        }
        Ok(())
    }

    /// Its first byte.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its addresses, what was reserved around it included.
    pub(super) fn reserved(&self) -> Range<usize> {
        let start = self.reserved.as_ptr() as usize;
        start..start + self.reserved_bytes
    }

    /// `madvise` of a part, `range` in bytes from the start.
    ///
    /// # Panics
    /// When the range is not within the area: callers have checked it.
    pub(super) fn advise(&self, range: &Range<u64>, advice: Advice) -> io::Result<()> {
        let (at, len) = self.part(range);
        // SAFETY: the part lies in the area (asserted). Nothing in this process holds a reference into it: it is only accessed
        // volatilely, so contents may change under it.
        unsafe { madvise(at.cast(), len, advice)? };
        Ok(())
    }

    /// Has the host back a part, as by stores that change nothing.
    pub(super) fn populate(&self, range: &Range<u64>) -> io::Result<()> {
        self.fault_in(range, Advice::LinuxPopulateWrite, |byte| {
            // SAFETY: the byte lies in the area. Nothing else runs: the guest waits for this thread.
            unsafe { byte.write_volatile(byte.read_volatile()) };
        })
    }

    /// The same as by loads.
    pub(super) fn read_in(&self, range: &Range<u64>) -> io::Result<()> {
        self.fault_in(range, Advice::LinuxPopulateRead, |byte| {
            // SAFETY: the byte lies in the area.
            unsafe { byte.read_volatile() };
        })
    }

    /// By advice, or, before Linux 5.14, byte by byte.
    fn fault_in(&self, range: &Range<u64>, advice: Advice, touch: impl Fn(*mut u8)) -> io::Result<()> {
        loop {
            match self.advise(range, advice) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    let (at, len) = self.part(range);
                    (0..len)
                        .step_by(PAGE_SIZE as usize)
                        .for_each(|offset| touch(at.wrapping_add(offset)));
                    return Ok(());
                }
                result => return result,
            }
        }
    }

    /// Pages of a part that are in the page cache, mapped or not (of anonymous memory: that are mapped).
    pub(super) fn cached(&self, range: &Range<u64>) -> io::Result<u64> {
        let (at, len) = self.part(range);
        let mut resident = vec![0_u8; len / PAGE_SIZE as usize];
        // SAFETY: the part lies in the area, and the vector has a byte for each of its pages.
        match unsafe { libc::mincore(at.cast(), len, resident.as_mut_ptr()) } {
            0 => Ok(resident.iter().filter(|byte| **byte & 1 != 0).count() as u64),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Pages of a part that are mapped in this process's page table.
    pub(super) fn present(&self, range: &Range<u64>) -> io::Result<u64> {
        let (at, len) = self.part(range);
        let pagemap = File::open("/proc/self/pagemap")?;
        let first = at as u64 / PAGE_SIZE;
        let pages = len as u64 / PAGE_SIZE;
        let mut buffer = [0; PAGEMAP_ENTRIES * PAGEMAP_ENTRY_BYTES as usize];
        let mut present = 0;
        for chunk in (0..pages).step_by(PAGEMAP_ENTRIES) {
            let entries = (pages - chunk).min(PAGEMAP_ENTRIES as u64);
            let bytes = &mut buffer[..(entries * PAGEMAP_ENTRY_BYTES) as usize];
            pagemap.read_exact_at(bytes, (first + chunk) * PAGEMAP_ENTRY_BYTES)?;
            let (words, _) = bytes.as_chunks::<{ PAGEMAP_ENTRY_BYTES as usize }>();
            let mapped = words
                .iter()
                .filter(|word| u64::from_ne_bytes(**word) & PAGEMAP_PRESENT != 0);
            present += mapped.count() as u64;
        }
        Ok(present)
    }

    fn part(&self, range: &Range<u64>) -> (*mut u8, usize) {
        assert!(
            range.start <= range.end && range.end <= self.bytes,
            "{range:x?} of {:#x} bytes",
            self.bytes
        );
        (
            self.as_ptr().wrapping_add(range.start as usize),
            (range.end - range.start) as usize,
        )
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the area's own reservation, which nothing refers to any more.
        let _ = unsafe { munmap(self.reserved.as_ptr(), self.reserved_bytes) };
    }
}
