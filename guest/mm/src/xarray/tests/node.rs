//! D5: what a node knows. And how few of them a look-up asks.

use super::*;

#[test]
fn d5_a_node_knows_its_place_its_counts_and_its_marks() {
    let owned = Owned::new();
    // Below slot 3 of the middle node of three levels: a page, a value, and a value of eight indices.
    let base = (1 << 12) + (3 << 6);
    owned.store(base, page(1));
    owned.store(base + 5, Entry::value(2));
    owned.store_order(base + 8, 3, Entry::value(3));
    owned.mark(base + 5, Mark::Dirty);
    owned.mark(base + 11, Mark::Towrite);
    let (root, middle, leaf) = (owned.node_at(&[]), owned.node_at(&[1]), owned.node_at(&[1, 3]));
    assert_eq!([root, middle, leaf].map(Node::shift), [12, 6, 0]);
    assert_eq!([root, middle, leaf].map(Node::offset), [0, 1, 3]);
    assert_eq!(root.parent(), None);
    assert_eq!(middle.parent(), owned.array().head().as_node());
    assert_eq!(leaf.parent(), root.slot(1).as_node());
    // Siblings count; links to nodes are no values.
    assert_eq!([root, middle, leaf].map(Node::count), [1, 1, 10]);
    assert_eq!([root, middle, leaf].map(Node::nr_values), [0, 0, 9]);
    assert_eq!(
        [root, middle, leaf].map(|node| node.marks(Mark::Dirty)),
        [1 << 1, 1 << 3, 1 << 5]
    );
    assert_eq!(
        [root, middle, leaf].map(|node| node.marks(Mark::Towrite)),
        [1 << 1, 1 << 3, 1 << 8]
    );
    assert_eq!([root, middle, leaf].map(|node| node.marks(Mark::Writeback)), [0; 3]);
}

/// A load asks one node for each 6 bits of the highest index, and no more.
#[test]
fn a_load_takes_log64_steps() {
    for highest in boundaries() {
        let owned = Owned::new();
        owned.store(highest, page(1));
        let levels = u64::from(64 - highest.leading_zeros()).div_ceil(6);
        for index in boundaries() {
            let before = owned.nodes.lookups.get();
            assert_eq!(owned.load(index).is_null(), index != highest);
            let steps = owned.nodes.lookups.get() - before;
            assert!(steps <= levels, "{steps} steps to {index:#x} below {highest:#x}");
        }
        let before = owned.nodes.lookups.get();
        owned.load(highest);
        assert_eq!(owned.nodes.lookups.get() - before, levels);
    }
}
