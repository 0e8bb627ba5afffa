//! Migrate types: frames that can be moved are kept apart from frames that cannot.
//!
//! One page table in the middle of 2 MiB of programs' pages, and no huge page can ever be made of them: programs' pages can be moved
//! away, a page table cannot. So memory is divided into *pageblocks* of `2^PAGEBLOCK_ORDER` frames, each for one type of content,
//! and every type has free lists of its own. Only when a type has no free block left does it take one of another type's: the largest, so that
//! it will not have to again soon, and, if most of that block's pageblock is free or of a kind that fits, the whole
//! pageblock changes its type ([`super::fallback`]).
//!
//! Source: Linux, mm/page_alloc.c, include/linux/mmzone.h (`enum migratetype`, `set_pageblock_migratetype`). Rule E8.

use super::pcp::HotRing;
use super::{KERNEL_PCP_HIGH, MAX_ORDER, Zone};
use crate::page::{Page, flag};
use crate::sync::Word;

/// log2 of the frames of a pageblock: one huge page.
pub const PAGEBLOCK_ORDER: u32 = 9;
/// Frames of a pageblock.
pub const PAGEBLOCK_NR_PAGES: u32 = 1 << PAGEBLOCK_ORDER;
/// Pageblocks whose type is remembered: 16 GiB. Those above are movable and stay so.
const PAGEBLOCKS_MAX: usize = 1 << 13;
const BITS: u32 = 2;
const PER_WORD: u32 = u64::BITS / BITS;

/// What a frame's content allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MigrateType {
    /// It stays where it is: page tables, the kernel's structures.
    Unmovable = 0,
    /// Its users are known, so it can be moved: programs' pages.
    Movable = 1,
    /// It cannot be moved, but be freed when somebody asks: caches of objects that can be made again.
    Reclaimable = 2,
    /// Free, and kept for blocks of more than one frame in a hurry. Source: Linux `MIGRATE_HIGHATOMIC`.
    HighAtomic = 3,
}

/// Number of types.
pub(super) const MIGRATE_TYPES: usize = 4;

impl MigrateType {
    /// All types, in the order in which a visit of all free frames sees them.
    pub(super) const ALL: [Self; MIGRATE_TYPES] = [Self::Movable, Self::Reclaimable, Self::Unmovable, Self::HighAtomic];

    /// Whose frames are taken when there are no others, in this order. Source: Linux `fallbacks`.
    pub(super) const fn fallbacks(self) -> [Self; 2] {
        match self {
            Self::Unmovable => [Self::Reclaimable, Self::Movable],
            Self::Reclaimable => [Self::Unmovable, Self::Movable],
            Self::Movable | Self::HighAtomic => [Self::Reclaimable, Self::Unmovable],
        }
    }

    const fn of_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Movable,
            1 => Self::Unmovable,
            2 => Self::Reclaimable,
            _ => Self::HighAtomic,
        }
    }

    /// Movable is 0, since the table is zeroes at first; then in the order of the zone's lists, see [`Zone::kernel_pcp_of`].
    const fn bits(self) -> u64 {
        match self {
            Self::Movable => 0,
            Self::Unmovable => 1,
            Self::Reclaimable => 2,
            Self::HighAtomic => 3,
        }
    }
}

/// The type of each pageblock, two bits each: at first movable, as on Linux.
#[derive(Debug)]
pub(super) struct PageBlocks([Word; PAGEBLOCKS_MAX / PER_WORD as usize]);

impl PageBlocks {
    pub(super) const fn new() -> Self {
        Self([const { Word::new(0) }; PAGEBLOCKS_MAX / PER_WORD as usize])
    }

    fn place(&self, pfn: u32) -> Option<(&Word, u32)> {
        let block = pfn >> PAGEBLOCK_ORDER;
        let word = self.0.get((block / PER_WORD) as usize)?;
        Some((word, block % PER_WORD * BITS))
    }
}

/// What [`Zone::for_each_in_pageblock`] meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// A free block on a list: first frame and order.
    Block(u32, u32),
    /// A frame that is in use, or on a per-CPU list.
    Frame(u32),
}

impl Zone {
    /// The type of the pageblock that a frame is in. Source: Linux `get_pageblock_migratetype`.
    #[inline]
    pub fn pageblock_type(&self, pfn: u32) -> MigrateType {
        self.pageblocks
            .place(pfn)
            .map_or(MigrateType::Movable, |(word, shift)| {
                MigrateType::of_bits(word.get() >> shift)
            })
    }

    /// The per-CPU list for frames of a pageblock whose content cannot be moved.
    #[inline]
    pub(super) fn kernel_pcp_of(&self, pfn: u32) -> Option<&HotRing<KERNEL_PCP_HIGH>> {
        let (word, shift) = self.pageblocks.place(pfn)?;
        let bits = word.get() >> shift & 3;
        self.kernel_pcps.get((bits as usize).wrapping_sub(1))
    }

    /// Notes the type of a pageblock; its free blocks are to be on that type's lists.
    pub(super) fn set_pageblock_type(&self, pfn: u32, to: MigrateType) {
        if let Some((word, shift)) = self.pageblocks.place(pfn) {
            word.set(word.get() & !(3 << shift) | to.bits() << shift);
        }
    }

    /// Whether types are told apart: in a zone of a few pageblocks they would only be in each other's way. Source: Linux
    /// `page_group_by_mobility_disabled`.
    #[inline(always)]
    pub(super) fn groups_by_mobility(&self) -> bool {
        self.managed.get() >= u64::from(PAGEBLOCK_NR_PAGES) * MIGRATE_TYPES as u64
    }

    /// The type whose lists a request uses.
    #[inline]
    pub(super) fn grouped(&self, wanted: MigrateType) -> MigrateType {
        if self.groups_by_mobility() {
            wanted
        } else {
            MigrateType::Movable
        }
    }

    /// Gives the pageblock of a frame another type, and moves its free blocks to that type's lists. Returns the free frames moved.
    /// Source: Linux `move_freepages_block`.
    pub(super) fn retype_pageblock(&self, memmap: &[Page], pfn: u32, to: MigrateType) -> u32 {
        let (mut moved, mut heads) = (0, 0);
        // Blocks come off their old lists onto a chain of their own; the type changes; then they are listed again: a whole pageblock may
        // be merged with its buddy now.
        self.for_each_in_pageblock(memmap, pfn, &mut |met| {
            if let Met::Block(head, order) = met {
                self.list_del(memmap, head, order);
                memmap[head as usize].next.set(heads);
                heads = head;
                moved += 1 << order;
            }
        });
        self.set_pageblock_type(pfn, to);
        while heads != 0 {
            let page = &memmap[heads as usize];
            let (head, order) = (heads, page.private.get() as u32);
            heads = page.next.get();
            self.merge(memmap, head, order);
        }
        moved
    }

    /// Gives all pageblocks of a free block another type.
    pub(super) fn retype_block(&self, memmap: &[Page], pfn: u32, order: u32, to: MigrateType) {
        // The block moves with its lowest pageblock, which comes last.
        for start in (pfn..pfn + (1 << order)).step_by(PAGEBLOCK_NR_PAGES as usize).rev() {
            self.retype_pageblock(memmap, start, to);
        }
    }

    /// Visits what the pageblock of a frame holds, from its lowest frame up; frames that were never handed out, those of the batch, and
    /// those that are not the zone's are left out. A block that is larger than the pageblock is met in the lower of its two.
    pub(super) fn for_each_in_pageblock(&self, memmap: &[Page], pfn: u32, visit: &mut dyn FnMut(Met)) {
        let start = pfn & !(PAGEBLOCK_NR_PAGES - 1);
        self.for_each_between(memmap, start, start + PAGEBLOCK_NR_PAGES, visit);
    }

    /// As [`Zone::for_each_in_pageblock`], for frames `[start, end)`, of which `start` is a multiple of a pageblock's or was met as the
    /// end of something.
    pub(super) fn for_each_between(&self, memmap: &[Page], start: u32, end: u32, visit: &mut dyn FnMut(Met)) {
        let (batch_start, batch_end) = self.batch();
        let mut pfn = start;
        while pfn < end {
            if batch_start <= pfn && pfn < batch_end {
                pfn = batch_end;
                continue;
            }
            let Some(range) = self.ranges.iter().find(|range| range.contains(pfn, 1)) else {
                pfn = self.next_range_start(pfn).unwrap_or(end);
                continue;
            };
            let (next, range_end) = range.deferred();
            if next <= pfn {
                pfn = range_end;
                continue;
            }
            // The entries of a huge page's other frames hold anything.
            if pfn.is_multiple_of(PAGEBLOCK_NR_PAGES)
                && memmap[pfn as usize].flags.get() & (flag::HEAD | flag::BUDDY) == flag::HEAD
            {
                pfn += PAGEBLOCK_NR_PAGES;
                continue;
            }
            // The upper half of a block of two pageblocks has no entry that can be read.
            let pair = pfn & !((1 << MAX_ORDER) - 1);
            if pair != pfn && pfn.is_multiple_of(PAGEBLOCK_NR_PAGES) && range.contains(pair, 1 << MAX_ORDER) {
                let in_batch = batch_start <= pair && pair < batch_end;
                if !in_batch && block_order(&memmap[pair as usize]) == Some(MAX_ORDER) {
                    pfn = pair + (1 << MAX_ORDER);
                    continue;
                }
            }
            pfn += match block_order(&memmap[pfn as usize]) {
                Some(order) => {
                    visit(Met::Block(pfn, order));
                    1 << order
                }
                None => {
                    visit(Met::Frame(pfn));
                    1
                }
            };
        }
    }

    /// First frame of the lowest range above a frame.
    fn next_range_start(&self, pfn: u32) -> Option<u32> {
        let starts = self.ranges.iter().filter(|range| range.end.get() != 0);
        starts.map(|range| range.start.get()).filter(|start| *start > pfn).min()
    }
}

/// The order of the listed block that an entry heads.
pub(super) fn block_order(page: &Page) -> Option<u32> {
    (page.flags.get() == flag::BUDDY).then(|| page.private.get() as u32)
}
