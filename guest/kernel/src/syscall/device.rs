//! `/dev/faultlab`: what the laboratory does for a program. Calls and records: [`faultlab_abi::dev`].

use core::cell::Cell;

use faultlab_abi::dev::{self, PhaseArgs, Range, Samples};
use faultlab_abi::lab::{PageRange, Phase, kind};
use faultlab_abi::layout::{LAB_PIO_PORT, PAGE_SIZE};
use faultlab_mm::addr::Pfn;

use super::Errno;
use crate::global::Global;
use crate::platform::MEMORY;
use crate::uaccess::{self, for_each_piece};
use crate::{lab, ram, vmstat, x86};

/// Most samples in one call.
const SAMPLES_MAX: u64 = 65_536;
/// Most ranges in one [`kind::COLD`].
const RANGES_MAX: usize = 256;

pub(super) fn ioctl(request: u64, arg: u64) -> Result<(), Errno> {
    match request {
        dev::PHASE_BEGIN => phase(kind::PHASE_BEGIN, arg),
        dev::PHASE_END => phase(kind::PHASE_END, arg),
        dev::SAMPLES => samples(arg),
        dev::COLD => cold(arg),
        dev::COLD_FREE => cold_free(arg),
        dev::WARM_FREE => warm_free(arg),
        dev::PIO_EXITS => pio_exits(arg),
        dev::PLAN => command(kind::PLAN, [arg, 0]),
        _ => Err(Errno::ENOTTY),
    }
}

fn command(kind: u32, [first, second]: [u64; 2]) -> Result<(), Errno> {
    match lab::command(kind, [first, second, 0, 0, 0, 0]) {
        0 => Ok(()),
        status => Err(Errno::of_status(status)),
    }
}

/// The counters are read last when a phase begins, and first when it ends, so that little of this call is in it.
fn phase(kind: u32, arg: u64) -> Result<(), Errno> {
    let ended = (kind == kind::PHASE_END).then(vmstat::snapshot);
    let args = phase_args(uaccess::read(arg)?);
    let phase = Phase {
        args,
        vmstat: ended.unwrap_or_else(vmstat::snapshot),
    };
    command(kind, [ram::phys_of(&raw const phase), 0])
}

fn phase_args(bytes: [u8; size_of::<PhaseArgs>()]) -> PhaseArgs {
    // SAFETY: `PhaseArgs` is `repr(C)` without padding (its size is asserted to be the sum of its fields'), made of
    // integers and arrays of bytes, for which any bytes are valid.
    unsafe { core::mem::transmute(bytes) }
}

/// Two words of a program.
fn pair(arg: u64) -> Result<[u64; 2], Errno> {
    let bytes: [u8; 16] = uaccess::read(arg)?;
    Ok(core::array::from_fn(|index| {
        bytes[8 * index..]
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word))
    }))
}

/// The buffer that a program names: aligned, and not too long.
fn buffer(arg: u64) -> Result<Samples, Errno> {
    let [cycles, count] = pair(arg)?;
    if cycles % 8 != 0 || count > SAMPLES_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(Samples { cycles, count })
}

fn samples(arg: u64) -> Result<(), Errno> {
    let buffer = buffer(arg)?;
    for_each_piece(buffer.cycles, buffer.count * 8, false, |piece| {
        command(kind::SAMPLES, [piece.phys(), piece.len / 8])
    })
}

fn pio_exits(arg: u64) -> Result<(), Errno> {
    let buffer = buffer(arg)?;
    for_each_piece(buffer.cycles, buffer.count * 8, true, |piece| {
        let first = piece.offset as usize / 8;
        for word in &ram::frame(piece.pfn)[first..first + piece.len as usize / 8] {
            let start = x86::rdtsc();
            x86::outb(LAB_PIO_PORT, 0);
            word.set(x86::rdtsc().wrapping_sub(start));
        }
        Ok(())
    })
}

/// Page ranges on their way to the VMM.
struct Ranges {
    list: &'static Cell<[PageRange; RANGES_MAX]>,
    len: usize,
}

impl Ranges {
    fn new() -> Self {
        static LIST: Global<Cell<[PageRange; RANGES_MAX]>> =
            Global::new(Cell::new([PageRange { start: 0, pages: 0 }; RANGES_MAX]));
        Self { list: &LIST, len: 0 }
    }

    /// Adds pages, to the last range if they continue it.
    fn push(&mut self, pfn: Pfn, pages: u64) -> Result<(), Errno> {
        let list = self.list.as_array_of_cells();
        if let Some(last) = self.len.checked_sub(1) {
            let PageRange { start, pages: before } = list[last].get();
            if start + before * PAGE_SIZE == pfn.phys() {
                list[last].set(PageRange {
                    start,
                    pages: before + pages,
                });
                return Ok(());
            }
        }
        if self.len == RANGES_MAX {
            self.send()?;
        }
        list[self.len].set(PageRange {
            start: pfn.phys(),
            pages,
        });
        self.len += 1;
        Ok(())
    }

    fn send(&mut self) -> Result<(), Errno> {
        let len = core::mem::take(&mut self.len);
        if len == 0 {
            Ok(())
        } else {
            command(kind::COLD, [ram::phys_of(self.list.as_ptr()), len as u64])
        }
    }
}

/// Pages before one that is not present are cold when this fails.
fn cold(arg: u64) -> Result<(), Errno> {
    let [addr, len] = pair(arg)?;
    let Range { addr, len } = Range { addr, len };
    if addr % PAGE_SIZE != 0 || len % PAGE_SIZE != 0 || addr.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    let mut ranges = Ranges::new();
    for page in 0..len / PAGE_SIZE {
        let pfn = uaccess::present_frame(addr + page * PAGE_SIZE).ok_or(Errno::EFAULT)?;
        ranges.push(pfn, 1)?;
    }
    ranges.send()
}

fn cold_free(pages: u64) -> Result<(), Errno> {
    let mut ranges = Ranges::new();
    next_free(pages, |first, count| ranges.push(first, u64::from(count)))?;
    ranges.send()
}

fn warm_free(pages: u64) -> Result<(), Errno> {
    next_free(pages, |first, count| {
        for pfn in (0..count).map(|page| first.offset(page)) {
            // Free frames' contents are nobody's.
            ram::frame(pfn)[0].set(0);
        }
        Ok(())
    })
}

/// Visits the free frames that are allocated next, `pages` of them, as (first, pages). What the memory manager keeps about each is
/// written as it is, so that the host backs that, too: a frame that was never in use has its entry in the memory map untouched.
fn next_free(pages: u64, mut visit: impl FnMut(Pfn, u32) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut left = pages;
    let mut result = Ok(());
    MEMORY.for_each_free(&mut |first, count| {
        let count = u64::from(count).min(left) as u32;
        for entry in &ram::memmap()[first.index()..][..count as usize] {
            entry.index.set(entry.index.get());
        }
        result = visit(first, count);
        left -= u64::from(count);
        left != 0 && result.is_ok()
    });
    result?;
    if left == 0 { Ok(()) } else { Err(Errno::ENOMEM) }
}
