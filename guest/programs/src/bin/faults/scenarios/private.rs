//! Private anonymous memory: first touches, the page of zeroes, and copy-on-write.
//!
//! The first page under each page table is an anchor, as in `segment.rs`: it is touched beforehand and not measured.

use faultlab_abi::dev::PhaseArgs;
use faultlab_programs::eprintln;
use faultlab_programs::sys::memory::{self, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};

use super::resident::{self, Pages};
use super::{touch, warm_next_frames};
use crate::phase::{Failure, Phases};

/// Pages under one page table. Source: Intel SDM, volume 3, 4.5.
const TABLE: usize = 512;
/// Where regions are mapped: a 2 MiB boundary away from segments and all else.
const ADDRESS: usize = 0x1200_0000_0000;
/// What one call of a program may need of the stack, in bytes.
const STACK_BYTES: usize = 2 * PAGE_BYTES;

/// A mapping with measured pages; unmapped when dropped.
///
/// # Invariants
/// Mapped readable and writable as long as it lives.
struct Region {
    count: usize,
}

/// Page number, in its region, of measured page `index`.
const fn page(index: usize) -> usize {
    index / (TABLE - 1) * TABLE + 1 + index % (TABLE - 1)
}

impl Region {
    /// Maps a region; of each page table the anchor is touched.
    fn map(count: usize) -> Result<Region, Failure> {
        let bytes = (page(count - 1) + 1) * PAGE_BYTES;
        // SAFETY: nothing else is mapped there; one region lives at a time.
        unsafe { memory::map_fixed(ADDRESS, bytes, PROT_READ | PROT_WRITE) }
            .map_err(|errno| Failure::Call("mmap", errno))?;
        let region = Region { count };
        // A kernel that has no huge pages refuses, and none are what is wanted.
        _ = memory::small_pages(ADDRESS, bytes);
        for anchor in (0..=page(count - 1)).step_by(TABLE) {
            // SAFETY: a page of the region.
            unsafe { ((ADDRESS + anchor * PAGE_BYTES) as *mut u64).write_volatile(1) };
        }
        resident::require(&region, false)?;
        Ok(region)
    }
}

impl Pages for Region {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        (ADDRESS + page(index) * PAGE_BYTES) as *mut u64
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let bytes = (page(self.count - 1) + 1) * PAGE_BYTES;
        // SAFETY: addresses into the region are handed out by `address` only, whose callers borrow it.
        _ = unsafe { memory::unmap(ADDRESS as *mut u8, bytes) };
    }
}

pub(super) fn anon(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::map(pages)?;
    copies(phases, &region)
}

pub(super) fn zero_page(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::map(pages)?;
    touch(phases, &region, faults(pages))
}

pub(super) fn zero_upgrade(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::map(pages)?;
    region.load_all();
    resident::require(&region, true)?;
    copies(phases, &region)
}

pub(super) fn cow(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::map(pages)?;
    region.store_all();
    resident::require(&region, true)?;
    match process::fork().map_err(|errno| Failure::Call("fork", errno))? {
        Fork::Child => {
            own_stack();
            process::exit(match copies(phases, &region) {
                Ok(()) => 0,
                Err(failure) => {
                    eprintln!("faults: in a child: {failure}");
                    1
                }
            })
        }
        Fork::Parent(child) => {
            let status = process::wait(child).map_err(|errno| Failure::Call("wait4", errno))?;
            phases.adopt(pages);
            if status == 0 { Ok(()) } else { Err(Failure::Child) }
        }
    }
}

pub(super) fn cow_reuse(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let region = Region::map(pages)?;
    region.store_all();
    resident::require(&region, true)?;
    match process::fork().map_err(|errno| Failure::Call("fork", errno))? {
        Fork::Child => process::exit(0),
        Fork::Parent(child) => process::wait(child).map_err(|errno| Failure::Call("wait4", errno))?,
    };
    own_stack();
    touch(phases, &region, faults(pages))
}

/// Touches that each fault, and take a frame that the host has backed.
fn copies(phases: &mut Phases, region: &Region) -> Result<(), Failure> {
    warm_next_frames(phases, region.count)?;
    let expected = PhaseArgs {
        expect_pgalloc: region.count as u64,
        ..faults(region.count)
    };
    touch(phases, region, expected)
}

fn faults(pages: usize) -> PhaseArgs {
    PhaseArgs {
        expect_pgfault: pages as u64,
        ..PhaseArgs::default()
    }
}

/// Stores to the part of the stack that is used next: after a fork it may not be written to without a fault, which must not
/// come in the measurement.
#[inline(never)]
pub(super) fn own_stack() {
    let mut bytes = [0u8; STACK_BYTES];
    for page in bytes.chunks_mut(64) {
        // SAFETY: a live local.
        unsafe { page.as_mut_ptr().write_volatile(1) };
    }
}
