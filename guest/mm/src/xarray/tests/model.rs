//! Every operation against a `BTreeMap`, with rule D20 checked after each, and allocations failing now and then.

use proptest::prelude::*;
use std::vec;

use super::super::testing::model::{Op, run};
use super::*;

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
fn op() -> impl Strategy<Value = Op> {
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

proptest! {
    #[test]
    fn d1_to_d20_the_array_is_its_model(ops in proptest::collection::vec((op(), proptest::option::weighted(0.3, 0u32..6)), 1..60)) {
        run(&ops);
    }
}
