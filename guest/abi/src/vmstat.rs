//! The guest's counters. Names and meanings are those of Linux's `/proc/vmstat`, unless marked "own".
//!
//! They are an array of `u64` in guest memory that only ever grow (except the `nr_` ones, which are levels).

macro_rules! items {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Index of a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Item { $($(#[$doc])* $variant,)+ }

        /// Every counter in the order of the array.
        pub const ALL: &[Item] = &[$(Item::$variant,)+];

        impl Item {
            /// The counter's name, as in `/proc/vmstat`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Item::$variant => $name,)+ }
            }
        }
    };
}

items! {
    /// Level: free frames, in pages.
    NrFreePages = "nr_free_pages",
    /// Level: frames in the page cache, shmem included, swap cache excluded.
    NrFilePages = "nr_file_pages",
    /// Level: frames of shmem objects.
    NrShmem = "nr_shmem",
    /// Level: mapped anonymous frames.
    NrAnonMapped = "nr_anon_pages",
    /// Level: page-cache frames mapped by at least one page table.
    NrFileMapped = "nr_mapped",
    /// Level: frames used as page tables.
    NrPageTablePages = "nr_page_table_pages",
    /// Level: frames used by object caches.
    NrSlab = "nr_slab_unreclaimable",
    /// Level: frames in the swap cache.
    NrSwapCached = "nr_swapcached",
    /// Frames allocated.
    Pgalloc = "pgalloc_normal",
    /// Frames freed.
    Pgfree = "pgfree",
    /// Page faults from programs, successful or not.
    Pgfault = "pgfault",
    /// Page faults that had to read from swap or a file.
    Pgmajfault = "pgmajfault",
    /// Frames examined by kswapd.
    PgscanKswapd = "pgscan_kswapd",
    /// Frames examined by direct reclaim.
    PgscanDirect = "pgscan_direct",
    /// Frames reclaimed by kswapd.
    PgstealKswapd = "pgsteal_kswapd",
    /// Frames reclaimed by direct reclaim.
    PgstealDirect = "pgsteal_direct",
    /// Entries into direct reclaim for the kernel's own structures.
    Allocstall = "allocstall_normal",
    /// Frames moved to an active list.
    Pgactivate = "pgactivate",
    /// Frames moved from an active to an inactive list.
    Pgdeactivate = "pgdeactivate",
    /// Pages read from swap.
    Pswpin = "pswpin",
    /// Pages written to swap.
    Pswpout = "pswpout",
    /// Processes killed because memory ran out.
    OomKill = "oom_kill",
    /// Pages read from swap ahead of their use.
    SwapRa = "swap_ra",
    /// Of these, pages that were used.
    SwapRaHit = "swap_ra_hit",
    /// Pages that came back from swap after their frame had been taken.
    WorkingsetRefaultAnon = "workingset_refault_anon",
    /// Of these, pages that came back active.
    WorkingsetActivateAnon = "workingset_activate_anon",
    /// Of these, pages that had been active before.
    WorkingsetRestoreAnon = "workingset_restore_anon",
    /// Entries into direct reclaim for programs' pages.
    AllocstallMovable = "allocstall_movable",
    /// Direct reclaimers that had to wait for kswapd first.
    PgscanDirectThrottle = "pgscan_direct_throttle",
    /// Frames in use that compaction looked at, to move their pages.
    CompactMigrateScanned = "compact_migrate_scanned",
    /// Free frames that compaction found, to move pages to.
    CompactFreeScanned = "compact_free_scanned",
    /// Frames that compaction took, of both kinds.
    CompactIsolated = "compact_isolated",
    /// Allocations that compacted.
    CompactStall = "compact_stall",
    /// Of these, those that found no block afterwards.
    CompactFail = "compact_fail",
    /// Of these, those that found one.
    CompactSuccess = "compact_success",
    /// Compactions in the background.
    CompactDaemonWake = "compact_daemon_wake",
    /// Pages moved to another frame.
    PgmigrateSuccess = "pgmigrate_success",
    /// Pages that could not be moved.
    PgmigrateFail = "pgmigrate_fail",
    /// Own: system calls taken.
    NrSyscalls = "nr_syscalls",
    /// Own: switches between processes.
    NrSwitches = "nr_switches",
}

/// Number of counters.
pub const COUNT: usize = ALL.len();
