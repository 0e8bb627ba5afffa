//! The lab window: consecutive guest memory on the chosen backing, mapped as a whole, which no guest allocator touches.
//!
//! What the host backs as one is a *granule*: a page, 2 MiB, 1 GiB. A cold granule is one violation whichever of its pages is
//! touched first, so of each granule one page is measured.

use faultlab_abi::dev::{PhaseArgs, Range, SAME_EACH_TIME, access, host_flag};
use faultlab_programs::sys::memory::{self, PAGE_BYTES};

use super::resident::Pages;
use super::{host_info, touch};
use crate::lab::Lab;
use crate::phase::{Failure, Phases};

/// More pages than a second-level TLB has entries. Source: AMD Zen 5 optimization guide, 2.8 (4,096 data entries), Intel's have
/// fewer.
pub(super) const BEYOND_TLB: usize = 8192;

/// A part of the window, from its beginning, and measured pages in it at equal distances; unmapped when dropped.
///
/// # Invariants
/// `bytes` from `start` are mapped as long as this lives, and hold all measured pages.
struct Window {
    start: *mut u8,
    bytes: usize,
    step: usize,
    count: usize,
}

impl Window {
    /// Maps so many granules (of `granule` bytes, or as many as there are), of each the first page measured.
    fn map(lab: &Lab, granule: usize, count: usize) -> Result<Window, Failure> {
        let info = host_info(lab)?;
        let count = count.min(info.window_bytes as usize / granule);
        if count == 0 {
            return Err(Failure::Skip("needs a lab window, as --window 32M gives"));
        }
        let bytes = count * granule;
        let start = lab
            .window(bytes)
            .map_err(|errno| Failure::Call("mmap of the lab window", errno))?;
        Ok(Window {
            start,
            bytes,
            step: granule,
            count,
        })
    }

    fn range(&self) -> Range {
        Range {
            addr: self.start as u64,
            len: self.bytes as u64,
        }
    }

    /// All of it must be backed by the host, or nothing.
    fn require_backed(&self, lab: &Lab, expected: bool) -> Result<(), Failure> {
        let present = lab
            .present(self.range())
            .map_err(|errno| Failure::Call("ioctl PRESENT", errno))?;
        let all = (self.bytes / PAGE_BYTES) as u64;
        match (expected, present == if expected { all } else { 0 }) {
            (_, true) => Ok(()),
            (true, false) => Err(Failure::Backing(
                "not all of the window is backed by the host",
                present,
                all,
            )),
            (false, false) => Err(Failure::Backing("the window is not cold", present, 0)),
        }
    }
}

impl Pages for Window {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        self.start.wrapping_add(index * self.step).cast()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: addresses into it are handed out by `address` only, whose callers borrow it.
        _ = unsafe { memory::unmap(self.start, self.bytes) };
    }
}

/// As `shared::second_level`, for granules of more than a page.
pub(super) fn second_level(phases: &mut Phases, granule: usize, granules: usize) -> Result<(), Failure> {
    let window = Window::map(phases.lab()?, granule, granules)?;
    window.store_all();
    let lab = phases.lab()?;
    lab.cold(window.range())
        .map_err(|errno| Failure::Call("ioctl COLD", errno))?;
    window.require_backed(lab, false)?;
    let expected = PhaseArgs {
        expect_cold: window.count as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &window, expected)?;
    if phases.access() == access::LOAD {
        // Of memory that nobody wrote to, a load is given a page of zeroes, not a granule.
        return Ok(());
    }
    // A host without a free huge page gives small ones.
    window.require_backed(phases.lab()?, true)
}

/// Every page of so many, of memory that was backed, and is not any more: what the guest maps in small pages.
pub(super) fn cold_pages(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let lab = phases.lab()?;
    let granule = host_info(lab)?.granule_bytes as usize;
    let all = Window::map(lab, granule, (pages * PAGE_BYTES).div_ceil(granule))?;
    let touched = Spread {
        count: pages.min(all.bytes / PAGE_BYTES),
        window: &all,
        apart_bytes: PAGE_BYTES,
    };
    touched.store_all();
    lab.cold(all.range())
        .map_err(|errno| Failure::Call("ioctl COLD", errno))?;
    all.require_backed(lab, false)?;
    let expected = PhaseArgs {
        expect_cold: (touched.count * PAGE_BYTES).div_ceil(granule) as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &touched, expected)
}

pub(super) fn tlb_miss(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let all = Window::map(phases.lab()?, PAGE_BYTES, BEYOND_TLB)?;
    if all.count < BEYOND_TLB {
        return Err(Failure::Skip(
            "needs a lab window of 8192 pages, more than the TLB holds",
        ));
    }
    // Twice: the second time every page is mapped at every level, and the last pages push out the first.
    all.store_all();
    all.store_all();
    all.require_backed(phases.lab()?, true)?;
    let count = pages.min(all.count);
    let spread = Spread {
        window: &all,
        apart_bytes: all.count / count * PAGE_BYTES,
        count,
    };
    touch(phases, &spread, PhaseArgs::default())
}

/// Some of the window's pages, at equal distances.
///
/// # Invariants
/// The last of them is within the window.
struct Spread<'a> {
    window: &'a Window,
    apart_bytes: usize,
    count: usize,
}

impl Pages for Spread<'_> {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        self.window.start.wrapping_add(index * self.apart_bytes).cast()
    }
}

pub(super) fn write_protect(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let lab = phases.lab()?;
    let info = host_info(lab)?;
    if info.flags & host_flag::DIRTY_LOG == 0 {
        return Err(Failure::Skip(
            "needs a dirty log: --window 32M, and a KVM that keeps one",
        ));
    }
    // Whole granules are backed; pages are protected one by one.
    let granule = info.granule_bytes as usize;
    let backed = Window::map(lab, granule, (pages * PAGE_BYTES).div_ceil(granule))?;
    let window = Spread {
        count: pages.min(backed.bytes / PAGE_BYTES),
        window: &backed,
        apart_bytes: PAGE_BYTES,
    };
    window.store_all();
    let range = backed.range();
    lab.write_protect(range)
        .map_err(|errno| Failure::Call("ioctl WRITE_PROTECT", errno))?;
    require_dirty(lab, range, 0)?;
    // One violation a page, or, where the processor logs by itself, none.
    let expected = PhaseArgs {
        expect_cold: SAME_EACH_TIME,
        ..PhaseArgs::default()
    };
    touch(phases, &window, expected)?;
    let lab = phases.lab()?;
    require_dirty(lab, range, window.count as u64)?;
    lab.dirty_stop()
        .map_err(|errno| Failure::Call("ioctl DIRTY_STOP", errno))
}

fn require_dirty(lab: &Lab, range: Range, expected: u64) -> Result<(), Failure> {
    let dirty = lab
        .dirty_pages(range)
        .map_err(|errno| Failure::Call("ioctl DIRTY_PAGES", errno))?;
    if dirty == expected {
        Ok(())
    } else {
        Err(Failure::Backing("pages in the dirty log", dirty, expected))
    }
}
