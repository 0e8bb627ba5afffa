//! `struct page`: what is known about each frame.
//!
//! One entry per frame number, in an array (the memory map) that the platform provides zeroed or, for frames the
//! allocator has not reached yet, with any content: [`crate::page_alloc`] initialises entries before it looks at them.
//!
//! Source: Linux, include/linux/mm_types.h, include/linux/page-flags.h. Differs from Linux: 40 bytes instead of 64, links
//! by frame number instead of by pointer.

pub(crate) mod state;

pub use state::Event;

use crate::addr::Pfn;
use crate::sync::{Word, Word32};

/// What is known about one frame. All zero: reserved, belongs to nobody.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Page {
    /// [`flag`] bits.
    pub flags: Word32,
    /// References; 0 when the frame is free. A huge page has those of all its frames together. Source: Linux `_refcount`.
    pub refcount: Word32,
    /// Page-table entries that map the frame (0 is none; Linux's `_mapcount` starts at -1).
    pub mapcount: Word32,
    /// Who owns the content: number of the inode (page cache) or of the anon_vma (with [`flag::ANON`]); 0 for none.
    pub mapping: Word32,
    /// Next frame on the list this frame is on (buddy list, LRU list, slab list); 0 is the end.
    pub next: Word32,
    /// Previous frame on that list; 0 is the head.
    pub prev: Word32,
    /// Index of the page in its object, in pages (for anonymous memory: in the address range of its VMA, `vm_pgoff`).
    pub index: Word,
    /// Meaning depends on the owner: order of a free block or of a compound page (buddy), free list (slab), swap entry
    /// (with [`flag::SWAPCACHE`]).
    pub private: Word,
}

/// Bits of [`Page::flags`]. Names are Linux's `PG_*`.
pub mod flag {
    /// Being read, written or removed: nobody else may change its state.
    pub const LOCKED: u32 = 1 << 0;
    /// Its content is what its owner's should be.
    pub const UPTODATE: u32 = 1 << 1;
    /// Its content differs from the disk's.
    pub const DIRTY: u32 = 1 << 2;
    /// On an LRU list.
    pub const LRU: u32 = 1 << 3;
    /// On an active LRU list.
    pub const ACTIVE: u32 = 1 << 4;
    /// Seen used since it was last looked at.
    pub const REFERENCED: u32 = 1 << 5;
    /// Its disk, if any, is swap (anonymous memory and shmem).
    pub const SWAPBACKED: u32 = 1 << 6;
    /// In the swap cache; `private` is its swap entry.
    pub const SWAPCACHE: u32 = 1 << 7;
    /// On its way to the disk.
    pub const WRITEBACK: u32 = 1 << 8;
    /// Must not be reclaimed (`mlock`, `SHM_LOCK`).
    pub const UNEVICTABLE: u32 = 1 << 9;
    /// First frame of a free block of the buddy allocator; `private` is its order.
    pub const BUDDY: u32 = 1 << 10;
    /// Holds objects of a slab cache.
    pub const SLAB: u32 = 1 << 11;
    /// A page table.
    pub const TABLE: u32 = 1 << 12;
    /// Anonymous: `mapping` is an anon_vma.
    pub const ANON: u32 = 1 << 13;
    /// Its last write to the disk failed.
    pub const ERROR: u32 = 1 << 14;
    /// Workingset: was active when it was evicted.
    pub const WORKINGSET: u32 = 1 << 15;
    /// First frame of a huge page; `private` counts its mappings ([`crate::huge`]).
    pub const HEAD: u32 = 1 << 16;
    /// One of the others, once somebody had to look at its entry alone.
    pub const TAIL: u32 = 1 << 17;
    /// Of the pool of huge pages, in use or free ([`crate::hugetlb`]).
    pub const HUGETLB: u32 = 1 << 18;
    /// Read ahead of its use, and not used yet.
    pub const READAHEAD: u32 = 1 << 20;
}

impl Page {
    /// Whether all bits of `mask` are set.
    #[inline(always)]
    pub fn has(&self, mask: u32) -> bool {
        self.flags.get() & mask == mask
    }

    /// Sets the bits of `mask`, none of which is of the state of its content ([`Page::step`]).
    #[inline(always)]
    pub fn set_flags(&self, mask: u32) {
        debug_assert_eq!(mask & state::STATE, 0, "the state of a page changes by `step` only");
        self.flags.set(self.flags.get() | mask);
    }

    /// Clears the bits of `mask`, none of which is of the state of its content.
    #[inline(always)]
    pub fn clear_flags(&self, mask: u32) {
        debug_assert_eq!(mask & state::STATE, 0, "the state of a page changes by `step` only");
        self.flags.set(self.flags.get() & !mask);
    }

    /// The next frame on its list.
    #[inline(always)]
    pub fn next_pfn(&self) -> Option<Pfn> {
        match self.next.get() {
            0 => None,
            pfn => Some(Pfn(pfn)),
        }
    }
}

const _: () = assert!(size_of::<Page>() == 40);
