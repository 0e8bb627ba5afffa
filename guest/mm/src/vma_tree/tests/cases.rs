//! Single situations, by name.

use super::*;

#[test]
fn an_empty_space_has_no_vma_and_one_gap() {
    let space = Space::new();
    assert_eq!(space.check(), Ok(()));
    assert_eq!((space.find(0), last_vma(&space, space.mm())), (None, None));
    assert_eq!(find_vma_prev(&space, space.mm(), page(5)), (None, None));
    assert_eq!(
        unmapped_area_topdown(&space, space.mm(), &wanted(2, 1, 10)),
        Some(page(8))
    );
    assert_eq!(unmapped_area(&space, space.mm(), &wanted(2, 1, 10)), Some(page(1)));
}

#[test]
fn a_look_up_below_the_vma_finds_it_but_does_not_cache_it() {
    let (space, ids) = Space::with(&[(4, 6)]);
    assert_eq!((space.find(page(3).0), space.mm().vmacache()), (Some(ids[0]), None));
    assert_eq!(
        (space.find(page(4).0), space.mm().vmacache()),
        (Some(ids[0]), Some(ids[0]))
    );
    assert_eq!(space.find(page(6).0 - 1), Some(ids[0]));
    assert_eq!(space.find(page(6).0), None, "the end is outside");
}

#[test]
fn the_cache_follows_bounds_and_forgets_what_is_unlinked() {
    let (space, ids) = Space::with(&[(4, 6), (8, 9)]);
    assert_eq!(space.find(page(5).0), Some(ids[0]));
    space.adjust(ids[0], 4, 5);
    assert_eq!(space.find(page(5).0), Some(ids[1]), "no longer in the cached VMA");
    assert_eq!(space.find(page(4).0), Some(ids[0]));
    space.unlink(ids[0]);
    assert_eq!((space.mm().vmacache(), space.find(page(4).0)), (None, Some(ids[1])));
}

#[test]
fn splitting_and_merging_keep_everything_right() {
    let (mut space, ids) = Space::with(&[(10, 20), (30, 40)]);
    space.adjust(ids[0], 10, 12);
    assert_eq!(space.check(), Ok(()));
    let rest = space.link(12, 20);
    assert_eq!(space.check(), Ok(()));
    assert_eq!(find_vma_prev(&space, space.mm(), page(12)), (Some(rest), Some(ids[0])));
    space.unlink(rest);
    space.adjust(ids[0], 10, 20);
    assert_eq!((space.check(), space.mm().map_count()), (Ok(()), 2));
    assert_eq!(space.vma(ids[0]).vm_pgoff(), 10, "adjust sets the page index");
}

#[test]
fn a_range_that_ends_where_a_vma_starts_does_not_intersect_it() {
    let (space, ids) = Space::with(&[(4, 6), (8, 9)]);
    let intersection = |start, end| find_vma_intersection(&space, space.mm(), page(start), page(end));
    assert_eq!(intersection(2, 4), None);
    assert_eq!(intersection(2, 5), Some(ids[0]));
    assert_eq!(intersection(6, 8), None);
    assert_eq!(intersection(5, 20), Some(ids[0]), "the first of several");
    assert_eq!(intersection(9, 20), None);
    assert_eq!(vmas_in(&space, space.mm(), page(6), page(8)).count(), 0);
}

#[test]
fn touching_vmas_leave_no_gap() {
    let (space, _) = Space::with(&[(1, 2), (2, 3), (3, 4)]);
    assert_eq!(unmapped_area(&space, space.mm(), &wanted(1, 1, 4)), None);
    assert_eq!(unmapped_area_topdown(&space, space.mm(), &wanted(1, 1, 4)), None);
    assert_eq!(
        unmapped_area(&space, space.mm(), &wanted(1, 0, 4)),
        Some(page(0)),
        "below the first VMA"
    );
}

#[test]
fn top_down_takes_the_highest_gap_below_the_limit() {
    let (space, _) = Space::with(&[(10, 20), (25, 30), (33, 40)]);
    let search = |pages, low, high| unmapped_area_topdown(&space, space.mm(), &wanted(pages, low, high));
    assert_eq!(search(3, 0, 50), Some(page(47)), "above all VMAs");
    assert_eq!(search(3, 0, 40), Some(page(30)));
    assert_eq!(search(4, 0, 40), Some(page(21)), "the next gap is too small");
    assert_eq!(search(3, 0, 32), Some(page(22)), "the limit cuts the gap in two");
    assert_eq!(search(2, 0, 32), Some(page(30)), "the limit leaves enough of the gap");
    assert_eq!(search(4, 22, 40), None, "the lower limit cuts the last candidate");
    assert_eq!(search(10, 0, 40), Some(page(0)));
    assert_eq!(search(11, 0, 40), None);
}

#[test]
fn bottom_up_takes_the_lowest_gap_above_the_limit() {
    let (space, _) = Space::with(&[(10, 20), (25, 30), (33, 40)]);
    let search = |pages, low, high| unmapped_area(&space, space.mm(), &wanted(pages, low, high));
    assert_eq!(search(10, 0, 50), Some(page(0)));
    assert_eq!(
        search(4, 8, 50),
        Some(page(20)),
        "the limit leaves too little of the first gap"
    );
    assert_eq!(search(4, 22, 50), Some(page(40)), "above all VMAs");
    assert_eq!(search(3, 22, 50), Some(page(22)));
    assert_eq!(search(4, 22, 43), None, "the upper limit cuts the last candidate");
}

#[test]
fn alignment_asks_for_the_worst_case_like_linux() {
    let (space, _) = Space::with(&[(0, 8), (12, 16)]);
    let aligned = UnmappedAreaInfo {
        align_mask: 0x3000,
        ..wanted(4, 0, 16)
    };
    assert_eq!(
        unmapped_area_topdown(&space, space.mm(), &aligned),
        None,
        "4 free pages, aligned, but 7 are asked for"
    );
    let aligned = UnmappedAreaInfo {
        align_mask: 0x1000,
        align_offset: 0x1000,
        ..wanted(2, 0, 16)
    };
    assert_eq!(unmapped_area_topdown(&space, space.mm(), &aligned), Some(page(9)));
    assert_eq!(unmapped_area(&space, space.mm(), &aligned), Some(page(9)));
}

#[test]
fn absurd_searches_find_nothing_and_do_not_overflow() {
    let (space, _) = Space::with(&[(10, 20)]);
    let all = UnmappedAreaInfo {
        length: u64::MAX,
        low_limit: 0,
        high_limit: u64::MAX,
        align_mask: 0x1fff,
        align_offset: 0,
    };
    for info in [
        all,
        UnmappedAreaInfo { align_mask: 0, ..all },
        UnmappedAreaInfo {
            length: 0x1000,
            low_limit: u64::MAX,
            ..all
        },
        wanted(1, 9, 9),
        wanted(1, 30, 5),
    ] {
        assert_eq!(unmapped_area(&space, space.mm(), &info), None, "{info:?}");
        assert_eq!(unmapped_area_topdown(&space, space.mm(), &info), None, "{info:?}");
    }
}

#[test]
fn a_walk_allows_unlinking_what_it_yields() {
    let (space, ids) = Space::with(&[(1, 2), (3, 5), (6, 7), (9, 10)]);
    let walked: Vec<_> = vmas_in(&space, space.mm(), page(4), page(9))
        .map(|(id, _)| {
            space.unlink(id);
            id
        })
        .collect();
    assert_eq!(walked, ids[1..3]);
    assert_eq!((space.check(), space.mm().map_count()), (Ok(()), 2));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "overlaps the one below")]
fn linking_over_the_vma_below_is_caught() {
    Space::with(&[(4, 6), (5, 7)]);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "overlaps the one above")]
fn linking_over_the_vma_above_is_caught() {
    Space::with(&[(4, 6), (3, 5)]);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "overlaps the one above")]
fn growing_into_a_neighbour_is_caught() {
    let (space, ids) = Space::with(&[(4, 6), (8, 9)]);
    space.adjust(ids[0], 4, 9);
}
