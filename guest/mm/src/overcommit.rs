//! The commit counter: how much memory is promised, and how much may be.
//!
//! | `vm.overcommit_memory` | a request is refused when |
//! |---|---|
//! | 0, guess | it alone is larger than RAM and swap |
//! | 1, always | never |
//! | 2, never | all promises together would reach the commit limit: swap and `vm.overcommit_ratio` per cent of RAM |
//!
//! Source: Linux, mm/util.c (`__vm_enough_memory`, `vm_commit_limit`), Documentation/mm/overcommit-accounting.rst. Rules A11, A12, B18 to
//! B21. Differs from Linux: mode 2 keeps no reserve for other users' processes (`vm.user_reserve_kbytes`), nor for root.

use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::{Word, Word32};

/// `vm.overcommit_memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OvercommitMode {
    /// Refuse what obviously cannot be.
    Guess = 0,
    /// Refuse nothing.
    Always = 1,
    /// Promise no more than there is.
    Never = 2,
}

/// The counter and its rules.
#[derive(Debug)]
pub(crate) struct Overcommit {
    mode: Word32,
    ratio: Word,
    /// `vm.overcommit_kbytes`; 0: the ratio counts.
    kbytes: Word,
    /// Pages promised to mappings and segments. Source: Linux `vm_committed_as`.
    committed_as: Word,
}

impl Overcommit {
    pub(crate) const fn new() -> Self {
        Self {
            mode: Word32::new(OvercommitMode::Guess as u32),
            ratio: Word::new(50),
            kbytes: Word::new(0),
            committed_as: Word::new(0),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Sets `vm.overcommit_memory` and `vm.overcommit_ratio`, in per cent. What is promised already stays so.
    pub fn set_overcommit(&self, mode: OvercommitMode, ratio_percent: u64) {
        self.overcommit.mode.set(mode as u32);
        self.set_overcommit_ratio(ratio_percent);
    }

    /// `vm.overcommit_memory`.
    pub fn overcommit_memory(&self) -> u32 {
        self.overcommit.mode.get()
    }

    /// Sets `vm.overcommit_memory`.
    ///
    /// # Errors
    /// [`Error::Einval`] above 2.
    pub fn set_overcommit_memory(&self, mode: u64) -> Result<(), Error> {
        if mode > OvercommitMode::Never as u64 {
            return Err(Error::Einval);
        }
        self.overcommit.mode.set(mode as u32);
        Ok(())
    }

    /// `vm.overcommit_ratio`, in per cent; a negative number is one beyond 2^63.
    pub fn overcommit_ratio(&self) -> u64 {
        self.overcommit.ratio.get()
    }

    /// Sets it; `vm.overcommit_kbytes` counts no longer.
    pub fn set_overcommit_ratio(&self, percent: u64) {
        self.overcommit.ratio.set(percent);
        self.overcommit.kbytes.set(0);
    }

    /// `vm.overcommit_kbytes`, in KiB; 0 while the ratio counts.
    pub fn overcommit_kbytes(&self) -> u64 {
        self.overcommit.kbytes.get()
    }

    /// Sets it; the ratio, shown as 0, counts no longer.
    pub fn set_overcommit_kbytes(&self, kib: u64) {
        self.overcommit.kbytes.set(kib);
        if kib != 0 {
            self.overcommit.ratio.set(0);
        }
    }

    /// Whether `MAP_NORESERVE` and `SHM_NORESERVE` mean nothing. Rules A12, B20.
    pub(crate) fn overcommits_never(&self) -> bool {
        self.overcommit.mode.get() == OvercommitMode::Never as u32
    }

    /// Pages that may be promised when overcommit is off. Source: `CommitLimit` in `/proc/meminfo`.
    #[inline(never)]
    pub fn vm_commit_limit(&self) -> u64 {
        let of_ram = match self.overcommit.kbytes.get() {
            // Linux takes any number, and calculates without signs.
            0 => self.not_hugetlb_pages().wrapping_mul(self.overcommit.ratio.get()) / 100,
            kib => kib / 4,
        };
        of_ram + self.total_swap_pages()
    }

    /// Pages of RAM but those of the pool of huge pages. Source: Linux `hugetlb_total_pages`.
    fn not_hugetlb_pages(&self) -> u64 {
        self.totalram_pages() - self.hugetlb_counters().total * u64::from(crate::huge::HPAGE_PAGES)
    }

    /// Charges pages to the commit counter.
    ///
    /// # Errors
    /// [`Error::Enomem`] when the mode says so. Rules B19, B20.
    pub(crate) fn vm_enough_memory(&self, pages: u64) -> Result<(), Error> {
        const GUESS: u32 = OvercommitMode::Guess as u32;
        const ALWAYS: u32 = OvercommitMode::Always as u32;
        let enough = match self.overcommit.mode.get() {
            GUESS => pages <= self.totalram_pages() + self.total_swap_pages(),
            ALWAYS => true,
            _ => pages == 0 || self.committed_as().saturating_add(pages) < self.vm_commit_limit(),
        };
        if !enough {
            return Err(Error::Enomem);
        }
        self.overcommit.committed_as.add(pages);
        Ok(())
    }

    /// Charges what was charged a moment ago, and need not be asked for.
    pub(crate) fn vm_acct_memory(&self, pages: u64) {
        self.overcommit.committed_as.add(pages);
    }

    /// Takes a charge back. Rule B21.
    pub(crate) fn vm_unacct_memory(&self, pages: u64) {
        self.overcommit.committed_as.sub(pages);
    }

    /// Pages charged to the commit counter.
    pub fn committed_as(&self) -> u64 {
        self.overcommit.committed_as.get()
    }
}
