//! `/dev/faultlab`: what the laboratory does for a program. Calls and records: [`faultlab_abi::dev`].

//!
//! | file | calls |
//! |---|---|
//! | `device/ranges.rs` | those about a range of the program's pages: their host backing, the dirty log |
//! | `device/free.rs` | those about frames that nobody has yet |
//! | `device/exits.rs` | exits that only ring 0 can provoke, timed |

use faultlab_abi::dev::{self, HostInfo, PhaseArgs, Samples, SkipArgs};
use faultlab_abi::lab::{Phase, kind};
use faultlab_abi::layout::{LAB_SCRATCH, PAGE_SIZE, WINDOW};

use super::Errno;
use crate::dev::lab;
use crate::mem::platform::MEMORY;
use crate::mem::ram;
use crate::mem::uaccess::{self, for_each_piece};
use crate::report::vmstat;

mod exits;
mod free;
mod ranges;

/// Most samples in one call.
const SAMPLES_MAX: u64 = 65_536;

pub(super) fn ioctl(request: u64, arg: u64) -> Result<(), Errno> {
    match request {
        dev::PHASE_BEGIN => phase(kind::PHASE_BEGIN, arg),
        dev::PHASE_END => phase(kind::PHASE_END, arg),
        dev::SAMPLES => samples(arg),
        dev::COLD => ranges::send(kind::COLD, arg),
        dev::WARM => ranges::send(kind::WARM, arg),
        dev::PRESENT => ranges::count(kind::PRESENT, arg),
        dev::WRITE_PROTECT => ranges::send(kind::WRITE_PROTECT, arg),
        dev::DIRTY_PAGES => ranges::count(kind::DIRTY_PAGES, arg),
        dev::DIRTY_STOP => command(kind::DIRTY_STOP, [0, 0]),
        dev::COLD_FREE => free::cold(arg),
        dev::WARM_FREE => free::warm(arg),
        dev::PIO_EXITS => exits::port_io(arg),
        dev::CPUID_EXITS => exits::cpuid(arg),
        dev::HLT_EXITS => exits::halt(arg, 0),
        dev::HLT_WAKES => exits::halt(arg, 1),
        dev::PLAN => command(kind::PLAN, [arg, 0]),
        dev::SKIP => skip(arg),
        dev::FAULT_AROUND => MEMORY.set_fault_around_bytes(arg).map_err(Errno::from),
        dev::HOST_INFO => uaccess::copy_to_user(arg, &host_info()?),
        _ => Err(Errno::ENOTTY),
    }
}

fn command(kind: u32, [first, second]: [u64; 2]) -> Result<(), Errno> {
    match lab::command(kind, [first, second, 0, 0, 0, 0]) {
        0 => Ok(()),
        status => Err(Errno::of_status(status)),
    }
}

/// What `mmap` of the device maps: physical address of the first page, and bytes.
///
/// # Errors
/// `EINVAL` for what the device does not have, or only in part.
pub(super) fn mmap_target(offset: u64, len: u64) -> Result<(u64, u64), Errno> {
    let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    let (base, offset, bytes) = match offset.checked_sub(dev::WINDOW_OFFSET) {
        Some(offset) => (WINDOW, offset, window_bytes()?),
        None => (lab::scratch().unwrap_or(LAB_SCRATCH), offset, PAGE_SIZE),
    };
    if len == 0 || offset.checked_add(len).is_none_or(|end| end > bytes) {
        return Err(Errno::EINVAL);
    }
    Ok((base + offset, len))
}

fn window_bytes() -> Result<u64, Errno> {
    info_word(core::mem::offset_of!(HostInfo, window_bytes))
}

fn granule_bytes() -> Result<u64, Errno> {
    info_word(core::mem::offset_of!(HostInfo, granule_bytes))
}

/// The word at this offset of the [`HostInfo`].
fn info_word(offset: usize) -> Result<u64, Errno> {
    let info = host_info()?;
    Ok(info[offset..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
}

/// A [`HostInfo`], as the VMM fills it.
fn host_info() -> Result<[u8; size_of::<HostInfo>()], Errno> {
    /// Records are 8-byte aligned.
    #[repr(align(8))]
    struct Record([u8; size_of::<HostInfo>()]);
    let mut record = Record([0; size_of::<HostInfo>()]);
    command(kind::HOST_INFO, [ram::phys_of(&raw mut record), 0])?;
    // SAFETY: a local, of bytes; the VMM wrote them meanwhile.
    Ok(unsafe { (&raw const record.0).read_volatile() })
}

/// The counters are read last when a phase begins, and first when it ends, so that little of this call is in it. What a phase has the disks do is
/// done, and counted, when it ends, though no sample waited for it.
fn phase(kind: u32, arg: u64) -> Result<(), Errno> {
    MEMORY.swap_drain();
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

/// Passes on why a row will not come. The VMM reads bytes and checks them.
fn skip(arg: u64) -> Result<(), Errno> {
    /// Records are 8-byte aligned.
    #[repr(align(8))]
    struct Record([u8; size_of::<SkipArgs>()]);
    let record = Record(uaccess::read(arg)?);
    command(kind::SKIP, [ram::phys_of(record.0.as_ptr()), 0])
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
