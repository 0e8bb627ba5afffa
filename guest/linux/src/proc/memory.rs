//! Memory in numbers: `meminfo vmstat zoneinfo buddyinfo`. Source: Linux, fs/proc/meminfo.c, mm/vmstat.c; proc_meminfo(5), proc_vmstat(5),
//! proc_zoneinfo(5), proc_buddyinfo(5). Rules I4, I7, I9.
//!
//! What this kernel does not have (disks' page caches, more zones) is shown as 0 where programs look for it, and left out elsewhere.

use faultlab_mm::Platform;
use faultlab_mm::huge::HPAGE_PAGES;
use faultlab_mm::lru::LruList;
use faultlab_mm::platform::Vmstat;

use super::text::{Left, Out, Right, put};
use crate::Linux;

/// KiB of a page.
const KIB: u64 = 4;

/// Pages by what they are used for.
struct Usage {
    cached: u64,
    anon: [u64; 2],
    unevictable: u64,
}

/// Pages of a huge page.
const HPAGE: u64 = HPAGE_PAGES as u64;

impl<P: Platform> Linux<'_, P> {
    fn usage(&self) -> Usage {
        let list = |list| u64::from(self.memory.lru_count(list));
        Usage {
            // The swap cache is not of any file here.
            cached: self.memory.vmstat(Vmstat::NrFilePages),
            anon: [list(LruList::ActiveAnon), list(LruList::InactiveAnon)],
            unevictable: list(LruList::Unevictable),
        }
    }

    pub(super) fn show_meminfo(&self, out: &mut Out<'_>) {
        let (memory, usage) = (self.memory, self.usage());
        let count = |item| memory.vmstat(item);
        let slab = count(Vmstat::NrSlab);
        let swapped = memory.total_swap_pages();
        let line = &mut |name: &str, pages: u64| put!(out; Left(name, 16), Right(pages * KIB, 8), " kB\n");
        line("MemTotal:", memory.totalram_pages());
        line("MemFree:", memory.nr_free_pages());
        line("MemAvailable:", memory.si_mem_available());
        line("Buffers:", 0);
        line("Cached:", usage.cached);
        line("SwapCached:", count(Vmstat::NrSwapCached));
        line("Active:", usage.anon[0]);
        line("Inactive:", usage.anon[1]);
        line("Active(anon):", usage.anon[0]);
        line("Inactive(anon):", usage.anon[1]);
        line("Active(file):", 0);
        line("Inactive(file):", 0);
        line("Unevictable:", usage.unevictable);
        line("Mlocked:", memory.nr_mlock());
        line("SwapTotal:", swapped);
        line("SwapFree:", memory.nr_swap_pages());
        line("Dirty:", 0);
        line("Writeback:", 0);
        line("AnonPages:", count(Vmstat::NrAnonMapped));
        line("Mapped:", count(Vmstat::NrFileMapped));
        line("Shmem:", count(Vmstat::NrShmem));
        line("KReclaimable:", 0);
        line("Slab:", slab);
        line("SReclaimable:", 0);
        line("SUnreclaim:", slab);
        line("KernelStack:", self.system.stack_pages());
        line("PageTables:", count(Vmstat::NrPageTablePages));
        line("SecPageTables:", 0);
        line("NFS_Unstable:", 0);
        line("Bounce:", 0);
        line("WritebackTmp:", 0);
        line("CommitLimit:", memory.vm_commit_limit());
        line("Committed_AS:", memory.committed_as());
        // 32 TiB, less a byte: the upper half of the address space has room for it. Nothing is mapped there page by page.
        put!(out; "VmallocTotal:   34359738367 kB\n");
        let line = &mut |name: &str, pages: u64| put!(out; Left(name, 16), Right(pages * KIB, 8), " kB\n");
        line("VmallocUsed:", 0);
        line("VmallocChunk:", 0);
        line("Percpu:", 0);
        let huge = memory.huge_counters();
        line("AnonHugePages:", huge.anon_thps * HPAGE);
        line("ShmemHugePages:", huge.shmem_thps * HPAGE);
        line("ShmemPmdMapped:", huge.shmem_pmd_mapped * HPAGE);
        line("FileHugePages:", 0);
        line("FilePmdMapped:", 0);
        let pool = memory.hugetlb_counters();
        for (name, pages) in [
            ("HugePages_Total:", pool.total),
            ("HugePages_Free:", pool.free),
            ("HugePages_Rsvd:", pool.resv),
            ("HugePages_Surp:", pool.surplus),
        ] {
            put!(out; Left(name, 16), Right(pages, 8), "\n");
        }
        let line = &mut |name: &str, pages: u64| put!(out; Left(name, 16), Right(pages * KIB, 8), " kB\n");
        line("Hugepagesize:", HPAGE);
        line("Hugetlb:", pool.total * HPAGE);
    }

    /// Levels first, as Linux has them, then what only rises.
    pub(super) fn show_vmstat(&self, out: &mut Out<'_>) {
        self.levels(&mut |name, value| put!(out; name, " ", value, "\n"));
        for (name, item) in EVENTS {
            put!(out; *name, " ", self.memory.vmstat(*item), "\n");
        }
        for (name, value) in self.huge_events() {
            put!(out; name, " ", value, "\n");
        }
        for name in NEVER {
            put!(out; *name, " 0\n");
        }
    }

    /// What became of huge pages. Source: Documentation/admin-guide/mm/transhuge.rst.
    fn huge_events(&self) -> [(&'static str, u64); 8] {
        let huge = self.memory.huge_counters();
        [
            ("thp_fault_alloc", huge.thp_fault_alloc),
            ("thp_fault_fallback", huge.thp_fault_fallback),
            ("thp_file_alloc", huge.thp_file_alloc),
            ("thp_file_fallback", huge.thp_file_fallback),
            ("thp_file_mapped", huge.thp_file_mapped),
            ("thp_split_page", huge.thp_split_page),
            ("thp_split_page_failed", huge.thp_split_page_failed),
            ("thp_split_pmd", huge.thp_split_pmd),
        ]
    }

    fn levels(&self, line: &mut dyn FnMut(&str, u64)) {
        let (memory, usage) = (self.memory, self.usage());
        let count = |item| memory.vmstat(item);
        line("nr_free_pages", memory.nr_free_pages());
        line("nr_zone_inactive_anon", usage.anon[1]);
        line("nr_zone_active_anon", usage.anon[0]);
        line("nr_zone_inactive_file", 0);
        line("nr_zone_active_file", 0);
        line("nr_zone_unevictable", usage.unevictable);
        line("nr_mlock", memory.nr_mlock());
        line("nr_inactive_anon", usage.anon[1]);
        line("nr_active_anon", usage.anon[0]);
        line("nr_inactive_file", 0);
        line("nr_active_file", 0);
        line("nr_unevictable", usage.unevictable);
        line("nr_slab_reclaimable", 0);
        line("nr_slab_unreclaimable", count(Vmstat::NrSlab));
        line("nr_anon_pages", count(Vmstat::NrAnonMapped));
        line("nr_mapped", count(Vmstat::NrFileMapped));
        line(
            "nr_file_pages",
            count(Vmstat::NrFilePages) + count(Vmstat::NrSwapCached),
        );
        line("nr_dirty", 0);
        line("nr_writeback", 0);
        line("nr_shmem", count(Vmstat::NrShmem));
        let huge = memory.huge_counters();
        line("nr_shmem_hugepages", huge.shmem_thps);
        line("nr_shmem_pmdmapped", huge.shmem_pmd_mapped);
        line("nr_anon_transparent_hugepages", huge.anon_thps);
        line("nr_kernel_stack", self.system.stack_pages() * KIB);
        line("nr_page_table_pages", count(Vmstat::NrPageTablePages));
        line("nr_swapcached", count(Vmstat::NrSwapCached));
    }

    /// The one zone: all of RAM is below 4 GiB.
    pub(super) fn show_zoneinfo(&self, out: &mut Out<'_>) {
        let info = self.memory.zone_info();
        put!(out; "Node 0, zone    DMA32\n  per-node stats\n");
        self.levels(&mut |name, value| {
            if !matches!(name, "nr_free_pages" | "nr_mlock") && !name.starts_with("nr_zone_") {
                put!(out; "      ", Left(name, 12), " ", value, "\n");
            }
        });
        put!(out; "  pages free     ", info.free, "\n        boost    0\n");
        for (name, mark) in ["min      ", "low      ", "high     "].into_iter().zip(info.watermarks) {
            put!(out; "        ", name, mark, "\n");
        }
        let promo = info.watermarks[2] + (info.watermarks[1] - info.watermarks[0]);
        put!(out; "        promo    ", promo, "\n        spanned  ", info.span.1, "\n        present  ", info.managed,
            "\n        managed  ", info.managed, "\n        cma      0\n        protection: (0, 0, 0, 0)\n");
        put!(out; "      nr_free_pages ", info.free, "\n");
        self.levels(&mut |name, value| {
            if name == "nr_mlock" || name.starts_with("nr_zone_") {
                put!(out; "      ", Left(name, 12), " ", value, "\n");
            }
        });
        put!(out; "  pagesets\n    cpu: 0\n              count:    ", info.per_cpu,
            "\n              high:     1024\n              batch:    63\n");
        put!(out; "  node_unreclaimable:  0\n  start_pfn:           ", info.span.0, "\n");
    }

    pub(super) fn show_buddyinfo(&self, out: &mut Out<'_>) {
        put!(out; "Node 0, zone    DMA32 ");
        for blocks in self.memory.zone_info().blocks {
            put!(out; Right(blocks, 6), " ");
        }
        put!(out; "\n");
    }
}

/// What has been counted since boot, in Linux's order.
const EVENTS: &[(&str, Vmstat)] = &[
    ("workingset_refault_anon", Vmstat::WorkingsetRefaultAnon),
    ("workingset_activate_anon", Vmstat::WorkingsetActivateAnon),
    ("workingset_restore_anon", Vmstat::WorkingsetRestoreAnon),
    ("pswpin", Vmstat::Pswpin),
    ("pswpout", Vmstat::Pswpout),
    ("pgalloc_dma32", Vmstat::Pgalloc),
    ("allocstall_movable", Vmstat::AllocstallMovable),
    ("pgfree", Vmstat::Pgfree),
    ("pgactivate", Vmstat::Pgactivate),
    ("pgdeactivate", Vmstat::Pgdeactivate),
    ("pgfault", Vmstat::Pgfault),
    ("pgmajfault", Vmstat::Pgmajfault),
    ("pgsteal_kswapd", Vmstat::PgstealKswapd),
    ("pgsteal_direct", Vmstat::PgstealDirect),
    ("pgscan_kswapd", Vmstat::PgscanKswapd),
    ("pgscan_direct", Vmstat::PgscanDirect),
    ("pgscan_direct_throttle", Vmstat::PgscanDirectThrottle),
    ("oom_kill", Vmstat::OomKill),
    ("pgmigrate_success", Vmstat::PgmigrateSuccess),
    ("pgmigrate_fail", Vmstat::PgmigrateFail),
    ("compact_migrate_scanned", Vmstat::CompactMigrateScanned),
    ("compact_free_scanned", Vmstat::CompactFreeScanned),
    ("compact_isolated", Vmstat::CompactIsolated),
    ("compact_stall", Vmstat::CompactStall),
    ("compact_fail", Vmstat::CompactFail),
    ("compact_success", Vmstat::CompactSuccess),
    ("compact_daemon_wake", Vmstat::CompactDaemonWake),
    ("swap_ra", Vmstat::SwapRa),
    ("swap_ra_hit", Vmstat::SwapRaHit),
];

/// What programs look for and never happens here: files of disks are neither read nor written, nor is anything else to be reclaimed.
const NEVER: &[&str] = &[
    "workingset_refault_file",
    "workingset_activate_file",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "pgpgin",
    "pgpgout",
    "allocstall_normal",
    "allocstall_dma32",
    "drop_pagecache",
    "drop_slab",
];
