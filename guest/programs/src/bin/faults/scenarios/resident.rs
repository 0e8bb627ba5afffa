//! Sets of measured pages: touching them all, and looking where they are before they are measured.

use faultlab_programs::sys::memory::{self, PAGE_BYTES};

use crate::phase::Failure;

/// Pages that a scenario measures.
///
/// # Invariants
/// Page `index` below `count` is the measuring code's to read and write, as long as this lives.
pub(super) trait Pages {
    /// How many.
    fn count(&self) -> usize;

    /// Address of page `index`, page-aligned.
    fn address(&self, index: usize) -> *mut u64;

    /// Stores to every page.
    fn store_all(&self) {
        for index in 0..self.count() {
            // SAFETY: ours to write (invariant), and aligned.
            unsafe { self.address(index).write_volatile(index as u64) };
        }
    }

    /// Loads from every page.
    fn load_all(&self) {
        for index in 0..self.count() {
            // SAFETY: ours to read (invariant), and aligned.
            unsafe { self.address(index).read_volatile() };
        }
    }
}

/// Every page must be in memory, as for [`require`]; looked at one by one, for pages in no order.
pub(super) fn require_each(pages: &impl Pages) -> Result<(), Failure> {
    for index in 0..pages.count() {
        let mut vector = [0];
        memory::residency(pages.address(index) as usize, &mut vector)
            .map_err(|errno| Failure::Call("mincore", errno))?;
        if vector[0] & 1 == 0 {
            return Err(Failure::State("mincore", index, true));
        }
    }
    Ok(())
}

/// Pages looked at in one call.
const WINDOW: usize = 512;

/// Every page must be in memory, or none: of shared memory, in the page cache; of private memory, mapped.
///
/// Source: mincore(2).
pub(super) fn require(pages: &impl Pages, expected: bool) -> Result<(), Failure> {
    let mut vector = [0; WINDOW];
    // Of the pages in the vector: the address of the first, and of the first behind the last.
    let (mut first, mut end) = (0, 0);
    for index in 0..pages.count() {
        let address = pages.address(index) as usize;
        if !(first..end).contains(&address) {
            // Up to the last measured page, lest what lies behind it is not mapped.
            let last = pages.address(pages.count() - 1) as usize + PAGE_BYTES;
            let bytes = (last - address).min(WINDOW * PAGE_BYTES);
            (first, end) = (address, address + bytes);
            memory::residency(address, &mut vector[..bytes / PAGE_BYTES])
                .map_err(|errno| Failure::Call("mincore", errno))?;
        }
        if (vector[(address - first) / PAGE_BYTES] & 1 == 1) != expected {
            return Err(Failure::State("mincore", index, expected));
        }
    }
    Ok(())
}
