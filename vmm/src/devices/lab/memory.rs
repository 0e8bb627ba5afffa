//! Commands about the host memory behind the guest's.

use faultlab_abi::dev::{HostInfo, host_flag};
use faultlab_abi::lab::PageRange;

use super::records::{copy_array, store};
use super::{Handled, Refusal};
use crate::devices::Session;
use crate::error::{KvmError, MemoryError};
use crate::memory::DirtyMode;
use crate::memory::dirty_log::DirtyLog;

/// Limit stated in [`faultlab_abi::lab::kind::COLD`].
const RANGES_MAX: u64 = 256;

/// Tells the backing, the window, and what they can do.
pub(super) fn host_info(address: u64, log: Option<&DirtyLog>, session: &Session<'_>) -> Handled {
    let mut info: HostInfo = session.ram.host_info();
    if let (Some(log), 1..) = (log, info.window_bytes) {
        info.flags |= host_flag::DIRTY_LOG;
        if log.mode() == DirtyMode::Ring {
            info.flags |= host_flag::DIRTY_RING;
        }
    }
    store(session.ram, address, info)?;
    Ok(None)
}

/// Drops the host's backing of ranges.
pub(super) fn cold(args: [u64; 6], session: &Session<'_>) -> Handled {
    session.ram.make_cold(&ranges(args, session)?).map_err(refusal)?;
    Ok(None)
}

/// Has the host back ranges.
pub(super) fn warm(args: [u64; 6], session: &Session<'_>) -> Handled {
    session.ram.populate(&ranges(args, session)?).map_err(refusal)?;
    Ok(None)
}

/// Counts pages that the host has backed.
pub(super) fn present(args: [u64; 6], session: &Session<'_>) -> Handled {
    let pages = session.ram.present(&ranges(args, session)?).map_err(refusal)?;
    store(session.ram, args[2], pages)?;
    Ok(None)
}

/// Write-protects pages of the window.
pub(super) fn write_protect(args: [u64; 6], log: Option<&mut DirtyLog>, session: &Session<'_>) -> Handled {
    let log = log.ok_or(Refusal::Unsupported)?;
    for range in in_window(args, session)? {
        log.protect(session.ram, range).map_err(kvm_refusal)?;
    }
    Ok(None)
}

/// Counts pages of the window that were stored to.
pub(super) fn dirty_pages(args: [u64; 6], log: Option<&mut DirtyLog>, session: &Session<'_>) -> Handled {
    let log = log.ok_or(Refusal::Unsupported)?;
    let mut pages = 0;
    for range in in_window(args, session)? {
        pages += log
            .count(session.ram, range)
            .map_err(kvm_refusal)?
            .ok_or(Refusal::Invalid)?;
    }
    store(session.ram, args[2], pages)?;
    Ok(None)
}

/// Ends the dirty log.
pub(super) fn dirty_stop(log: Option<&mut DirtyLog>, session: &Session<'_>) -> Handled {
    if let Some(log) = log {
        log.stop(session.ram).map_err(kvm_refusal)?;
    }
    Ok(None)
}

/// The ranges of a command: address of their array, how many.
fn ranges([address, count, ..]: [u64; 6], session: &Session<'_>) -> Result<Vec<PageRange>, Refusal> {
    if count > RANGES_MAX {
        return Err(Refusal::Invalid);
    }
    copy_array(session.ram, address, count)
}

/// The same as page numbers in the window.
fn in_window(args: [u64; 6], session: &Session<'_>) -> Result<Vec<std::ops::Range<u64>>, Refusal> {
    let ranges = ranges(args, session)?.into_iter();
    ranges
        .map(|range| session.ram.window_pages(range).map_err(refusal))
        .collect()
}

/// A range that is no whole pages (or granules) is a wrong value; whole pages elsewhere are a wrong address.
fn refusal(error: MemoryError) -> Refusal {
    match error {
        MemoryError::Range { .. } | MemoryError::Granule { .. } => Refusal::Invalid,
        MemoryError::Outside { .. } => Refusal::Fault,
        error => {
            log::error!("{error}");
            Refusal::Io
        }
    }
}

fn kvm_refusal(error: KvmError) -> Refusal {
    log::error!("{error}");
    Refusal::Io
}
