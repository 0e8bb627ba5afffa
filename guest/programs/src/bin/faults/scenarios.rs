//! The scenarios: how each state is set, and what must be counted.
//!
//! | scenario | guest mapping | page cache | host backing | a touch must be |
//! |---|---|---|---|---|
//! | `warm-touch` | present | present | present | no fault |
//! | `minor` | absent | present | present | one minor fault |
//! | `alloc-warm` | absent | hole | present | one fault, one frame |
//! | `alloc-cold` | absent | hole | absent | the same, and one second-level violation |
//! | `second-level-only` | present | present | absent | one second-level violation |
//! | `swap-out` | present | present | present | (per `MADV_PAGEOUT` of one page) one page written |
//! | `swap-in` | absent | swap entry | present | one major fault, one frame, one page read |
//! | `pio-exit` | – | – | – | one exit |
//! | `mmio-exit` | – | – | – | one exit |
//!
//! Frames counted are those of data: page tables and XArray nodes exist beforehand (`pages.rs`).

use faultlab_abi::dev::{PhaseArgs, Range};
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::{memory, sysv_shm};
use faultlab_programs::tsc;

use crate::pages::{Pages, View};
use crate::phase::{Failure, Phases};

/// A kind of fault.
pub(crate) struct Scenario {
    /// Its name in every output.
    pub name: &'static str,
    /// Sets the state for so many pages, and measures once.
    pub run: fn(&mut Phases, usize) -> Result<(), Failure>,
}

/// Why a scenario cannot be measured here.
pub(crate) struct Skip(pub &'static str);

/// Every scenario, in the order of the table of costs.
pub(crate) static SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "warm-touch",
        run: warm_touch,
    },
    Scenario {
        name: "minor",
        run: minor,
    },
    Scenario {
        name: "alloc-warm",
        run: alloc_warm,
    },
    Scenario {
        name: "alloc-cold",
        run: alloc_cold,
    },
    Scenario {
        name: "second-level-only",
        run: second_level_only,
    },
    Scenario {
        name: "swap-out",
        run: swap_out,
    },
    Scenario {
        name: "swap-in",
        run: swap_in,
    },
    Scenario {
        name: "pio-exit",
        run: pio_exit,
    },
    Scenario {
        name: "mmio-exit",
        run: mmio_exit,
    },
];

/// Frames made warm or cold beyond those measured, should the kernel allocate some for itself.
const SLACK_PAGES: usize = 64;

/// Touches every measured page through `view`, timed.
#[inline(always)]
fn time_stores(phases: &mut Phases, view: &View, expected: PhaseArgs) -> Result<(), Failure> {
    let expected = PhaseArgs {
        count: view.count() as u64,
        stores: 1,
        ..expected
    };
    // SAFETY: `address` is page-aligned, and its page is mapped writable as long as `view` lives.
    phases.time(expected, |index| unsafe {
        tsc::store(view.address(index).cast(), index as u64)
    })
}

fn warm_touch(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.touch();
    time_stores(phases, &view, PhaseArgs::default())
}

fn minor(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let segment = Pages::create(pages)?;
    let first = segment.attach(0)?;
    first.touch_anchors();
    first.touch();
    let second = segment.attach(1)?;
    second.touch_anchors();
    time_stores(
        phases,
        &second,
        PhaseArgs {
            expect_pgfault: pages as u64,
            ..PhaseArgs::default()
        },
    )
}

fn alloc_warm(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    // Frames that were just freed have backing, and are allocated next: what plain Linux can be asked for.
    let warm = View::private(pages + SLACK_PAGES)?;
    warm.touch();
    drop(warm);
    let view = View::private(pages)?;
    warm_next_frames(phases, pages)?;
    alloc(phases, &view, pages, 0)
}

/// Makes sure, in the lab, that the frames allocated next have backing.
fn warm_next_frames(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    match phases.lab() {
        Ok(lab) => lab
            .warm_free(pages + SLACK_PAGES)
            .map_err(|errno| Failure::Call("ioctl WARM_FREE", errno)),
        Err(_) => Ok(()),
    }
}

fn alloc_cold(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    phases
        .lab()?
        .cold_free(pages + SLACK_PAGES)
        .map_err(|errno| Failure::Call("ioctl COLD_FREE", errno))?;
    alloc(phases, &view, pages, pages as u64)
}

fn alloc(phases: &mut Phases, view: &View, pages: usize, cold: u64) -> Result<(), Failure> {
    let expected = PhaseArgs {
        expect_pgfault: pages as u64,
        expect_pgalloc: pages as u64,
        expect_cold: cold,
        ..PhaseArgs::default()
    };
    time_stores(phases, view, expected)
}

fn second_level_only(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    phases.lab()?;
    let view = View::private(pages)?;
    view.touch();
    // Up to the last measured page every page is measured or an anchor, so all are present.
    let (start, bytes) = view.range();
    let range = Range {
        addr: start as u64,
        len: bytes as u64,
    };
    phases
        .lab()?
        .cold(range)
        .map_err(|errno| Failure::Call("ioctl COLD", errno))?;
    time_stores(
        phases,
        &view,
        PhaseArgs {
            expect_cold: pages as u64,
            ..PhaseArgs::default()
        },
    )
}

fn swap_out(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.touch();
    require_swap(phases, &view)?;
    let expected = PhaseArgs {
        count: pages as u64,
        expect_pswpout: pages as u64,
        stores: 0,
        ..PhaseArgs::default()
    };
    phases.time(expected, |index| {
        // A refused advice shows as a page that was not written.
        tsc::call(|| memory::page_out(view.address(index), PAGE_BYTES)).0
    })
}

fn swap_in(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    let view = View::private(pages)?;
    view.touch();
    require_swap(phases, &view)?;
    for index in 0..pages {
        page_out(&view, index)?;
    }
    warm_next_frames(phases, pages)?;
    let expected = PhaseArgs {
        expect_pgfault: pages as u64,
        expect_pgmajfault: pages as u64,
        expect_pswpin: pages as u64,
        expect_pgalloc: pages as u64,
        ..PhaseArgs::default()
    };
    time_stores(phases, &view, expected)
}

fn page_out(view: &View, index: usize) -> Result<(), Failure> {
    memory::page_out(view.address(index), PAGE_BYTES).map_err(|errno| Failure::Call("madvise MADV_PAGEOUT", errno))
}

/// Pages one page out and in again, and asks whether it was on swap. In the lab a kernel that cannot tell is believed,
/// since its counters will be checked.
fn require_swap(phases: &Phases, view: &View) -> Result<(), Failure> {
    let swapped = || sysv_shm::info().map(|info| info.swp);
    let before = swapped();
    page_out(view, 0)?;
    let after = swapped();
    view.touch();
    match (before, after) {
        (Ok(before), Ok(after)) if after > before => Ok(()),
        (Err(_), _) | (_, Err(_)) if phases.in_lab() => Ok(()),
        _ => Err(Failure::Skip(Skip(
            "nothing is swapped out here: no swap area, or none that takes shared memory",
        ))),
    }
}

fn pio_exit(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    phases.lab()?;
    phases.time_port_io(PhaseArgs {
        count: exits as u64,
        expect_exits: exits as u64,
        ..PhaseArgs::default()
    })
}

fn mmio_exit(phases: &mut Phases, exits: usize) -> Result<(), Failure> {
    let scratch = phases
        .lab()?
        .scratch()
        .map_err(|errno| Failure::Call("mmap of /dev/faultlab", errno))?;
    // SAFETY: mapped for good, and page-aligned. The first load may fault in the mapping.
    let load = || unsafe { tsc::load_u32(scratch) };
    load();
    let expected = PhaseArgs {
        count: exits as u64,
        expect_exits: exits as u64,
        ..PhaseArgs::default()
    };
    phases.time(expected, |_| load())
}
