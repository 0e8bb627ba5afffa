//! Answers that are huge pages of the pool. What Linux says is in `tests/c/hugetlb_uffd.c`; here, that no page and no promise is lost.

use std::vec;

use proptest::prelude::*;

use super::space::{AT, RW, SOURCE, TID};
use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::huge::HPAGE_SIZE;
use crate::mmap::{advice, map_flag};
use crate::shmem::{InodeId, falloc};
use crate::testing::{FakeMachine, machine};
use crate::userfaultfd::{API, Filled, UserfaultId, Waiting, feature, register_mode};
use crate::vma::MmId;

const BOTH: u64 = register_mode::MISSING | register_mode::MINOR;
/// Huge pages of the objects here.
const PAGES: u64 = 4;

struct Space {
    memory: Memory<FakeMachine>,
    mm: MmId,
    ctx: UserfaultId,
    object: InodeId,
}

impl Space {
    /// An object that is mapped at [`AT`], `kind` being how, with a pool of so many pages; and a page of sevens at [`SOURCE`].
    fn new(pool: u64, kind: u64) -> Self {
        let memory = machine((PAGES as u32 + 3) * 512, 0);
        let mm = memory.mm_alloc().expect("an address space");
        memory.set_nr_hugepages(pool);
        let ctx = memory.userfaultfd(mm, false).expect("a context");
        memory.userfaultfd_api(ctx, API, 0).expect("the handshake");
        let object = memory
            .memfd_create_hugetlb(0, 0o100_777, (0, 0), 0)
            .expect("a memory file");
        memory.shmem_truncate(object, PAGES * HPAGE_SIZE).expect("a size");
        let space = Self {
            memory,
            mm,
            ctx,
            object,
        };
        space.map(AT, kind);
        let flags = map_flag::FIXED | map_flag::PRIVATE | map_flag::ANONYMOUS;
        // A source of small pages: its first is stored to, the others are the frame of zeroes.
        space
            .memory
            .do_mmap(mm, SOURCE, PAGES * HPAGE_SIZE, RW, flags, None, 0)
            .expect("a source");
        for page in 0..PAGES {
            let stored = space.memory.store(mm, SOURCE + page * HPAGE_SIZE, 7);
            stored.expect("a store");
        }
        space
    }

    fn map(&self, at: u64, kind: u64) {
        let flags = kind | map_flag::FIXED | map_flag::HUGETLB | map_flag::NORESERVE;
        let len = PAGES * HPAGE_SIZE;
        let mapped = self
            .memory
            .do_mmap(self.mm, at, len, RW, flags, Some(self.object.into()), 0);
        assert_eq!(mapped, Ok(at));
    }

    fn register(&self, first: u64, pages: u64, mode: u64) -> Result<u64, Error> {
        let (at, len) = (AT + first * HPAGE_SIZE, pages * HPAGE_SIZE);
        self.memory.userfaultfd_register(self.ctx, at, len, mode)
    }

    fn copy(&self, page: u64, pages: u64) -> Filled {
        let (to, len) = (AT + page * HPAGE_SIZE, pages * HPAGE_SIZE);
        self.memory
            .userfaultfd_copy(self.ctx, to, (self.mm, SOURCE), len, 0, |_| {})
            .expect("a range")
    }

    fn resume(&self, page: u64) -> Filled {
        self.memory
            .userfaultfd_continue(self.ctx, AT + page * HPAGE_SIZE, HPAGE_SIZE, 0, |_| {})
            .expect("a range")
    }

    /// Whether a touch is the context's to answer; then it waits no longer.
    fn asks(&self, page: u64, access: Access) -> Option<u64> {
        let at = AT + page * HPAGE_SIZE + 3 * PAGE_SIZE + 8;
        match self.memory.touch(self.mm, at, access) {
            Err(Fault::Userfault) => {}
            other => {
                assert!(matches!(other, Ok(_) | Err(Fault::BusAdrerr)), "{other:?}");
                return None;
            }
        }
        let fault = self.memory.take_userfault().expect("noted");
        assert_eq!(self.memory.wait_userfault(fault, TID, false), Waiting::In(self.ctx));
        let message = self.memory.userfaultfd_read(self.ctx).expect("told");
        assert_eq!(message.address, AT + page * HPAGE_SIZE, "the huge page's");
        self.memory.cancel_userfault(TID);
        Some(message.flags)
    }

    /// Total, free and promised pages.
    fn pool(&self) -> (u64, u64, u64) {
        let counters = self.memory.hugetlb_counters();
        (counters.total, counters.free, counters.resv)
    }

    fn end(self) {
        self.memory.userfaultfd_release(self.ctx, |_| {});
        self.memory.mmput(self.mm, 1);
        self.memory.iput(self.object);
        self.memory.check_hugetlb();
        let (total, free, resv) = self.pool();
        assert_eq!((free, resv), (total, 0), "free and promised pages");
        self.memory.set_nr_hugepages(0);
        self.memory.check_no_huge();
        self.memory.check_invariants();
        assert_eq!(self.memory.committed_as(), 0);
    }
}

/// H1: what the handshake offers.
#[test]
fn features() {
    assert_eq!(feature::ALL & (1 << 4 | 1 << 9), 1 << 4 | 1 << 9);
}

/// H3, H4, H5, for pages of the pool: who is asked, what an answer may be, and what the pool has then.
#[test]
fn huge_pages_are_answered() {
    let space = Space::new(PAGES, map_flag::SHARED);
    assert_eq!(
        space
            .memory
            .userfaultfd_register(space.ctx, AT + PAGE_SIZE, HPAGE_SIZE, BOTH),
        Err(Error::Einval)
    );
    assert_eq!(space.register(0, 2, BOTH), Ok(1 << 2 | 1 << 3 | 1 << 7));
    assert_eq!(space.asks(1, Access::Read), Some(0));
    assert_eq!(space.asks(1, Access::Write), Some(1));
    assert_eq!(space.asks(2, Access::Read), None, "not registered");
    assert_eq!(space.resume(1).field(), -14);
    assert_eq!(space.copy(1, 1).field(), HPAGE_SIZE.cast_signed());
    assert_eq!(space.memory.load(space.mm, AT + HPAGE_SIZE), Ok(7));
    assert_eq!(space.copy(1, 1).field(), -17);
    assert_eq!(space.copy(0, 2).field(), HPAGE_SIZE.cast_signed(), "the first of two");
    assert_eq!(space.pool(), (PAGES, PAGES - 3, 0));
    // The page stays in the object when a mapping of it goes.
    let given_up = space.memory.do_madvise(space.mm, AT, HPAGE_SIZE, advice::DONTNEED);
    given_up.expect("advice");
    assert_eq!(space.asks(0, Access::Write), Some(5));
    assert_eq!(space.copy(0, 1).field(), -17);
    assert_eq!(space.resume(0).field(), HPAGE_SIZE.cast_signed());
    assert_eq!(space.memory.load(space.mm, AT), Ok(7));
    space.memory.shmem_truncate(space.object, HPAGE_SIZE).expect("a size");
    assert_eq!(space.copy(1, 1).field(), -14, "behind the end");
    assert_eq!(space.pool(), (PAGES, PAGES - 1, 0));
    space.end();
}

/// A24: an empty pool, and a source that is not there.
#[test]
fn answers_that_cannot_be_given() {
    for kind in [map_flag::SHARED, map_flag::PRIVATE] {
        let space = Space::new(1, kind);
        space.register(0, PAGES, register_mode::MISSING).expect("a range");
        let nowhere = (space.mm, PAGE_SIZE);
        let filled = space
            .memory
            .userfaultfd_copy(space.ctx, AT, nowhere, HPAGE_SIZE, 0, |_| {});
        assert_eq!(filled.expect("a range").field(), -14);
        assert_eq!(space.pool(), (1, 1, 0), "the page is back");
        assert_eq!(space.copy(0, 2).field(), HPAGE_SIZE.cast_signed());
        assert_eq!(space.copy(1, 1).field(), -17, "as Linux says it");
        space.end();
    }
}

/// Each allocation of an answer fails in turn; afterwards the same answer is given, and nothing is lost.
#[test]
fn failing_allocations() {
    for kind in [map_flag::SHARED, map_flag::PRIVATE] {
        for step in 0.. {
            let space = Space::new(PAGES, kind);
            space.register(0, PAGES, register_mode::MISSING).expect("a range");
            let failing = &space.memory.platform.failing;
            let from = failing.attempts();
            failing.set(from + step..u64::MAX);
            let first = space.copy(0, 2).field();
            let reached = failing.attempts() > from + step;
            failing.set(0..0);
            space.memory.check_hugetlb();
            if first != 2 * HPAGE_SIZE.cast_signed() {
                assert!([-12, HPAGE_SIZE.cast_signed()].contains(&first), "{first}");
                let done = first.max(0).cast_unsigned() / HPAGE_SIZE;
                let rest = (2 - done) * HPAGE_SIZE;
                assert_eq!(space.copy(done, 2 - done).field(), rest.cast_signed());
            }
            assert_eq!(
                [0, 1].map(|page| space.memory.load(space.mm, AT + page * HPAGE_SIZE)),
                [Ok(7); 2]
            );
            assert_eq!(space.pool(), (PAGES, PAGES - 2, 0));
            space.end();
            if !reached {
                assert!(step > 0, "an answer allocates");
                break;
            }
        }
    }
}

/// What is drawn.
#[derive(Clone, Debug)]
enum Op {
    Register(u64, u64),
    Unregister(u64),
    Copy(u64),
    Continue(u64),
    Touch(u64, bool),
    Through(u64),
    Punch(u64),
    Drop(u64),
    Truncate(u64),
    Fork,
}

fn op() -> impl Strategy<Value = Op> {
    let page = 0..PAGES;
    prop_oneof![
        (page.clone(), prop::sample::select(vec![1, 4, 5])).prop_map(|(at, mode)| Op::Register(at, mode)),
        page.clone().prop_map(Op::Unregister),
        page.clone().prop_map(Op::Copy),
        page.clone().prop_map(Op::Continue),
        (page.clone(), any::<bool>()).prop_map(|(at, write)| Op::Touch(at, write)),
        page.clone().prop_map(Op::Through),
        page.clone().prop_map(Op::Punch),
        page.clone().prop_map(Op::Drop),
        (0..=PAGES).prop_map(Op::Truncate),
        Just(Op::Fork),
    ]
}

/// One page in the model.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    cached: bool,
    mapped: bool,
    mode: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// H3, H4, H5, G9: drawn touches and answers of a shared object of the pool's pages, with holes, truncation and children, and a pool that is too small.
    #[test]
    fn drawn(ops in prop::collection::vec(op(), 1..40), pool in 1..=PAGES) {
        let space = Space::new(pool, map_flag::SHARED);
        let other = AT + (1 << 30);
        space.map(other, map_flag::SHARED);
        let mut pages = [Page::default(); PAGES as usize];
        let mut size = PAGES;
        for op in ops {
            let free = space.pool().1 > 0;
            match op {
                Op::Register(at, mode) => {
                    space.register(at, 1, mode).expect("a range");
                    // What has the mode already keeps others.
                    if pages[at as usize].mode & mode != mode {
                        pages[at as usize].mode = mode;
                    }
                }
                Op::Unregister(at) => {
                    let gone = space.memory.userfaultfd_unregister(space.ctx, AT + at * HPAGE_SIZE, HPAGE_SIZE, |_| {});
                    gone.expect("a range");
                    pages[at as usize].mode = 0;
                }
                Op::Copy(at) => {
                    let page = &mut pages[at as usize];
                    let expected = match *page {
                        Page { mode: 0, .. } => -2,
                        _ if page.cached || page.mapped || !free => -17,
                        _ if at >= size => -14,
                        _ => HPAGE_SIZE.cast_signed(),
                    };
                    assert_eq!(space.copy(at, 1).field(), expected, "{page:?}");
                    if expected > 0 {
                        (page.cached, page.mapped) = (true, true);
                    }
                }
                Op::Continue(at) => {
                    let page = &mut pages[at as usize];
                    let expected = match *page {
                        Page { mode: 0, .. } => -2,
                        Page { cached: false, .. } => -14,
                        Page { mapped: true, .. } => -17,
                        _ => HPAGE_SIZE.cast_signed(),
                    };
                    assert_eq!(space.resume(at).field(), expected, "{page:?}");
                    page.mapped |= expected > 0;
                }
                Op::Touch(at, write) => {
                    let page = &mut pages[at as usize];
                    let wanted = if page.cached { register_mode::MINOR } else { register_mode::MISSING };
                    let asked = at < size && !page.mapped && page.mode & wanted != 0;
                    let access = if write { Access::Write } else { Access::Read };
                    let flags = u64::from(write) | if page.cached { 4 } else { 0 };
                    assert_eq!(space.asks(at, access), asked.then_some(flags), "{page:?}");
                    if !asked && at < size && (page.cached || free) {
                        (page.cached, page.mapped) = (true, true);
                    }
                }
                Op::Through(at) => {
                    let done = space.memory.touch(space.mm, other + at * HPAGE_SIZE, Access::Write);
                    let page = &mut pages[at as usize];
                    assert_eq!(done.is_ok(), at < size && (page.cached || free));
                    page.cached |= done.is_ok();
                }
                Op::Punch(at) => {
                    let mode = falloc::KEEP_SIZE | falloc::PUNCH_HOLE;
                    let hole = space.memory.shmem_fallocate(space.object, mode, at * HPAGE_SIZE, HPAGE_SIZE);
                    hole.expect("a hole");
                    (pages[at as usize].cached, pages[at as usize].mapped) = (false, false);
                }
                Op::Drop(at) => {
                    let advice = advice::DONTNEED;
                    space.memory.do_madvise(space.mm, AT + at * HPAGE_SIZE, HPAGE_SIZE, advice).expect("advice");
                    pages[at as usize].mapped = false;
                }
                Op::Truncate(to) => {
                    space.memory.shmem_truncate(space.object, to * HPAGE_SIZE).expect("a size");
                    size = to;
                    for page in &mut pages[to as usize..] {
                        (page.cached, page.mapped) = (false, false);
                    }
                }
                Op::Fork => {
                    // A child is not asked.
                    let child = space.memory.dup_mmap(space.mm, 2).expect("a child");
                    let first = space.memory.touch(child, AT, Access::Write);
                    assert_eq!(first.is_ok(), size > 0 && (pages[0].cached || free));
                    pages[0].cached |= first.is_ok();
                    space.memory.mmput(child, 2);
                }
            }
            space.memory.check_hugetlb();
            let cached = pages.iter().filter(|page| page.cached).count() as u64;
            assert_eq!(space.pool(), (pool, pool - cached, 0));
            assert_eq!(space.memory.getattr(space.object).blocks, cached * 4096, "blocks");
        }
        space.end();
    }
}
