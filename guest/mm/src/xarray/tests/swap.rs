//! Rule D19: insert and compare-and-exchange.

use super::*;
use crate::error::Error;

#[test]
fn d19_insert_refuses_what_is_occupied() {
    let owned = Owned::new();
    for index in [0, 5, 64, u64::MAX] {
        assert_eq!(owned.array().insert(&owned.nodes, index, page(1)), Ok(()));
        let before = owned.snapshot();
        assert_eq!(owned.array().insert(&owned.nodes, index, page(2)), Err(Error::Ebusy));
        assert_eq!(
            owned.array().insert(&owned.nodes, index, Entry::NULL),
            Err(Error::Ebusy)
        );
        assert_eq!(owned.snapshot(), before);
    }
    owned.store_order(128, 3, Entry::value(1));
    assert_eq!(owned.array().insert(&owned.nodes, 135, page(2)), Err(Error::Ebusy));
    owned.check();
}

#[test]
fn d19_cmpxchg_stores_only_over_what_was_expected() {
    let owned = Owned::new();
    let cmpxchg = |index, expected, entry| {
        let current = owned.array().cmpxchg(&owned.nodes, index, expected, entry).unwrap();
        owned.check();
        current
    };
    for index in [0, 5, 64, u64::MAX] {
        assert_eq!(cmpxchg(index, page(1), page(2)), Entry::NULL);
        assert_eq!(owned.load(index), Entry::NULL);
        assert_eq!(cmpxchg(index, Entry::NULL, page(2)), Entry::NULL);
        assert_eq!(cmpxchg(index, page(1), page(3)), page(2));
        assert_eq!(owned.load(index), page(2));
        assert_eq!(cmpxchg(index, page(2), Entry::value(3)), page(2));
        assert_eq!(owned.load(index), Entry::value(3));
        assert_eq!(cmpxchg(index, page(2), Entry::NULL), Entry::value(3));
        assert_eq!(cmpxchg(index, Entry::value(3), Entry::NULL), Entry::value(3));
        assert!(owned.array().is_empty());
        assert_eq!(cmpxchg(index, Entry::NULL, Entry::NULL), Entry::NULL);
    }
}
