//! The slow path: what is done, in which order, when no zone has a block above its low watermark.
//!
//! ```text
//! wake kswapd --> look, down to the min watermark --> [large or unmovable block: compact] --+
//!                                                                                           |
//!   +---------------------------------------------------------------------------------------+
//!   v
//! wake kswapd --> look, with the reserves that it may use --> reclaim, look --> compact, look --> worth another round? --yes--> (again)
//!   ^                |                                                                             |no
//!   |                +-- may not wait, or is reclaim itself --> fail                               v
//!   +------------------------------------------------------ progress <-- the out-of-memory killer, unless it may fail
//! ```
//!
//! The path is written once, over [`Steps`]: what looking, reclaiming and compacting are is the machine's affair, and tests record the
//! steps as a list.
//!
//! Source: Linux 5.10, mm/page_alloc.c (`__alloc_pages_slowpath`, `should_reclaim_retry`, `should_compact_retry`,
//! `__alloc_pages_may_oom`). Rules E13, E14, E15, E16.

use super::freelist::AllocContext;
use crate::addr::Pfn;
use crate::compaction::{CompactPriority, CompactResult};
use crate::gfp::Gfp;
use crate::zone::{MigrateType, Watermark, alloc};

/// Rounds of reclaim without progress before an allocation fails. Source: Linux `MAX_RECLAIM_RETRIES`. Rule E14.
const MAX_RECLAIM_RETRIES: u32 = 16;
/// Rounds of compaction at one priority. Source: Linux `MAX_COMPACT_RETRIES`.
const MAX_COMPACT_RETRIES: u32 = 16;
/// Blocks of a higher order are worth less trouble. Source: Linux `PAGE_ALLOC_COSTLY_ORDER`.
pub(crate) const COSTLY_ORDER: u32 = 3;

/// What is known about who allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// It reclaims, and is not to wait for itself. Source: Linux `PF_MEMALLOC`.
    pub memalloc: bool,
    /// The out-of-memory killer chose it.
    pub oom_victim: bool,
}

/// The steps of the slow path.
pub trait Steps {
    /// Who allocates.
    fn task(&self) -> Task;
    /// Counts changes of its cpuset.
    fn mems_allowed_changes(&self) -> u32;
    /// Whether any zone could ever give such memory.
    fn has_zone(&self, context: &AllocContext) -> bool;
    /// Wakes the kswapd of each node.
    fn wake_kswapds(&self, context: &AllocContext);
    /// A look at the free lists.
    fn look(&self, context: &AllocContext) -> Option<Pfn>;
    /// Reclaims on the allocation's own account. Returns the frames freed.
    fn reclaim(&self, context: &AllocContext) -> u32;
    /// Moves frames of per-CPU lists and of reserves to the free lists.
    fn drain(&self, context: &AllocContext);
    /// Gives up a pageblock that is reserved for allocations in a hurry; says whether there was one.
    fn unreserve_highatomic(&self, context: &AllocContext) -> bool;
    /// Compacts.
    fn compact(&self, context: &AllocContext, priority: CompactPriority) -> CompactResult;
    /// Compaction was followed by a look: did it find a block?
    fn compacted(&self, context: &AllocContext, found: bool);
    /// Whether the watermark would be met if all that is reclaimable were free.
    fn reclaim_could_do(&self, context: &AllocContext) -> bool;
    /// Whether compaction, skipped for want of free frames, would have enough of them after reclaim.
    fn compaction_could_do(&self, context: &AllocContext) -> bool;
    /// Has a process killed; says whether that frees memory for those who wait.
    fn out_of_memory(&self, context: &AllocContext) -> bool;
    /// An allocation has failed.
    fn warn(&self, context: &AllocContext);
}

/// What [`Attempt`] remembers between rounds.
struct Attempt {
    context: AllocContext,
    no_progress_loops: u32,
    compact_retries: u32,
    priority: CompactPriority,
    changes: u32,
}

/// How a round ended.
enum Round {
    Found(Pfn),
    Again,
    Fail,
}

/// A block, by any means that the request allows. Rule E13.
pub fn alloc_pages_slowpath<S: Steps>(steps: &S, context: &AllocContext) -> Option<Pfn> {
    let mut context = *context;
    // (1) Who can wait is in no hurry.
    if context.gfp.has(Gfp::DIRECT_RECLAIM) {
        context.gfp = context.gfp.without(Gfp::ATOMIC_CONTEXT);
    }
    loop {
        let mut attempt = Attempt::start(steps, &context);
        if let Some(pfn) = attempt.run(steps) {
            return Some(pfn);
        }
        if attempt.changes != steps.mems_allowed_changes() {
            continue;
        }
        // Rule E15. Who may not wait can fail whatever it says.
        if context.gfp.has(Gfp::NOFAIL.with(Gfp::DIRECT_RECLAIM)) {
            let found = look_anywhere(steps, &attempt.context, alloc::HARDER).or_else(|| attempt.rounds(steps));
            match found {
                Some(pfn) => return Some(pfn),
                None => continue,
            }
        }
        if !context.gfp.has(Gfp::NOWARN) {
            steps.warn(&attempt.context);
        }
        return None;
    }
}

/// A look within the cpuset, and one outside it. Source: Linux `__alloc_pages_cpuset_fallback`.
fn look_anywhere<S: Steps>(steps: &S, context: &AllocContext, flags: u32) -> Option<Pfn> {
    [flags | alloc::CPUSET, flags]
        .into_iter()
        .find_map(|flags| steps.look(&AllocContext { flags, ..*context }))
}

impl Attempt {
    /// (2) Down to the min watermark.
    fn start<S: Steps>(steps: &S, context: &AllocContext) -> Self {
        Self {
            context: AllocContext {
                mark: Watermark::Min,
                flags: context.gfp.alloc_flags(),
                ..*context
            },
            no_progress_loops: 0,
            compact_retries: 0,
            priority: CompactPriority::SyncLight,
            changes: steps.mems_allowed_changes(),
        }
    }

    fn costly(&self) -> bool {
        self.context.order > COSTLY_ORDER
    }

    fn run<S: Steps>(&mut self, steps: &S) -> Option<Pfn> {
        if !steps.has_zone(&self.context) {
            return None;
        }
        // (3), (4)
        self.wake_kswapds(steps);
        if let Some(pfn) = steps.look(&self.context) {
            return Some(pfn);
        }
        // (5) Reclaim frees frames here and there: for a large block, or one that cannot be put among others, moving comes first.
        let compact_first =
            self.costly() || (self.context.order > 0 && self.context.gfp.migratetype() != MigrateType::Movable);
        let can_wait = self.context.gfp.has(Gfp::DIRECT_RECLAIM);
        if can_wait && compact_first && reserve_flags(self.context.gfp, steps.task()) == 0 {
            let (found, result) = self.direct_compact(steps, CompactPriority::Async);
            if found.is_some() {
                return found;
            }
            if self.costly() && self.context.gfp.has(Gfp::NORETRY) {
                if matches!(result, CompactResult::Skipped | CompactResult::Deferred) {
                    return None;
                }
                self.priority = CompactPriority::Async;
            }
        }
        self.rounds(steps)
    }

    /// (6)
    fn rounds<S: Steps>(&mut self, steps: &S) -> Option<Pfn> {
        loop {
            match self.round(steps) {
                Round::Found(pfn) => return Some(pfn),
                Round::Again => {}
                Round::Fail => return None,
            }
        }
    }

    fn wake_kswapds<S: Steps>(&self, steps: &S) {
        if self.context.flags & alloc::KSWAPD != 0 {
            steps.wake_kswapds(&self.context);
        }
    }

    fn round<S: Steps>(&mut self, steps: &S) -> Round {
        self.wake_kswapds(steps);
        let reserves = reserve_flags(self.context.gfp, steps.task());
        if reserves != 0 {
            // Who may use the reserves may use them wherever they are.
            self.context.flags = reserves | self.context.flags & alloc::KSWAPD;
        }
        if let Some(pfn) = steps.look(&self.context) {
            return Round::Found(pfn);
        }
        if !self.context.gfp.has(Gfp::DIRECT_RECLAIM) || steps.task().memalloc {
            return Round::Fail;
        }
        let (found, freed) = self.direct_reclaim(steps);
        if let Some(pfn) = found {
            return Round::Found(pfn);
        }
        let (found, result) = self.direct_compact(steps, self.priority);
        if let Some(pfn) = found {
            return Round::Found(pfn);
        }
        let may_fail =
            self.context.gfp.has(Gfp::NORETRY) || (self.costly() && !self.context.gfp.has(Gfp::RETRY_MAYFAIL));
        if may_fail {
            return Round::Fail;
        }
        if self.should_reclaim_retry(steps, freed) || (freed > 0 && self.should_compact_retry(steps, result)) {
            return Round::Again;
        }
        // The caller starts over.
        if self.changes != steps.mems_allowed_changes() {
            return Round::Fail;
        }
        self.may_oom(steps)
    }

    /// Reclaim, and a look at what it freed; if that was in vain, frames that the free lists do not show. Source: Linux
    /// `__alloc_pages_direct_reclaim`. Rule E7: per-CPU lists are drained before failure is declared.
    fn direct_reclaim<S: Steps>(&self, steps: &S) -> (Option<Pfn>, u32) {
        let freed = steps.reclaim(&self.context);
        if freed == 0 {
            return (None, 0);
        }
        let found = steps.look(&self.context).or_else(|| {
            steps.unreserve_highatomic(&self.context);
            steps.drain(&self.context);
            steps.look(&self.context)
        });
        (found, freed)
    }

    /// Compaction, and a look at what it made. Source: Linux `__alloc_pages_direct_compact`.
    fn direct_compact<S: Steps>(&self, steps: &S, priority: CompactPriority) -> (Option<Pfn>, CompactResult) {
        if self.context.order == 0 {
            return (None, CompactResult::Skipped);
        }
        let result = steps.compact(&self.context, priority);
        if matches!(result, CompactResult::Skipped | CompactResult::Deferred) {
            return (None, result);
        }
        let found = steps.look(&self.context);
        steps.compacted(&self.context, found.is_some());
        (found, result)
    }

    /// Whether reclaim can still help. Rule E14.
    fn should_reclaim_retry<S: Steps>(&mut self, steps: &S, freed: u32) -> bool {
        if freed > 0 && !self.costly() {
            self.no_progress_loops = 0;
        } else {
            self.no_progress_loops += 1;
        }
        if self.no_progress_loops > MAX_RECLAIM_RETRIES {
            return steps.unreserve_highatomic(&self.context);
        }
        steps.reclaim_could_do(&self.context)
    }

    /// Whether compaction can still help: at the same priority, or at a higher one. Rule E13 (6).
    fn should_compact_retry<S: Steps>(&mut self, steps: &S, result: CompactResult) -> bool {
        if self.context.order == 0 {
            return false;
        }
        match result {
            CompactResult::Skipped => return steps.compaction_could_do(&self.context),
            CompactResult::Success => {
                self.compact_retries += 1;
                let most = if self.costly() {
                    MAX_COMPACT_RETRIES / 4
                } else {
                    MAX_COMPACT_RETRIES
                };
                if self.compact_retries <= most {
                    return true;
                }
            }
            CompactResult::Complete | CompactResult::Partial | CompactResult::Deferred => {}
        }
        let highest = if self.costly() {
            CompactPriority::SyncLight
        } else {
            CompactPriority::SyncFull
        };
        if self.priority == highest {
            return false;
        }
        self.priority = self.priority.higher();
        self.compact_retries = 0;
        true
    }

    /// The last resort. Source: Linux `__alloc_pages_may_oom`. Rules E15, E16.
    fn may_oom<S: Steps>(&mut self, steps: &S) -> Round {
        // Somebody may have ended meanwhile. The high watermark, so that only that counts, not what reclaim just freed.
        let last_look = AllocContext {
            mark: Watermark::High,
            flags: alloc::CPUSET,
            gfp: self.context.gfp.with(Gfp::HARDWALL).without(Gfp::DIRECT_RECLAIM),
            ..self.context
        };
        if let Some(pfn) = steps.look(&last_look) {
            return Round::Found(pfn);
        }
        let gfp = self.context.gfp;
        let in_vain = self.costly() || gfp.has(Gfp::RETRY_MAYFAIL) || gfp.has(Gfp::THISNODE) || steps.task().oom_victim;
        if in_vain || !steps.out_of_memory(&self.context) {
            return Round::Fail;
        }
        self.no_progress_loops = 0;
        let nofail = gfp.has(Gfp::NOFAIL);
        let found = nofail.then(|| look_anywhere(steps, &self.context, alloc::NO_WATERMARKS));
        found.flatten().map_or(Round::Again, Round::Found)
    }
}

/// Reserves that an allocation may use, as [`alloc`] flags. Source: Linux `__gfp_pfmemalloc_flags`. Rule E13 (6).
fn reserve_flags(gfp: Gfp, task: Task) -> u32 {
    if gfp.has(Gfp::NOMEMALLOC) {
        0
    } else if gfp.has(Gfp::MEMALLOC) || task.memalloc {
        alloc::NO_WATERMARKS
    } else if task.oom_victim {
        alloc::OOM
    } else {
        0
    }
}
