//! The trace: time-stamped stages of what the kernel does, written by the guest and read by the VMM.
//!
//! ```text
//! Header           one page
//! Record  x N      events that are rare and slow: swap I/O, reclaim. Each with its whole time stamp
//! FaultRecord x M  one a page fault of a program, from a 64 KiB boundary on
//! ```
//!
//! What every fault meets is stamped into the fault's own record, the low half of the time-stamp counter only: three
//! instructions a stage. The record is complete, and the next one current, when the fault returns; a fault that ends in a
//! signal leaves none. Slots of stages that a fault did not meet keep what an older fault left there, so a stamp counts
//! only if it lies between the record's first and last.

use core::mem::{offset_of, size_of};

/// Alignment of the fault records, and the piece of them that is filled at a time, in bytes.
pub const FAULT_CHUNK_BYTES: u64 = 64 << 10;

/// First page of the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// Events ever written; the next goes to slot `head % capacity`.
    pub head: u64,
    /// Events that fit (a power of two).
    pub capacity: u64,
    /// Guest-physical address of the first fault record.
    pub faults: u64,
    /// Fault records that fit.
    pub fault_capacity: u64,
    /// Guest-physical address of the word that names the current fault record.
    pub cursor: u64,
    /// What that word holds when the first record is current; it rises by the size of a record.
    pub cursor_base: u64,
    /// How often the fault records were filled.
    pub laps: u64,
}

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// Time-stamp counter.
    pub tsc: u64,
    /// Low 8 bits: [`Stage`]. The next 32: the stage's own argument (a slot, a number of frames). The rest: 1 + the
    /// slot of the fault record that was current, or 0 outside a fault.
    pub stage_and_arg: u64,
}

impl Record {
    /// The stage's argument.
    #[must_use]
    pub const fn arg(&self) -> u32 {
        (self.stage_and_arg >> 8) as u32
    }

    /// Slot of the fault record that was current.
    #[must_use]
    pub const fn fault(&self) -> Option<u64> {
        (self.stage_and_arg >> 40).checked_sub(1)
    }
}

/// Stages that a fault record has a slot for: numbers 1 to 9.
pub const STAMPS: usize = Stage::FaultExit as usize;

/// One page fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FaultRecord {
    /// Low halves of the time-stamp counter, by [`Stage`] number less 1.
    pub stamps: [u32; STAMPS],
    /// High half of the first stamp. This and all that follows with [`level::TIMELINE`] only.
    pub entry_high: u32,
    /// The address that faulted.
    pub address: u64,
    /// The program's instruction.
    pub rip: u64,
    /// The processor's error code.
    pub error_code: u32,
    /// The process.
    pub pid: u32,
}

/// How much is stamped.
pub mod level {
    /// Nothing.
    pub const OFF: u8 = 0;
    /// The stages of every fault.
    pub const STAGES: u8 = 1;
    /// Also who faulted where, and when in whole time stamps.
    pub const TIMELINE: u8 = 2;
}

const _: () = {
    assert!(size_of::<Header>() == 56 && size_of::<Record>() == 16 && size_of::<FaultRecord>() == 64);
    assert!(offset_of!(FaultRecord, entry_high) == 36 && offset_of!(FaultRecord, address) == 40);
    assert!(offset_of!(FaultRecord, error_code) == 56 && offset_of!(FaultRecord, pid) == 60);
    assert!(FAULT_CHUNK_BYTES.is_multiple_of(size_of::<FaultRecord>() as u64));
};

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
    /// A page is asked from the swap disk; argument: slot.
    SwapReadStart = 10 "submit_bio (read)",
    /// The swap disk answered; argument: slot.
    SwapReadEnd = 11 "swap_read",
    /// Reclaim begins.
    ReclaimStart = 12 "try_to_free_pages",
    /// Reclaim ends; argument: frames freed.
    ReclaimEnd = 13 "try_to_free_pages return",
    /// Pages go to the swap disk; argument: first slot.
    SwapWriteStart = 14 "submit_bio (write)",
    /// The swap disk has them; argument: first slot.
    SwapWriteEnd = 15 "swap_writepage",
    /// The request is in the queue, and the doorbell comes next if the disk has to be told; argument: first slot.
    SwapQueued = 16 "virtqueue_add",
    /// A page is to be moved out by advice (`MADV_PAGEOUT`).
    PageoutStart = 17 "reclaim_pages",
    /// It is, or is not to be had; argument: frames freed.
    PageoutEnd = 18 "reclaim_pages return",
}
