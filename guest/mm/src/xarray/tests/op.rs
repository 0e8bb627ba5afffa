//! Operations for the property tests, and how they are drawn.

use proptest::prelude::*;
use std::vec;

use super::*;

/// What can be done to an array.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Store {
        index: u64,
        entry: Entry,
    },
    StoreOrder {
        index: u64,
        order: u32,
        entry: Entry,
    },
    Insert {
        index: u64,
        entry: Entry,
    },
    Cmpxchg {
        index: u64,
        guess: bool,
        entry: Entry,
    },
    Erase {
        index: u64,
    },
    EraseRange {
        first: u64,
        last: u64,
    },
    Split {
        index: u64,
        by: u32,
    },
    SetMark {
        index: u64,
        mark: Mark,
    },
    ClearMark {
        index: u64,
        mark: Mark,
    },
    /// Stores at this many indices from here on, through one cursor.
    Fill {
        index: u64,
        entries: Vec<Entry>,
    },
    /// From here on, erases every second entry found with the filter, pausing at every third.
    Thin {
        index: u64,
        filter: Filter,
    },
}

fn index() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..200,
        4 => 4000u64..4300,
        4 => proptest::sample::select(boundaries()),
        2 => u64::MAX - 200..=u64::MAX,
        1 => any::<u64>(),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        3 => (1u32..).prop_map(page),
        3 => (0u64..1 << 63).prop_map(Entry::value),
        1 => Just(Entry::NULL),
    ]
}

fn order() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0u32..14, 1 => 0u32..64]
}

fn mark() -> impl Strategy<Value = Mark> {
    proptest::sample::select(&Mark::ALL[..])
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::Any), mark().prop_map(Filter::Marked)]
}

/// Any operation, mostly near the boundaries of levels.
pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (index(), entry()).prop_map(|(index, entry)| Op::Store { index, entry }),
        6 => (index(), order(), entry()).prop_map(|(index, order, entry)| Op::StoreOrder { index, order, entry }),
        2 => (index(), entry()).prop_map(|(index, entry)| Op::Insert { index, entry }),
        2 => (index(), any::<bool>(), entry()).prop_map(|(index, guess, entry)| Op::Cmpxchg { index, guess, entry }),
        4 => index().prop_map(|index| Op::Erase { index }),
        1 => (index(), index()).prop_map(|(first, last)| Op::EraseRange { first, last }),
        2 => (index(), 0u32..8).prop_map(|(index, by)| Op::Split { index, by }),
        6 => (index(), mark()).prop_map(|(index, mark)| Op::SetMark { index, mark }),
        2 => (index(), mark()).prop_map(|(index, mark)| Op::ClearMark { index, mark }),
        2 => (index(), proptest::collection::vec(entry(), 1..80)).prop_map(|(index, entries)| Op::Fill { index, entries }),
        1 => (index(), filter()).prop_map(|(index, filter)| Op::Thin { index, filter }),
    ]
}
