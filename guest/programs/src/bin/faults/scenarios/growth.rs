//! How the cost of a fault grows: on a page in the page cache, as in `minor`, of ever larger objects, and in address spaces of ever
//! more mappings. Which pages are touched, and in which order, is the same whatever the number of mappings.
//!
//! Neighbours in order are far apart: each touch is in another place of the object, or in another mapping, than the last.
//!
//! ```text
//! sized: 64 places    A m m m . . . . | A m m m . . . . | A m m m . . . .       A anchor, m measured, . hole
//! split: mappings     A m m m | . . . . | m m m m | . . . .                     every other one is read-only, all holes
//! ```

use faultlab_abi::dev::PhaseArgs;
use faultlab_programs::shm::{Attachment, Segment};
use faultlab_programs::sys::memory::{self, PAGE_BYTES, PROT_READ};

use super::resident::{self, Pages};
use super::touch;
use crate::phase::{Failure, Phases};

/// Pages under one page table. Source: Intel SDM, volume 3, 4.5.
const TABLE: usize = 512;
/// Bytes under one page table.
const TABLE_BYTES: usize = TABLE * PAGE_BYTES;
/// Where the object is attached: first to bring its pages into memory, then to measure. 1 TiB apart, as large as the largest.
const ADDRESSES: [usize; 2] = [0x1000_0000_0000, 0x1100_0000_0000];

/// Places of an object that are touched: at equal distances from its first page on.
const PLACES: usize = 64;
/// Attachments of an object that has fewer pages than are measured; as many as 65,536 pages of 1 MiB take.
const VIEWS_MAX: usize = 352;

/// Most mappings that an object is split into. Half of them are read-only.
const VMAS_MAX: usize = 10_000;
/// Of those that can be stored to, so many are measured: a number whose multiples by `STEP` lie in as many of them.
const VMAS_MEASURED: usize = 4096;
/// From one measured mapping to the next, in mappings that can be stored to: the golden ratio of their number, and without a common
/// divisor with it.
const STEP: usize = 3089;

/// Measured pages of an object of a given size.
struct Sized {
    count: usize,
    /// Pages from one place to the next.
    distance: usize,
    /// Bytes from one attachment to the next.
    view_bytes: usize,
}

impl Sized {
    /// Measured pages of one place: what its page table has beside the anchor.
    fn each_place(&self) -> usize {
        self.distance.min(TABLE) - 1
    }

    /// Measured pages of one attachment.
    fn each_view(&self) -> usize {
        PLACES * self.each_place()
    }

    fn views(&self) -> usize {
        self.count.div_ceil(self.each_view())
    }

    /// Stores to the anchors of the attachment at `base`.
    fn touch_anchors(&self, view: &Attachment) {
        for place in 0..PLACES {
            view.write(place * self.distance * PAGE_BYTES / 8, place as u64);
        }
    }
}

impl Pages for Sized {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        let (view, index) = (index / self.each_view(), index % self.each_view());
        let page = index % PLACES * self.distance + 1 + index / PLACES;
        (ADDRESSES[1] + view * self.view_bytes + page * PAGE_BYTES) as *mut u64
    }
}

/// A page in the page cache of an object of `bytes` bytes: a power of two from 1 MiB to 1 TiB.
pub(super) fn sized(phases: &mut Phases, count: usize, bytes: usize) -> Result<(), Failure> {
    let pages = Sized {
        count,
        distance: bytes / PAGE_BYTES / PLACES,
        view_bytes: bytes.max(TABLE_BYTES),
    };
    let segment = sparse(bytes)?;
    let first = attach(&segment, ADDRESSES[0])?;
    pages.touch_anchors(&first);
    // Measured pages of the first attachment are those of all others.
    for index in 0..count.min(pages.each_view()) {
        first.write((pages.address(index) as usize - ADDRESSES[1]) / 8, index as u64);
    }
    let mut views = [const { None }; VIEWS_MAX];
    for (number, view) in views.iter_mut().take(pages.views()).enumerate() {
        let attachment = attach(&segment, ADDRESSES[1] + number * pages.view_bytes)?;
        pages.touch_anchors(&attachment);
        *view = Some(attachment);
    }
    cached(phases, &pages)
}

/// Measured pages of an object that is split into [`VMAS_MAX`] mappings or fewer.
struct Split {
    count: usize,
    /// Pages of the smallest mapping: a power of two.
    vma_pages: usize,
}

impl Split {
    fn bytes(&self) -> usize {
        VMAS_MAX * self.vma_pages * PAGE_BYTES
    }
}

impl Pages for Split {
    fn count(&self) -> usize {
        self.count
    }

    /// The odd pages of mappings that can be stored to: the first under a page table is even, and is its anchor.
    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        let vma = index % VMAS_MEASURED * STEP % (VMAS_MAX / 2) * 2;
        let page = vma * self.vma_pages + 1 + index / VMAS_MEASURED * 2;
        (ADDRESSES[1] + page * PAGE_BYTES) as *mut u64
    }
}

/// A page in the page cache of an object that `vmas` mappings map: 1, or an even divisor of [`VMAS_MAX`].
pub(super) fn split(phases: &mut Phases, count: usize, vmas: usize) -> Result<(), Failure> {
    let pages = Split {
        count,
        vma_pages: 2 * count.div_ceil(VMAS_MEASURED).next_power_of_two(),
    };
    let segment = sparse(pages.bytes())?;
    let first = attach(&segment, ADDRESSES[0])?;
    let second = attach(&segment, ADDRESSES[1])?;
    for index in 0..count {
        first.write((pages.address(index) as usize - ADDRESSES[1]) / 8, index as u64);
    }
    for anchor in (0..pages.bytes()).step_by(TABLE_BYTES) {
        second.write(anchor / 8, 0);
    }
    let vma_bytes = pages.vma_pages * PAGE_BYTES;
    let read_only = vmas / 2;
    for number in 1..=read_only {
        let address = ADDRESSES[1] + (VMAS_MAX / read_only * number - 1) * vma_bytes;
        // SAFETY: what is measured, and anchors, are in other mappings.
        unsafe { memory::protect(address, vma_bytes, PROT_READ) }.map_err(|errno| Failure::Call("mprotect", errno))?;
    }
    cached(phases, &pages)
}

/// Touches that each fault, and find their page in the page cache.
fn cached(phases: &mut Phases, pages: &impl Pages) -> Result<(), Failure> {
    resident::require_each(pages)?;
    let expected = PhaseArgs {
        expect_pgfault: pages.count() as u64,
        ..PhaseArgs::default()
    };
    touch(phases, pages, expected)
}

/// A segment of holes that nothing is set aside for.
fn sparse(bytes: usize) -> Result<Segment, Failure> {
    Segment::create_sparse(bytes).map_err(|errno| Failure::Call("shmget", errno))
}

fn attach(segment: &Segment, address: usize) -> Result<Attachment, Failure> {
    segment.attach(address).map_err(|errno| Failure::Call("shmat", errno))
}
