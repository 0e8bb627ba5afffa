//! Whether the memory manager's structures still agree with each other: a walk over all of them that needs no memory.
//!
//! The kernel makes it at the end of a run when it is asked to, the host's tests after each of their steps. What is compared:
//!
//! | what | with | where |
//! |---|---|---|
//! | free blocks, per-CPU lists, the batch | each other, their counts, the memory map | `zone/check.rs`, [`frames`] |
//! | each frame | free, or of something that has it; none is lost | [`frames`] |
//! | references to a page | page tables, page cache and swap cache that hold one | [`frames`] |
//! | entries of page tables | VMAs, owner and index of the page (so reverse mapping finds them), `mapcount`, resident pages | [`spaces`] |
//! | VMAs | list, tree, trees of what they map, counts of the address space | [`spaces`], `vma_tree/check.rs`, `interval_tree/check.rs` |
//! | page cache | pages' owner and index, `nrpages`, blocks, limits and counts of file systems | [`objects`] |
//! | swap slots | entries of page tables and objects, swap cache, counts of areas | `swap/check.rs`, [`spaces`] |
//! | LRU lists | flags of pages, counts | `lru.rs` |
//! | commit charge | VMAs, objects | [`objects`] |
//! | huge pages of the pool | its list, those in use, reservations of objects | `hugetlb/pool.rs`, [`frames`], [`objects`] |
//! | slab caches | records found by walking | `slab/check.rs`, [`objects`] |
//!
//! Two lists of the same numbers in different order are compared by a [`Ledger`].

mod frames;
mod ledger;
mod objects;
mod spaces;
#[cfg(test)]
mod tests;

pub use ledger::Ledger;

use crate::memory::Memory;
use crate::platform::Platform;

/// An invariant that does not hold: in words, "`what` `at`: `found`, expected `expected`".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was looked at.
    pub what: &'static str,
    /// Of which frame, slot, record or other thing; 0 where there is only one.
    pub at: u64,
    /// What it is.
    pub found: u64,
    /// What it should be.
    pub expected: u64,
}

/// `found` should be `expected`.
///
/// # Errors
/// It is not.
#[inline]
pub fn equal<T: Into<u64>, U: Into<u64>>(
    what: &'static str,
    at: impl Into<u64>,
    found: T,
    expected: U,
) -> Result<(), Violation> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected {
        return Ok(());
    }
    Err(Violation {
        what,
        at: at.into(),
        found,
        expected,
    })
}

/// `found` should be at most `limit`.
///
/// # Errors
/// It is more.
#[inline]
pub fn at_most<T: Into<u64>, U: Into<u64>>(
    what: &'static str,
    at: impl Into<u64>,
    found: T,
    limit: U,
) -> Result<(), Violation> {
    let (found, limit) = (found.into(), limit.into());
    equal(what, at, found, limit.min(found))
}

/// For tests.
///
/// # Panics
/// When there is a violation.
#[cfg(any(test, feature = "testing"))]
#[track_caller]
pub(crate) fn expect(verified: Result<(), Violation>) {
    if let Err(found) = verified {
        panic!(
            "{} {}: {}, expected {}",
            found.what, found.at, found.found, found.expected
        );
    }
}

/// Who is there, and holds what the manager does not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// Anybody: references to pages and objects, and frames, are held by who builds on the manager.
    Unknown,
    /// Nobody: no program lives.
    None,
}

impl<P: Platform> Memory<P> {
    /// Whether all structures agree, between two calls. Takes as long as everything is large.
    ///
    /// # Errors
    /// The first disagreement.
    #[cold]
    #[inline(never)]
    pub fn verify(&self) -> Result<(), Violation> {
        self.verify_all(Others::Unknown)
    }

    /// As [`Memory::verify`], when every program has ended: nothing may be left but objects, and nobody refers to their pages.
    ///
    /// # Errors
    /// The first disagreement, or what is left.
    #[cold]
    #[inline(never)]
    pub fn verify_at_rest(&self) -> Result<(), Violation> {
        self.verify_all(Others::None)
    }

    fn verify_all(&self, others: Others) -> Result<(), Violation> {
        self.zone.verify(self.platform.memmap())?;
        self.verify_lru()?;
        self.verify_swap()?;
        self.verify_hugetlb()?;
        let spaces = self.verify_spaces()?;
        let objects = self.verify_objects()?;
        self.verify_frames(&spaces, &objects, others)?;
        self.verify_mappings()?;
        self.verify_slots()?;
        self.verify_records(&spaces, &objects, others)
    }
}
