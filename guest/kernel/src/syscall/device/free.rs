//! Calls about the frames that are allocated next.

use faultlab_abi::lab::kind;
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_linux::Errno;
use faultlab_mm::addr::Pfn;

use super::granule_bytes;
use super::ranges::Ranges;
use crate::mem::platform::MEMORY;
use crate::mem::ram;

pub(super) fn cold(pages: u64) -> Result<(), Errno> {
    // A granule holds frames in use beside free ones.
    if granule_bytes()? > PAGE_SIZE {
        return Err(Errno::EOPNOTSUPP);
    }
    // Frames that a disk still writes from are among the next free ones when it has.
    MEMORY.swap_drain();
    let mut ranges = Ranges::of(kind::COLD);
    next_free(pages, |first, count| ranges.push(first, u64::from(count)))?;
    ranges.send()
}

/// Frames that are made warm for the memory manager's own structures.
const KERNEL_PAGES: u32 = 64;

pub(super) fn warm(pages: u64) -> Result<(), Errno> {
    MEMORY.swap_drain();
    let mut left = KERNEL_PAGES;
    MEMORY.for_each_free_kernel(&mut |first, count| {
        let count = count.min(left);
        touch_entries(first, count);
        touch(first, count);
        left -= count;
        left != 0
    });
    next_free(pages, |first, count| {
        touch(first, count);
        Ok(())
    })
}

fn touch(first: Pfn, count: u32) {
    for pfn in (0..count).map(|page| first.offset(page)) {
        // Free frames' contents are nobody's.
        ram::frame(pfn)[0].set(0);
    }
}

/// Writes what the memory manager keeps about frames as it is, so that the host backs that, too: a frame that was never in use has its
/// entry in the memory map untouched.
fn touch_entries(first: Pfn, count: u32) {
    for entry in &ram::memmap()[first.index()..][..count as usize] {
        entry.index.set(entry.index.get());
    }
}

/// Visits the free frames that programs are given next, `pages` of them, as (first, pages).
fn next_free(pages: u64, mut visit: impl FnMut(Pfn, u32) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut left = pages;
    let mut result = Ok(());
    MEMORY.for_each_free(&mut |first, count| {
        let count = u64::from(count).min(left) as u32;
        touch_entries(first, count);
        result = visit(first, count);
        left -= u64::from(count);
        left != 0 && result.is_ok()
    });
    result?;
    if left == 0 { Ok(()) } else { Err(Errno::ENOMEM) }
}
