//! D4: where a cursor can be. Linux keeps it in one word; here it is a node or none, and an error is a result.

use super::super::Cursor;
use super::*;
use crate::error::Error;

/// Nodes that are looked up while `work` runs.
fn lookups_of(owned: &Owned, work: impl FnOnce()) -> u64 {
    let before = owned.nodes.lookups.get();
    work();
    owned.nodes.lookups.get() - before
}

#[test]
fn d4_on_the_head_no_node_is_looked_at() {
    let owned = Owned::new();
    owned.store(0, page(7));
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 0);
    let lookups = lookups_of(&owned, || {
        assert_eq!(cursor.load(), page(7));
        assert_eq!(cursor.range(), (0, 0));
        assert_eq!(cursor.store(page(8)), Ok(page(7)));
        assert_eq!(cursor.erase(), page(8));
    });
    assert_eq!(lookups, 0);
    assert!(owned.array().is_empty());
}

/// Linux's BOUNDS: a cursor beyond what the root covers finds nothing, and stays usable.
#[test]
fn d4_beyond_the_root_there_is_nothing_until_it_is_stored() {
    for index in boundaries().into_iter().filter(|&index| index > 63) {
        let owned = Owned::new();
        owned.store(1, page(1));
        let mut cursor = Cursor::new(owned.array(), &owned.nodes, index);
        assert_eq!(
            lookups_of(&owned, || assert!(cursor.load().is_null())),
            1,
            "the root, at {index:#x}"
        );
        assert_eq!(cursor.erase(), Entry::NULL);
        cursor.set_mark(Mark::Dirty);
        assert!(!cursor.get_mark(Mark::Dirty));
        assert_eq!(cursor.find(u64::MAX, Filter::Any), None);
        cursor.seek(index);
        assert_eq!(cursor.store(page(2)), Ok(Entry::NULL));
        assert_eq!((cursor.load(), cursor.index()), (page(2), index));
        owned.check();
    }
}

/// Linux's RESTART: a paused cursor starts at the root, one that is not paused does not.
#[test]
fn d4_a_paused_cursor_starts_at_the_root() {
    let owned = Owned::new();
    for index in [5, 6, 7, 1 << 20] {
        owned.store(index, page(9));
    }
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 5);
    assert_eq!(lookups_of(&owned, || assert_eq!(cursor.load(), page(9))), 4);
    assert_eq!(lookups_of(&owned, || assert_eq!(cursor.next_load(), Some(page(9)))), 0);
    cursor.pause();
    assert_eq!(lookups_of(&owned, || assert_eq!(cursor.next_load(), Some(page(9)))), 4);
}

/// An error changes neither array nor cursor, and the next call is not a no-op: that much differs from Linux.
#[test]
fn d4_an_error_leaves_the_cursor_where_it_is() {
    let owned = Owned::new();
    owned.store(1, page(1));
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, 4096);
    owned.nodes.fuel.set(Some(1));
    let before = owned.snapshot();
    assert_eq!(cursor.store(page(2)), Err(Error::Enomem));
    assert_eq!(cursor.store(page(2)), Err(Error::Enomem), "still no memory");
    assert_eq!(cursor.store(Entry::ZERO), Err(Error::Einval));
    assert_eq!((owned.snapshot(), cursor.index()), (before, 4096));
    assert!(cursor.load().is_null());
    owned.nodes.fuel.set(None);
    assert_eq!(cursor.store(page(2)), Ok(Entry::NULL));
    assert_eq!(owned.load(4096), page(2));
}
