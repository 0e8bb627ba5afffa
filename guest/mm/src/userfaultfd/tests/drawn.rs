//! Answers to drawn touches of a shared object, beside a model of eight pages.

use std::vec;

use proptest::prelude::*;

use super::space::{AT, Space};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::fault::Access;
use crate::mmap::map_flag;
use crate::platform::PteFormat;
use crate::shmem::falloc;
use crate::testing::FakePte;
use crate::userfaultfd::register_mode;

/// What is drawn.
#[derive(Clone, Debug)]
enum Op {
    Register(u64, u64, u64),
    Unregister(u64, u64),
    Copy(u64, u64),
    Zeropage(u64, u64),
    Continue(u64),
    Touch(u64, bool),
    ThroughView(u64),
    Punch(u64),
    Drop(u64),
}

const PAGES: u64 = 8;

fn op() -> impl Strategy<Value = Op> {
    let (page, len) = (0..PAGES, 1..4u64);
    prop_oneof![
        (page.clone(), len.clone(), prop::sample::select(vec![1, 4, 5]))
            .prop_map(|(at, len, mode)| Op::Register(at, len, mode)),
        (page.clone(), len.clone()).prop_map(|(at, len)| Op::Unregister(at, len)),
        (page.clone(), len.clone()).prop_map(|(at, len)| Op::Copy(at, len)),
        (page.clone(), len).prop_map(|(at, len)| Op::Zeropage(at, len)),
        page.clone().prop_map(Op::Continue),
        (page.clone(), any::<bool>()).prop_map(|(at, write)| Op::Touch(at, write)),
        page.clone().prop_map(Op::ThroughView),
        page.clone().prop_map(Op::Punch),
        page.prop_map(Op::Drop),
    ]
}

/// One page of a shared object in the model.
#[derive(Clone, Copy, Default)]
struct Page {
    /// What the object has.
    cached: Option<u64>,
    mapped: bool,
    /// Register modes.
    mode: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// H3 to H5: a shared object, mapped twice, once registered in parts; each touch is answered as the model says.
    #[test]
    fn drawn_answers(ops in prop::collection::vec(op(), 1..40)) {
        let space = Space::new();
        let object = space.object(PAGES);
        space.map(AT, PAGES, map_flag::SHARED, Some(object));
        let view = space.map(AT + 0x10_0000, PAGES, map_flag::SHARED, Some(object));
        let mut model = [Page::default(); PAGES as usize];
        let at = |page: u64| AT + page * PAGE_SIZE;
        for op in ops {
            match op {
                Op::Register(from, len, mode) => {
                    let len = len.min(PAGES - from);
                    space.register(at(from), len, mode).unwrap();
                    // What has all of these modes already keeps the others, too.
                    for page in &mut model[from as usize..(from + len) as usize] {
                        page.mode = if page.mode & mode == mode { page.mode } else { mode };
                    }
                }
                Op::Unregister(from, len) => {
                    let len = len.min(PAGES - from);
                    space.memory.userfaultfd_unregister(space.ctx, at(from), len * PAGE_SIZE, |_| {}).unwrap();
                    model[from as usize..(from + len) as usize].iter_mut().for_each(|page| page.mode = 0);
                }
                Op::Copy(from, len) | Op::Zeropage(from, len) => {
                    let len = len.min(PAGES - from);
                    let (value, bytes) = match op {
                        Op::Copy(..) => (7, space.copy(at(from), len).1),
                        _ => {
                            let filled = space.memory.userfaultfd_zeropage(space.ctx, at(from), len * PAGE_SIZE, 0, |_| {});
                            (0, filled.unwrap().field())
                        }
                    };
                    let pages = &mut model[from as usize..(from + len) as usize];
                    // One VMA has to hold the range: what is registered alike.
                    if pages.iter().any(|page| page.mode == 0 || page.mode != pages[0].mode) {
                        prop_assert_eq!(bytes, -2);
                        continue;
                    }
                    let free = pages.iter().take_while(|page| page.cached.is_none()).count();
                    let expected = if free == 0 { -17 } else { free as i64 * 4096 };
                    prop_assert_eq!(bytes, expected);
                    for page in &mut pages[..free] {
                        (page.cached, page.mapped) = (Some(value), true);
                    }
                }
                Op::Continue(page) => {
                    let field = space.resume(at(page));
                    let page = &mut model[page as usize];
                    let expected = match (page.mode, page.mapped, page.cached) {
                        (0, _, _) => -2,
                        (_, true, _) => -17,
                        (_, _, None) => -14,
                        _ => 4096,
                    };
                    prop_assert_eq!(field, expected);
                    page.mapped |= expected > 0;
                }
                Op::Touch(page, write) => {
                    let access = if write { Access::Write } else { Access::Read };
                    let done = space.memory.touch(space.mm, at(page), access);
                    let index = page as usize;
                    let asked = !model[index].mapped
                        && match model[index].cached {
                            None => model[index].mode & register_mode::MISSING != 0,
                            Some(_) => model[index].mode & register_mode::MINOR != 0,
                        };
                    prop_assert_eq!(done.is_err(), asked);
                    prop_assert_eq!(space.memory.take_userfault().is_some(), asked);
                    if !asked {
                        model[index].cached.get_or_insert(0);
                    }
                    // Loads that fault map what is cached around them.
                    for (page, known) in model.iter_mut().enumerate() {
                        known.mapped = is_mapped(&space, at(page as u64));
                        prop_assert!(!known.mapped || known.cached.is_some());
                    }
                    prop_assert_eq!(model[index].mapped, !asked);
                }
                Op::ThroughView(page) => {
                    space.memory.store(space.mm, view + page * PAGE_SIZE, 5).unwrap();
                    model[page as usize].cached = Some(5);
                }
                Op::Punch(page) => {
                    let how = falloc::PUNCH_HOLE | falloc::KEEP_SIZE;
                    space.memory.shmem_fallocate(object, how, page * PAGE_SIZE, PAGE_SIZE).unwrap();
                    (model[page as usize].cached, model[page as usize].mapped) = (None, false);
                }
                Op::Drop(page) => {
                    space.memory.do_madvise(space.mm, at(page), PAGE_SIZE, 4).unwrap();
                    model[page as usize].mapped = false;
                }
            }
            for (page, known) in model.iter().enumerate() {
                let mapped = is_mapped(&space, at(page as u64));
                prop_assert_eq!(mapped, known.mapped, "page {}", page);
                if let (true, Some(value)) = (mapped, known.cached) {
                    prop_assert_eq!(space.load(at(page as u64)), value);
                }
            }
        }
        space.memory.check_invariants();
        space.end(&[object]);
    }
}

fn is_mapped(space: &Space, at: u64) -> bool {
    let pte = space.memory.pte(space.memory.pgd(space.mm), VirtAddr(at));
    pte.is_some_and(|pte| FakePte::is_present(pte.get()))
}
