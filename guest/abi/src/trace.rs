//! The trace ring: time-stamped stages of what the kernel does, written by the guest and read by the VMM.
//!
//! One page of [`Header`], then [`Record`]s. The guest writes a record, then raises [`Header::head`]; the VMM reads
//! the records between the head it saw last and the head now, and knows from the difference when it was overrun.

use core::mem::size_of;

/// First page of the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Records ever written; the next goes to slot `head % capacity`.
    pub head: u64,
    /// Records that fit (a power of two).
    pub capacity: u64,
}

/// One stage reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// Time-stamp counter.
    pub tsc: u64,
    /// Low 8 bits: [`Stage`]. The rest is the stage's own argument (an address, an index, a slot).
    pub stage_and_arg: u64,
}

macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)+) => {
        /// A place in the kernel, named after the Linux function it corresponds to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Stage { $($(#[$doc])* $variant = $number,)+ }

        impl Stage {
            /// Every stage.
            pub const ALL: &[Stage] = &[$(Stage::$variant,)+];

            /// The stage's name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Stage::$variant => $name,)+ }
            }

            /// The stage with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Stage> {
                match number { $($number => Some(Stage::$variant),)+ _ => None }
            }
        }
    };
}

stages! {
    /// A page fault from a program entered the kernel; argument: address.
    FaultEntry = 1 "exc_page_fault",
    /// The VMA is found.
    FindVma = 2 "find_vma",
    /// The page tables are walked, missing ones allocated.
    WalkPageTables = 3 "pte_offset_map",
    /// The page cache was asked; argument: index.
    FilemapGetEntry = 4 "filemap_get_entry",
    /// A frame is allocated.
    AllocPages = 5 "alloc_pages",
    /// A frame is cleared or copied.
    ClearPage = 6 "clear_page",
    /// The page is in the page cache and on its list.
    AddToPageCache = 7 "shmem_add_to_page_cache",
    /// The entry is in the page table, reverse mapping and counters included.
    SetPte = 8 "set_pte",
    /// The fault is done; the next instruction returns to the program.
    FaultExit = 9 "exc_page_fault return",
    /// A request goes to the swap disk; argument: slot.
    SwapIoStart = 10 "submit_bio",
    /// The swap disk answered; argument: slot.
    SwapIoEnd = 11 "bio_endio",
    /// Reclaim begins.
    ReclaimStart = 12 "try_to_free_pages",
    /// Reclaim ends; argument: frames freed.
    ReclaimEnd = 13 "try_to_free_pages return",
}

const _: () = assert!(size_of::<Header>() == 16 && size_of::<Record>() == 16);
