//! Any sequence of operations, against a sorted vector that is searched from end to end.

use super::*;
use crate::addr::PAGE_SIZE;
use proptest::prelude::*;

/// Pages of the modelled address space: few, so that VMAs touch and gaps are tight.
const PAGES: u64 = 96;

#[derive(Clone, Debug)]
enum Op {
    /// Pages `[start, start + pages)`, if they are free.
    Link { start: u64, pages: u64 },
    /// The `nth` VMA, modulo their number.
    Unlink { nth: usize },
    /// Moves the bounds of the `nth` VMA, as far as its neighbours let it.
    Adjust {
        nth: usize,
        start_by: i64,
        end_by: i64,
        pgoff: u64,
    },
    /// Cuts the `nth` VMA in two, `pages` above its start, if it reaches beyond.
    Split { nth: usize, pages: u64 },
    /// Makes one of the `nth` VMA and the next, if they touch.
    Join { nth: usize },
    /// Look-ups of a byte address.
    Find { addr: u64 },
    /// Look-ups of a range of bytes, if it is one.
    Intersect { start: u64, end: u64 },
    /// Both searches.
    Search {
        pages: u64,
        low: u64,
        high: u64,
        align_log2: u32,
        align_page: u64,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    let addr = 0..(PAGES + 2) * PAGE_SIZE;
    // Page aligned, or the last byte of a page, or anything.
    let addr = (addr, 0..3u8).prop_map(|(addr, kind)| match kind {
        0 => addr & !(PAGE_SIZE - 1),
        1 => addr | (PAGE_SIZE - 1),
        _ => addr,
    });
    let limit = prop_oneof![8 => 0..PAGES + 4, 1 => Just(0), 1 => Just(u64::MAX >> PAGE_SHIFT)];
    prop_oneof![
        8 => (0..PAGES, 1..6u64).prop_map(|(start, pages)| Op::Link { start, pages }),
        3 => any::<usize>().prop_map(|nth| Op::Unlink { nth }),
        3 => (any::<usize>(), -3..4i64, -3..4i64, 0..1000u64)
            .prop_map(|(nth, start_by, end_by, pgoff)| Op::Adjust { nth, start_by, end_by, pgoff }),
        3 => (any::<usize>(), 1..5u64).prop_map(|(nth, pages)| Op::Split { nth, pages }),
        3 => any::<usize>().prop_map(|nth| Op::Join { nth }),
        3 => addr.clone().prop_map(|addr| Op::Find { addr }),
        2 => (addr.clone(), addr).prop_map(|(start, end)| Op::Intersect { start, end }),
        4 => (1..12u64, limit.clone(), limit, prop_oneof![2 => Just(0), 1 => 1..4u32], 0..8u64).prop_map(
            |(pages, low, high, align_log2, align_page)| Op::Search { pages, low, high, align_log2, align_page }
        ),
    ]
}

/// What the tree should hold: id, first and past-the-end byte, page index; ascending.
#[derive(Default)]
struct Model(Vec<(VmaId, u64, u64, u64)>);

impl Model {
    fn is_free(&self, start: u64, end: u64) -> bool {
        self.0.iter().all(|&(_, from, to, _)| end <= from || to <= start)
    }

    /// Free ranges, ascending, the last one without end.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let starts = core::iter::once(0).chain(self.0.iter().map(|vma| vma.2));
        let ends = self.0.iter().map(|vma| vma.1).chain(core::iter::once(u64::MAX));
        starts.zip(ends).collect()
    }

    /// The part of each gap within the limits, if it holds what Linux asks for: the length and the worst alignment.
    fn fitting(&self, info: &UnmappedAreaInfo) -> Vec<(u64, u64)> {
        let clip = |(start, end): (u64, u64)| (start.max(info.low_limit), end.min(info.high_limit));
        let fits = |&(start, end): &(u64, u64)| {
            end.checked_sub(start)
                .is_some_and(|bytes| bytes >= info.length + info.align_mask)
        };
        self.gaps().into_iter().map(clip).filter(fits).collect()
    }

    /// The lowest or highest page address with enough free bytes above it, by trying those of the whole space.
    fn scan(&self, info: &UnmappedAreaInfo) -> (Option<u64>, Option<u64>) {
        let limit = info.high_limit.min((PAGES + 64) * PAGE_SIZE);
        let fits = |addr: &u64| {
            *addr >= info.low_limit && *addr + info.length <= limit && self.is_free(*addr, *addr + info.length)
        };
        let mut pages = (0..PAGES + 64).map(|page| page * PAGE_SIZE);
        (pages.clone().find(fits), pages.rfind(fits))
    }
}

/// Both searches: against each gap in turn, and, where alignment plays no part, against every address in turn.
fn search(space: &Space, model: &Model, info: &UnmappedAreaInfo) -> Result<(), TestCaseError> {
    let low = unmapped_area(space, space.mm(), info).map(|addr| addr.0);
    let high = unmapped_area_topdown(space, space.mm(), info).map(|addr| addr.0);
    let aligned = |addr: u64| addr & info.align_mask == info.align_offset & info.align_mask;
    let fitting = model.fitting(info);
    let first_aligned = |&(start, _): &(u64, u64)| (start..).step_by(PAGE_SIZE as usize).find(|&addr| aligned(addr));
    let last_aligned = |&(_, end): &(u64, u64)| {
        (0..=info.align_mask >> PAGE_SHIFT)
            .map(|by| end - info.length - by * PAGE_SIZE)
            .find(|&addr| aligned(addr))
    };
    prop_assert_eq!(low, fitting.first().and_then(first_aligned), "bottom-up, {:?}", info);
    prop_assert_eq!(high, fitting.last().and_then(last_aligned), "top-down, {:?}", info);
    for addr in [low, high].into_iter().flatten() {
        prop_assert!(model.is_free(addr, addr + info.length) && aligned(addr));
        prop_assert!(addr >= info.low_limit && addr + info.length <= info.high_limit);
    }
    if info.align_mask == 0 {
        let (first, last) = model.scan(info);
        prop_assert_eq!(low, first);
        if info.high_limit < (PAGES + 64) * PAGE_SIZE {
            prop_assert_eq!(high, last);
        }
    }
    Ok(())
}

fn find(space: &Space, model: &Model, addr: u64) -> Result<(), TestCaseError> {
    let at = model.0.iter().position(|vma| vma.2 > addr);
    let expected = at.map(|at| model.0[at].0);
    let before = match at {
        Some(at) => at.checked_sub(1).map(|before| model.0[before].0),
        None => model.0.last().map(|vma| vma.0),
    };
    prop_assert_eq!(space.find(addr), expected);
    prop_assert_eq!(space.find(addr), expected, "a second time, perhaps from the cache");
    prop_assert_eq!(find_vma_prev(space, space.mm(), VirtAddr(addr)), (expected, before));
    if let Some(at) = at.filter(|&at| model.0[at].1 <= addr) {
        prop_assert_eq!(space.mm().vmacache(), Some(model.0[at].0), "an exact hit is cached");
    }
    Ok(())
}

fn intersect(space: &Space, model: &Model, start: u64, end: u64) -> Result<(), TestCaseError> {
    let hit: Vec<_> = model
        .0
        .iter()
        .filter(|vma| vma.1 < end && start < vma.2)
        .map(|vma| vma.0)
        .collect();
    let (start, end) = (VirtAddr(start), VirtAddr(end));
    prop_assert_eq!(
        find_vma_intersection(space, space.mm(), start, end),
        hit.first().copied()
    );
    let walked: Vec<_> = vmas_in(space, space.mm(), start, end).map(|(id, _)| id).collect();
    prop_assert_eq!(walked, hit);
    Ok(())
}

fn apply(space: &mut Space, model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    match *op {
        Op::Link { start, pages } => {
            let (from, to) = (start * PAGE_SIZE, (start + pages) * PAGE_SIZE);
            if model.is_free(from, to) {
                let id = space.link(start, start + pages);
                space.vma(id).set_vm_pgoff(0);
                let at = model.0.partition_point(|vma| vma.1 < from);
                model.0.insert(at, (id, from, to, 0));
            }
        }
        Op::Unlink { nth } if !model.0.is_empty() => {
            let (id, ..) = model.0.remove(nth % model.0.len());
            space.unlink(id);
        }
        Op::Adjust {
            nth,
            start_by,
            end_by,
            pgoff,
        } if !model.0.is_empty() => {
            let at = nth % model.0.len();
            let (id, start, end, _) = model.0[at];
            let floor = at.checked_sub(1).map_or(0, |below| model.0[below].2);
            let ceiling = model.0.get(at + 1).map_or((PAGES + 6) * PAGE_SIZE, |above| above.1);
            let start = start
                .saturating_add_signed(start_by << PAGE_SHIFT)
                .clamp(floor, ceiling - PAGE_SIZE);
            let end = end
                .saturating_add_signed(end_by << PAGE_SHIFT)
                .clamp(start + PAGE_SIZE, ceiling);
            vma_adjust(space, space.mm(), id, VirtAddr(start), VirtAddr(end), pgoff);
            model.0[at] = (id, start, end, pgoff);
        }
        Op::Split { nth, pages } if !model.0.is_empty() => {
            let at = nth % model.0.len();
            let (id, start, end, pgoff) = model.0[at];
            let cut = start + pages * PAGE_SIZE;
            if cut < end {
                let upper = space.create(cut >> PAGE_SHIFT, end >> PAGE_SHIFT);
                space.vma(upper).set_vm_pgoff(pgoff + pages);
                vma_split(space, space.mm(), id, upper);
                model.0[at].2 = cut;
                model.0.insert(at + 1, (upper, cut, end, pgoff + pages));
            }
        }
        Op::Join { nth } if !model.0.is_empty() => {
            let at = nth % model.0.len();
            if let Some(&(upper, start, end, _)) = model.0.get(at + 1)
                && model.0[at].2 == start
            {
                vma_join(space, space.mm(), model.0[at].0, upper);
                model.0[at].2 = end;
                model.0.remove(at + 1);
            }
        }
        Op::Unlink { .. } | Op::Adjust { .. } | Op::Split { .. } | Op::Join { .. } => {}
        Op::Find { addr } => find(space, model, addr)?,
        Op::Intersect { start, end } if start < end => intersect(space, model, start, end)?,
        Op::Intersect { .. } => {}
        Op::Search {
            pages,
            low,
            high,
            align_log2,
            align_page,
        } => {
            let align_mask = (PAGE_SIZE << align_log2) - PAGE_SIZE;
            search(
                space,
                model,
                &UnmappedAreaInfo {
                    align_mask,
                    align_offset: align_page * PAGE_SIZE,
                    ..wanted(pages, low, high)
                },
            )?;
        }
    }
    prop_assert_eq!(space.check(), Ok(()));
    let held: Vec<_> = vmas(space, space.mm())
        .map(|(id, area)| (id, area.vm_start().0, area.vm_end().0, area.vm_pgoff()))
        .collect();
    prop_assert_eq!(&held, &model.0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn behaves_like_a_sorted_vector(ops in prop::collection::vec(any_op(), 1..160)) {
        let (mut space, mut model) = (Space::new(), Model::default());
        for op in &ops {
            apply(&mut space, &mut model, op)?;
        }
    }
}
