//! Rule D15: allocations fail one after the other, and nothing changes.

use super::*;
use crate::error::Error;

type Operation = fn(&Owned) -> Result<(), Error>;

/// Lets every allocation of `operation` fail in turn; returns how many there are.
fn fail_each(prepare: fn(&Owned), operation: Operation) -> u32 {
    for fuel in 0.. {
        let owned = Owned::new();
        prepare(&owned);
        let before = owned.snapshot();
        owned.nodes.fuel.set(Some(fuel));
        let result = operation(&owned);
        owned.nodes.fuel.set(None);
        owned.check();
        if result.is_ok() {
            return fuel;
        }
        assert_eq!(result, Err(Error::Enomem));
        assert_eq!(owned.snapshot(), before, "allocation {fuel} failed");
        // Rule D15: the caller gets memory and retries.
        assert_eq!(operation(&owned), Ok(()));
        owned.check();
    }
    unreachable!()
}

fn store(owned: &Owned, index: u64, order: u32) -> Result<(), Error> {
    owned.array().store_order(&owned.nodes, index, order, page(9)).map(drop)
}

#[test]
fn d15_stores_that_grow_the_tree() {
    assert_eq!(fail_each(|_| (), |owned| store(owned, 0, 0)), 0);
    assert_eq!(fail_each(|_| (), |owned| store(owned, 1, 0)), 1);
    assert_eq!(fail_each(|_| (), |owned| store(owned, u64::MAX, 0)), 11);
    assert_eq!(fail_each(|_| (), |owned| store(owned, 1 << 20, 9)), 3);
    let one: fn(&Owned) = |owned| {
        owned.store(0, page(1));
        owned.mark(0, Mark::Dirty);
    };
    assert_eq!(fail_each(one, |owned| store(owned, 1, 0)), 1);
    assert_eq!(fail_each(one, |owned| store(owned, 64, 0)), 3);
    assert_eq!(fail_each(one, |owned| store(owned, u64::MAX, 0)), 11 + 10);
    assert_eq!(fail_each(one, |owned| store(owned, 0, 6)), 2);
    assert_eq!(fail_each(one, |owned| store(owned, 0, 63)), 11);
}

#[test]
fn d15_stores_below_an_existing_root() {
    let two: fn(&Owned) = |owned| {
        owned.store(3, Entry::value(1));
        owned.store(1 << 40, page(2));
        owned.mark(3, Mark::Writeback);
    };
    assert_eq!(fail_each(two, |owned| store(owned, 4, 0)), 0);
    assert_eq!(fail_each(two, |owned| store(owned, 64, 0)), 1);
    assert_eq!(fail_each(two, |owned| store(owned, 1 << 30, 0)), 5);
    assert_eq!(fail_each(two, |owned| store(owned, 1 << 30, 13)), 3);
    assert_eq!(fail_each(two, |owned| store(owned, 0, 40)), 0);
    assert_eq!(
        fail_each(two, |owned| owned.array().insert(&owned.nodes, 64, page(1))),
        1
    );
    assert_eq!(
        fail_each(two, |owned| owned
            .array()
            .cmpxchg(&owned.nodes, 64, Entry::NULL, page(1))
            .map(drop)),
        1
    );
}

#[test]
fn d15_d14_splits() {
    let large: fn(&Owned) = |owned| {
        owned.store_order(4096, 9, page(1));
        owned.mark(4096, Mark::Towrite);
    };
    assert_eq!(fail_each(large, |owned| owned.array().split(&owned.nodes, 4100, 0)), 8);
    assert_eq!(fail_each(large, |owned| owned.array().split(&owned.nodes, 4100, 6)), 0);
    let owned = Owned::new();
    owned.store_order(0, 63, page(1));
    let before = owned.snapshot();
    assert_eq!(owned.array().split(&owned.nodes, 0, 0), Err(Error::Enomem));
    assert_eq!(owned.snapshot(), before);
}

#[test]
fn d15_what_needs_no_node_cannot_fail() {
    let owned = Owned::with_capacity(1024);
    for index in boundaries() {
        owned.store(index, page(1));
    }
    owned.nodes.fuel.set(Some(0));
    for index in boundaries() {
        assert_eq!(owned.store(index, Entry::value(1)), page(1));
        owned.mark(index, Mark::Dirty);
    }
    owned.array().erase_range(&owned.nodes, 0, u64::MAX, |_, _| ());
    assert!(owned.array().is_empty());
}
