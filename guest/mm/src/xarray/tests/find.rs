//! Rules D17, D18: finding, cursors, ranged erase.

use super::super::Cursor;
use super::*;

fn find(owned: &Owned, start: u64, max: u64, filter: Filter) -> Option<(u64, Entry)> {
    owned.array().find(&owned.nodes, start, max, filter)
}

#[test]
fn d17_find_is_bounded_by_start_and_max_inclusively() {
    for index in boundaries() {
        let owned = Owned::new();
        owned.store(index, page(1));
        owned.mark(index, Mark::Dirty);
        for filter in [Filter::Any, Filter::Marked(Mark::Dirty)] {
            let hit = Some((index, page(1)));
            for start in [0, index / 2, index] {
                assert_eq!(find(&owned, start, u64::MAX, filter), hit);
                assert_eq!(find(&owned, start, index, filter), hit);
                assert_eq!(
                    index.checked_sub(1).and_then(|max| find(&owned, start, max, filter)),
                    None
                );
            }
            assert_eq!(
                index
                    .checked_add(1)
                    .and_then(|start| find(&owned, start, u64::MAX, filter)),
                None
            );
        }
        assert_eq!(find(&owned, 0, u64::MAX, Filter::Marked(Mark::Writeback)), None);
    }
}

#[test]
fn d17_the_highest_index_ends_without_wrapping() {
    let owned = Owned::new();
    owned.store(0, page(1));
    owned.store(u64::MAX, page(2));
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 1);
    assert_eq!(cursor.find(u64::MAX, Filter::Any), Some((u64::MAX, page(2))));
    assert_eq!(cursor.find(u64::MAX, Filter::Any), None);
    cursor.pause();
    assert_eq!(cursor.find(u64::MAX, Filter::Any), None);
    assert_eq!(cursor.next_load(), None);
    assert_eq!(cursor.load(), page(2));
}

#[test]
fn d17_find_skips_what_is_not_marked() {
    let owned = Owned::new();
    for index in 0..6000 {
        owned.array().store(&owned.nodes, index, Entry::value(index)).unwrap();
    }
    let marked = [0, 1, 63, 64, 4095, 4096, 5999];
    for index in marked {
        owned.mark(index, Mark::Towrite);
    }
    let found: Vec<u64> = owned
        .entries(Filter::Marked(Mark::Towrite))
        .iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(found, marked);
}

#[test]
fn d17_from_inside_a_multi_index_entry_it_is_found_once() {
    let owned = Owned::new();
    owned.store_order(8, 3, page(1));
    owned.store(16, page(2));
    owned.mark(16, Mark::Dirty);
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 11);
    assert_eq!(cursor.find(100, Filter::Any), Some((11, page(1))));
    assert_eq!(cursor.range(), (8, 15));
    assert_eq!(cursor.find(100, Filter::Any), Some((16, page(2))));
    assert_eq!(cursor.find(100, Filter::Any), None);
    assert_eq!(find(&owned, 11, 100, Filter::Marked(Mark::Dirty)), Some((16, page(2))));
    owned.mark(8, Mark::Dirty);
    assert_eq!(find(&owned, 11, 100, Filter::Marked(Mark::Dirty)), Some((11, page(1))));
}

#[test]
fn d17_after_nothing_was_found_a_find_goes_on_behind_max() {
    let owned = Owned::new();
    owned.store(5, page(1));
    owned.store(20, page(2));
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 6);
    owned.store(10, page(3));
    assert_eq!(cursor.find(10, Filter::Marked(Mark::Dirty)), None);
    assert_eq!(cursor.find(10, Filter::Any), None);
    assert_eq!(cursor.find(30, Filter::Any), Some((20, page(2))));
    cursor.seek(5);
    assert_eq!(cursor.find(30, Filter::Any), Some((5, page(1))));
}

#[test]
fn d18_a_paused_cursor_neither_skips_nor_repeats() {
    let owned = Owned::new();
    let indices = [0, 1, 62, 63, 64, 100, 4095, 4096, 1 << 18, u64::MAX];
    for index in indices {
        owned.store(index, page(1));
    }
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 0);
    let mut found = Vec::new();
    while let Some((index, _)) = cursor.find(u64::MAX, Filter::Any) {
        found.push(index);
        cursor.pause();
        // Others erase everything up to the entry, which frees its node, and insert in front of it, which uses it.
        owned.array().erase_range(&owned.nodes, 0, index, |_, _| ());
        if index > 0 {
            owned.store(index / 2, page(2));
        }
    }
    assert_eq!(found, indices);
}

#[test]
fn d18_entries_erased_through_the_cursor_do_not_disturb_it() {
    let owned = Owned::new();
    let indices = [0, 1, 63, 64, 4095, 4096, u64::MAX];
    for index in indices {
        owned.store(index, page(1));
    }
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 0);
    for index in indices {
        assert_eq!(cursor.find(u64::MAX, Filter::Any), Some((index, page(1))));
        assert_eq!(cursor.erase(), page(1));
        owned.check();
    }
    assert_eq!(cursor.find(u64::MAX, Filter::Any), None);
    assert!(owned.array().is_empty());
}

#[test]
fn a_cursor_descends_once_for_a_leaf() {
    let owned = Owned::new();
    let first = 1 << 20;
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, first);
    for index in first..first + 640 {
        cursor.seek(index);
        assert_eq!(cursor.store(page(index as u32)), Ok(Entry::NULL));
    }
    owned.check();
    let lookups = owned.nodes.lookups.get();
    cursor.seek(first);
    assert_eq!(cursor.load(), page(first as u32));
    for index in first + 1..first + 640 {
        assert_eq!(cursor.next_load(), Some(page(index as u32)));
    }
    // Ten leaves below a root of shift 18, at four nodes each.
    assert_eq!(owned.nodes.lookups.get() - lookups, 40);
}

#[test]
fn d3_erase_range_takes_whole_entries_and_nothing_else() {
    let owned = Owned::new();
    for index in 0..300 {
        owned.store(index, Entry::value(index));
    }
    owned.store_order(96, 4, page(1));
    owned.store_order(160, 5, page(2));
    let mut erased = Vec::new();
    owned
        .array()
        .erase_range(&owned.nodes, 100, 165, |index, entry| erased.push((index, entry)));
    owned.check();
    let small = (112..160).map(|index| (index, Entry::value(index)));
    let expected: Vec<_> = [(96, page(1))]
        .into_iter()
        .chain(small)
        .chain([(160, page(2))])
        .collect();
    assert_eq!(erased, expected);
    let rest: Vec<u64> = owned.entries(Filter::Any).iter().map(|found| found.0).collect();
    assert_eq!(rest, (0..96).chain(192..300).collect::<Vec<_>>());
    owned
        .array()
        .erase_range(&owned.nodes, 10, 9, |_, _| panic!("an empty range"));
}
