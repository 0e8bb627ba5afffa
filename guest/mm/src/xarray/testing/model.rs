//! Every operation against a `BTreeMap`, with rule D20 checked after each, and allocations failing now and then.

use std::collections::BTreeMap;

use super::super::Cursor;
pub(in crate::xarray) use super::op::Op;
use super::op::decode;
use super::*;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq)]
struct Item {
    last: u64,
    entry: Entry,
    marks: [bool; 3],
}

/// Entries by their first index.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<u64, Item>);

impl Model {
    fn covering(&mut self, index: u64) -> Option<(u64, &mut Item)> {
        let (&first, item) = self.0.range_mut(..=index).next_back()?;
        (index <= item.last).then_some((first, item))
    }

    fn load(&mut self, index: u64) -> Entry {
        self.covering(index).map_or(Entry::NULL, |(_, item)| item.entry)
    }

    fn set_mark(&mut self, index: u64, mark: Mark, set: bool) {
        if let Some((_, item)) = self.covering(index) {
            item.marks[mark as usize] = set;
        }
    }

    fn reaching_into(&self, first: u64, last: u64) -> Vec<u64> {
        let overlapping = |(_, item): &(&u64, &Item)| item.last >= first;
        self.0
            .range(..=last)
            .filter(overlapping)
            .map(|(&first, _)| first)
            .collect()
    }

    fn store_order(&mut self, index: u64, order: u32, entry: Entry) -> Entry {
        let mask = (1 << order) - 1;
        let (first, last) = (index & !mask, index | mask);
        let old = self.load(first);
        if let Some((start, item)) = self.covering(first)
            && item.last - start >= mask
            && !entry.is_null()
        {
            item.entry = entry;
            return old;
        }
        let mut marks = [false; 3];
        for start in self.reaching_into(first, last) {
            let gone = self.0.remove(&start).unwrap();
            marks = core::array::from_fn(|mark| marks[mark] || gone.marks[mark]);
        }
        if !entry.is_null() {
            self.0.insert(first, Item { last, entry, marks });
        }
        old
    }

    fn find(&self, start: u64, filter: Filter) -> Option<u64> {
        let matches = |item: &Item| match filter {
            Filter::Any => true,
            Filter::Marked(mark) => item.marks[mark as usize],
        };
        let mut items = self.0.iter().filter(|(_, item)| item.last >= start && matches(item));
        items.next().map(|(&first, _)| first.max(start))
    }
}

/// Applies an operation to both; the model is told after the array, because the array may run out of memory.
fn apply(owned: &Owned, model: &mut Model, op: &Op) -> Result<(), Error> {
    let (array, nodes) = (owned.array(), &owned.nodes);
    match *op {
        Op::Store { index, entry } => {
            let old = array.store(nodes, index, entry)?;
            assert_eq!(old, model.store_order(index, 0, entry));
        }
        Op::StoreOrder { index, order, entry } => {
            let old = array.store_order(nodes, index, order, entry)?;
            assert_eq!(old, model.store_order(index, order, entry));
        }
        Op::Insert { index, entry } => match array.insert(nodes, index, entry) {
            Err(Error::Ebusy) => assert_ne!(model.load(index), Entry::NULL),
            result => {
                result?;
                assert_eq!(model.store_order(index, 0, entry), Entry::NULL);
            }
        },
        Op::Cmpxchg { index, guess, entry } => {
            let current = model.load(index);
            let expected = if guess { current } else { Entry::value(1 << 50) };
            assert_eq!(array.cmpxchg(nodes, index, expected, entry)?, current);
            if guess {
                model.store_order(index, 0, entry);
            }
        }
        Op::Erase { index } => assert_eq!(array.erase(nodes, index), model.store_order(index, 0, Entry::NULL)),
        Op::EraseRange { first, last } => {
            let mut erased = Vec::new();
            array.erase_range(nodes, first, last, |index, entry| erased.push((index, entry)));
            let starts = if first <= last {
                model.reaching_into(first, last)
            } else {
                Vec::new()
            };
            let expected: Vec<_> = starts
                .into_iter()
                .map(|at| (at, model.0.remove(&at).unwrap().entry))
                .collect();
            assert_eq!(erased, expected);
        }
        Op::Split { index, by } => split(owned, model, index, by)?,
        Op::SetMark { index, mark } => {
            array.set_mark(nodes, index, mark);
            model.set_mark(index, mark, true);
        }
        Op::ClearMark { index, mark } => {
            array.clear_mark(nodes, index, mark);
            model.set_mark(index, mark, false);
        }
        Op::Fill { index, ref entries } => {
            let mut cursor = Cursor::new(array, nodes, index);
            for (at, &entry) in (index..=u64::MAX).zip(entries) {
                cursor.seek(at);
                assert_eq!(cursor.load(), model.load(at));
                assert_eq!(cursor.store(entry)?, model.store_order(at, 0, entry));
                assert_eq!(cursor.load(), entry);
            }
        }
        Op::Thin { index, filter } => thin(owned, model, index, filter),
    }
    Ok(())
}

fn split(owned: &Owned, model: &mut Model, index: u64, by: u32) -> Result<(), Error> {
    let order = owned.array().order(&owned.nodes, index);
    let Some((first, item)) = model.covering(index) else {
        assert_eq!(order, None);
        assert_eq!(owned.array().split(&owned.nodes, index, 0), Err(Error::Einval));
        return Ok(());
    };
    let item = item.clone();
    let order = order.expect("an entry has an order");
    assert_eq!((1 << order) - 1, item.last - first);
    let new_order = order.saturating_sub(by);
    owned.array().split(&owned.nodes, index, new_order)?;
    for part in (first..=item.last).step_by(1 << new_order) {
        let last = part | ((1 << new_order) - 1);
        model.0.insert(part, Item { last, ..item.clone() });
    }
    Ok(())
}

fn thin(owned: &Owned, model: &mut Model, mut index: u64, filter: Filter) {
    let mut cursor = Cursor::new(owned.array(), &owned.nodes, index);
    for round in 0.. {
        let found = cursor.find(u64::MAX, filter);
        assert_eq!(found.map(|found| found.0), model.find(index, filter));
        let Some((at, entry)) = found else { return };
        let (first, item) = model.covering(at).unwrap();
        let last = item.last;
        assert_eq!((cursor.range(), entry), ((first, last), item.entry));
        assert_eq!(Mark::ALL.map(|mark| cursor.get_mark(mark)), item.marks);
        if round % 2 == 1 {
            assert_eq!(cursor.erase(), entry);
            model.0.remove(&first);
        } else {
            cursor.set_mark(Mark::Writeback);
            cursor.clear_mark(Mark::Dirty);
            item.marks = [false, true, item.marks[2]];
        }
        if round % 3 == 2 {
            cursor.pause();
        }
        let Some(next) = last.checked_add(1) else { return };
        index = next;
    }
}

/// Whether the array is the model, as seen by finds, loads and marks.
fn compare(owned: &Owned, model: &mut Model) {
    owned.check();
    let all: Vec<_> = model.0.iter().map(|(&first, item)| (first, item.entry)).collect();
    assert_eq!(owned.entries(Filter::Any), all);
    for mark in Mark::ALL {
        let marked: Vec<_> = model.0.iter().filter(|(_, item)| item.marks[mark as usize]).collect();
        let marked: Vec<_> = marked.into_iter().map(|(&first, item)| (first, item.entry)).collect();
        assert_eq!(owned.entries(Filter::Marked(mark)), marked);
        assert_eq!(owned.array().marked(mark), !marked.is_empty());
    }
    for (&first, item) in &model.0 {
        for index in [first, item.last] {
            assert_eq!(owned.load(index), item.entry);
            assert_eq!(Mark::ALL.map(|mark| owned.is_marked(index, mark)), item.marks);
        }
    }
    for index in level_boundaries() {
        assert_eq!(owned.load(index), model.load(index));
    }
}

/// Runs operations; where a number is given, so many nodes are to be had and no more. A refused operation changes nothing. Rule D15.
pub(in crate::xarray) fn run(ops: &[(Op, Option<u32>)]) {
    let owned = Owned::with_capacity(4096);
    let mut model = Model::default();
    for (op, fuel) in ops {
        owned.nodes.fuel.set(*fuel);
        let (words, before) = (owned.snapshot(), model.clone());
        if let Err(error) = apply(&owned, &mut model, op) {
            assert_eq!(error, Error::Enomem);
            // A fill is many operations: those before the one that failed are done.
            if !matches!(op, Op::Fill { .. }) {
                assert_eq!((&owned.snapshot(), &model), (&words, &before));
            }
        }
        compare(&owned, &mut model);
    }
}

/// Runs the operations that these bytes of any content are.
///
/// # Panics
/// When the array does anything else than the model.
pub fn run_bytes(bytes: &[u8]) {
    run(&decode(bytes));
}
