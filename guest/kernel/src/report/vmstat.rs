//! The counters that the VMM reads: `u64`s indexed by [`Item`], in the kernel's data.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use faultlab_abi::vmstat::{COUNT, Item};
use faultlab_mm::platform::Vmstat;

/// Read by the VMM at any time, hence atomics; written only here, hence plain additions.
static COUNTERS: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

/// Adds to a counter; wraps, so that a level can fall.
#[inline(always)]
pub(crate) fn count(item: Item, by: u64) {
    let counter = &COUNTERS[item as usize];
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// A counter.
pub(crate) fn value(item: Item) -> u64 {
    COUNTERS[item as usize].load(Relaxed)
}

/// All counters now.
pub(crate) fn snapshot() -> [u64; COUNT] {
    core::array::from_fn(|index| COUNTERS[index].load(Relaxed))
}

/// Where they are.
pub(crate) fn address() -> *const AtomicU64 {
    COUNTERS.as_ptr()
}

/// The counter of the memory manager's name for it.
#[inline(always)]
pub(crate) const fn item(vmstat: Vmstat) -> Item {
    match vmstat {
        Vmstat::NrFreePages => Item::NrFreePages,
        Vmstat::NrFilePages => Item::NrFilePages,
        Vmstat::NrShmem => Item::NrShmem,
        Vmstat::NrAnonMapped => Item::NrAnonMapped,
        Vmstat::NrFileMapped => Item::NrFileMapped,
        Vmstat::NrPageTablePages => Item::NrPageTablePages,
        Vmstat::NrSlab => Item::NrSlab,
        Vmstat::NrSwapCached => Item::NrSwapCached,
        Vmstat::Pgalloc => Item::Pgalloc,
        Vmstat::Pgfree => Item::Pgfree,
        Vmstat::Pgfault => Item::Pgfault,
        Vmstat::Pgmajfault => Item::Pgmajfault,
        Vmstat::PgscanKswapd => Item::PgscanKswapd,
        Vmstat::PgscanDirect => Item::PgscanDirect,
        Vmstat::PgstealKswapd => Item::PgstealKswapd,
        Vmstat::PgstealDirect => Item::PgstealDirect,
        Vmstat::Allocstall => Item::Allocstall,
        Vmstat::Pgactivate => Item::Pgactivate,
        Vmstat::Pgdeactivate => Item::Pgdeactivate,
        Vmstat::Pswpin => Item::Pswpin,
        Vmstat::Pswpout => Item::Pswpout,
        Vmstat::OomKill => Item::OomKill,
        Vmstat::SwapRa => Item::SwapRa,
        Vmstat::SwapRaHit => Item::SwapRaHit,
        Vmstat::WorkingsetRefaultAnon => Item::WorkingsetRefaultAnon,
        Vmstat::WorkingsetActivateAnon => Item::WorkingsetActivateAnon,
        Vmstat::WorkingsetRestoreAnon => Item::WorkingsetRestoreAnon,
        Vmstat::AllocstallMovable => Item::AllocstallMovable,
        Vmstat::PgscanDirectThrottle => Item::PgscanDirectThrottle,
        Vmstat::CompactMigrateScanned => Item::CompactMigrateScanned,
        Vmstat::CompactFreeScanned => Item::CompactFreeScanned,
        Vmstat::CompactIsolated => Item::CompactIsolated,
        Vmstat::CompactStall => Item::CompactStall,
        Vmstat::CompactFail => Item::CompactFail,
        Vmstat::CompactSuccess => Item::CompactSuccess,
        Vmstat::CompactDaemonWake => Item::CompactDaemonWake,
        Vmstat::PgmigrateSuccess => Item::PgmigrateSuccess,
        Vmstat::PgmigrateFail => Item::PgmigrateFail,
    }
}
