//! What the memory manager needs from the machine. The kernel implements it on x86-64; `crate::testing` fakes it.

use crate::addr::{Frame, Pfn, VirtAddr};
use crate::huge::HPAGE_PAGES;
use crate::page::Page;
use crate::swap::SwapSlot;

/// The machine under the memory manager. All methods are called with the locks of the caller held and must not
/// call back.
pub trait Platform {
    /// Layout of page-table entries.
    type Pte: PteFormat;

    /// The memory map: an entry for every frame number below the end of RAM.
    fn memmap(&self) -> &[Page];

    /// The content of a frame.
    ///
    /// # Panics
    /// When `pfn` is not a frame that the memory manager was given.
    fn frame(&self, pfn: Pfn) -> &Frame;

    /// Fills a frame with zeroes, as fast as the machine can.
    fn clear_page(&self, pfn: Pfn);

    /// Fills the frames of a huge page ([`crate::huge::HPAGE_PAGES`], which follow each other) with zeroes, as fast as the machine can.
    fn clear_huge_page(&self, head: Pfn) {
        (0..HPAGE_PAGES).for_each(|i| self.clear_page(head.offset(i)));
    }

    /// Copies frame `from` to frame `to`, as fast as the machine can.
    fn copy_page(&self, to: Pfn, from: Pfn);

    /// Copies `len` bytes of one frame to another, or to another place of the same: (frame, first byte) each. Bytes that overlap are copied
    /// as if through a third place.
    ///
    /// # Panics
    /// When the bytes do not lie in their frames.
    fn copy_bytes(&self, to: (Pfn, usize), from: (Pfn, usize), len: usize);

    /// Zeroes `len` bytes of a frame from `offset` on.
    ///
    /// # Panics
    /// When they do not lie in the frame.
    fn clear_bytes(&self, pfn: Pfn, offset: usize, len: usize);

    /// Makes a cleared frame usable as the root of an address space (enters the kernel's half).
    fn init_root(&self, root: Pfn);

    /// Forgets what the TLB knows of one page of the address space with this root.
    fn flush_tlb_page(&self, root: Pfn, addr: VirtAddr);

    /// Forgets what the TLB knows of the huge page around one address of the address space with this root.
    fn flush_tlb_huge(&self, root: Pfn, addr: VirtAddr);

    /// Forgets what the TLB knows of the whole address space with this root.
    fn flush_tlb_mm(&self, root: Pfn);

    /// Begins to read consecutive slots of the area's disk, from `slot` on, into as many frames, or to write them from frames. At most
    /// [`crate::swap::CLUSTER_MAX`] frames, which are the disk's until it has answered; at most [`crate::swap::IN_FLIGHT_MAX`] requests at a
    /// time. When a disk fails, neither frames nor slots may be relied on.
    fn swap_begin(&self, direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Io;

    /// Whether somebody else could run while the program that has just faulted waits for a disk. Then the fault fails with
    /// [`Fault::Retry`](crate::Fault::Retry) instead of waiting.
    #[inline(always)]
    fn others_can_run(&self) -> bool {
        false
    }

    /// The answer to a request that was [`Io::Pending`] and has not been told yet, with the request's number. If `wait`, there is one.
    fn swap_completed(&self, wait: bool) -> Option<(u32, Result<(), IoError>)>;

    /// Nanoseconds since 1970-01-01 UTC.
    fn now_ns(&self) -> i64;

    /// Seconds since 1970-01-01 UTC.
    fn now_s(&self) -> i64 {
        self.now_ns() / 1_000_000_000
    }

    /// Whether this attempt to allocate (a frame, or a record of a cache) is to fail. For tests of what happens then; a machine
    /// has no reason to say yes, and code that asks costs nothing where the answer is known. Source: Linux, fault-injection
    /// (`should_failslab`, `should_fail_alloc_page`).
    #[inline(always)]
    fn should_fail(&self) -> bool {
        false
    }

    /// Whether whoever called waits for a signal to be delivered, so that a long call is to end early. Source: Linux `signal_pending`. Nothing
    /// sends signals while a call runs where one vCPU enters the manager at a time.
    #[inline(always)]
    fn signal_pending(&self) -> bool {
        false
    }

    /// Whether whoever called is a member of a group besides its effective one. Source: Linux `in_group_p`.
    fn in_group(&self, _group: u32) -> bool {
        false
    }

    /// An allocation of `2^order` frames failed, and whoever wanted them did not say that this is normal. Source: Linux `warn_alloc`.
    #[inline(always)]
    fn alloc_failed(&self, _order: u32) {}

    /// Adds to a counter (wrapping, so that a level can fall).
    fn count(&self, item: Vmstat, by: u64);

    /// A counter's value.
    fn counter(&self, item: Vmstat) -> u64;

    /// A stage of the fault path is reached. Nothing when tracing is off.
    fn stage(&self, stage: Stage, arg: u64);
}

/// Which way pages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

/// A request that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a pending request has to be waited for"]
pub enum Io {
    /// The disk has answered already.
    Done(Result<(), IoError>),
    /// It will answer later; the number, below [`crate::swap::IN_FLIGHT_MAX`], is this request's until then.
    Pending(u32),
}

/// The disk refused or failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError;

/// Layout of a page-table entry, as pure functions of its 64 bits. 0 is "nothing here" on every machine.
///
/// Entries of the upper levels are made by [`PteFormat::table`]; entries of the lowest by [`PteFormat::page`], or, not
/// present, by [`PteFormat::swap`]. An entry of the level above that, a *leaf*, can map a huge page instead: it is made of one for its
/// first frame by [`PteFormat::huge`], and everything that changes a present entry works on it.
pub trait PteFormat {
    /// A lowest-level entry for a frame. Always readable and accessed; `dirty` iff `writable` and asked.
    fn page(pfn: Pfn, writable: bool, executable: bool, dirty: bool) -> u64;
    /// An upper-level entry for a page table.
    fn table(pfn: Pfn) -> u64;
    /// Whether an upper-level entry is one of [`PteFormat::table`]: not 0, and not a leaf. One test, since every fault makes it for every level.
    fn is_table(entry: u64) -> bool;
    /// The leaf that maps the huge page that a lowest-level entry maps the first frame of.
    fn huge(pte: u64) -> u64;
    /// Takes [`PteFormat::huge`] back.
    fn small(leaf: u64) -> u64;
    /// A not-present entry that keeps a swap entry (less than 2^50).
    fn swap(entry: u64) -> u64;
    /// Whether the hardware follows the entry.
    fn is_present(pte: u64) -> bool;
    /// The frame of a present entry.
    fn pfn(pte: u64) -> Pfn;
    /// The swap entry kept by a non-zero, not-present entry.
    fn swap_entry(pte: u64) -> u64;
    /// Whether stores are allowed.
    fn is_writable(pte: u64) -> bool;
    /// Whether execution is allowed.
    fn is_executable(pte: u64) -> bool;
    /// Whether it was used since [`PteFormat::mkold`].
    fn is_young(pte: u64) -> bool;
    /// Whether it was stored through.
    fn is_dirty(pte: u64) -> bool;
    /// With stores forbidden.
    fn wrprotect(pte: u64) -> u64;
    /// With stores allowed, dirty and young.
    fn mkwrite_dirty(pte: u64) -> u64;
    /// Not used.
    fn mkold(pte: u64) -> u64;
    /// Used.
    fn mkyoung(pte: u64) -> u64;
    /// For another frame, everything else kept.
    fn with_pfn(pte: u64, pfn: Pfn) -> u64;
    /// With other rights, everything else kept. A page that is not `readable` stays present but is kept from programs.
    fn modify(pte: u64, readable: bool, writable: bool, executable: bool) -> u64;
}

/// Counters, named after `/proc/vmstat`. The levels (`Nr*`) rise and fall, the others only rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the counter of that name in proc_vmstat(5)")]
pub enum Vmstat {
    NrFreePages,
    NrFilePages,
    NrShmem,
    NrAnonMapped,
    NrFileMapped,
    NrPageTablePages,
    NrSlab,
    NrSwapCached,
    Pgalloc,
    Pgfree,
    Pgfault,
    Pgmajfault,
    PgscanKswapd,
    PgscanDirect,
    PgstealKswapd,
    PgstealDirect,
    Allocstall,
    Pgactivate,
    Pgdeactivate,
    Pswpin,
    Pswpout,
    OomKill,
    SwapRa,
    SwapRaHit,
    WorkingsetRefaultAnon,
    WorkingsetActivateAnon,
    WorkingsetRestoreAnon,
    AllocstallMovable,
    PgscanDirectThrottle,
    CompactMigrateScanned,
    CompactFreeScanned,
    CompactIsolated,
    CompactStall,
    CompactFail,
    CompactSuccess,
    CompactDaemonWake,
    PgmigrateSuccess,
    PgmigrateFail,
}

/// Stages of the fault path, in the order a fault meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The VMA is found.
    FindVma,
    /// The page tables are walked, missing ones allocated.
    WalkPageTables,
    /// The page cache was asked; argument: index.
    FilemapGetEntry,
    /// A frame is allocated; argument: its number.
    AllocPages,
    /// A frame is cleared or copied.
    ClearPage,
    /// The page is in the page cache and on its list.
    AddToPageCache,
    /// The entry is in the page table, reverse mapping and counters included.
    SetPte,
    /// A page is asked from the swap disk; argument: slot.
    SwapReadStart,
    /// The swap disk answered, or the fault is left, to be made again when it has; argument: slot.
    SwapReadEnd,
    /// Pages go to the swap disk; argument: first slot.
    SwapWriteStart,
    /// The swap disk has them; argument: first slot.
    SwapWriteEnd,
    /// Reclaim begins.
    ReclaimStart,
    /// Reclaim ends; argument: frames freed.
    ReclaimEnd,
    /// A page is to be moved out by advice.
    PageoutStart,
    /// It is, or is not to be had; argument: frames freed.
    PageoutEnd,
}
