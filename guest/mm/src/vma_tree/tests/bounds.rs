//! Depth of the tree and steps of each operation, with many VMAs in the orders that are worst for a plain tree.

use super::*;

const MANY: u64 = 10_000;

/// 2·log2(n + 1), rounded down.
fn depth_max(vmas: u64) -> u32 {
    (2.0 * ((vmas + 1) as f64).log2()) as u32
}

/// One-page VMAs with a one-page gap below each, linked in this order.
fn space_of(order: impl Iterator<Item = u64>) -> (Space, Vec<VmaId>) {
    let mut space = Space::new();
    let ids = order.map(|nth| space.link(2 * nth + 1, 2 * nth + 2)).collect();
    (space, ids)
}

#[track_caller]
fn assert_balanced(space: &Space, vmas: u64) {
    assert_eq!(space.check(), Ok(()));
    assert_eq!(space.mm().map_count(), vmas);
    assert!(
        space.depth() <= depth_max(vmas),
        "depth {} with {vmas} VMAs",
        space.depth()
    );
}

#[test]
fn ascending_vmas_stay_balanced() {
    assert_balanced(&space_of(0..MANY).0, MANY);
}

#[test]
fn descending_vmas_stay_balanced() {
    assert_balanced(&space_of((0..MANY).rev()).0, MANY);
}

#[test]
fn vmas_from_both_ends_inwards_stay_balanced() {
    assert_balanced(
        &space_of((0..MANY).map(|nth| if nth % 2 == 0 { nth / 2 } else { MANY - 1 - nth / 2 })).0,
        MANY,
    );
}

#[test]
fn unlinking_most_of_them_keeps_the_rest_balanced() {
    let (space, ids) = space_of(0..MANY);
    for (nth, &id) in ids.iter().enumerate() {
        if nth % 64 != 0 {
            space.unlink(id);
        }
    }
    assert_balanced(&space, MANY.div_ceil(64));
}

#[test]
fn unlinking_from_one_end_keeps_the_rest_balanced() {
    let (space, ids) = space_of(0..MANY);
    for &id in &ids[..MANY as usize - 100] {
        space.unlink(id);
    }
    assert_balanced(&space, 100);
}

#[test]
fn a_look_up_asks_for_one_record_a_level_and_for_one_when_cached() {
    let (space, _) = space_of(0..MANY);
    for nth in (0..MANY).step_by(7) {
        let addr = page(2 * nth + 1).0;
        let (found, reads) = space.count_reads(|space| space.find(addr));
        assert!(
            found.is_some() && reads <= u64::from(depth_max(MANY)) + 1,
            "{reads} reads"
        );
        let (again, reads) = space.count_reads(|space| space.find(addr + 1));
        assert_eq!((again, reads), (found, 1));
    }
}

/// Gaps of one page all over but for one larger gap in the middle, and limits that cut off what lies beside it: both
/// searches must find it, or miss it, on one way down.
#[test]
fn a_search_takes_logarithmic_steps() {
    let mut space = Space::new();
    let middle = MANY / 2;
    for nth in (0..MANY).filter(|&nth| nth != middle) {
        space.link(2 * nth + 1, 2 * nth + 2);
    }
    // Own gap and children's promises: at most 9 records a level, and as many again on the way inwards.
    let steps_max = 18 * u64::from(depth_max(MANY));
    let hole = 2 * middle;
    for (info, expected) in [
        (wanted(3, 0, 2 * MANY), Some(page(hole))),
        (wanted(3, 0, hole + 3), Some(page(hole))),
        (wanted(3, hole, 2 * MANY), Some(page(hole))),
        (wanted(3, 0, hole + 2), None),
        (wanted(3, hole + 1, 2 * MANY), None),
        (wanted(4, 0, 2 * MANY), None),
    ] {
        for search in [unmapped_area, unmapped_area_topdown] {
            let (found, steps) = space.count_reads(|space| search(space, space.mm(), &info));
            assert_eq!(found, expected, "{info:?}");
            assert!(steps <= steps_max, "{steps} steps for {info:?}");
        }
    }
}

#[test]
fn link_unlink_and_adjust_take_logarithmic_steps() {
    let (mut space, ids) = space_of(0..MANY);
    let steps_max = 40 * u64::from(depth_max(MANY));
    for &id in ids.iter().step_by(97) {
        let start = space.vma(id).vm_start().0 >> PAGE_SHIFT;
        let (_, steps) = space.count_reads(|space| space.adjust(id, start - 1, start + 1));
        assert!(steps <= steps_max, "adjust: {steps}");
        let (_, steps) = space.count_reads(|space| space.unlink(id));
        assert!(steps <= steps_max, "unlink: {steps}");
        let fresh = space.create(start, start + 1);
        let (_, steps) = space.count_reads(|space| vma_link(space, space.mm(), fresh));
        assert!(steps <= steps_max, "link: {steps}");
    }
    assert_balanced(&space, MANY);
}
