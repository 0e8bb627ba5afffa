//! Caches against a set of objects, on frames of a real zone.

use std::boxed::Box;
use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Cache, Frames, HOT_OBJECTS, object};
use crate::addr::{Frame, PAGE_WORDS, Pfn};
use crate::page::Page;
use crate::record::ObjId;
use crate::sync::Word;
use crate::zone::Zone;

/// Frames of the test machine, the first one not among them.
const FRAMES: u32 = 24;

struct Machine {
    zone: Zone,
    memmap: Vec<Page>,
    frames: Vec<Box<Frame>>,
}

impl Machine {
    fn new() -> Self {
        let entries = FRAMES + 1;
        let machine = Self {
            zone: Zone::new(),
            memmap: (0..entries).map(|_| Page::default()).collect(),
            frames: (0..entries)
                .map(|_| Box::new([const { Word::new(!0) }; PAGE_WORDS]))
                .collect(),
        };
        machine.zone.add_range(&machine.memmap, Pfn(1), Pfn(entries));
        machine
    }
}

impl Frames for Machine {
    fn memmap(&self) -> &[Page] {
        &self.memmap
    }

    fn frame(&self, pfn: Pfn) -> &Frame {
        &self.frames[pfn.index()]
    }

    fn clear_page(&self, pfn: Pfn) {
        for word in self.frame(pfn) {
            word.set(0);
        }
    }

    fn alloc_frame(&self) -> Option<Pfn> {
        self.zone.rmqueue(&self.memmap, 0)
    }

    fn free_frame(&self, pfn: Pfn) {
        let page = &self.memmap[pfn.index()];
        assert_eq!(
            (page.refcount.get(), page.flags.get()),
            (1, 0),
            "frame {} comes back in another state",
            pfn.0
        );
        page.refcount.set(0);
        for word in self.frame(pfn) {
            word.set(!0);
        }
        self.zone.free_one_page(&self.memmap, pfn, 0);
    }
}

struct Model<const WORDS: usize> {
    machine: Machine,
    cache: Cache<WORDS>,
    /// What the words of each object were set to.
    content: HashMap<ObjId, u64>,
    /// Objects in the order in which they were allocated.
    order: Vec<ObjId>,
}

impl<const WORDS: usize> Model<WORDS> {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            cache: Cache::new(),
            content: HashMap::new(),
            order: std::vec![],
        }
    }

    fn object(&self, id: ObjId) -> &[Word; WORDS] {
        object(&self.machine, id)
    }

    fn alloc(&mut self, content: u64) {
        let Some(id) = self.cache.alloc(&self.machine) else {
            assert_eq!(self.machine.zone.free_pages_count(), 0, "refused with frames left");
            let room = self.cache.frames() as usize * Cache::<WORDS>::SLOTS;
            assert_eq!(self.order.len(), room, "refused with objects left");
            return;
        };
        assert!(self.object(id).iter().all(|word| word.get() == 0), "{id:?} has content");
        for word in self.object(id) {
            word.set(content);
        }
        assert_eq!(self.content.insert(id, content), None, "{id:?} given twice");
        self.order.push(id);
    }

    fn free(&mut self, which: usize) {
        if self.order.is_empty() {
            return;
        }
        let id = self.order.swap_remove(which % self.order.len());
        let content = self.content.remove(&id).expect("it is in use");
        for word in self.object(id) {
            assert_eq!(word.get(), content, "{id:?} was overwritten");
            word.set(0);
        }
        self.cache.free(&self.machine, id);
    }

    fn check(&self) {
        self.cache.check(&self.machine);
        self.machine.zone.check(&self.machine.memmap);
        assert_eq!(self.cache.objects(), self.order.len() as u64);
        assert_eq!(
            self.cache.frames() + self.machine.zone.free_pages_count(),
            u64::from(FRAMES)
        );
    }

    fn run(ops: Vec<Op>) {
        let mut model = Self::new();
        for op in ops {
            match op {
                Op::Alloc(count, content) => (0..count).for_each(|_| model.alloc(content)),
                Op::Free(count, which) => (0..count).for_each(|i| model.free(which.wrapping_add(i * 31))),
                Op::Shrink => model.cache.shrink(&model.machine),
            }
            model.check();
        }
        while !model.order.is_empty() {
            model.free(0);
        }
        model.cache.shrink(&model.machine);
        model.check();
        assert_eq!((model.cache.objects(), model.cache.frames()), (0, 0), "frames are kept");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize, u64),
    Free(usize, usize),
    Shrink,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..4usize, 1..u64::MAX).prop_map(|(count, content)| Op::Alloc(count, content)),
        2 => (1..400usize, 1..u64::MAX).prop_map(|(count, content)| Op::Alloc(count, content)),
        4 => (1..4usize, any::<usize>()).prop_map(|(count, which)| Op::Free(count, which)),
        2 => (1..400usize, any::<usize>()).prop_map(|(count, which)| Op::Free(count, which)),
        1 => Just(Op::Shrink),
    ];
    prop::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// E18, E19: objects never overlap, and are as constructed when they are handed out.
    #[test]
    fn does_what_a_set_does_8_words(ops in ops()) {
        Model::<8>::run(ops);
    }

    #[test]
    fn does_what_a_set_does_24_words(ops in ops()) {
        Model::<24>::run(ops);
    }

    #[test]
    fn does_what_a_set_does_72_words(ops in ops()) {
        Model::<72>::run(ops);
    }

    #[test]
    fn does_what_a_set_does_512_words(ops in ops()) {
        Model::<512>::run(ops);
    }

    #[test]
    fn does_what_a_set_does_3_words(ops in ops()) {
        Model::<3>::run(ops);
    }
}

/// E18: the object freed last is handed out first.
#[test]
fn the_object_freed_last_comes_first() {
    let mut model = Model::<16>::new();
    for _ in 0..40 {
        model.alloc(1);
    }
    let freed: Vec<ObjId> = (0..HOT_OBJECTS).map(|i| model.order[i * 2 % 40]).collect();
    for &id in &freed {
        let at = model.order.iter().position(|&other| other == id).expect("it is in use");
        model.free(at);
    }
    for &id in freed.iter().rev() {
        assert_eq!(model.cache.alloc(&model.machine), Some(id));
    }
}

/// E18: the per-CPU list, then partial frames, then the spare one; a new frame only when no object is free anywhere.
#[test]
fn a_new_frame_is_the_last_resort() {
    let mut model = Model::<16>::new();
    let slots = Cache::<16>::SLOTS;
    for round in 0..6 {
        for i in 0..model.order.len() * 2 / 3 {
            model.free(i * 31 + round);
        }
        let frames = model.cache.frames();
        while model.order.len() < slots * frames as usize {
            model.alloc(1);
            assert_eq!(model.cache.frames(), frames, "round {round}: objects were free");
        }
        model.alloc(1);
        assert_eq!(model.cache.frames(), frames + 1);
        model.check();
    }
}

#[test]
fn one_empty_frame_is_kept() {
    let mut model = Model::<512>::new();
    for _ in 0..FRAMES {
        model.alloc(1);
    }
    while !model.order.is_empty() {
        model.free(0);
    }
    model.check();
    // The per-CPU list was emptied down to half each time it was full.
    let hot = u64::from(model.cache.hot.len());
    assert_eq!(model.cache.frames(), hot + 1);
    model.cache.shrink(&model.machine);
    assert_eq!(model.cache.frames(), 0);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_double_free_is_caught() {
    let model = Model::<8>::new();
    let id = model.cache.alloc(&model.machine).expect("an object");
    model.cache.free(&model.machine, id);
    model.cache.free(&model.machine, id);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_double_free_is_caught_in_the_frame() {
    let model = Model::<8>::new();
    let id = model.cache.alloc(&model.machine).expect("an object");
    let _other = model.cache.alloc(&model.machine).expect("an object");
    model.cache.free(&model.machine, id);
    model.cache.shrink(&model.machine);
    model.cache.free(&model.machine, id);
}

#[test]
#[should_panic(expected = "zero it first")]
fn an_object_with_content_is_not_taken_back() {
    let model = Model::<8>::new();
    let id = model.cache.alloc(&model.machine).expect("an object");
    model.object(id)[7].set(1);
    model.cache.free(&model.machine, id);
}

#[test]
#[should_panic(expected = "not of a cache of 8 words")]
fn an_object_of_another_cache_is_not_taken_back() {
    let (model, other) = (Model::<8>::new(), Cache::<16>::new());
    let id = other.alloc(&model.machine).expect("an object");
    model.cache.free(&model.machine, id);
}
