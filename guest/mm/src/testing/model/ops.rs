//! What can happen. Numbers that name something (`who`, `at`, `segment`, `file`) are taken modulo how many there are; lengths are in
//! pages.

use super::mixed::Mix;

/// One thing that happens to the manager.
#[derive(Clone, Debug)]
pub enum Op {
    /// Maps anonymous memory.
    Mmap {
        /// The process.
        who: usize,
        /// Length, or size.
        pages: u64,
        /// `MAP_SHARED`.
        shared: bool,
        /// Rights.
        prot: u64,
    },
    /// Unmaps from the `at`-th mapped page on.
    Munmap {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
    },
    /// Gives other rights from the `at`-th mapped page on.
    Mprotect {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
        /// Rights.
        prot: u64,
    },
    /// Stores to the `at`-th mapped page.
    Store {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// What is stored.
        value: u64,
    },
    /// Stores to every page.
    StoreAll {
        /// The process.
        who: usize,
        /// What is stored.
        value: u64,
    },
    /// Loads from the `at`-th mapped page, and compares.
    Load {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
    },
    /// `MADV_PAGEOUT`.
    Pageout {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
    },
    /// `MADV_DONTNEED`.
    Dontneed {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
    },
    /// `mremap` from the `at`-th mapped page on.
    Mremap {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
        /// Length afterwards.
        new_pages: u64,
        /// Flags and place.
        how: How,
    },
    /// `mlock` or `munlock`.
    Mlock {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
        /// Length, or size.
        pages: u64,
        /// `mlock`, not `munlock`.
        lock: bool,
    },
    /// Another process, up to four.
    Fork {
        /// The process.
        who: usize,
    },
    /// A process ends, unless it is the only one.
    Exit {
        /// The process.
        who: usize,
    },
    /// A segment, up to four.
    Shmget {
        /// Length, or size.
        pages: u64,
    },
    /// Attaches a segment.
    Shmat {
        /// The process.
        who: usize,
        /// The segment.
        segment: usize,
    },
    /// Detaches the `at`-th attachment.
    Shmdt {
        /// The process.
        who: usize,
        /// The page, or the attachment.
        at: usize,
    },
    /// Removes a segment.
    Rmid {
        /// The segment.
        segment: usize,
    },
    /// Something happens to a memory file.
    File {
        /// The file.
        file: usize,
        /// What happens.
        op: FileOp,
    },
    /// Something that decides about huge pages and faults changes.
    Mix(Mix),
    /// Reclaim in the background.
    Kswapd,
    /// A block of several frames, given back at once: pages move for it.
    Block {
        /// Its binary logarithm.
        order: u32,
        /// Whether it is to be had where pages move.
        movable: bool,
    },
    /// `swapoff`, and on again.
    Swapoff {
        /// The area, of those there are.
        area: usize,
    },
    /// `brk`.
    Grow {
        /// The process.
        who: usize,
        /// Length, or size.
        pages: u64,
    },
}

/// What happens to memory files. Numbers are of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Another file, up to three.
    Create,
    /// Maps pages of it.
    Map {
        /// The process.
        who: usize,
        /// First page.
        first: u64,
        /// Length, or size.
        pages: u64,
        /// `MAP_SHARED`.
        shared: bool,
    },
    /// Writes one word of a page.
    Write {
        /// The page.
        page: u64,
        /// What is stored.
        value: u64,
    },
    /// Reads one word of a page, and compares.
    Read {
        /// The page.
        page: u64,
    },
    /// Gives it another size.
    Truncate {
        /// Length, or size.
        pages: u64,
    },
    /// Punches a hole.
    Punch {
        /// First page.
        first: u64,
        /// Length, or size.
        pages: u64,
    },
    /// `fallocate`.
    Allocate {
        /// First page.
        first: u64,
        /// Length, or size.
        pages: u64,
        /// `FALLOC_FL_KEEP_SIZE`.
        keep: bool,
    },
}

/// Ways to call `mremap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Without flags.
    InPlace,
    /// `MREMAP_MAYMOVE`.
    MayMove,
    /// To a page of a small range, where earlier ones may be.
    Fixed(u64),
    /// Old size 0.
    Duplicate,
    /// `MREMAP_DONTUNMAP`.
    DontUnmap,
}
