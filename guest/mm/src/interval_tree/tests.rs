//! Any sequence of operations against a vector that is searched from end to end; and how many steps they take.

use core::cell::Cell;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::record::ObjId;
use crate::rmap::AnonVma;
use crate::sync::Word;
use crate::vma::VmArea;

/// VMAs in a vector. Counts how often a record is asked for.
struct Space {
    areas: Vec<[Word; VmArea::WORDS]>,
    anon: [Word; AnonVma::WORDS],
    reads: Cell<u64>,
}

impl VmaStore for Space {
    fn vma(&self, id: VmaId) -> VmArea<'_> {
        self.reads.set(self.reads.get() + 1);
        VmArea(&self.areas[id.0.get() as usize - 1])
    }
}

impl Space {
    fn new() -> Self {
        Self {
            areas: Vec::new(),
            anon: Default::default(),
            reads: Cell::new(0),
        }
    }

    fn tree(&self) -> IntervalTree<'_, Self, AnonVma<'_>> {
        IntervalTree {
            store: self,
            mapped: AnonVma(&self.anon),
        }
    }

    /// A VMA of `pages` pages from index `first` on, its links full of values that mean nothing, entered.
    fn insert(&mut self, first: u64, pages: u64) -> VmaId {
        self.areas.push(core::array::from_fn(|_| Word::new(0xdead_beef)));
        let id = VmaId(ObjId::from_u32(self.areas.len() as u32).expect("the vector is not empty"));
        let vma = self.vma(id);
        vma.set_vm_start(VirtAddr(7 << PAGE_SHIFT));
        vma.set_vm_end(VirtAddr((7 + pages) << PAGE_SHIFT));
        vma.set_vm_pgoff(first);
        self.tree().insert(id);
        id
    }

    fn overlapping(&self, pages: RangeInclusive<u64>) -> Vec<VmaId> {
        let mut found: Vec<_> = self.tree().overlapping(pages).collect();
        found.sort();
        found
    }

    /// Records that `work` asks for.
    fn reads_of(&self, work: impl FnOnce(&Self)) -> u64 {
        let before = self.reads.get();
        work(self);
        self.reads.get() - before
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert { first: u64, pages: u64 },
    Remove { nth: usize },
    Find { first: u64, more: u64 },
}

fn any_op(inserts: u32) -> impl Strategy<Value = Op> {
    let index = prop_oneof![6 => 0..64u64, 1 => Just(0), 1 => (1 << 52) - 4..1u64 << 52];
    let pages = prop_oneof![6 => 1..12u64, 1 => 40..80u64];
    let more = prop_oneof![4 => Just(0), 2 => 0..24u64, 1 => Just(u64::MAX)];
    prop_oneof![
        inserts => (index.clone(), pages).prop_map(|(first, pages)| Op::Insert { first, pages }),
        4 => any::<usize>().prop_map(|nth| Op::Remove { nth }),
        3 => (index, more).prop_map(|(first, more)| Op::Find { first, more }),
    ]
}

fn run(ops: &[Op]) {
    let mut space = Space::new();
    let mut model: Vec<(VmaId, u64, u64)> = Vec::new();
    for op in ops {
        match *op {
            Op::Insert { first, pages } => model.push((space.insert(first, pages), first, first + pages - 1)),
            Op::Remove { nth } if !model.is_empty() => {
                let (id, ..) = model.swap_remove(nth % model.len());
                space.tree().remove(id);
            }
            Op::Remove { .. } => {}
            Op::Find { first, more } => {
                let last = first.saturating_add(more);
                let mut expected: Vec<_> = model
                    .iter()
                    .filter(|&&(_, low, high)| low <= last && high >= first)
                    .map(|&(id, ..)| id)
                    .collect();
                expected.sort();
                assert_eq!(space.overlapping(first..=last), expected, "{first}..={last}");
            }
        }
        let mut held = space.tree().check();
        held.sort();
        let mut expected: Vec<_> = model.iter().map(|&(id, ..)| id).collect();
        expected.sort();
        assert_eq!(held, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With as many that go as come, about as many as list and tree meet at.
    #[test]
    fn few_vmas_are_found_as_in_a_vector(ops in prop::collection::vec(any_op(5), 1..160)) {
        run(&ops);
    }

    #[test]
    fn many_vmas_are_found_as_in_a_vector(ops in prop::collection::vec(any_op(12), 1..320)) {
        run(&ops);
    }
}

/// A list up to its limit; then a tree, until few are left.
#[test]
fn few_are_a_list_and_many_a_tree() {
    let mut space = Space::new();
    let ids: Vec<_> = (0..u64::from(LIST_MAX) + 1)
        .map(|at| {
            let id = space.insert(at, 1);
            let in_tree = Interval::<AnonVma<'_>>::of(space.vma(id)).is_in_tree();
            assert_eq!(in_tree, at == u64::from(LIST_MAX), "VMA {at}");
            id
        })
        .collect();
    for (gone, &id) in ids.iter().enumerate() {
        let left = ids.len() - gone - 1;
        space.tree().remove(id);
        if let Some(&other) = ids.get(gone + 1) {
            let in_tree = Interval::<AnonVma<'_>>::of(space.vma(other)).is_in_tree();
            assert_eq!(in_tree, left >= TREE_MIN as usize, "{left} left");
        }
    }
    assert_eq!(space.tree().check(), []);
}

/// Finding, entering and leaving take O(log n) steps, whether VMAs lie side by side, upon each other, or below one that maps it all.
#[test]
fn steps_grow_with_the_logarithm() {
    const COUNT: u64 = 4096;
    const LOG: u64 = 12;
    let lay: [fn(u64) -> (u64, u64); 3] = [
        |at| (at * 4, 3),
        |at| (at * 4, if at == 0 { COUNT * 4 } else { 3 }),
        |at| (at % 64 * 4, 3),
    ];
    for (nth, lay) in lay.into_iter().enumerate() {
        let mut space = Space::new();
        let mut ids = Vec::new();
        for at in 0..COUNT {
            let (first, pages) = lay(at);
            let before = space.reads.get();
            ids.push(space.insert(first, pages));
            assert!(space.reads.get() - before < 12 * LOG, "layout {nth}: entering {at}");
        }
        let mut found = 0;
        let reads = space.reads_of(|space| found = space.tree().overlapping(100..=100).count() as u64);
        assert_ne!(found, 0);
        assert!(
            reads < (found + 1) * 8 * LOG,
            "layout {nth}: {reads} steps to {found} VMAs"
        );
        // A gap between all of them, but for the one that maps it all.
        let reads = space.reads_of(|space| found = space.tree().overlapping(103..=103).count() as u64);
        assert_eq!(found, u64::from(nth == 1));
        assert!(reads < (found + 1) * 8 * LOG, "layout {nth}: {reads} steps to a gap");
        for id in ids {
            let reads = space.reads_of(|space| space.tree().remove(id));
            assert!(reads < 20 * LOG, "layout {nth}: {reads} steps to leave");
        }
        assert_eq!(space.tree().check(), []);
    }
}
