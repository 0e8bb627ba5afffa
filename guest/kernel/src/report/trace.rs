//! The trace: stages of a fault, time-stamped, for the VMM to read. Layout: [`faultlab_abi::trace`].
//!
//! The fault path is compiled once a level ([`crate::mem::platform::memory`]), and the page-fault vector leads to the one
//! that was asked for: a stage that is not traced costs nothing, one that is three instructions. Entry and exit are
//! stamped by `entry`, where registers are free.
//!
//! # Invariants
//! `CURSOR` is the address of a whole record in the trace while tracing is on. Only assembly here and in `entry`
//! touches it after [`start`].

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::trace::{FAULT_CHUNK_BYTES, FaultRecord, Header, Record, Stage, level};
use faultlab_mm::addr::Pfn;
use faultlab_mm::platform::Stage as MmStage;

use crate::cpu::x86;
use crate::global::Global;
use crate::mem::ram;
use crate::task::process;

/// Bytes of the trace, header included, on machines with at least [`LARGE_FROM_BYTES`] of RAM.
const LARGE_BYTES: u64 = 1 << 20;
/// Bytes of the trace on smaller ones.
const SMALL_BYTES: u64 = 256 << 10;
const LARGE_FROM_BYTES: u64 = 64 << 20;
/// Most bytes: an event names a fault record by 24 bits.
const MAX_BYTES: u64 = 512 << 20;

/// The trace in use.
#[derive(Clone, Copy)]
struct Ring {
    /// The words of the [`Header`].
    header: &'static [AtomicU64],
    /// Time stamp, and stage with argument. As many as a power of two.
    records: &'static [[AtomicU64; 2]],
    /// Address of the first fault record, and past the last.
    faults: (u64, u64),
}

static RING: Global<Cell<Option<Ring>>> = Global::new(Cell::new(None));

/// Address of the current fault record.
pub(crate) static CURSOR: AtomicU64 = AtomicU64::new(0);
/// The process that runs, for the fault records.
pub(crate) static PID: AtomicU64 = AtomicU64::new(process::FIRST_PID as u64);

/// Bytes that the trace should have on a machine with so much RAM: what was `asked` for, if anything, in a power of two.
pub(crate) fn bytes_for(ram_bytes: u64, asked: Option<u64>) -> u64 {
    let default = if ram_bytes >= LARGE_FROM_BYTES {
        LARGE_BYTES
    } else {
        SMALL_BYTES
    };
    asked
        .unwrap_or(default)
        .clamp(SMALL_BYTES, MAX_BYTES)
        .next_power_of_two()
}

/// Starts tracing into `bytes` (a power of two) of RAM at `start`.
pub(crate) fn start(start: Pfn, bytes: u64) {
    let words = ram::words(start, bytes / PAGE_SIZE);
    // Not in the middle of what is traced: the host backs the trace now.
    for page in words.chunks(PAGE_SIZE as usize / 8) {
        page[0].store(0, Relaxed);
    }
    let (header, rest) = words.split_at(PAGE_SIZE as usize / 8);
    // An eighth for events, the rest, from the next boundary on, for faults.
    let capacity = bytes as usize / 8 / size_of::<Record>();
    let records = &rest.as_chunks::<2>().0[..capacity];
    let first = (start.phys() + PAGE_SIZE + bytes / 8).next_multiple_of(FAULT_CHUNK_BYTES);
    let end = (start.phys() + bytes) / FAULT_CHUNK_BYTES * FAULT_CHUNK_BYTES;
    let base = ram::frame_address(Pfn::of_phys(first)) as u64;
    let contents = Header {
        head: 0,
        capacity: capacity as u64,
        faults: first,
        fault_capacity: (end - first) / size_of::<FaultRecord>() as u64,
        cursor: ram::phys_of(&raw const CURSOR),
        cursor_base: base,
        laps: 0,
    };
    let fields = [
        contents.head,
        contents.capacity,
        contents.faults,
        contents.fault_capacity,
        contents.cursor,
        contents.cursor_base,
        contents.laps,
    ];
    for (word, field) in header.iter().zip(fields) {
        word.store(field, Relaxed);
    }
    CURSOR.store(base, Relaxed);
    RING.set(Some(Ring {
        header,
        records,
        faults: (base, base + (end - first)),
    }));
}

/// Another process runs.
pub(crate) fn switched() {
    PID.store(u64::from(process::current().pid.get()), Relaxed);
}

/// A stage is reached; everything but the events vanishes where `LEVEL` does not stamp it.
#[inline(always)]
pub(crate) fn stage<const LEVEL: u8>(stage: MmStage, arg: u64) {
    match stage {
        MmStage::FindVma => stamp::<LEVEL, { Stage::FindVma as usize }>(),
        MmStage::WalkPageTables => stamp::<LEVEL, { Stage::WalkPageTables as usize }>(),
        MmStage::FilemapGetEntry => stamp::<LEVEL, { Stage::FilemapGetEntry as usize }>(),
        MmStage::AllocPages => stamp::<LEVEL, { Stage::AllocPages as usize }>(),
        MmStage::ClearPage => stamp::<LEVEL, { Stage::ClearPage as usize }>(),
        MmStage::AddToPageCache => stamp::<LEVEL, { Stage::AddToPageCache as usize }>(),
        MmStage::SetPte => stamp::<LEVEL, { Stage::SetPte as usize }>(),
        MmStage::SwapReadStart => event(Stage::SwapReadStart, arg, LEVEL != level::OFF),
        MmStage::SwapReadEnd => event(Stage::SwapReadEnd, arg, LEVEL != level::OFF),
        MmStage::SwapWriteStart => event(Stage::SwapWriteStart, arg, LEVEL != level::OFF),
        MmStage::SwapWriteEnd => event(Stage::SwapWriteEnd, arg, LEVEL != level::OFF),
        MmStage::ReclaimStart => event(Stage::ReclaimStart, arg, LEVEL != level::OFF),
        MmStage::ReclaimEnd => event(Stage::ReclaimEnd, arg, LEVEL != level::OFF),
        MmStage::PageoutStart => event(Stage::PageoutStart, arg, LEVEL != level::OFF),
        MmStage::PageoutEnd => event(Stage::PageoutEnd, arg, LEVEL != level::OFF),
    }
}

/// A request for `slot` is in the disk's queue.
#[inline(always)]
pub(crate) fn swap_queued<const LEVEL: u8>(slot: u32) {
    event(Stage::SwapQueued, slot.into(), LEVEL != level::OFF);
}

#[inline(always)]
fn stamp<const LEVEL: u8, const NUMBER: usize>() {
    if LEVEL != level::OFF {
        // SAFETY: writes into the current record (invariant of the module), which no Rust code looks at.
        unsafe {
            asm!(
                "mov {record}, [rip + {cursor}]",
                "rdtsc",
                "mov [{record} + 4 * {number} - 4], eax",
                record = out(reg) _,
                cursor = sym CURSOR,
                number = const NUMBER,
                out("eax") _,
                out("edx") _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// What is rare and slow, and happens outside faults too.
#[cold]
#[inline(never)]
fn event(stage: Stage, arg: u64, in_fault: bool) {
    let Some(ring) = RING.get() else { return };
    let [head, ..] = ring.header else { return };
    let number = head.load(Relaxed);
    let Some([tsc, stage_and_arg]) = ring.records.get(number as usize & (ring.records.len() - 1)) else {
        return;
    };
    let fault = if in_fault {
        1 + (CURSOR.load(Relaxed) - ring.faults.0) / size_of::<FaultRecord>() as u64
    } else {
        0
    };
    tsc.store(x86::rdtsc(), Relaxed);
    stage_and_arg.store(fault << 40 | (arg & 0xffff_ffff) << 8 | stage as u64, Relaxed);
    // The VMM may look at any time: the record is complete before the head covers it.
    head.store(number + 1, Release);
}

/// A chunk of fault records is full: `CURSOR` is back at its beginning.
pub(crate) extern "C" fn next_chunk() {
    let Some(ring) = RING.get() else { return };
    let mut next = CURSOR.load(Relaxed) + FAULT_CHUNK_BYTES;
    if next >= ring.faults.1 {
        next = ring.faults.0;
        let laps = &ring.header[core::mem::offset_of!(Header, laps) / 8];
        laps.store(laps.load(Relaxed) + 1, Relaxed);
    }
    CURSOR.store(next, Relaxed);
}
