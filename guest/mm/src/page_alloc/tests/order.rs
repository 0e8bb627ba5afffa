//! What the slow path does, in which order, against lists of what Linux does.

use std::cell::{Cell, RefCell};
use std::vec::Vec;

use crate::addr::Pfn;
use crate::compaction::{CompactPriority, CompactResult};
use crate::gfp::Gfp;
use crate::page_alloc::freelist::AllocContext;
use crate::page_alloc::slow_path::{Steps, Task, alloc_pages_slowpath};
use crate::zone::{Watermark, alloc};

/// A step, with what matters about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Kswapd,
    Look(Watermark, u32),
    Reclaim,
    Drain,
    Unreserve,
    Compact(CompactPriority),
    Killer,
    Warn,
}

/// A machine that does what it is told, and writes down what it was asked.
struct Recorder {
    did: RefCell<Vec<Did>>,
    task: Task,
    /// The look that finds a block, the first being 1; 0: none.
    found_at: u32,
    looks: Cell<u32>,
    /// What reclaim frees each time, the last for ever.
    frees: Vec<u32>,
    reclaims: Cell<usize>,
    compacts: CompactResult,
    reclaim_could_do: bool,
    compaction_could_do: bool,
    /// Kills that free memory.
    kills: Cell<u32>,
    has_zone: bool,
    /// Looks after which the cpuset changes, once.
    changes_after: u32,
    reserved: Cell<u32>,
}

impl Recorder {
    fn new() -> Self {
        Self {
            did: RefCell::default(),
            task: Task::default(),
            found_at: 0,
            looks: Cell::new(0),
            frees: [0].into(),
            reclaims: Cell::new(0),
            compacts: CompactResult::Complete,
            reclaim_could_do: false,
            compaction_could_do: false,
            kills: Cell::new(0),
            has_zone: true,
            changes_after: u32::MAX,
            reserved: Cell::new(0),
        }
    }

    fn note(&self, did: Did) {
        self.did.borrow_mut().push(did);
    }

    /// Runs an allocation; what was done, and whether it succeeded.
    fn run(&self, gfp: Gfp, order: u32) -> (Vec<Did>, bool) {
        let context = AllocContext {
            gfp,
            order,
            mark: Watermark::Low,
            flags: alloc::CPUSET,
            preferred: 0,
        };
        let found = alloc_pages_slowpath(self, &context);
        (self.did.take(), found.is_some())
    }

    fn count(did: &[Did], what: Did) -> usize {
        did.iter().filter(|other| **other == what).count()
    }
}

impl Steps for Recorder {
    fn task(&self) -> Task {
        self.task
    }

    fn mems_allowed_changes(&self) -> u32 {
        u32::from(self.looks.get() >= self.changes_after)
    }

    fn has_zone(&self, _: &AllocContext) -> bool {
        self.has_zone
    }

    fn wake_kswapds(&self, _: &AllocContext) {
        self.note(Did::Kswapd);
    }

    fn look(&self, context: &AllocContext) -> Option<Pfn> {
        self.note(Did::Look(context.mark, context.flags));
        self.looks.set(self.looks.get() + 1);
        (self.looks.get() == self.found_at).then_some(Pfn(1))
    }

    fn reclaim(&self, _: &AllocContext) -> u32 {
        self.note(Did::Reclaim);
        let at = self.reclaims.get().min(self.frees.len() - 1);
        self.reclaims.set(at + 1);
        self.frees[at]
    }

    fn drain(&self, _: &AllocContext) {
        self.note(Did::Drain);
    }

    fn unreserve_highatomic(&self, _: &AllocContext) -> bool {
        self.note(Did::Unreserve);
        let reserved = self.reserved.get();
        self.reserved.set(reserved.saturating_sub(1));
        reserved > 0
    }

    fn compact(&self, _: &AllocContext, priority: CompactPriority) -> CompactResult {
        self.note(Did::Compact(priority));
        self.compacts
    }

    fn compacted(&self, _: &AllocContext, _: bool) {}

    fn reclaim_could_do(&self, _: &AllocContext) -> bool {
        self.reclaim_could_do
    }

    fn compaction_could_do(&self, _: &AllocContext) -> bool {
        self.compaction_could_do
    }

    fn out_of_memory(&self, _: &AllocContext) -> bool {
        self.note(Did::Killer);
        let kills = self.kills.get();
        self.kills.set(kills.saturating_sub(1));
        kills > 0
    }

    fn warn(&self, _: &AllocContext) {
        self.note(Did::Warn);
    }
}

const C: u32 = alloc::CPUSET;
const K: u32 = alloc::KSWAPD;
/// A look down to the min watermark.
const MIN: Did = Did::Look(Watermark::Min, C | K);
/// The look before the killer is called.
const LAST: Did = Did::Look(Watermark::High, C);
use CompactPriority::{Async, SyncFull, SyncLight};
use Did::{Compact, Drain, Killer, Kswapd, Look, Reclaim, Unreserve, Warn};

/// E13: (3), (4), (6) one frame, nothing to be had: kswapd, a look, again, reclaim, the killer.
#[test]
fn one_frame_in_vain() {
    let (did, found) = Recorder::new().run(Gfp::KERNEL, 0);
    assert_eq!(did, [Kswapd, MIN, Kswapd, MIN, Reclaim, LAST, Killer, Warn]);
    assert!(!found);
}

/// E13: each step may be the one that finds something, and nothing is done after it.
#[test]
fn a_step_that_finds_is_the_last() {
    let all = [
        Kswapd, MIN, Kswapd, MIN, Reclaim, MIN, Unreserve, Drain, MIN, LAST, Killer,
    ];
    for (found_at, steps) in [(1, 2), (2, 4), (3, 6), (4, 9), (5, 10)] {
        let recorder = Recorder {
            found_at,
            frees: [1].into(),
            ..Recorder::new()
        };
        let (did, found) = recorder.run(Gfp::KERNEL, 0);
        assert!(found);
        assert_eq!(did, all[..steps], "found by look {found_at}");
    }
}

/// E7, E13: reclaim that freed something is followed by a look, and, before that is given up, by draining.
#[test]
fn per_cpu_lists_are_drained_before_failure() {
    let recorder = Recorder {
        frees: [1].into(),
        ..Recorder::new()
    };
    let (did, _) = recorder.run(Gfp::KERNEL.with(Gfp::NORETRY), 0);
    assert_eq!(
        did,
        [Kswapd, MIN, Kswapd, MIN, Reclaim, MIN, Unreserve, Drain, MIN, Warn]
    );
}

/// E13: (1), (6) who cannot wait looks twice and fails, with what it may use of the reserve; ATOMIC is dropped by who can.
#[test]
fn who_cannot_wait_fails_at_once() {
    let atomic = Look(Watermark::Min, alloc::HIGH | alloc::HARDER | K);
    let (did, _) = Recorder::new().run(Gfp::ATOMIC, 0);
    assert_eq!(did, [Kswapd, atomic, Kswapd, atomic, Warn]);
    let (did, _) = Recorder::new().run(Gfp::NOWAIT, 3);
    assert_eq!(did, [Kswapd, MIN, Kswapd, MIN, Warn]);
    let quiet = Gfp::NOWAIT.without(Gfp::KSWAPD_RECLAIM).with(Gfp::NOWARN);
    let (did, _) = Recorder::new().run(quiet, 0);
    assert_eq!(did, [Look(Watermark::Min, C); 2], "neither kswapd nor a warning");
    let both = Gfp::KERNEL.with(Gfp::ATOMIC_CONTEXT).with(Gfp::NORETRY);
    let (did, _) = Recorder::new().run(both, 0);
    assert_eq!(
        did,
        [Kswapd, MIN, Kswapd, MIN, Reclaim, Warn],
        "it can wait, so it is in no hurry"
    );
}

/// E13: (2) without any zone there is nothing to try.
#[test]
fn without_a_zone_it_fails() {
    let recorder = Recorder {
        has_zone: false,
        ..Recorder::new()
    };
    assert_eq!(recorder.run(Gfp::KERNEL, 0), ([Warn].into(), false));
}

/// E13: (5) large and unmovable blocks are compacted for before anything is reclaimed.
#[test]
fn compaction_comes_first_for_large_and_unmovable_blocks() {
    let first = |gfp: Gfp, order| {
        let (did, _) = Recorder::new().run(gfp.with(Gfp::NORETRY), order);
        did[2] == Compact(Async)
    };
    assert!(first(Gfp::KERNEL, 1) && first(Gfp::KERNEL, 4) && first(Gfp::HIGHUSER_MOVABLE, 4));
    assert!(!first(Gfp::HIGHUSER_MOVABLE, 3) && !first(Gfp::KERNEL, 0));
    let (did, _) = Recorder::new().run(Gfp::KERNEL.with(Gfp::RETRY_MAYFAIL), 4);
    assert_eq!(
        did,
        [
            Kswapd,
            MIN,
            Compact(Async),
            MIN,
            Kswapd,
            MIN,
            Reclaim,
            Compact(SyncLight),
            MIN,
            LAST,
            Warn
        ],
        "no killer for who may fail"
    );
}

/// E13: (5) a large block that is not worth much effort: if compaction does not even try, it fails at once.
#[test]
fn large_blocks_without_retry_depend_on_compaction() {
    for result in [CompactResult::Deferred, CompactResult::Skipped] {
        let recorder = Recorder {
            compacts: result,
            ..Recorder::new()
        };
        let (did, _) = recorder.run(Gfp::TRANSHUGE.with(Gfp::NORETRY), 9);
        assert_eq!(did, [Look(Watermark::Min, C), Compact(Async)]);
    }
    let (did, _) = Recorder::new().run(Gfp::TRANSHUGE.with(Gfp::NORETRY), 9);
    let look = Look(Watermark::Min, C);
    assert_eq!(did, [look, Compact(Async), look, look, Reclaim, Compact(Async), look]);
}

/// E13: (6) a costly order fails after one round unless it said otherwise.
#[test]
fn a_costly_order_fails_after_one_round() {
    let recorder = Recorder {
        frees: [1].into(),
        reclaim_could_do: true,
        ..Recorder::new()
    };
    let (did, _) = recorder.run(Gfp::HIGHUSER_MOVABLE, 4);
    assert_eq!(Recorder::count(&did, Reclaim), 1);
    assert_eq!(did.last(), Some(&Warn));
    assert_eq!(Recorder::count(&did, Killer), 0);
}

/// E13: (6) reserves are for reclaim itself, for those who will free more than they take, and for the killer's victim.
#[test]
fn reserves_are_for_few() {
    let reclaiming = Task {
        memalloc: true,
        oom_victim: false,
    };
    let victim = Task {
        memalloc: false,
        oom_victim: true,
    };
    let all = Look(Watermark::Min, alloc::NO_WATERMARKS | K);
    let half = Look(Watermark::Min, alloc::OOM | K);
    let run = |task, gfp| {
        let recorder = Recorder {
            task,
            ..Recorder::new()
        };
        recorder.run(gfp, 0).0
    };
    assert_eq!(
        run(reclaiming, Gfp::KERNEL),
        [Kswapd, MIN, Kswapd, all, Warn],
        "it does not wait for itself"
    );
    assert_eq!(
        run(reclaiming, Gfp::KERNEL.with(Gfp::NOMEMALLOC)),
        [Kswapd, MIN, Kswapd, MIN, Warn]
    );
    let memalloc = run(Task::default(), Gfp::ATOMIC.with(Gfp::MEMALLOC));
    assert_eq!(memalloc[3], all);
    assert_eq!(
        run(victim, Gfp::KERNEL),
        [Kswapd, MIN, Kswapd, half, Reclaim, LAST, Warn]
    );
}

/// E14: rounds without progress end after 16, at once when memory could not suffice, and progress starts the count again.
#[test]
fn rounds_without_progress_are_counted() {
    let reclaims = |frees: Vec<u32>, order, could| {
        let recorder = Recorder {
            frees,
            reclaim_could_do: could,
            compacts: CompactResult::Deferred,
            ..Recorder::new()
        };
        let (did, _) = recorder.run(Gfp::KERNEL.with(Gfp::RETRY_MAYFAIL), order);
        (Recorder::count(&did, Reclaim), Recorder::count(&did, Unreserve))
    };
    assert_eq!(reclaims([0].into(), 0, true), (17, 1), "the 17th is one too many");
    assert_eq!(reclaims([0].into(), 0, false), (1, 0));
    let progress_once: Vec<u32> = [[0; 10].as_slice(), &[5], &[0]].concat();
    assert_eq!(reclaims(progress_once, 0, true).0, 10 + 1 + 17);
    // For a costly order progress does not count.
    assert_eq!(reclaims([5].into(), 4, true).0, 17);
}

/// E14: a reserved pageblock is worth another round.
#[test]
fn a_reserved_pageblock_is_given_up_before_failure() {
    let recorder = Recorder {
        reclaim_could_do: true,
        reserved: Cell::new(2),
        ..Recorder::new()
    };
    let (did, _) = recorder.run(Gfp::KERNEL.with(Gfp::RETRY_MAYFAIL), 0);
    assert_eq!(Recorder::count(&did, Reclaim), 17 + 2);
}

/// E13: (6) compaction is tried again with more effort, up to a limit for each result.
#[test]
fn compaction_is_tried_with_more_effort() {
    let priorities = |compacts, could, order: u32| {
        let recorder = Recorder {
            frees: [1].into(),
            compacts,
            compaction_could_do: could,
            // For ever, otherwise.
            found_at: 200,
            ..Recorder::new()
        };
        let (did, _) = recorder.run(Gfp::HIGHUSER_MOVABLE.with(Gfp::RETRY_MAYFAIL), order);
        let count = |priority| Recorder::count(&did, Compact(priority));
        (count(Async), count(SyncLight), count(SyncFull))
    };
    assert_eq!(priorities(CompactResult::Complete, false, 1), (0, 1, 1));
    assert_eq!(priorities(CompactResult::Partial, false, 1), (0, 1, 1));
    assert_eq!(
        priorities(CompactResult::Success, false, 1),
        (0, 17, 17),
        "16 times each, and the first"
    );
    assert_eq!(
        priorities(CompactResult::Complete, false, 4),
        (1, 1, 0),
        "a costly order is not worth everything"
    );
    assert_eq!(priorities(CompactResult::Success, false, 4), (1, 5, 0));
    assert_eq!(priorities(CompactResult::Skipped, false, 1), (0, 1, 0));
}

/// E13: (6) when the cpuset changed during a failed try, it begins again.
#[test]
fn a_changed_cpuset_starts_over() {
    let recorder = Recorder {
        changes_after: 2,
        ..Recorder::new()
    };
    let (did, _) = recorder.run(Gfp::KERNEL.with(Gfp::NORETRY), 0);
    assert_eq!(
        did,
        [
            Kswapd, MIN, Kswapd, MIN, Reclaim, Kswapd, MIN, Kswapd, MIN, Reclaim, Warn
        ]
    );
}

/// E15: NOFAIL does not fail: it looks with more of the reserve, also outside the cpuset, and goes round.
#[test]
fn nofail_does_not_fail() {
    let harder = [alloc::HARDER | C, alloc::HARDER].map(|flags| Look(Watermark::Min, flags));
    let recorder = Recorder {
        found_at: 9,
        ..Recorder::new()
    };
    let (did, found) = recorder.run(Gfp::KERNEL.with(Gfp::NOFAIL), 0);
    assert!(found);
    let round = [Kswapd, MIN, Reclaim, LAST, Killer];
    let expected: Vec<Did> = [
        [Kswapd, MIN].as_slice(),
        &round,
        &harder,
        &round,
        &[Kswapd, MIN, Kswapd, MIN],
    ]
    .concat();
    assert_eq!(did, expected);
    let cannot_wait = Recorder::new().run(Gfp::ATOMIC.with(Gfp::NOFAIL), 0);
    assert!(!cannot_wait.1, "who cannot wait can fail");
}

/// E15: a failure is told, unless it is said to be normal.
#[test]
fn failures_are_told() {
    let warned = |gfp: Gfp| Recorder::new().run(gfp, 2).0.contains(&Warn);
    assert!(warned(Gfp::KERNEL) && !warned(Gfp::KERNEL.with(Gfp::NOWARN)));
}

/// E16: the killer's success is progress; it is not called for large blocks, nor for those that may fail.
#[test]
fn the_killer_makes_progress() {
    let recorder = Recorder {
        kills: Cell::new(2),
        ..Recorder::new()
    };
    let (did, _) = recorder.run(Gfp::KERNEL, 0);
    assert_eq!(Recorder::count(&did, Killer), 3);
    for (gfp, order) in [
        (Gfp::KERNEL, 4),
        (Gfp::KERNEL.with(Gfp::RETRY_MAYFAIL), 0),
        (Gfp::KERNEL.with(Gfp::THISNODE), 0),
    ] {
        assert!(!Recorder::new().run(gfp, order).0.contains(&Killer), "{gfp:?} {order}");
    }
    // Who must not fail may have all that is left, once somebody ends.
    let nofail = Recorder {
        kills: Cell::new(1),
        found_at: 4,
        ..Recorder::new()
    };
    let (did, _) = nofail.run(Gfp::KERNEL.with(Gfp::NOFAIL), 0);
    assert_eq!(did.last(), Some(&Look(Watermark::Min, alloc::NO_WATERMARKS | C)));
}
