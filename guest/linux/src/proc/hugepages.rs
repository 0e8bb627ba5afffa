//! `/sys/kernel/mm/hugepages`: a directory for each size of the pool's pages, one value a file. Source: Linux, mm/hugetlb_sysfs.c;
//! Documentation/admin-guide/mm/hugetlbpage.rst. Rule G9.
//!
//! Differs from Linux: no page of 1 GiB is ever found, so what is written about them changes nothing.

use faultlab_mm::Platform;

use super::text::{Out, put};
use crate::{Errno, Linux};

/// A file about pages of 2 MiB, or (`bool`) of 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// `nr_hugepages`, and `nr_hugepages_mempolicy`, which is the same on one node.
    Size(bool),
    /// `free_hugepages`.
    Free(bool),
    /// `resv_hugepages`.
    Reserved(bool),
    /// `surplus_hugepages`.
    Surplus(bool),
    /// `nr_overcommit_hugepages`.
    Overcommit(bool),
    /// `demote`: how many pages of 1 GiB become smaller ones.
    Demote,
    /// `demote_size`.
    DemoteSize,
}

impl<P: Platform> Linux<'_, P> {
    pub(super) fn show_pool(&self, pool: Pool, out: &mut Out<'_>) {
        let counters = self.memory.hugetlb_counters();
        let value = match pool {
            // Surplus ones among them, which `vm.nr_hugepages` leaves out.
            Pool::Size(false) => counters.total,
            Pool::Free(false) => counters.free,
            Pool::Reserved(false) => counters.resv,
            Pool::Surplus(false) => counters.surplus,
            Pool::Overcommit(false) => counters.overcommit,
            Pool::DemoteSize => return put!(out; "2048kB\n"),
            _ => 0,
        };
        put!(out; value, "\n");
    }

    /// Sets what a word says.
    ///
    /// # Errors
    /// `EINVAL` for what is no number, and more pages of 1 GiB than there are; `ERANGE` for one that is too large; `EIO` for what only the kernel
    /// sets.
    pub(super) fn store_pool(&self, pool: Pool, word: &[u8]) -> Result<(), Errno> {
        match pool {
            Pool::Free(_) | Pool::Reserved(_) | Pool::Surplus(_) => Err(Errno::EIO),
            Pool::DemoteSize if word == b"2048kB" || word == b"2M" => Ok(()),
            Pool::DemoteSize => Err(Errno::EINVAL),
            Pool::Overcommit(true) => Err(Errno::EINVAL),
            Pool::Size(true) | Pool::Demote => number(word).map(drop),
            Pool::Size(false) => number(word).map(|pages| self.memory.set_nr_hugepages(pages)),
            Pool::Overcommit(false) => number(word).map(|pages| self.memory.set_nr_overcommit_hugepages(pages)),
        }
    }
}

/// A decimal number. Source: Linux `kstrtoul`.
fn number(word: &[u8]) -> Result<u64, Errno> {
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Errno::EINVAL);
    }
    let value = digits.iter().try_fold(0u64, |value, &byte| {
        value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    });
    value.ok_or(Errno::ERANGE)
}
