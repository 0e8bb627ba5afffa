//! The trace ring: stages of a fault, time-stamped, for the VMM to read. Layout: [`faultlab_abi::trace`].

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::trace::{Record, Stage};
use faultlab_mm::addr::Pfn;

use crate::global::Global;
use crate::{ram, x86};

/// Bytes of the ring, header included, on machines with at least [`LARGE_FROM_BYTES`] of RAM.
const LARGE_BYTES: u64 = 1 << 20;
/// Bytes of the ring on smaller ones.
const SMALL_BYTES: u64 = 256 << 10;
const LARGE_FROM_BYTES: u64 = 64 << 20;

/// The ring in use.
#[derive(Clone, Copy)]
struct Ring {
    /// Records ever written: the first word of the header.
    head: &'static AtomicU64,
    /// Time stamp, and stage with argument. As many as a power of two.
    records: &'static [[AtomicU64; 2]],
}

/// Apart from the ring, so that asking costs a comparison and nothing else.
static ON: Global<Cell<bool>> = Global::new(Cell::new(false));
static RING: Global<Cell<Option<Ring>>> = Global::new(Cell::new(None));

/// Bytes that a ring should have on a machine with so much RAM.
pub(crate) fn bytes_for(ram_bytes: u64) -> u64 {
    if ram_bytes >= LARGE_FROM_BYTES {
        LARGE_BYTES
    } else {
        SMALL_BYTES
    }
}

/// Starts tracing into `bytes` (a power of two) of RAM at `start`.
pub(crate) fn start(start: Pfn, bytes: u64) {
    let words = ram::words(start, bytes / PAGE_SIZE);
    let (header, records) = words.split_at(PAGE_SIZE as usize / 8);
    // The largest power of two that fits behind the header's page.
    let capacity = bytes as usize / 2 / size_of::<Record>();
    header[0].store(0, Relaxed);
    header[1].store(capacity as u64, Relaxed);
    let records = &records.as_chunks::<2>().0[..capacity];
    // So that the host backs the ring now, not in the middle of what is traced.
    for page in records.chunks(PAGE_SIZE as usize / size_of::<Record>()) {
        page[0][0].store(0, Relaxed);
    }
    RING.set(Some(Ring {
        head: &header[0],
        records,
    }));
    ON.set(true);
}

/// A stage is reached. One predicted branch when tracing is off.
#[inline(always)]
pub(crate) fn stage(stage: Stage, arg: u64) {
    if ON.get() {
        record(stage, arg);
    }
}

#[cold]
#[inline(never)]
fn record(stage: Stage, arg: u64) {
    let Some(ring) = RING.get() else { return };
    let number = ring.head.load(Relaxed);
    let Some([tsc, stage_and_arg]) = ring.records.get(number as usize & (ring.records.len() - 1)) else {
        return;
    };
    tsc.store(x86::rdtsc(), Relaxed);
    stage_and_arg.store(arg << 8 | stage as u64, Relaxed);
    // The VMM may look at any time: the record is complete before the head covers it.
    ring.head.store(number + 1, Release);
}

/// The stage of the memory manager's name for it.
#[inline(always)]
pub(crate) const fn of_mm(stage: faultlab_mm::platform::Stage) -> Stage {
    use faultlab_mm::platform::Stage as Mm;
    match stage {
        Mm::FindVma => Stage::FindVma,
        Mm::WalkPageTables => Stage::WalkPageTables,
        Mm::FilemapGetEntry => Stage::FilemapGetEntry,
        Mm::AllocPages => Stage::AllocPages,
        Mm::ClearPage => Stage::ClearPage,
        Mm::AddToPageCache => Stage::AddToPageCache,
        Mm::SetPte => Stage::SetPte,
        Mm::SwapIoStart => Stage::SwapIoStart,
        Mm::SwapIoEnd => Stage::SwapIoEnd,
        Mm::ReclaimStart => Stage::ReclaimStart,
        Mm::ReclaimEnd => Stage::ReclaimEnd,
    }
}
