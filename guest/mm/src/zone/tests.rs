//! The zone against a model that knows of each frame who has it.

use std::collections::BTreeMap;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::watermark::{watermarks_above, watermarks_of};
use super::{FREE_UNLISTED, MAX_ORDER, MigrateType, PCP_HIGH, RANGES_MAX, Watermark, Zone, alloc};
use crate::addr::Pfn;
use crate::page::{Page, flag};

mod misuse;
mod mobility;

/// Frames of the test machine: three blocks of the largest order and a bit.
const FRAMES: u32 = 3 * 1024 + 77;

/// A memory map that nobody has cleared.
fn memmap(frames: u32, seed: u32) -> Vec<Page> {
    let entry = |i: u32| {
        let (page, noise) = (Page::default(), (i ^ seed).wrapping_mul(0x9e37_79b9));
        // Among the garbage, entries that look like free blocks of every order.
        page.flags.set(if noise & 1 == 0 { flag::BUDDY } else { noise });
        page.refcount.set(noise >> 1 & noise >> 7);
        page.mapcount.set(noise);
        page.mapping.set(noise);
        page.next.set(noise);
        page.prev.set(!noise);
        page.index.set(u64::from(noise));
        page.private.set(u64::from(noise >> 16 & 0xf));
        page
    };
    (0..frames).map(entry).collect()
}

/// A zone with these ranges, on a memory map of [`FRAMES`] garbage entries.
fn zone_of(ranges: &[(u32, u32)]) -> (Zone, Vec<Page>) {
    let (zone, memmap) = (Zone::new(), memmap(FRAMES, ranges[0].0));
    for &(start, end) in ranges {
        zone.add_range(&memmap, Pfn(start), Pfn(end));
    }
    (zone, memmap)
}

fn free(zone: &Zone, memmap: &[Page], pfn: Pfn, order: u32) {
    memmap[pfn.index()].refcount.set(0);
    zone.free_one_page(memmap, pfn, order);
}

/// The free frames in the order of [`Zone::for_each_free`].
fn free_frames(zone: &Zone, memmap: &[Page]) -> Vec<u32> {
    let mut frames = vec![];
    zone.for_each_free(memmap, &mut |pfn, pages| {
        frames.extend(pfn.0..pfn.0 + pages);
        true
    });
    frames
}

/// The first of them.
fn first_free_frame(zone: &Zone, memmap: &[Page]) -> Option<u32> {
    let mut first = None;
    zone.for_each_free(memmap, &mut |pfn, _| {
        assert_eq!(first.replace(pfn.0), None, "the visit goes on after false");
        false
    });
    first
}

/// First frame and order of each block on a buddy list.
fn listed_blocks(zone: &Zone, memmap: &[Page]) -> BTreeMap<u32, u32> {
    let of_order = |order: u32| {
        let area = &zone.free_area[order as usize];
        let kinds = MigrateType::ALL.into_iter();
        kinds.flat_map(move |kind| area.blocks(memmap, kind).map(move |pfn| (pfn.0, order)))
    };
    (0..=MAX_ORDER).flat_map(of_order).collect()
}

/// The only way to cover `[start, end)` with blocks none of which can be merged.
fn largest_blocks(mut start: u32, end: u32) -> BTreeMap<u32, u32> {
    let mut blocks = BTreeMap::new();
    while start != end {
        let fits = |order: &u32| start.is_multiple_of(1 << order) && start + (1 << order) <= end;
        let order = (0..=MAX_ORDER).rev().find(fits).expect("order 0 fits");
        blocks.insert(start, order);
        start += 1 << order;
    }
    blocks
}

struct Model {
    zone: Zone,
    memmap: Vec<Page>,
    ranges: Vec<(u32, u32)>,
    used: Vec<bool>,
    /// Frames that were ever handed out, so their entries mean something.
    seen: Vec<bool>,
    /// Blocks in use: first frame and order.
    blocks: Vec<(Pfn, u32)>,
}

impl Model {
    fn new(ranges: Vec<(u32, u32)>) -> Self {
        let (zone, memmap) = zone_of(&ranges);
        Self {
            zone,
            memmap,
            ranges,
            used: vec![false; FRAMES as usize],
            seen: vec![false; FRAMES as usize],
            blocks: vec![],
        }
    }

    /// Says whether there was a block.
    fn alloc(&mut self, order: u32) -> bool {
        let first_free = first_free_frame(&self.zone, &self.memmap);
        let Some(pfn) = self.zone.rmqueue(&self.memmap, order) else {
            // Nothing would do: no order fits into what is free, however it is merged.
            self.zone.check(&self.memmap);
            let free = |start: u32| (start..start + (1 << order)).all(|frame| self.is_free(frame));
            for &(start, end) in &self.ranges {
                let mut blocks = (start.div_ceil(1 << order)..end >> order).map(|i| i << order);
                assert_eq!(
                    blocks.find(|&block| order <= MAX_ORDER && free(block)),
                    None,
                    "order {order} was to be had"
                );
            }
            return false;
        };
        if order == 0 {
            assert_eq!(Some(pfn.0), first_free, "for_each_free foretold another frame");
        }
        assert_eq!(pfn.0 % (1 << order), 0, "alignment");
        for i in 0..1 << order {
            let page = &self.memmap[pfn.index() + i];
            assert!(
                self.is_free((pfn.index() + i) as u32),
                "frame {} given twice or never added",
                pfn.index() + i
            );
            self.used[pfn.index() + i] = true;
            self.seen[pfn.index() + i] = true;
            let entry = (
                page.refcount.get(),
                page.flags.get(),
                page.mapcount.get(),
                page.mapping.get(),
                page.private.get(),
            );
            assert_eq!(entry, (u32::from(i == 0), 0, 0, 0, 0), "entry of a new frame");
            // What owners leave behind.
            page.flags.set(flag::UPTODATE | flag::DIRTY);
            page.mapping.set(7);
            page.private.set(3);
            page.next.set(1);
        }
        self.blocks.push((pfn, order));
        true
    }

    fn free(&mut self, which: usize) {
        if self.blocks.is_empty() {
            return;
        }
        let (pfn, order) = self.blocks.swap_remove(which % self.blocks.len());
        self.used[pfn.index()..pfn.index() + (1 << order)].fill(false);
        free(&self.zone, &self.memmap, pfn, order);
        if order == 0 {
            assert_eq!(
                free_frames(&self.zone, &self.memmap)[0],
                pfn.0,
                "the last frame freed goes first"
            );
        }
    }

    /// Frees a block frame by frame.
    fn free_split(&mut self, which: usize) {
        let Some((pfn, order)) = self.blocks.get(which % self.blocks.len().max(1)).copied() else {
            return;
        };
        let which = which % self.blocks.len();
        self.blocks.swap_remove(which);
        for i in 0..1 << order {
            self.blocks.push((pfn.offset(i), 0));
            self.free(self.blocks.len() - 1);
        }
    }

    fn is_free(&self, frame: u32) -> bool {
        !self.used[frame as usize] && self.ranges.iter().any(|&(start, end)| start <= frame && frame < end)
    }

    fn check(&self) {
        self.zone.check(&self.memmap);
        let mut visited = free_frames(&self.zone, &self.memmap);
        visited.sort_unstable();
        let free: Vec<u32> = (0..FRAMES).filter(|&frame| self.is_free(frame)).collect();
        assert!(visited == free, "free frames differ");
        let listed = listed_blocks(&self.zone, &self.memmap);
        for frame in free.iter().copied().filter(|&frame| self.seen[frame as usize]) {
            let expected = if listed.contains_key(&frame) {
                flag::BUDDY
            } else {
                FREE_UNLISTED
            };
            assert_eq!(
                self.memmap[frame as usize].flags.get(),
                expected,
                "flags of free frame {frame}"
            );
        }
        assert_eq!(self.zone.free_pages_count(), free.len() as u64);
        let managed: u32 = self.ranges.iter().map(|(start, end)| end - start).sum();
        assert_eq!(self.zone.managed(), u64::from(managed));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(u32),
    AllocMany(u32),
    Free(usize),
    FreeMany(usize),
    FreeSplit(usize),
    Drain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => Just(Op::Alloc(0)),
        3 => (0..=MAX_ORDER + 1).prop_map(Op::Alloc),
        2 => (1..1500u32).prop_map(Op::AllocMany),
        6 => any::<usize>().prop_map(Op::Free),
        2 => (1..1500usize).prop_map(Op::FreeMany),
        1 => any::<usize>().prop_map(Op::FreeSplit),
        1 => Just(Op::Drain),
    ];
    prop::collection::vec(op, 1..60)
}

/// Up to three ranges with ragged edges, apart or adjacent.
fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::btree_set(1..=FRAMES, 2..=4).prop_flat_map(|cuts| {
        let cuts: Vec<u32> = cuts.into_iter().collect();
        let ranges: Vec<(u32, u32)> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        let count = ranges.len();
        prop::sample::subsequence(ranges, 1..=count).prop_shuffle()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// E5, E7, E9: whatever is taken and given back, no frame is lost, given twice or in two places, and blocks merge.
    #[test]
    fn does_what_a_bit_per_frame_does(ranges in ranges(), ops in ops()) {
        let mut model = Model::new(ranges);
        model.check();
        for op in ops {
            match op {
                Op::Alloc(order) => _ = model.alloc(order),
                Op::AllocMany(count) => _ = (0..count).all(|_| model.alloc(0)),
                Op::Free(which) => model.free(which),
                Op::FreeMany(count) => for i in 0..count { model.free(i * 7919) },
                Op::FreeSplit(which) => model.free_split(which),
                Op::Drain => model.zone.drain_all_pages(&model.memmap),
            }
            model.check();
        }
        while !model.blocks.is_empty() {
            model.free(0);
        }
        model.zone.drain_all_pages(&model.memmap);
        model.check();
        let mut expected = BTreeMap::new();
        for range in &model.zone.ranges {
            let (start, next) = (range.start.get(), range.deferred().0);
            expected.extend(largest_blocks(start, next));
        }
        prop_assert_eq!(listed_blocks(&model.zone, &model.memmap), expected);
    }

    /// E7: the per-CPU list first, the last freed first.
    #[test]
    fn single_frames_come_in_the_foretold_order(ranges in ranges(), ops in ops()) {
        let mut model = Model::new(ranges);
        for op in ops {
            match op {
                Op::Alloc(order) => _ = model.alloc(order),
                Op::Free(which) => model.free(which),
                Op::Drain => model.zone.drain_all_pages(&model.memmap),
                Op::AllocMany(_) | Op::FreeMany(_) | Op::FreeSplit(_) => {}
            }
        }
        let foretold = free_frames(&model.zone, &model.memmap);
        let taken: Vec<u32> = std::iter::from_fn(|| model.zone.rmqueue(&model.memmap, 0)).map(|pfn| pfn.0).collect();
        prop_assert_eq!(foretold, taken);
        prop_assert_eq!(model.zone.free_pages_count(), 0);
    }
}

#[test]
fn giving_frames_touches_no_entry() {
    let (zone, entries) = zone_of(&[(3, FRAMES)]);
    for (page, before) in entries.iter().zip(memmap(FRAMES, 3)) {
        assert_eq!(format!("{page:?}"), format!("{before:?}"));
    }
    assert_eq!(zone.rmqueue(&entries, 0), Some(Pfn(3)), "low frames go first");
    assert_eq!(
        format!("{:?}", entries[4]),
        format!("{:?}", memmap(FRAMES, 3)[4]),
        "and one frame costs one entry"
    );
}

/// E5, E6: blocks up to order 10, none above.
#[test]
fn the_largest_block_comes_from_deferred_frames() {
    let (zone, memmap) = zone_of(&[(5, FRAMES)]);
    assert_eq!(zone.rmqueue(&memmap, MAX_ORDER), Some(Pfn(1024)));
    assert_eq!(zone.rmqueue(&memmap, MAX_ORDER), Some(Pfn(2048)));
    assert_eq!(zone.rmqueue(&memmap, MAX_ORDER), None);
    assert_eq!(zone.rmqueue(&memmap, MAX_ORDER + 1), None, "rule E6");
    zone.check(&memmap);
}

/// E7: above its high mark the per-CPU list drains in batches.
#[test]
fn a_full_per_cpu_list_gives_its_oldest_frames_to_the_buddy_lists() {
    let (zone, memmap) = zone_of(&[(1024, 3072)]);
    let frames: Vec<Pfn> = (0..PCP_HIGH + 1)
        .map(|_| zone.rmqueue(&memmap, 0).expect("a frame"))
        .collect();
    for &pfn in &frames {
        free(&zone, &memmap, pfn, 0);
    }
    zone.check(&memmap);
    let oldest: u32 = listed_blocks(&zone, &memmap).values().map(|order| 1 << order).sum();
    assert_eq!(oldest, super::PCP_BATCH);
    assert_eq!(listed_blocks(&zone, &memmap).keys().next(), Some(&1024));
    assert_eq!(zone.rmqueue(&memmap, 0), frames.last().copied());
}

/// E2: the values that Linux shows for these sizes.
#[test]
fn watermarks_are_those_of_rule_e2() {
    // Steps: the two zones observed on Linux.
    assert_eq!(watermarks_above(428, 51_000), [428, 535, 642]);
    assert_eq!(watermarks_above(33, 4_000), [33, 41, 49]);
    // The scale factor takes over in large zones.
    assert_eq!(watermarks_above(1000, 4_000_000), [1000, 5000, 9000]);
    // min_free_kbytes 1848: the square root of 16 x 213,504 KiB, rounded down; 462 pages.
    assert_eq!(watermarks_of(213_504 / 4), [462, 577, 692]);
    // Bounds: 128 KiB and 256 MiB.
    assert_eq!(watermarks_of(1)[0], 32);
    assert_eq!(watermarks_of(1 << 40)[0], 65_536);
}

/// E3: marks, and who may go below them how far.
#[test]
fn an_allocation_must_leave_the_watermark() {
    let (zone, memmap) = zone_of(&[(1, 1025)]);
    // sqrt(16 x 4096 KiB) = 256 KiB = 64 pages.
    assert_eq!(
        [Watermark::Min, Watermark::Low, Watermark::High].map(|mark| zone.watermark(mark)),
        [64, 80, 96]
    );
    while zone.free_pages_count() > 96 {
        assert!(zone.watermark_ok(0, Watermark::High));
        zone.rmqueue(&memmap, 0).expect("a frame");
    }
    assert!(!zone.watermark_ok(0, Watermark::High));
    assert!(zone.watermark_ok(0, Watermark::Low) && zone.watermark_ok(4, Watermark::Low));
    assert!(!zone.watermark_ok(5, Watermark::Low), "96 - 31 is below 80");
    assert!(zone.watermark_ok(5, Watermark::Min), "96 - 31 is above 64");
    assert!(!zone.watermark_ok(6, Watermark::Min) && zone.watermark_ok_flags(6, Watermark::Min, alloc::HIGH));
    assert!(!zone.watermark_ok(11, Watermark::Min), "there is no such block");
    while zone.free_pages_count() > 49 {
        zone.rmqueue(&memmap, 0).expect("a frame");
    }
    let ok = |flags| zone.watermark_ok_flags(0, Watermark::Min, flags);
    assert!(
        !ok(0) && ok(alloc::HARDER) && ok(alloc::HIGH) && ok(alloc::OOM),
        "64, 48, 32, 32 are to be left of 49"
    );
    zone.rmqueue(&memmap, 0).expect("a frame");
    assert!(!ok(alloc::HARDER) && ok(alloc::HIGH));
    while zone.free_pages_count() > 24 {
        zone.rmqueue(&memmap, 0).expect("a frame");
    }
    assert!(!ok(alloc::HIGH | alloc::HARDER) && !ok(alloc::OOM | alloc::HARDER) && ok(alloc::HIGH | alloc::OOM));
    assert!(ok(alloc::NO_WATERMARKS));
}

/// E3: for a block, free frames are not enough.
#[test]
fn enough_free_frames_are_no_block() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    let frames: Vec<Pfn> = std::iter::from_fn(|| zone.rmqueue(&memmap, 0)).collect();
    for &pfn in frames.iter().step_by(2) {
        free(&zone, &memmap, pfn, 0);
    }
    zone.drain_all_pages(&memmap);
    assert_eq!(zone.free_pages_count(), 512);
    assert!(zone.watermark_ok(0, Watermark::High) && !zone.watermark_ok(1, Watermark::High));
    free(&zone, &memmap, frames[1], 0);
    zone.drain_all_pages(&memmap);
    assert!(zone.watermark_ok(1, Watermark::High) && !zone.watermark_ok(2, Watermark::High));
}

#[test]
#[should_panic(expected = "one range too many")]
fn ranges_are_counted() {
    let ranges: Vec<(u32, u32)> = (1..=RANGES_MAX as u32 + 1).map(|i| (i, i + 1)).collect();
    zone_of(&ranges);
}

/// Frames that are given in use are not handed out; freed one by one, they join into blocks like others.
#[test]
fn used_frames_come_free() {
    let (zone, memmap) = zone_of(&[(16, 1024)]);
    let before = zone.free_pages_count();
    zone.add_used_range(&memmap, Pfn(1024), Pfn(2048));
    assert_eq!(zone.managed(), 2032);
    assert_eq!(zone.free_pages_count(), before);
    assert!(free_frames(&zone, &memmap).iter().all(|&frame| frame < 1024));
    zone.check(&memmap);
    (1024..2048).rev().for_each(|frame| free(&zone, &memmap, Pfn(frame), 0));
    assert_eq!(zone.free_pages_count(), before + 1024);
    zone.check(&memmap);
    assert_eq!(zone.rmqueue(&memmap, MAX_ORDER), Some(Pfn(1024)), "one block again");
}
