//! Rules D5 to D11: the shape of the tree, node by node.

use super::*;

#[test]
fn d6_index_0_alone_needs_no_node() {
    let owned = Owned::new();
    assert!(owned.array().is_empty());
    owned.store(0, page(1));
    assert_eq!(
        (owned.nodes.live(), owned.array().head(), owned.load(0)),
        (0, page(1), page(1))
    );
    assert_eq!((owned.load(1), owned.load(u64::MAX)), (Entry::NULL, Entry::NULL));
    assert_eq!(owned.store(0, page(2)), page(1));
    assert_eq!(owned.erase(0), page(2));
    assert!(owned.array().is_empty());
}

#[test]
fn d7_index_1_needs_one_leaf() {
    let owned = Owned::new();
    owned.store(1, page(1));
    assert_eq!((owned.nodes.live(), owned.node_at(&[]).shift()), (1, 0));
}

#[test]
fn d7_index_64_over_a_head_entry_makes_three_nodes() {
    let owned = Owned::new();
    owned.store(0, page(1));
    owned.store(64, page(2));
    assert_eq!(owned.nodes.live(), 3);
    let (root, first, second) = (owned.node_at(&[]), owned.node_at(&[0]), owned.node_at(&[1]));
    assert_eq!((root.shift(), root.count()), (6, 2));
    assert_eq!(
        (first.shift(), first.count(), first.offset(), first.slot(0)),
        (0, 1, 0, page(1))
    );
    assert_eq!(
        (second.shift(), second.count(), second.offset(), second.slot(0)),
        (0, 1, 1, page(2))
    );
}

#[test]
fn d8_index_77_shares_the_leaf_of_64() {
    let owned = Owned::new();
    owned.store(64, page(1));
    assert_eq!(owned.nodes.live(), 2);
    owned.store(77, page(2));
    assert_eq!((owned.nodes.live(), owned.node_at(&[1]).slot(13)), (2, page(2)));
}

#[test]
fn d8_index_4096_and_4095_take_the_slots_of_their_digits() {
    let owned = Owned::new();
    owned.store(4096, page(1));
    assert_eq!((owned.nodes.live(), owned.node_at(&[]).shift()), (3, 12));
    assert_eq!(owned.node_at(&[1, 0]).slot(0), page(1));
    owned.store(4095, page(2));
    assert_eq!((owned.nodes.live(), owned.node_at(&[0, 63]).slot(63)), (5, page(2)));
}

#[test]
fn d9_growing_counts_the_old_head_and_keeps_its_marks() {
    let owned = Owned::new();
    owned.store(0, Entry::value(1));
    owned.mark(0, Mark::Towrite);
    owned.store(64, page(1));
    let (root, leaf) = (owned.node_at(&[]), owned.node_at(&[0]));
    assert_eq!((leaf.count(), leaf.nr_values(), leaf.marks(Mark::Towrite)), (1, 1, 1));
    assert_eq!((root.count(), root.nr_values(), root.marks(Mark::Towrite)), (2, 0, 1));
    assert_eq!((root.marks(Mark::Dirty), leaf.marks(Mark::Dirty)), (0, 0));
    owned.store(u64::MAX, page(2));
    assert_eq!((owned.node_at(&[]).shift(), owned.nodes.live()), (60, 11 + 10 + 1));
    assert!(owned.is_marked(0, Mark::Towrite) && !owned.is_marked(64, Mark::Towrite));
}

#[test]
fn d10_erasing_the_last_entry_frees_the_nodes_above() {
    let owned = Owned::new();
    owned.store(4096, page(1));
    owned.store(u64::MAX, page(2));
    assert_eq!(owned.nodes.live(), 1 + 10 + 10);
    assert_eq!(owned.erase(4096), page(1));
    assert_eq!(owned.nodes.live(), 11);
    assert_eq!(owned.erase(u64::MAX), page(2));
    assert!(owned.array().is_empty());
    assert_eq!(owned.nodes.live(), 0);
}

#[test]
fn d11_the_tree_shrinks_to_what_its_highest_entry_needs() {
    let owned = Owned::new();
    for (index, nodes) in [(0, 0), (1, 1), (64, 3), (4096, 6), (1 << 18, 10)] {
        owned.store(index, page(index as u32 + 1));
        assert_eq!(owned.nodes.live(), nodes);
    }
    for (index, nodes) in [(1 << 18, 6), (4096, 3), (64, 1), (1, 0)] {
        owned.erase(index);
        assert_eq!(owned.nodes.live(), nodes);
    }
    assert_eq!(owned.array().head(), page(1));
}

#[test]
fn d11_marks_of_the_last_entry_move_to_the_flags() {
    let owned = Owned::new();
    owned.store(0, page(1));
    owned.store(100, page(2));
    owned.mark(0, Mark::Dirty);
    owned.mark(100, Mark::Writeback);
    owned.erase(100);
    assert_eq!(owned.nodes.live(), 0);
    assert!(owned.is_marked(0, Mark::Dirty) && !owned.is_marked(0, Mark::Writeback));
}

#[test]
fn d11_a_multi_index_entry_stops_the_shrinking() {
    let owned = Owned::new();
    owned.store_order(0, 6, page(1));
    owned.store(4096, page(2));
    owned.erase(4096);
    assert_eq!((owned.nodes.live(), owned.node_at(&[]).shift()), (1, 6));
    assert_eq!(owned.load(63), page(1));
}

#[test]
fn every_level_boundary_alone_and_in_every_pair() {
    let owned = Owned::new();
    let (array, nodes) = (owned.array(), &owned.nodes);
    for first in level_boundaries() {
        assert_eq!(owned.store(first, page(1)), Entry::NULL);
        for second in level_boundaries().into_iter().filter(|&second| second != first) {
            assert_eq!(array.store(nodes, second, page(2)), Ok(Entry::NULL));
            owned.check();
            assert_eq!((owned.load(first), owned.load(second)), (page(1), page(2)));
            for bit in [0, 6, 12, 63] {
                let near = second ^ 1 << bit;
                assert_eq!(owned.load(near), if near == first { page(1) } else { Entry::NULL });
            }
            let mut expected = [(first, page(1)), (second, page(2))];
            expected.sort_unstable();
            assert_eq!(owned.entries(Filter::Any), expected);
            assert_eq!(array.erase(nodes, second), page(2));
        }
        assert_eq!(owned.erase(first), page(1));
        assert_eq!(owned.nodes.live(), 0);
    }
}

#[test]
fn all_boundary_indices_at_once() {
    let owned = Owned::with_capacity(1024);
    let indices = boundaries();
    for &index in &indices {
        owned.store(index, Entry::value(index >> 1));
    }
    for &index in &indices {
        assert_eq!(owned.load(index), Entry::value(index >> 1));
        let other = index ^ 4;
        assert_eq!(owned.load(other).is_null(), indices.binary_search(&other).is_err());
    }
    for &index in &indices {
        assert_eq!(owned.erase(index), Entry::value(index >> 1));
    }
    assert_eq!(owned.nodes.live(), 0);
}
