//! Memory in pages of 2 MiB: private, and of a memory file.
//!
//! ```text
//! fixed address, a 2 MiB boundary | m | m | A |                m measured in turn, A anchor: keeps tables and nodes of the page cache
//! ```
//!
//! That the pages are huge is looked at by counting: the first touch of each faults, and none of its other 511 pages. Where they are not (a
//! kernel without, another policy, memory in pieces) the row is left out, which is no failure of what is measured.
//!
//! First touches use a few huge pages again and again, each given back right before its next, since more would take much of a small guest's
//! memory. The call that gives it back is counted, and not timed.

use faultlab_abi::dev::{PhaseArgs, Range};
use faultlab_programs::sys::memory::{self, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::{self, Errno, files, process};
use faultlab_programs::tsc;

use super::resident::Pages;
use super::window::BEYOND_TLB;
use super::{host_info, touch};
use crate::phase::{Failure, Phases};

/// Bytes of a huge page. Source: Intel SDM, volume 3, 4.5.
const HUGE_BYTES: usize = 2 << 20;
/// Pages of one.
const HUGE_PAGES: usize = HUGE_BYTES / PAGE_BYTES;
/// Where regions are mapped: a 2 MiB boundary away from segments and all else.
const ADDRESS: usize = 0x1300_0000_0000;
/// Huge pages whose first touches are measured in turn.
const IN_TURN: usize = 2;
/// Rounds before: by then the same frames come again, and the host has backed them.
const ROUNDS: usize = 2;
/// `FALLOC_FL_KEEP_SIZE` and `FALLOC_FL_PUNCH_HOLE`. Source: fallocate(2).
const PUNCH_HOLE: usize = 3;

/// Who decides about huge pages of memory files, in the guest and on Linux.
const SHMEM_ENABLED: &core::ffi::CStr = c"/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Huge pages that follow each other; unmapped when dropped.
///
/// # Invariants
/// Mapped readable and writable as long as it lives; one lives at a time.
struct Region {
    huge_pages: usize,
    /// Of a file that is mapped; closed with the region.
    file: Option<i32>,
}

impl Region {
    /// Private memory, every page stored to.
    fn private(huge_pages: usize) -> Result<Region, Failure> {
        // SAFETY: nothing else is mapped there; one region lives at a time.
        unsafe { memory::map_fixed(ADDRESS, huge_pages * HUGE_BYTES, PROT_READ | PROT_WRITE) }
            .map_err(|errno| Failure::Call("mmap", errno))?;
        let region = Region { huge_pages, file: None };
        region
            .fill("no huge pages for private memory: no memory in pieces of 2 MiB (give --memory 256M), or no THP")?;
        Ok(region)
    }

    /// A memory file, every page stored to.
    fn of_file(huge_pages: usize, in_lab: bool) -> Result<Region, Failure> {
        let bytes = huge_pages * HUGE_BYTES;
        // SAFETY: only reads the name.
        let file = unsafe { files::memfd_create([c"huge".as_ptr() as usize, 0]) }
            .map_err(|errno| Failure::Call("memfd_create", errno))? as i32;
        let region = Region {
            huge_pages,
            file: Some(file),
        };
        // SAFETY: the file is ours.
        unsafe { files::ftruncate([file as usize, bytes]) }.map_err(|errno| Failure::Call("ftruncate", errno))?;
        // SAFETY: nothing else is mapped there; one region lives at a time.
        unsafe { memory::map_file_fixed(ADDRESS, bytes, file) }.map_err(|errno| Failure::Call("mmap", errno))?;
        // The machine of others is left alone.
        if in_lab {
            set_shmem_enabled(b"advise").map_err(|errno| Failure::Call("write to shmem_enabled", errno))?;
        }
        region.fill("no huge pages for memory files: no memory in pieces of 2 MiB (give --memory 256M), or shmem_enabled is not advise")?;
        Ok(region)
    }

    /// Stores to every page, and makes sure that each huge one took one fault.
    fn fill(&self, refused: &'static str) -> Result<(), Failure> {
        memory::huge_pages(ADDRESS, self.bytes()).map_err(|_| Failure::Skip(refused))?;
        let before = process::faults().minor;
        for page in (0..self.bytes()).step_by(PAGE_BYTES) {
            // SAFETY: a page of the region.
            unsafe { ((ADDRESS + page) as *mut u64).write_volatile(1) };
        }
        if process::faults().minor - before != self.huge_pages as u64 {
            return Err(Failure::Skip(refused));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.huge_pages * HUGE_BYTES
    }

    /// Gives a huge page back.
    #[inline(always)]
    fn give_back(&self, huge_page: usize) {
        let offset = huge_page * HUGE_BYTES;
        // A refused call shows as a fault too few.
        _ = match self.file {
            // SAFETY: of the region, whose contents nobody reads.
            Some(file) => unsafe { files::fallocate([file as usize, PUNCH_HOLE, offset, HUGE_BYTES]) }.map(drop),
            // SAFETY: the same.
            None => unsafe { memory::discard(ADDRESS + offset, HUGE_BYTES) },
        };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: addresses into the region are handed out by methods only, whose callers borrow it.
        _ = unsafe { memory::unmap(ADDRESS as *mut u8, self.bytes()) };
        if let Some(file) = self.file {
            _ = sys::close(file);
        }
    }
}

/// Sets the knob of the guest.
fn set_shmem_enabled(word: &[u8]) -> Result<(), Errno> {
    let knob = sys::open_read_write(SHMEM_ENABLED)?;
    let written = sys::write(knob, word);
    _ = sys::close(knob);
    written.map(drop)
}

pub(super) fn anon(phases: &mut Phases, count: usize) -> Result<(), Failure> {
    // Each leaf of private memory has a page table set aside.
    first_touches(phases, &Region::private(IN_TURN + 1)?, count, HUGE_PAGES + 1)
}

pub(super) fn shmem(phases: &mut Phases, count: usize) -> Result<(), Failure> {
    let result = Region::of_file(IN_TURN + 1, phases.in_lab())
        .and_then(|region| first_touches(phases, &region, count, HUGE_PAGES));
    if phases.in_lab() {
        // What is set at boot; other scenarios want small pages.
        set_shmem_enabled(b"never").map_err(|errno| Failure::Call("write to shmem_enabled", errno))?;
    }
    result
}

fn first_touches(phases: &mut Phases, region: &Region, count: usize, frames: usize) -> Result<(), Failure> {
    let first_touch = |index: usize| {
        let huge_page = index % IN_TURN;
        region.give_back(huge_page);
        // SAFETY: of the region, aligned.
        unsafe { tsc::store((ADDRESS + huge_page * HUGE_BYTES) as *mut u64, index as u64) }
    };
    for index in 0..ROUNDS * IN_TURN {
        first_touch(index);
    }
    let count_each = |each: usize| (count * each) as u64;
    let expected = PhaseArgs {
        page_bytes: HUGE_BYTES as u64,
        count: count as u64,
        expect_pgfault: count as u64,
        expect_pgalloc: count_each(frames),
        expect_syscalls: count as u64,
        ..PhaseArgs::default()
    };
    phases.time(expected, first_touch)
}

/// Pages of 4 KiB of a region at equal distances, from its beginning on.
///
/// # Invariants
/// The last of them is within the region.
struct Small<'a> {
    _region: &'a Region,
    apart_bytes: usize,
    count: usize,
}

impl Pages for Small<'_> {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        (ADDRESS + index * self.apart_bytes) as *mut u64
    }
}

pub(super) fn tlb_miss(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::private(BEYOND_TLB / HUGE_PAGES)?;
    let all = Small {
        _region: &region,
        apart_bytes: PAGE_BYTES,
        count: BEYOND_TLB,
    };
    // Twice, as in `window::tlb_miss`.
    all.store_all();
    all.store_all();
    let count = pages.min(BEYOND_TLB);
    let spread = Small {
        apart_bytes: BEYOND_TLB / count * PAGE_BYTES,
        count,
        ..all
    };
    let expected = PhaseArgs {
        page_bytes: HUGE_BYTES as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &spread, expected)
}

/// As `window::cold_pages`, of private memory in huge pages.
pub(super) fn cold_pages(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let granule = host_info(phases.lab()?)?.granule_bytes as usize;
    if granule > HUGE_BYTES {
        return Err(Failure::Skip("the host backs more than one page of 2 MiB as one"));
    }
    let count = pages.min(BEYOND_TLB);
    let region = Region::private(count.div_ceil(HUGE_PAGES))?;
    let lab = phases.lab()?;
    let range = Range {
        addr: ADDRESS as u64,
        len: region.bytes() as u64,
    };
    lab.cold(range).map_err(|errno| Failure::Call("ioctl COLD", errno))?;
    let present = lab
        .present(range)
        .map_err(|errno| Failure::Call("ioctl PRESENT", errno))?;
    if present != 0 {
        return Err(Failure::Backing("pages are still backed by the host", present, 0));
    }
    let touched = Small {
        _region: &region,
        apart_bytes: PAGE_BYTES,
        count,
    };
    let expected = PhaseArgs {
        page_bytes: HUGE_BYTES as u64,
        expect_cold: (count * PAGE_BYTES).div_ceil(granule) as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &touched, expected)
}
