//! Shared memory out to swap and back.

use faultlab_abi::dev::PhaseArgs;
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::{memory, sysv_shm};
use faultlab_programs::tsc;

use super::resident::{self, Pages};
use super::segment::View;
use super::{touch, warm_next_frames};
use crate::phase::{Failure, Phases};

pub(super) fn swap_out(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.store_all();
    require_swap(phases, &view)?;
    warm_next_frames(phases, 0)?;
    resident::require(&view, true)?;
    let expected = PhaseArgs {
        count: pages as u64,
        expect_pswpout: pages as u64,
        expect_syscalls: pages as u64,
        ..PhaseArgs::default()
    };
    phases.time(expected, |index| {
        // A refused advice shows as a page that was not written.
        tsc::call(|| memory::page_out(view.address(index).cast(), PAGE_BYTES)).0
    })
}

pub(super) fn swap_in(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.store_all();
    require_swap(phases, &view)?;
    for index in 0..pages {
        page_out(&view, index)?;
    }
    // First: it waits for the disk, which has the last pages until they are written.
    warm_next_frames(phases, pages)?;
    resident::require(&view, false)?;
    let expected = PhaseArgs {
        expect_pgfault: pages as u64,
        expect_pgmajfault: pages as u64,
        expect_pswpin: pages as u64,
        expect_pgalloc: pages as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &view, expected)
}

fn page_out(view: &View, index: usize) -> Result<(), Failure> {
    memory::page_out(view.address(index).cast(), PAGE_BYTES)
        .map_err(|errno| Failure::Call("madvise MADV_PAGEOUT", errno))
}

/// Pages one page out and in again, and asks whether it was on swap. In the lab a kernel that cannot tell is believed,
/// since its counters will be checked.
fn require_swap(phases: &Phases, view: &View) -> Result<(), Failure> {
    let swapped = || sysv_shm::info().map(|info| info.swp);
    let before = swapped();
    page_out(view, 0)?;
    let after = swapped();
    view.store_all();
    match (before, after) {
        (Ok(before), Ok(after)) if after > before => Ok(()),
        (Err(_), _) | (_, Err(_)) if phases.in_lab() => Ok(()),
        _ => Err(Failure::Skip(
            "nothing is swapped out here: no swap area, or none that takes shared memory",
        )),
    }
}
