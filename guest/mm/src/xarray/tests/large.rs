//! Rules D12 to D14: multi-index entries.

use super::*;
use crate::error::Error;

#[test]
fn d12_order_6_at_64_sits_in_slot_1_of_the_root() {
    let owned = Owned::new();
    owned.store_order(64, 6, page(1));
    let root = owned.node_at(&[]);
    assert_eq!(
        (owned.nodes.live(), root.shift(), root.count(), root.slot(1)),
        (1, 6, 1, page(1))
    );
    assert_eq!(
        (owned.load(63), owned.load(64), owned.load(127), owned.load(128)),
        (Entry::NULL, page(1), page(1), Entry::NULL)
    );
}

#[test]
fn d12_order_9_at_512_takes_slots_8_to_15() {
    let owned = Owned::new();
    owned.store_order(700, 9, page(1));
    let root = owned.node_at(&[]);
    assert_eq!(
        (owned.nodes.live(), root.shift(), root.count(), root.slot(8)),
        (1, 6, 8, page(1))
    );
    assert!((9..16).all(|slot| root.slot(slot) == Entry::sibling(8)));
    assert!((512..1024).all(|index| owned.load(index) == page(1)));
    assert_eq!((owned.load(511), owned.load(1024)), (Entry::NULL, Entry::NULL));
    assert_eq!(owned.entries(Filter::Any), [(512, page(1))]);
    assert_eq!(
        (
            owned.array().order(&owned.nodes, 600),
            owned.array().order(&owned.nodes, 0)
        ),
        (Some(9), None)
    );
}

#[test]
fn d12_every_order_at_0_and_at_its_highest_place() {
    for order in 0..64 {
        for index in [0, u64::MAX, 1 << order] {
            let owned = Owned::new();
            let (first, last) = (index >> order << order, index | ((1 << order) - 1));
            owned.store_order(index, order, Entry::value(1));
            for inside in [first, last, first + (last - first) / 2] {
                assert_eq!(owned.load(inside), Entry::value(1));
                assert_eq!(owned.array().order(&owned.nodes, inside), Some(order));
            }
            for outside in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten() {
                assert_eq!(owned.load(outside), Entry::NULL);
            }
            // Through any covered index, the whole of it.
            assert_eq!(owned.store(last, page(2)), Entry::value(1));
            assert_eq!(
                (owned.load(first), owned.array().order(&owned.nodes, first)),
                (page(2), Some(order))
            );
            assert_eq!(owned.erase(last), page(2));
            assert!(owned.array().is_empty());
        }
    }
}

#[test]
fn d12_orders_that_no_index_space_has_are_refused() {
    let owned = Owned::new();
    assert_eq!(
        owned.array().store_order(&owned.nodes, 0, 64, page(1)),
        Err(Error::Einval)
    );
    assert!(owned.array().is_empty());
}

#[test]
fn d13_a_large_entry_frees_the_subtrees_beneath_and_gathers_their_marks() {
    let owned = Owned::with_capacity(1024);
    for index in (0..8192).step_by(64) {
        owned.store(index + 5, Entry::value(index));
    }
    owned.store_order(4096 + 128, 3, page(9));
    owned.mark(5, Mark::Dirty);
    owned.mark(4096 + 64 + 5, Mark::Writeback);
    owned.mark(4096 + 130, Mark::Dirty);
    let before = owned.nodes.live();
    assert_eq!(owned.store_order(4096 + 5, 9, page(1)), Entry::NULL);
    assert_eq!(owned.nodes.live(), before - 8);
    assert!((4096..4096 + 512).all(|index| owned.load(index) == page(1)));
    assert_eq!(owned.load(4096 + 512 + 5), Entry::value(4096 + 512));
    assert_eq!(
        Mark::ALL.map(|mark| owned.is_marked(4096 + 77, mark)),
        [true, true, false]
    );

    assert_eq!(owned.store_order(4096 + 5, 12, page(2)), page(1));
    assert_eq!(
        (owned.load(8191), owned.is_marked(8191, Mark::Writeback)),
        (page(2), true)
    );
    assert_eq!(owned.store_order(4096, 12, Entry::NULL), page(2));
    assert!(!owned.array().marked(Mark::Writeback) && owned.is_marked(5, Mark::Dirty));
}

#[test]
fn d13_values_among_siblings_are_counted() {
    let owned = Owned::new();
    owned.store_order(8, 3, Entry::value(1));
    assert_eq!(owned.node_at(&[]).nr_values(), 8);
    owned.store(11, page(1));
    assert_eq!(owned.node_at(&[]).nr_values(), 0);
    owned.store(11, Entry::value(2));
    owned.store_order(8, 4, page(2));
    assert_eq!((owned.node_at(&[]).nr_values(), owned.node_at(&[]).count()), (0, 16));
}

#[test]
fn d13_null_over_a_range_erases_what_reaches_into_it() {
    let owned = Owned::new();
    owned.store_order(64, 6, page(1));
    owned.store(0, page(2));
    owned.store(200, page(3));
    assert_eq!(owned.store_order(96, 5, Entry::NULL), page(1));
    assert_eq!(owned.entries(Filter::Any), [(0, page(2)), (200, page(3))]);
}

#[test]
fn d14_split_keeps_content_and_marks() {
    for (order, new_order, nodes) in [
        (9, 0, 9),
        (9, 3, 9),
        (9, 6, 1),
        (9, 9, 1),
        (4, 2, 1),
        (12, 0, 1 + 1 + 64),
        (6, 0, 2),
    ] {
        for index in [0u64, 1 << order] {
            let owned = Owned::new();
            owned.store_order(index, order, Entry::value(7));
            owned.mark(index, Mark::Dirty);
            owned
                .array()
                .split(&owned.nodes, index + (1 << order) - 1, new_order)
                .unwrap();
            owned.check();
            let parts: Vec<u64> = (index..index + (1 << order)).step_by(1 << new_order).collect();
            let found: Vec<u64> = owned
                .entries(Filter::Marked(Mark::Dirty))
                .iter()
                .map(|found| found.0)
                .collect();
            assert_eq!(found, parts);
            assert_eq!(owned.entries(Filter::Any).len(), parts.len());
            assert!(parts.iter().all(|&part| owned.load(part) == Entry::value(7)));
            assert!(
                parts
                    .iter()
                    .all(|&part| owned.array().order(&owned.nodes, part) == Some(new_order))
            );
            assert!(!owned.array().marked(Mark::Towrite));
            if index != 0 {
                assert_eq!(owned.nodes.live(), nodes, "{order} to {new_order}");
            }
        }
    }
}

#[test]
fn d14_what_is_not_larger_cannot_be_split() {
    let owned = Owned::new();
    owned.store(0, page(1));
    owned.store_order(64, 3, page(2));
    assert_eq!(owned.array().split(&owned.nodes, 0, 0), Ok(()));
    assert_eq!(owned.array().split(&owned.nodes, 0, 1), Err(Error::Einval));
    assert_eq!(owned.array().split(&owned.nodes, 64, 4), Err(Error::Einval));
    assert_eq!(owned.array().split(&owned.nodes, 1, 0), Err(Error::Einval));
}
