//! Vector and floating-point registers of programs: saved, loaded, and copied to and from handlers' frames.
//!
//! Ring 0 uses none of them, so between a program's entry into ring 0 and its return they are as it left them. The saved image of the
//! running process is stale, and serves as a buffer here.
//!
//! | host | registers that programs have | kept by |
//! |---|---|---|
//! | ring 0 native | x87, SSE: CR4.OSXSAVE is off | `fxsave64` in ring 0, in the process's slot |
//! | ring 0 interpreted | the host's: up to AVX-512 | `xsave64` in ring 3 ([`ring3`]), in a frame of the process's own |
//!
//! Source: Intel SDM vol. 1, 10.5 "FXSAVE and FXRSTOR", 13.2 "Enumeration of CPU Support for XSAVE"; System V ABI, AMD64 supplement, 3.4.1.

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};

use faultlab_linux::Errno;
use faultlab_linux::signal::{self, FXSAVE_BYTES, FpFormat};
use faultlab_mm::addr::{PAGE_SIZE, Pfn};
use faultlab_mm::slab::Frames;

use crate::cpu::ring3;
use crate::global::Global;
use crate::mem::platform::MEMORY;
use crate::mem::{ram, uaccess};
use crate::task::process::Process;

/// Where a process's registers are while it does not run.
pub(crate) struct FpuState {
    legacy: Legacy,
    /// Where there is more than x87 and SSE.
    extended: Cell<Option<Pfn>>,
}

/// As `fxsave64` keeps it.
#[repr(C, align(16))]
struct Legacy(UnsafeCell<[u8; FXSAVE_BYTES]>);

impl FpuState {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        Self {
            legacy: Legacy(UnsafeCell::new([0; FXSAVE_BYTES])),
            extended: Cell::new(None),
        }
    }
}

/// How the registers are kept.
static FORMAT: Global<Cell<FpFormat>> = Global::new(Cell::new(FpFormat::FXSAVE));
/// MXCSR bits that may be loaded.
static MXCSR_MASK: Global<Cell<u32>> = Global::new(Cell::new(0));

/// Finds out what there is to be kept. `syscall_gate` is what [`crate::entry::gate::install`] returned.
pub(crate) fn init(syscall_gate: u32) {
    if syscall_gate != 0
        && let Some(format) = of_ring_3()
    {
        FORMAT.set(format);
    }
}

/// The format that ring 3 needs, if it is more than `fxsave` does.
fn of_ring_3() -> Option<FpFormat> {
    const FEATURES: u32 = 1;
    const ECX_OSXSAVE: u32 = 1 << 27;
    const XSAVE_LEAF: u32 = 0xd;
    /// x87, SSE, AVX, the three of AVX-512. The others are no registers that programs use unasked.
    const WANTED: u64 = 0xe7;
    let [_, _, ecx, _] = ring3::cpuid(FEATURES, 0);
    if ecx & ECX_OSXSAVE == 0 {
        return None;
    }
    let features = ring3::xcr0() & WANTED;
    let ends = (2..8).filter(|part| features >> part & 1 != 0).map(|part| {
        let [bytes, offset, _, _] = ring3::cpuid(XSAVE_LEAF, part);
        (offset + bytes) as usize
    });
    // Without further parts there is nothing that `fxsave` leaves out.
    let format = FpFormat {
        features,
        bytes: ends.max()?,
    };
    (format.frame_bytes() <= PAGE_SIZE as usize).then_some(format)
}

/// How the registers are kept.
pub(crate) fn format() -> FpFormat {
    FORMAT.get()
}

/// Makes room for a process's registers.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn alloc(process: &Process) -> Result<(), Errno> {
    if format().is_extended() {
        let pfn = MEMORY.alloc_reclaiming(|| MEMORY.alloc_frame()).ok_or(Errno::ENOMEM)?;
        MEMORY.clear_page(pfn);
        process.fpu.extended.set(Some(pfn));
    }
    Ok(())
}

/// A thread goes on in the slot of another, which has no room.
pub(crate) fn move_room(from: &Process, to: &Process) {
    to.fpu.extended.set(from.fpu.extended.take());
}

/// Gives that room back.
pub(crate) fn free(process: &Process) {
    if let Some(pfn) = process.fpu.extended.take() {
        MEMORY.free_frame(pfn);
    }
}

/// Gives a process the state of a program's start.
pub(crate) fn reset(process: &Process) {
    edit(process, signal::reset_image);
}

/// Stores the processor's registers as those of a process.
pub(crate) fn save(process: &Process) {
    match process.fpu.extended.get() {
        // SAFETY: a frame of the process's own, larger than the area, which nobody else refers to.
        Some(pfn) => ram::with_window(pfn, |addr| unsafe { ring3::xsave(addr, format().features) }),
        // SAFETY: 512 bytes, 16-byte aligned, which nobody else refers to (`Global`).
        None => unsafe { asm!("fxsave64 [{}]", in(reg) process.fpu.legacy.0.get(), options(nostack, preserves_flags)) },
    }
}

/// Loads a process's registers into the processor.
pub(crate) fn load(process: &Process) {
    match process.fpu.extended.get() {
        // SAFETY: as in `save`; the image comes from `xsave` or `reset_image`, or went through `sanitize`: the processor accepts it.
        Some(pfn) => ram::with_window(pfn, |addr| unsafe { ring3::xrstor(addr, format().features) }),
        // SAFETY: as in `save`, and as above for what is in it; ring 0 uses no such register.
        None => unsafe {
            asm!("fxrstor64 [{}]", in(reg) process.fpu.legacy.0.get(), options(nostack, preserves_flags));
        },
    }
}

/// Calls `edit` with the image of a process: [`FpFormat::frame_bytes`].
fn edit<T>(process: &Process, edit: impl FnOnce(&mut [u8]) -> T) -> T {
    let (start, bytes) = match process.fpu.extended.get() {
        Some(pfn) => (ram::frame_address(pfn).cast(), format().frame_bytes()),
        None => (process.fpu.legacy.0.get().cast(), FXSAVE_BYTES),
    };
    // SAFETY: within a frame of the process's own, or its slot's bytes; nobody else refers to them while `edit`, which cannot reach them
    // otherwise, has them (`Global`). Any bytes are valid.
    edit(unsafe { core::slice::from_raw_parts_mut(start, bytes) })
}

/// Calls `look` with the image of the running process's registers.
pub(crate) fn with_image<T>(process: &Process, look: impl FnOnce(&[u8]) -> T) -> T {
    save(process);
    edit(process, |image| look(image))
}

/// Writes the running process's registers to its memory.
///
/// # Errors
/// `EFAULT`.
pub(crate) fn copy_to_user(process: &Process, addr: u64) -> Result<(), Errno> {
    save(process);
    edit(process, |image| {
        format().mark(image);
        uaccess::copy_to_user(addr, image)
    })
}

/// Loads the running process's registers from its memory; from nowhere, those of a program's start. Whatever is there, the processor
/// accepts what is loaded.
///
/// # Errors
/// `EFAULT`; the registers are as before.
pub(crate) fn copy_from_user(process: &Process, addr: u64) -> Result<(), Errno> {
    if addr == 0 {
        reset(process);
    } else {
        if MXCSR_MASK.get() == 0 {
            MXCSR_MASK.set(with_image(process, signal::own_mxcsr_mask));
        }
        edit(process, |image| read_image(image, addr))?;
    }
    load(process);
    Ok(())
}

/// Reads an image of which only the first 512 bytes need be there.
fn read_image(image: &mut [u8], addr: u64) -> Result<(), Errno> {
    let (legacy, rest) = image.split_at_mut(FXSAVE_BYTES);
    uaccess::copy_from_user(legacy, addr)?;
    if signal::claims_more(legacy) {
        uaccess::copy_from_user(rest, addr.wrapping_add(FXSAVE_BYTES as u64))?;
    }
    signal::sanitize(format(), image, MXCSR_MASK.get());
    Ok(())
}
