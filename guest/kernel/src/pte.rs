//! Page-table entries of x86-64.
//!
//! ```text
//! present       63 NX | 51..12 frame | 6 D | 5 A | 2 US | 1 RW | 0 P=1
//! not present   entry << 2                          | 1 set  | 0 P=0     a swap slot
//! ```
//!
//! Source: Intel SDM vol. 3, 4.5 "4-Level Paging"; AMD APM vol. 2, 5.3.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use faultlab_mm::addr::Pfn;
use faultlab_mm::platform::PteFormat;

/// Bits of an entry.
pub mod bit {
    /// The processor follows the entry.
    pub const PRESENT: u64 = 1 << 0;
    /// Stores are allowed.
    pub const WRITABLE: u64 = 1 << 1;
    /// Ring 3 may use it.
    pub const USER: u64 = 1 << 2;
    /// It was used.
    pub const ACCESSED: u64 = 1 << 5;
    /// It was stored through.
    pub const DIRTY: u64 = 1 << 6;
    /// In an entry above the lowest level: maps a large page.
    pub const LARGE: u64 = 1 << 7;
    /// In an entry above the lowest level, and ignored by the processor: refers to a table of the memory manager's.
    pub const TABLE: u64 = 1 << 9;
    /// Execution is forbidden.
    pub const NX: u64 = 1 << 63;
    /// Marks an entry that is not present and names a swap slot, so that slot 0 is not the empty entry.
    pub const SWAP: u64 = 1 << 1;
}

/// The frame's address in an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const SWAP_SHIFT: u32 = 2;

/// [`bit::NX`] once EFER.NXE is set; before, and on a processor without it, the bit is reserved and this is 0.
static NX: AtomicU64 = AtomicU64::new(0);

/// Allows entries that forbid execution. EFER.NXE must be set.
pub fn enable_nx() {
    NX.store(bit::NX, Relaxed);
}

/// Entries of x86-64's four-level page tables.
#[derive(Debug)]
pub struct X86Pte;

impl X86Pte {
    #[inline(always)]
    fn rights(writable: bool, executable: bool) -> u64 {
        (if writable { bit::WRITABLE } else { 0 }) | if executable { 0 } else { NX.load(Relaxed) }
    }
}

impl PteFormat for X86Pte {
    #[inline(always)]
    fn page(pfn: Pfn, writable: bool, executable: bool, dirty: bool) -> u64 {
        let dirty = if dirty && writable { bit::DIRTY } else { 0 };
        pfn.phys() | bit::PRESENT | bit::USER | bit::ACCESSED | dirty | Self::rights(writable, executable)
    }

    #[inline(always)]
    fn table(pfn: Pfn) -> u64 {
        pfn.phys() | bit::PRESENT | bit::WRITABLE | bit::USER | bit::ACCESSED | bit::TABLE
    }

    #[inline(always)]
    fn is_table(entry: u64) -> bool {
        entry & bit::TABLE != 0
    }

    #[inline(always)]
    fn huge(pte: u64) -> u64 {
        pte | bit::LARGE
    }

    #[inline(always)]
    fn small(leaf: u64) -> u64 {
        leaf & !bit::LARGE
    }

    #[inline(always)]
    fn swap(entry: u64) -> u64 {
        entry << SWAP_SHIFT | bit::SWAP
    }

    #[inline(always)]
    fn is_present(pte: u64) -> bool {
        pte & bit::PRESENT != 0
    }

    #[inline(always)]
    fn pfn(pte: u64) -> Pfn {
        Pfn::of_phys(pte & ADDRESS)
    }

    #[inline(always)]
    fn swap_entry(pte: u64) -> u64 {
        pte >> SWAP_SHIFT
    }

    #[inline(always)]
    fn is_writable(pte: u64) -> bool {
        pte & bit::WRITABLE != 0
    }

    #[inline(always)]
    fn is_executable(pte: u64) -> bool {
        pte & NX.load(Relaxed) == 0
    }

    #[inline(always)]
    fn is_young(pte: u64) -> bool {
        pte & bit::ACCESSED != 0
    }

    #[inline(always)]
    fn is_dirty(pte: u64) -> bool {
        pte & bit::DIRTY != 0
    }

    #[inline(always)]
    fn wrprotect(pte: u64) -> u64 {
        pte & !bit::WRITABLE
    }

    #[inline(always)]
    fn mkwrite_dirty(pte: u64) -> u64 {
        pte | bit::WRITABLE | bit::DIRTY | bit::ACCESSED
    }

    #[inline(always)]
    fn mkold(pte: u64) -> u64 {
        pte & !bit::ACCESSED
    }

    #[inline(always)]
    fn mkyoung(pte: u64) -> u64 {
        pte | bit::ACCESSED
    }

    #[inline(always)]
    fn with_pfn(pte: u64, pfn: Pfn) -> u64 {
        pte & !ADDRESS | pfn.phys()
    }

    /// A page that is not readable belongs to ring 0: a program's access faults, and the VMA says no.
    fn modify(pte: u64, readable: bool, writable: bool, executable: bool) -> u64 {
        let kept = pte & !(bit::WRITABLE | bit::USER | bit::NX);
        kept | if readable { bit::USER } else { 0 } | Self::rights(writable, executable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_the_manual() {
        enable_nx();
        let pfn = Pfn(0x1234_5678);
        assert_eq!(X86Pte::page(pfn, true, true, true), 0x0000_0123_4567_8067);
        assert_eq!(X86Pte::page(pfn, false, false, true), 0x8000_0123_4567_8025);
        assert_eq!(X86Pte::table(pfn), 0x0000_0123_4567_8227);
        assert_eq!(X86Pte::pfn(X86Pte::page(pfn, true, false, false)), pfn);
        let huge = Pfn(0x1234_5600);
        let leaf = X86Pte::huge(X86Pte::page(huge, true, true, true));
        assert_eq!(leaf, 0x0000_0123_4560_00e7);
        assert_eq!(
            (X86Pte::pfn(leaf), X86Pte::small(leaf)),
            (huge, X86Pte::page(huge, true, true, true))
        );
        assert!(X86Pte::is_table(X86Pte::table(pfn)) && !X86Pte::is_table(leaf) && !X86Pte::is_table(0));
    }

    #[test]
    fn rights_are_told_apart() {
        enable_nx();
        for (writable, executable, dirty) in (0..8).map(|n| (n & 1 != 0, n & 2 != 0, n & 4 != 0)) {
            let pte = X86Pte::page(Pfn(7), writable, executable, dirty);
            assert!(X86Pte::is_present(pte) && X86Pte::is_young(pte));
            assert_eq!(X86Pte::is_writable(pte), writable);
            assert_eq!(X86Pte::is_executable(pte), executable);
            assert_eq!(X86Pte::is_dirty(pte), dirty && writable);
            assert!(!X86Pte::is_writable(X86Pte::wrprotect(pte)));
            let written = X86Pte::mkwrite_dirty(pte);
            assert!(X86Pte::is_writable(written) && X86Pte::is_dirty(written));
            assert!(!X86Pte::is_young(X86Pte::mkold(pte)) && X86Pte::is_young(X86Pte::mkyoung(X86Pte::mkold(pte))));
            let moved = X86Pte::with_pfn(pte, Pfn(0x1234_5678));
            assert_eq!(X86Pte::pfn(moved), Pfn(0x1234_5678));
            assert_eq!(X86Pte::with_pfn(moved, Pfn(7)), pte);
            let hidden = X86Pte::modify(pte, false, true, true);
            assert!(X86Pte::is_present(hidden) && hidden & bit::USER == 0);
            assert_eq!(X86Pte::modify(hidden, true, writable, executable), pte);
        }
    }

    #[test]
    fn swap_entries_survive() {
        for entry in [0, 1, 2, 0xffff_ffff, (1 << 50) - 1] {
            let pte = X86Pte::swap(entry);
            assert!(pte != 0 && !X86Pte::is_present(pte));
            assert_eq!(X86Pte::swap_entry(pte), entry);
        }
    }
}
