//! The two scanners. Source: Linux, mm/compaction.c (`isolate_migratepages`, `isolate_freepages`).

use super::{CLUSTER_MAX, CompactPriority};
use crate::addr::Pfn;
use crate::memory::Memory;
use crate::platform::{Platform, Vmstat};
use crate::zone::{MigrateType, PAGEBLOCK_NR_PAGES};

/// A few frames.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    pfns: [Pfn; CLUSTER_MAX],
    len: usize,
}

impl Cluster {
    const EMPTY: Self = Self {
        pfns: [Pfn(0); CLUSTER_MAX],
        len: 0,
    };

    fn pop(&mut self) -> Option<Pfn> {
        self.len = self.len.checked_sub(1)?;
        Some(self.pfns[self.len])
    }
}

/// Scanners on their way. All frames are in use or on the buddy lists meanwhile, but for those in `free`.
pub(super) struct Scan<'m, P: Platform> {
    memory: &'m Memory<P>,
    /// The first frame that the migrate scanner has not looked at.
    migrate: u32,
    /// The first frame above those that the free scanner has not looked at.
    free: u32,
    /// Frames to move pages to, the highest last in the array's use: taken from its end.
    frames: Cluster,
    all_types: bool,
    whole: bool,
}

impl<'m, P: Platform> Scan<'m, P> {
    /// Goes on where the last scan ended, or begins anew if that came to its end.
    pub(super) fn resume(memory: &'m Memory<P>, priority: CompactPriority) -> Self {
        let (start, end) = memory.zone.span();
        let state = &memory.compact;
        let (migrate, free) = (state.migrate_pfn.get(), state.free_pfn.get());
        let whole = migrate == 0 || priority == CompactPriority::SyncFull;
        Self {
            memory,
            migrate: if whole { start } else { migrate },
            free: if whole { end } else { free },
            frames: Cluster::EMPTY,
            all_types: priority == CompactPriority::SyncFull,
            whole,
        }
    }

    /// Whether the scan covers all of the zone.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Moves a cluster of pages. `false` when the scanners have met.
    pub(super) fn step(&mut self) -> bool {
        let (sources, next) = loop {
            if self.migrate >= self.free {
                return false;
            }
            let (sources, next) = self.isolate_sources();
            if sources.len > 0 {
                break (sources, next);
            }
            self.migrate = next;
        };
        for at in 0..sources.len {
            let from = sources.pfns[at];
            let moved = match self.target_above(from) {
                Some(to) if self.memory.migrate_page(from, to) => true,
                Some(to) => {
                    self.put_frame(to);
                    false
                }
                None => false,
            };
            if moved {
                self.memory.count(Vmstat::PgmigrateSuccess);
            } else {
                self.memory.count(Vmstat::PgmigrateFail);
                self.memory.lru_add(from);
                self.memory.put_page(from);
            }
        }
        self.migrate = next;
        true
    }

    /// Notes where the scanners are, and gives back the frames that were not used.
    pub(super) fn end(mut self, met: bool) {
        let mut highest_unused = 0;
        while let Some(pfn) = self.frames.pop() {
            highest_unused = highest_unused.max(pfn.0 + 1);
            self.put_frame(pfn);
        }
        let state = &self.memory.compact;
        // What was given back is to be found again.
        let free = self.free.max(highest_unused);
        let (migrate, free) = if met { (0, 0) } else { (self.migrate, free) };
        state.migrate_pfn.set(migrate);
        state.free_pfn.set(free);
    }

    fn put_frame(&self, pfn: Pfn) {
        self.memory.page(pfn).refcount.set(0);
        self.memory.zone.free_merged(self.memory.platform.memmap(), pfn);
    }

    fn suits(&self, pageblock: u32) -> bool {
        self.all_types || self.memory.zone.pageblock_type(pageblock) == MigrateType::Movable
    }

    /// Takes pages that can be moved from the migrate scanner's pageblock, and says where it goes on.
    fn isolate_sources(&self) -> (Cluster, u32) {
        let mut sources = Cluster::EMPTY;
        let block_end = (self.migrate | (PAGEBLOCK_NR_PAGES - 1)) + 1;
        let end = block_end.min(self.free);
        if !self.suits(self.migrate) {
            return (sources, end);
        }
        let (memory, mut scanned) = (self.memory, 0);
        let memmap = memory.platform.memmap();
        memory.zone.for_each_used(memmap, self.migrate, &mut |pfn| {
            let wanted = self.migrate <= pfn.0 && pfn.0 < end && sources.len < CLUSTER_MAX;
            if !wanted {
                return;
            }
            scanned += 1;
            if memory.isolate_lru_page(pfn) {
                sources.pfns[sources.len] = pfn;
                sources.len += 1;
            }
        });
        memory.platform.count(Vmstat::CompactMigrateScanned, scanned);
        memory.platform.count(Vmstat::CompactIsolated, sources.len as u64);
        let next = if sources.len == CLUSTER_MAX {
            sources.pfns[CLUSTER_MAX - 1].0 + 1
        } else {
            end
        };
        (sources, next)
    }

    /// A free frame above a page that is to be moved; the free scanner goes down for it.
    fn target_above(&mut self, from: Pfn) -> Option<Pfn> {
        while self.frames.len == 0 {
            let (start, _) = self.memory.zone.span();
            let floor = self.migrate.max(from.0 + 1).max(start);
            if self.free <= floor {
                return None;
            }
            let block = (self.free - 1) & !(PAGEBLOCK_NR_PAGES - 1);
            if self.suits(block) {
                self.isolate_targets(block, floor);
            }
            // A pageblock that filled the cluster may hold more.
            self.free = match self.frames.len {
                CLUSTER_MAX => self.frames.pfns[0].0,
                _ => block,
            };
        }
        // The free scanner may have taken them before the migrate scanner came here.
        if self.frames.pfns[self.frames.len - 1].0 <= from.0 {
            return None;
        }
        self.frames.pop()
    }

    fn isolate_targets(&mut self, block: u32, floor: u32) {
        let memory = self.memory;
        let taken = memory
            .zone
            .isolate_free(memory.platform.memmap(), block, floor, &mut self.frames.pfns);
        self.frames.len = taken;
        // Lowest first, so that the highest is popped first.
        self.frames.pfns[..taken].sort_unstable();
        memory.platform.count(Vmstat::CompactFreeScanned, taken as u64);
        memory.platform.count(Vmstat::CompactIsolated, taken as u64);
    }
}
