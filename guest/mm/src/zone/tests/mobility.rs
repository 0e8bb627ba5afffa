//! Migrate types: who gets frames of which pageblock.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::{FRAMES, free, memmap, zone_of};
use crate::addr::Pfn;
use crate::page::{Page, flag};
use crate::zone::{MAX_ORDER, MigrateType, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Watermark, Zone, alloc};

const PAGEBLOCK: u32 = PAGEBLOCK_NR_PAGES;

fn pageblocks(frames: &[Pfn]) -> BTreeSet<u32> {
    frames.iter().map(|pfn| pfn.0 >> PAGEBLOCK_ORDER).collect()
}

fn take(zone: &Zone, memmap: &[Page], kind: MigrateType, flags: u32) -> Option<Pfn> {
    zone.rmqueue_of(memmap, 0, kind, flags)
}

/// E8: while there is memory for all, no pageblock holds frames of two types.
#[test]
fn types_keep_to_their_pageblocks() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    let kinds = [MigrateType::Movable, MigrateType::Unmovable, MigrateType::Reclaimable];
    let mut frames: [Vec<Pfn>; 3] = [const { Vec::new() }; 3];
    for _ in 0..300 {
        for (frames, kind) in frames.iter_mut().zip(kinds) {
            frames.push(take(&zone, &memmap, kind, 0).expect("a frame"));
        }
    }
    zone.check(&memmap);
    let blocks = frames.map(|frames| pageblocks(&frames));
    for (blocks, kind) in blocks.iter().zip(kinds) {
        assert!(
            blocks
                .iter()
                .all(|block| zone.pageblock_type(block << PAGEBLOCK_ORDER) == kind)
        );
    }
    assert!(
        blocks[0].is_disjoint(&blocks[1]) && blocks[0].is_disjoint(&blocks[2]) && blocks[1].is_disjoint(&blocks[2])
    );
}

/// E8: the largest block of another type is taken, and its pageblock changes its type with it.
#[test]
fn stealing_a_large_block_retypes_its_pageblock() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    // All but the last pageblock in use, and of the last but one a block of order 3 is free.
    let frames: Vec<Pfn> = (0..2048).map_while(|_| zone.rmqueue(&memmap, 0)).collect();
    let freed = |from: u32, count: u32| (from..from + count).map(|at| frames[at as usize]);
    for pfn in freed(1024, 8).chain(freed(1536, PAGEBLOCK)) {
        free(&zone, &memmap, pfn, 0);
    }
    zone.drain_all_pages(&memmap);
    let first = take(&zone, &memmap, MigrateType::Unmovable, 0).expect("a frame");
    assert_eq!(first.0 >> PAGEBLOCK_ORDER, 5, "from the largest block");
    assert_eq!(zone.pageblock_type(first.0), MigrateType::Unmovable);
    assert_eq!(zone.pageblock_type(2048), MigrateType::Movable);
    zone.check(&memmap);
    // Reclaimable frames come from unmovable pageblocks first: these are lost to large blocks anyway.
    let second = take(&zone, &memmap, MigrateType::Reclaimable, 0).expect("a frame");
    assert_eq!(second.0 >> PAGEBLOCK_ORDER, 5);
    zone.check(&memmap);
}

/// E8: a pageblock most of which is in use by pages that can be moved stays theirs; one whose other users cannot be moved changes.
#[test]
fn a_pageblock_goes_to_whom_it_suits() {
    for (movable, claimed) in [(true, false), (false, true)] {
        let (zone, memmap) = zone_of(&[(1024, 3072)]);
        let frames: Vec<Pfn> = (0..2048).map_while(|_| zone.rmqueue(&memmap, 0)).collect();
        for pfn in frames.iter().filter(|_| movable) {
            memmap[pfn.index()].set_flags(flag::LRU);
        }
        for pfn in &frames[1024..1088] {
            memmap[pfn.index()].flags.set(0);
            free(&zone, &memmap, *pfn, 0);
        }
        zone.drain_all_pages(&memmap);
        let pfn = take(&zone, &memmap, MigrateType::Unmovable, 0).expect("a frame");
        let kind = zone.pageblock_type(pfn.0);
        assert_eq!(kind == MigrateType::Unmovable, claimed, "{kind:?}");
        zone.check(&memmap);
    }
}

/// E8: a movable frame does no harm where it is, so it takes from the smallest block, and breaks up no large one.
#[test]
fn a_movable_frame_takes_the_smallest_block() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    let unmovable: Vec<Pfn> = (0..2048)
        .map_while(|_| take(&zone, &memmap, MigrateType::Unmovable, 0))
        .collect();
    assert_eq!(unmovable.len(), 2048);
    // Blocks of orders 3 and 1, both in unmovable pageblocks.
    let mut sorted: Vec<u32> = unmovable.iter().map(|pfn| pfn.0).collect();
    sorted.sort_unstable();
    for &pfn in sorted[512..520].iter().chain(&sorted[1000..1002]) {
        free(&zone, &memmap, Pfn(pfn), 0);
    }
    zone.drain_all_pages(&memmap);
    let pfn = take(&zone, &memmap, MigrateType::Movable, 0).expect("a frame");
    assert!(pfn.0 == sorted[1000] || pfn.0 == sorted[1001], "{pfn:?}");
    assert_eq!(zone.pageblock_type(pfn.0), MigrateType::Unmovable);
    assert_eq!(zone.free_blocks(3), 1, "the larger block is whole");
    zone.check(&memmap);
}

/// E8: with NOFRAGMENT, only whole pageblocks change hands.
#[test]
fn nofragment_breaks_up_no_pageblock() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    let frames: Vec<Pfn> = (0..2048).map_while(|_| zone.rmqueue(&memmap, 0)).collect();
    for pfn in &frames[..256] {
        free(&zone, &memmap, *pfn, 0);
    }
    zone.drain_all_pages(&memmap);
    assert_eq!(take(&zone, &memmap, MigrateType::Unmovable, alloc::NOFRAGMENT), None);
    zone.check(&memmap);
    for pfn in &frames[256..512] {
        free(&zone, &memmap, *pfn, 0);
    }
    zone.drain_all_pages(&memmap);
    let pfn = take(&zone, &memmap, MigrateType::Unmovable, alloc::NOFRAGMENT).expect("a whole pageblock");
    assert_eq!(zone.pageblock_type(pfn.0), MigrateType::Unmovable);
    assert!(
        take(&zone, &memmap, MigrateType::Movable, 0).is_some(),
        "without it, any frame will do"
    );
    zone.check(&memmap);
}

/// E8: in a zone of a few pageblocks, types are not told apart.
#[test]
fn a_small_zone_has_one_type() {
    let (zone, memmap) = zone_of(&[(1024, 3071)]);
    let unmovable = take(&zone, &memmap, MigrateType::Unmovable, 0).expect("a frame");
    let movable = take(&zone, &memmap, MigrateType::Movable, 0).expect("a frame");
    assert_eq!(unmovable.0 + 1, movable.0);
    assert_eq!(zone.pageblock_type(unmovable.0), MigrateType::Movable);
}

/// E7, E8: a frame of an unmovable pageblock is kept for the next of its type; one of a movable pageblock is not.
#[test]
fn freed_frames_go_to_their_pageblocks_list() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    let unmovable = take(&zone, &memmap, MigrateType::Unmovable, 0).expect("a frame");
    let movable = take(&zone, &memmap, MigrateType::Movable, 0).expect("a frame");
    for pfn in [unmovable, movable] {
        memmap[pfn.index()].refcount.set(0);
        zone.free_kernel_page(&memmap, pfn);
        zone.check(&memmap);
    }
    assert_eq!(take(&zone, &memmap, MigrateType::Movable, 0), Some(movable));
    assert_eq!(take(&zone, &memmap, MigrateType::Unmovable, 0), Some(unmovable));
}

/// E3, E10, E14: what is reserved for blocks in a hurry is for nobody else, until it is given up.
#[test]
fn reserved_pageblocks_are_for_those_in_a_hurry() {
    let (zone, memmap) = zone_of(&[(1024, 4096 - 947)]);
    let block = zone
        .rmqueue_of(&memmap, 2, MigrateType::Unmovable, alloc::HARDER)
        .expect("a block");
    zone.reserve_highatomic(&memmap, block, 2);
    zone.check(&memmap);
    assert_eq!(zone.pageblock_type(block.0), MigrateType::HighAtomic);
    assert_eq!(zone.reserved_highatomic(), u64::from(PAGEBLOCK));
    zone.reserve_highatomic(&memmap, block, 2);
    assert_eq!(
        zone.reserved_highatomic(),
        u64::from(PAGEBLOCK),
        "it is reserved already"
    );
    let frames: Vec<Pfn> = (0..FRAMES).map_while(|_| zone.rmqueue(&memmap, 0)).collect();
    let blocks = pageblocks(&frames);
    assert!(
        !blocks.contains(&(block.0 >> PAGEBLOCK_ORDER)),
        "a frame of the reserve"
    );
    let left = zone.free_pages_count();
    assert!(left > 0 && left <= u64::from(PAGEBLOCK));
    assert!(
        !zone.watermark_ok_flags(2, Watermark::Min, 0),
        "what is left is none of theirs"
    );
    assert!(zone.rmqueue_of(&memmap, 2, MigrateType::Unmovable, 0).is_none());
    assert!(
        zone.rmqueue_of(&memmap, 2, MigrateType::Unmovable, alloc::HARDER)
            .is_some()
    );
    assert!(zone.unreserve_highatomic(&memmap, MigrateType::Movable));
    zone.check(&memmap);
    assert_eq!(zone.reserved_highatomic(), 0);
    assert!(zone.rmqueue(&memmap, 0).is_some());
    assert!(
        !zone.unreserve_highatomic(&memmap, MigrateType::Movable),
        "there is none left"
    );
}

/// E10: (6) not more than a hundredth of the zone and a pageblock is reserved.
#[test]
fn reserves_have_a_limit() {
    let (zone, memmap) = zone_of(&[(1024, FRAMES)]);
    let blocks: Vec<Pfn> = (0..3)
        .map(|_| {
            zone.rmqueue_of(&memmap, PAGEBLOCK_ORDER, MigrateType::Movable, 0)
                .expect("a block")
        })
        .collect();
    for (pfn, reserved) in blocks.into_iter().zip([1, 2, 2]) {
        zone.reserve_highatomic(&memmap, pfn, PAGEBLOCK_ORDER);
        assert_eq!(zone.reserved_highatomic(), reserved * u64::from(PAGEBLOCK));
        zone.check(&memmap);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize, u32, u32),
    Many(usize, u32),
    Free(usize, bool),
    FreeMany(usize),
    Reserve(usize),
    Unreserve(usize),
    Isolate(u32, usize),
    Drain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let order = prop_oneof![3 => Just(0), 2 => 0..=MAX_ORDER];
    let flags = prop_oneof![2 => Just(0), 1 => Just(alloc::NOFRAGMENT), 1 => Just(alloc::HARDER)];
    let op = prop_oneof![
        6 => (0..3usize, order, flags).prop_map(|(kind, order, flags)| Op::Alloc(kind, order, flags)),
        3 => (0..3usize, 1..900u32).prop_map(|(kind, count)| Op::Many(kind, count)),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(which, kernel)| Op::Free(which, kernel)),
        3 => (1..900usize).prop_map(Op::FreeMany),
        1 => any::<usize>().prop_map(Op::Reserve),
        1 => (0..3usize).prop_map(Op::Unreserve),
        2 => (0..7u32, 1..33usize).prop_map(|(block, count)| Op::Isolate(block, count)),
        1 => Just(Op::Drain),
    ];
    prop::collection::vec(op, 1..60)
}

const KINDS: [MigrateType; 3] = [MigrateType::Movable, MigrateType::Unmovable, MigrateType::Reclaimable];

struct Model {
    zone: Zone,
    memmap: Vec<Page>,
    blocks: Vec<(Pfn, u32)>,
    used: Vec<bool>,
}

impl Model {
    fn took(&mut self, pfn: Pfn, order: u32) {
        assert_eq!(pfn.0 % (1 << order), 0, "alignment");
        for frame in pfn.index()..pfn.index() + (1 << order) {
            assert!(!self.used[frame], "frame {frame} given twice");
            self.used[frame] = true;
            // What owners leave behind: pages that can be moved, and others.
            let left = if frame % 3 == 0 { 0 } else { flag::LRU };
            self.memmap[frame].flags.set(left);
        }
        self.blocks.push((pfn, order));
    }

    fn alloc(&mut self, kind: usize, order: u32, flags: u32) -> bool {
        match self.zone.rmqueue_of(&self.memmap, order, KINDS[kind], flags) {
            Some(pfn) => self.took(pfn, order),
            None => {
                let reserved = self.zone.reserved_highatomic();
                let free = self.zone.free_pages_count();
                let excused = order > 0 || flags != 0 || free <= reserved;
                assert!(excused, "{free} frames free, {reserved} of them reserved");
                return false;
            }
        }
        true
    }

    fn free(&mut self, which: usize, kernel: bool) {
        if self.blocks.is_empty() {
            return;
        }
        let (pfn, order) = self.blocks.swap_remove(which % self.blocks.len());
        self.used[pfn.index()..pfn.index() + (1 << order)].fill(false);
        if kernel && order == 0 {
            self.memmap[pfn.index()].refcount.set(0);
            self.zone.free_kernel_page(&self.memmap, pfn);
        } else {
            free(&self.zone, &self.memmap, pfn, order);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Alloc(kind, order, flags) => _ = self.alloc(kind, order, flags),
            Op::Many(kind, count) => _ = (0..count).all(|_| self.alloc(kind, 0, 0)),
            Op::Free(which, kernel) => self.free(which, kernel),
            Op::FreeMany(count) => (0..count).for_each(|i| self.free(i * 7919, i % 2 == 0)),
            Op::Reserve(which) if !self.blocks.is_empty() => {
                let (pfn, order) = self.blocks[which % self.blocks.len()];
                self.zone.reserve_highatomic(&self.memmap, pfn, order);
            }
            Op::Reserve(_) => {}
            Op::Unreserve(kind) => _ = self.zone.unreserve_highatomic(&self.memmap, KINDS[kind]),
            Op::Isolate(block, count) => {
                self.zone.list_all_free(&self.memmap);
                let mut frames = [Pfn(0); 32];
                let floor = (block << PAGEBLOCK_ORDER) + 100;
                let taken = self
                    .zone
                    .isolate_free(&self.memmap, block << PAGEBLOCK_ORDER, floor, &mut frames[..count]);
                for pfn in &frames[..taken] {
                    assert!(pfn.0 >= floor, "a frame below the floor");
                    self.took(*pfn, 0);
                }
                self.zone.check(&self.memmap);
                for _ in 0..taken / 2 {
                    let (pfn, _) = self.blocks.pop().expect("taken just now");
                    self.used[pfn.index()] = false;
                    self.memmap[pfn.index()].refcount.set(0);
                    self.zone.free_merged(&self.memmap, pfn);
                }
            }
            Op::Drain => self.zone.drain_all_pages(&self.memmap),
        }
        self.zone.check(&self.memmap);
        let used = self.used.iter().filter(|used| **used).count() as u64;
        assert_eq!(
            self.zone.free_pages_count() + used,
            self.zone.managed(),
            "frames are lost"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// E5, E8: whatever types take and give back, no frame is lost or given twice, and each block is on the list of its pageblock's type.
    #[test]
    fn types_share_the_zone(ops in ops(), gap in 0..600u32) {
        let zone = Zone::new();
        let memmap = memmap(FRAMES, gap);
        zone.add_range(&memmap, Pfn(1), Pfn(700));
        zone.add_range(&memmap, Pfn(700 + gap), Pfn(FRAMES));
        let mut model = Model { zone, memmap, blocks: Vec::new(), used: std::vec![false; FRAMES as usize] };
        for op in &ops {
            model.apply(op);
        }
        while !model.blocks.is_empty() {
            model.free(0, false);
        }
        model.zone.list_all_free(&model.memmap);
        while model.zone.unreserve_highatomic(&model.memmap, MigrateType::Movable) {}
        model.zone.check(&model.memmap);
        prop_assert_eq!(model.zone.free_pages_count(), model.zone.managed());
        let largest = model.zone.free_blocks(MAX_ORDER);
        prop_assert!(largest >= 1, "blocks of the largest order are made again");
    }
}
