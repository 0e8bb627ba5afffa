//! Shared memory: mapped, in the page cache, or a hole; its frames backed by the host or not.

use faultlab_abi::dev::{PhaseArgs, Range, host_flag};
use faultlab_programs::sys::memory::PAGE_BYTES;

use super::resident::{self, Pages};
use super::segment::{Measured, View};
use super::{SLACK_PAGES, host_info, touch, warm_next_frames, window};
use crate::phase::{Failure, Phases};

pub(super) fn warm_touch(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.store_all();
    resident::require(&view, true)?;
    touch(phases, &view, PhaseArgs::default())
}

pub(super) fn minor(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let segment = Measured::create(pages)?;
    let first = segment.attach(0)?;
    first.touch_anchors();
    first.store_all();
    let second = segment.attach(1)?;
    second.touch_anchors();
    resident::require(&second, true)?;
    let expected = PhaseArgs {
        expect_pgfault: pages as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &second, expected)
}

pub(super) fn alloc_warm(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    // Frames that were just freed have backing, and are allocated next: what plain Linux can be asked for.
    let warm = View::private(pages + SLACK_PAGES)?;
    warm.store_all();
    drop(warm);
    let view = View::private(pages)?;
    warm_next_frames(phases, pages)?;
    alloc(phases, &view, 0)
}

pub(super) fn alloc_cold(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    let lab = phases.lab()?;
    if host_info(lab)?.flags & host_flag::COLD_FREE == 0 {
        return Err(Failure::Skip(
            "the host backs many frames as one, so a free frame alone cannot be cold",
        ));
    }
    lab.cold_free(pages + SLACK_PAGES)
        .map_err(|errno| Failure::Call("ioctl COLD_FREE", errno))?;
    alloc(phases, &view, pages as u64)
}

fn alloc(phases: &mut Phases, view: &View, cold: u64) -> Result<(), Failure> {
    let pages = view.count() as u64;
    let expected = PhaseArgs {
        expect_pgfault: pages,
        expect_pgalloc: pages,
        expect_cold: cold,
        ..PhaseArgs::default()
    };
    touch(phases, view, expected)
}

pub(super) fn second_level(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let granule = host_info(phases.lab()?)?.granule_bytes as usize;
    if granule > PAGE_BYTES {
        return window::second_level(phases, granule, pages);
    }
    let view = View::private(pages)?;
    view.store_all();
    resident::require(&view, true)?;
    // Up to the last measured page every page is measured or an anchor, so all are present.
    let start = view.address(0) as usize;
    let range = Range {
        addr: start as u64,
        len: (view.address(pages - 1) as usize + PAGE_BYTES - start) as u64,
    };
    phases
        .lab()?
        .cold(range)
        .map_err(|errno| Failure::Call("ioctl COLD", errno))?;
    let present = phases
        .lab()?
        .present(range)
        .map_err(|errno| Failure::Call("ioctl PRESENT", errno))?;
    if present != 0 {
        return Err(Failure::Backing("pages are still backed by the host", present, 0));
    }
    let expected = PhaseArgs {
        expect_cold: pages as u64,
        ..PhaseArgs::default()
    };
    touch(phases, &view, expected)
}
