//! Page-table entries of the fake machine: deliberately not those of x86-64.

use crate::addr::Pfn;
use crate::fault::Access;
use crate::platform::PteFormat;

/// Entries with the frame number on top.
#[derive(Debug)]
pub struct FakePte;

const PRESENT: u64 = 1 << 7;
const WRITE: u64 = 1 << 6;
const EXEC: u64 = 1 << 5;
const YOUNG: u64 = 1 << 4;
const DIRTY: u64 = 1 << 3;
const READ: u64 = 1 << 2;
const SWAP: u64 = 1 << 1;
const TABLE: u64 = 1 << 0;
const HUGE: u64 = 1 << 8;
const PFN_SHIFT: u32 = 16;

impl FakePte {
    /// Whether the hardware lets a program do this.
    #[must_use]
    pub fn allows(pte: u64, access: Access) -> bool {
        let needed = match access {
            Access::Read => READ,
            Access::Write => READ | WRITE,
            Access::Exec => READ | EXEC,
        };
        pte & PRESENT != 0 && pte & needed == needed
    }

    /// The entry after the hardware noted an access.
    #[must_use]
    pub fn used(pte: u64, access: Access) -> u64 {
        pte | YOUNG | if access == Access::Write { DIRTY } else { 0 }
    }
}

impl PteFormat for FakePte {
    fn page(pfn: Pfn, writable: bool, executable: bool, dirty: bool) -> u64 {
        let mut pte = u64::from(pfn.0) << PFN_SHIFT | PRESENT | READ | YOUNG;
        pte |= if writable { WRITE } else { 0 };
        pte |= if executable { EXEC } else { 0 };
        pte | if writable && dirty { DIRTY } else { 0 }
    }

    fn table(pfn: Pfn) -> u64 {
        u64::from(pfn.0) << PFN_SHIFT | PRESENT | TABLE
    }

    fn is_table(entry: u64) -> bool {
        entry & TABLE != 0
    }

    fn huge(pte: u64) -> u64 {
        pte | HUGE
    }

    fn small(leaf: u64) -> u64 {
        assert!(leaf & HUGE != 0, "{leaf:#x} is no leaf");
        leaf & !HUGE
    }

    fn swap(entry: u64) -> u64 {
        entry << 8 | SWAP
    }

    fn is_present(pte: u64) -> bool {
        pte & PRESENT != 0
    }

    fn pfn(pte: u64) -> Pfn {
        Pfn((pte >> PFN_SHIFT) as u32)
    }

    fn swap_entry(pte: u64) -> u64 {
        assert!(pte & (PRESENT | SWAP) == SWAP, "entry {pte:#x} names no slot");
        pte >> 8
    }

    fn is_writable(pte: u64) -> bool {
        pte & WRITE != 0
    }

    fn is_executable(pte: u64) -> bool {
        pte & EXEC != 0
    }

    fn is_young(pte: u64) -> bool {
        pte & YOUNG != 0
    }

    fn is_dirty(pte: u64) -> bool {
        pte & DIRTY != 0
    }

    fn wrprotect(pte: u64) -> u64 {
        pte & !WRITE
    }

    fn mkwrite_dirty(pte: u64) -> u64 {
        pte | WRITE | DIRTY | YOUNG
    }

    fn mkold(pte: u64) -> u64 {
        pte & !YOUNG
    }

    fn mkyoung(pte: u64) -> u64 {
        pte | YOUNG
    }

    fn with_pfn(pte: u64, pfn: Pfn) -> u64 {
        pte & ((1 << PFN_SHIFT) - 1) | u64::from(pfn.0) << PFN_SHIFT
    }

    fn modify(pte: u64, readable: bool, writable: bool, executable: bool) -> u64 {
        let mut pte = pte & !(READ | WRITE | EXEC);
        pte |= if readable { READ } else { 0 };
        pte |= if writable { WRITE } else { 0 };
        pte | if executable { EXEC } else { 0 }
    }
}
